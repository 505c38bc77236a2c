// Frames for the tests of links, and a judge of them that shares no code with what it judges.

import { type Frame, makeFrames } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';

export interface FrameSpec {
  family?: 4 | 6;
  protocol?: 'tcp' | 'udp';
  payload: Uint8Array;
  seq?: number;
  flags?: number;
  urgent?: number;
  id?: number;
  /** Bytes of IPv4 or TCP options, a multiple of four; for IPv6, a destination options header of that many (multiple of 8). */
  ipOptions?: number;
  tcpOptions?: number;
  vlan?: boolean;
}

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

/** The sum of RFC 1071 4.1, byte by byte, with the carry folded at every step. */
export function plainSum(bytes: Uint8Array, start = 0): number {
  let total = start;
  for (let i = 0; i < bytes.length; i++) {
    total += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
    if (total > 0xffff) total = (total & 0xffff) + 1;
  }
  return total;
}

/** The headers of a super-frame (or of a frame), with the pseudo-header's sum in the checksum field, and where things lie. */
export function headerOf(spec: FrameSpec): { bytes: Uint8Array; network: number; transport: number } {
  const { family = 4, protocol = 'tcp', payload, ipOptions = 0, tcpOptions = 0, vlan = false } = spec;
  const network = vlan ? 18 : 14;
  const ipLength = (family === 4 ? 20 : 40) + ipOptions;
  const transport = network + ipLength;
  const transportLength = protocol === 'tcp' ? 20 + tcpOptions : 8;
  const bytes = new Uint8Array(transport + transportLength);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  if (vlan) view.setUint32(12, 0x8100_0005);
  view.setUint16(network - 2, family === 4 ? 0x0800 : 0x86dd);
  const below = transportLength + payload.length;
  const number = protocol === 'tcp' ? 6 : 17;
  if (family === 4) {
    view.setUint8(network, 0x40 | (ipLength / 4));
    view.setUint16(network + 2, ipLength + below);
    view.setUint16(network + 4, spec.id ?? 0xfffe);
    view.setUint16(network + 6, 0x4000);
    view.setUint8(network + 8, 64);
    view.setUint8(network + 9, number);
    bytes.set([10, 7, 0, 2, 10, 7, 0, 1], network + 12);
    bytes.fill(1, network + 20, transport); // no operation
    view.setUint16(network + 10, ~plainSum(bytes.subarray(network, transport)) & 0xffff);
  } else {
    view.setUint32(network, 0x6000_0000);
    view.setUint16(network + 4, ipOptions + below);
    view.setUint8(network + 6, ipOptions > 0 ? 60 : number);
    view.setUint8(network + 7, 64);
    bytes.set([0xfd, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], network + 8);
    bytes.set([0xfd, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], network + 24);
    if (ipOptions > 0) bytes.set([number, ipOptions / 8 - 1, 1, ipOptions - 4], network + 40);
  }
  view.setUint16(transport, 4_000);
  view.setUint16(transport + 2, 80);
  if (protocol === 'tcp') {
    view.setUint32(transport + 4, spec.seq ?? 0xffff_fe00);
    view.setUint32(transport + 8, 0x1234_5678);
    view.setUint8(transport + 12, (transportLength / 4) << 4);
    view.setUint8(transport + 13, spec.flags ?? ACK);
    view.setUint16(transport + 14, 0x7fff);
    view.setUint16(transport + 18, spec.urgent ?? 0);
    bytes.fill(1, transport + 20);
  } else view.setUint16(transport + 4, below);
  const field = transport + (protocol === 'tcp' ? 16 : 6);
  view.setUint16(field, pseudo(bytes, network, family, number, below));
  return { bytes, network, transport };
}

function pseudo(bytes: Uint8Array, network: number, family: 4 | 6, protocol: number, length: number): number {
  const addresses =
    family === 4 ? bytes.subarray(network + 12, network + 20) : bytes.subarray(network + 8, network + 40);
  return plainSum(Uint8Array.of(length >>> 8, length & 255, 0, protocol), plainSum(addresses));
}

/**
 * A frame as a stack builds it: headers, `inline` bytes of payload behind them, the rest in up to two ranges that meet
 * at `joint`; checksum pending.
 */
