// Hostile classes 20 to 26, 34 and 35: fragments, and what they are numbered with.

import { expect, test } from 'vitest';
import { v4 } from '../../src/base/address.ts';
import { below } from '../../src/base/random.ts';
import { SECOND } from '../../src/base/time.ts';
import { MAX_DATAGRAMS_PER_SOURCE, REASSEMBLY_TIMEOUT } from '../../src/ipv4/reassembly.ts';
import { bindUdp, openUdp, sendUdp } from '../../src/udp/udp.ts';
import { bytes, concat, type Ip, icmp, ipv4, SYN, tcp, udp, viewOf, word } from './craft.ts';
import { hostile } from './table.ts';
import { ATTACKER, OURS, PEER, Victim } from './victim.ts';

const both = { source: ATTACKER, destination: OURS };
const MF = 0x2000;

/** One fragment of a UDP datagram to the echo port: `at` and `length` in bytes of its payload. */
function piece(
  v: Victim,
  id: number,
  at: number,
  length: number,
  more: boolean,
  ip: Partial<Ip> = {},
): Uint8Array {
  return v.ip(
    { protocol: 17, id, fragment: (at >> 3) | (more ? MF : 0), ...ip },
    bytes(length, (i) => at + i + id),
  );
}

hostile(20, 'IP in IP whose inner length lies, whole and in fragments', {
  verdicts: ['unknown protocol', 'taken'],
  answers: ['icmp 3/2'],
  variant(v, i, random) {
    const inner = ipv4({ ...both, protocol: 17, total: below(random, 200) }, bytes(80));
    if (i & 1) return v.ip({ protocol: i & 2 ? 4 : 41 }, inner);
    return [
      v.ip({ protocol: 4, id: i, fragment: MF }, inner.subarray(0, 48)),
      v.ip({ protocol: 4, id: i, fragment: 6 }, inner.subarray(48)),
    ];
  },
  after: (v, { answers }) => {
    expect(answers.get('icmp 3/2')).toBeLessThanOrEqual(8);
    expect(v.stack.counters().ipv4.ipSystemStatsInUnknownProtos).toBe(10_000);
  },
});

hostile(21, 'ping of death: a last fragment beyond 65535 bytes', {
  verdicts: ['taken', 'bad fragment', 'overlapping fragment'],
  variant(v, i, random) {
    const at = 8 * (0x1fff - below(random, 100));
    const length = 65_516 - at + below(random, 600);
    const ping = (f: number, b: Uint8Array) => v.ip({ protocol: 1, id: i, fragment: f }, b);
    const last = ping(at >> 3, bytes(Math.max(1, length)));
    if (i & 1) return last;
    return [
      ping(MF, icmp(8, 0, 1, bytes(1472))),
      last,
      ping(MF | 185, bytes(1480)), // nothing more is taken of that datagram
    ];
  },
});

hostile(22, 'teardrop: a fragment that ends before the one before it does', {
  verdicts: ['taken', 'overlapping fragment'],
  variant(v, i, random) {
    const length = 64 + 8 * below(random, 100);
    const at = 8 * (1 + below(random, 6));
    const inside =
      i & 1 ? length + 8 * (1 + below(random, 3)) : Math.max(8, length - at - 8 * below(random, 4));
    return [
      piece(v, i, 0, length, true),
      piece(v, i, at, Math.min(inside, length), (i & 2) !== 0),
      piece(v, i, length, 20, false),
    ];
  },
  after: (v) => expect(v.stack.counters().ipv4.ipSystemStatsReasmOKs).toBe(0),
});

hostile(23, 'FragmentSmack: tiny fragments of datagrams that never end, from one source', {
  verdicts: ['taken'],
  variant: (v, i, random) => piece(v, i, 8 * below(random, 8000), 8, true),
  after(v) {
    expect(v.stack.ipv4.reassembly.size).toBeLessThanOrEqual(MAX_DATAGRAMS_PER_SOURCE);
    expect(v.stack.drops['fragment limit']).toBe(10_000 - MAX_DATAGRAMS_PER_SOURCE);
    // The others still have their share, at this very moment.
    v.alive();
    v.pass(REASSEMBLY_TIMEOUT);
    expect([v.stack.ipv4.reassembly.size, v.stack.ipv4.reassembly.bytes]).toEqual([0, 0]);
  },
});

hostile(23, 'FragmentSmack: from thousands of sources, and large pieces', {
  verdicts: ['taken'],
  variant: (v, i, random) =>
    piece(v, i, 8 * below(random, 8000), 1480, true, { source: word('10.1.0.0') + below(random, 4000) }),
  after(v) {
    v.pass(REASSEMBLY_TIMEOUT);
    expect([v.stack.ipv4.reassembly.size, v.stack.ipv4.reassembly.bytes]).toEqual([0, 0]);
  },
});

