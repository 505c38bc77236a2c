import { describe, expect, test } from 'vitest';
import { type Micros, MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { info } from '../../src/tcp/calls.ts';
import type { CongestionName } from '../../src/tcp/congestion.ts';
import { HyStart } from '../../src/tcp/hystart.ts';
import { BottleneckPath } from './path.ts';

/** A connection whose rounds are ten ACKs: the first ACK of all only tells how much is under way. */
function begin(rtt: Micros): HyStart {
  const h = new HyStart();
  h.onAck(1, rtt, 11);
  return h;
}

/** One round; returns whether slow start ended in it. */
function round(h: HyStart, rtt: Micros): boolean {
  let over = false;
  for (let i = 0; i < 10; i++) over = h.onAck(1, rtt + (i === 3 ? 0 : 500), 11) || over;
  return over;
}

describe('RFC 9406 4.2', () => {
  test('steady round trips never leave slow start', () => {
    const h = begin(40 * MS);
    for (let i = 0; i < 100; i++) expect(round(h, 40 * MS)).toBe(false);
    expect(h.conservative).toBe(false);
  });

  test.each([
    [10, 4, 'MIN_RTT_THRESH'],
    [64, 8, 'an eighth of the last'],
    [400, 16, 'MAX_RTT_THRESH'],
  ])('from %i ms it takes %i ms more: %s', (base, threshold) => {
    const below = begin(base * MS);
    round(below, base * MS);
    round(below, (base + threshold) * MS - 100);
    expect(below.conservative).toBe(false);
    const above = begin(base * MS);
    round(above, base * MS);
    round(above, (base + threshold) * MS + 100);
    expect(above.conservative).toBe(true);
  });

  test('N_RTT_SAMPLE: seven samples are not enough to tell', () => {
    const h = begin(40 * MS);
    round(h, 40 * MS);
    for (let i = 0; i < 7; i++) h.onAck(1, 80 * MS, 100);
    expect(h.conservative).toBe(false);
    h.onAck(1, 80 * MS, 100);
    expect(h.conservative).toBe(true);
  });

  test('CSS: five rounds and slow start is over; but if the round trip falls again it was jitter', () => {
    const h = begin(40 * MS);
    round(h, 40 * MS);
    expect(round(h, 60 * MS)).toBe(false);
    round(h, 60 * MS);
    expect(h.conservative).toBe(true);
    round(h, 50 * MS);
    expect(h.conservative).toBe(false);
    round(h, 70 * MS);
    expect(h.conservative).toBe(true);
    const rounds: boolean[] = [];
    for (let i = 0; i < 5; i++) rounds.push(round(h, 75 * MS));
    // 4.2: the round in which CSS was entered counts.
    expect(rounds.indexOf(true)).toBe(3);
  });
});

describe('on a path', () => {
  const paths = [
    [20e6, 40],
    [20e6, 100],
    [50e6, 40],
    [50e6, 80],
    [100e6, 30],
  ] as const;
  const product = (rate: number, ms: number) => (rate / 8000) * ms;

  /** What a connection's slow start came to, with a queue of `depth` bandwidth-delay products. */
  function slowStart(congestion: CongestionName, rate: number, ms: number, depth: number) {
    const p = new BottleneckPath({ rate, rtt: ms * MS, queue: depth * product(rate, ms) });
    const source = p.start({ congestion });
    for (let i = 0; i < 300 && info(source.tcb).ssthresh === Number.POSITIVE_INFINITY; i++) p.run(10 * MS);
    p.run(10 * ms * MS);
    return { overflowed: p.link.counters.out.overflowed, ssthresh: info(source.tcb).ssthresh, p, source };
  }

  test.each(paths)(
    'of %i bit/s and %i ms, CUBIC leaves slow start before a deep queue overflows',
    (rate, ms) => {
      const { overflowed, ssthresh, p, source } = slowStart('cubic', rate, ms, 16);
      expect(overflowed).toBe(0);
      expect(ssthresh).toBeGreaterThan(product(rate, ms));
      expect(ssthresh).toBeLessThan(17 * product(rate, ms));
      // It left with the path full.
      expect(p.goodput(source, SECOND)).toBeGreaterThan(0.95 * rate);
    },
  );

  test('where a queue of three products must overflow, it loses half as much as NewReno', () => {
    let [cubic, newReno] = [0, 0];
    for (const [rate, ms] of paths) {
      cubic += slowStart('cubic', rate, ms, 3).overflowed;
      newReno += slowStart('newreno', rate, ms, 3).overflowed;
    }
    expect(newReno).toBeGreaterThan(100);
    expect(cubic).toBeLessThan(newReno / 2);
  });
});
