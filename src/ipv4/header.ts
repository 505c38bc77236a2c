// The IPv4 header, read and written in place. RFC 791 3.1; DSCP and ECN as in RFC 2474, RFC 3168.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |Version|  IHL  |Type of Service|          Total Length         |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |         Identification        |Flags|      Fragment Offset    |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  Time to Live |    Protocol   |         Header Checksum       |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                       Source Address                          |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                    Destination Address                        |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                    Options                    |    Padding    |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

import { finish, fold, sum } from '../base/checksum.ts';
import type { DropReason } from '../base/drop.ts';

export const VERSION_IHL = 0;
export const TYPE_OF_SERVICE = 1;
export const TOTAL_LENGTH = 2;
export const IDENTIFICATION = 4;
export const FLAGS_OFFSET = 6;
export const TIME_TO_LIVE = 8;
export const PROTOCOL = 9;
export const HEADER_CHECKSUM = 10;
export const SOURCE = 12;
export const DESTINATION = 16;

/** A header without options, and with as many as four bits of IHL can say. */
export const HEADER_LENGTH = 20;
export const MAX_HEADER_LENGTH = 60;
/** The largest datagram that sixteen bits of total length can say. */
export const MAX_DATAGRAM = 65_535;
/** Every host takes a datagram of 576 octets, whole or in fragments (RFC 791 3.1). */
export const MIN_REASSEMBLY = 576;
/** Every link carries a datagram of 68 octets unfragmented (RFC 791 3.2). */
export const MIN_MTU = 68;

/** Flags, as bits of the 16-bit word they share with the fragment offset. */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const OFFSET_MASK = 0x1fff;

export function version(view: DataView, at: number): number {
  return view.getUint8(at) >>> 4;
}

/** IHL in bytes. */
export function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at) & 15) << 2;
}

export function typeOfService(view: DataView, at: number): number {
  return view.getUint8(at + TYPE_OF_SERVICE);
}

export function totalLength(view: DataView, at: number): number {
  return view.getUint16(at + TOTAL_LENGTH);
}

export function identification(view: DataView, at: number): number {
  return view.getUint16(at + IDENTIFICATION);
}

/** The whole word of flags and fragment offset. */
export function flagsOffset(view: DataView, at: number): number {
  return view.getUint16(at + FLAGS_OFFSET);
}

export function dontFragment(view: DataView, at: number): boolean {
  return (flagsOffset(view, at) & DONT_FRAGMENT) !== 0;
}

export function moreFragments(view: DataView, at: number): boolean {
  return (flagsOffset(view, at) & MORE_FRAGMENTS) !== 0;
}

/** Fragment offset in bytes. */
export function fragmentOffset(view: DataView, at: number): number {
  return (flagsOffset(view, at) & OFFSET_MASK) << 3;
}

/** True for any piece of a fragmented datagram. */
export function isFragment(view: DataView, at: number): boolean {
  return (flagsOffset(view, at) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0;
}

export function timeToLive(view: DataView, at: number): number {
  return view.getUint8(at + TIME_TO_LIVE);
}

export function protocol(view: DataView, at: number): number {
  return view.getUint8(at + PROTOCOL);
}

export function headerChecksum(view: DataView, at: number): number {
  return view.getUint16(at + HEADER_CHECKSUM);
}

/** The source address as a signed word (see `base/address.ts`). */
export function sourceWord(view: DataView, at: number): number {
  return view.getInt32(at + SOURCE);
}

export function destinationWord(view: DataView, at: number): number {
  return view.getInt32(at + DESTINATION);
}

export function setTotalLength(view: DataView, at: number, length: number): void {
  view.setUint16(at + TOTAL_LENGTH, length);
}

export function setFlagsOffset(view: DataView, at: number, word: number): void {
  view.setUint16(at + FLAGS_OFFSET, word);
}

/** Writes a 20-byte header with a right checksum. `flags` is the word of flags and fragment offset. */
export function writeHeader(
  view: DataView,
  at: number,
  tos: number,
  length: number,
  id: number,
  flags: number,
  ttl: number,
  proto: number,
  source: number,
  destination: number,
): void {
  view.setUint8(at, 0x45);
  view.setUint8(at + TYPE_OF_SERVICE, tos);
  view.setUint16(at + TOTAL_LENGTH, length);
  view.setUint16(at + IDENTIFICATION, id);
  view.setUint16(at + FLAGS_OFFSET, flags);
  view.setUint8(at + TIME_TO_LIVE, ttl);
  view.setUint8(at + PROTOCOL, proto);
  view.setUint16(at + HEADER_CHECKSUM, 0);
  view.setInt32(at + SOURCE, source);
  view.setInt32(at + DESTINATION, destination);
  view.setUint16(at + HEADER_CHECKSUM, finish(sum(view, at, at + HEADER_LENGTH)));
}

/** Makes the checksum right after other fields were written. */
export function refreshChecksum(view: DataView, at: number): void {
  view.setUint16(at + HEADER_CHECKSUM, 0);
  view.setUint16(at + HEADER_CHECKSUM, finish(sum(view, at, at + headerLength(view, at))));
}

/** Takes one from the TTL and mends the checksum without reading the rest: HC' = ~(~HC + ~m + m'), RFC 1624 3 [Eqn. 3]. */
export function decrementTtl(view: DataView, at: number): void {
  const old = view.getUint16(at + TIME_TO_LIVE);
  const next = old - 0x100;
  view.setUint16(at + TIME_TO_LIVE, next);
  const hc = view.getUint16(at + HEADER_CHECKSUM);
  view.setUint16(at + HEADER_CHECKSUM, finish((~hc & 0xffff) + (~old & 0xffff) + next));
}

/**
 * Looks at everything that could make an accessor fail or a length lie, and at the checksum. After `undefined` the header,
 * its options and `totalLength` bytes lie within [at, end), and every accessor of this file is safe.
 */
export function check(view: DataView, at: number, end: number): DropReason | undefined {
  if (end - at < HEADER_LENGTH) return 'truncated';
  const first = view.getUint8(at);
  if (first >>> 4 !== 4) return 'bad version'; // RFC 1122 3.2.1.1
  const ihl = (first & 15) << 2;
  if (ihl < HEADER_LENGTH) return 'bad header length';
  const length = view.getUint16(at + TOTAL_LENGTH);
  if (length < ihl) return 'bad total length';
  if (length > end - at) return 'truncated';
  // RFC 1122 3.2.1.2. A right header sums to all ones; all zeros would take a header of zeros, which has no version.
  if (fold(sum(view, at, at + ihl)) !== 0xffff) return 'bad checksum';
  return undefined;
}
