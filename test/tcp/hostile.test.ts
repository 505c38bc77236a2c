// What hostile packets must not do to TCP. The numbers are those of the list of packet classes that the whole stack is held to.
//
// Of every class: nothing is thrown, nothing grows without bound, no answer goes out that the RFC forbids, and afterwards the
// same connection, or a new one to the same host, still carries data both ways.

import { describe, expect, test } from 'vitest';
import type { IpError } from '../../src/base/ip.ts';
import { below, seededRandom } from '../../src/base/random.ts';
import { HOUR, MILLISECOND, MINUTE, SECOND } from '../../src/base/time.ts';
import { accept, close, open, send, shutdown } from '../../src/tcp/calls.ts';
import { ACK, FIN, flagNames, PSH, RST, SYN, URG } from '../../src/tcp/header.ts';
import type { Segment } from '../../src/tcp/segment.ts';
import type { State, Tcb } from '../../src/tcp/tcb.ts';
import { LEAST_MSS, TIMESTAMPS_LENGTH } from '../../src/tcp/window.ts';
import { craft, fromPeer, Log, Pair, pattern, type Side, stamp, type Wire } from './pair.ts';

/** A connection that carries data both ways is well. */
function exchange(pair: Pair, client: Tcb, server: Tcb): void {
  pair.run(SECOND);
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    const log = to.user as Log;
    const had = log.bytes;
    const data = pattern(3000, had);
    expect(send(from, data, 0, data.length)).toBe(data.length);
    pair.run(2 * SECOND);
    expect(log.bytes - had).toBe(data.length);
    expect(log.received.slice(-data.length)).toEqual([...data]);
  }
}

/** A host that takes a new connection on port 80 is well. */
function hostIsWell(pair: Pair): void {
  pair.filter = undefined;
  const log = new Log();
  const client = pair.open(80, {}, log);
  pair.run(SECOND);
  expect(client.state).toBe('ESTABLISHED');
  send(client, pattern(10), 0, 10);
  pair.run(SECOND);
  expect(client.snd.una).toBe(client.snd.nxt);
}

/** A SYN to port 80 as a stranger would send it. */
function syn(fields: Partial<Parameters<typeof craft>[0]> = {}): Uint8Array {
  return craft({ sourcePort: 1024, destinationPort: 80, seq: 1, flags: SYN, ...fields });
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** `before`, then `after`, with NOPs up to a multiple of four. */
function joined(before: Uint8Array, after: Uint8Array): Uint8Array {
  const length = (before.length + after.length + 3) & ~3;
  const all = new Uint8Array(length).fill(1);
  all.set(before);
  all.set(after, before.length);
  return all;
}

function sackOption(tcb: Tcb, ...edges: number[]): Uint8Array {
  const option = new Uint8Array(2 + 4 * edges.length);
  const view = new DataView(option.buffer);
  view.setUint16(0, 0x0500 | option.length);
  for (const [i, edge] of edges.entries()) view.setUint32(2 + 4 * i, edge);
  return joined(stamp(tcb), option);
}

function errorAbout(tcb: Tcb, kind: IpError['kind'], seq: number, mtu = 0): IpError {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint16(0, tcb.localPort);
  view.setUint16(2, tcb.remotePort);
  view.setUint32(4, seq);
  const { local: source, remote: destination } = tcb;
  return { kind, mtu, source, destination, reporter: destination, view, at: 0, end: 8 };
}

/** What `side` puts on the wire from now on; it gets nowhere. */
function silence(pair: Pair, side: Side): Segment[] {
  const seen: Segment[] = [];
  pair.filter = (wire, seg) => {
    if (wire.from === side) seen.push({ ...seg, options: { ...seg.options } });
    return false;
  };
  return seen;
}

describe('ICMP', () => {
  const kinds: IpError['kind'][] = [
    'net unreachable',
    'host unreachable',
    'protocol unreachable',
    'port unreachable',
    'prohibited',
    'ttl exceeded',
    'parameter problem',
  ];

  test('62: a guessed sequence number resets nothing, and a right one only an opening connection', () => {
    const pair = new Pair();
    const { client, server, clientLog } = pair.connect();
    const { transport } = pair.client.entry;
    const random = seededRandom(62);
    send(client, pattern(1000), 0, 1000);
    pair.settle();
    for (const kind of kinds) {
      for (let i = 0; i < 200; i++) transport.error(errorAbout(client, kind, random.u32()));
      transport.error(errorAbout(client, kind, client.snd.una));
    }
    pair.settle();
    expect(client.state).toBe('ESTABLISHED');
    expect(clientLog.events.every((e) => !e.startsWith('closed'))).toBe(true);
    exchange(pair, client, server);

    const opening = pair.open(9999);
    pair.filter = () => false;
    pair.settle();
    transport.error(errorAbout(opening, 'port unreachable', opening.iss + 1));
    expect(opening.state).toBe('SYN-SENT');
    transport.error(errorAbout(opening, 'port unreachable', opening.iss));
    expect(opening.state).toBe('CLOSED');
  });

  test('62: an error that quotes too little, or a connection that is none, is nothing', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    send(client, pattern(1000), 0, 1000);
    pair.settle();
    const error = errorAbout(client, 'port unreachable', client.snd.una);
    for (let end = 0; end < 8; end++) pair.client.entry.transport.error({ ...error, end });
    pair.client.entry.transport.error({ ...error, source: client.remote });
    expect(client.softError).toBeUndefined();
  });

  test('64: Packet Too Big is believed only of what is in flight, never to raise, never below reason', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const { transport } = pair.client.entry;
    const { mss } = client.snd;
    const random = seededRandom(64);
    for (let i = 0; i < 200; i++) {
      expect(transport.plausible?.(errorAbout(client, 'packet too big', random.u32(), 68))).toBe(false);
    }
    send(client, pattern(5000), 0, 5000);
    pair.settle();
    // The path is what IP says it is: an error that changed nothing there changes nothing here.
    transport.error(errorAbout(client, 'packet too big', client.snd.una, 68));
    expect(client.snd.mss).toBe(mss);
    expect(client.recovery.phase).toBe('open');
    exchange(pair, client, server);
    client.path = { ...client.path, mtu: 1 };
    send(client, pattern(500), 0, 500);
    pair.settle();
    expect(client.snd.mss).toBeGreaterThanOrEqual(8);
  });

  test('67: how many challenge ACKs one connection gets tells nothing of another', () => {
    const pair = new Pair();
    pair.listen();
    const one = pair.open();
    const two = pair.open();
    pair.run(SECOND);
    const budgets = new Set<number>();
    for (let i = 0; i < 20; i++) {
      const seen: Segment[] = silence(pair, pair.client);
      for (let k = 0; k < 100; k++) {
        pair.inject(pair.client, fromPeer(one, { flags: RST, seq: one.receiveBuffer.nxt + 10 }));
        pair.settle();
      }
      budgets.add(seen.length);
      const before = seen.length;
      pair.inject(pair.client, fromPeer(two, { flags: RST, seq: two.receiveBuffer.nxt + 10 }));
      pair.settle();
      expect(seen.length).toBe(before + 1);
      pair.run(2 * SECOND);
    }
    expect(Math.max(...budgets)).toBeLessThan(20);
    expect(budgets.size).toBeGreaterThan(3);
  });
});

