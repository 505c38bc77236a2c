// HyStart++: leaving slow start when round trips grow, before the queue overflows (RFC 9406).
//
//   slow start ──── this round's least RTT is clearly above the last round's ───▶ Conservative Slow Start (CSS)
//       ▲                                                                         a quarter of the growth
//       └───────────── the RTT fell again: it was jitter ──────────────┘ │
//                                                                        └──── five rounds of it ───▶ congestion avoidance
//
// The RFC ends a round when the sequence number that was SND.NXT at its start is acknowledged. Here bytes are counted instead:
// a round ends when what was under way at its start, and what was acknowledged before it, has been acknowledged.

import { MILLISECOND, type Micros } from '../base/time.ts';

// 4.3: the tuning constants, under the RFC's names.
const MIN_RTT_THRESH: Micros = 4 * MILLISECOND;
const MAX_RTT_THRESH: Micros = 16 * MILLISECOND;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
export const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

const INFINITE = Number.POSITIVE_INFINITY;

/** Runs through the first slow start of a connection (4.3: "SHOULD be used … while ssthresh is arbitrarily high"). */
export class HyStart {
  /** In Conservative Slow Start: the window grows by a {@link CSS_GROWTH_DIVISOR}th. */
  conservative = false;
  #acked = 0;
  /** The round ends when this many bytes have been acknowledged (4.2: windowEnd). */
  #windowEnd = 0;
  #lastRoundMinRtt = INFINITE;
  #currentRoundMinRtt = INFINITE;
  #samples = 0;
  #cssBaselineMinRtt = INFINITE;
  #cssRounds = 0;

  /** Takes an ACK of `acked` bytes, of the `inFlight` that were under way. True when slow start is over. */
  onAck(acked: number, rtt: Micros, inFlight: number): boolean {
    this.#acked += acked;
    if (rtt > 0) {
      this.#currentRoundMinRtt = Math.min(this.#currentRoundMinRtt, rtt);
      this.#samples++;
      this.#compare();
    }
    if (this.#acked < this.#windowEnd) return false;
    return this.#endRound(Math.max(0, inFlight - acked));
  }

  /** 4.2: enough samples of this round tell whether a queue builds up, or whether it was none. */
  #compare(): void {
    if (this.#samples < N_RTT_SAMPLE) return;
    if (this.conservative) {
      if (this.#currentRoundMinRtt >= this.#cssBaselineMinRtt) return;
      this.#cssBaselineMinRtt = INFINITE;
      this.conservative = false;
      return;
    }
    if (this.#lastRoundMinRtt === INFINITE) return;
    const threshold = Math.max(
      MIN_RTT_THRESH,
      Math.min(this.#lastRoundMinRtt / MIN_RTT_DIVISOR, MAX_RTT_THRESH),
    );
    if (this.#currentRoundMinRtt < this.#lastRoundMinRtt + threshold) return;
    this.#cssBaselineMinRtt = this.#currentRoundMinRtt;
    this.conservative = true;
    this.#cssRounds = 0;
  }

  #endRound(inFlight: number): boolean {
    this.#windowEnd = this.#acked + inFlight;
    this.#lastRoundMinRtt = this.#currentRoundMinRtt;
    this.#currentRoundMinRtt = INFINITE;
    this.#samples = 0;
    return this.conservative && ++this.#cssRounds >= CSS_ROUNDS;
  }
}
