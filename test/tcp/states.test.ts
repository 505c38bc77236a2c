import { describe, expect, test } from 'vitest';
import { seededRandom, unit } from '../../src/base/random.ts';
import { HOUR, MILLISECOND, MINUTE, SECOND } from '../../src/base/time.ts';
import { close, open, send, setKeepAlive, shutdown } from '../../src/tcp/calls.ts';
import { ACK, FIN, PSH, RST, SYN } from '../../src/tcp/header.ts';
import { type State, type Tcb, TRANSITIONS } from '../../src/tcp/tcb.ts';
import { craft, Log, Pair, pattern } from './pair.ts';

function toServer(tcb: Tcb, fields: Partial<Parameters<typeof craft>[0]> & { flags: number; seq: number }) {
  return craft({ sourcePort: tcb.localPort, destinationPort: tcb.remotePort, ...fields });
}

describe('RFC 9293 3.5: opening', () => {
  test('MUST-10: simultaneous open (Figure 8)', () => {
    const pair = new Pair();
    const clientLog = new Log();
    const serverLog = new Log();
    const client = open(pair.client.tcp, {
      remote: pair.server.address,
      remotePort: 2000,
      localPort: 1000,
      user: clientLog,
    }) as Tcb;
    const server = open(pair.server.tcp, {
      remote: pair.client.address,
      remotePort: 1000,
      localPort: 2000,
      user: serverLog,
    }) as Tcb;
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
    expect(pair.client.states).toEqual([
      'CLOSED SYN-SENT',
      'SYN-SENT SYN-RECEIVED',
      'SYN-RECEIVED ESTABLISHED',
    ]);
    send(client, pattern(10), 0, 10);
    pair.run(SECOND);
    expect(serverLog.received).toEqual([...pattern(10)]);
    expect([clientLog.events, serverLog.events].map((e) => e[0])).toEqual(['connected', 'connected']);
  });

  test('MUST-11: RST in SYN-RECEIVED returns a passive open to LISTEN, and nobody is told', () => {
    const pair: Pair = new Pair({ filter: (wire) => wire.from !== pair.server });
    const { listener, accepted } = pair.listen();
    const client = pair.open();
    pair.run(100 * MILLISECOND);
    expect(listener.halfOpen.size).toBe(1);
    pair.inject(pair.server, toServer(client, { flags: RST, seq: client.iss + 1 }));
    expect(listener.halfOpen.size).toBe(0);
    expect(accepted).toEqual([]);
    expect(pair.server.tcp.count).toBe(0);
  });

  test('a lost SYN is sent again after 1 s, 2 s, 4 s …, and given up after three minutes (MUST-23)', () => {
    const pair: Pair = new Pair({ filter: () => false });
    const client = pair.open();
    const log = client.user as Log;
    pair.run(2 * MINUTE);
    expect(log.events.filter((e) => e.startsWith('closed'))).toEqual([]);
    pair.run(5 * MINUTE);
    expect(log.events.at(-1)).toBe('closed ETIMEDOUT');
    expect(pair.log.length).toBe(8);
    expect(pair.client.timers.armed).toBe(0);
  });

  test('a lost SYN,ACK is sent again', () => {
    let lost = 0;
    const pair: Pair = new Pair({ filter: (wire) => wire.from !== pair.server || lost++ > 0 });
    const { accepted } = pair.listen();
    const client = pair.open();
    pair.run(3 * SECOND);
    expect(client.state).toBe('ESTABLISHED');
    expect(accepted.length).toBe(1);
  });

  test('a lost third ACK is made good by data', () => {
    let n = 0;
    const pair: Pair = new Pair({ filter: (wire) => wire.from !== pair.client || ++n !== 2 });
    const { accepted } = pair.listen();
    const client = pair.open();
    pair.run(100 * MILLISECOND);
    send(client, pattern(5), 0, 5);
    pair.run(100 * MILLISECOND);
    expect((accepted[0]!.user as Log).bytes).toBe(5);
  });

  test('backlog: connections beyond it wait, and succeed once there is room', () => {
    const pair = new Pair();
    const { listener } = pair.listen(80, 2);
    listener.acceptable = () => undefined;
    const clients = Array.from({ length: 5 }, () => pair.open());
    pair.run(SECOND);
    expect(listener.ready.length).toBe(2);
    expect(clients.every((c) => c.state === 'ESTABLISHED' || c.state === 'SYN-SENT')).toBe(true);
    listener.ready.length = 0;
    pair.run(10 * SECOND);
    expect(listener.ready.length).toBe(2);
  });
});