export function frameOf(spec: FrameSpec, gsoSize = 0, inline = 0, joint = 0): Frame {
  const { bytes, transport } = headerOf(spec);
  const { payload } = spec;
  const [frame] = makeFrames(1) as [Frame];
  const { head } = frame;
  frame.copyIn(bytes, 0, bytes.length);
  frame.copyIn(payload, 0, inline);
  frame.checksumStart = head + transport;
  frame.checksumOffset = spec.protocol === 'udp' ? 6 : 16;
  frame.gsoSize = gsoSize;
  const middle = Math.min(payload.length, Math.max(inline, joint));
  // Ranges at odd places of slabs of their own.
  attachCopy(frame, payload.subarray(inline, middle), 3);
  attachCopy(frame, payload.subarray(middle), 8);
  return frame;
}

function attachCopy(frame: Frame, bytes: Uint8Array, offset: number): void {
  const slab = new Slab(new Uint8Array(offset + bytes.length + 5));
  slab.bytes.set(bytes, offset);
  frame.attach(slab, offset, bytes.length);
}

/** The whole frame as bytes, its checksum pending still. */
export function bytesOfFrame(frame: Frame): Uint8Array {
  const bytes = new Uint8Array(frame.length);
  frame.copyTo(bytes, 0);
  return bytes;
}

/** A complete frame: the pending checksum done the plain way. */
export function wireOf(spec: FrameSpec): Uint8Array {
  const { bytes, transport } = headerOf(spec);
  const whole = new Uint8Array(bytes.length + spec.payload.length);
  whole.set(bytes);
  whole.set(spec.payload, bytes.length);
  const sum = ~plainSum(whole.subarray(transport)) & 0xffff;
  const isUdp = spec.protocol === 'udp';
  new DataView(whole.buffer).setUint16(transport + (isUdp ? 6 : 16), sum === 0 && isUdp ? 0xffff : sum);
  return whole;
}

export interface Judged {
  ipChecksumRight: boolean;
  transportChecksumRight: boolean;
  id: number;
  seq: number;
  flags: number;
  urgent: number;
  payload: Uint8Array;
}

/** Reads a complete frame the plain way. */
export function judge(bytes: Uint8Array): Judged {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const network = view.getUint16(12) === 0x8100 ? 18 : 14;
  const family = view.getUint16(network - 2) === 0x0800 ? 4 : 6;
  let transport = network + (family === 4 ? (view.getUint8(network) & 15) * 4 : 40);
  let protocol = view.getUint8(network + (family === 4 ? 9 : 6));
  const end =
    family === 4 ? network + view.getUint16(network + 2) : network + 40 + view.getUint16(network + 4);
  if (protocol === 60) {
    protocol = view.getUint8(transport);
    transport += (view.getUint8(transport + 1) + 1) * 8;
  }
  const isTcp = protocol === 6;
  const payload = transport + (isTcp ? (view.getUint8(transport + 12) >>> 4) * 4 : 8);
  const length = end - transport;
  const total = plainSum(bytes.subarray(transport, end), pseudo(bytes, network, family, protocol, length));
  return {
    ipChecksumRight:
      family === 6 ||
      plainSum(bytes.subarray(network, network + (view.getUint8(network) & 15) * 4)) === 0xffff,
    transportChecksumRight: total === 0xffff && (isTcp || view.getUint16(transport + 4) === length),
    id: family === 4 ? view.getUint16(network + 4) : 0,
    seq: isTcp ? view.getUint32(transport + 4) : 0,
    flags: isTcp ? view.getUint8(transport + 13) : 0,
    urgent: isTcp ? view.getUint16(transport + 18) : 0,
    payload: bytes.slice(payload, end),
  };
}

/** `length` bytes that look like nothing in particular. */
export function noise(length: number, seed = 1): Uint8Array {
  let s = seed;
  return Uint8Array.from({ length }, () => {
    s = (Math.imul(s, 1_103_515_245) + 12_345) >>> 0;
    return s >>> 24;
  });
}

/** All of `parts` in a row. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** True when two byte strings are equal. Much faster than a matcher that explains itself. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The same for lists of them. */
export function allSame(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((bytes, i) => same(bytes, b[i]!));
}
