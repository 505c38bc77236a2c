import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { SLOW_START_LIMIT } from '../../src/tcp/congestion.ts';
import { createNewReno } from '../../src/tcp/newreno.ts';

const MSS = 1000;
const ACKED = [50 * MS, 20 * MSS, 0, true] as const;

describe('RFC 5681 3.1, slow start and congestion avoidance', () => {
  test('slow start doubles the window in a round trip', () => {
    const c = createNewReno(MSS);
    for (let i = 0; i < 5; i++) c.onAck(2 * MSS, ...ACKED);
    expect(c.cwnd).toBe(20 * MSS);
    expect(c.ssthresh).toBe(Number.POSITIVE_INFINITY);
  });

  test('RFC 3465 2.1: in congestion avoidance, one segment a window of acknowledged bytes', () => {
    const c = createNewReno(MSS);
    c.onLoss(20 * MSS);
    c.onRecoveryExit(0);
    expect([c.cwnd, c.ssthresh]).toEqual([10 * MSS, 10 * MSS]);
    for (let i = 0; i < 9; i++) c.onAck(MSS, ...ACKED);
    expect(c.cwnd).toBe(10 * MSS);
    c.onAck(MSS, ...ACKED);
    expect(c.cwnd).toBe(11 * MSS);
    c.onAck(23 * MSS, ...ACKED);
    expect(c.cwnd).toBe(13 * MSS);
  });

  test('slow start ends at ssthresh, the rest of that ACK counts for congestion avoidance', () => {
    const c = createNewReno(MSS);
    c.onTimeout(20 * MSS, false);
    c.onRecoveryExit(0);
    expect([c.cwnd, c.ssthresh]).toEqual([MSS, 10 * MSS]);
    c.onAck(4 * MSS, ...ACKED);
    expect(c.cwnd).toBe(5 * MSS);
    c.onAck(10 * MSS, ...ACKED);
    expect(c.cwnd).toBe(10 * MSS);
    c.onAck(5 * MSS, ...ACKED);
    expect(c.cwnd).toBe(11 * MSS);
  });

  test('the window does not grow while something else limits sending', () => {
    const c = createNewReno(MSS);
    c.onAck(5 * MSS, 0, 0, 0, false);
    expect(c.cwnd).toBe(10 * MSS);
    c.onAck(0, ...ACKED);
    expect(c.cwnd).toBe(10 * MSS);
  });

  test('equation 4: ssthresh = max(FlightSize / 2, 2 SMSS)', () => {
    const c = createNewReno(MSS);
    c.onLoss(7001);
    expect([c.cwnd, c.ssthresh]).toEqual([3500, 3500]);
    c.onLoss(MSS);
    expect([c.cwnd, c.ssthresh]).toEqual([2 * MSS, 2 * MSS]);
  });

  test('a timeout leaves one segment; when it strikes again ssthresh holds', () => {
    const c = createNewReno(MSS);
    c.onTimeout(10 * MSS, false);
    expect([c.cwnd, c.ssthresh]).toEqual([MSS, 5 * MSS]);
    c.onTimeout(MSS, true);
    expect([c.cwnd, c.ssthresh]).toEqual([MSS, 5 * MSS]);
  });

  test('RFC 3465 2.3: after a timeout one ACK adds at most one segment, until recovery ends', () => {
    const c = createNewReno(MSS);
    c.onTimeout(40 * MSS, false);
    c.onAck(15 * MSS, ...ACKED);
    expect(c.cwnd).toBe(2 * MSS);
    c.onRecoveryExit(0);
    c.onAck(5 * MSS, ...ACKED);
    expect(c.cwnd).toBe(7 * MSS);
  });

  test('RFC 3465 2.3: one ACK never adds more than four super-frames', () => {
    const c = createNewReno(MSS);
    c.onAck(1 << 20, ...ACKED);
    expect(c.cwnd).toBe(10 * MSS + SLOW_START_LIMIT);
  });

  test('an ACK cut in a thousand pieces adds what the whole would (hostile 100)', () => {
    for (const avoid of [false, true]) {
      const whole = createNewReno(MSS);
      const cut = createNewReno(MSS);
      for (const c of [whole, cut]) if (avoid) c.onLoss(20 * MSS);
      whole.onAck(10 * MSS, ...ACKED);
      for (let i = 0; i < 1000; i++) cut.onAck(10, ...ACKED);
      expect(cut.cwnd).toBe(whole.cwnd);
    }
  });

  test('RFC 5682: a timeout that was none is taken back', () => {
    const c = createNewReno(MSS);
    c.onTimeout(10 * MSS, false);
    c.onTimeout(10 * MSS, true);
    c.onSpurious();
    expect([c.cwnd, c.ssthresh]).toEqual([10 * MSS, Number.POSITIVE_INFINITY]);
    c.onLoss(10 * MSS);
    c.onSpurious();
    c.onSpurious();
    expect(c.cwnd).toBe(10 * MSS);
  });

  test('RFC 7661 4.4: silence keeps the window, paced for a round trip; each five minutes of it halve it, down to IW', () => {
    const c = createNewReno(MSS);
    for (let i = 0; i < 15; i++) c.onAck(2 * MSS, ...ACKED);
    c.onIdle(10 * SECOND, 10 * SECOND);
    expect([c.cwnd, c.pacingRate]).toEqual([40 * MSS, (40 * MSS) / 0.05]);
    c.onAck(2 * MSS, 50 * MS, 20 * MSS, 10 * SECOND, false);
    expect([c.cwnd, c.pacingRate]).toEqual([40 * MSS, 0]);
    c.onIdle(299 * SECOND, 310 * SECOND);
    expect(c.cwnd).toBe(20 * MSS);
    c.onIdle(600 * SECOND, 910 * SECOND);
    expect(c.cwnd).toBe(10 * MSS);
    c.onTimeout(10 * MSS, false);
    c.onIdle(3600 * SECOND, 5000 * SECOND);
    expect(c.cwnd).toBe(MSS);
  });

  test('RFC 7661 4.4.1: a loss of a window that was not used is answered from what was', () => {
    const c = createNewReno(MSS);
    for (let i = 0; i < 30; i++) c.onAck(10 * MSS, 50 * MS, 100 * MSS, i * 10 * MS, true);
    expect(c.cwnd).toBe(310 * MSS);
    // The application sends six segments a round trip from now on.
    for (let i = 0; i < 60; i++) c.onAck(6 * MSS, 50 * MS, 6 * MSS, SECOND + i * 50 * MS, false);
    c.onLoss(3 * MSS);
    expect(c.cwnd).toBeGreaterThanOrEqual(3 * MSS);
    expect(c.cwnd).toBeLessThanOrEqual(6 * MSS);
  });

  test('RFC 6928 2: the first window, and one segment when the SYN was lost', () => {
    const c = createNewReno(536);
    c.setMss(1460);
    c.onEstablished(false);
    expect(c.cwnd).toBe(14600);
    c.onEstablished(true);
    expect(c.cwnd).toBe(1460);
    c.setMss(9000);
    expect(c.cwnd).toBe(9000);
  });

  test('whatever happens, the window is a whole number of at least one segment', () => {
    const event = fc.tuple(fc.nat(6), fc.nat(100_000));
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const c = createNewReno(MSS);
        for (const [kind, n] of events) {
          if (kind === 0) c.onLoss(n);
          else if (kind === 1) c.onTimeout(n, n % 2 === 0);
          else if (kind === 2) c.onRecoveryExit(n);
          else if (kind === 3) c.onSpurious();
          else if (kind === 4) c.onIdle(n, n + 50_000);
          else c.onAck(n, MS, n, n, n % 3 !== 0);
          expect(Number.isInteger(c.cwnd) && c.cwnd >= MSS).toBe(true);
          expect(c.ssthresh).toBeGreaterThanOrEqual(2 * MSS);
        }
      }),
    );
  });
});