hostile(23, 'FragmentSmack: thousands of tiny fragments of one datagram', {
  verdicts: ['taken', 'fragment limit', 'overlapping fragment'],
  variant: (v, i) => piece(v, Math.floor(i / 4000), 16 * (i % 4000), 8, true),
  after: (v) => expect(v.stack.ipv4.reassembly.bytes).toBeLessThan(100_000),
});

hostile(24, 'every offset with every length', {
  verdicts: ['taken', 'bad fragment', 'overlapping fragment'],
  variant: (v, i, random) =>
    v.ip(
      { protocol: [1, 6, 17][i % 3]!, id: i % 50, fragment: below(random, 0x4000) },
      bytes(below(random, i & 1 ? 16 : 1480)),
    ),
});

hostile(25, 'fragments twice: the same is taken once, another in the same place spoils the datagram', {
  verdicts: ['taken', 'overlapping fragment'],
  answers: ['udp', 'fragment 17'],
  variant(v, i, random) {
    const body = udp(both, { source: 2000, destination: 7 }, bytes(40));
    const first = v.ip({ protocol: 17, id: i, fragment: MF }, body.subarray(0, 24));
    const last = v.ip({ protocol: 17, id: i, fragment: 3 }, body.subarray(24));
    if (i & 1) return [first, first, last];
    const other = v.ip(
      { protocol: 17, id: i, fragment: MF },
      bytes(24, () => below(random, 256)),
    );
    return [first, other, first, last, last];
  },
  after: (_v, { answers }) => expect(answers.get('udp')).toBe(5000),
});

hostile(26, 'fragments of a tunnel, twice', {
  verdicts: ['taken', 'unknown protocol', 'overlapping fragment'],
  answers: ['icmp 3/2'],
  variant(v, i) {
    const inner = ipv4({ ...both, protocol: 17, fragment: MF }, bytes(80));
    const first = v.ip({ protocol: 4, id: i, fragment: MF }, inner.subarray(0, 48));
    const last = v.ip({ protocol: 4, id: i, fragment: 6 }, inner.subarray(48));
    const larger = v.ip({ protocol: 4, id: i, fragment: MF }, inner.subarray(0, 56));
    return i & 1 ? [first, first, last, last, first] : [first, larger, last];
  },
});

hostile(34, 'tiny first fragments of TCP, and second ones that would rewrite its flags', {
  verdicts: ['bad fragment'],
  variant(v, i, random) {
    const segment = tcp(both, { source: 1024 + i, destination: 7, flags: SYN }, bytes(40));
    const ip = { protocol: 6, id: i };
    if (i & 1) return v.ip({ ...ip, fragment: MF }, segment.subarray(0, 8 * (1 + (i & 2) / 2)));
    return v.ip({ ...ip, fragment: 1 | (i & 4 ? MF : 0) }, bytes(8 * (1 + below(random, 4))));
  },
  after: (v) => expect(v.stack.ipv4.reassembly.size).toBe(0),
});

test('hostile 35: identifications tell a destination nothing of what others were sent', () => {
  const ids = (others: number, seed: number): number[] => {
    const v = new Victim({ seed });
    const socket = openUdp(v.stack.udp, { family: 4, user: { received() {}, error() {}, writable() {} } });
    bindUdp(socket, undefined, 0);
    const seen: number[] = [];
    for (let i = 0; i < 50; i++) {
      for (let k = 0; k < others; k++) sendUdp(socket, bytes(8), 0, 8, v4(ATTACKER), 9);
      v.turn();
      sendUdp(socket, bytes(8), 0, 8, v4(PEER), 9);
      for (const { view, network } of v.turn())
        if (view.getInt32(network + 16) === PEER) seen.push(view.getUint16(network + 4));
    }
    // TCP is sent with DF: its identification says nothing (RFC 6864 4.1).
    v.inject(v.tcp({ flags: SYN, source: 2222 })).answers.forEach(({ bytes: b, network }) => {
      expect(viewOf(b).getUint16(network + 4)).toBe(0);
      expect(viewOf(b).getUint16(network + 6)).toBe(0x4000);
    });
    return seen.map((id, i) => (id - (seen[i - 1] ?? id)) & 0xffff).slice(1);
  };
  for (let seed = 1; seed <= 5; seed++) {
    expect(ids(0, seed)).toEqual(Array(49).fill(1));
    expect(ids(7, seed)).toEqual(Array(49).fill(1));
  }
});

test('hostile 23: time that runs out is answered once, for the first fragment only', () => {
  const v = new Victim();
  v.inject(piece(v, 1, 0, 64, true));
  v.inject(piece(v, 2, 8, 64, true));
  v.inject(v.frame(concat(ipv4({ ...both, protocol: 17, id: 3, fragment: MF }, bytes(64))), 0x0800));
  const sent = v.alone(31 * SECOND).filter((a) => a.kind.startsWith('icmp'));
  expect(sent.map((a) => a.kind)).toEqual(['icmp 11/1', 'icmp 11/1']);
  for (const { end, transport } of sent) expect(end - transport - 8).toBe(20 + 64);
  v.checkFouls();
});
