// The Internet checksum: the 16-bit one's complement of the one's complement sum (RFC 1071).

import type { Address } from './address.ts';

/** From this many bytes on, turning the sum round once costs less than turning every word round. */
const LONG = 128;

/**
 * Adds the bytes [from, to) of `view` to a running sum, as big-endian 16-bit words; an odd last byte is padded with
 * zero (RFC 1071 1). Start with 0, fold with {@link finish}. Ranges chained this way must have even length, but for
 * the last; {@link sumJoined} has no such rule. The sum stays exact for any packet: 32 Ki words of 16 bits fit far
 * below 2^53.
 */
export function sum(view: DataView, from: number, to: number, initial = 0): number {
  let total = initial;
  let at = from;
  // RFC 1071 2 (C): words may be taken 32 bits at a time. (B): they may be taken in the machine's byte order, and the sum
  // turned round once at the end; nearly every machine is little-endian, and on the others this is only slower. Two
  // sums, so that neither waits for the other.
  if (to - from >= LONG) {
    let one = 0;
    let two = 0;
    for (const stop = to - 31; at < stop; at += 32) {
      one +=
        view.getUint32(at, true) +
        view.getUint32(at + 4, true) +
        (view.getUint32(at + 8, true) + view.getUint32(at + 12, true));
      two +=
        view.getUint32(at + 16, true) +
        view.getUint32(at + 20, true) +
        (view.getUint32(at + 24, true) + view.getUint32(at + 28, true));
    }
    total += turned(fold(one + two));
  }
  for (const stop = to - 3; at < stop; at += 4) total += view.getUint32(at);
  if (at + 1 < to) {
    total += view.getUint16(at);
    at += 2;
  }
  if (at < to) total += view.getUint8(at) << 8;
  return total;
}

/**
 * Adds the bytes [from, to) of `view` to a running sum, when `before` bytes were summed already: after an odd number of
 * bytes every byte of this range stands in the other half of its word, so its sum is added turned round (RFC 1071 2 (B)).
 */
export function sumJoined(view: DataView, from: number, to: number, initial: number, before: number): number {
  if ((before & 1) === 0) return sum(view, from, to, initial);
  return initial + turned(fold(sum(view, from, to)));
}

/** A folded sum with its two bytes exchanged. */
function turned(folded: number): number {
  return ((folded << 8) | (folded >>> 8)) & 0xffff;
}

/** Folds a running sum to 16 bits without complementing it. */
export function fold(total: number): number {
  // 2^16 ≡ 1 (mod 2^16 − 1): add the high part to the low until nothing is left above 16 bits (RFC 1071 2 (C)).
  let t = total;
  while (t > 0xffff_ffff) t = (t % 0x1_0000_0000) + Math.floor(t / 0x1_0000_0000);
  t = (t & 0xffff) + (t >>> 16);
  t = (t & 0xffff) + (t >>> 16);
  return (t & 0xffff) + (t >>> 16);
}

/** The checksum that goes on the wire: the complement of the folded sum. */
export function finish(total: number): number {
  return ~fold(total) & 0xffff;
}

/** The sum of a pseudo-header of either family: addresses, protocol and upper-layer length (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoHeaderSum(
  source: Address,
  destination: Address,
  protocol: number,
  length: number,
): number {
  return addressSum(source) + addressSum(destination) + protocol + (length >>> 16) + (length & 0xffff);
}

function addressSum(address: Address): number {
  const low = word(address.w3);
  return address.family === 4 ? low : low + word(address.w0) + word(address.w1) + word(address.w2);
}

function word(w: number): number {
  return (w >>> 16) + (w & 0xffff);
}
