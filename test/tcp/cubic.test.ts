import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Micros, MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { SLOW_START_LIMIT } from '../../src/tcp/congestion.ts';
import { createCubic } from '../../src/tcp/cubic.ts';

const MSS = 1448;
type Controller = ReturnType<typeof createCubic>;

/** Acknowledges a full window each `rtt` for `span`, in `pieces`; `seen` is told the time since `from` after each round. */
function drive(
  c: Controller,
  from: Micros,
  span: Micros,
  rtt: Micros,
  seen: (t: number) => void = () => {},
  pieces = 10,
): Micros {
  let now = from;
  while (now < from + span) {
    const window = c.cwnd;
    for (let i = 1; i <= pieces; i++)
      c.onAck(window / pieces, rtt, window, now + Math.round((i * rtt) / pieces), true);
    now += rtt;
    seen((now - from) / SECOND);
  }
  return now;
}

/** A controller of `segments` that has just lost something and recovered at time 0. */
function afterLoss(segments: number): Controller {
  const c = createCubic(MSS);
  while (c.cwnd < segments * MSS) c.onAck(Math.min(100 * MSS, segments * MSS - c.cwnd), 0, c.cwnd, 0, true);
  c.onLoss(c.cwnd);
  c.onRecoveryExit(c.cwnd);
  return c;
}

/** Equations 1 and 2 as they stand in the RFC, in segments and seconds, without a line of ours. */
function wCubic(t: number, wMax: number, cwndEpoch: number): number {
  const k = ((wMax - cwndEpoch) / 0.4) ** (1 / 3);
  return 0.4 * (t - k) * (t - k) * (t - k) + wMax;
}

describe('RFC 9438 4.2: the window is a cubic function of time', () => {
  for (const [segments, rtt] of [
    [1000, 100 * MS],
    [3000, 50 * MS],
    [10_000, 200 * MS],
  ] as const) {
    test(`${segments} segments at ${rtt / MS} ms: concave to W_max at K, convex beyond`, () => {
      const c = afterLoss(segments);
      expect(Math.abs(c.cwnd - 0.7 * segments * MSS)).toBeLessThanOrEqual(1);
      const k = ((segments * 0.3) / 0.4) ** (1 / 3);
      let last = c.cwnd;
      const steps: [number, number][] = [];
      drive(c, 0, 2 * k * SECOND, rtt, (t) => {
        // The window at the end of a round is what equation 1 says of that time, or of the next round's end.
        const [low, high] = [t - rtt / SECOND, t + rtt / SECOND].map((at) =>
          wCubic(at, segments, 0.7 * segments),
        );
        if (t > 2 * (rtt / SECOND)) {
          expect(c.cwnd / MSS).toBeGreaterThan(low! - 1);
          expect(c.cwnd / MSS).toBeLessThan(high! + 1);
        }
        steps.push([t, c.cwnd - last]);
        last = c.cwnd;
      });
      const gain = (at: number) => steps.find(([t]) => t >= at)![1];
      expect(gain(0.5 * k)).toBeGreaterThan(gain(0.9 * k));
      expect(gain(1.5 * k)).toBeGreaterThan(gain(1.1 * k));
    });
  }

  test('time in which the application did not use the window does not count (5.8)', () => {
    const busy = afterLoss(1000);
    const paused = afterLoss(1000);
    drive(busy, 0, 4 * SECOND, 100 * MS);
    const at = drive(paused, 0, 2 * SECOND, 100 * MS);
    for (let i = 1; i <= 300; i++) paused.onAck(MSS, 100 * MS, MSS, at + i * 100 * MS, false);
    drive(paused, at + 30 * SECOND, 2 * SECOND, 100 * MS);
    expect(Math.abs(paused.cwnd - busy.cwnd)).toBeLessThan(2 * MSS);
  });

  test('nor does silence', () => {
    const busy = afterLoss(1000);
    const idle = afterLoss(1000);
    drive(busy, 0, 4 * SECOND, 100 * MS);
    const at = drive(idle, 0, 2 * SECOND, 100 * MS);
    idle.onIdle(50 * SECOND, at + 50 * SECOND);
    drive(idle, at + 50 * SECOND, 2 * SECOND, 100 * MS);
    expect(Math.abs(idle.cwnd - busy.cwnd)).toBeLessThan(4 * MSS);
  });

  test('4.2: one round trip never brings more than half a window', () => {
    const c = afterLoss(1000);
    c.onAck(MSS, 50 * MS, c.cwnd, MS, true);
    const before = c.cwnd;
    c.onAck(before, 50 * MS, before, 3600 * SECOND, true);
    expect(c.cwnd).toBeGreaterThan(1.49 * before);
    expect(c.cwnd).toBeLessThanOrEqual(1.5 * before);
  });
});

describe('RFC 9438 4.3: no slower than Reno', () => {
  test('at small windows and short round trips the window grows as AIMD(0.53, 0.7), then as Reno', () => {
    const c = afterLoss(40);
    // An AIMD of the same mean, a window at a time.
    let estimate = 28;
    const alpha = (3 * 0.3) / 1.7;
    drive(c, 0, SECOND, 10 * MS, () => {
      estimate += estimate >= 40 ? 1 : alpha;
      expect(Math.abs(c.cwnd / MSS - estimate)).toBeLessThan(0.05 * estimate + 1);
    });
    expect(estimate).toBeGreaterThan(80);
  });
});

