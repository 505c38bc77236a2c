// The header tables as buffer-layout structures: for who wants to decode a header by name, and an independent second
// opinion on every hand-written getter of the codecs.

import { bits, Layout, struct, UIntBE } from 'buffer-layout';
import { NTP } from './application.ts';
import { ARP } from './arp.ts';
import { DHCP } from './dhcp.ts';
import { DNS } from './dns.ts';
import { ETHERNET, VLAN } from './ethernet.ts';
import type { FieldSpec, HeaderTable } from './field.ts';
import { ICMP, ICMP_ECHO } from './icmp.ts';
import { ICMPV6 } from './icmpv6.ts';
import { IGMP } from './igmp.ts';
import { IPV4 } from './ipv4.ts';
import { FRAGMENT, IPV6 } from './ipv6.ts';
import { TCP } from './tcp.ts';
import { UDP } from './udp.ts';

/** A decoded header: numbers as they stand on the wire, and addresses as bytes, by the field's Wireshark name. */
export type DecodedHeader = Record<string, number | Uint8Array>;

/** A fixed header that buffer-layout can read and write. */
export interface HeaderLayout {
  readonly name: string;
  /** Bytes of the header. */
  readonly span: number;
  /** Reads the header at `offset`. Throws RangeError when it does not fit: look first. */
  decode(bytes: Uint8Array, offset?: number): DecodedHeader;
  /** Writes the fields that `header` has at `offset`; returns how many bytes it took. */
  encode(header: DecodedHeader, bytes: Uint8Array, offset?: number): number;
}

/** buffer-layout calls these methods of Node's Buffer; with them it runs where there is none. */
class Octets extends Uint8Array {
  readUIntBE(at: number, size: number): number {
    if (at + size > this.length) throw new RangeError(`${size} bytes at ${at} of ${this.length}`);
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + this[at + i]!;
    return value;
  }

