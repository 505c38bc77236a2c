// Hostile classes 68 to 91: TCP headers, options, urgent pointers, flags; and wrong checksums of every kind.

import { expect, test } from 'vitest';
import { below, type Random } from '../../src/base/random.ts';
import { SECOND } from '../../src/base/time.ts';
import { send } from '../../src/tcp/calls.ts';
import { sub } from '../../src/tcp/seq.ts';
import { type State, type Tcb, TRANSITIONS } from '../../src/tcp/tcb.ts';
import {
  ACK,
  BROADCAST,
  bytes,
  concat,
  FIN,
  icmp,
  ipv4,
  PSH,
  RST,
  SYN,
  tcp,
  URG,
  viewOf,
  word,
} from './craft.ts';
import { bring, drop, HOLD, STATES, SYN_OPTIONS, stamp, theirs } from './states.ts';
import { hostile } from './table.ts';
import { ATTACKER, CLOSED_PORT, OUR_MAC, OURS, PEER, SUBNET_BROADCAST, Victim, Witness } from './victim.ts';

const both = { source: ATTACKER, destination: OURS };
const SYN_ACK = 'tcp SYN,ACK';
const mss = (n: number) => Uint8Array.of(2, 4, n >> 8, n & 255);

/** Sequence, window and options of our end of the honest connection: what must not change. */
function facts({ state, snd, rcv, receiveBuffer, ts, sackOn, recovery, stats }: Tcb) {
  const { una, nxt, scale, peerMss, mss: own } = snd;
  return {
    ...{ state, una, nxt, scale, peerMss, own, rcvScale: rcv.scale, rcvNxt: receiveBuffer.nxt, ts: ts.on },
    ...{ sackOn, sacked: recovery.sacked.count, bytesIn: stats.bytesIn },
  };
}

const remembered = new WeakMap<Victim, ReturnType<typeof facts>>();
const remember = (v: Victim) => remembered.set(v, facts(v.served));
const unchanged = (v: Victim) => expect(facts(v.served)).toEqual(remembered.get(v));

hostile(68, 'a data offset below 5 or beyond the segment', {
  verdicts: ['bad data offset'],
  before: remember,
  variant(v, i, random) {
    const offset = i & 1 ? below(random, 5) : 6 + below(random, 10);
    if (i & 2) return v.tcp({ flags: SYN, source: 1024 + i, offset });
    return v.spoof({ flags: ACK | PSH, offset }, i & 1 ? bytes(10) : undefined);
  },
  after: unchanged,
});

/** Options of random kinds and lengths, with lengths that lie. */
function wild(random: Random, length: (random: Random) => number): Uint8Array {
  const parts: number[] = [];
  while (parts.length < 40)
    parts.push([2, 3, 4, 5, 8, 34, 29, below(random, 256)][below(random, 8)]!, length(random));
  return Uint8Array.from(parts.slice(0, 4 * (1 + below(random, 10))));
}

for (const [id, name, length] of [
  [69, 'an option of length 0 or 1 ends the options', (r: Random) => below(r, 2)],
  [70, 'an option that runs past the header ends the options', (r: Random) => 41 + below(r, 215)],
] as const) {
  hostile(id, name, {
    verdicts: ['taken', 'paws'],
    answers: [SYN_ACK, 'tcp ACK'],
    before: remember,
    variant(v, i, random) {
      const options = wild(random, length);
      if (i % 3 === 0) return v.tcp({ flags: SYN, source: 1024 + i, options });
      if (i % 3 === 1) return v.spoof({ flags: ACK, options });
      // Behind good timestamps it is reached.
      return v.spoof({ flags: ACK, options: concat(stamp(v.served), options).subarray(0, 40) });
    },
    after: unchanged,
  });
}

