// Hostile classes 92 to 107: attacks on the state of TCP and on what it holds.

import { expect, test } from 'vitest';
import { v4 } from '../../src/base/address.ts';
import { below } from '../../src/base/random.ts';
import { HOUR, MILLISECOND, MINUTE, SECOND } from '../../src/base/time.ts';
import { info, open, send, shutdown } from '../../src/tcp/calls.ts';
import { sub } from '../../src/tcp/seq.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import type { Answer } from './audit.ts';
import { ACK, bytes, concat, FIN, PSH, RST, SYN, word } from './craft.ts';
import { bring, drop, HOLD, SYN_OPTIONS, stamp, theirs } from './states.ts';
import { hostile } from './table.ts';
import { ATTACKER, CLOSED_PORT, OURS, Victim, Witness } from './victim.ts';

const SYN_ACK = 'tcp SYN,ACK';
const MEGABYTE = new Uint8Array(1 << 20);

/** The data bytes of a TCP answer. */
function dataOf({ bytes: b, transport, end }: Answer): number {
  return end - transport - (b[transport + 12]! >> 4) * 4;
}

const sum = (answers: readonly Answer[]) =>
  answers.filter((a) => a.kind.startsWith('tcp')).reduce((n, a) => n + dataOf(a), 0);

hostile(92, 'slipping in the window: RST and SYN that are not exact', {
  verdicts: ['reset ignored', 'bad flags', 'out of window', 'old duplicate'],
  answers: ['tcp ACK'],
  variant(v, i, random) {
    const { nxt } = v.served.receiveBuffer;
    const wnd = sub(v.served.rcv.edge, nxt);
    const options = stamp(v.served);
    switch (i % 4) {
      case 0:
        return v.spoof({ flags: RST, seq: nxt + 1 + below(random, wnd - 1) });
      case 1:
        return v.spoof({ flags: SYN, seq: nxt + below(random, wnd), options });
      case 2:
        return v.spoof({ flags: i & 4 ? RST : SYN, seq: nxt + wnd + below(random, 1 << 30), options });
      default:
        return v.spoof({ flags: RST | ACK, seq: nxt - 1 - below(random, 1 << 30) });
    }
  },
  after: (v) => expect(v.served.state).toBe('ESTABLISHED'),
});

hostile(93, 'blind data with a stale or future acknowledgment', {
  verdicts: ['bad ack'],
  answers: ['tcp ACK'],
  variant(v, i, random) {
    const { nxt } = v.served.receiveBuffer;
    const { una, nxt: sent, maxWnd } = v.served.snd;
    const ack = i & 1 ? una - maxWnd - 1 - below(random, 1 << 30) : sent + 1 + below(random, 1 << 30);
    return v.spoof(
      { flags: ACK | PSH, seq: nxt + below(random, 10_000), ack, options: stamp(v.served) },
      bytes(20),
    );
  },
  after: (v) =>
    expect([v.served.stats.bytesIn, v.served.receiveBuffer.outOfOrder]).toEqual([3000, undefined]),
});

/** The ISN of our answer to a SYN. */
function isnOf(answers: readonly Answer[]): number {
  const answer = answers.find((a) => a.kind === SYN_ACK)!;
  return answer.view.getUint32(answer.transport + 4);
}

test('hostile 94: initial sequence numbers tell nothing of one another', () => {
  const v = new Victim();
  const isns: number[] = [];
  for (let i = 0; i < 2000; i++) {
    isns.push(isnOf(v.inject(v.tcp({ flags: SYN, source: 1024 + i })).answers));
    v.world.now += 1000;
    v.stack.setTime(v.world.now);
  }
  const steps = isns.slice(1).map((n, i) => (n - isns[i]!) >>> 0);
  // As spread as chance: each of sixteen slices gets its share, and nothing repeats.
  for (const numbers of [isns, steps]) {
    const slices = new Array<number>(16).fill(0);
    for (const n of numbers) slices[n >>> 28]!++;
    for (const slice of slices) expect(Math.abs(slice - 125)).toBeLessThan(60);
    expect(new Set(numbers).size).toBeGreaterThan(1990);
  }
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  expect(steps.reduce(gcd)).toBe(1);
  // The same four-tuple again starts later in the same space (RFC 6528 3).
  const first = bring(v, 60_000, 'SYN-RECEIVED')!.iss;
  drop(v, v.connection(60_000));
  v.pass(SECOND);
  const second = bring(v, 60_000, 'SYN-RECEIVED')!.iss;
  expect(sub(second, first)).toBeGreaterThanOrEqual(250_000);
  expect(sub(second, first)).toBeLessThan(260_000);
});

