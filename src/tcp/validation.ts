// How much of the congestion window the path has been seen to carry (RFC 7661 4): the window of an application that sends less
// than it may is neither grown nor thrown away, and what it is worth at a loss is what was really used.
//
//   validated       pipeACK ≥ cwnd / 2, or unknown      the window grows by the controller's rules
//   non-validated   pipeACK < cwnd / 2                  it stands still; a loss is answered from pipeACK; each five minutes it halves
//
// pipeACK is the most that was acknowledged within one round trip, of those in the sampling period: Max(3·RTT, 1 second) (4.2).

import { MINUTE, type Micros, NEVER, SECOND } from '../base/time.ts';

/** NVP, "SHOULD NOT exceed five minutes" (4.4). */
export const NON_VALIDATED_PERIOD: Micros = 5 * MINUTE;
/** Parts of the sampling period that keep a maximum each (4.5.1). */
const PARTS = 3;

/** The state of one connection. `pipeAck` is Infinity while it is undefined (4.1), so that every window counts as validated. */
export interface Validation {
  pipeAck: number;
  /** The round trip being measured: since when, and what was acknowledged in it. */
  roundAt: Micros;
  acked: number;
  /** The last {@link PARTS} maxima, newest first, and when the newest began. */
  newest: number;
  middle: number;
  oldest: number;
  partAt: Micros;
  /** Since when the window is not validated, or the last reduction for it; NEVER while it is. */
  since: Micros;
}

export function createValidation(): Validation {
  return {
    pipeAck: Number.POSITIVE_INFINITY,
    roundAt: 0,
    acked: 0,
    newest: 0,
    middle: 0,
    oldest: 0,
    partAt: 0,
    since: NEVER,
  };
}

/** Counts `acked` bytes against a window of `cwnd`. `rtt` is the smoothed round trip, 0 while there is none. */
export function countAcked(v: Validation, acked: number, rtt: Micros, cwnd: number, now: Micros): void {
  if (v.roundAt === 0) {
    v.roundAt = v.partAt = now;
    v.acked = 0;
  }
  v.acked += acked;
  if (rtt === 0 || now - v.roundAt < rtt) return;
  const part = Math.max(3 * rtt, SECOND) / PARTS;
  for (let passed = 0; now - v.partAt >= part && passed < PARTS; passed++) {
    v.oldest = v.middle;
    v.middle = v.newest;
    v.newest = 0;
    v.partAt += part;
  }
  if (now - v.partAt >= part) v.partAt = now;
  v.newest = Math.max(v.newest, v.acked);
  v.pipeAck = Math.max(v.newest, v.middle, v.oldest);
  v.acked = 0;
  v.roundAt = now;
  if (isValidated(v, cwnd)) v.since = NEVER;
  else if (v.since === NEVER) v.since = now;
}

/** 4.3: whether `cwnd` reflects what the path carries. */
export function isValidated(v: Validation, cwnd: number): boolean {
  return v.pipeAck >= cwnd / 2;
}

/** 4.2, 4.4.1: after loss recovery pipeACK is undefined until it is measured again. */
export function forget(v: Validation): void {
  v.pipeAck = Number.POSITIVE_INFINITY;
  v.roundAt = 0;
  v.newest = v.middle = v.oldest = 0;
  v.since = NEVER;
}

/**
 * 4.4.1: what a loss is reckoned from: FlightSize, or in the non-validated phase pipeACK if that is more; never more than cwnd.
 * Deviates: R, the volume sent again, is not taken off at the end of recovery; a controller does not hear of it.
 */
export function lossBase(v: Validation, inFlight: number, cwnd: number): number {
  return isValidated(v, cwnd) ? inFlight : Math.min(cwnd, Math.max(v.pipeAck, inFlight));
}

/**
 * How many NVPs have passed since the window was validated, at a moment when sending starts after `idle` (4.5.2: no timer is
 * needed). Each counts once.
 */
export function periodsPassed(v: Validation, idle: Micros, now: Micros): number {
  if (v.since === NEVER) v.since = now - idle;
  const periods = Math.floor((now - v.since) / NON_VALIDATED_PERIOD);
  v.since += periods * NON_VALIDATED_PERIOD;
  return periods;
}
