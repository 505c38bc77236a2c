// Corners of the machine, each named by the clause that decides it.

import { describe, expect, test } from 'vitest';
import type { IpError } from '../../src/base/ip.ts';
import { HOUR, MILLISECOND, MINUTE, SECOND } from '../../src/base/time.ts';
import { abort, accept, close, send, setKeepAlive, shutdown } from '../../src/tcp/calls.ts';
import { ACK, FIN, PSH, RST, SYN, URG } from '../../src/tcp/header.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { deliver } from '../../src/tcp/tcp.ts';
import { craft, fromPeer, Log, Pair, pattern, stamp } from './pair.ts';

/** Both connections forget what they agreed on. */
function without(what: 'timestamps' | 'sack', ...tcbs: Tcb[]): void {
  for (const tcb of tcbs) {
    if (what === 'sack') tcb.sackOn = false;
    else tcb.ts.on = false;
  }
}

/** An ICMP error about a segment of `tcb` that starts at `seq`. */
function errorAbout(tcb: Tcb, kind: IpError['kind'], seq: number, mtu = 0): IpError {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint16(0, tcb.localPort);
  view.setUint16(2, tcb.remotePort);
  view.setUint32(4, seq);
  const { local: source, remote: destination } = tcb;
  return { kind, mtu, source, destination, reporter: destination, view, at: 0, end: 8 };
}

describe('3.10.7.3: SYN-SENT', () => {
  test('data and FIN behind a SYN,ACK start one after the SYN', () => {
    const pair = new Pair({ filter: () => false });
    const client = pair.open();
    pair.settle();
    const answer = {
      sourcePort: 80,
      destinationPort: client.localPort,
      seq: 0xffff_fffe,
      ack: client.snd.nxt,
    };
    pair.inject(pair.client, craft({ ...answer, flags: SYN | ACK | FIN, data: pattern(10) }));
    pair.settle();
    const log = client.user as Log;
    expect(log.received).toEqual([...pattern(10)]);
    expect(client.state).toBe('CLOSE-WAIT');
    expect(client.receiveBuffer.nxt).toBe(10);
  });
});

describe('MUST-10: simultaneous open', () => {
  function opening() {
    const pair = new Pair({ filter: () => false });
    const client = pair.open();
    pair.settle();
    const peer = { sourcePort: 80, destinationPort: client.localPort, seq: 7000 };
    return { pair, client, peer };
  }

  test('the SYN and the SYN,ACK of the peer arrive in one round', () => {
    const { pair, client, peer } = opening();
    pair.inject(pair.client, craft({ ...peer, flags: SYN }));
    pair.inject(pair.client, craft({ ...peer, flags: SYN | ACK, ack: client.iss + 1 }));
    expect(client.state).toBe('ESTABLISHED');
    pair.settle();
    expect(pair.log.some((line) => line.includes('RST'))).toBe(false);
  });

  test('RFC 7323 2.2: the window of the SYN,ACK is not scaled', () => {
    const { pair, client, peer } = opening();
    const options = Uint8Array.of(3, 3, 7, 0);
    pair.inject(pair.client, craft({ ...peer, flags: SYN, options }));
    pair.settle();
    pair.inject(pair.client, craft({ ...peer, flags: SYN | ACK, ack: client.iss + 1, wnd: 1000, options }));
    expect(client.state).toBe('ESTABLISHED');
    expect(client.snd.wnd).toBeLessThanOrEqual(1000);
    expect(client.snd.wnd).toBeGreaterThan(800);
  });
});

describe('3.5.2: nothing answers a reset', () => {
  test('a SYN,RST in SYN-RECEIVED', () => {
    const pair: Pair = new Pair({ filter: (wire) => wire.from === pair.client });
    const { listener } = pair.listen();
    const client = pair.open();
    pair.run(100 * MILLISECOND);
    const before = pair.log.length;
    const half = [...listener.halfOpen][0]!;
    pair.inject(pair.server, fromPeer(half, { flags: SYN | RST, seq: client.iss }));
    pair.settle();
    expect(pair.log.length).toBe(before);
    expect(half.state).toBe('SYN-RECEIVED');
  });

  test('a reset with data that meets a window of zero in TIME-WAIT', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    shutdown(client);
    shutdown(server);
    pair.run(SECOND);
    expect(client.state).toBe('TIME-WAIT');
    client.rcv.edge = client.receiveBuffer.nxt;
    const before = pair.log.length;
    pair.inject(pair.client, fromPeer(client, { flags: RST, data: pattern(3) }));
    pair.settle();
    expect(pair.log.length).toBe(before);
    expect(client.state).toBe('TIME-WAIT');
  });
});

