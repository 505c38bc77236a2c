// Times of capture files: 64-bit counts of ticks, turned into whole seconds and nanoseconds and back, exactly.

/** Nanoseconds in a second. */
export const NANOS = 1_000_000_000;

/**
 * Writes `seconds` and `nanos` as a 64-bit count of nanoseconds in two 32-bit halves, the upper first, as pcapng has it.
 * Exact without BigInt: no intermediate reaches 2^53.
 */
export function setNanos(
  view: DataView,
  at: number,
  seconds: number,
  nanos: number,
  littleEndian: boolean,
): void {
  const a = Math.floor(seconds / 0x1_0000) * NANOS;
  const low = (a % 0x1_0000) * 0x1_0000 + (seconds % 0x1_0000) * NANOS + nanos;
  view.setUint32(at, Math.floor(a / 0x1_0000) + Math.floor(low / 0x1_0000_0000), littleEndian);
  view.setUint32(at + 4, low % 0x1_0000_0000, littleEndian);
}

/** A moment: whole seconds since the epoch (may be negative after an offset) and 0 … 999 999 999 nanoseconds. */
export interface Timestamp {
  seconds: number;
  nanos: number;
}

/**
 * What `if_tsresol` says about ticks: `10^-n` or, with the top bit set, `2^-n` seconds each. Without the option it is
 * microseconds.
 */
export interface Resolution {
  readonly base: 2 | 10;
  readonly exponent: number;
  /** Ticks in a second when that is below 2^37, so that plain numbers divide exactly; 0 otherwise. */
  readonly perSecond: number;
}

export function resolutionOf(octet: number): Resolution {
  const base = (octet & 0x80) !== 0 ? 2 : 10;
  const exponent = octet & 0x7f;
  const perSecond = base ** exponent;
  return { base, exponent, perSecond: perSecond < 2 ** 37 ? perSecond : 0 };
}

export const MICROSECONDS = resolutionOf(6);

/**
 * The moment of `high`:`low` ticks plus `offset` seconds. Ticks finer than a nanosecond are cut off, never rounded, so
 * that order is kept. Seconds beyond 2^53 lose their low bits.
 */
export function ticksToTimestamp(
  high: number,
  low: number,
  resolution: Resolution,
  offset: number,
): Timestamp {
  const d = resolution.perSecond;
  if (d === 0) return longTicksToTimestamp(high, low, resolution, offset);
  // Long division in steps of 16 bits: remainder < 2^37, so remainder × 2^16 + 16 bits stays below 2^53.
  const step = (high % d) * 0x1_0000 + (low >>> 16);
  const last = (step % d) * 0x1_0000 + (low & 0xffff);
  const seconds =
    Math.floor(high / d) * 0x1_0000_0000 + Math.floor(step / d) * 0x1_0000 + Math.floor(last / d);
  return { seconds: seconds + offset, nanos: fractionToNanos(last % d, d) };
}

/** floor(ticks × 10^9 / perSecond) for ticks < perSecond < 2^37. */
function fractionToNanos(ticks: number, perSecond: number): number {
  if (NANOS % perSecond === 0) return ticks * (NANOS / perSecond);
  if (perSecond <= 8_000_000) return Math.floor((ticks * NANOS) / perSecond);
  return Number((BigInt(ticks) * BigInt(NANOS)) / BigInt(perSecond));
}

function longTicksToTimestamp(high: number, low: number, { base, exponent }: Resolution, offset: number) {
  const ticks = (BigInt(high) << 32n) | BigInt(low);
  const perSecond = BigInt(base) ** BigInt(exponent);
  return {
    seconds: Number(ticks / perSecond) + offset,
    nanos: Number(((ticks % perSecond) * BigInt(NANOS)) / perSecond),
  };
}
