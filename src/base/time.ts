// Time is an integer number of microseconds on a monotonic clock that the caller owns.

/** Microseconds since an epoch of the caller's choosing. Below 2^53 it lasts 285 years. */
export type Micros = number;

/** A deadline that never comes. */
export const NEVER: Micros = Number.POSITIVE_INFINITY;

export const MICROSECOND: Micros = 1;
export const MILLISECOND: Micros = 1_000;
export const SECOND: Micros = 1_000_000;
export const MINUTE: Micros = 60 * SECOND;
export const HOUR: Micros = 60 * MINUTE;

/** The time of the round at hand, as the stack was last told it. Read by layers; only `stack.advance` moves it. */
export interface Clock {
  readonly now: Micros;
}
