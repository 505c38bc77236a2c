// The TCP header where it lies (RFC 9293 3.1).
//
//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |          Source Port          |       Destination Port        |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |                        Sequence Number                        |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |                    Acknowledgment Number                      |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |  Data |       |C|E|U|A|P|R|S|F|                               |
//    | Offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
//    |       |       |R|E|G|K|H|T|N|N|                               |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |           Checksum            |         Urgent Pointer        |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |                           [Options]                           |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//    |                             Data                              |
//    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

import type { DropReason } from '../base/drop.ts';

/** Bytes of a header without options, and with as many as fit (data offset 15). */
export const HEADER_LENGTH = 20;
export const MAX_HEADER_LENGTH = 60;
/** Most bytes of options. */
export const MAX_OPTIONS_LENGTH = MAX_HEADER_LENGTH - HEADER_LENGTH;

export const SOURCE_PORT_AT = 0;
export const DESTINATION_PORT_AT = 2;
export const SEQUENCE_NUMBER_AT = 4;
export const ACKNOWLEDGMENT_NUMBER_AT = 8;
export const DATA_OFFSET_AT = 12;
export const FLAGS_AT = 13;
export const WINDOW_AT = 14;
export const CHECKSUM_AT = 16;
export const URGENT_POINTER_AT = 18;

/** Control bits (3.1), with the two of RFC 3168. */
export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

/** Says why [at, end) holds no TCP header; after `undefined` no accessor here can fail, nor leave [at, end). */
export function check(view: DataView, at: number, end: number): DropReason | undefined {
  if (at + HEADER_LENGTH > end) return 'truncated';
  const length = headerLength(view, at);
  if (length < HEADER_LENGTH || at + length > end) return 'bad data offset';
  return undefined;
}

export function sourcePort(view: DataView, at: number): number {
  return view.getUint16(at + SOURCE_PORT_AT);
}

export function setSourcePort(view: DataView, at: number, port: number): void {
  view.setUint16(at + SOURCE_PORT_AT, port);
}

export function destinationPort(view: DataView, at: number): number {
  return view.getUint16(at + DESTINATION_PORT_AT);
}

export function setDestinationPort(view: DataView, at: number, port: number): void {
  view.setUint16(at + DESTINATION_PORT_AT, port);
}

export function sequenceNumber(view: DataView, at: number): number {
  return view.getUint32(at + SEQUENCE_NUMBER_AT);
}

export function setSequenceNumber(view: DataView, at: number, seq: number): void {
  view.setUint32(at + SEQUENCE_NUMBER_AT, seq);
}

export function acknowledgmentNumber(view: DataView, at: number): number {
  return view.getUint32(at + ACKNOWLEDGMENT_NUMBER_AT);
}

export function setAcknowledgmentNumber(view: DataView, at: number, ack: number): void {
  view.setUint32(at + ACKNOWLEDGMENT_NUMBER_AT, ack);
}

/** Data offset in bytes: the header with its options. */
export function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at + DATA_OFFSET_AT) >>> 4) << 2;
}

/** Sets the data offset from a length in bytes, a multiple of 4, and clears the reserved bits, as 3.1 asks. */
export function setHeaderLength(view: DataView, at: number, length: number): void {
  view.setUint8(at + DATA_OFFSET_AT, (length >>> 2) << 4);
}

/** The eight control bits, CWR to FIN. */
export function flags(view: DataView, at: number): number {
  return view.getUint8(at + FLAGS_AT);
}

export function setFlags(view: DataView, at: number, bits: number): void {
  view.setUint8(at + FLAGS_AT, bits);
}

/** The window field as it stands, before any scaling. */
export function window(view: DataView, at: number): number {
  return view.getUint16(at + WINDOW_AT);
}

export function setWindow(view: DataView, at: number, wnd: number): void {
  view.setUint16(at + WINDOW_AT, wnd);
}

export function checksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM_AT);
}

export function setChecksum(view: DataView, at: number, sum: number): void {
  view.setUint16(at + CHECKSUM_AT, sum);
}

export function urgentPointer(view: DataView, at: number): number {
  return view.getUint16(at + URGENT_POINTER_AT);
}

export function setUrgentPointer(view: DataView, at: number, up: number): void {
  view.setUint16(at + URGENT_POINTER_AT, up);
}

/** Writes a whole header but for its options; checksum and urgent pointer become 0. `length` is in bytes, options included. */
export function writeHeader(
  view: DataView,
  at: number,
  sourcePort: number,
  destinationPort: number,
  seq: number,
  ack: number,
  length: number,
  bits: number,
  wnd: number,
): void {
  view.setUint16(at + SOURCE_PORT_AT, sourcePort);
  view.setUint16(at + DESTINATION_PORT_AT, destinationPort);
  view.setUint32(at + SEQUENCE_NUMBER_AT, seq);
  view.setUint32(at + ACKNOWLEDGMENT_NUMBER_AT, ack);
  view.setUint32(at + DATA_OFFSET_AT, (((length >>> 2) << 28) | (bits << 16) | wnd) >>> 0);
  view.setUint32(at + CHECKSUM_AT, 0);
}

const FLAG_NAMES = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;

/** The names of the set bits, as in `SYN,ACK`; for notes and tests. */
export function flagNames(bits: number): string {
  return FLAG_NAMES.filter((_, i) => (bits & (1 << i)) !== 0).join(',');
}