test('hostile 95: local ports are drawn, not counted', () => {
  const v = new Victim();
  const ports: number[] = [];
  for (let i = 0; i < 500; i++) {
    const tcb = open(v.stack.tcp, { remote: v4(ATTACKER), remotePort: 1000 + i, user: new Witness() }) as Tcb;
    ports.push(tcb.localPort);
  }
  v.turn();
  const near = ports.filter((p, i) => i > 0 && Math.abs(p - ports[i - 1]!) < 50);
  expect(near.length).toBeLessThan(20);
  expect(Math.min(...ports)).toBeGreaterThanOrEqual(32_768);
  expect(Math.max(...ports) - Math.min(...ports)).toBeGreaterThan(25_000);
  v.checkFouls();
});

test('hostile 96: 100,000 SYNs hold a bounded number of half-open connections, and honest ones get in', () => {
  const v = new Victim();
  const user = new Witness();
  const tally = v.flood(100_000, (i, random) => {
    // In the middle of it, an honest client.
    if (i === 50_000) v.connectFromPeer(user);
    const source = i & 1 ? ATTACKER : word('198.18.0.0') + below(random, 1 << 17);
    return v.tcp(
      { flags: SYN, source: 1024 + below(random, 60_000), seq: random.u32(), options: SYN_OPTIONS },
      undefined,
      {
        source,
      },
    );
  });
  expect(
    [...tally.verdicts.keys()].filter(
      (k) => !['taken', 'old duplicate', 'bad flags', 'out of window', 'paws'].includes(k),
    ),
  ).toEqual([]);
  expect(v.listener.halfOpen.size).toBe(1024);
  expect(v.stack.tcp.counters.tcpListenDrops).toBeGreaterThan(90_000);
  expect(user.events).toEqual(['connected']);
  // MUST-23 keeps a SYN alive for three minutes; with the time between the last two tries they are all forgotten in five.
  v.alone(5 * MINUTE);
  expect(v.listener.halfOpen.size).toBe(0);
  v.alive();
});

test('hostile 97: Sockstress: a window that stays shut holds no more than the buffer, and silence ends it', () => {
  const v = new Victim();
  const user = new Witness();
  v.listen(HOLD, () => user, { sendBufferLimit: 65_536 });
  for (let i = 0; i < 200; i++) {
    const tcb = v.connect(2000 + i, SYN_OPTIONS, HOLD, 1000, 0);
    expect(send(tcb, MEGABYTE, 0, MEGABYTE.length)).toBe(65_536);
    v.turn();
  }
  v.checkLimits();
  const { pools } = v.stack.tcp;
  expect(pools.large.inUse).toBeLessThanOrEqual(2 * 200);
  // Nobody answers: R2 ends them all, and gives everything back.
  v.alone(HOUR);
  expect(user.events.filter((e) => e === 'closed ETIMEDOUT').length).toBe(200);
  expect([pools.large.inUse, pools.small.inUse]).toEqual([0, 0]);
  v.alive({ connection: false });
});

test('hostile 97: a peer that answers every probe with a shut window is probed ever more seldom', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness(), { sendBufferLimit: 65_536 });
  const tcb = v.connect(2000, SYN_OPTIONS, HOLD, 1000, 0);
  send(tcb, MEGABYTE, 0, MEGABYTE.length);
  let probes = 0;
  for (let i = 0; i < 3600; i++) {
    for (const { kind } of v.alone(SECOND)) {
      if (!kind.startsWith('tcp')) continue;
      probes++;
      v.inject(theirs(v, tcb, { flags: ACK, ack: tcb.snd.una, window: 0 }));
    }
  }
  // MUST-37: it stays open as long as it is answered; the application's own idle limit is what ends it.
  expect(tcb.state).toBe('ESTABLISHED');
  expect(probes).toBeLessThan(80);
  drop(v, tcb);
  expect(v.stack.tcp.pools.large.inUse).toBe(0);
});