describe('header and options', () => {
  test('68, 84: a data offset that lies, a segment shorter than a header', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const whole = fromPeer(server, { flags: ACK | PSH, data: pattern(8) });
    for (let offset = 0; offset < 16; offset++) {
      const segment = whole.slice();
      segment[12] = offset << 4;
      const verdict = pair.inject(pair.server, segment);
      if (offset < 5 || offset * 4 > segment.length) expect(verdict).toBe('bad data offset');
    }
    for (let length = 0; length < 20; length++) {
      expect(pair.inject(pair.server, whole.slice(0, length))).toBe('truncated');
    }
    expect(server.state).toBe('ESTABLISHED');
    // Some offsets made data of options or options of data; the connection has taken 20 bytes at most.
    expect(server.receiveBuffer.readable).toBeLessThanOrEqual(20);
    hostIsWell(pair);
    expect(client.state).toBe('ESTABLISHED');
  });

  const malformed: [string, Uint8Array][] = [
    ['69: length 0', bytes(254, 0, 1, 1)],
    ['69: length 1', bytes(254, 1, 1, 1)],
    ['70: past the header', bytes(254, 40, 1, 1)],
    ['70: a length byte that is not there', bytes(1, 1, 1, 254)],
    ['75: SACK of 3 bytes', bytes(5, 3, 0, 1)],
    ['75: SACK of 9 bytes', bytes(5, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1)],
    ['75: SACK of 2 bytes', bytes(5, 2, 1, 1)],
    ['70: SACK of 34 bytes in 8', bytes(5, 34, 0, 0, 0, 1, 0, 0)],
    ['69: MSS of length 0', bytes(2, 0, 0, 0)],
    ['75: timestamps of 11 bytes', bytes(8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
    ['69: window scale of 2 bytes', bytes(3, 2, 1, 1)],
  ];
  for (const [name, options] of malformed) {
    test(`${name}: in a SYN, and (78) in a segment of an open connection with any sequence number`, () => {
      const pair = new Pair();
      const { client, server } = pair.connect();
      expect(pair.inject(pair.server, syn({ options: joined(options, bytes()) }))).toBeUndefined();
      const random = seededRandom(78);
      for (let i = 0; i < 50; i++) {
        const seq = i === 0 ? server.receiveBuffer.nxt : random.u32();
        for (const before of [stamp(server), bytes()]) {
          const segment = fromPeer(server, { flags: ACK, seq, options: joined(before, options) });
          pair.inject(pair.server, segment);
        }
      }
      expect(server.state).toBe('ESTABLISHED');
      exchange(pair, client, server);
    });
  }

  test('71, 72: an MSS of 0, 1, 48 asks for no crumbs and divides nothing by zero', () => {
    for (const mss of [0, 1, 8, 48, 63]) {
      const pair = new Pair();
      const { listener } = pair.listen();
      listener.acceptable = () => undefined;
      const options = bytes(2, 4, mss >> 8, mss & 255);
      pair.filter = () => false;
      pair.inject(pair.server, syn({ options }));
      pair.settle();
      const server = [...listener.halfOpen][0]!;
      pair.inject(pair.server, fromPeer(server, { flags: ACK }));
      pair.settle();
      const tcb = accept(listener)!;
      tcb.user = new Log();
      send(tcb, pattern(100_000), 0, 100_000);
      pair.settle();
      expect(tcb.snd.mss).toBeGreaterThanOrEqual(LEAST_MSS - TIMESTAMPS_LENGTH);
      hostIsWell(pair);
    }
  });

  test('73: a small MSS and a SACK of every other segment: counters hold, and all arrives', () => {
    const pair = new Pair({ delay: MILLISECOND });
    const { client, serverLog } = pair.connect({ maxMss: 64 + TIMESTAMPS_LENGTH });
    let n = 0;
    pair.filter = (wire, seg) =>
      wire.from !== pair.client || seg.dataLength === 0 || n++ % 2 === 0 || n > 300;
    const data = pattern(60_000);
    send(client, data, 0, data.length);
    pair.run(MINUTE);
    expect(serverLog.received).toEqual([...data]);
  });

  test('74, 76: crafted SACK blocks: a bounded scoreboard, and nothing entered that was not sent', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    pair.filter = () => false;
    send(client, pattern(1_000_000), 0, 1_000_000);
    client.congestion.onAck(1_000_000, 0, 1_000_000, pair.now, true);
    for (let i = 0; i < 6; i++) {
      client.congestion.onAck(60_000, 0, 1_000_000, pair.now, true);
    }
    send(client, pattern(1), 0, 1);
    pair.settle();
    const { una, nxt } = client.snd;
    const bogus: [number, number][] = [
      [una, una],
      [una + 100, una + 50],
      [nxt, nxt + 1],
      [nxt - 1, nxt + 1],
      [una - 100, una - 50],
      [una - 1, una + 10],
      [una, una + 10],
      [una + 0x7fff_ffff, una + 0x8000_0010],
      [0, 0xffff_ffff],
    ];
    for (const [left, right] of bogus) {
      const options = sackOption(client, left >>> 0, right >>> 0);
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: una, options }));
    }
    expect(client.recovery.sacked.total).toBe(0);
    for (let at = una + 2; at < nxt - 2; at += 8) {
      const edges = [at, at + 1, at + 2, at + 3, at + 4, at + 5].map((edge) => edge >>> 0);
      pair.inject(
        pair.client,
        fromPeer(client, { flags: ACK, ack: una, options: sackOption(client, ...edges) }),
      );
    }
    expect(client.recovery.sacked.count).toBeLessThanOrEqual(256);
    pair.settle();
    expect(client.stats.retransmissions).toBeLessThan(2000);
    pair.filter = undefined;
    pair.run(5 * MINUTE);
    expect((server.user as Log).bytes).toBe(1_000_001);
    exchange(pair, client, server);
  });

  test('77: the answer to a SYN without options holds no byte that we did not put there', () => {
    const pair = new Pair();
    pair.listen();
    const sent: Wire[] = [];
    pair.filter = (wire) => {
      sent.push(wire);
      return false;
    };
    pair.inject(pair.server, syn({ options: bytes(0xde, 0, 0xad, 0xbe) }));
    pair.settle();
    const answer = sent[0]!.bytes;
    expect(answer.length).toBe(24);
    expect([...answer.subarray(20)]).toEqual([2, 4, 1460 >> 8, 1460 & 255]);
    hostIsWell(pair);
  });

  test('79 to 83: urgent pointers of 0, beyond the segment, beyond the window, without data', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    for (const up of [0, 1, 4, 5, 100, 0x7fff, 0x8000, 0xffff]) {
      for (const length of [0, 4]) {
        const segment = fromPeer(server, { flags: ACK | URG | PSH, data: pattern(length, serverLog.bytes) });
        new DataView(segment.buffer).setUint16(18, up);
        pair.inject(pair.server, segment);
        pair.settle();
      }
    }
    expect(serverLog.bytes).toBe(32);
    expect(serverLog.received).toEqual([...pattern(32)]);
    // Outside the window (80): nothing moves.
    const { up, urgent } = server.rcv;
    const outside = fromPeer(server, { flags: ACK | URG, seq: server.rcv.edge + 5 });
    new DataView(outside.buffer).setUint16(18, 10);
    pair.inject(pair.server, outside);
    expect([server.rcv.up, server.rcv.urgent]).toEqual([up, urgent]);
    client.snd.nxt =
      client.snd.una =
      client.recovery.highRxt =
      client.recovery.lostBelow =
        server.receiveBuffer.nxt;
    client.snd.small = client.snd.una;
    exchange(pair, client, server);
    // WinNuke (83) to a port with a listener and one without.
    for (const destinationPort of [80, 139]) {
      pair.inject(pair.server, syn({ destinationPort, flags: URG | PSH | ACK, data: bytes(1) }));
      pair.inject(pair.server, syn({ destinationPort, flags: URG | PSH, data: bytes(1) }));
    }
    hostIsWell(pair);
  });

  test('86: window scales of 15 to 255 are 14', () => {
    for (const shift of [14, 15, 31, 32, 128, 255]) {
      const pair = new Pair();
      const { listener } = pair.listen();
      pair.inject(pair.server, syn({ options: bytes(3, 3, shift, 1) }));
      const server = [...listener.halfOpen][0]!;
      expect(server.snd.scale).toBe(14);
      pair.filter = () => false;
      pair.settle();
      pair.inject(pair.server, fromPeer(server, { flags: ACK, wnd: 65_535 }));
      expect(server.snd.wnd).toBe(65_535 * 2 ** 14);
      hostIsWell(pair);
    }
  });

  test('87: timestamps that jump poison nothing unless they hold the left edge', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const { recent } = server.ts;
    const { nxt } = server.receiveBuffer;
    const jump = (by: number) => stamp(server, (recent + by) >>> 0);
    // Inside the window, but beyond Last.ACK.sent; outside the window; backwards; none at all.
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: nxt + 5, options: jump(0x7fff_0000) }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: nxt - 5000, options: jump(1000) }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: bytes(1), options: jump(-1) }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, data: bytes(1), options: bytes() }));
    expect(server.ts.recent).toBe(recent);
    expect(server.receiveBuffer.nxt).toBe(nxt);
    // An echo of what we never sent gives no absurd round trip.
    for (const tsecr of [1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      send(server, pattern(10), 0, 10);
      pair.settle();
      server.timedAt = Number.POSITIVE_INFINITY;
      const options = stamp(server, recent, tsecr);
      pair.inject(pair.server, fromPeer(server, { flags: ACK, options }));
    }
    expect(server.rtt.srtt).toBeLessThan(600 * SECOND);
    pair.run(SECOND);
    exchange(pair, client, server);
  });

  test('88: options of a SYN in other segments change nothing', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const before = { ...server.snd, on: server.ts.on, sack: server.sackOn };
    const options = joined(stamp(server), bytes(2, 4, 0, 1, 3, 3, 0, 4, 2, 34, 2));
    pair.inject(
      pair.server,
      fromPeer(server, { flags: ACK, options, wnd: server.snd.wnd >> server.snd.scale }),
    );
    const { snd } = server;
    expect([snd.peerMss, snd.scale, snd.mss]).toEqual([before.peerMss, before.scale, before.mss]);
    expect([server.ts.on, server.sackOn]).toEqual([before.on, before.sack]);
    // Twice in one SYN: the first counts.
    pair.inject(pair.server, syn({ options: bytes(2, 4, 4, 0, 2, 4, 0, 1, 3, 3, 2, 3, 3, 9, 1, 1) }));
    const half = [...(pair.server.tcp.listeners.get(80)![0]!.halfOpen ?? [])][0]!;
    expect([half.snd.peerMss, half.snd.scale]).toEqual([1024, 2]);
    exchange(pair, client, server);
  });

  test('89: whatever follows the end of the option list is padding', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const random = seededRandom(89);
    for (let i = 0; i < 500; i++) {
      const options = new Uint8Array(40);
      for (let k = 0; k < 40; k++) options[k] = random.u32();
      options.set(stamp(server));
      options[12] = 0;
      pair.inject(pair.server, fromPeer(server, { flags: ACK, options }));
      const wild = new Uint8Array(40);
      for (let k = 0; k < 40; k++) wild[k] = random.u32();
      pair.inject(pair.server, fromPeer(server, { flags: ACK, options: wild }));
      pair.inject(pair.server, syn({ sourcePort: 1024 + i, options: wild }));
    }
    expect(server.state).toBe('ESTABLISHED');
    pair.run(MILLISECOND);
    exchange(pair, client, server);
  });

  test('90: port 0, and addresses of groups: no answer, no connection', () => {
    const pair = new Pair();
    pair.listen();
    const seen = silence(pair, pair.server);
    expect(pair.inject(pair.server, syn({ sourcePort: 0 }))).toBe('bad port');
    expect(pair.inject(pair.server, syn({ destinationPort: 0 }))).toBe('bad port');
    const cast = (change: Parameters<Pair['injectPacket']>[1]) =>
      pair.injectPacket(pair.server, change, syn());
    expect(cast((p) => (p.groupDestination = true))).toBe('bad destination');
    expect(cast((p) => (p.linkCast = 1))).toBe('bad destination');
    expect(cast((p) => (p.linkCast = 2))).toBe('bad destination');
    expect(cast((p) => (p.s3 = 0xe000_0001 | 0))).toBe('bad source');
    expect(cast((p) => (p.s3 = 0))).toBe('bad source');
    pair.settle();
    expect(seen).toEqual([]);
    expect(pair.server.tcp.count).toBe(0);
    hostIsWell(pair);
  });

  test('91: a bad checksum', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    const segment = fromPeer(server, { flags: ACK | PSH, data: pattern(10) });
    expect(pair.injectPacket(pair.server, (p) => (p.checksumTrusted = false), segment)).toBe('bad checksum');
    expect(pair.server.tcp.counters.tcpInErrs).toBe(1);
    expect(serverLog.bytes).toBe(0);
    exchange(pair, client, server);
  });
});

