// A bad network: src/link/netem.ts and src/link/impair.ts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeFrames } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { MILLISECOND, NEVER, SECOND } from '../../src/base/time.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../src/link/device.ts';
import { checksumHolds } from '../../src/link/headers.ts';
import { type Impairment, type Netem, type NetemOptions, netem } from '../../src/link/netem.ts';
import { createPipe, type PipeOptions } from '../../src/link/pipe.ts';
import { bytesOf, fill, numbered } from './contract.ts';
import { allSame, frameOf, joined, judge, noise, same, wireOf } from './frames.ts';

interface Arrival {
  at: number;
  bytes: Uint8Array;
  trusted: boolean;
}

/** A bad network with a good pipe below, in virtual time. */
function build(options: NetemOptions, pipe: PipeOptions = {}) {
  const [a, b] = createPipe({ queue: 100_000, ...pipe });
  const device = netem(a, options);
  const [frame] = makeFrames(1, 4_096);
  let now = 0;
  const out: Arrival[] = [];
  const look = () =>
    b.receive((p) => out.push({ at: now, bytes: bytesOf(p), trusted: p.checksumTrusted }), NEVER);
  const goTo = (time: number) => {
    for (let next = device.nextTimeout(); next <= time; next = device.nextTimeout()) {
      now = Math.max(now, next);
      device.advance(now);
      look();
    }
    now = time;
    device.advance(now);
    look();
  };
  return {
    device,
    far: b,
    out,
    goTo,
    send(bytes: Uint8Array): number {
      const n = device.transmit([fill(frame!.reset(), bytes)], 0, 1);
      look();
      return n;
    },
    inject(bytes: Uint8Array) {
      b.transmit([fill(frame!.reset(), bytes)], 0, 1);
    },
    numbers: () => out.map(({ bytes }) => new DataView(bytes.buffer).getUint32(16)),
  };
}

/** Sends `count` frames, one every `every` µs, and returns what came out when all is quiet. */
function run(options: NetemOptions, count: number, every = 100, length = 200) {
  const net = build(options);
  for (let i = 0; i < count; i++) {
    net.goTo(i * every);
    net.send(numbered(i, length));
  }
  net.goTo(count * every + 100 * SECOND);
  return net;
}

const spread = fc.record({
  delay: fc.integer({ min: 0, max: 50_000 }),
  jitter: fc.integer({ min: 0, max: 20_000 }),
  delayDistribution: fc.constantFrom('uniform', 'normal', 'pareto'),
  loss: fc.double({ min: 0, max: 0.4, noNaN: true }),
  duplicate: fc.double({ min: 0, max: 0.4, noNaN: true }),
  reorder: fc.record({
    probability: fc.double({ min: 0, max: 0.4, noNaN: true }),
    gap: fc.integer({ min: 1, max: 5 }),
    extra: fc.integer({ min: 0, max: 30_000 }),
  }),
  corrupt: fc.double({ min: 0, max: 0.4, noNaN: true }),
  rate: fc.constantFrom(0, 1e6, 1e8),
  queue: fc.constantFrom(2_000, 100_000),
});

describe('the same seed gives the same network', () => {
  test('frames, times and bits are equal in two runs', () => {
    fc.assert(
      fc.property(spread, fc.nat(), (impairment, seed) => {
        const options = { ...(impairment as Impairment), seed };
        const [one, two] = [run(options, 60), run(options, 60)];
        expect(one.out.map(({ at }) => at)).toEqual(two.out.map(({ at }) => at));
        expect(
          allSame(
            one.out.map(({ bytes }) => bytes),
            two.out.map(({ bytes }) => bytes),
          ),
        ).toBe(true);
        expect(one.device.counters).toEqual(two.device.counters);
      }),
      { numRuns: 40 },
    );
  });

  test('another seed gives another, and a source of chance serves as well as a seed', () => {
    const lossy = (options: NetemOptions) => run({ loss: 0.5, ...options }, 64).numbers();
    expect(lossy({ seed: 1 })).not.toEqual(lossy({ seed: 2 }));
    expect(lossy({ random: seededRandom(7) })).toEqual(lossy({ seed: 7 }));
  });

  test('one direction does not move the other: each has its own stream of chance', () => {
    const quiet = run({ loss: 0.5, seed: 3 }, 64);
    const busy = build({ loss: 0.5, seed: 3 });
    for (let i = 0; i < 64; i++) {
      busy.goTo(i * 100);
      busy.inject(numbered(i));
      busy.device.receive(() => {}, 64);
      busy.send(numbered(i, 200));
    }
    busy.goTo(SECOND);
    expect(busy.numbers()).toEqual(quiet.numbers());
  });
});