describe('SHLD-3: data after CLOSE', () => {
  test('data that had arrived before, sent again with a FIN behind it, is no new data', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    send(client, pattern(10), 0, 10);
    pair.run(SECOND);
    close(server);
    pair.run(SECOND);
    const seq = server.receiveBuffer.nxt - 10;
    pair.inject(pair.server, fromPeer(server, { flags: ACK | FIN, seq, data: pattern(10) }));
    expect(server.state).toBe('TIME-WAIT');
  });
});

describe('RFC 6298, Karn', () => {
  test('without timestamps, a path that grows longer than the RTO is learnt', () => {
    const pair = new Pair({ delay: 5 * MILLISECOND });
    const { client, server } = pair.connect();
    without('timestamps', client, server);
    for (let i = 0; i < 5; i++) {
      send(client, pattern(10), 0, 10);
      pair.run(SECOND);
    }
    pair.delay = 400 * MILLISECOND;
    for (let i = 0; i < 20; i++) {
      send(client, pattern(10), 0, 10);
      pair.run(3 * SECOND);
    }
    expect(client.rtt.srtt).toBeGreaterThan(400 * MILLISECOND);
    expect(client.stats.timeouts).toBeLessThan(8);
  });

  test('a FIN alone is timed by its own acknowledgment', () => {
    const pair: Pair = new Pair({ delay: 100 * MILLISECOND });
    const { client, server } = pair.connect();
    without('timestamps', client, server);
    let lost = 1;
    pair.filter = (wire) => wire.from !== pair.client || lost-- <= 0;
    send(client, pattern(10), 0, 10);
    while (client.retries === 0) pair.run(10 * MILLISECOND);
    pair.run(150 * MILLISECOND);
    shutdown(client);
    pair.run(3 * SECOND);
    expect(client.finAcked).toBe(true);
    expect(client.rtt.minRtt).toBeGreaterThanOrEqual(200 * MILLISECOND);
  });
});

describe('RFC 5681 4.2, RFC 2018 4: an ACK at once for data beyond a gap', () => {
  test('is a bare one with SACK, even while data flows the other way', () => {
    const sent: string[] = [];
    const pair: Pair = new Pair();
    const { server } = pair.connect({ noDelay: true });
    pair.filter = (_wire, seg) => {
      sent.push(`${seg.dataLength} bytes, ${seg.options.sackCount} blocks`);
      return false;
    };
    const ahead = server.receiveBuffer.nxt + 100;
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: ahead, data: pattern(10) }));
    send(server, pattern(100), 0, 100);
    pair.settle();
    expect(sent).toEqual(['100 bytes, 0 blocks', '0 bytes, 1 blocks']);
    // One answer is enough: the next data goes alone.
    send(server, pattern(100), 0, 100);
    pair.settle();
    expect(sent.length).toBe(3);
  });
});

describe('deliver', () => {
  test('a callback that throws costs nobody an event', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    serverLog.onReadable = () => {
      serverLog.onReadable = undefined;
      throw new Error('application');
    };
    send(client, pattern(10), 0, 10);
    abort(client);
    pair.filter = () => false;
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: pattern(10) }));
    pair.inject(pair.server, fromPeer(server, { flags: RST }));
    expect(() => deliver(pair.server.tcp)).toThrow('application');
    deliver(pair.server.tcp);
    expect(serverLog.events.at(-1)).toBe('closed ECONNRESET');
  });

  test('an acceptable() that throws costs the next listener nothing', () => {
    const pair = new Pair();
    const first = pair.listen(81).listener;
    const { accepted } = pair.listen(82);
    first.acceptable = () => {
      throw new Error('application');
    };
    pair.open(81);
    pair.open(82);
    expect(() => pair.run(SECOND)).toThrow('application');
    pair.run(SECOND);
    expect(accepted.length).toBe(1);
  });
});

