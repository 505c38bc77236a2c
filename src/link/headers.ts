// The few header fields that cutting a super-frame or completing a checksum must know: Ethernet, IPv4 (RFC 791),
// IPv6 (RFC 8200), TCP (RFC 9293) and UDP (RFC 768). Links stand below the protocols and may not import them.

import { finish, sum, sumJoined } from '../base/checksum.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../base/ip.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN } from '../base/netif.ts';

export const ETHERNET_HEADER = 14;
/** Bytes of one IEEE 802.1Q tag. */
export const VLAN_TAG = 4;
/** The tag of IEEE 802.1ad, the outer one of two. */
const ETHERTYPE_PROVIDER_VLAN = 0x88a8;
/** More tags than two stand in no frame that a stack of ours makes or takes. */
const MOST_TAGS = 2;

/** Largest frame any device of ours carries: an IPv6 packet of the largest payload length, tagged. */
export const MAX_SUPER_FRAME = ETHERNET_HEADER + VLAN_TAG + 40 + 65_535;

const V4_LENGTH = 2;
const V4_ID = 4;
const V4_FRAGMENT = 6;
const V4_PROTOCOL = 9;
const V4_CHECKSUM = 10;
const V4_ADDRESSES = 12;
const V6_LENGTH = 4;
const V6_NEXT_HEADER = 6;
const V6_ADDRESSES = 8;
const V6_HEADER = 40;
const UDP_HEADER = 8;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;
export const TCP_SEQUENCE = 4;
export const TCP_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const URG = 0x20;
export const CWR = 0x80;

/** Extension headers that may stand before a transport header (RFC 8200 4.1). A fragment header is not among them. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION_OPTIONS = 60;
/** Eight headers of at least eight bytes: more than any sender uses, few enough to walk. */
const MOST_EXTENSIONS = 8;

/** Where the headers of an unfragmented TCP or UDP packet lie, counted from the frame's first byte. Filled by {@link readHeaders}. */
export class Headers {
  family: 4 | 6 = 4;
  network = 0;
  transport = 0;
  protocol = 0;
  /** Where the transport's payload starts, and where the IP packet ends: Ethernet padding lies beyond. */
  payload = 0;
  end = 0;

