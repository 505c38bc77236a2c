// IP addresses of either family as one immutable value of four 32-bit words (RFC 791, RFC 4291).
//
// An IPv4 address a.b.c.d is held as the IPv4-mapped ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so that one TCP and
// one UDP serve both families and compare addresses with four integer compares. Words are *signed* 32-bit
// integers: V8 keeps those unboxed, and equality is all that is asked of them.

/** The third word of every IPv4 address in mapped form. */
const V4_MARK = 0x0000ffff;

/** Address family, as in `AF_INET` and `AF_INET6`. */
export type Family = 4 | 6;

/** An IPv4 or IPv6 address. Immutable; compare with {@link Address.equals}, never with `===`. */
export class Address {
  /** 4 or 6. An IPv4-mapped IPv6 address is family 4. */
  readonly family: Family;
  /** Words in network order, signed 32-bit. For IPv4: 0, 0, 0xffff, the address. */
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  /** Interface index of a link-local IPv6 address (RFC 4007), 0 when it has no zone. */
  readonly zone: number;

  constructor(w0: number, w1: number, w2: number, w3: number, zone = 0) {
    this.w0 = w0 | 0;
    this.w1 = w1 | 0;
    this.w2 = w2 | 0;
    this.w3 = w3 | 0;
    this.zone = zone;
    this.family = (this.w0 | this.w1) === 0 && this.w2 === V4_MARK ? 4 : 6;
  }

  equals(other: Address): boolean {
    return (
      this.w3 === other.w3 &&
      this.w2 === other.w2 &&
      this.w1 === other.w1 &&
      this.w0 === other.w0 &&
      this.zone === other.zone
    );
  }

  /** True for 0.0.0.0 and `::`. */
  get isUnspecified(): boolean {
    return this.w3 === 0 && (this.family === 4 || (this.w0 | this.w1 | this.w2) === 0);
  }

  /** True for 127.0.0.0/8 and `::1`. */
  get isLoopback(): boolean {
    return this.family === 4 ? this.w3 >>> 24 === 127 : (this.w0 | this.w1 | this.w2) === 0 && this.w3 === 1;
  }

  /** True for 224.0.0.0/4 and ff00::/8. */
  get isMulticast(): boolean {
    return this.family === 4 ? this.w3 >>> 28 === 0xe : this.w0 >>> 24 === 0xff;
  }

  /** True for 255.255.255.255 (RFC 919). Subnet broadcasts depend on the interface and are not seen here. */
  get isLimitedBroadcast(): boolean {
    return this.family === 4 && this.w3 === -1;
  }

  /** True for 169.254.0.0/16 (RFC 3927) and fe80::/10. */
  get isLinkLocal(): boolean {
    return this.family === 4 ? this.w3 >>> 16 === 0xa9fe : this.w0 >>> 22 === 0x3fa;
  }

  /** True when the first `bits` bits (counted in the address's own family) equal those of `prefix`. */
  inPrefix(prefix: Address, bits: number): boolean {
    if (prefix.family !== this.family) return false;
    if (this.family === 4) return sameBits(this.w3, prefix.w3, bits);
    return (
      sameBits(this.w0, prefix.w0, bits) &&
      sameBits(this.w1, prefix.w1, bits - 32) &&
      sameBits(this.w2, prefix.w2, bits - 64) &&
      sameBits(this.w3, prefix.w3, bits - 96)
    );
  }

  /** Dotted quad, or the canonical text of RFC 5952; `%zone` is appended when the address has one. */
  toString(): string {
    if (this.family === 4) return formatV4(this.w3);
    const text = formatV6(this.w0, this.w1, this.w2, this.w3);
    return this.zone === 0 ? text : `${text}%${this.zone}`;
  }
}

function sameBits(a: number, b: number, bits: number): boolean {
  if (bits <= 0) return true;
  if (bits >= 32) return a === b;
  return (a ^ b) >>> (32 - bits) === 0;
}

/** The IPv4 address whose 32 bits are `word` (signed or unsigned). */
export function v4(word: number): Address {
  return new Address(0, 0, V4_MARK, word);
}

export const ANY_V4 = v4(0);
export const BROADCAST_V4 = v4(-1);
export const LOOPBACK_V4 = v4(0x7f000001);
export const ANY_V6 = new Address(0, 0, 0, 0);
export const LOOPBACK_V6 = new Address(0, 0, 0, 1);

