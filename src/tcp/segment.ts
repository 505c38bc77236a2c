// A received segment as a flat record with the RFC's names, its data left where it lies (RFC 9293 3.3.1, 3.10.7).

import { fold, sum } from '../base/checksum.ts';
import type { Verdict } from '../base/drop.ts';
import { PROTOCOL_TCP } from '../base/ip.ts';
import type { Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import * as header from './header.ts';
import { createOptions, type Options, parseOptions } from './options.ts';

/** One record is reused for every segment: nothing may keep it. */
export interface Segment {
  sourcePort: number;
  destinationPort: number;
  /** SEG.SEQ, SEG.ACK */
  seq: number;
  ack: number;
  /** SEG.LEN: sequence space it takes, data and SYN and FIN. */
  len: number;
  /** Data bytes alone. */
  dataLength: number;
  /** SEG.WND as on the wire, not scaled. */
  wnd: number;
  /** SEG.UP as on the wire, whether URG is set or not. */
  up: number;
  /** Control bits: {@link header.FIN} … {@link header.CWR}. */
  flags: number;
  /** The ECN field of the IP header: 0 not capable, 1 ECT(1), 2 ECT(0), 3 congestion experienced (RFC 3168 5). */
  ecn: number;
  /** Bytes each cut of a super-frame stands for, 0 for an ordinary segment. */
  gsoSize: number;
  /** The data: `dataLength` bytes of `slab` from `dataAt`. */
  slab: Slab;
  dataAt: number;
  readonly options: Options;
  /** What it came in, for the addresses; `undefined` before the first. */
  packet: Packet | undefined;
}

/** IP ECN field: congestion experienced. */
export const CE = 3;

const NO_SLAB = new Slab(new Uint8Array(0));

export function createSegment(): Segment {
  return {
    sourcePort: 0,
    destinationPort: 0,
    seq: 0,
    ack: 0,
    len: 0,
    dataLength: 0,
    wnd: 0,
    up: 0,
    flags: 0,
    ecn: 0,
    gsoSize: 0,
    slab: NO_SLAB,
    dataAt: 0,
    options: createOptions(),
    packet: undefined,
  };
}

export function isSyn(seg: Segment): boolean {
  return (seg.flags & header.SYN) !== 0;
}

export function isAck(seg: Segment): boolean {
  return (seg.flags & header.ACK) !== 0;
}

export function isFin(seg: Segment): boolean {
  return (seg.flags & header.FIN) !== 0;
}

export function isRst(seg: Segment): boolean {
  return (seg.flags & header.RST) !== 0;
}

export function isUrg(seg: Segment): boolean {
  return (seg.flags & header.URG) !== 0;
}

/**
 * Reads the segment of `packet` (`packet.at` at the TCP header, addresses set) into `into`. Says why it must be dropped:
 * `truncated`, `bad data offset`, `bad checksum`, `bad port`; `into` is then worth nothing.
 */
export function parseSegment(packet: Packet, into: Segment): Verdict {
  const { view, at, end } = packet;
  const reason = header.check(view, at, end);
  if (reason !== undefined) return reason;
  // MUST-3: the receiver must check the checksum.
  if (!packet.checksumTrusted && !checksumHolds(packet)) return 'bad checksum';
  const sourcePort = header.sourcePort(view, at);
  const destinationPort = header.destinationPort(view, at);
  // Port 0 is reserved (RFC 6335 6): nobody listens there, and no answer to it can arrive.
  if (sourcePort === 0 || destinationPort === 0) return 'bad port';

  const flags = header.flags(view, at);
  const dataAt = at + header.headerLength(view, at);
  const dataLength = end - dataAt;
  into.sourcePort = sourcePort;
  into.destinationPort = destinationPort;
  into.seq = header.sequenceNumber(view, at);
  into.ack = header.acknowledgmentNumber(view, at);
  into.flags = flags;
  into.dataLength = dataLength;
  // SYN (bit 1) and FIN (bit 0) each take one sequence number.
  into.len = dataLength + (flags & header.FIN) + ((flags & header.SYN) >> 1);
  into.wnd = header.window(view, at);
  into.up = header.urgentPointer(view, at);
  into.ecn = packet.trafficClass & 3;
  into.gsoSize = packet.gsoSize;
  into.slab = packet.slab;
  into.dataAt = dataAt;
  into.packet = packet;
  parseOptions(view, at + header.HEADER_LENGTH, dataAt, (flags & header.SYN) !== 0, into.options);
  return undefined;
}

function checksumHolds(packet: Packet): boolean {
  const length = packet.end - packet.at;
  // The mapped form's third word of an IPv4 address adds 0xffff, which is zero in one's complement.
  const pseudo =
    wordSum(packet.s0) +
    wordSum(packet.s1) +
    wordSum(packet.s2) +
    wordSum(packet.s3) +
    wordSum(packet.d0) +
    wordSum(packet.d1) +
    wordSum(packet.d2) +
    wordSum(packet.d3) +
    PROTOCOL_TCP +
    wordSum(length);
  return fold(sum(packet.view, packet.at, packet.end, pseudo)) === 0xffff;
}

function wordSum(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}