// ---- 85: every combination of flags in every state

type Where = 'exact' | 'inside' | 'outside';
const STATES: (State | 'LISTEN')[] = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
];

/** A server in `state`, towards a client that says nothing more; `tcb` is undefined in CLOSED and LISTEN. */
function inState(state: State | 'LISTEN'): { pair: Pair; tcb: Tcb | undefined } {
  const pair = new Pair({ delay: MILLISECOND });
  if (state === 'CLOSED') return { pair, tcb: undefined };
  if (state === 'SYN-SENT') {
    pair.filter = () => false;
    const request = { remote: pair.client.address, remotePort: 5000, user: new Log() };
    const tcb = open(pair.server.tcp, request) as Tcb;
    pair.settle();
    return { pair, tcb };
  }
  if (state === 'LISTEN' || state === 'SYN-RECEIVED') {
    const { listener } = pair.listen();
    if (state === 'LISTEN') return { pair, tcb: undefined };
    pair.filter = (wire) => wire.from === pair.client;
    pair.open();
    pair.run(5 * MILLISECOND);
    return { pair, tcb: [...listener.halfOpen][0]! };
  }
  const { client, server: tcb } = pair.connect();
  if (state === 'CLOSE-WAIT' || state === 'LAST-ACK') shutdown(client);
  if (state === 'FIN-WAIT-2' || state === 'TIME-WAIT') shutdown(tcb);
  pair.run(SECOND);
  if (state === 'TIME-WAIT') shutdown(client);
  pair.run(SECOND);
  pair.filter = () => false;
  if (state === 'FIN-WAIT-1' || state === 'CLOSING' || state === 'LAST-ACK') shutdown(tcb);
  pair.settle();
  if (state === 'CLOSING') pair.inject(pair.server, fromPeer(tcb, { flags: ACK | FIN, ack: tcb.snd.una }));
  pair.settle();
  expect(tcb.state).toBe(state);
  return { pair, tcb };
}

