// Sequence numbers: unsigned 32-bit, compared modulo 2^32 (RFC 9293 3.4).
//
// Of two numbers less than 2^31 apart, the one reached from the other by going up comes later. At a distance of
// exactly 2^31 neither order is right; such numbers never meet in one window (RFC 7323 2.3 keeps windows below 2^30).

/** `a` comes before `b`. */
export function lt(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** `a` is `b` or comes before it. */
export function leq(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

/** `a` comes after `b`. */
export function gt(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** `a` is `b` or comes after it. */
export function geq(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}

/** The number `n` after `a`, as u32; `n` may be negative. */
export function add(a: number, n: number): number {
  return (a + n) >>> 0;
}

/** How far `a` is after `b`: a signed 32-bit distance, negative when `a` comes before. */
export function sub(a: number, b: number): number {
  return (a - b) | 0;
}

/** `low` =< `x` =< `high`, going up from `low`. Unlike {@link lt} this holds for windows of any size. */
export function between(low: number, x: number, high: number): boolean {
  return (x - low) >>> 0 <= (high - low) >>> 0;
}

/** The later of two. */
export function max(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? b : a;
}

/** The earlier of two. */
export function min(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? a : b;
}