test('hostile 98: SegmentSmack: one byte here and there over a wide window', () => {
  const v = new Victim();
  const user = new Witness();
  v.listen(HOLD, () => user, { receiveBufferLimit: 2 << 20 });
  const tcb = v.connect(2000, SYN_OPTIONS, HOLD);
  const { nxt } = tcb.receiveBuffer;
  const all = bytes(30_000, (i) => i & 255);
  const tally = v.flood(10_000, (i, random) => {
    const at = 1 + 2 * (i < 5000 ? i : below(random, 14_000));
    return theirs(v, tcb, { flags: ACK, seq: nxt + at }, all.subarray(at, at + 1));
  });
  expect([...tally.verdicts.keys()]).toEqual(['taken']);
  const { outOfOrder, held } = tcb.receiveBuffer;
  expect(outOfOrder!.ranges.count).toBeLessThanOrEqual(1024);
  expect(held).toBeLessThan(200_000);
  // When the holes are filled, what was held and what was not makes one whole.
  v.flood(30, (i) =>
    theirs(v, tcb, { flags: ACK, seq: nxt + 1000 * i }, all.subarray(1000 * i, 1000 * (i + 1))),
  );
  expect(Buffer.compare(Uint8Array.from(user.received), all)).toBe(0);
  v.alive();
});

hostile(99, 'optimistic ACKs of data that was not sent', {
  verdicts: ['bad ack'],
  answers: ['tcp ACK'],
  variant: (v, _i, random) =>
    v.spoof({ flags: ACK, ack: v.served.snd.nxt + 1 + below(random, 0x7fff_0000), options: stamp(v.served) }),
  after: (v) => expect(info(v.served).cwnd).toBe(14_480),
});

test('hostile 100: ACKs cut into bytes, and duplicate ACKs made up, inflate nothing', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness());
  const plain = Uint8Array.of(2, 4, 5, 0xb4);
  const tcb = v.connect(2000, plain, HOLD);
  send(tcb, MEGABYTE, 0, MEGABYTE.length);
  v.turn();
  const cwnd = info(tcb).cwnd;
  for (let i = 0; i < 1460; i++) v.inject(v.spoof({ flags: ACK, ack: tcb.snd.una + 1 }, undefined, tcb));
  // 1460 ACKs of a byte are worth one segment (RFC 3465).
  expect(info(tcb).cwnd - cwnd).toBeLessThanOrEqual(1460);
  let sent = 0;
  for (let i = 0; i < 10_000; i++) {
    const { answers } = v.inject(v.spoof({ flags: ACK, ack: tcb.snd.una, window: 65_535 }, undefined, tcb));
    sent += sum(answers);
    // Never beyond the window that was offered.
    expect(sub(tcb.snd.nxt, tcb.snd.una)).toBeLessThanOrEqual(65_535);
  }
  expect(sent).toBeLessThan(140_000);
  expect(info(tcb).cwnd).toBeLessThanOrEqual(cwnd + 1460);
  v.checkFouls();
  drop(v, tcb);
  v.alive();
});

test('hostile 101: TIME-WAIT is not ended by a RST (RFC 1337)', () => {
  const v = new Victim();
  const tcb = bring(v, 2000, 'TIME-WAIT')!;
  const tally = v.flood(10_000, (i, random) => {
    const { nxt } = tcb.receiveBuffer;
    return v.spoof(
      { flags: i & 1 ? RST : RST | ACK, seq: i % 3 === 0 ? nxt : nxt + below(random, 1 << 17) },
      undefined,
      tcb,
    );
  });
  expect([...tally.verdicts.keys()].filter((k) => k !== 'reset ignored' && k !== 'out of window')).toEqual(
    [],
  );
  expect(tcb.state).toBe('TIME-WAIT');
  v.alone(MINUTE);
  expect(tcb.state).toBe('CLOSED');
  v.alive();
});