describe('RFC 1191, 8201: the path MTU', () => {
  test('a path that carries more than before does not stop a window of one small segment', () => {
    const pair = new Pair({ mtu: 9000 });
    const { client, serverLog } = pair.connect();
    const wide = client.path;
    send(client, pattern(500), 0, 500);
    pair.settle();
    client.path = { ...wide, mtu: 600 };
    pair.client.entry.transport.error(errorAbout(client, 'packet too big', client.snd.una, 600));
    pair.run(SECOND);
    client.congestion.onTimeout(600, false);
    client.path = wide;
    send(client, pattern(100_000), 0, 100_000);
    pair.run(10 * SECOND);
    expect(serverLog.bytes).toBe(100_500);
  });

  test('RFC 5927 7: a forged Packet Too Big narrows nothing: what it quotes must be in flight', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    const { transport } = pair.client.entry;
    const about = (seq: number) => errorAbout(client, 'packet too big', seq, 600);
    // Nothing is in flight.
    for (const offset of [-1, 0, 1, 1 << 20]) {
      expect(transport.plausible?.(about((client.snd.nxt + offset) >>> 0))).toBe(false);
    }
    send(client, pattern(3000), 0, 3000);
    pair.settle();
    expect(transport.plausible?.(about(client.snd.una))).toBe(true);
    expect(transport.plausible?.(about(client.snd.nxt))).toBe(false);
    expect(transport.plausible?.(about((client.snd.una - 1) >>> 0))).toBe(false);
    // No such connection.
    expect(transport.plausible?.({ ...about(client.snd.una), source: client.remote })).toBe(false);
  });

  test('RFC 1191 6.5: what was too big goes again at once, in smaller segments, and the window stays', () => {
    const pair = new Pair();
    const { client, serverLog } = pair.connect();
    pair.filter = (wire) => wire.gsoSize <= 560;
    send(client, pattern(10_000), 0, 10_000);
    pair.settle();
    const { cwnd } = client.congestion;
    client.path = { ...client.path, mtu: 600 };
    pair.client.entry.transport.error(errorAbout(client, 'packet too big', client.snd.una, 600));
    pair.run(200 * MILLISECOND);
    expect(serverLog.bytes).toBe(10_000);
    expect(client.stats.timeouts).toBe(0);
    expect(client.congestion.cwnd).toBeGreaterThanOrEqual(cwnd);
  });
});

describe('RFC 5927 4.1: ICMP errors', () => {
  test('are ignored when nothing is in flight', () => {
    const pair = new Pair();
    const { client, clientLog } = pair.connect();
    for (const seq of [0, 1, client.snd.nxt, client.snd.una + 100]) {
      pair.client.entry.transport.error(errorAbout(client, 'host unreachable', seq));
    }
    pair.settle();
    expect(clientLog.events).toEqual(['connected']);
  });

  test('one long past does not explain a failure of today', () => {
    const pair = new Pair();
    const { client, clientLog } = pair.connect();
    send(client, pattern(10), 0, 10);
    pair.settle();
    pair.client.entry.transport.error(errorAbout(client, 'net unreachable', client.snd.una));
    pair.run(SECOND);
    pair.filter = () => false;
    send(client, pattern(10), 0, 10);
    pair.run(HOUR);
    expect(clientLog.events.at(-1)).toBe('closed ETIMEDOUT');
  });
});