describe('RFC 9293 3.6: closing', () => {
  test('Figure 12: normal close, and TIME-WAIT for 2·MSL (MUST-13)', () => {
    const pair = new Pair();
    const { client, server, serverLog, clientLog } = pair.connect();
    shutdown(client);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['FIN-WAIT-2', 'CLOSE-WAIT']);
    expect(serverLog.events).toContain('end');
    // Half-closed: data still flows the other way.
    send(server, pattern(3000), 0, 3000);
    pair.run(SECOND);
    expect(clientLog.bytes).toBe(3000);
    shutdown(server);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['TIME-WAIT', 'CLOSED']);
    pair.run(58 * SECOND);
    expect(client.state).toBe('TIME-WAIT');
    pair.run(3 * SECOND);
    expect(client.state).toBe('CLOSED');
    expect(serverLog.events.at(-1)).toBe('closed');
  });

  test('Figure 13: simultaneous close', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    shutdown(client);
    shutdown(server);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['TIME-WAIT', 'TIME-WAIT']);
    expect(pair.client.states).toContain('FIN-WAIT-1 CLOSING');
  });

  test('a lost FIN and a lost last ACK are made good', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    let drops = 2;
    pair.filter = (_wire, seg) => (seg.flags & FIN) === 0 || drops-- <= 0;
    shutdown(client);
    pair.run(5 * SECOND);
    expect(server.state).toBe('CLOSE-WAIT');
    let acks = 1;
    pair.filter = (wire) => wire.from !== pair.client || acks-- <= 0;
    shutdown(server);
    pair.run(5 * SECOND);
    expect([client.state, server.state]).toEqual(['TIME-WAIT', 'CLOSED']);
  });

  test('SHLD-3: close with unread data resets, and so does data after close', () => {
    const pair = new Pair();
    const { client, server, serverLog, clientLog } = pair.connect();
    serverLog.reading = false;
    send(client, pattern(10), 0, 10);
    pair.run(SECOND);
    close(server);
    pair.run(SECOND);
    expect(clientLog.events.at(-1)).toBe('closed ECONNRESET');

    const second = new Pair().connect();
    close(second.server);
    second.client.tcp.trace.on = true;
    const pair2 = second.client.tcp;
    expect(pair2.count).toBe(1);
  });

  test('data that comes after close resets the connection', () => {
    const pair = new Pair();
    const { client, server, clientLog } = pair.connect();
    close(server);
    pair.run(SECOND);
    expect(client.state).toBe('CLOSE-WAIT');
    send(client, pattern(10), 0, 10);
    pair.run(SECOND);
    expect(clientLog.events.at(-1)).toBe('closed ECONNRESET');
    expect(pair.server.tcp.count).toBe(0);
  });

  test('a closed user does not wait for ever in FIN-WAIT-2', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    close(client);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['FIN-WAIT-2', 'CLOSE-WAIT']);
    pair.run(61 * SECOND);
    expect(client.state).toBe('CLOSED');
  });

  test('close before the SYN is answered', () => {
    const pair = new Pair();
    pair.listen();
    const client = pair.open();
    const log = client.user as Log;
    close(client);
    pair.run(SECOND);
    expect(log.events).toEqual(['closed']);
    expect(pair.client.tcp.count).toBe(0);
  });

  test('shutdown and data before the handshake is done are kept for it', () => {
    const pair = new Pair();
    const { accepted } = pair.listen();
    const client = pair.open();
    expect(send(client, pattern(100), 0, 100)).toBe(100);
    shutdown(client);
    pair.run(SECOND);
    const log = accepted[0]!.user as Log;
    expect(log.received).toEqual([...pattern(100)]);
    expect(log.events.at(-1)).toBe('end');
    expect(client.state).toBe('FIN-WAIT-2');
  });

  test('RFC 6191, MAY-2: a new SYN with a newer timestamp reopens from TIME-WAIT', () => {
    const pair = new Pair();
    pair.listen();
    const make = () =>
      open(pair.client.tcp, {
        remote: pair.server.address,
        remotePort: 80,
        localPort: 5000,
        user: new Log(),
      }) as Tcb;
    const first = make();
    pair.run(SECOND);
    const server = [...pair.server.tcp.connections.values()][0]!;
    shutdown(server);
    pair.run(SECOND);
    shutdown(first);
    pair.run(SECOND);
    expect([first.state, server.state]).toEqual(['CLOSED', 'TIME-WAIT']);
    pair.run(2 * SECOND);
    const again = make();
    pair.run(SECOND);
    expect(again.state).toBe('ESTABLISHED');
    expect(server.state).toBe('CLOSED');
  });
});

