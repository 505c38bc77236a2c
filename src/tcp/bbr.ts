// BBR: sends at the rate the path was seen to deliver, with about two bandwidth-delay products under way, whatever is lost
// (Cardwell et al., draft-cardwell-iccrg-bbr-congestion-control-00, which is version 1).
//
//   STARTUP ── bandwidth stopped growing ──▶ DRAIN ── the queue is gone ──▶ PROBE_BW ◀──▶ PROBE_RTT
//   doubles each round                       1/2.89 of the rate            1¼ ¾ 1 1 1 1 1 1   every 10 s, 200 ms: half a window
//
// Two things are measured: BtlBw, the most that was delivered in ten rounds, and RTprop, the least round trip in ten seconds. They
// cannot be measured at the same time: more than BtlBw·RTprop under way lengthens the one, less hides the other. The states take
// turns. Section numbers are the draft's. Unlike version 1, PROBE_RTT leaves half of BtlBw·RTprop under way (as version 2 does,
// section 4.3.4 there): an empty pipe costs more than a shorter queue is worth.

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import { type CongestionController, initialWindow } from './congestion.ts';
import type { DeliverySample } from './delivery.ts';
import { quantum } from './pacing.ts';

/** 2/ln 2: the least gain that doubles the rate each round (4.3.1.1). */
const HIGH_GAIN = 2.885;
/** 4.3.3: one phase each of about RTprop; up, down to drain what that queued, then steady. */
const CYCLE = [1.25, 0.75, 1, 1, 1, 1, 1, 1];
/** 4.2.3.2: room for delayed and stretched ACKs. */
const CWND_GAIN = 2;
/** 4.1.1.2: rounds that the bandwidth filter looks back. */
const BANDWIDTH_ROUNDS = 10;
/** 4.1.2.2, 4.3.4 */
const MIN_RTT_WINDOW: Micros = 10 * SECOND;
const PROBE_RTT_TIME: Micros = 200 * MILLISECOND;
/** 4.2.3: least cwnd in segments: with fewer, ACKs of every second segment would stop the clock. */
const LEAST_SEGMENTS = 4;
/** 4.3.2.2: the pipe is full when three rounds brought less than a quarter more. */
const FULL_GROWTH = 1.25;
const FULL_ROUNDS = 3;
/**
 * Beyond version 1: a round that loses more than this, in more than so many segments, overflows a queue; chance does not. It ends
 * STARTUP, and bounds what may be under way (as version 2 does, with 2 %, which small windows exceed by chance).
 */
const OVERFLOW_LOSS = 0.1;
const OVERFLOW_SEGMENTS = 8;
/** What an overflow leaves of the bound, and what a round without much loss gives back. */
const BOUND_CUT = 0.85;
const BOUND_GROWTH = 1.05;
/** 4.2.1: a little less than measured, so that a queue drains rather than grows. */
const MARGIN = 0.99;

type Mode = 'startup' | 'drain' | 'probe-bw' | 'probe-rtt';

/** A BBR controller for segments of `mss` bytes. */
export function createBbr(mss: number): CongestionController {
  return new Bbr(mss);
}

class Bbr implements CongestionController {
  readonly name = 'bbr';
  readonly modelBased = true;
  readonly ssthresh = Number.POSITIVE_INFINITY;
  cwnd: number;
  pacingRate = 0;
  #mss: number;
  #mode: Mode = 'startup';
  #pacingGain = HIGH_GAIN;
  #cwndGain = HIGH_GAIN;

  /** The highest sample of each of the last ten rounds, by round number, and the highest of all: BtlBw, bytes a second. */
  readonly #rounds: number[] = new Array(BANDWIDTH_ROUNDS).fill(0);
  #bandwidth = 0;
  #round = 0;
  #roundEnd = 0;
  #delivered = 0;
  #roundStart = false;

  /** RTprop, 0 while unknown, and when it was seen. */
  #minRtt: Micros = 0;
  #minRttAt: Micros = 0;
  #minRttOld = false;

  #fullBandwidth = 0;
  #fullCount = 0;
  #full = false;

  /** Most that may be under way, learnt from overflows; and `delivered` and `lost` when the round began. */
  #bound = Number.POSITIVE_INFINITY;
  #roundDelivered = 0;
  #roundLost = 0;

  #phase = 0;
  #phaseAt: Micros = 0;
  #lost = false;
  /** PROBE_RTT: when it may end, 0 until the queue is gone, and whether a round has passed in it. */
  #probeEndsAt: Micros = 0;
  #probeRoundDone = false;
  #idleRestart = false;

  /** 4.2.3.4: in the first round of a recovery as much is sent as is delivered. */
  #conserving = false;
  #priorCwnd = 0;

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

  onAck(): void {}