for (const [id, name, sizes] of [
  [71, 'an MSS of 0 divides nothing', [0]],
  [72, 'a tiny MSS does not make thousands of tiny segments', [1, 7, 8, 20, 48, 63]],
] as const) {
  test(`hostile ${id}: ${name}`, () => {
    const v = new Victim();
    const last = v.flood(2000, (i, random) => {
      const options = concat(mss(sizes[i % sizes.length]!), Uint8Array.of(1, 3, 3, below(random, 256)));
      return v.tcp({ flags: SYN, source: 1024 + i, options });
    });
    expect([...last.verdicts.keys()]).toEqual(['taken']);
    for (const size of sizes) {
      const tcb = v.connect(60_000 + size, mss(size), 7, 77);
      // 536 when it says nothing (MUST-15), 64 when it says too little.
      expect(tcb.snd.mss).toBe(size === 0 ? 536 : 64);
      send(tcb, bytes(20_000), 0, 20_000);
      let sent = v.turn();
      let frames = 0;
      for (let round = 0; round < 1000 && tcb.snd.una !== tcb.snd.nxt; round++) {
        frames += sent.length;
        sent = [...v.inject(v.spoof({ flags: ACK }, undefined, tcb)).answers];
      }
      expect(tcb.stats.bytesAcked).toBe(20_000);
      expect(frames + sent.length).toBeLessThanOrEqual(Math.ceil(20_000 / tcb.snd.mss) + 10);
    }
    v.alive();
  });
}

/** A connection with much data under way. */
function loaded(v: Victim, port: number, options: Uint8Array): Tcb {
  const tcb = v.connect(port, options, HOLD, 1000, 65_535);
  send(tcb, new Uint8Array(1 << 20), 0, 1 << 20);
  v.turn();
  // Grow the congestion window.
  for (let i = 0; i < 20 && sub(tcb.snd.nxt, tcb.snd.una) < 100_000; i++)
    v.inject(theirs(v, tcb, { flags: ACK }));
  return tcb;
}

const smallMss = concat(mss(48), Uint8Array.of(4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 14, 1, 1, 1));

function sackOf(...edges: number[]): Uint8Array {
  const b = new Uint8Array(4 + 4 * edges.length);
  b.set([1, 1, 5, 2 + 4 * edges.length]);
  for (const [i, e] of edges.entries()) viewOf(b).setUint32(4 + 4 * i, e >>> 0);
  return b;
}

for (const [id, name, options] of [
  [73, 'SACK panic: a tiny MSS and the whole window in fragments', smallMss],
  [74, 'SACK ranges that cut the queue into crumbs: the scoreboard is bounded', SYN_OPTIONS],
] as const) {
  test(`hostile ${id}: ${name}`, () => {
    const v = new Victim();
    v.listen(HOLD, () => new Witness());
    const tcb = loaded(v, 5000, options);
    const flight = sub(tcb.snd.nxt, tcb.snd.una);
    expect(flight).toBeGreaterThan(50_000);
    const before = v.stack.tcp.counters.tcpRetransSegs;
    const tally = v.flood(10_000, (i, random) => {
      const at = () => tcb.snd.una + 1 + 2 * below(random, flight >> 2);
      const [a, b, c] = [at(), at(), at()];
      const length = i & 1 ? 1 : 1 + below(random, 500);
      return theirs(v, tcb, {
        flags: ACK,
        ack: tcb.snd.una,
        options: concat(stamp(tcb), sackOf(a, a + length, b, b + 1, c, c + 1)),
      });
    });
    expect([...tally.verdicts.keys()]).toEqual(['taken']);
    expect(tcb.recovery.sacked.count).toBeLessThanOrEqual(256);
    // What is lost is sent again once, not for every SACK: and then by the timer.
    const again = v.stack.tcp.counters.tcpRetransSegs - before;
    expect(again).toBeLessThanOrEqual(2 * Math.ceil(flight / tcb.snd.mss) + 300);
    drop(v, tcb);
    expect(v.stack.tcp.pools.large.inUse + v.stack.tcp.pools.small.inUse).toBe(0);
    v.alive();
  });
}