describe('RFC 9293 3.8.6: windows', () => {
  test('MUST-36, MUST-37: a closed window is probed as long as it is answered, and opens again', () => {
    const pair = new Pair();
    const { client, serverLog, server } = pair.connect({}, { receiveBufferLimit: 20_000 });
    serverLog.reading = false;
    const data = pattern(100_000);
    expect(send(client, data, 0, data.length)).toBe(data.length);
    pair.run(10 * SECOND);
    expect(client.snd.wnd).toBe(0);
    expect(server.receiveBuffer.readable).toBeGreaterThan(18_000);
    const before = pair.client.tcp.counters.tcpWindowProbes;
    pair.run(2 * HOUR);
    expect(client.state).toBe('ESTABLISHED');
    expect(pair.client.tcp.counters.tcpWindowProbes).toBeGreaterThan(before + 100);
    serverLog.reading = true;
    serverLog.read(server);
    pair.run(2 * MINUTE);
    expect(serverLog.bytes).toBe(data.length);
    expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(data))).toBe(0);
  });

  test('a probe that nobody answers ends in ETIMEDOUT (R2)', () => {
    const pair = new Pair();
    const { client, serverLog, clientLog } = pair.connect({}, { receiveBufferLimit: 20_000 });
    serverLog.reading = false;
    send(client, pattern(100_000), 0, 100_000);
    pair.run(10 * SECOND);
    pair.filter = () => false;
    pair.run(HOUR);
    expect(clientLog.events.at(-1)).toBe('closed ETIMEDOUT');
  });

  test('MUST-34, MUST-35: a window that shrinks behind what was sent is survived', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    pair.filter = (wire) => wire.from === pair.client;
    send(client, pattern(10_000), 0, 10_000);
    pair.run(5 * MILLISECOND);
    const shrunk = (wnd: number) =>
      craft({
        sourcePort: client.remotePort,
        destinationPort: client.localPort,
        seq: client.receiveBuffer.nxt,
        ack: client.snd.una,
        flags: ACK,
        wnd,
        options: stamp(client),
      });
    pair.inject(pair.client, shrunk(0));
    pair.run(20 * SECOND);
    expect(client.state).toBe('ESTABLISHED');
    expect(client.snd.wnd).toBe(0);
  });

  test('MUST-38, SHLD-7: small writes wait for a small segment under way, unless Nagle is off (MUST-17)', () => {
    for (const noDelay of [false, true]) {
      const pair = new Pair();
      const { client } = pair.connect({ noDelay });
      const before = pair.log.length;
      for (let i = 0; i < 5; i++) {
        send(client, pattern(1), 0, 1);
        pair.settle();
      }
      expect(pair.log.length - before).toBe(noDelay ? 5 : 1);
    }
  });

  test('MUST-39: the receiver opens its window by whole segments only', () => {
    const pair = new Pair();
    const { server, serverLog, client } = pair.connect({}, { receiveBufferLimit: 8_000 });
    serverLog.reading = false;
    send(client, pattern(50_000), 0, 50_000);
    pair.run(2 * SECOND);
    const before = pair.log.length;
    for (let i = 0; i < 100; i++) {
      serverLog.read(server, 10);
      pair.settle();
    }
    expect(pair.log.length).toBe(before);
  });
});