/** RFC 9293 3.10.7 with RFC 5961 and RFC 1337, for a segment of 4 bytes that acknowledges all that was sent. */
function expectedState(state: State | 'LISTEN', flags: number, where: Where): State | 'LISTEN' {
  const has = (bit: number) => (flags & bit) !== 0;
  const finState = (from: State, to: State) => (has(FIN) && where === 'exact' ? to : from);
  if (state === 'CLOSED' || state === 'LISTEN') return state;
  if (state === 'SYN-SENT') {
    if (has(RST)) return has(ACK) ? 'CLOSED' : state;
    if (!has(SYN)) return state;
    if (!has(ACK)) return 'SYN-RECEIVED';
    return has(FIN) ? 'CLOSE-WAIT' : 'ESTABLISHED';
  }
  // MAY-2: a SYN above all that was received makes a new connection.
  const opening = (flags & (SYN | ACK | RST | FIN)) === SYN;
  if (state === 'TIME-WAIT' && opening && where === 'inside') return 'CLOSED';
  if (where === 'outside') return state;
  if (has(RST)) return where === 'exact' && state !== 'TIME-WAIT' ? 'CLOSED' : state;
  if (has(SYN)) return state === 'SYN-RECEIVED' ? 'CLOSED' : state;
  if (!has(ACK)) return state;
  switch (state) {
    case 'SYN-RECEIVED':
    case 'ESTABLISHED':
      return finState('ESTABLISHED', 'CLOSE-WAIT');
    case 'FIN-WAIT-1':
    case 'FIN-WAIT-2':
      return finState('FIN-WAIT-2', 'TIME-WAIT');
    case 'CLOSING':
      return 'TIME-WAIT';
    case 'LAST-ACK':
      return 'CLOSED';
    default:
      return state;
  }
}