describe('3.8.6.1: zero-window probes', () => {
  test('two ends that both closed their windows: one opens, and the other hears of it', () => {
    const pair = new Pair();
    const { client, server, clientLog, serverLog } = pair.connect({ receiveBufferLimit: 20_000 });
    clientLog.reading = serverLog.reading = false;
    send(client, pattern(60_000), 0, 60_000);
    send(server, pattern(60_000), 0, 60_000);
    pair.run(5 * MINUTE);
    expect([client.snd.wnd, server.snd.wnd]).toEqual([0, 0]);
    clientLog.reading = true;
    clientLog.read(client);
    pair.run(SECOND);
    expect(clientLog.bytes).toBe(60_000);
  });

  test('an octet that the peer took after all is acknowledged whenever the ACK comes', () => {
    const pair = new Pair({ delay: MILLISECOND });
    const { client, server, serverLog } = pair.connect({}, { receiveBufferLimit: 20_000 });
    serverLog.reading = false;
    const data = pattern(20_050);
    send(client, data, 0, data.length);
    // The answer to the probe that is taken comes late, after the window update.
    pair.run(5 * SECOND);
    expect(client.snd.wnd).toBe(0);
    const una = client.snd.una;
    serverLog.reading = true;
    pair.filter = (wire) => wire.from === pair.client;
    serverLog.read(server);
    pair.run(MINUTE);
    expect(server.receiveBuffer.nxt).toBe(una + 1);
    pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: una, wnd: 10 }));
    pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: una + 1, wnd: 10 }));
    expect(client.snd.una).toBe(una + 1);
    pair.filter = undefined;
    pair.run(MINUTE);
    expect(serverLog.received).toEqual([...data]);
    expect(pair.client.tcp.counters.tcpChallengeAcks).toBe(0);
  });

  test('a FIN that fits no window is probed with, and taken at last', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect({}, { receiveBufferLimit: 20_000 });
    serverLog.reading = false;
    send(client, pattern(20_000), 0, 20_000);
    shutdown(client);
    pair.run(MINUTE);
    expect(server.state).toBe('ESTABLISHED');
    serverLog.reading = true;
    serverLog.read(server);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['FIN-WAIT-2', 'CLOSE-WAIT']);
    expect(serverLog.received).toEqual([...pattern(20_000)]);
  });
});

describe('MUST-34: a window that shrinks', () => {
  test('what the closed window refused goes again as soon as it opens', () => {
    const pair: Pair = new Pair();
    const { client, serverLog } = pair.connect();
    pair.filter = (wire) => wire.from !== pair.client;
    send(client, pattern(10_000), 0, 10_000);
    pair.run(5 * MILLISECOND);
    for (let i = 0; i < 30; i++) {
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.una, wnd: 0 }));
      pair.run(10 * SECOND);
    }
    expect(client.state).toBe('ESTABLISHED');
    pair.filter = undefined;
    pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.una, wnd: 60_000 }));
    pair.run(SECOND);
    expect(serverLog.bytes).toBe(10_000);
  });

  test('an ACK of old data changes no window (3.10.7.4: SND.UNA =< SEG.ACK)', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    send(client, pattern(100), 0, 100);
    pair.run(SECOND);
    const { wnd } = client.snd;
    const { nxt } = client.receiveBuffer;
    pair.inject(pair.client, fromPeer(client, { flags: ACK, seq: nxt + 1, ack: client.snd.una - 1, wnd: 1 }));
    expect(client.snd.wnd).toBe(wnd);
  });
});