for (const [id, name, option] of [
  [
    75,
    'a SACK option whose length is not 8n + 2',
    (r: Random) => concat(Uint8Array.of(5, [3, 4, 9, 11, 12, 17, 19][below(r, 7)]!), bytes(18)),
  ],
  [76, 'SACK blocks turned around, above SND.NXT, below SND.UNA, or across the wrap', undefined],
] as const) {
  test(`hostile ${id}: ${name}`, () => {
    const v = new Victim();
    v.listen(HOLD, () => new Witness());
    const tcb = loaded(v, 5000, SYN_OPTIONS);
    const blocks = (random: Random): Uint8Array => {
      const { una, nxt } = tcb.snd;
      const n = 1 + below(random, 5000);
      const pairs = [
        [nxt, una],
        [nxt - n, nxt + n],
        [una - n, una + n],
        [nxt + n, nxt + 2 * n],
        [una + 1, una + 1],
        [una + 0x8000_0000 - n, una - n],
        [nxt - 1, una + 0x7fff_ffff],
        [una, una + n],
      ];
      return sackOf(...pairs[below(random, 8)]!);
    };
    const tally = v.flood(10_000, (_i, random) =>
      theirs(v, tcb, {
        flags: ACK,
        ack: tcb.snd.una,
        options: concat(stamp(tcb), (option ?? blocks)(random)).subarray(0, 40),
      }),
    );
    expect([...tally.verdicts.keys()]).toEqual(['taken']);
    expect(tcb.recovery.sacked.count).toBe(0);
    drop(v, tcb);
    v.alive();
  });
}

hostile(77, 'every short list of options: the answer has only options of its own, and zeros', {
  verdicts: ['taken'],
  answers: [SYN_ACK],
  variant: (v, i, random) =>
    v.tcp({
      flags: SYN,
      source: 1024 + i,
      options: bytes(below(random, 11) * 4, () => below(random, i & 1 ? 9 : 256)),
    }),
});

hostile(78, 'malformed options at any sequence number do not end a connection', {
  verdicts: ['paws', 'old duplicate', 'out of window', 'reset ignored'],
  answers: ['tcp ACK'],
  before: remember,
  variant(v, i, random) {
    const { nxt } = v.served.receiveBuffer;
    const away = i & 1 ? (1 << 22) + below(random, 0x7f00_0000) : -1 - below(random, 0x7fff_fff0);
    // A RST inside the window, but not at its edge, is challenged.
    const rst = i % 5 === 0;
    const seq = rst ? nxt + 1 + below(random, 1000) : nxt + away;
    const good = i % 3 === 0 ? stamp(v.served) : new Uint8Array(0);
    return v.spoof({
      flags: rst ? RST | ACK : ACK | (i & 8),
      seq,
      options: concat(
        good,
        wild(random, (r) => below(r, 256)),
      ).subarray(0, 40),
    });
  },
  after: unchanged,
});

/** Urgent segments on a connection of the attacker's own; every byte must arrive as it was sent. */
function urgent(
  id: number,
  name: string,
  pointer: (random: Random, length: number) => number,
  options = new Uint8Array(0),
) {
  test(`hostile ${id}: ${name}`, () => {
    const v = new Victim();
    const user = new Witness();
    v.listen(HOLD, () => user);
    const tcb = bring(v, 5000, 'ESTABLISHED');
    drop(v, tcb);
    const held = v.connect(5001, SYN_OPTIONS, HOLD);
    const sent: number[] = [];
    const tally = v.flood(10_000, (_i, random) => {
      const payload = bytes(below(random, 20), () => below(random, 256));
      sent.push(...payload);
      const extra = concat(stamp(held), options).subarray(0, 40);
      return theirs(
        v,
        held,
        { flags: ACK | URG, urgent: pointer(random, payload.length), options: extra },
        payload,
      );
    });
    expect([...tally.verdicts.keys()]).toEqual(['taken']);
    expect(Buffer.compare(Uint8Array.from(user.received), Uint8Array.from(sent))).toBe(0);
    expect(held.state).toBe('ESTABLISHED');
    v.alive();
  });
}

urgent(79, 'URG with a pointer of 0', () => 0);
urgent(80, 'URG and a malformed TCP-AO option', (r) => below(r, 65_536), Uint8Array.of(29, 4, 1, 2, 29, 200));
urgent(81, 'an urgent pointer beyond the segment', (r, length) => length + 1 + below(r, 1000));
urgent(82, 'an urgent pointer beyond every buffer', (r) => 65_535 - below(r, 10));
urgent(83, 'WinNuke: urgent data at a port that wants none', (_r, length) => length);

hostile(80, 'URG while opening', {
  verdicts: ['taken'],
  answers: [SYN_ACK],
  variant: (v, i, random) =>
    v.tcp(
      { flags: SYN | URG, source: 1024 + i, urgent: below(random, 65_536), options: Uint8Array.of(29, 16) },
      bytes(i % 20),
    ),
});