  writeUIntBE(value: number, at: number, size: number): void {
    if (at + size > this.length) throw new RangeError(`${size} bytes at ${at} of ${this.length}`);
    let rest = value;
    for (let i = size - 1; i >= 0; i--) {
      this[at + i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }
}

function octets(bytes: Uint8Array): Octets {
  return new Octets(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}

/** A run of bytes, as a view: buffer-layout's own blob wants Node's Buffer to write one. */
class Run extends Layout<Uint8Array> {
  override decode(bytes: Uint8Array, offset = 0): Uint8Array {
    if (offset + this.span > bytes.length)
      throw new RangeError(`${this.span} bytes at ${offset} of ${bytes.length}`);
    return new Uint8Array(bytes.buffer, bytes.byteOffset + offset, this.span);
  }

  override encode(source: Uint8Array, bytes: Uint8Array, offset = 0): number {
    bytes.set(source.subarray(0, this.span), offset);
    return this.span;
  }
}

/** Makes a structure of a table. Flags and sub-fields take the place of the word that holds them. */
export function layoutOf(table: HeaderTable): HeaderLayout {
  const leaves = leavesOf(table.fields);
  const members: Layout[] = [];
  const words: { name: string; fields: readonly FieldSpec[] }[] = [];
  for (let at = 0; at < table.size; ) {
    const here = leaves.filter((leaf) => leaf.at === at);
    const first = here[0];
    // A gap is reserved by the RFC: skip it, byte by byte.
    const size = first === undefined ? 1 : Math.max(...here.map((leaf) => leaf.size));
    if (first === undefined) members.push(new Run(1, undefined));
    else if (first.width === undefined && !isNumber(first)) members.push(new Run(size, first.name));
    else if (first.width === undefined && size <= 6) members.push(new UIntBE(size, first.name));
    else {
      const name = `word ${at}`;
      members.push(bitsOf(name, size, leaves, at));
      words.push({ name, fields: here });
    }
    at += size;
  }
  const structure = struct(members);
  return {
    name: table.name,
    span: table.size,
    decode(bytes, offset = 0) {
      return flatten(structure.decode(octets(bytes), offset));
    },
    encode(header, bytes, offset = 0) {
      const nested: Record<string, unknown> = { ...header };
      for (const { name } of words) nested[name] = header;
      return structure.encode(nested, octets(bytes), offset);
    },
  };
}

function isNumber(spec: FieldSpec): boolean {
  return spec.kind === 'dec' || spec.kind === 'hex' || spec.kind === 'flag';
}

/** The fields that tile the header: words that have parts are replaced by them. */
function leavesOf(fields: readonly FieldSpec[]): FieldSpec[] {
  return fields.flatMap((spec) => (spec.parts === undefined ? [spec] : leavesOf(spec.parts)));
}

/**
 * The bits of a word. Fields that are described within a smaller word are moved into it: IPv4's three flags are bits of
 * the octet 6, its fragment offset of the 16 bits from there.
 */
function bitsOf(name: string, size: number, leaves: readonly FieldSpec[], at: number): Layout {
  const word = bits(new UIntBE(size), true, name);
  const inside = leaves
    .filter((leaf) => leaf.at >= at && leaf.at + leaf.size <= at + size)
    .map((leaf) => {
      const shift = (leaf.shift ?? 0) + 8 * (at + size - leaf.at - leaf.size);
      return { name: leaf.name, shift, width: leaf.width ?? leaf.size * 8 };
    })
    .sort((a, b) => b.shift - a.shift);
  let next = size * 8;
  for (const field of inside) {
    const gap = next - field.shift - field.width;
    if (gap > 0) word.addField(gap);
    word.addField(field.width, field.name);
    next = field.shift;
  }
  return word;
}

function flatten(decoded: Record<string, unknown>): DecodedHeader {
  const header: DecodedHeader = {};
  for (const [name, value] of Object.entries(decoded)) {
    if (typeof value === 'number' || value instanceof Uint8Array) header[name] = value;
    else Object.assign(header, value);
  }
  return header;
}

export const ETHERNET_LAYOUT = layoutOf(ETHERNET);
export const VLAN_LAYOUT = layoutOf(VLAN);
export const ARP_LAYOUT = layoutOf(ARP);
export const IPV4_LAYOUT = layoutOf(IPV4);
export const IPV6_LAYOUT = layoutOf(IPV6);
export const IPV6_FRAGMENT_LAYOUT = layoutOf(FRAGMENT);
export const ICMP_LAYOUT = layoutOf(ICMP);
export const ICMP_ECHO_LAYOUT = layoutOf(ICMP_ECHO);
export const ICMPV6_LAYOUT = layoutOf(ICMPV6);
export const IGMP_LAYOUT = layoutOf(IGMP);
export const UDP_LAYOUT = layoutOf(UDP);
export const TCP_LAYOUT = layoutOf(TCP);
export const DHCP_LAYOUT = layoutOf(DHCP);
export const DNS_LAYOUT = layoutOf(DNS);
export const NTP_LAYOUT = layoutOf(NTP);

const option = (name: string, label: string, size: number, fields: readonly FieldSpec[] = []): HeaderLayout =>
  layoutOf({ name, label, size, fields: [KIND, ...(size > 1 ? [LENGTH] : []), ...fields] });

const KIND: FieldSpec = { name: 'tcp.option_kind', label: 'Kind', kind: 'dec', at: 0, size: 1 };
const LENGTH: FieldSpec = { name: 'tcp.option_len', label: 'Length', kind: 'dec', at: 1, size: 1 };
const number = (name: string, at: number, size: number): FieldSpec => ({
  name,
  label: name,
  kind: 'dec',
  at,
  size,
});

/** TCP options of fixed length, by kind (RFC 9293 3.2, RFC 7323 2.2 and 3.2, RFC 2018 2, RFC 5482 3). */
export const TCP_OPTION_LAYOUTS: Readonly<Record<number, HeaderLayout>> = {
  0: option('tcp.options.eol', 'End of Option List', 1),
  1: option('tcp.options.nop', 'No-Operation', 1),
  2: option('tcp.options.mss', 'Maximum segment size', 4, [number('tcp.options.mss_val', 2, 2)]),
  3: option('tcp.options.wscale', 'Window scale', 3, [number('tcp.options.wscale.shift', 2, 1)]),
  4: option('tcp.options.sack_perm', 'SACK permitted', 2),
  8: option('tcp.options.timestamp', 'Timestamps', 10, [
    number('tcp.options.timestamp.tsval', 2, 4),
    number('tcp.options.timestamp.tsecr', 6, 4),
  ]),
  28: option('tcp.options.user_to', 'User Timeout Option', 4, [
    { ...number('tcp.options.user_to_granularity', 2, 2), shift: 15, width: 1 },
    { ...number('tcp.options.user_to_val', 2, 2), shift: 0, width: 15 },
  ]),
};

/** One block of a SACK option (RFC 2018 3): left and right edge. */
export const SACK_BLOCK_LAYOUT = layoutOf({
  name: 'tcp.options.sack',
  label: 'SACK block',
  size: 8,
  fields: [number('tcp.options.sack_le', 0, 4), number('tcp.options.sack_re', 4, 4)],
});