/** What may be sent in answer (3.5.2, 3.10.7): nothing to a reset but a challenge, no reset to what fits. */
function checkAnswers(
  answers: Segment[],
  state: State | 'LISTEN',
  flags: number,
  where: Where,
  name: string,
): void {
  const resets = answers.filter((a) => (a.flags & RST) !== 0);
  if ((flags & RST) !== 0) {
    expect(resets, name).toEqual([]);
    if (where !== 'inside' || state === 'SYN-SENT' || state === 'CLOSED' || state === 'LISTEN') {
      expect(answers, name).toEqual([]);
    }
  } else if (state === 'CLOSED') {
    expect(resets.length, name).toBe(1);
  } else if (state === 'LISTEN') {
    expect(resets.length, name).toBe((flags & ACK) !== 0 ? 1 : 0);
  } else {
    expect(resets, name).toEqual([]);
  }
  expect(answers.length, name).toBeLessThanOrEqual(2);
}

describe('85: all 64 flags in every state, in, ahead of, and outside the window', () => {
  for (const state of STATES) {
    test(state, () => {
      for (let flags = 0; flags < 64; flags++) {
        for (const where of ['exact', 'inside', 'outside'] as const) {
          const { pair, tcb } = inState(state);
          const name = `${state} ${flagNames(flags)} ${where}`;
          const answers = silence(pair, pair.server);
          const seq = tcb === undefined ? 77 : tcb.receiveBuffer.nxt;
          const offset = { exact: 0, inside: 100, outside: -100_000 }[where];
          const fields = { flags, seq: (seq + offset) >>> 0, data: pattern(4) };
          const segment =
            tcb === undefined ? syn({ ...fields, ack: 99 }) : fromPeer(tcb, { ...fields, ack: tcb.snd.nxt });
          pair.inject(pair.server, segment);
          pair.settle();
          const expected = expectedState(state, flags, where);
          if (tcb !== undefined) expect(tcb.state, name).toBe(expected);
          checkAnswers(answers, state, flags, where, name);
          const ours = [...pair.server.tcp.connections.values()].length;
          const plainSyn = (flags & (SYN | ACK | RST | FIN)) === SYN;
          if (state === 'LISTEN') expect(ours, name).toBe(plainSyn ? 1 : 0);
          if (where === 'exact' && flags % 8 === 3) {
            if (!pair.server.tcp.listeners.has(80)) pair.listen();
            hostIsWell(pair);
          }
        }
      }
    });
  }
});