hostile(84, 'TCP whose IP payload is less than its header', {
  verdicts: ['truncated'],
  variant: (v, i, random) =>
    v.ip(
      { protocol: 6 },
      tcp(both, { source: i, destination: 7, flags: i & 255 }).subarray(0, below(random, 20)),
    ),
});

test('hostile 85: all 512 combinations of flags in every state: legal transitions and legal answers only', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness());
  const illegal = new Set<string>();
  v.stack.tcp.onTransition = (_t, from, to) => {
    if (!TRANSITIONS[from].includes(to)) illegal.add(`${from} → ${to}`);
  };
  const seen = new Map<State, Set<string>>();
  let port = 1024;
  for (const state of STATES) {
    const found = new Set<string>();
    for (let flags = 0; flags < 512; flags++) {
      const tcb = bring(v, ++port, state);
      const t = { flags: flags & 255, reserved: flags >> 8 };
      if (tcb === undefined) v.inject(v.tcp({ ...t, source: port, seq: 5, ack: 6 }));
      else v.inject(theirs(v, tcb, { ...t, urgent: flags & 7 }, flags & 3 ? bytes(5) : undefined));
      found.add(tcb?.state ?? v.connection(port)?.state ?? 'LISTEN');
      drop(v, tcb ?? v.connection(port));
      if (flags % 64 === 0) v.pass(SECOND / 100);
    }
    seen.set(state, found);
  }
  v.checkFouls();
  expect([...illegal]).toEqual([]);
  const ends = (state: State) => [...seen.get(state)!].sort().join(' ');
  expect(Object.fromEntries(STATES.map((state) => [state, ends(state)]))).toEqual({
    LISTEN: 'LISTEN SYN-RECEIVED',
    'SYN-SENT': 'CLOSE-WAIT CLOSED ESTABLISHED SYN-RECEIVED SYN-SENT',
    // A FIN is answered with one by the service: hence LAST-ACK.
    'SYN-RECEIVED': 'CLOSED ESTABLISHED LAST-ACK SYN-RECEIVED',
    ESTABLISHED: 'CLOSED ESTABLISHED LAST-ACK',
    // The segments acknowledge our FIN.
    'FIN-WAIT-1': 'CLOSED FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT',
    'FIN-WAIT-2': 'CLOSED FIN-WAIT-2 TIME-WAIT',
    'CLOSE-WAIT': 'CLOSE-WAIT CLOSED',
    CLOSING: 'CLOSED CLOSING TIME-WAIT',
    'LAST-ACK': 'CLOSED LAST-ACK',
    'TIME-WAIT': 'TIME-WAIT',
  });
  v.stack.tcp.onTransition = undefined;
  v.alive();
});

hostile(86, 'a window scale above 14 is taken as 14', {
  verdicts: ['taken'],
  answers: [SYN_ACK],
  variant: (v, i) => v.tcp({ flags: SYN, source: 1024 + i, options: Uint8Array.of(3, 3, 15 + (i % 241), 1) }),
  after: (v) => {
    for (const tcb of v.listener.halfOpen) expect(tcb.snd.scale).toBe(14);
    expect(v.listener.halfOpen.size).toBeGreaterThan(1000);
  },
});

hostile(87, 'timestamps that jump poison nothing', {
  verdicts: ['paws', 'taken', 'out of window'],
  answers: ['tcp ACK'],
  before(v) {
    remember(v);
    stamps.set(v, v.served.ts.recent);
  },
  variant(v, i, random) {
    const { nxt } = v.served.receiveBuffer;
    const far = 1 + below(random, 0x7fff_fff0);
    if (i % 4 === 0) return v.spoof({ flags: ACK, options: stamp(v.served, -far) }); // back
    if (i % 4 === 1) return v.spoof({ flags: ACK, seq: nxt + 0x4000_0000, options: stamp(v.served, far) }); // forward, outside
    if (i % 4 === 2) return v.spoof({ flags: ACK }); // none at all
    // Forward and inside the window, but not at Last.ACK.sent (RFC 7323 4.3 R3).
    return v.spoof({ flags: ACK, seq: nxt + 1 + below(random, 1000), options: stamp(v.served, far) });
  },
  after(v) {
    unchanged(v);
    expect(v.served.ts.recent).toBe(stamps.get(v));
  },
});
const stamps = new WeakMap<Victim, number>();

