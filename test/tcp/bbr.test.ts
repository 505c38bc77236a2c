import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { createBbr } from '../../src/tcp/bbr.ts';
import { info, send } from '../../src/tcp/calls.ts';
import type { DeliverySample } from '../../src/tcp/delivery.ts';
import { BottleneckPath } from './path.ts';

const RATE = 10e6;
const RTT = 40 * MS;
/** Payload bytes a second, and the bandwidth-delay product in them. */
const PAYLOAD = (RATE / 8) * (1448 / 1514);
const PRODUCT = (PAYLOAD * RTT) / SECOND;

describe('BBR on a path of its own', () => {
  test('4.3.2: STARTUP finds the bandwidth in a few rounds, DRAIN empties the queue it made', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 4 * PRODUCT });
    const { tcb } = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    const { deliveryRate, pacingRate, retransmissions, srtt, inFlight, congestion } = info(tcb);
    expect(congestion).toBe('bbr');
    expect(retransmissions).toBe(0);
    expect(Math.abs(deliveryRate / PAYLOAD - 1)).toBeLessThan(0.05);
    expect(Math.abs(pacingRate / PAYLOAD - 1)).toBeLessThan(0.3);
    expect(srtt).toBeLessThan(1.5 * RTT);
    expect(inFlight).toBeLessThan(1.6 * PRODUCT);
  });

  test('4.2.3.2: at most about two bandwidth-delay products are under way, however deep the queue', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 100 * PRODUCT });
    const source = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    let most = 0;
    p.run(3 * SECOND, () => {
      const { inFlight } = info(source.tcb);
      if (inFlight > most) most = inFlight;
    });
    expect(most).toBeLessThan(2 * PRODUCT);
    expect(p.goodput(source, SECOND)).toBeGreaterThan(0.9 * PAYLOAD * 8);
  });

  test('4.3.3: PROBE_BW paces at 5/4 for a round trip, then 3/4, then six of 1', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 4 * PRODUCT });
    const { tcb } = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    const seen = { up: 0, down: 0, steady: 0 };
    let before = p.now;
    let gain = 1;
    p.run(4 * SECOND, () => {
      if (gain > 1.15) seen.up += p.now - before;
      else if (gain < 0.85) seen.down += p.now - before;
      else seen.steady += p.now - before;
      before = p.now;
      gain = tcb.congestion.pacingRate / PAYLOAD;
    });
    expect(seen.up / seen.steady).toBeGreaterThan(0.08);
    expect(seen.up / seen.steady).toBeLessThan(0.4);
    expect(seen.down / seen.steady).toBeGreaterThan(0.05);
    expect(seen.down / seen.steady).toBeLessThan(0.4);
  });

  test('4.3.4: every ten seconds PROBE_RTT lets the queue run dry for 200 ms', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 4 * PRODUCT });
    const { tcb } = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    const dips: { from: number; to: number }[] = [];
    let inside = false;
    p.run(24 * SECOND, () => {
      const low = tcb.congestion.cwnd < 0.75 * PRODUCT;
      if (low && !inside) dips.push({ from: p.now, to: p.now });
      if (low) dips.at(-1)!.to = p.now;
      inside = low;
    });
    expect(dips.length).toBeGreaterThanOrEqual(1);
    expect(dips.length).toBeLessThanOrEqual(3);
    for (const { from, to } of dips) {
      expect(to - from).toBeGreaterThan(150 * MS);
      expect(to - from).toBeLessThan(400 * MS);
    }
  });

  test('a path that becomes faster is found, and one that becomes slower is not flooded', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 4 * PRODUCT });
    const source = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    p.link.change('out', { rate: 4 * RATE, queue: 16 * PRODUCT });
    p.run(5 * SECOND);
    expect(p.goodput(source, SECOND)).toBeGreaterThan(0.85 * 4 * PAYLOAD * 8);
    p.link.change('out', { rate: RATE });
    // Ten rounds of what is now a long queue.
    p.run(6 * SECOND);
    const { pacingRate, inFlight } = info(source.tcb);
    expect(pacingRate).toBeLessThan(1.4 * PAYLOAD);
    expect(inFlight).toBeLessThan(3 * PRODUCT);
  });

  test('4.1.1.4: an application that sends little does not make the path look slow', () => {
    const p = new BottleneckPath({ rate: RATE, rtt: RTT, queue: 4 * PRODUCT });
    const source = p.start({ congestion: 'bbr' }, 2_000_000);
    p.run(3 * SECOND);
    expect(source.received).toBe(2_000_000);
    // A tenth of the rate, for longer than the filter's ten rounds.
    for (let i = 0; i < 100; i++) {
      send(source.tcb, new Uint8Array(5_000), 0, 5_000);
      p.run(50 * MS);
    }
    expect(info(source.tcb).deliveryLimited).toBe(false);
    source.left = 1_000_000;
    source.more();
    p.run(SECOND);
    expect(source.received).toBeGreaterThan(2_500_000 + 700_000);
  });
});

describe('bounds', () => {
  test('whatever it is told, window and rate stay finite and the window at least a segment', () => {
    const event = fc.record({
      kind: fc.nat(6),
      newly: fc.nat(1_000_000),
      rate: fc.nat(1_000_000_000),
      rtt: fc.nat(500_000),
      inFlight: fc.nat(10_000_000),
      pass: fc.nat(5_000_000),
      appLimited: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const c = createBbr(1448);
        let [now, delivered] = [SECOND, 0];
        for (const { kind, newly, rate, rtt, inFlight, pass, appLimited } of events) {
          now += pass;
          if (kind === 0) c.onLoss(inFlight);
          else if (kind === 1) c.onTimeout(inFlight, pass % 2 === 0);
          else if (kind === 2) c.onRecoveryExit(inFlight);
          else if (kind === 3) c.onIdle(pass, now);
          else {
            const priorDelivered = kind === 4 ? -1 : delivered;
            delivered += newly;
            const sample: DeliverySample = {
              newly,
              delivered,
              lost: delivered >> 3,
              priorDelivered,
              rate,
              appLimited,
              rtt,
            };
            c.onDelivery(sample, inFlight, now);
          }
          expect(Number.isInteger(c.cwnd) && c.cwnd >= 1448, `cwnd ${c.cwnd}`).toBe(true);
          expect(Number.isFinite(c.pacingRate) && c.pacingRate >= 0, `rate ${c.pacingRate}`).toBe(true);
        }
      }),
    );
  });
});
