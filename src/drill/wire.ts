// Packets of scripts as bytes, and the stack's bytes as values to compare: Ethernet, IPv4, TCP, UDP, ICMP.

import { type Address, readV4 } from '../base/address.ts';
import { finish, pseudoHeaderSum, sum } from '../base/checksum.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../base/ip.ts';
import { MAC_LENGTH, type Mac } from '../base/mac.ts';
import { ETHERTYPE_IPV4 } from '../base/netif.ts';
import type { Micros } from '../base/time.ts';
import * as ipv4 from '../ipv4/header.ts';
import { ICMP_HEADER_LENGTH, sealIcmp, writeIcmp } from '../ipv4/icmp-header.ts';
import * as tcp from '../tcp/header.ts';
import { AE } from './flags.ts';

const ETHERNET = 14;
const UDP_HEADER = 8;

/** The two ends of a wire, ours and the one that the script plays. */
export interface Ends {
  readonly mac: Mac;
  readonly peerMac: Mac;
  readonly local: Address;
  readonly remote: Address;
}

export type WireOption =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: number }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'ts'; readonly val: number; readonly ecr: number }
  | { readonly kind: 'fo'; readonly cookie: string; readonly experimental: boolean }
  | { readonly kind: 'unknown'; readonly text: string };

interface WireBase {
  readonly at: Micros;
  readonly trafficClass: number;
  readonly ttl: number;
  readonly source: Address;
  readonly destination: Address;
}

export interface WireTcp extends WireBase {
  readonly protocol: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly options: readonly WireOption[];
  readonly length: number;
}

export interface WireUdp extends WireBase {
  readonly protocol: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly length: number;
}

export interface WireIcmp extends WireBase {
  readonly protocol: 'icmp';
  readonly type: number;
  readonly code: number;
  /** The low half of the second word: the next-hop MTU of "fragmentation needed". */
  readonly mtu: number;
}

export interface WireOther extends WireBase {
  readonly protocol: 'other';
  readonly number: number;
}

export type WirePacket = WireTcp | WireUdp | WireIcmp | WireOther;

// ---- what the script sends

export interface TcpToSend {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly options: readonly WireOption[];
  readonly length: number;
}

/** What the IP header says. */
export interface IpToSend {
  readonly trafficClass: number;
  readonly ttl: number;
}

/** A whole frame from the peer to us that carries one segment. The payload counts up, so that bytes can be told apart. */
export function tcpFrame(ends: Ends, ip: IpToSend, s: TcpToSend): Uint8Array {
  const header = tcp.HEADER_LENGTH + optionsLength(s.options);
  const { bytes, view, at } = frame(ends, ip, PROTOCOL_TCP, header + s.length);
  writeTcp(view, at, s);
  fillPayload(bytes, at + header, s.seq);
  view.setUint16(
    at + tcp.CHECKSUM_AT,
    transportSum(view, at, bytes.length, ends.remote, ends.local, PROTOCOL_TCP),
  );
  return bytes;
}

export function udpFrame(
  ends: Ends,
  ip: IpToSend,
  sourcePort: number,
  destinationPort: number,
  length: number,
): Uint8Array {
  const { bytes, view, at } = frame(ends, ip, PROTOCOL_UDP, UDP_HEADER + length);
  writeUdp(view, at, sourcePort, destinationPort, length);
  fillPayload(bytes, at + UDP_HEADER, 0);
  view.setUint16(
    at + 6,
    transportSum(view, at, bytes.length, ends.remote, ends.local, PROTOCOL_UDP) || 0xffff,
  );
  return bytes;
}

/** What an ICMP error quotes: a packet that we are said to have sent. */
export type Quoted =
  | { readonly protocol: 'tcp'; readonly segment: TcpToSend }
  | {
      readonly protocol: 'udp';
      readonly sourcePort: number;
      readonly destinationPort: number;
      readonly length: number;
    };

/** An ICMP error from the peer (or a router on the way) about a packet of ours. `rest` is the second word of its header. */
export function icmpFrame(
  ends: Ends,
  ip: IpToSend,
  type: number,
  code: number,
  rest: number,
  quoted: Quoted | undefined,
): Uint8Array {
  const inner = quoted === undefined ? 0 : quoted.protocol === 'tcp' ? tcp.HEADER_LENGTH : UDP_HEADER;
  const quote = inner === 0 ? 0 : ipv4.HEADER_LENGTH + inner;
  const { bytes, view, at } = frame(ends, ip, PROTOCOL_ICMP, ICMP_HEADER_LENGTH + quote);
  writeIcmp(view, at, type, code, rest);
  if (quoted !== undefined) {
    const ipAt = at + ICMP_HEADER_LENGTH;
    const payload = quoted.protocol === 'tcp' ? quoted.segment.length : quoted.length;
    const protocol = quoted.protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
    const total = ipv4.HEADER_LENGTH + inner + payload;
    writeIp(view, ipAt, total, protocol, { trafficClass: 0, ttl: 63 }, ends.local, ends.remote);
    const to = ipAt + ipv4.HEADER_LENGTH;
    if (quoted.protocol === 'tcp') writeTcp(view, to, { ...quoted.segment, options: [] });
    else writeUdp(view, to, quoted.sourcePort, quoted.destinationPort, quoted.length);
  }
  sealIcmp(view, at, bytes.length);
  return bytes;
}

