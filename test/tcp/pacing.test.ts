import { describe, expect, test } from 'vitest';
import { type Micros, MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { send } from '../../src/tcp/calls.ts';
import type { CongestionController } from '../../src/tcp/congestion.ts';
import { createNewReno } from '../../src/tcp/newreno.ts';
import { quantum } from '../../src/tcp/pacing.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { Pair, pattern } from './pair.ts';

/** A window that never matters, at `rate` bytes a second. */
function pace(tcb: Tcb, rate: number): void {
  const inner = createNewReno(1448);
  const controller: CongestionController = {
    name: 'newreno',
    modelBased: false,
    cwnd: 1 << 30,
    ssthresh: 1 << 30,
    pacingRate: rate,
    setMss: () => {},
    onEstablished: () => {},
    onAck: () => {},
    onDelivery: () => {},
    onLoss: (n) => inner.onLoss(n),
    onRecoveryExit: () => {},
    onTimeout: () => {},
    onSpurious: () => {},
    onIdle: () => {},
  };
  Object.assign(tcb, { congestion: controller });
}

/** Sends `bytes` at `rate`; returns when which data left. */
function trickle(rate: number, bytes: number, drop: (n: number) => boolean = () => false) {
  const pair: Pair = new Pair();
  const { client, serverLog } = pair.connect({ sendBufferLimit: 4 << 20, receiveBufferLimit: 4 << 20 });
  serverLog.keep = false;
  pace(client, rate);
  const sent: { at: Micros; length: number }[] = [];
  pair.filter = (wire, seg) => {
    if (wire.from !== pair.client || seg.dataLength === 0) return true;
    sent.push({ at: pair.now, length: seg.dataLength });
    return !drop(sent.length);
  };
  const start = pair.now;
  send(client, pattern(bytes), 0, bytes);
  pair.run(10 * SECOND);
  return { sent, start, received: serverLog.bytes, client };
}

describe('pacing', () => {
  test('a quantum is a millisecond, two segments at least, a super-frame at most', () => {
    expect(quantum(10_000, 1448)).toBe(2 * 1448);
    expect(quantum(12_500_000, 1448)).toBe(12_500);
    expect(quantum(1e12, 1448)).toBeLessThan(65_536);
  });

  test.each([1e5, 1e6, 12.5e6, 125e6])(
    '%d bytes a second: never ahead by more than a millisecond and a quantum',
    (rate) => {
      const bytes = Math.min(3_000_000, rate);
      const { sent, start, received } = trickle(rate, bytes);
      expect(received).toBe(bytes);
      let total = 0;
      for (const { at, length } of sent) {
        expect(length).toBeLessThanOrEqual(quantum(rate, 1448));
        total += length;
        const allowed = (rate * (at - start + MS)) / SECOND + quantum(rate, 1448);
        expect(total).toBeLessThanOrEqual(allowed + 1);
      }
      // And not behind, but for the round trip in which the peer's first window was full.
      const ideal = (bytes * SECOND) / rate;
      const took = sent.at(-1)!.at - start;
      expect(took).toBeGreaterThan(ideal - MS - (quantum(rate, 1448) * SECOND) / rate - 10);
      expect(took).toBeLessThan(ideal + 25 * MS);
    },
  );

  test('what is lost goes again at the same pace', () => {
    const rate = 1e6;
    const { sent, received, client } = trickle(rate, 300_000, (n) => n % 10 === 3);
    expect(received).toBe(300_000);
    expect(client.stats.retransmissions).toBeGreaterThan(5);
    for (let i = 20; i < sent.length; i++) {
      const span = sent[i]!.at - sent[i - 20]!.at;
      const bytes = sent.slice(i - 20, i).reduce((n, s) => n + s.length, 0);
      expect(bytes).toBeLessThanOrEqual((rate * (span + MS)) / SECOND + quantum(rate, 1448));
    }
  });

  test('RFC 7661 4.4.2: after a silence the window is spread over a round trip, and then the ACKs clock it again', () => {
    for (const congestion of ['cubic', 'newreno'] as const) {
      const pair: Pair = new Pair({ delay: 50 * MS });
      const { client, serverLog } = pair.connect({ congestion });
      serverLog.keep = false;
      send(client, pattern(1_000_000), 0, 1_000_000);
      pair.run(10 * SECOND);
      const { cwnd } = client.congestion;
      expect(cwnd).toBeGreaterThan(200_000);
      const at: Micros[] = [];
      pair.filter = (wire, seg) => {
        if (wire.from === pair.client && seg.dataLength > 0) at.push(pair.now);
        return true;
      };
      const start = pair.now;
      send(client, pattern(200_000), 0, 200_000);
      pair.run(SECOND);
      expect(serverLog.bytes).toBe(1_200_000);
      const span = (200_000 / cwnd) * 100 * MS;
      expect(at.at(-1)! - start).toBeGreaterThan(0.7 * span);
      expect(at.at(-1)! - start).toBeLessThan(1.3 * span);
      expect(client.congestion.cwnd).toBe(cwnd);
      expect(client.congestion.pacingRate).toBe(0);
    }
  });
});
