import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { backoff, createRtt, onSynRetransmitted, resetBackoff, sample } from '../../src/tcp/rtt.ts';

describe('RFC 6298, computing the retransmission timer', () => {
  test('2.1: one second before the first sample', () => {
    expect(createRtt().rto).toBe(SECOND);
    expect(createRtt({ initialRto: 3 * SECOND }).rto).toBe(3 * SECOND);
  });

  test('2.2: the first sample sets SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR', () => {
    const rtt = createRtt();
    sample(rtt, 300 * MS);
    expect(rtt).toMatchObject({
      srtt: 300 * MS,
      rttvar: 150 * MS,
      rto: 900 * MS,
      minRtt: 300 * MS,
      latest: 300 * MS,
    });
  });

  test('2.3: RTTVAR is computed with the old SRTT, then SRTT', () => {
    const rtt = createRtt();
    sample(rtt, 400 * MS);
    sample(rtt, 800 * MS);
    expect(rtt.rttvar).toBeCloseTo(0.75 * 200 * MS + 0.25 * 400 * MS, 6);
    expect(rtt.srtt).toBeCloseTo((7 / 8) * 400 * MS + (1 / 8) * 800 * MS, 6);
    expect(rtt.rto).toBe(Math.round(450 * MS + 4 * 250 * MS));
    expect(rtt.minRtt).toBe(400 * MS);
    expect(rtt.latest).toBe(800 * MS);
  });

  test('2.4: the floor lies under the variance, so a steady path still bears a delayed ACK', () => {
    const rtt = createRtt();
    for (let i = 0; i < 200; i++) sample(rtt, 250 * MS);
    expect(rtt.rto).toBe(450 * MS);
    const strict = createRtt({ minRto: SECOND });
    sample(strict, 10);
    expect(strict.rto).toBeGreaterThanOrEqual(SECOND);
  });

  test('2.5 and 5.5: each timeout doubles RTO, up to the maximum', () => {
    const rtt = createRtt();
    const seen = Array.from({ length: 9 }, () => {
      backoff(rtt);
      return rtt.rto / SECOND;
    });
    expect(seen).toEqual([2, 4, 8, 16, 32, 64, 120, 120, 120]);
    expect(rtt.backoffs).toBe(9);
    resetBackoff(rtt);
    expect(rtt).toMatchObject({ rto: SECOND, backoffs: 0 });
  });

  test('5: a new sample ends the backoff', () => {
    const rtt = createRtt();
    sample(rtt, 100 * MS);
    const before = rtt.rto;
    backoff(rtt);
    backoff(rtt);
    expect(rtt.rto).toBe(4 * before);
    sample(rtt, 100 * MS);
    expect(rtt.rto).toBeLessThanOrEqual(before);
    expect(rtt.backoffs).toBe(0);
  });

  test('5.7: after a lost SYN, RTO is 3 seconds unless a sample says better', () => {
    const lost = createRtt();
    backoff(lost);
    onSynRetransmitted(lost);
    expect(lost.rto).toBe(3 * SECOND);
    const measured = createRtt();
    sample(measured, 100 * MS);
    const { rto } = measured;
    onSynRetransmitted(measured);
    expect(measured.rto).toBe(rto);
  });

  test('RFC 7323 G: many samples a window forget no faster than one', () => {
    const one = createRtt();
    const many = createRtt();
    sample(one, 100 * MS);
    sample(many, 100 * MS);
    sample(one, 200 * MS, 1);
    for (let i = 0; i < 50; i++) sample(many, 200 * MS, 50);
    expect(Math.abs(many.srtt - one.srtt)).toBeLessThan(2 * MS);
    sample(many, 200 * MS, 0);
    expect(many.srtt).toBeGreaterThan(one.srtt);
  });

  test('whatever is sampled, SRTT lies within the samples and RTO within its bounds', () => {
    const micros = fc.oneof(fc.nat(1000), fc.nat(300 * SECOND));
    fc.assert(
      fc.property(fc.array(fc.tuple(micros, fc.nat(100)), { minLength: 1 }), (samples) => {
        const rtt = createRtt();
        for (const [r, n] of samples) sample(rtt, r, n);
        const all = samples.map(([r]) => Math.max(1, r));
        expect(rtt.srtt).toBeGreaterThanOrEqual(Math.min(...all) - 1e-3);
        expect(rtt.srtt).toBeLessThanOrEqual(Math.max(...all) + 1e-3);
        expect(rtt.minRtt).toBe(Math.min(...all));
        expect(Number.isInteger(rtt.rto)).toBe(true);
        expect(rtt.rto).toBeGreaterThanOrEqual(200 * MS);
        expect(rtt.rto).toBeLessThanOrEqual(120 * SECOND);
      }),
    );
  });
});