describe('RFC 5681 3.2, RFC 6582: duplicate ACKs without SACK', () => {
  test('no more of them count than segments are out, and none after a timeout', () => {
    const pair: Pair = new Pair();
    const { client, server } = pair.connect();
    without('sack', client, server);
    pair.filter = () => false;
    send(client, pattern(1_000_000), 0, 1_000_000);
    pair.settle();
    const out = () => (client.snd.nxt - client.snd.una) >>> 0;
    const before = out();
    for (let i = 0; i < 500; i++) {
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.una }));
    }
    pair.settle();
    expect(out()).toBeLessThanOrEqual(2 * before + client.snd.mss);
    pair.run(SECOND);
    expect(client.recovery.phase).toBe('timeout');
    const sent = client.stats.segmentsOut;
    for (let i = 0; i < 20; i++) {
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.una }));
      pair.settle();
    }
    expect(client.stats.segmentsOut).toBe(sent);
  });

  test('RFC 6675 5: an ACK that acknowledges data starts the count anew', () => {
    const pair = new Pair();
    const { client } = pair.connect({ noDelay: true });
    pair.filter = () => false;
    for (let i = 0; i < 8; i++) {
      send(client, pattern(100), 0, 100);
      pair.settle();
    }
    const { una } = client.snd;
    for (let i = 0; i < 3; i++) {
      const ack = una + 100 * i;
      const sack = new Uint8Array(24);
      sack.set(stamp(client));
      const view = new DataView(sack.buffer);
      view.setUint32(12, 0x0101050a);
      view.setUint32(16, ack + 200);
      view.setUint32(20, ack + 300);
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack, options: sack }));
    }
    expect(client.recovery.sacked.total).toBeGreaterThan(0);
    expect(client.recovery.phase).toBe('open');
  });

  test('RFC 6675 5 (4.2): ssthresh is half of FlightSize, all that is not acknowledged', () => {
    const pair: Pair = new Pair({ delay: 50 * MILLISECOND });
    const { client } = pair.connect({ noDelay: true, maxMss: 1012, congestion: 'newreno' });
    let sent = 0;
    pair.filter = (wire, seg) => !(wire.from === pair.client && seg.dataLength > 0 && ++sent === 1);
    for (let i = 0; i < 10; i++) {
      send(client, pattern(1000), 0, 1000);
      pair.run(MILLISECOND);
    }
    while (client.recovery.phase === 'open') pair.run(MILLISECOND);
    expect(client.congestion.ssthresh).toBe(5000);
  });
});

describe('timers', () => {
  test('a connection that a timer ended leaves no other timer', () => {
    const pair = new Pair();
    const { client } = pair.connect({
      userTimeout: 10 * SECOND,
      keepAlive: { enabled: true, idle: SECOND, interval: SECOND, count: 1000 },
    });
    pair.filter = () => false;
    send(client, pattern(10), 0, 10);
    pair.run(5 * SECOND);
    // The host slept: several deadlines are long past when its clock is read again.
    pair.now += HOUR;
    pair.client.timers.advance(pair.now);
    expect(client.state).toBe('CLOSED');
    expect(pair.client.timers.armed).toBe(0);
  });

  test('keep-alive is for open connections: set on a closed one, or in TIME-WAIT, it arms nothing', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    shutdown(client);
    shutdown(server);
    pair.run(SECOND);
    expect([client.state, server.state]).toEqual(['TIME-WAIT', 'TIME-WAIT']);
    const keepAlive = { enabled: true, idle: SECOND, interval: SECOND, count: 2 };
    setKeepAlive(client, keepAlive);
    pair.run(30 * SECOND);
    expect(client.state).toBe('TIME-WAIT');
    pair.run(MINUTE);
    setKeepAlive(client, keepAlive);
    expect(pair.client.timers.armed).toBe(0);
  });
});

describe('3.8.6.2.2: window updates', () => {
  test('a peer without window scaling is not told after every read of what the field cannot say', () => {
    const pair = new Pair();
    const { client, server } = pair.connect({ noDelay: true });
    server.rcv.scale = client.snd.scale = 0;
    server.rcv.edge = server.receiveBuffer.nxt + 65_535;
    const before = server.stats.segmentsOut;
    for (let i = 0; i < 20; i++) {
      send(client, pattern(100), 0, 100);
      pair.run(MILLISECOND);
    }
    pair.run(100 * MILLISECOND);
    expect(server.stats.segmentsOut - before).toBeLessThanOrEqual(3);
  });
});

