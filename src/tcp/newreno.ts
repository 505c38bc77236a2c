// NewReno: slow start and congestion avoidance by counted bytes (RFC 5681 3.1, RFC 3465, RFC 6582, RFC 6928, RFC 7661).

import { type Micros, SECOND } from '../base/time.ts';
import { type CongestionController, initialWindow, SLOW_START_LIMIT } from './congestion.ts';
import { countAcked, createValidation, forget, lossBase, periodsPassed } from './validation.ts';

/** A NewReno controller for segments of `mss` bytes. */
export function createNewReno(mss: number): CongestionController {
  return new NewReno(mss);
}

class NewReno implements CongestionController {
  readonly name = 'newreno';
  readonly modelBased = false;
  pacingRate = 0;
  cwnd: number;
  ssthresh = Number.POSITIVE_INFINITY;
  #mss: number;
  /** Bytes acknowledged towards the next increase in congestion avoidance (RFC 3465 2.1). */
  #counted = 0;
  /** In the slow start that follows a timeout L is one segment (RFC 3465 2.3). */
  #afterTimeout = false;
  #srtt: Micros = 0;
  readonly #validation = createValidation();
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

  onAck(acked: number, rtt: Micros, _inFlight: number, now: Micros, limited: boolean): void {
    if (acked <= 0) return;
    this.pacingRate = 0;
    if (rtt > 0) this.#srtt = this.#srtt === 0 ? rtt : this.#srtt + (rtt - this.#srtt) / 8;
    countAcked(this.#validation, acked, this.#srtt, this.cwnd, now);
    if (!limited) return;
    let left = acked;
    if (this.cwnd < this.ssthresh) {
      const limit = this.#afterTimeout ? this.#mss : SLOW_START_LIMIT;
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

  onDelivery(): void {}

  onLoss(inFlight: number): void {
    this.#remember();
    this.#reduce(inFlight);
    this.cwnd = this.ssthresh;
  }

  onRecoveryExit(): void {
    this.#afterTimeout = false;
    forget(this.#validation);
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

  onIdle(idle: Micros, now: Micros): void {
    const periods = periodsPassed(this.#validation, idle, now);
    // RFC 7661 4.4.3
    if (periods > 0) {
      this.ssthresh = Math.max(this.ssthresh, Math.floor((3 * this.cwnd) / 4));
      const least = Math.min(this.cwnd, initialWindow(this.#mss));
      this.cwnd = Math.max(Math.floor(this.cwnd / 2 ** periods), least);
    }
    this.#counted = 0;
    // RFC 7661 4.4.2: nothing clocks the first window after the silence, so it is spread over a round trip.
    if (this.#srtt > 0) this.pacingRate = (this.cwnd * SECOND) / this.#srtt;
  }

  #remember(): void {
    this.#priorCwnd = this.cwnd;
    this.#priorSsthresh = this.ssthresh;
  }

  /** Equation 4: ssthresh = max(FlightSize / 2, 2 × SMSS), or from pipeACK (RFC 7661 4.4.1). */
  #reduce(inFlight: number): void {
    const base = lossBase(this.#validation, inFlight, this.cwnd);
    this.ssthresh = Math.max(Math.floor(base / 2), 2 * this.#mss);
    this.#counted = 0;
    this.pacingRate = 0;
    forget(this.#validation);
  }
}