test('hostile 102: a window that shrinks below what is under way', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness());
  const tcb = v.connect(2000, Uint8Array.of(2, 4, 5, 0xb4), HOLD);
  send(tcb, MEGABYTE, 0, 200_000);
  let sent = sum(v.turn());
  expect(sent).toBeGreaterThan(14_000);
  const high = tcb.snd.nxt;
  const tally = v.flood(10_000, (_i, random) =>
    v.spoof({ flags: ACK, ack: tcb.snd.una, window: below(random, 3) }, undefined, tcb),
  );
  expect([...tally.verdicts.keys()]).toEqual(['taken']);
  // MUST-34: nothing new into a window that is not there.
  expect(sub(tcb.snd.nxt, high)).toBe(0);
  sent += sum(v.alone(10 * SECOND));
  for (let i = 0; i < 1000 && tcb.stats.bytesAcked < 200_000; i++) {
    v.inject(v.spoof({ flags: ACK, window: 65_535 }, undefined, tcb));
    v.alone(10 * MILLISECOND);
  }
  expect(tcb.stats.bytesAcked).toBe(200_000);
  v.checkFouls();
  v.alive();
});

test('hostile 103: a window of one byte does not make segments of one byte', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness());
  const tcb = v.connect(2000, Uint8Array.of(2, 4, 5, 0xb4), HOLD);
  send(tcb, MEGABYTE, 0, 100_000);
  v.turn();
  let tiny = 0;
  for (let i = 0; i < 10_000; i++) {
    const { answers } = v.inject(v.spoof({ flags: ACK, window: 1 }, undefined, tcb));
    const late = v.alone(MILLISECOND);
    tiny += [...answers, ...late].filter((a) => dataOf(a) > 0).length;
  }
  // Ten seconds: the override timeout lets five a second go (3.8.6.2.1), not one for each ACK.
  expect(tiny).toBeGreaterThan(0);
  expect(tiny).toBeLessThanOrEqual(55);
  v.checkFouls();
  drop(v, tcb);
  v.alive();
});

test('hostile 104: FINs out of order, again with other data, and data behind them', () => {
  const v = new Victim();
  for (let round = 0; round < 200; round++) {
    const user = new Witness();
    const listener = v.listen(HOLD + 1 + round, () => user);
    const tcb = v.connect(2000, SYN_OPTIONS, listener.port);
    const { nxt } = tcb.receiveBuffer;
    const good = bytes(100, (i) => i);
    const bad = bytes(100, () => 0xbb);
    const pieces = [
      theirs(v, tcb, { flags: ACK | FIN, seq: nxt + 50 }, good.subarray(50)),
      theirs(v, tcb, { flags: ACK | FIN, seq: nxt + 50 }, bad.subarray(50, 70)),
      theirs(v, tcb, { flags: ACK | FIN, seq: nxt + 60 }, bad.subarray(0, 80)),
      theirs(v, tcb, { flags: ACK, seq: nxt + 100 }, bad),
      theirs(v, tcb, { flags: ACK, seq: nxt + 101 }, bad),
      theirs(v, tcb, { flags: ACK, seq: nxt }, good.subarray(0, 50)),
    ];
    // The honest FIN first; the forgeries in any order.
    v.inject(pieces[0]!);
    const rest = pieces.slice(1);
    while (rest.length > 0) v.inject(rest.splice(below(v.random, rest.length), 1)[0]!);
    v.inject(theirs(v, tcb, { flags: ACK, seq: nxt }, good.subarray(0, 50)));
    expect(Buffer.compare(Uint8Array.from(user.received), good)).toBe(0);
    expect(tcb.state).toBe('CLOSE-WAIT');
    expect(user.events).toEqual(['ended']);
    drop(v, tcb);
  }
  v.checkFouls();
  v.alive();
});