describe('every frame is accounted for', () => {
  test('what comes out is what went in, less what was lost, and what was repeated', () => {
    fc.assert(
      fc.property(spread, fc.nat(), (impairment, seed) => {
        const net = run({ ...(impairment as Impairment), corrupt: 0, seed }, 80);
        const { out: c } = net.device.counters;
        expect(c.frames).toBe(80);
        expect(net.out).toHaveLength(80 - c.lost - c.overflowed + c.duplicated);
        expect(c.delivered).toBe(net.out.length);
        expect(new Set(net.numbers()).size).toBe(80 - c.lost - c.overflowed);
        expect(net.device.stats.txDropped).toBe(c.lost + c.overflowed);
        for (const { bytes } of net.out) {
          expect(same(bytes, numbered(new DataView(bytes.buffer).getUint32(16), 200))).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('without reorder, order is kept whatever the jitter', () => {
    for (const delayDistribution of ['uniform', 'normal', 'pareto'] as const) {
      const net = run({ delay: 10_000, jitter: 9_000, delayDistribution, seed: 5 }, 300);
      expect(net.numbers()).toEqual(Array.from({ length: 300 }, (_, i) => i));
    }
  });

  test('loss is as often as it is asked for', () => {
    const net = run({ loss: 0.1, seed: 11 }, 5_000);
    expect(net.device.counters.out.lost).toBeGreaterThan(400);
    expect(net.device.counters.out.lost).toBeLessThan(600);
    expect(run({ loss: 1 }, 10).out).toHaveLength(0);
  });

  test('Gilbert-Elliott: losses come in bursts of 1/r, and as often as p and r say', () => {
    const net = run({ burstLoss: { p: 0.02, r: 0.25 }, seed: 9 }, 8_000);
    const arrived = new Set(net.numbers());
    let bursts = 0;
    for (let i = 0; i < 8_000; i++) if (!arrived.has(i) && (i === 0 || arrived.has(i - 1))) bursts++;
    const { lost } = net.device.counters.out;
    expect(lost / 8_000).toBeGreaterThan(0.05);
    expect(lost / 8_000).toBeLessThan(0.1);
    expect(lost / bursts).toBeGreaterThan(3.2);
    expect(lost / bursts).toBeLessThan(4.8);
  });
});

describe('time', () => {
  test('a delay holds every frame exactly so long, and nextTimeout says until when', () => {
    const net = build({ delay: 20 * MILLISECOND });
    net.goTo(1_000);
    net.send(numbered(1));
    expect(net.device.nextTimeout()).toBe(21_000);
    net.goTo(20_999);
    expect(net.out).toHaveLength(0);
    net.goTo(21_000);
    expect(net.out.map(({ at }) => at)).toEqual([21_000]);
    expect(net.device.nextTimeout()).toBe(NEVER);
  });

  test('received frames are held too, handed on in order and no more than asked for', () => {
    const net = build({ in: { delay: 5_000 } });
    for (let i = 0; i < 10; i++) net.inject(numbered(i));
    const got: number[] = [];
    const take = (limit: number) =>
      net.device.receive((p) => got.push(p.view.getUint32(p.start + 16)), limit);
    expect(take(64)).toBe(0);
    expect(net.device.nextTimeout()).toBe(5_000);
    net.device.advance(5_000);
    expect(take(4)).toBe(4);
    expect(net.device.nextTimeout()).toBe(5_000);
    expect(take(64)).toBe(6);
    expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(net.device.nextTimeout()).toBe(NEVER);
    expect(net.device.counters.out.frames).toBe(0);
  });

  test('jitter stays within its bounds and fills them', () => {
    const times = run({ delay: 10_000, jitter: 4_000, seed: 2 }, 500, 100_000).out.map(
      ({ at }, i) => at - i * 100_000,
    );
    expect(Math.min(...times)).toBeGreaterThanOrEqual(6_000);
    expect(Math.min(...times)).toBeLessThan(6_400);
    expect(Math.max(...times)).toBeLessThanOrEqual(14_000);
    expect(Math.max(...times)).toBeGreaterThan(13_600);
  });

  test.each(['normal', 'pareto'] as const)(
    '%s jitter has the mean and deviation it is told',
    (delayDistribution) => {
      const times = run(
        { delay: 50_000, jitter: 4_000, delayDistribution, seed: 4 },
        3_000,
        1_000_000,
      ).out.map(({ at }, i) => at - i * 1_000_000);
      const mean = times.reduce((a, b) => a + b, 0) / times.length;
      const deviation = Math.sqrt(times.reduce((a, b) => a + (b - mean) ** 2, 0) / times.length);
      expect(Math.abs(mean - 50_000)).toBeLessThan(400);
      expect(Math.abs(deviation - 4_000)).toBeLessThan(800);
    },
  );

  test('a delay is never below zero', () => {
    const net = run({ delay: 100, jitter: 5_000, seed: 1 }, 200, 20_000);
    net.out.forEach(({ at }, i) => {
      expect(at).toBeGreaterThanOrEqual(i * 20_000);
    });
  });

  test('a rate spaces frames by their length, to a fraction of a microsecond in the long run', () => {
    // 1000 bytes at 3 Mbit/s: 2666.67 µs each.
    const net = build({ rate: 3e6 });
    for (let i = 0; i < 9; i++) net.send(numbered(i, 1_000));
    net.goTo(SECOND);
    expect(net.out.map(({ at }) => at)).toEqual([2667, 5334, 8000, 10667, 13334, 16000, 18667, 21334, 24000]);
  });

  test('the queue before the rate has its length in bytes, and what is too much is lost and counted', () => {
    const net = build({ rate: 8e6, queue: 3_000 });
    for (let i = 0; i < 10; i++) net.send(numbered(i, 1_000));
    net.goTo(SECOND);
    expect(net.numbers()).toEqual([0, 1, 2]);
    expect(net.device.counters.out.overflowed).toBe(7);
    expect(net.device.stats.txDropped).toBe(7);
    // It drains: later there is room again.
    net.send(numbered(11, 1_000));
    net.goTo(2 * SECOND);
    expect(net.numbers()).toEqual([0, 1, 2, 11]);
  });

  test('a frame larger than the queue passes an idle link', () => {
    const net = build({ rate: 8e6, queue: 100 });
    net.send(numbered(1, 1_000));
    net.goTo(SECOND);
    expect(net.numbers()).toEqual([1]);
  });

  test('equal times leave first in, first out, through many of them', () => {
    const net = build({ delay: 1_000 });
    for (let i = 0; i < 500; i++) net.send(numbered(i));
    net.goTo(1_000);
    expect(net.numbers()).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });
});

describe('reorder, duplicate, corrupt', () => {
  test('with a gap, so many frames overtake the one held back', () => {
    const net = run({ reorder: { probability: 0.1, gap: 3, extra: SECOND }, seed: 21 }, 200);
    const numbers = net.numbers();
    const { reordered } = net.device.counters.out;
    expect(reordered).toBeGreaterThan(8);
    expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    // Each overtaken frame comes right after a later one; all others are in order.
    const behind = numbers.filter((n, i) => numbers.slice(0, i).some((m) => m > n));
    expect(behind).toHaveLength(reordered);
    const inOrder = numbers.filter((n) => !behind.includes(n));
    for (const late of behind.filter((n) => n < 190)) {
      const passed = numbers.slice(0, numbers.indexOf(late)).filter((n) => n > late && inOrder.includes(n));
      expect(passed).toHaveLength(3);
    }
  });

  test('when nothing follows, a frame held back comes after `extra`', () => {
    const net = build({ delay: 1_000, reorder: { probability: 1, gap: 5, extra: 7_000 } });
    net.send(numbered(1));
    expect(net.device.nextTimeout()).toBe(8_000);
    net.goTo(SECOND);
    expect(net.out.map(({ at }) => at)).toEqual([8_000]);
  });

  test('without a gap, a frame held back comes later by `extra`', () => {
    const net = run({ reorder: { probability: 0.2, extra: 250 }, seed: 8 }, 100);
    const late = net.out.filter(({ at, bytes }) => at !== new DataView(bytes.buffer).getUint32(16) * 100);
    expect(late).toHaveLength(net.device.counters.out.reordered);
    for (const { at, bytes } of late) expect(at).toBe(new DataView(bytes.buffer).getUint32(16) * 100 + 250);
  });

  test('a duplicate comes right behind its twin', () => {
    expect(run({ duplicate: 1 }, 3).numbers()).toEqual([0, 0, 1, 1, 2, 2]);
  });

  test('corruption flips exactly one bit of each frame that it counts, and of no other', () => {
    const net = run({ corrupt: 0.3, seed: 6 }, 400);
    let flipped = 0;
    net.out.forEach(({ bytes }, i) => {
      const intact = numbered(i, 200);
      let bits = 0;
      for (let k = 0; k < 200; k++) for (let d = bytes[k]! ^ intact[k]!; d > 0; d &= d - 1) bits++;
      expect(bits).toBeLessThanOrEqual(1);
      flipped += bits;
    });
    expect(flipped).toBe(net.device.counters.out.corrupted);
    expect(flipped).toBeGreaterThan(80);
  });

  test('corruption can spare the first bytes', () => {
    const net = run({ corrupt: { probability: 1, from: 14 }, seed: 6 }, 200, 100, 30);
    net.out.forEach(({ bytes }, i) => {
      expect(same(bytes.subarray(0, 14), numbered(i, 30).subarray(0, 14))).toBe(true);
      expect(same(bytes, numbered(i, 30))).toBe(false);
    });
    const short = run({ corrupt: { probability: 1, from: 60 } }, 5, 100, 60);
    expect(short.device.counters.out.corrupted).toBe(0);
  });

  test('a corrupted frame is never trusted, and its checksum shows it, whatever offload lies below', () => {
    const net = build({ in: { corrupt: { probability: 1, from: 34 } } }, { features: FULL_OFFLOAD });
    const intact = wireOf({ payload: noise(500) });
    net.far.transmit([frameOf({ payload: noise(500) })], 0, 1);
    net.far.transmit([frameOf({ payload: noise(3_000) }, 1_000)], 0, 1);
    const got: Uint8Array[] = [];
    net.device.receive((p) => {
      expect(p.checksumTrusted).toBe(false);
      expect(p.gsoSize).toBe(0);
      expect(checksumHolds(p.view, p.start, p.end - p.start)).toBe(false);
      got.push(bytesOf(p));
    }, 64);
    expect(got).toHaveLength(4);
    expect(same(got[0]!, intact)).toBe(false);
  });
});

describe('whatever it is handed, it deals in complete wire-sized frames', () => {
  test('super-frames and pending checksums from above are cut and completed', () => {
    const net = build({});
    const big = frameOf({ payload: noise(5_000) }, 1_400, 100, 2_001);
    const small = frameOf({ family: 6, protocol: 'udp', payload: noise(99) });
    expect(net.device.transmit([big, small], 0, 2)).toBe(2);
    net.goTo(0);
    const judged = net.out.map(({ bytes }) => judge(bytes));
    expect(judged).toHaveLength(5);
    expect(judged.every((j) => j.ipChecksumRight && j.transportChecksumRight)).toBe(true);
    expect(same(joined(judged.slice(0, 4).map((j) => j.payload)), noise(5_000))).toBe(true);
    expect(net.out.every(({ trusted }) => !trusted)).toBe(true);
    expect(net.device.features).toEqual(NO_OFFLOAD);
  });

  test('super-frames and trusted packets from below are cut and completed', () => {
    const net = build({}, { features: FULL_OFFLOAD });
    net.far.transmit([frameOf({ payload: noise(5_000) }, 1_400), frameOf({ payload: noise(44) })], 0, 2);
    const got: Uint8Array[] = [];
    net.device.receive((p) => got.push(bytesOf(p)), 64);
    expect(got).toHaveLength(5);
    expect(got.map(judge).every((j) => j.ipChecksumRight && j.transportChecksumRight)).toBe(true);
  });

  test('class 1: frames shorter than a header pass as they are; an empty one and a hopeless super-frame are counted', () => {
    const net = build({ corrupt: 0.5, duplicate: 0.5, seed: 1 });
    for (let length = 1; length < 14; length++) expect(net.send(new Uint8Array(length))).toBe(1);
    const [empty, hopeless] = makeFrames(2);
    hopeless!.copyIn(noise(100), 0, 100);
    hopeless!.gsoSize = 10;
    expect(net.device.transmit([empty!, hopeless!], 0, 2)).toBe(2);
    net.goTo(SECOND);
    expect(net.out.length).toBe(13 + net.device.counters.out.duplicated);
    expect(net.device.counters.out.uncuttable).toBe(1);
    expect(net.device.stats.txDropped).toBe(2);
  });
});

describe('use', () => {
  test('direction says which way the impairments are for, and each way can differ', () => {
    const counts = (options: NetemOptions) => {
      const net = build(options);
      for (let i = 0; i < 20; i++) {
        net.send(numbered(i));
        net.inject(numbered(i));
      }
      const got = net.device.receive(() => {}, 64);
      return [net.out.length, got];
    };
    expect(counts({ loss: 1 })).toEqual([0, 0]);
    expect(counts({ loss: 1, direction: 'out' })).toEqual([0, 20]);
    expect(counts({ loss: 1, direction: 'in' })).toEqual([20, 0]);
    expect(counts({ loss: 1, out: { loss: 0 } })).toEqual([20, 0]);
    expect(counts({ in: { duplicate: 1 } })).toEqual([20, 40]);
  });

  test('the network can change while it runs; frames under way keep their fate', () => {
    const net = build({ delay: 1_000 });
    net.send(numbered(0));
    net.device.change('out', { loss: 1 });
    net.send(numbered(1));
    net.device.change('both', { loss: 0 });
    net.send(numbered(2));
    net.goTo(1_000);
    expect(net.numbers()).toEqual([0, 2]);
    net.device.change('out', { burstLoss: { p: 1, r: 0 } });
    net.send(numbered(3));
    net.device.change('out', { burstLoss: undefined });
    net.send(numbered(4));
    net.goTo(2_000);
    expect(net.numbers()).toEqual([0, 2, 4]);
  });

  test('at its limit it makes the sender wait instead of losing frames', () => {
    const net = build({ delay: 1_000, limit: 3 });
    let ready = 0;
    net.device.onReady = () => ready++;
    expect([0, 1, 2, 3].map((i) => net.send(numbered(i)))).toEqual([1, 1, 1, 0]);
    net.goTo(1_000);
    expect(ready).toBe(1);
    expect(net.send(numbered(3))).toBe(1);
    net.goTo(2_000);
    expect(net.numbers()).toEqual([0, 1, 2, 3]);
  });

  test('numbers out of range are refused', () => {
    const [a] = createPipe();
    const bad: Impairment[] = [
      { loss: 1.1 },
      { loss: -0.1 },
      { duplicate: Number.NaN },
      { corrupt: { probability: 2 } },
      { reorder: { probability: 0.5, gap: -1 } },
      { burstLoss: { p: 2, r: 0 } },
      { delay: -1 },
      { rate: Number.NaN },
    ];
    for (const impairment of bad) expect(() => netem(a, impairment)).toThrow(RangeError);
    const open: Netem = netem(a, { rate: Number.POSITIVE_INFINITY });
    expect(open.counters.out.frames).toBe(0);
  });
});
