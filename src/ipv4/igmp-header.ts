// IGMP messages of all three versions. RFC 1112 appendix I, RFC 2236 2, RFC 3376 4.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  Type = 0x11  | Max Resp Code |           Checksum            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                         Group Address                         |     versions 1 and 2 end here
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                       Source Address [i]                      |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  Type = 0x22  |    Reserved   |           Checksum            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |           Reserved            |  Number of Group Records (M)  |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  Record Type  |  Aux Data Len |     Number of Sources (N)     |     each Group Record
//   |                       Multicast Address                       |
//   |                       Source Address [i]                      |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

import { finish, fold, sum } from '../base/checksum.ts';
import type { DropReason } from '../base/drop.ts';

export const MEMBERSHIP_QUERY = 0x11;
export const V1_MEMBERSHIP_REPORT = 0x12;
export const V2_MEMBERSHIP_REPORT = 0x16;
export const V2_LEAVE_GROUP = 0x17;
export const V3_MEMBERSHIP_REPORT = 0x22;

/** Group record types, RFC 3376 4.2.12. */
export const MODE_IS_INCLUDE = 1;
export const MODE_IS_EXCLUDE = 2;
export const CHANGE_TO_INCLUDE_MODE = 3;
export const CHANGE_TO_EXCLUDE_MODE = 4;
export const ALLOW_NEW_SOURCES = 5;
export const BLOCK_OLD_SOURCES = 6;
export type RecordType = 1 | 2 | 3 | 4 | 5 | 6;

export const IGMP_HEADER_LENGTH = 8;
export const V3_QUERY_LENGTH = 12;
export const RECORD_HEADER_LENGTH = 8;

export function igmpType(view: DataView, at: number): number {
  return view.getUint8(at);
}

export function maxRespCode(view: DataView, at: number): number {
  return view.getUint8(at + 1);
}

/** The group of a query or of a report of version 1 or 2, as a signed word. */
export function groupAddress(view: DataView, at: number): number {
  return view.getInt32(at + 4);
}

/** Querier's Robustness Variable. Only of a version 3 query, as the three below. */
export function qrv(view: DataView, at: number): number {
  return view.getUint8(at + 8) & 7;
}

/** Querier's Query Interval Code. */
export function qqic(view: DataView, at: number): number {
  return view.getUint8(at + 9);
}

export function sourceCount(view: DataView, at: number): number {
  return view.getUint16(at + 10);
}

export function querySource(view: DataView, at: number, i: number): number {
  return view.getInt32(at + V3_QUERY_LENGTH + 4 * i);
}

/** RFC 3376 4.1.1 and 4.1.7: below 128 the number itself, above it a float: (mant | 0x10) << (exp + 3). */
export function decodeCode(code: number): number {
  return code < 128 ? code : ((code & 15) | 16) << (((code >> 4) & 7) + 3);
}

/** Writes a message of version 1 or 2, eight bytes, with its checksum. */
export function writeIgmp(view: DataView, at: number, type: number, maxResp: number, group: number): void {
  view.setUint8(at, type);
  view.setUint8(at + 1, maxResp);
  view.setUint16(at + 2, 0);
  view.setInt32(at + 4, group);
  sealIgmp(view, at, at + IGMP_HEADER_LENGTH);
}

/** Writes the fixed part of a version 3 report; the checksum waits for the records. */
export function writeReport(view: DataView, at: number, records: number): void {
  view.setUint32(at, V3_MEMBERSHIP_REPORT << 24);
  view.setUint32(at + 4, records);
}

/** Writes a group record without sources; those follow, four bytes each. */
export function writeRecord(
  view: DataView,
  at: number,
  type: RecordType,
  sources: number,
  group: number,
): void {
  view.setUint8(at, type);
  view.setUint8(at + 1, 0);
  view.setUint16(at + 2, sources);
  view.setInt32(at + 4, group);
}

export function sealIgmp(view: DataView, at: number, end: number): void {
  view.setUint16(at + 2, 0);
  view.setUint16(at + 2, finish(sum(view, at, end)));
}

/**
 * Checks a message [at, end). After `undefined` the accessors are safe: those of version 3 when a query is at least 12
 * bytes, and its sources lie within. The checksum is over all of the IP payload (RFC 3376 4.1.2), additional data included.
 */
export function checkIgmp(view: DataView, at: number, end: number): DropReason | undefined {
  const length = end - at;
  if (length < IGMP_HEADER_LENGTH) return 'truncated';
  if (fold(sum(view, at, end)) !== 0xffff) return 'bad checksum';
  if (igmpType(view, at) !== MEMBERSHIP_QUERY) return undefined;
  // RFC 3376 7.1: queries of any other length MUST be silently ignored.
  if (length > IGMP_HEADER_LENGTH && length < V3_QUERY_LENGTH) return 'bad length';
  if (length >= V3_QUERY_LENGTH && V3_QUERY_LENGTH + 4 * sourceCount(view, at) > length) return 'truncated';
  return undefined;
}