function frame(ends: Ends, ip: IpToSend, protocol: number, length: number) {
  const bytes = new Uint8Array(ETHERNET + ipv4.HEADER_LENGTH + length);
  const view = new DataView(bytes.buffer);
  bytes.set(ends.mac, 0);
  bytes.set(ends.peerMac, MAC_LENGTH);
  view.setUint16(2 * MAC_LENGTH, ETHERTYPE_IPV4);
  writeIp(view, ETHERNET, ipv4.HEADER_LENGTH + length, protocol, ip, ends.remote, ends.local);
  return { bytes, view, at: ETHERNET + ipv4.HEADER_LENGTH };
}

function writeIp(
  view: DataView,
  at: number,
  total: number,
  protocol: number,
  ip: IpToSend,
  source: Address,
  destination: Address,
): void {
  view.setUint8(at, 0x45);
  view.setUint8(at + ipv4.TYPE_OF_SERVICE, ip.trafficClass);
  view.setUint16(at + ipv4.TOTAL_LENGTH, total);
  view.setUint16(at + ipv4.FLAGS_OFFSET, ipv4.DONT_FRAGMENT);
  view.setUint8(at + ipv4.TIME_TO_LIVE, ip.ttl);
  view.setUint8(at + ipv4.PROTOCOL, protocol);
  view.setInt32(at + ipv4.SOURCE, source.w3);
  view.setInt32(at + ipv4.DESTINATION, destination.w3);
  view.setUint16(at + ipv4.HEADER_CHECKSUM, finish(sum(view, at, at + ipv4.HEADER_LENGTH)));
}

function writeTcp(view: DataView, at: number, s: TcpToSend): void {
  const header = tcp.HEADER_LENGTH + optionsLength(s.options);
  const { sourcePort, destinationPort, seq, ack, flags, window, urgent } = s;
  tcp.writeHeader(view, at, sourcePort, destinationPort, seq, ack, header, flags & 0xff, window);
  if ((flags & AE) !== 0) view.setUint8(at + tcp.DATA_OFFSET_AT, view.getUint8(at + tcp.DATA_OFFSET_AT) | 1);
  tcp.setUrgentPointer(view, at, urgent);
  writeOptions(view, at + tcp.HEADER_LENGTH, s.options);
}

function writeUdp(view: DataView, at: number, source: number, destination: number, length: number): void {
  view.setUint16(at, source);
  view.setUint16(at + 2, destination);
  view.setUint16(at + 4, UDP_HEADER + length);
}

function fillPayload(bytes: Uint8Array, from: number, seq: number): void {
  for (let i = from; i < bytes.length; i++) bytes[i] = seq + i - from;
}

function transportSum(
  view: DataView,
  at: number,
  end: number,
  source: Address,
  destination: Address,
  protocol: number,
): number {
  return finish(sum(view, at, end, pseudoHeaderSum(source, destination, protocol, end - at)));
}

// ---- TCP options

const FAST_OPEN = 34;
const EXPERIMENT = 254;
/** RFC 7413 appendix A's experiment number. */
const FAST_OPEN_MAGIC = 0xf989;

function sizeOf(o: WireOption): number {
  switch (o.kind) {
    case 'nop':
    case 'eol':
      return 1;
    case 'sackOK':
      return 2;
    case 'mss':
      return 4;
    case 'wscale':
      return 3;
    case 'sack':
      return 2 + 8 * o.blocks.length;
    case 'ts':
      return 10;
    case 'fo':
      return (o.experimental ? 4 : 2) + o.cookie.length / 2;
    case 'unknown':
      return 0;
  }
}

/** Bytes of the options, padded to whole words. */
export function optionsLength(options: readonly WireOption[]): number {
  let n = 0;
  for (const o of options) n += sizeOf(o);
  return (n + 3) & ~3;
}

function writeOptions(view: DataView, start: number, options: readonly WireOption[]): void {
  let at = start;
  for (const o of options) {
    writeOption(view, at, o);
    at += sizeOf(o);
  }
}