describe('RFC 5961 4.2, RFC 7323 5', () => {
  test('a peer that forgot us and opens anew without timestamps is challenged, not ignored', () => {
    const pair = new Pair();
    const { server } = pair.connect();
    const none = new Uint8Array(0);
    pair.inject(pair.server, fromPeer(server, { flags: SYN, seq: 12345, options: none }));
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBe(1);
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: pattern(5), options: none }));
    expect(server.receiveBuffer.readable).toBe(0);
  });

  test('challenges work from the first second of the clock', () => {
    const pair = new Pair();
    pair.now = 0;
    const { server } = pair.connect();
    pair.now = 500 * MILLISECOND;
    pair.inject(pair.server, fromPeer(server, { flags: SYN }));
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBe(1);
  });

  test('5.5: after 24 days of silence a segment outside the window still leaves TS.Recent alone', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    pair.run(25 * 24 * HOUR);
    const recent = server.ts.recent;
    const forged = stamp(server, recent - 5);
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: server.rcv.edge + 5, options: forged }));
    expect(server.ts.recent).toBe(recent);
    send(client, pattern(10), 0, 10);
    pair.run(SECOND);
    expect(serverLog.bytes).toBe(10);
  });

  test('5.5: and one inside is believed, whatever its timestamp', () => {
    const pair = new Pair();
    const { server, serverLog } = pair.connect();
    pair.run(25 * 24 * HOUR);
    const options = stamp(server, (server.ts.recent - 1000) >>> 0);
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: pattern(7), options }));
    pair.settle();
    expect(serverLog.bytes).toBe(7);
  });
});

describe('MAY-2: a SYN in TIME-WAIT', () => {
  function waiting() {
    const pair = new Pair();
    const { client, server } = pair.connect();
    without('timestamps', client, server);
    shutdown(server);
    pair.run(SECOND);
    shutdown(client);
    pair.run(SECOND);
    expect(server.state).toBe('TIME-WAIT');
    return { pair, server };
  }

  test('with a FIN it ends nothing', () => {
    const { pair, server } = waiting();
    pair.inject(pair.server, fromPeer(server, { flags: SYN | FIN, seq: server.receiveBuffer.nxt + 1000 }));
    expect(server.state).toBe('TIME-WAIT');
  });

  test('3.6.1: the new ISS lies above all that the old connection used', () => {
    const { pair, server } = waiting();
    // A fast connection used up more numbers than the ISN clock ticked.
    server.snd.nxt = server.snd.una = (server.snd.nxt + 100_000_000) >>> 0;
    pair.inject(pair.server, fromPeer(server, { flags: SYN, seq: server.receiveBuffer.nxt + 1000 }));
    expect(server.state).toBe('CLOSED');
    const again = [...pair.server.tcp.connections.values()][0]!;
    expect(again.state).toBe('SYN-RECEIVED');
    expect((again.iss - server.snd.nxt) | 0).toBeGreaterThan(0);
  });
});

describe('3.10.7.4, sixth to eighth', () => {
  test('the urgent pointer is done with once RCV.NXT passes it', () => {
    const pair = new Pair();
    const { server } = pair.connect();
    const urgent = fromPeer(server, { flags: ACK | URG | PSH, data: pattern(10) });
    new DataView(urgent.buffer).setUint16(18, 20);
    pair.inject(pair.server, urgent);
    expect(server.rcv.urgent).toBe(true);
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: pattern(10) }));
    expect(server.rcv.urgent).toBe(false);
  });

  test('a FIN before data that is held already is ignored (hostile 104)', () => {
    const pair = new Pair();
    const { server, serverLog } = pair.connect();
    const { nxt } = server.receiveBuffer;
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: nxt + 40, data: pattern(60, 40) }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK | FIN, seq: nxt + 50 }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: nxt, data: pattern(40) }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK | FIN, seq: nxt + 100, data: pattern(5, 100) }));
    pair.settle();
    expect(serverLog.received).toEqual([...pattern(105)]);
    expect(server.state).toBe('CLOSE-WAIT');
  });
});

describe('3.8.3, RFC 6429: a window of zero and nobody who cares', () => {
  test('hostile 97: a closed connection does not wait for ever on a peer that answers and never reads', () => {
    const pair = new Pair();
    const { client, serverLog } = pair.connect({ userTimeout: 5 * MINUTE }, { receiveBufferLimit: 20_000 });
    serverLog.reading = false;
    send(client, pattern(60_000), 0, 60_000);
    pair.run(HOUR);
    // MUST-37: while the user holds on, so do we.
    expect(client.state).toBe('ESTABLISHED');
    close(client);
    pair.run(10 * MINUTE);
    expect(client.state).toBe('CLOSED');
    expect(serverLog.events.at(-1)).toBe('closed ECONNRESET');
    expect(pair.client.tcp.pools.large.inUse).toBe(0);
  });
});

