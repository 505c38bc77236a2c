// Spreading what is sent over time, for the controllers that ask for it (draft-cardwell-iccrg-bbr-congestion-control 4.2.1,
// RFC 7661 4.4.2).
//
// A paced connection sends quanta: about a millisecond's worth each, so that fast paths still send super-frames. It may be late
// by a credit, for hosts whose timers are coarse, and never early by more than a quantum.

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import { arm, type Tcb } from './tcb.ts';
import { MOST_PAYLOAD } from './window.ts';

/** How much lateness is made up for: as coarse as a host's timers are. More would be the burst that pacing is there to avoid. */
const CREDIT: Micros = MILLISECOND;
/** A quantum is what goes out in this time, but no less than two segments and no more than a super-frame. */
const QUANTUM: Micros = MILLISECOND;

/** Bytes of one quantum at `rate` bytes a second. */
export function quantum(rate: number, mss: number): number {
  return Math.max(2 * mss, Math.min(Math.floor((rate * QUANTUM) / SECOND), MOST_PAYLOAD));
}

/**
 * How many bytes may go out now. 0 when it is too early: then the timer will bring the connection back. Infinity when it is not
 * paced.
 */
export function pacedAllowance(tcb: Tcb, mss: number): number {
  const { pacingRate } = tcb.congestion;
  if (pacingRate === 0) return Number.POSITIVE_INFINITY;
  const { now } = tcb.tcp;
  if (tcb.pacedTo > now) {
    arm(tcb, 'pace', Math.ceil(tcb.pacedTo));
    return 0;
  }
  return quantum(pacingRate, mss);
}

/** `bytes` have gone out: the next may when, at the pacing rate, these are through. */
export function spendPace(tcb: Tcb, bytes: number): void {
  const { pacingRate } = tcb.congestion;
  if (pacingRate === 0) return;
  tcb.pacedTo = Math.max(tcb.pacedTo, tcb.tcp.now - CREDIT) + (bytes * SECOND) / pacingRate;
}