describe('RFC 9438 4.6 to 4.9: losses', () => {
  test('4.6: β is 0.7, of what was in flight but never of more than cwnd; two segments are least', () => {
    const c = createCubic(1000);
    c.onLoss(7000);
    expect([c.cwnd, c.ssthresh]).toEqual([4900, 4900]);
    c.onLoss(50_000);
    expect(c.cwnd).toBe(3430);
    c.onLoss(1000);
    c.onLoss(1000);
    expect([c.cwnd, c.ssthresh]).toEqual([2000, 2000]);
  });

  test('4.7: fast convergence: a second loss before W_max is reached plateaus lower', () => {
    const c = afterLoss(1000);
    c.onLoss(c.cwnd);
    c.onRecoveryExit(c.cwnd);
    // W_max is now 700 × 0.85, the window 490.
    const k = ((595 - 490) / 0.4) ** (1 / 3);
    drive(c, 0, k * SECOND, 100 * MS);
    expect(c.cwnd / MSS).toBeGreaterThan(590);
    expect(c.cwnd / MSS).toBeLessThan(600);
  });

  test('4.8: after a timeout slow start to β·FlightSize, then convex from there', () => {
    const c = createCubic(MSS);
    for (let i = 0; i < 30; i++) c.onAck(5 * MSS, 0, c.cwnd, 0, true);
    const before = c.cwnd;
    c.onTimeout(before, false);
    expect([c.cwnd, c.ssthresh]).toEqual([MSS, Math.floor(0.7 * before)]);
    c.onTimeout(MSS, true);
    expect(c.ssthresh).toBe(Math.floor(0.7 * before));
    c.onRecoveryExit(0);
    const at = drive(c, 0, SECOND, 100 * MS);
    expect(c.cwnd).toBeGreaterThanOrEqual(Math.floor(0.7 * before));
    const gains: number[] = [];
    let last = c.cwnd;
    drive(c, at, 8 * SECOND, 200 * MS, () => {
      gains.push(c.cwnd - last);
      last = c.cwnd;
    });
    expect(gains.at(-1)!).toBeGreaterThan(gains[5]!);
  });

  test('4.9: what was no loss gives everything back, and the cubic goes on where it was', () => {
    const c = afterLoss(1000);
    const twin = afterLoss(1000);
    for (const each of [c, twin]) drive(each, 0, 3 * SECOND, 100 * MS);
    c.onLoss(c.cwnd);
    c.onSpurious();
    c.onRecoveryExit(0);
    expect(c.cwnd).toBe(twin.cwnd);
    for (const each of [c, twin]) drive(each, 3 * SECOND, 3 * SECOND, 100 * MS);
    expect(Math.abs(c.cwnd - twin.cwnd)).toBeLessThan(2 * MSS);
    c.onSpurious();
    expect(Math.abs(c.cwnd - twin.cwnd)).toBeLessThan(2 * MSS);
  });
});

describe('bounds', () => {
  test('slow start: one ACK never adds more than four super-frames, nor more than it acknowledges', () => {
    const c = createCubic(MSS);
    const { cwnd } = c;
    c.onAck(1 << 24, 0, cwnd, 0, true);
    expect(c.cwnd).toBe(cwnd + SLOW_START_LIMIT);
    c.onAck(100, 0, cwnd, 0, true);
    expect(c.cwnd).toBe(cwnd + SLOW_START_LIMIT + 100);
  });

  test('hostile 100: an ACK cut in a thousand pieces adds what the whole would', () => {
    const [whole, cut] = [afterLoss(1000), afterLoss(1000)];
    for (const c of [whole, cut]) c.onAck(MSS, 100 * MS, c.cwnd, 0, true);
    const n = whole.cwnd;
    whole.onAck(n, 100 * MS, n, SECOND, true);
    for (let i = 0; i < 1000; i++) cut.onAck(n / 1000, 100 * MS, n, SECOND, true);
    expect(cut.cwnd).toBeLessThanOrEqual(whole.cwnd + 1);
  });

  test('whatever happens, the window is a whole number of at least one segment, and finite', () => {
    const event = fc.tuple(fc.nat(6), fc.nat(10_000_000));
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const c = createCubic(MSS);
        let now = SECOND;
        for (const [kind, n] of events) {
          now += n;
          if (kind === 0) c.onLoss(n);
          else if (kind === 1) c.onTimeout(n, n % 2 === 0);
          else if (kind === 2) c.onRecoveryExit(n);
          else if (kind === 3) c.onSpurious();
          else if (kind === 4) c.onIdle(n, now);
          else c.onAck(n, n % 300_000, n, now, n % 3 !== 0);
          expect(Number.isInteger(c.cwnd) && c.cwnd >= MSS).toBe(true);
          expect(c.ssthresh).toBeGreaterThanOrEqual(2 * MSS);
          expect(c.pacingRate >= 0 && Number.isFinite(c.pacingRate)).toBe(true);
        }
      }),
    );
  });
});
