// ICMP messages, read and written in place. RFC 792, RFC 1191 4, RFC 1122 3.2.2.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |     Type      |     Code      |           Checksum            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  echo: Identifier             |  Sequence Number              |
//   |  too big: unused              |  Next-Hop MTU                 |
//   |  parameter problem: Pointer   |  unused                       |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  echo: Data ...   errors: Internet Header + 64 bits of Data ...
//   +-+-+-+-

import { finish, fold, sum } from '../base/checksum.ts';
import type { DropReason } from '../base/drop.ts';

export const ICMP_HEADER_LENGTH = 8;

export const ECHO_REPLY = 0;
export const DESTINATION_UNREACHABLE = 3;
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;
export const TIMESTAMP = 13;
export const ADDRESS_MASK_REPLY = 18;

/** Codes of Destination Unreachable: RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1. */
export const NET_UNREACHABLE = 0;
export const HOST_UNREACHABLE = 1;
export const PROTOCOL_UNREACHABLE = 2;
export const PORT_UNREACHABLE = 3;
export const FRAGMENTATION_NEEDED = 4;
export const SOURCE_ROUTE_FAILED = 5;

/** Codes of Time Exceeded. */
export const TTL_EXCEEDED = 0;
export const REASSEMBLY_EXCEEDED = 1;

export function icmpType(view: DataView, at: number): number {
  return view.getUint8(at);
}

export function icmpCode(view: DataView, at: number): number {
  return view.getUint8(at + 1);
}

export function icmpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + 2);
}

export function echoIdentifier(view: DataView, at: number): number {
  return view.getUint16(at + 4);
}

export function echoSequence(view: DataView, at: number): number {
  return view.getUint16(at + 6);
}

export function nextHopMtu(view: DataView, at: number): number {
  return view.getUint16(at + 6);
}

/** Writes the eight header bytes with a zero checksum; `rest` is the second word. */
export function writeIcmp(view: DataView, at: number, type: number, code: number, rest: number): void {
  view.setUint8(at, type);
  view.setUint8(at + 1, code);
  view.setUint16(at + 2, 0);
  view.setUint32(at + 4, rest);
}

/** Makes the checksum of the message [at, end) right; its field holds zero. */
export function sealIcmp(view: DataView, at: number, end: number): void {
  view.setUint16(at + 2, finish(sum(view, at, end)));
}

/** Length and checksum (CVE-2020-11910: length first). ICMP is never offloaded: the checksum is always looked at. */
export function checkIcmp(view: DataView, at: number, end: number): DropReason | undefined {
  if (end - at < ICMP_HEADER_LENGTH) return 'truncated';
  if (fold(sum(view, at, end)) !== 0xffff) return 'bad checksum';
  return undefined;
}

/** True for the messages that may themselves be answered by an error: the queries of RFC 1122 3.2.2. All others count as errors. */
export function isQuery(type: number): boolean {
  return type === ECHO_REPLY || type === ECHO_REQUEST || (type >= TIMESTAMP && type <= ADDRESS_MASK_REPLY);
}