function writeOption(view: DataView, at: number, o: WireOption): void {
  const head = (kind: number): void => view.setUint16(at, (kind << 8) | sizeOf(o));
  switch (o.kind) {
    case 'nop':
      view.setUint8(at, 1);
      return;
    case 'sackOK':
      head(4);
      return;
    case 'mss':
      head(2);
      view.setUint16(at + 2, o.value);
      return;
    case 'wscale':
      head(3);
      view.setUint8(at + 2, o.value);
      return;
    case 'sack':
      head(5);
      o.blocks.forEach(([left, right], i) => {
        view.setUint32(at + 2 + 8 * i, left);
        view.setUint32(at + 6 + 8 * i, right);
      });
      return;
    case 'ts':
      head(8);
      view.setUint32(at + 2, o.val);
      view.setUint32(at + 6, o.ecr);
      return;
    case 'fo': {
      head(o.experimental ? EXPERIMENT : FAST_OPEN);
      if (o.experimental) view.setUint16(at + 2, FAST_OPEN_MAGIC);
      const from = at + (o.experimental ? 4 : 2);
      for (let i = 0; 2 * i < o.cookie.length; i++) {
        view.setUint8(from + i, Number.parseInt(o.cookie.slice(2 * i, 2 * i + 2), 16));
      }
    }
  }
}

function readOptions(view: DataView, from: number, end: number): WireOption[] {
  const list: WireOption[] = [];
  for (let at = from; at < end; ) {
    const kind = view.getUint8(at);
    if (kind <= 1) {
      list.push({ kind: kind === 0 ? 'eol' : 'nop' });
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) {
      list.push({ kind: 'unknown', text: `broken option ${kind}` });
      break;
    }
    list.push(readOption(view, at, kind, length));
    at += length;
  }
  return list;
}

function readOption(view: DataView, at: number, kind: number, length: number): WireOption {
  if (kind === 2 && length === 4) return { kind: 'mss', value: view.getUint16(at + 2) };
  if (kind === 3 && length === 3) return { kind: 'wscale', value: view.getUint8(at + 2) };
  if (kind === 4 && length === 2) return { kind: 'sackOK' };
  if (kind === 8 && length === 10) {
    return { kind: 'ts', val: view.getUint32(at + 2), ecr: view.getUint32(at + 6) };
  }
  if (kind === 5 && length % 8 === 2) {
    const blocks: [number, number][] = [];
    for (let i = at + 2; i < at + length; i += 8) blocks.push([view.getUint32(i), view.getUint32(i + 4)]);
    return { kind: 'sack', blocks };
  }
  if (kind === FAST_OPEN) return { kind: 'fo', cookie: hex(view, at + 2, at + length), experimental: false };
  if (kind === EXPERIMENT && length >= 4 && view.getUint16(at + 2) === FAST_OPEN_MAGIC) {
    return { kind: 'fo', cookie: hex(view, at + 4, at + length), experimental: true };
  }
  return { kind: 'unknown', text: `option ${kind} ${hex(view, at + 2, at + length)}`.trim() };
}

function hex(view: DataView, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) text += view.getUint8(i).toString(16).padStart(2, '0');
  return text;
}

// ---- what the stack sent

/** Reads a frame of the stack's; undefined when it is no IPv4 packet. The stack is trusted to send whole headers. */
export function readFrame(bytes: Uint8Array, at: Micros): WirePacket | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(2 * MAC_LENGTH) !== ETHERTYPE_IPV4) return undefined;
  const ip = ETHERNET;
  const end = ip + ipv4.totalLength(view, ip);
  const from = ip + ipv4.headerLength(view, ip);
  const base: WireBase = {
    at,
    trafficClass: ipv4.typeOfService(view, ip),
    ttl: ipv4.timeToLive(view, ip),
    source: readV4(view, ip + ipv4.SOURCE),
    destination: readV4(view, ip + ipv4.DESTINATION),
  };
  switch (ipv4.protocol(view, ip)) {
    case PROTOCOL_TCP:
      return readTcp(base, view, from, end);
    case PROTOCOL_UDP:
      return {
        ...base,
        protocol: 'udp',
        sourcePort: view.getUint16(from),
        destinationPort: view.getUint16(from + 2),
        length: view.getUint16(from + 4) - UDP_HEADER,
      };
    case PROTOCOL_ICMP:
      return {
        ...base,
        protocol: 'icmp',
        type: view.getUint8(from),
        code: view.getUint8(from + 1),
        mtu: view.getUint16(from + 6),
      };
  }
  return { ...base, protocol: 'other', number: ipv4.protocol(view, ip) };
}

function readTcp(base: WireBase, view: DataView, at: number, end: number): WireTcp {
  const header = tcp.headerLength(view, at);
  const ae = (view.getUint8(at + tcp.DATA_OFFSET_AT) & 1) === 0 ? 0 : AE;
  return {
    ...base,
    protocol: 'tcp',
    sourcePort: tcp.sourcePort(view, at),
    destinationPort: tcp.destinationPort(view, at),
    seq: tcp.sequenceNumber(view, at),
    ack: tcp.acknowledgmentNumber(view, at),
    flags: tcp.flags(view, at) | ae,
    window: tcp.window(view, at),
    urgent: tcp.urgentPointer(view, at),
    options: readOptions(view, at + tcp.HEADER_LENGTH, at + header),
    length: end - at - header,
  };
}