/** A timestamps option that PAWS takes. */
function stamp(tcb: Tcb): Uint8Array {
  if (!tcb.ts.on) return new Uint8Array(0);
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0101080a);
  view.setUint32(4, tcb.ts.recent);
  return bytes;
}

describe('RFC 9293 3.8.4: keep-alive', () => {
  test('MUST-25 off by default; MUST-26, MUST-29: asks after silence, and gives up only after several', () => {
    const pair = new Pair();
    const { client, clientLog } = pair.connect();
    pair.run(5 * HOUR);
    expect(pair.client.tcp.counters.tcpKeepAliveProbes).toBe(0);
    setKeepAlive(client, { enabled: true, idle: 10 * SECOND, interval: SECOND, count: 3 });
    pair.run(MINUTE);
    expect(pair.client.tcp.counters.tcpKeepAliveProbes).toBeGreaterThan(2);
    expect(client.state).toBe('ESTABLISHED');
    pair.filter = () => false;
    pair.run(MINUTE);
    expect(clientLog.events.at(-1)).toBe('closed ETIMEDOUT');
  });
});

describe('RFC 5961: blind attacks', () => {
  test('3.2: a RST closes only at RCV.NXT; elsewhere in the window it is challenged', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    const nxt = server.receiveBuffer.nxt;
    expect(pair.inject(pair.server, toServer(client, { flags: RST, seq: nxt + 100 }))).toBe('reset ignored');
    expect(server.state).toBe('ESTABLISHED');
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBe(1);
    expect(pair.inject(pair.server, toServer(client, { flags: RST, seq: nxt - 1 }))).toBe('old duplicate');
    expect(server.state).toBe('ESTABLISHED');
    pair.inject(pair.server, toServer(client, { flags: RST, seq: nxt }));
    expect(server.state).toBe('CLOSED');
    pair.run(MILLISECOND);
    expect(serverLog.events.at(-1)).toBe('closed ECONNRESET');
  });

  test('4.2: a SYN on an open connection is challenged, whatever its number', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    for (const offset of [0, 5000, -5000]) {
      pair.inject(
        pair.server,
        toServer(client, { flags: SYN, seq: server.receiveBuffer.nxt + offset, options: stamp(server) }),
      );
    }
    expect(server.state).toBe('ESTABLISHED');
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBeGreaterThan(0);
  });

  test('5.2: an ACK outside [SND.UNA − MAX.SND.WND, SND.NXT] drops the segment and its data', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    for (const ack of [server.snd.nxt + 1, (server.snd.una - server.snd.maxWnd - 1) >>> 0]) {
      const verdict = pair.inject(
        pair.server,
        toServer(client, {
          flags: ACK | PSH,
          seq: server.receiveBuffer.nxt,
          ack,
          data: pattern(4),
          options: stamp(server),
        }),
      );
      expect(verdict).toBe('bad ack');
    }
    pair.settle();
    expect(serverLog.bytes).toBe(0);
  });

  test('7: challenge ACKs are limited', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    for (let i = 0; i < 1000; i++) {
      pair.inject(pair.server, toServer(client, { flags: RST, seq: server.receiveBuffer.nxt + 100 }));
      pair.settle();
    }
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBeLessThan(20);
  });
});