  onDelivery(sample: DeliverySample, inFlight: number, now: Micros): void {
    this.#delivered = sample.delivered;
    this.#countRound(sample);
    this.#takeBandwidth(sample);
    this.#cycle(inFlight, now);
    this.#lookForFullPipe(sample);
    this.#drain(inFlight, now);
    this.#takeMinRtt(sample, inFlight, now);
    this.#setPacingRate();
    this.#setWindow(sample, inFlight);
    this.#lost = false;
  }

  /** 4.1.1.3: a round has passed when data is delivered that was sent after the last round ended. */
  #countRound(sample: DeliverySample): void {
    const { priorDelivered, delivered } = sample;
    this.#roundStart = priorDelivered >= this.#roundEnd && priorDelivered >= 0;
    if (!this.#roundStart) return;
    this.#countLosses(sample);
    this.#roundEnd = delivered;
    this.#round++;
    this.#conserving = false;
    this.#rounds[this.#round % BANDWIDTH_ROUNDS] = 0;
    // What is ten rounds old is forgotten; what was app-limited never made it lower (4.1.1.4).
    let most = 0;
    for (let i = 0; i < BANDWIDTH_ROUNDS; i++) most = Math.max(most, this.#rounds[i]!);
    if (most > 0) this.#bandwidth = most;
    else this.#rounds[this.#round % BANDWIDTH_ROUNDS] = this.#bandwidth;
  }

  /** At the end of a round: did it overflow a queue? */
  #countLosses({ delivered, lost }: DeliverySample): void {
    const lostNow = lost - this.#roundLost;
    const sent = lostNow + delivered - this.#roundDelivered;
    this.#roundLost = lost;
    this.#roundDelivered = delivered;
    if (lostNow > OVERFLOW_SEGMENTS * this.#mss && lostNow > OVERFLOW_LOSS * sent) {
      this.#full = true;
      const bound = BOUND_CUT * Math.min(this.#bound, this.#inflight(CWND_GAIN));
      this.#bound = Math.floor(Math.max(bound, this.#product(1)));
    } else if (this.#bound !== Number.POSITIVE_INFINITY) {
      this.#bound = Math.floor(this.#bound * BOUND_GROWTH);
      if (this.#bound > this.#inflight(CWND_GAIN)) this.#bound = Number.POSITIVE_INFINITY;
    }
  }

  #takeBandwidth({ rate, appLimited }: DeliverySample): void {
    if (rate === 0 || (appLimited && rate < this.#bandwidth)) return;
    const i = this.#round % BANDWIDTH_ROUNDS;
    if (rate > this.#rounds[i]!) this.#rounds[i] = rate;
    if (rate > this.#bandwidth) this.#bandwidth = rate;
  }

  /** 4.2.3.2: gain × BtlBw × RTprop, and room for what is being put together here and at the peer. */
  #inflight(gain: number): number {
    if (this.#minRtt === 0) return initialWindow(this.#mss);
    return (gain * this.#bandwidth * this.#minRtt) / SECOND + 3 * quantum(this.pacingRate, this.#mss);
  }

  /** The bandwidth-delay product alone. */
  #product(gain: number): number {
    return (gain * this.#bandwidth * this.#minRtt) / SECOND;
  }

  // ---- states

  /** 4.3.3: PROBE_BW goes on to its next phase after RTprop, or when a phase has done what it is for. */
  #cycle(inFlight: number, now: Micros): void {
    if (this.#mode !== 'probe-bw') return;
    const elapsed = now - this.#phaseAt > this.#minRtt;
    if (this.#pacingGain > 1) {
      if (!elapsed || (!this.#lost && inFlight < this.#inflight(this.#pacingGain))) return;
    } else if (this.#pacingGain < 1) {
      if (!elapsed && inFlight > this.#product(1)) return;
    } else if (!elapsed) return;
    this.#enterPhase((this.#phase + 1) % CYCLE.length, now);
  }

  #enterPhase(phase: number, now: Micros): void {
    this.#phase = phase;
    this.#phaseAt = now;
    this.#pacingGain = CYCLE[phase]!;
  }

  #enterProbeBandwidth(now: Micros): void {
    this.#mode = 'probe-bw';
    this.#cwndGain = CWND_GAIN;
    // 4.3.3: begins anywhere but with "down". The draft draws lots; a steady phase first is as good and the same every time.
    this.#enterPhase(2, now);
  }

  /** 4.3.2.2 */
  #lookForFullPipe({ appLimited }: DeliverySample): void {
    if (this.#full || !this.#roundStart || appLimited) return;
    if (this.#bandwidth >= this.#fullBandwidth * FULL_GROWTH) {
      this.#fullBandwidth = this.#bandwidth;
      this.#fullCount = 0;
    } else if (++this.#fullCount >= FULL_ROUNDS) this.#full = true;
  }

  /** 4.3.2, 4.3.3: from STARTUP to DRAIN, and when the queue is gone to PROBE_BW. */
  #drain(inFlight: number, now: Micros): void {
    if (this.#mode === 'startup' && this.#full) {
      this.#mode = 'drain';
      this.#pacingGain = 1 / HIGH_GAIN;
      this.#cwndGain = HIGH_GAIN;
    }
    if (this.#mode === 'drain' && inFlight <= this.#product(1)) this.#enterProbeBandwidth(now);
  }

  /** 4.1.2, 4.3.4 */
  #takeMinRtt({ rtt }: DeliverySample, inFlight: number, now: Micros): void {
    this.#minRttOld = this.#minRtt > 0 && now > this.#minRttAt + MIN_RTT_WINDOW;
    if (rtt > 0 && (this.#minRtt === 0 || rtt <= this.#minRtt || this.#minRttOld)) {
      this.#minRtt = rtt;
      this.#minRttAt = now;
    }
    if (this.#minRttOld && !this.#idleRestart && this.#mode !== 'probe-rtt') {
      this.#mode = 'probe-rtt';
      this.#pacingGain = 1;
      this.#cwndGain = 1;
      this.#priorCwnd = this.#saved();
      this.#probeEndsAt = 0;
    }
    this.#idleRestart = false;
    if (this.#mode === 'probe-rtt') this.#probeRtt(inFlight, now);
  }

  #probeRtt(inFlight: number, now: Micros): void {
    if (this.#probeEndsAt === 0) {
      if (inFlight > this.#probeWindow()) return;
      this.#probeEndsAt = now + PROBE_RTT_TIME;
      this.#probeRoundDone = false;
      return;
    }
    if (this.#roundStart) this.#probeRoundDone = true;
    if (!this.#probeRoundDone || now < this.#probeEndsAt) return;
    this.#minRttAt = now;
    this.cwnd = Math.max(this.cwnd, this.#priorCwnd);
    if (this.#full) {
      this.#enterProbeBandwidth(now);
    } else {
      this.#mode = 'startup';
      this.#pacingGain = this.#cwndGain = HIGH_GAIN;
    }
  }

  #probeWindow(): number {
    return Math.max(LEAST_SEGMENTS * this.#mss, Math.floor(this.#product(0.5)));
  }

  // ---- what to do

  /** 4.2.1. Before the pipe is full the rate never falls: early samples are too low. */
  #setPacingRate(): void {
    if (this.#bandwidth === 0) {
      // The first window, over the first round trip known.
      if (this.#minRtt > 0) this.pacingRate = (HIGH_GAIN * this.cwnd * SECOND) / this.#minRtt;
      return;
    }
    const rate = this.#pacingGain * this.#bandwidth * MARGIN;
    if (this.#full || rate > this.pacingRate) this.pacingRate = rate;
  }

  /** 4.2.3.6 */
  #setWindow({ newly, delivered }: DeliverySample, inFlight: number): void {
    const target = Math.floor(Math.min(this.#inflight(this.#cwndGain), this.#bound));
    if (this.#conserving) {
      this.cwnd = inFlight + newly;
    } else if (this.#full) {
      this.cwnd = Math.min(this.cwnd + newly, target);
    } else if (this.cwnd < target || delivered < initialWindow(this.#mss)) {
      this.cwnd += newly;
    }
    this.cwnd = Math.min(this.cwnd, this.#bound);
    this.cwnd = Math.max(this.cwnd, LEAST_SEGMENTS * this.#mss);
    if (this.#mode === 'probe-rtt') this.cwnd = Math.min(this.cwnd, this.#probeWindow());
  }

  // ---- losses

  /** 4.2.3.4: a loss says nothing about the rate; but for one round no more is sent than arrives. */
  onLoss(): void {
    this.#priorCwnd = this.#saved();
    this.#conserving = true;
    this.#lost = true;
    // The round that conserves begins now.
    this.#roundEnd = this.#delivered;
  }

  onRecoveryExit(): void {
    this.#conserving = false;
    if (this.#mode !== 'probe-rtt') this.cwnd = Math.max(this.cwnd, this.#priorCwnd);
  }

  /** 4.2.3.4: nothing is known of what is under way. The model stays; the window grows back with what is delivered. */
  onTimeout(_inFlight: number, again: boolean): void {
    if (!again) this.#priorCwnd = this.#saved();
    this.cwnd = this.#mss;
    this.#conserving = false;
    this.#lost = true;
  }

  onSpurious(): void {
    this.onRecoveryExit();
  }

  /** The window to come back to: not one that a recovery or PROBE_RTT has already made small. */
  #saved(): number {
    return this.#conserving || this.#mode === 'probe-rtt' ? Math.max(this.#priorCwnd, this.cwnd) : this.cwnd;
  }

  /** 4.3.3.1: begins again at BtlBw, neither probing up nor down; no PROBE_RTT is needed, for the silence has drained the queue. */
  onIdle(_idle: Micros, _now: Micros): void {
    this.#idleRestart = true;
    if (this.#mode === 'probe-bw') this.pacingRate = this.#bandwidth * MARGIN;
  }
}