test('hostile 105: bytes that came stay what they were, however they are overlapped', () => {
  const v = new Victim();
  const user = new Witness();
  v.listen(HOLD, () => user);
  const tcb = v.connect(2000, SYN_OPTIONS, HOLD);
  const { nxt } = tcb.receiveBuffer;
  const length = 20_000;
  const stream = new Int16Array(length).fill(-1);
  // Ten thousand overlapping pieces, each with bytes of its own; the first to bring a byte decides (all fit the limits).
  const tally = v.flood(10_000, (i, random) => {
    const at = below(random, length);
    const n = 1 + below(random, Math.min(100, length - at));
    const payload = bytes(n, () => below(random, 256));
    for (let k = 0; k < n; k++) if (stream[at + k] === -1) stream[at + k] = payload[k]!;
    return theirs(v, tcb, { flags: ACK, seq: nxt + at, window: i & 0xffff }, payload);
  });
  expect([...tally.verdicts.keys()].filter((k) => k !== 'taken' && k !== 'old duplicate')).toEqual([]);
  const rest = bytes(length, () => 0xfe);
  for (let at = 0; at < length; at += 1000)
    v.inject(theirs(v, tcb, { flags: ACK, seq: nxt + at }, rest.subarray(at, at + 1000)));
  const expected = Uint8Array.from(stream, (b) => (b === -1 ? 0xfe : b));
  expect(Buffer.compare(Uint8Array.from(user.received), expected)).toBe(0);
  v.checkFouls();
  v.alive();
});

test('hostile 106: a connection with oneself, and simultaneous open and close', () => {
  const v = new Victim();
  const self = new Witness();
  const tcb = open(v.stack.tcp, { remote: v4(OURS), remotePort: 5555, localPort: 5555, user: self }) as Tcb;
  v.pass(SECOND);
  expect(tcb.state).toBe('ESTABLISHED');
  send(tcb, bytes(1000), 0, 1000);
  v.pass(SECOND);
  expect(Buffer.compare(Uint8Array.from(self.received), bytes(1000))).toBe(0);
  shutdown(tcb);
  v.pass(2 * MINUTE);
  expect([tcb.state, ...self.events.slice(-1)]).toEqual(['CLOSED', 'closed in order']);

  // Figure 8, against an attacker who knows our SYN.
  const both = bring(v, 3000, 'SYN-SENT')!;
  v.inject(v.tcp({ source: 3000, destination: both.localPort, flags: SYN, seq: 500 }));
  expect(both.state).toBe('SYN-RECEIVED');
  v.inject(v.tcp({ source: 3000, destination: both.localPort, flags: ACK, seq: 501, ack: both.iss + 1 }));
  expect(both.state).toBe('ESTABLISHED');
  // Figure 13.
  shutdown(both);
  v.turn();
  v.inject(v.spoof({ flags: FIN | ACK, ack: both.snd.una }, undefined, both));
  expect(both.state).toBe('CLOSING');
  v.inject(v.spoof({ flags: ACK }, undefined, both));
  expect(both.state).toBe('TIME-WAIT');
  v.checkFouls();
  v.alive();
});

hostile(107, 'a RST is never answered with a RST', {
  verdicts: ['no socket', 'reset ignored', 'bad ack', 'out of window', 'old duplicate'],
  answers: ['tcp ACK'],
  before: (v) => bring(v, 9999, 'SYN-SENT'),
  variant(v, i, random) {
    const flags = RST | (i & 8 ? ACK : 0) | (i & 16 ? SYN : 0) | (i & 32 ? FIN : 0);
    const t = { flags, seq: random.u32(), ack: random.u32() };
    if (i % 4 === 0) return v.tcp({ ...t, destination: CLOSED_PORT });
    if (i % 4 === 1) return v.tcp(t);
    if (i % 4 === 2) return v.tcp({ ...t, source: 9999, destination: 20_000 });
    return v.spoof(t);
  },
});

hostile(107, 'segments to closed ports: one RST each, bounded, and none while the answers find no way', {
  verdicts: ['no socket'],
  answers: ['tcp RST', 'tcp RST,ACK'],
  variant: (v, i, random) =>
    v.tcp(
      {
        flags: [SYN, ACK, FIN | ACK, 0, SYN | ACK][i % 5]!,
        destination: CLOSED_PORT,
        seq: random.u32(),
        ack: random.u32(),
      },
      concat(bytes(i % 30)),
    ),
});