describe('RFC 5681, 6675: recovery', () => {
  test('one lost segment is sent again fast, and nothing else is', () => {
    const pair: Pair = new Pair({ delay: 20 * MILLISECOND });
    // 1000 bytes of data and 12 of timestamps.
    const { client, serverLog } = pair.connect({ noDelay: true, maxMss: 1012 });
    let sent = 0;
    pair.filter = (wire, seg) => !(wire.from === pair.client && seg.dataLength > 0 && ++sent === 3);
    let at = 0;
    const data = pattern(100_000);
    const tick = () => {
      at += send(client, data, at, 1000);
      pair.run(MILLISECOND);
    };
    while (at < data.length) tick();
    pair.run(2 * SECOND);
    expect(serverLog.bytes).toBe(data.length);
    expect(client.stats.timeouts).toBe(0);
    expect(client.stats.retransmissions).toBe(1);
    expect(pair.client.tcp.counters.tcpFastRetransmits).toBe(1);
  });

  test('RFC 6582: the same without SACK', () => {
    const pair: Pair = new Pair({ delay: 20 * MILLISECOND });
    const { client, server, serverLog } = pair.connect({ noDelay: true, maxMss: 1012 });
    client.sackOn = false;
    server.sackOn = false;
    let sent = 0;
    pair.filter = (wire, seg) => {
      if (wire.from !== pair.client || seg.dataLength === 0) return true;
      sent++;
      return sent !== 3 && sent !== 5;
    };
    const data = pattern(100_000);
    for (let at = 0; at < data.length; at += 1000) {
      send(client, data, at, 1000);
      pair.run(MILLISECOND);
    }
    pair.run(2 * SECOND);
    expect(serverLog.bytes).toBe(data.length);
    expect(client.stats.timeouts).toBe(0);
    expect(client.stats.retransmissions).toBeLessThanOrEqual(3);
  });

  test('RFC 6298: an RTO doubles with each timeout and data gets through at last', () => {
    const pair = new Pair();
    const { client, serverLog } = pair.connect();
    pair.filter = () => false;
    send(client, pattern(100), 0, 100);
    pair.run(10 * SECOND);
    expect(client.retries).toBeGreaterThanOrEqual(5);
    expect(client.retries).toBeLessThanOrEqual(6);
    pair.filter = undefined;
    pair.run(20 * SECOND);
    expect(serverLog.bytes).toBe(100);
    expect(client.retries).toBe(0);
  });

  test('R2: a dead peer ends in ETIMEDOUT after the user timeout (MUST-20, MUST-21)', () => {
    const pair = new Pair();
    const { client, clientLog } = pair.connect({ userTimeout: 30 * SECOND });
    pair.filter = () => false;
    send(client, pattern(100), 0, 100);
    pair.run(25 * SECOND);
    expect(client.state).toBe('ESTABLISHED');
    pair.run(60 * SECOND);
    expect(clientLog.events.at(-1)).toBe('closed ETIMEDOUT');
    expect(pair.client.tcp.count).toBe(0);
  });
});

describe('RFC 9293 3.3.2', () => {
  test('under random loss, calls and chatter only legal transitions happen', () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const random = seededRandom(seed);
      const pair: Pair = new Pair({ seed, filter: () => unit(random) > 0.15 });
      const { accepted } = pair.listen(80, 4);
      const client = pair.open();
      for (let step = 0; step < 40; step++) {
        const who = unit(random) < 0.5 ? client : accepted[0];
        const dice = unit(random);
        if (who !== undefined) {
          if (dice < 0.6) send(who, pattern(2000), 0, 2000);
          else if (dice < 0.66) shutdown(who);
          else if (dice < 0.68) close(who);
        }
        pair.run(200 * MILLISECOND * unit(random));
      }
      close(client);
      for (const tcb of accepted) close(tcb);
      pair.run(2 * HOUR);
      expect(pair.client.tcp.count + pair.server.tcp.count, `seed ${seed}`).toBe(0);
      for (const line of [...pair.client.states, ...pair.server.states]) seen.add(line);
    }
    for (const line of seen) {
      const [from, to] = line.split(' ') as [State, State];
      expect(TRANSITIONS[from], line).toContain(to);
    }
    expect(seen.size).toBeGreaterThan(12);
  });
});