hostile(88, 'options of a SYN in the middle of a connection, and options twice', {
  verdicts: ['taken'],
  answers: [SYN_ACK],
  before: remember,
  variant(v, i, random) {
    const late = concat(
      stamp(v.served),
      mss(1 + below(random, 100)),
      Uint8Array.of(3, 3, below(random, 15), 4, 2, 1),
    );
    if (i & 1) return v.spoof({ flags: ACK, options: late });
    // The first counts: MSS 1000, not 1.
    return v.tcp({
      flags: SYN,
      source: 1024 + i,
      options: concat(mss(1000), mss(1), Uint8Array.of(3, 3, 2, 3, 3, 9), Uint8Array.of(1, 1)),
    });
  },
  after(v) {
    unchanged(v);
    for (const tcb of v.listener.halfOpen) expect([tcb.snd.peerMss, tcb.snd.scale]).toEqual([1000, 2]);
  },
});

hostile(89, 'whatever follows the end of the options is not read', {
  verdicts: ['taken'],
  answers: [SYN_ACK],
  variant: (v, i, random) =>
    v.tcp({
      flags: SYN,
      source: 1024 + i,
      options: concat(
        Uint8Array.of(0),
        mss(100),
        Uint8Array.of(3, 3, 9, 4, 2),
        bytes(below(random, 28), () => below(random, 256)),
      ),
    }),
  after(v) {
    for (const tcb of v.listener.halfOpen) {
      expect([tcb.snd.peerMss, tcb.snd.scale, tcb.sackOn, tcb.ts.on]).toEqual([536, 0, false, false]);
    }
  },
});

hostile(90, 'port 0, and TCP to groups and broadcasts', {
  verdicts: ['bad port', 'bad destination', 'martian source'],
  variant(v, i, random) {
    const flags = [SYN, ACK, FIN | ACK, 0, RST][below(random, 5)]!;
    if (i % 4 === 0) return v.tcp({ flags, source: 0 });
    if (i % 4 === 1) return v.tcp({ flags, destination: 0 });
    if (i % 4 === 2)
      return v.tcp({ flags }, undefined, { source: [SUBNET_BROADCAST, word('224.0.0.1'), -1][i % 3]! });
    const destination = [SUBNET_BROADCAST, -1, word('224.0.0.1')][i % 3]!;
    const body = tcp({ source: ATTACKER, destination }, { source: 1234, destination: 7, flags });
    return v.frame(
      ipv4({ source: ATTACKER, destination, protocol: 6 }, body),
      0x0800,
      i & 8 ? OUR_MAC : BROADCAST,
    );
  },
});

hostile(91, 'wrong checksums of IPv4, TCP, UDP, ICMP and IGMP', {
  verdicts: ['bad checksum'],
  before: remember,
  variant(v, i, random) {
    const wrong = (frame: Uint8Array, at: number): Uint8Array => {
      const view = viewOf(frame);
      view.setUint16(at, view.getUint16(at) ^ (1 << below(random, 16)));
      return frame;
    };
    switch (i % 7) {
      case 0:
        return wrong(v.tcp({ flags: SYN, source: 1024 + i }), 24);
      case 1:
        return wrong(v.tcp({ flags: SYN, source: 1024 + i }), 50);
      case 2: // all else exact: a forger's dream
        return wrong(v.spoof({ flags: RST | ACK }), 50);
      case 3:
        return wrong(v.udp({ source: 2000 }, bytes(10)), 42);
      case 4:
        return wrong(v.udp({ source: 2000, destination: CLOSED_PORT }, bytes(10)), 42);
      case 5:
        return wrong(v.icmp(8, 0, 7, bytes(20)), 36);
      default:
        return wrong(v.ip({ protocol: 1, source: PEER }, icmp(3, 3, 0, bytes(28))), 36);
    }
  },
  after(v) {
    unchanged(v);
    // RFC 768: 0 says that there is none, which is no fault.
    expect(v.inject(v.udp({ source: 2000, checksum: 0 }, bytes(10))).answers.map((a) => a.kind)).toEqual([
      'udp',
    ]);
  },
});
