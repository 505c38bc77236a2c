// CUBIC: the window is a cubic function of the time since the last loss, and no less than Reno's (RFC 9438), with HyStart++ as
// its first slow start (RFC 9406) and a window that idling neither grows nor spoils (RFC 7661).
//
//     W_max ────────────────·''''''''·──────────  W_cubic(t) = C·(t − K)³ + W_max
//                      ·'              '  convex: probes beyond
//                   ·'  concave
//     β·W_max ──── ·
//                  0                 K            t
//
// The RFC counts in segments and seconds; so do the functions of time here. cwnd is in bytes, and moves by ⌊bytes⌋.

import { type Micros, SECOND } from '../base/time.ts';
import { type CongestionController, initialWindow, SLOW_START_LIMIT } from './congestion.ts';
import { CSS_GROWTH_DIVISOR, HyStart } from './hystart.ts';
import { countAcked, createValidation, forget, lossBase, periodsPassed } from './validation.ts';

/** β_cubic (4.6), C (5.1) and α_cubic (4.3). */
const BETA = 0.7;
const C = 0.4;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** A CUBIC controller for segments of `mss` bytes. */
export function createCubic(mss: number): CongestionController {
  return new Cubic(mss);
}

/** What spurious losses give back (4.9.2). */
interface Undo {
  cwnd: number;
  ssthresh: number;
  priorCwnd: number;
  wMax: number;
  k: number;
  epochAt: Micros;
  wEst: number;
}

class Cubic implements CongestionController {
  readonly name = 'cubic';
  readonly modelBased = false;
  pacingRate = 0;
  ssthresh = Number.POSITIVE_INFINITY;
  #mss: number;
  /** cwnd with its fraction of a byte: many small ACKs add up to what one large one gives. */
  #window: number;
  /** In bytes: cwnd when ssthresh was set last (cwnd_prior), W_max, W_est; K in seconds. */
  #priorCwnd = 0;
  #wMax = 0;
  #k = 0;
  #wEst = 0;
  /** t_epoch; −1 outside of congestion avoidance. Moves on while the application holds the window back (4.2, 5.8). */
  #epochAt: Micros = -1;
  #ackedAt: Micros = 0;
  /** The epoch to come starts at a plateau: K = 0, W_max = cwnd (4.8, 4.10). */
  #flat = true;
  #srtt: Micros = 0;
  #hystart: HyStart | undefined = new HyStart();
  #afterTimeout = false;
  readonly #validation = createValidation();
  /** `cwnd` is 0 when there is nothing to give back. */
  readonly #undo: Undo = { cwnd: 0, ssthresh: 0, priorCwnd: 0, wMax: 0, k: 0, epochAt: -1, wEst: 0 };

  constructor(mss: number) {
    this.#mss = mss;
    this.#window = initialWindow(mss);
  }