describe('blind attacks', () => {
  test('92: RST and SYN with every number in the window but the right one', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const { nxt } = server.receiveBuffer;
    const wnd = (server.rcv.edge - nxt) >>> 0;
    for (let i = 1; i < 1000; i++) {
      const seq = (nxt + Math.floor((wnd * i) / 1000)) >>> 0;
      pair.inject(pair.server, fromPeer(server, { flags: RST, seq }));
      pair.inject(pair.server, fromPeer(server, { flags: RST | ACK, seq }));
      pair.inject(pair.server, fromPeer(server, { flags: SYN, seq }));
      pair.settle();
    }
    expect(server.state).toBe('ESTABLISHED');
    expect(pair.server.tcp.counters.tcpChallengeAcks).toBeLessThan(20);
    exchange(pair, client, server);
  });

  test('93: data with an ACK from elsewhere', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    const random = seededRandom(93);
    const { una, nxt, maxWnd } = server.snd;
    let taken = 0;
    for (let i = 0; i < 2000; i++) {
      const ack = random.u32();
      if ((nxt - ack) >>> 0 <= maxWnd + ((nxt - una) >>> 0)) continue;
      const verdict = pair.inject(pair.server, fromPeer(server, { flags: ACK | PSH, ack, data: bytes(66) }));
      if (verdict === undefined) taken++;
    }
    expect(taken).toBe(0);
    pair.settle();
    expect(serverLog.bytes).toBe(0);
    exchange(pair, client, server);
  });

  test('94, 95: initial sequence numbers and ports do not follow from each other', () => {
    const pair = new Pair({ filter: () => false });
    const isns: number[] = [];
    const ports: number[] = [];
    for (let i = 0; i < 300; i++) {
      const tcb = pair.open();
      isns.push(tcb.iss);
      ports.push(tcb.localPort);
    }
    const gaps = (xs: number[]) => new Set(xs.slice(1).map((x, i) => (x - xs[i]!) >>> 0));
    expect(gaps(isns).size).toBeGreaterThan(295);
    expect(gaps(ports).size).toBeGreaterThan(250);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(32_768);
    expect(Math.max(...ports)).toBeLessThanOrEqual(60_999);
  });

  test('99: ACKs of what was not sent yet move nothing', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    const seen: Segment[] = [];
    pair.filter = (wire, seg) => {
      if (wire.from === pair.client) seen.push({ ...seg });
      return wire.from === pair.client;
    };
    send(client, pattern(200_000), 0, 200_000);
    pair.settle();
    const { cwnd } = client.congestion;
    for (let i = 1; i < 100; i++) {
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.nxt + i * 1448 }));
      pair.settle();
    }
    expect(client.congestion.cwnd).toBe(cwnd);
    expect(seen.filter((s) => s.dataLength > 0).length).toBe(1);
    pair.filter = undefined;
    pair.run(10 * SECOND);
    expect(serverLog.bytes).toBe(200_000);
    exchange(pair, client, server);
  });

  test('100: an ACK for every single byte grows the window by bytes, not by ACKs', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    pair.filter = () => false;
    send(client, pattern(1_000_000), 0, 1_000_000);
    pair.settle();
    const { cwnd } = client.congestion;
    const { una } = client.snd;
    for (let i = 1; i <= 5000; i++) pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: una + i }));
    expect(client.congestion.cwnd).toBeLessThanOrEqual(cwnd + 5000);
    pair.settle();
    hostIsWell(pair);
  });

  test('101: no reset, no old segment and no SYN of the past ends TIME-WAIT', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    shutdown(client);
    pair.run(SECOND);
    shutdown(server);
    pair.run(SECOND);
    const { nxt } = client.receiveBuffer;
    for (const offset of [0, 1, 100, -1, -1000]) {
      for (const flags of [RST, RST | ACK, FIN | ACK, ACK, SYN | ACK, FIN, 0]) {
        pair.inject(pair.client, fromPeer(client, { flags, seq: (nxt + offset) >>> 0 }));
      }
    }
    pair.settle();
    expect(client.state).toBe('TIME-WAIT');
    pair.run(2 * MINUTE);
    expect(pair.client.tcp.count).toBe(0);
    hostIsWell(pair);
  });

  test('107: resets are never answered, so no storm of them lasts', () => {
    const pair = new Pair();
    const { client, server } = pair.connect();
    const seen = silence(pair, pair.server);
    const random = seededRandom(107);
    for (let i = 0; i < 5000; i++) {
      const flags = RST | (random.u32() & 0xfb);
      pair.inject(
        pair.server,
        syn({ sourcePort: 1 + below(random, 65_535), destinationPort: 1 + below(random, 200), flags }),
      );
      pair.inject(pair.server, fromPeer(server, { flags, seq: server.rcv.edge + 10 + i }));
    }
    pair.settle();
    expect(seen).toEqual([]);
    pair.filter = undefined;
    exchange(pair, client, server);
  });
});

