// The UDP header, read and written in place. RFC 768.
//
//    0      7 8     15 16    23 24    31
//   +--------+--------+--------+--------+
//   |     Source      |   Destination   |
//   |      Port       |      Port       |
//   +--------+--------+--------+--------+
//   |     Length      |    Checksum     |
//   +--------+--------+--------+--------+
//   |          data octets ...

import type { DropReason } from '../base/drop.ts';

export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;
export const LENGTH = 4;
export const CHECKSUM = 6;
export const UDP_HEADER_LENGTH = 8;

export function sourcePort(view: DataView, at: number): number {
  return view.getUint16(at + SOURCE_PORT);
}

export function destinationPort(view: DataView, at: number): number {
  return view.getUint16(at + DESTINATION_PORT);
}

/** Header and data, in bytes. */
export function udpLength(view: DataView, at: number): number {
  return view.getUint16(at + LENGTH);
}

/** 0 when the sender made none (IPv4 only). */
export function udpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM);
}

/** Writes the header; `checksum` is the final one, or the pseudo-header sum of a pending one (see `Frame.checksumStart`). */
export function writeUdp(
  view: DataView,
  at: number,
  source: number,
  destination: number,
  length: number,
  checksum: number,
): void {
  view.setUint16(at + SOURCE_PORT, source);
  view.setUint16(at + DESTINATION_PORT, destination);
  view.setUint16(at + LENGTH, length);
  view.setUint16(at + CHECKSUM, checksum);
}

/** After `undefined` every accessor is safe and `udpLength` bytes lie within [at, end) (CVE-2021-31345, CVE-2020-13987). */
export function check(view: DataView, at: number, end: number): DropReason | undefined {
  if (end - at < UDP_HEADER_LENGTH) return 'truncated';
  const length = udpLength(view, at);
  if (length < UDP_HEADER_LENGTH || length > end - at) return 'bad length';
  return undefined;
}