  get cwnd(): number {
    return Math.floor(this.#window);
  }

  setMss(mss: number): void {
    this.#mss = mss;
    this.#window = Math.max(this.#window, mss);
  }

  onEstablished(synLost: boolean): void {
    this.#window = synLost ? this.#mss : initialWindow(this.#mss);
  }

  onAck(acked: number, rtt: Micros, inFlight: number, now: Micros, limited: boolean): void {
    if (acked <= 0) return;
    this.pacingRate = 0;
    if (rtt > 0) this.#srtt = this.#srtt === 0 ? rtt : this.#srtt + (rtt - this.#srtt) / 8;
    countAcked(this.#validation, acked, this.#srtt, this.#window, now);
    // 4.2: t MUST NOT include periods in which the window was not used.
    if (!limited && this.#epochAt >= 0) this.#epochAt += Math.max(0, now - this.#ackedAt);
    this.#ackedAt = now;
    if (this.#window < this.ssthresh) {
      if (this.#hystart?.onAck(acked, rtt, inFlight)) this.#leaveSlowStart();
      if (limited) this.#slowStart(acked);
    } else if (limited) {
      this.#avoidCongestion(Math.min(acked, this.#window), now);
    }
  }

  onDelivery(): void {}

  #slowStart(acked: number): void {
    const limit = this.#afterTimeout ? this.#mss : SLOW_START_LIMIT;
    const growth = Math.min(acked, limit);
    const conservative = this.#hystart?.conservative === true;
    this.#window = Math.min(
      this.#window + (conservative ? growth / CSS_GROWTH_DIVISOR : growth),
      this.ssthresh,
    );
  }

  /** 4.10: HyStart++ left slow start without a loss. */
  #leaveSlowStart(): void {
    this.ssthresh = this.#priorCwnd = this.cwnd;
    this.#hystart = undefined;
    this.#flat = true;
    this.#epochAt = -1;
  }

  /** 4.2 to 4.5: one ACK in congestion avoidance. */
  #avoidCongestion(acked: number, now: Micros): void {
    if (this.#epochAt < 0) this.#beginEpoch(now);
    const window = this.#window;
    const t = (now - this.#epochAt) / SECOND;
    // 4.3, equation 4; Reno's own pace once what was lost has been regained.
    const alpha = this.#wEst >= this.#priorCwnd ? 1 : ALPHA;
    this.#wEst += (alpha * acked * this.#mss) / window;
    if (this.#wCubic(t) < this.#wEst) {
      this.#window = Math.max(window, this.#wEst);
      return;
    }
    const target = Math.min(Math.max(this.#wCubic(t + this.#srtt / SECOND), window), 1.5 * window);
    this.#window = window + ((target - window) * acked) / window;
  }

  /** 4.2, equation 2: K is the time until W_max is reached again. */
  #beginEpoch(now: Micros): void {
    this.#epochAt = now;
    this.#wEst = this.#window;
    if (this.#flat || this.#wMax <= this.#window) {
      this.#wMax = this.#window;
      this.#k = 0;
    } else {
      this.#k = Math.cbrt((this.#wMax - this.#window) / this.#mss / C);
    }
    this.#flat = false;
  }

  /** 4.2, equation 1, in bytes. */
  #wCubic(t: number): number {
    return C * (t - this.#k) ** 3 * this.#mss + this.#wMax;
  }

  onLoss(inFlight: number): void {
    this.#reduce(inFlight);
    this.#window = this.ssthresh;
  }

  onRecoveryExit(): void {
    this.#afterTimeout = false;
    forget(this.#validation);
  }

  onTimeout(inFlight: number, again: boolean): void {
    // RFC 5681 3.1: "the ssthresh value is held constant" when the same segment times out again.
    if (!again) this.#reduce(inFlight);
    this.#window = this.#mss;
    // 4.8
    this.#flat = true;
    this.#afterTimeout = true;
  }

  /** 4.6 and 4.7. FlightSize may exceed cwnd after an earlier reduction; the window that failed was cwnd. */
  #reduce(inFlight: number): void {
    this.#remember();
    const cwnd = this.#window;
    this.#priorCwnd = cwnd;
    this.#wMax = cwnd < this.#wMax ? (cwnd * (1 + BETA)) / 2 : cwnd;
    const base = Math.min(cwnd, lossBase(this.#validation, inFlight, cwnd));
    this.ssthresh = Math.max(Math.floor(base * BETA), 2 * this.#mss);
    this.#epochAt = -1;
    this.#flat = false;
    this.#hystart = undefined;
    this.pacingRate = 0;
    forget(this.#validation);
  }

  #remember(): void {
    const u = this.#undo;
    u.cwnd = this.#window;
    u.ssthresh = this.ssthresh;
    u.priorCwnd = this.#priorCwnd;
    u.wMax = this.#wMax;
    u.k = this.#k;
    u.epochAt = this.#epochAt;
    u.wEst = this.#wEst;
  }

  onSpurious(): void {
    const u = this.#undo;
    if (u.cwnd === 0) return;
    // 4.9.2: "if the current cwnd is lower than cwnd_prior"; what has grown since stays.
    if (this.#window < u.cwnd) {
      this.#window = u.cwnd;
      this.#wMax = u.wMax;
      this.#k = u.k;
      this.#epochAt = u.epochAt;
      this.#wEst = u.wEst;
    }
    this.ssthresh = Math.max(this.ssthresh, u.ssthresh);
    this.#priorCwnd = u.priorCwnd;
    this.#afterTimeout = false;
    this.#flat = u.epochAt < 0;
    u.cwnd = 0;
  }

  onIdle(idle: Micros, now: Micros): void {
    const periods = periodsPassed(this.#validation, idle, now);
    // RFC 7661 4.4.3
    if (periods > 0) {
      this.ssthresh = Math.max(this.ssthresh, Math.floor((3 * this.#window) / 4));
      this.#window = Math.max(this.#window / 2 ** periods, Math.min(this.#window, initialWindow(this.#mss)));
    }
    if (this.#epochAt >= 0) this.#epochAt += Math.max(0, now - this.#ackedAt);
    this.#ackedAt = now;
    // RFC 7661 4.4.2: nothing clocks the first window after the silence, so it is spread over a round trip.
    if (this.#srtt > 0) this.pacingRate = (this.#window * SECOND) / this.#srtt;
  }
}