describe('RFC 7323 4.1: round trips from timestamps', () => {
  test('an ACK that was lost for a minute makes no round trip of a minute', () => {
    const pair: Pair = new Pair({ delay: 10 * MILLISECOND });
    const { client, serverLog } = pair.connect();
    pair.filter = (wire) => wire.from === pair.client;
    send(client, pattern(100), 0, 100);
    pair.run(MINUTE);
    expect(serverLog.bytes).toBe(100);
    pair.filter = undefined;
    pair.run(MINUTE);
    expect(client.snd.una).toBe(client.snd.nxt);
    send(client, pattern(100), 0, 100);
    pair.run(SECOND);
    expect(client.rtt.srtt).toBeLessThan(100 * MILLISECOND);
    expect(client.rtt.rto).toBeLessThan(SECOND);
  });
});

describe('3.10.1, 3.10.2: accept and SEND', () => {
  test('a connection that was reset before accept is not offered; one that ended in order is, with its data', () => {
    const pair = new Pair();
    const { listener } = pair.listen();
    listener.acceptable = () => undefined;
    const gone = pair.open();
    const done = pair.open();
    pair.run(SECOND);
    send(done, pattern(10), 0, 10);
    shutdown(done);
    abort(gone);
    pair.run(SECOND);
    const tcb = accept(listener)!;
    const log = new Log();
    tcb.user = log;
    expect(accept(listener)).toBeUndefined();
    pair.run(SECOND);
    expect(log.received).toEqual([...pattern(10)]);
    expect(log.events).toEqual(['end']);
  });

  test('SEND takes bytes while opening and open, in CLOSE-WAIT, and nowhere else', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const takes = (tcb: Tcb) => [tcb.state, send(tcb, pattern(1), 0, 1)];
    expect(takes(pair.open(81))).toEqual(['SYN-SENT', 1]);
    expect(takes(client)).toEqual(['ESTABLISHED', 1]);
    shutdown(client);
    expect(takes(client)).toEqual(['FIN-WAIT-1', 0]);
    pair.run(SECOND);
    expect(takes(client)).toEqual(['FIN-WAIT-2', 0]);
    expect(takes(server)).toEqual(['CLOSE-WAIT', 1]);
    shutdown(server);
    expect(takes(server)).toEqual(['LAST-ACK', 0]);
    pair.run(SECOND);
    expect(takes(client)).toEqual(['TIME-WAIT', 0]);
    expect(takes(server)).toEqual(['CLOSED', 0]);
  });

  test('MUST-26: with data outstanding it is R2, not keep-alive, that gives a dead peer up', () => {
    const pair = new Pair();
    const keepAlive = { enabled: true, idle: SECOND, interval: SECOND, count: 2 };
    const { client, clientLog } = pair.connect({ keepAlive, userTimeout: MINUTE });
    pair.filter = () => false;
    send(client, pattern(10), 0, 10);
    pair.run(55 * SECOND);
    expect(client.state).toBe('ESTABLISHED');
    expect(pair.client.tcp.counters.tcpKeepAliveProbes).toBe(0);
    pair.run(3 * MINUTE);
    expect(clientLog.events.at(-1)).toBe('closed ETIMEDOUT');
  });
});

describe('3.8.6.2.1: silly window avoidance', () => {
  test('where the MTU is larger than the largest segment of ours, that one counts as full: none waits for a timer', () => {
    const pair = new Pair({ mtu: 65_536, delay: 0 });
    const { client, serverLog } = pair.connect({ receiveBufferLimit: 2 << 20, sendBufferLimit: 4 << 20 });
    serverLog.keep = false;
    const before = pair.now;
    const stream = pattern(2_000_000);
    let at = 0;
    const more = () => {
      at += send(client, stream, at, stream.length - at);
    };
    (client.user as Log).onWritable = more;
    more();
    while (serverLog.bytes < stream.length && pair.now - before < 10 * SECOND) pair.run(MILLISECOND);
    expect(serverLog.bytes).toBe(stream.length);
    // One delayed ACK at most: a wait for each segment would be seconds.
    expect(pair.now - before).toBeLessThan(100 * MILLISECOND);
  });
});
