// NewReno: slow start and congestion avoidance by counted bytes (RFC 5681 3.1, RFC 3465, RFC 6582, RFC 6928).

import type { Micros } from '../base/time.ts';
import { type CongestionController, initialWindow } from './congestion.ts';

/**
 * L: what one ACK may add in slow start, in bytes. Deviates: RFC 3465 2.3 sets it to two segments against bursts after a
 * stretch ACK. We send up to 64 KB in one frame and the peer, seeing one frame, answers with one ACK: with L of two segments
 * slow start would be slow indeed. Such an ACK lets out what a super-frame lets out anyway. Counting bytes, not ACKs, is
 * what defeats ACK division (hostile 100).
 */
const BYTE_LIMIT = 65536;

/** A NewReno controller for segments of `mss` bytes. */
export function createNewReno(mss: number): CongestionController {
  return new NewReno(mss);
}

class NewReno implements CongestionController {
  readonly name = 'newreno';
  readonly pacingRate = 0;
  cwnd: number;
  ssthresh = Number.POSITIVE_INFINITY;
  #mss: number;
  /** Bytes acknowledged towards the next increase in congestion avoidance (RFC 3465 2.1). */
  #counted = 0;
  /** In the slow start that follows a timeout L is one segment (RFC 3465 2.3). */
  #afterTimeout = false;
  /** What the last reduction took, for {@link onSpurious}; 0 when there is nothing to give back. */
  #priorCwnd = 0;
  #priorSsthresh = 0;

  constructor(mss: number) {
    this.#mss = mss;
    this.cwnd = initialWindow(mss);
  }

  setMss(mss: number): void {
    this.#mss = mss;
    this.cwnd = Math.max(this.cwnd, mss);
  }

  onEstablished(synLost: boolean): void {
    this.cwnd = synLost ? this.#mss : initialWindow(this.#mss);
  }

  onAck(acked: number, _rtt: Micros, _inFlight: number, _now: Micros, limited: boolean): void {
    if (!limited || acked <= 0) return;
    let left = acked;
    if (this.cwnd < this.ssthresh) {
      const limit = this.#afterTimeout ? this.#mss : BYTE_LIMIT;
      const increase = Math.min(acked, limit, this.ssthresh - this.cwnd);
      this.cwnd += increase;
      // 3.1: slow start ends when cwnd reaches ssthresh; what one ACK brings beyond that counts below.
      if (this.cwnd < this.ssthresh) return;
      left = Math.min(acked, limit) - increase;
    }
    // 3.1: one segment for each window acknowledged, "counting the number of bytes" (RFC 3465 2.1).
    this.#counted += left;
    while (this.#counted >= this.cwnd) {
      this.#counted -= this.cwnd;
      this.cwnd += this.#mss;
    }
  }

  onLoss(inFlight: number): void {
    this.#remember();
    this.#reduce(inFlight);
    this.cwnd = this.ssthresh;
  }

  onRecoveryExit(): void {
    this.#afterTimeout = false;
  }

  onTimeout(inFlight: number, again: boolean): void {
    // 3.1: "the ssthresh value is held constant" when the same segment times out again.
    if (!again) {
      this.#remember();
      this.#reduce(inFlight);
    }
    this.cwnd = this.#mss; // LW: one segment
    this.#afterTimeout = true;
  }

  onSpurious(): void {
    if (this.#priorCwnd === 0) return;
    // What has grown since stays.
    this.cwnd = Math.max(this.cwnd, this.#priorCwnd);
    this.ssthresh = Math.max(this.ssthresh, this.#priorSsthresh);
    this.#priorCwnd = 0;
    this.#afterTimeout = false;
  }

  onIdle(idle: Micros, rto: Micros): void {
    // 4.1: after an RTO of silence the window is no more than the restart window, RW = min(IW, cwnd).
    if (idle > rto) this.cwnd = Math.min(this.cwnd, initialWindow(this.#mss));
    this.#counted = 0;
  }

  #remember(): void {
    this.#priorCwnd = this.cwnd;
    this.#priorSsthresh = this.ssthresh;
  }

  /** Equation 4: ssthresh = max(FlightSize / 2, 2 × SMSS). */
  #reduce(inFlight: number): void {
    this.ssthresh = Math.max(Math.floor(inFlight / 2), 2 * this.#mss);
    this.#counted = 0;
  }
}