/** Reads the IPv4 address at `at`; the caller has checked that 4 bytes are there. */
export function readV4(view: DataView, at: number): Address {
  return new Address(0, 0, V4_MARK, view.getInt32(at));
}

/** Reads the IPv6 address at `at`; the caller has checked that 16 bytes are there. */
export function readV6(view: DataView, at: number, zone = 0): Address {
  return new Address(
    view.getInt32(at),
    view.getInt32(at + 4),
    view.getInt32(at + 8),
    view.getInt32(at + 12),
    zone,
  );
}

/** Writes `address` at `at`: 4 bytes for family 4, 16 bytes for family 6. */
export function writeAddress(view: DataView, at: number, address: Address): void {
  if (address.family === 4) {
    view.setInt32(at, address.w3);
    return;
  }
  view.setInt32(at, address.w0);
  view.setInt32(at + 4, address.w1);
  view.setInt32(at + 8, address.w2);
  view.setInt32(at + 12, address.w3);
}

/** An address with a prefix length, as in `10.7.0.2/24`. */
export interface Cidr {
  readonly address: Address;
  readonly prefixLength: number;
}

/** Parses `10.7.0.2`, `fe80::1`, `fe80::1%3` or `::ffff:1.2.3.4`; `undefined` when it is no address. */
export function parseAddress(text: string): Address | undefined {
  if (!text.includes(':')) {
    const word = parseV4(text);
    return word === undefined ? undefined : v4(word);
  }
  const percent = text.indexOf('%');
  if (percent < 0) return parseV6(text, 0);
  const zone = text.slice(percent + 1);
  return /^\d{1,9}$/.test(zone) ? parseV6(text.slice(0, percent), Number(zone)) : undefined;
}

/** Parses `address/prefix`; without a prefix the whole address is meant (/32 or /128). */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const most = address.family === 4 ? 32 : 128;
  if (slash < 0) return { address, prefixLength: most };
  const digits = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(digits) || Number(digits) > most) return undefined;
  return { address, prefixLength: Number(digits) };
}

/** The netmask of an IPv4 prefix as a signed word: 24 → 255.255.255.0. */
export function maskWord(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (-1 << (32 - prefixLength)) | 0;
}

/** The directed broadcast of an IPv4 prefix; `undefined` for /31 and /32, which have none (RFC 3021). */
export function subnetBroadcast({ address, prefixLength }: Cidr): Address | undefined {
  if (address.family !== 4 || prefixLength >= 31) return undefined;
  return v4(address.w3 | ~maskWord(prefixLength));
}

function formatV4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups becomes `::`. */
function formatV6(...words: [number, number, number, number]): string {
  const groups = words.flatMap((w) => [w >>> 16, w & 0xffff]);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    if (n > 0) i += n - 1;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(':');
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestLength, 8)}`;
}

function parseV4(text: string): number | undefined {
  // Strict dotted quad: no octal, no short forms, as `inet_pton` and RFC 6943 3.1.1 ask.
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    word = (word << 8) | Number(part);
  }
  return word;
}

function parseV6(text: string, zone: number): Address | undefined {
  let head = text;
  // The last 32 bits may be written as a dotted quad (RFC 4291 2.2 form 3).
  const lastColon = head.lastIndexOf(':');
  if (head.includes('.')) {
    const word = parseV4(head.slice(lastColon + 1));
    if (word === undefined) return undefined;
    head = `${head.slice(0, lastColon + 1)}${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
  }
  const halves = head.split('::');
  if (halves.length > 2) return undefined;
  const left = groupsOf(halves[0] ?? '');
  const right = halves.length === 2 ? groupsOf(halves[1] ?? '') : [];
  if (left === undefined || right === undefined) return undefined;
  const missing = 8 - left.length - right.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const g = [...left, ...new Array<number>(missing).fill(0), ...right];
  const word = (i: number) => ((g[i] ?? 0) << 16) | (g[i + 1] ?? 0);
  return new Address(word(0), word(2), word(4), word(6), zone);
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  for (const part of text.split(':')) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    groups.push(Number.parseInt(part, 16));
  }
  return groups;
}