  /** Where the transport checksum lies. */
  get checksum(): number {
    return this.transport + (this.protocol === PROTOCOL_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
  }
}

/**
 * Finds the headers of a frame whose first byte is at `at`, whose headers end at or before `end`, and which is `length`
 * bytes long (its payload may lie elsewhere). False when it is not an unfragmented TCP or UDP packet of either family, is cut
 * short, or contradicts itself.
 */
export function readHeaders(view: DataView, at: number, end: number, length: number, into: Headers): boolean {
  let network = at + ETHERNET_HEADER;
  if (network > end) return false;
  let etherType = view.getUint16(network - 2);
  for (let tags = 0; etherType === ETHERTYPE_VLAN || etherType === ETHERTYPE_PROVIDER_VLAN; tags++) {
    network += VLAN_TAG;
    if (tags === MOST_TAGS || network > end) return false;
    etherType = view.getUint16(network - 2);
  }
  into.network = network - at;
  if (etherType === ETHERTYPE_IPV4) {
    if (!readV4(view, at, end, into)) return false;
  } else if (etherType === ETHERTYPE_IPV6) {
    if (!readV6(view, at, end, into)) return false;
  } else return false;
  if (into.end > length) return false;
  const transport = at + into.transport;
  if (into.protocol === PROTOCOL_UDP) into.payload = into.transport + UDP_HEADER;
  else if (into.protocol === PROTOCOL_TCP && transport + TCP_FLAGS < end) {
    const headerLength = (view.getUint8(transport + TCP_OFFSET) >>> 4) << 2;
    if (headerLength < 20) return false;
    into.payload = into.transport + headerLength;
  } else return false;
  return at + into.payload <= end && into.payload <= into.end;
}

function readV4(view: DataView, at: number, end: number, into: Headers): boolean {
  const ip = at + into.network;
  if (ip + 20 > end) return false;
  const first = view.getUint8(ip);
  const headerLength = (first & 0xf) << 2;
  if (first >>> 4 !== 4 || headerLength < 20) return false;
  // MF or an offset: a fragment's transport checksum covers bytes that are not here.
  if ((view.getUint16(ip + V4_FRAGMENT) & 0x3fff) !== 0) return false;
  into.family = 4;
  into.protocol = view.getUint8(ip + V4_PROTOCOL);
  into.transport = into.network + headerLength;
  into.end = into.network + view.getUint16(ip + V4_LENGTH);
  return true;
}

function readV6(view: DataView, at: number, end: number, into: Headers): boolean {
  const ip = at + into.network;
  if (ip + V6_HEADER > end || view.getUint8(ip) >>> 4 !== 6) return false;
  let next = view.getUint8(ip + V6_NEXT_HEADER);
  let to = ip + V6_HEADER;
  for (let n = 0; next === HOP_BY_HOP || next === ROUTING || next === DESTINATION_OPTIONS; n++) {
    if (n === MOST_EXTENSIONS || to + 8 > end) return false;
    next = view.getUint8(to);
    to += (view.getUint8(to + 1) + 1) << 3;
  }
  into.family = 6;
  into.protocol = next;
  into.transport = to - at;
  into.end = into.network + V6_HEADER + view.getUint16(ip + V6_LENGTH);
  return true;
}

/** The sum of the pseudo-header without its length (RFC 9293 3.1, RFC 8200 8.1), read from the frame at `at`. */
export function pseudoSum(view: DataView, at: number, headers: Headers): number {
  const ip = at + headers.network;
  const addresses = headers.family === 4 ? ip + V4_ADDRESSES : ip + V6_ADDRESSES;
  return sum(view, addresses, addresses + (headers.family === 4 ? 8 : 32), headers.protocol);
}

/** Writes the IP length field for a packet that ends at `end`; for IPv4 also adds `step` to the identification and sums the header. */
export function resizeIp(view: DataView, at: number, headers: Headers, end: number, step: number): void {
  const ip = at + headers.network;
  if (headers.family === 6) {
    view.setUint16(ip + V6_LENGTH, end - headers.network - V6_HEADER);
    return;
  }
  view.setUint16(ip + V4_LENGTH, end - headers.network);
  view.setUint16(ip + V4_ID, (view.getUint16(ip + V4_ID) + step) & 0xffff);
  view.setUint16(ip + V4_CHECKSUM, 0);
  view.setUint16(ip + V4_CHECKSUM, finish(sum(view, ip, at + headers.transport)));
}

/**
 * Writes the transport checksum: `before` is the sum of the pseudo-header with its length, the payload's sum is `payload`.
 * RFC 768: a UDP checksum that comes to zero goes as all ones, for zero means none.
 */
export function sealTransport(
  view: DataView,
  at: number,
  headers: Headers,
  before: number,
  payload: number,
): void {
  const field = at + headers.checksum;
  view.setUint16(field, 0);
  // Transport headers are a multiple of four bytes, so the payload starts at an even place.
  const value = finish(sum(view, at + headers.transport, at + headers.payload, before) + payload);
  view.setUint16(field, value === 0 && headers.protocol === PROTOCOL_UDP ? 0xffff : value);
}

const scratchHeaders = new Headers();

/**
 * Computes the transport checksum of a whole frame in place, whatever the field held: for a frame that came as
 * `checksumTrusted`, whose field may hold only the pseudo-header's sum. True when it wrote one. Fragments and other
 * protocols have none that is left to us, and UDP over IPv4 may go without (RFC 768).
 */
export function completeBytes(view: DataView, at: number, length: number): boolean {
  const headers = scratchHeaders;
  if (!readHeaders(view, at, at + length, length, headers)) return false;
  if (isUnsummedUdp(view, at, headers)) return false;
  const before = pseudoSum(view, at, headers) + (headers.end - headers.transport);
  sealTransport(view, at, headers, before, sum(view, at + headers.payload, at + headers.end));
  return true;
}

/** True for UDP over IPv4 sent without a checksum. A pending one is never zero: its sum holds the protocol number. */
export function isUnsummedUdp(view: DataView, at: number, headers: Headers): boolean {
  return (
    headers.protocol === PROTOCOL_UDP && headers.family === 4 && view.getUint16(at + headers.checksum) === 0
  );
}

/** True when the transport checksum of a whole frame is right, absent by right, or not a checksum we know. For tests and doubters. */
export function checksumHolds(view: DataView, at: number, length: number): boolean {
  const headers = scratchHeaders;
  if (!readHeaders(view, at, at + length, length, headers) || isUnsummedUdp(view, at, headers)) return true;
  const before = pseudoSum(view, at, headers) + (headers.end - headers.transport);
  return finish(sumJoined(view, at + headers.transport, at + headers.end, before, 0)) === 0;
}