describe('exhaustion', () => {
  test('96: a flood of 100 000 SYNs: bounded memory, and an honest connection in the middle and after', () => {
    const pair: Pair = new Pair({ config: { halfOpenLimit: 512 } });
    const { listener } = pair.listen();
    const { tcp, timers } = pair.server;
    // What the server answers to the spoofed addresses goes nowhere: their ports are below the ephemeral ones.
    pair.filter = (wire, seg) => wire.from === pair.client || seg.destinationPort >= 32_768;
    const random = seededRandom(96);
    const flood = (n: number) => {
      for (let i = 0; i < n; i++) {
        const sourcePort = 1024 + below(random, 30_000);
        pair.inject(
          pair.server,
          syn({ sourcePort, seq: random.u32() }),
          0x0b00_0000 + below(random, 1 << 24),
        );
      }
    };
    let honest: Tcb | undefined;
    for (let round = 0; round < 400; round++) {
      flood(250);
      // Nobody is told of a connection that nobody knew.
      expect(tcp.eventful.length).toBe(0);
      pair.settle();
      expect(listener.halfOpen.size).toBeLessThanOrEqual(512);
      expect(tcp.count).toBeLessThanOrEqual(512 + 1);
      expect(timers.size).toBeLessThanOrEqual(512 + 1);
      expect(tcp.outgoing.length).toBe(0);
      if (round === 200) honest = pair.open();
      // The honest handshake takes 20 ms, in which less than half of the half-open connections are new.
      if (round === 200) pair.run(30 * MILLISECOND);
    }
    expect(honest?.state).toBe('ESTABLISHED');
    expect(tcp.counters.tcpListenDrops).toBeGreaterThan(90_000);
    hostIsWell(pair);
    pair.run(10 * MINUTE);
    expect(listener.halfOpen.size).toBe(0);
  });

  test('96: RSTs for a flood at closed ports are bounded between two flushes', () => {
    const pair = new Pair();
    for (let i = 0; i < 100_000; i++) {
      pair.inject(pair.server, syn({ sourcePort: 1024 + (i % 60_000), destinationPort: 1 + (i % 60) }));
    }
    expect(pair.server.tcp.resets.length).toBeLessThanOrEqual(1024);
    pair.settle();
    pair.listen();
    hostIsWell(pair);
  });

  test('97: a peer that closes its window for ever pins what it was sent, and no more, until its user lets go', () => {
    const pair = new Pair();
    const { client } = pair.connect({}, { userTimeout: MINUTE });
    const server = [...pair.server.tcp.connections.values()].find((tcb) => tcb.state === 'ESTABLISHED')!;
    pair.filter = () => false;
    pair.inject(pair.server, fromPeer(server, { flags: ACK, wnd: 0 }));
    const limit = server.options.sendBufferLimit;
    expect(send(server, pattern(4 << 20), 0, 4 << 20)).toBe(limit);
    expect(send(server, pattern(1), 0, 1)).toBe(0);
    for (let i = 0; i < 100; i++) {
      pair.run(5 * SECOND);
      pair.inject(pair.server, fromPeer(server, { flags: ACK, wnd: 0, ack: server.snd.una }));
    }
    expect(server.state).toBe('ESTABLISHED');
    close(server);
    for (let i = 0; i < 30; i++) {
      pair.run(5 * SECOND);
      pair.inject(pair.server, fromPeer(server, { flags: ACK, wnd: 0, ack: server.snd.una }));
    }
    expect(server.state).toBe('CLOSED');
    expect(pair.server.tcp.pools.large.inUse).toBe(0);
    expect(client.state).toBe('ESTABLISHED');
    hostIsWell(pair);
  });

  test('98: SegmentSmack: tiny segments out of order all over the window', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    const { nxt, held } = server.receiveBuffer;
    expect(held).toBe(0);
    const random = seededRandom(98);
    for (let i = 0; i < 50_000; i++) {
      const seq = (nxt + 1 + below(random, 60_000)) >>> 0;
      pair.inject(pair.server, fromPeer(server, { flags: ACK, seq, data: bytes(7) }));
      if (i % 1000 === 0) pair.settle();
    }
    const rb = server.receiveBuffer;
    expect(rb.outOfOrder?.chunks.length).toBeLessThanOrEqual(4096);
    expect(rb.outOfOrder?.ranges.count).toBeLessThanOrEqual(1024);
    expect(rb.held).toBeLessThan(4096 * 128);
    pair.settle();
    client.snd.nxt = client.snd.una;
    send(client, new Uint8Array(61_000).fill(7), 0, 61_000);
    pair.run(10 * SECOND);
    expect(serverLog.bytes).toBe(61_000);
    expect(serverLog.received.every((b) => b === 7)).toBe(true);
    exchange(pair, client, server);
  });

  test('102: a window that shrinks to nothing behind what is in flight, and its edge going back', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    pair.filter = (wire) => wire.from === pair.client;
    const data = pattern(50_000);
    send(client, data, 0, data.length);
    pair.settle();
    const random = seededRandom(102);
    for (let i = 0; i < 200; i++) {
      const wnd = below(random, 3) === 0 ? 0 : below(random, 20);
      const seq = client.receiveBuffer.nxt;
      pair.inject(pair.client, fromPeer(client, { flags: ACK, seq, ack: client.snd.una, wnd }));
      pair.run(SECOND);
      expect(client.state).toBe('ESTABLISHED');
    }
    pair.filter = undefined;
    pair.run(5 * MINUTE);
    expect(serverLog.received).toEqual([...data]);
    exchange(pair, client, server);
  });

  test('103: a peer that offers windows of one byte gets one small segment a time-out, not a stream of them', () => {
    const pair = new Pair();
    const { client } = pair.connect();
    client.snd.scale = 0;
    pair.filter = () => false;
    send(client, pattern(100_000), 0, 100_000);
    pair.settle();
    const start = client.stats.segmentsOut;
    pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.nxt, wnd: 1 }));
    let seconds = 0;
    for (; seconds < 20; seconds++) {
      pair.run(SECOND);
      pair.inject(pair.client, fromPeer(client, { flags: ACK, ack: client.snd.nxt, wnd: 1 }));
    }
    // One at each override timeout of 200 ms, at most.
    expect(client.stats.segmentsOut - start).toBeLessThanOrEqual(5 * seconds + 5);
    hostIsWell(pair);
  });

  test('136: no size that a peer names allocates anything', () => {
    const pair = new Pair();
    const { listener } = pair.listen();
    const { pools } = pair.server.tcp;
    pair.inject(pair.server, syn({ options: bytes(2, 4, 255, 255, 3, 3, 14, 1), wnd: 65_535 }));
    const server = [...listener.halfOpen][0]!;
    pair.filter = () => false;
    pair.settle();
    pair.inject(pair.server, fromPeer(server, { flags: ACK, wnd: 65_535 }));
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: server.rcv.edge - 1, data: bytes(1) }));
    expect(server.receiveBuffer.held).toBeLessThan(200);
    expect(pools.small.inUse + pools.large.inUse).toBe(0);
    expect(server.sendBuffer.ring.length).toBe(0);
    hostIsWell(pair);
  });

  test('137: a peer that never reads holds back the writer; one that never writes costs nothing', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect(
      { sendBufferLimit: 64 << 10 },
      { receiveBufferLimit: 64 << 10 },
    );
    serverLog.reading = false;
    const data = pattern(64 << 10);
    let taken = 0;
    for (let i = 0; i < 1000; i++) {
      taken += send(client, data, 0, data.length);
      pair.run(10 * MILLISECOND);
    }
    expect(taken).toBeLessThanOrEqual(2 * (64 << 10));
    expect(server.receiveBuffer.readable).toBeLessThanOrEqual(64 << 10);
    expect(client.sendBuffer.length).toBeLessThanOrEqual(64 << 10);
    pair.run(HOUR);
    serverLog.reading = true;
    serverLog.read(server);
    pair.run(2 * MINUTE);
    expect(serverLog.bytes).toBe(taken);
    expect(client.sendBuffer.ring.every((block) => block.slab === undefined)).toBe(true);
    exchange(pair, client, server);
  });
});

