// Frames as an attacker builds them: every field can lie. Written apart from the codecs of the stack, so that one cannot hide
// the other's mistakes.

export type Bytes = Uint8Array<ArrayBuffer>;

/** An IPv4 address as a signed word. */
export function word(text: string): number {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
  return (a << 24) | (b << 16) | (c << 8) | d;
}

export const BROADCAST = Uint8Array.of(255, 255, 255, 255, 255, 255);

export function mac(last: number): Bytes {
  return Uint8Array.of(2, 0, 0, 0, 0, last);
}

export function bytes(length: number, value?: (i: number) => number): Bytes {
  const b = new Uint8Array(length);
  if (value === undefined) for (let i = 0; i < length; i++) b[i] = i * 7 + 3;
  else for (let i = 0; i < length; i++) b[i] = value(i);
  return b;
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function viewOf(b: Uint8Array): DataView {
  return new DataView(b.buffer, b.byteOffset, b.byteLength);
}

/** The Internet checksum of [from, to) (RFC 1071), the plain way; over whole data with its checksum it gives 0. */
export function checksum(b: Uint8Array, from: number, to: number, start = 0): number {
  let total = start;
  for (let i = from; i < to; i += 2) total += (b[i]! << 8) | (i + 1 < to ? b[i + 1]! : 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return ~total & 0xffff;
}

/** The sum of the pseudo-header for `length` bytes of `protocol`. */
export function pseudo(source: number, destination: number, protocol: number, length: number): number {
  const half = (w: number) => (w >>> 16) + (w & 0xffff);
  return half(source) + half(destination) + protocol + length;
}

export interface Ethernet {
  to: Uint8Array;
  from: Uint8Array;
  type?: number;
  /** An 802.1Q tag with this VLAN id. */
  vlan?: number | undefined;
}

export function ethernet({ to, from, type = 0x0800, vlan }: Ethernet, payload: Uint8Array): Bytes {
  const tag = vlan === undefined ? [] : [0x81, 0x00, vlan >> 8, vlan & 255];
  return concat(
    to.subarray(0, 6),
    from.subarray(0, 6),
    Uint8Array.of(...tag, type >> 8, type & 255),
    payload,
  );
}

export interface Ip {
  source: number;
  destination: number;
  protocol: number;
  version?: number;
  /** In words; the real one by default. */
  ihl?: number;
  tos?: number;
  /** Total length; the real one by default. */
  total?: number;
  id?: number;
  /** Flags and offset as they stand: 0x4000 DF, 0x2000 MF, offset in eights. */
  fragment?: number;
  ttl?: number;
  checksum?: number;
  options?: Uint8Array;
}

export function ipv4(ip: Ip, payload: Uint8Array): Bytes {
  const options = ip.options ?? new Uint8Array(0);
  const size = 20 + ((options.length + 3) & ~3);
  const b = new Uint8Array(size + payload.length);
  const v = viewOf(b);
  b[0] = ((ip.version ?? 4) << 4) | (ip.ihl ?? size >> 2);
  b[1] = ip.tos ?? 0;
  v.setUint16(2, ip.total ?? b.length);
  v.setUint16(4, ip.id ?? 0);
  v.setUint16(6, ip.fragment ?? 0);
  b[8] = ip.ttl ?? 64;
  b[9] = ip.protocol;
  v.setInt32(12, ip.source);
  v.setInt32(16, ip.destination);
  b.set(options, 20);
  b.set(payload, size);
  // Right over what the header claims to be, so that the next check is reached.
  const claimed = Math.min(b.length, Math.max(20, (b[0] & 15) * 4));
  v.setUint16(10, ip.checksum ?? checksum(b, 0, claimed));
  return b;
}

export interface Udp {
  source: number;
  destination: number;
  length?: number;
  /** `undefined` the right one, 0 none. */
  checksum?: number;
}

export function udp(between: { source: number; destination: number }, u: Udp, payload: Uint8Array): Bytes {
  const b = concat(new Uint8Array(8), payload);
  const v = viewOf(b);
  v.setUint16(0, u.source);
  v.setUint16(2, u.destination);
  v.setUint16(4, u.length ?? b.length);
  const covered = Math.max(8, Math.min(b.length, u.length ?? b.length));
  const sum = checksum(b, 0, covered, pseudo(between.source, between.destination, 17, u.length ?? b.length));
  v.setUint16(6, u.checksum ?? (sum === 0 ? 0xffff : sum));
  return b;
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;

export interface Tcp {
  source: number;
  destination: number;
  seq?: number;
  ack?: number;
  flags: number;
  window?: number;
  urgent?: number;
  options?: Uint8Array;
  /** In words; the real one by default. */
  offset?: number;
  reserved?: number;
  checksum?: number;
}

export function tcp(
  between: { source: number; destination: number },
  t: Tcp,
  payload: Uint8Array = new Uint8Array(0),
): Bytes {
  const options = t.options ?? new Uint8Array(0);
  const size = 20 + ((options.length + 3) & ~3);
  const b = new Uint8Array(size + payload.length);
  const v = viewOf(b);
  v.setUint16(0, t.source);
  v.setUint16(2, t.destination);
  v.setUint32(4, (t.seq ?? 0) >>> 0);
  v.setUint32(8, (t.ack ?? 0) >>> 0);
  b[12] = ((t.offset ?? size >> 2) << 4) | (t.reserved ?? 0);
  b[13] = t.flags;
  v.setUint16(14, t.window ?? 65_535);
  v.setUint16(18, t.urgent ?? 0);
  b.set(options, 20);
  b.set(payload, size);
  v.setUint16(
    16,
    t.checksum ?? checksum(b, 0, b.length, pseudo(between.source, between.destination, 6, b.length)),
  );
  return b;
}

export function icmp(type: number, code: number, rest: number, payload: Uint8Array, sum?: number): Bytes {
  const b = concat(new Uint8Array(8), payload);
  const v = viewOf(b);
  b[0] = type;
  b[1] = code;
  v.setUint32(4, rest >>> 0);
  v.setUint16(2, sum ?? checksum(b, 0, b.length));
  return b;
}

export interface Arp {
  op: number;
  sha: Uint8Array;
  spa: number;
  tha?: Uint8Array;
  tpa: number;
  hrd?: number;
  pro?: number;
  hln?: number;
  pln?: number;
}

/** The 28 bytes. */
export function arp(a: Arp): Bytes {
  const b = new Uint8Array(28);
  const v = viewOf(b);
  v.setUint16(0, a.hrd ?? 1);
  v.setUint16(2, a.pro ?? 0x0800);
  b[4] = a.hln ?? 6;
  b[5] = a.pln ?? 4;
  v.setUint16(6, a.op);
  b.set(a.sha, 8);
  v.setInt32(14, a.spa);
  if (a.tha !== undefined) b.set(a.tha, 18);
  v.setInt32(24, a.tpa);
  return b;
}

/** Makes all checksums of an IPv4 frame right, as far as its lengths let them be found: what a mutation broke, but for them. */
export function mend(frame: Uint8Array): void {
  if (frame.length < 34) return;
  const v = viewOf(frame);
  let at = 14;
  if (v.getUint16(12) === 0x8100) at = 18;
  if (v.getUint16(at - 2) !== 0x0800) return;
  const ihl = (frame[at]! & 15) * 4;
  if (ihl < 20 || at + ihl > frame.length) return;
  v.setUint16(at + 10, 0);
  v.setUint16(at + 10, checksum(frame, at, at + ihl));
  const end = at + v.getUint16(at + 2);
  const from = at + ihl;
  const length = end - from;
  if (end > frame.length || length < 8 || (v.getUint16(at + 6) & 0x3fff) !== 0) return;
  const protocol = frame[at + 9]!;
  const field = protocol === 6 ? 16 : protocol === 17 ? 6 : protocol === 1 || protocol === 2 ? 2 : -1;
  if (field < 0 || field + 2 > length) return;
  let covered = length;
  if (protocol === 17) covered = Math.max(8, Math.min(length, v.getUint16(from + 4)));
  const start =
    protocol === 6 || protocol === 17
      ? pseudo(v.getInt32(at + 12), v.getInt32(at + 16), protocol, covered)
      : 0;
  v.setUint16(from + field, 0);
  const sum = checksum(frame, from, from + covered, start);
  v.setUint16(from + field, sum === 0 && protocol === 17 ? 0xffff : sum);
}