describe('the stream', () => {
  test('104: FIN with a gap before it, FIN again with other data, data after FIN', () => {
    const pair = new Pair();
    const { server, serverLog } = pair.connect();
    const { nxt } = server.receiveBuffer;
    const put = (at: number, flags: number, data: Uint8Array) =>
      pair.inject(pair.server, fromPeer(server, { flags: ACK | flags, seq: (nxt + at) >>> 0, data }));
    put(10, FIN, pattern(10, 10));
    put(10, FIN, new Uint8Array(20));
    put(30, 0, new Uint8Array(10));
    put(15, 0, new Uint8Array(100));
    expect(server.state).toBe('ESTABLISHED');
    put(0, 0, pattern(10));
    pair.settle();
    expect(server.state).toBe('CLOSE-WAIT');
    put(20, 0, new Uint8Array(10));
    put(21, 0, new Uint8Array(10));
    put(10, FIN, new Uint8Array(30));
    pair.settle();
    expect(serverLog.received).toEqual([...pattern(20)]);
    hostIsWell(pair);
  });

  test('105: bytes that were received never change', () => {
    const pair = new Pair();
    const { client, server, serverLog } = pair.connect();
    serverLog.reading = false;
    const { nxt } = server.receiveBuffer;
    const put = (at: number, data: Uint8Array) =>
      pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: (nxt + at) >>> 0, data }));
    const evil = new Uint8Array(200).fill(0xee);
    put(100, pattern(50, 100));
    put(50, evil.subarray(0, 0));
    put(100, evil.subarray(0, 50));
    put(90, evil.subarray(0, 20));
    put(0, pattern(90));
    put(0, evil.subarray(0, 90));
    put(80, evil.subarray(0, 100));
    pair.settle();
    serverLog.read(server);
    const got = serverLog.received;
    expect(got.slice(0, 90)).toEqual([...pattern(90)]);
    // [90, 100) and [150, 180) came from the intruder first: first come, first kept.
    expect(got.slice(100, 150)).toEqual([...pattern(50, 100)]);
    expect(got.length).toBe(180);
    client.snd.nxt = client.snd.una = client.snd.small = server.receiveBuffer.nxt;
    client.recovery.highRxt = client.recovery.lostBelow = client.snd.una;
    serverLog.reading = true;
    exchange(pair, client, server);
  });

  test('106: a connection to itself opens, talks and closes', () => {
    const pair = new Pair();
    const side = pair.client;
    side.peer = side;
    const log = new Log();
    const request = { remote: side.address, remotePort: 4000, localPort: 4000, user: log };
    const tcb = open(side.tcp, request) as Tcb;
    pair.run(SECOND);
    expect(tcb.state).toBe('ESTABLISHED');
    send(tcb, pattern(5000), 0, 5000);
    pair.run(SECOND);
    expect(log.received).toEqual([...pattern(5000)]);
    shutdown(tcb);
    pair.run(SECOND);
    expect(tcb.state).toBe('TIME-WAIT');
    pair.run(2 * MINUTE);
    expect(side.tcp.count).toBe(0);
  });

  test('106: simultaneous open and close in which every segment is lost once', () => {
    const pair = new Pair();
    const seen = new Set<string>();
    pair.filter = (wire, seg) => {
      const key = `${wire.from === pair.client} ${flagNames(seg.flags)} ${seg.seq} ${seg.ack}`;
      const first = !seen.has(key);
      seen.add(key);
      return !first;
    };
    const logs = [new Log(), new Log()];
    const one = open(pair.client.tcp, {
      remote: pair.server.address,
      remotePort: 2,
      localPort: 1,
      user: logs[0]!,
    });
    const two = open(pair.server.tcp, {
      remote: pair.client.address,
      remotePort: 1,
      localPort: 2,
      user: logs[1]!,
    });
    pair.run(MINUTE);
    expect([(one as Tcb).state, (two as Tcb).state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
    shutdown(one as Tcb);
    shutdown(two as Tcb);
    pair.run(10 * MINUTE);
    expect(logs.map((log) => log.events.at(-1))).toEqual(['closed', 'closed']);
    expect(pair.client.tcp.count + pair.server.tcp.count).toBe(0);
  });
});

describe('numbers that wrap', () => {
  for (const [name, iss] of [
    ['2^32', 2 ** 32 - 3000],
    ['2^31', 2 ** 31 - 3000],
    ['2^32, all but one', 2 ** 32 - 2],
    ['2^32, the window across', 2 ** 32 - (1 << 20)],
  ] as const) {
    for (const [clock, start] of [
      ['in mid life', 1000 * SECOND],
      ['at 2^32 us', 2 ** 32 - 50 * MILLISECOND],
      ['at 2^32 ms', 2 ** 32 * MILLISECOND - 50 * MILLISECOND],
      ['at 0', 0],
    ] as const) {
      test(`sequence numbers around ${name}, the clock ${clock}`, () => {
        const random = seededRandom(iss);
        const lose: Pair['filter'] = (wire) => {
          if (below(random, 20) === 0) return false;
          if (below(random, 10) === 0) wire.at += 3 * MILLISECOND;
          return true;
        };
        const pair = new Pair({ delay: 2 * MILLISECOND });
        pair.now = start;
        for (const side of [pair.client, pair.server]) {
          side.tcp.now = start;
          // Timestamps, too, wrap on the way.
          Object.assign(side.tcp, {
            isn: { isn: () => iss, timestampOffset: () => -Math.floor(start / 1000) - 30 },
          });
        }
        const { client, server, clientLog, serverLog } = pair.connect();
        pair.filter = lose;
        const data = pattern(1 << 20);
        send(client, data, 0, data.length);
        send(server, data, 0, data.length);
        pair.run(5 * MINUTE);
        expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(data))).toBe(0);
        expect(Buffer.compare(Buffer.from(clientLog.received), Buffer.from(data))).toBe(0);
        pair.filter = undefined;
        exchange(pair, client, server);
      });
    }
  }
});
