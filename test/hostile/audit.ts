// The referee: looks at every frame the stack sends, in itself and as an answer to the frame before it, and says what is
// against the RFCs. It shares no code with the stack.

import { ACK, checksum, FIN, pseudo, RST, SYN, viewOf } from './craft.ts';

/** Who we are, for the referee. */
export interface Self {
  readonly mac: Uint8Array;
  readonly address: number;
  /** Addresses of our other interfaces: as a source they are as good (RFC 1122 3.3.4.2, the weak model). */
  readonly others?: readonly number[];
  readonly subnet: number;
  readonly bits: number;
  readonly mtu: number;
  readonly vlan: number | undefined;
}

/** What lies in memory before and behind each injected frame: it must never be seen again. */
export const STALE = 'STALE!!!';
const stale = Buffer.from(STALE.slice(0, 6));

/** A sent frame, read. `kind` as in `arp reply`, `icmp 3/3`, `tcp SYN,ACK`, `udp`, `igmp`. */
export interface Answer {
  readonly kind: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where the network header and what follows it start, and its end. */
  readonly network: number;
  readonly transport: number;
  readonly end: number;
}

/** A claim about a frame that does not hold. */
export class Foul extends Error {}

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Foul(what);
}

const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
export const flagNames = (bits: number) => FLAGS.filter((_, i) => (bits >> i) & 1).join(',');

export const isOurs = (w: number, self: Self) => w === self.address || self.others?.includes(w) === true;
export const isGroup = (w: number) => w >>> 28 === 0xe;
export const isDirectedBroadcast = (w: number, { subnet, bits }: Self) =>
  w === -1 || w === (subnet | (0xffffffff >>> bits));

/** Reads a frame of ours; throws a {@link Foul} when it should never have been sent. */
export function judge(bytes: Uint8Array, self: Self): Answer {
  const view = viewOf(bytes);
  const header = self.vlan === undefined ? 14 : 18;
  must(bytes.length >= 60, `a runt of ${bytes.length} bytes`);
  must(bytes.length <= header + self.mtu, `${bytes.length} bytes are more than the MTU takes`);
  must(
    bytes.subarray(6, 12).every((b, i) => b === self.mac[i]),
    'not from our link address',
  );
  must(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(stale) < 0, 'old memory leaks out');
  if (self.vlan !== undefined) {
    must(view.getUint16(12) === 0x8100 && (view.getUint16(14) & 0xfff) === self.vlan, 'tag missing');
  }
  const type = view.getUint16(header - 2);
  if (type === 0x0806) return judgeArp(bytes, view, header, self);
  must(type === 0x0800, `EtherType ${type.toString(16)}`);
  return judgeIp(bytes, view, header, self);
}

function judgeArp(bytes: Uint8Array, view: DataView, at: number, self: Self): Answer {
  must(view.getUint32(at) === 0x0001_0800 && view.getUint16(at + 4) === 0x0604, 'ARP for something else');
  must(bytes.length === 60, `an ARP frame of ${bytes.length} bytes`);
  for (let i = at + 28; i < bytes.length; i++) must(bytes[i] === 0, 'ARP padding is not zero');
  must(
    bytes.subarray(at + 8, at + 14).every((b, i) => b === self.mac[i]),
    'ARP in the name of another station',
  );
  const op = view.getUint16(at + 6);
  const spa = view.getInt32(at + 14);
  const tpa = view.getInt32(at + 24);
  must(spa === self.address || spa === 0, 'ARP from an address that is not ours');
  must(op === 1 || op === 2, `ARP operation ${op}`);
  const toAll = bytes.subarray(0, 6).every((b) => b === 255);
  must(toAll || (bytes[0]! & 1) === 0, 'ARP to a group');
  let kind = 'arp request';
  if (op === 2) {
    must(!toAll, 'an ARP reply to everybody');
    must(
      bytes.subarray(at + 18, at + 24).every((b, i) => b === bytes[i]),
      'an ARP reply to somebody else',
    );
    kind = 'arp reply';
  } else if (spa === 0) kind = 'arp probe';
  else if (spa === tpa) kind = 'arp announcement';
  return { kind, bytes, view, network: at, transport: at, end: at + 28 };
}

function judgeIp(bytes: Uint8Array, view: DataView, at: number, self: Self): Answer {
  const ihl = (bytes[at]! & 15) * 4;
  const total = view.getUint16(at + 2);
  const end = at + total;
  must(bytes[at]! >>> 4 === 4 && ihl >= 20 && total >= ihl, 'a broken IPv4 header');
  must(bytes.length === Math.max(60, end), `${bytes.length} bytes for ${total} of IPv4`);
  for (let i = end; i < bytes.length; i++) must(bytes[i] === 0, 'padding is not zero');
  must(checksum(bytes, at, at + ihl) === 0, 'wrong IPv4 checksum');
  must((bytes[at + 6]! & 0x80) === 0, 'reserved flag set');
  must(bytes[at + 8]! > 0, 'sent with TTL 0');
  const protocol = bytes[at + 9]!;
  const source = view.getInt32(at + 12);
  const destination = view.getInt32(at + 16);
  must(isOurs(source, self) || (source === 0 && protocol === 2), 'an IPv4 source that is not ours');
  const first = destination >>> 24;
  must(first !== 0 && first !== 127 && first < 240, `a packet to ${first}/8`);
  must(!isOurs(destination, self), 'a packet to ourselves on the wire');
  must(!isDirectedBroadcast(destination, self), 'a packet to a broadcast address');
  if (isGroup(destination)) {
    must(protocol === 2, 'a packet to a group');
    must(view.getUint32(at - (self.vlan === undefined ? 14 : 18)) >>> 8 === 0x01005e, 'group to a station');
  } else must((bytes[0]! & 1) === 0, 'a unicast packet in a group frame');
  must(ihl === 20 || protocol === 2, 'options in an answer');
  const transport = at + ihl;
  const answer = { bytes, view, network: at, transport, end };
  const piece = view.getUint16(at + 6) & 0x3fff;
  if (piece !== 0) return { ...answer, kind: `fragment ${protocol}` };
  const start =
    protocol === 6 || protocol === 17 ? pseudo(source, destination, protocol, end - transport) : 0;
  if (protocol !== 17 || view.getUint16(transport + 6) !== 0) {
    must(checksum(bytes, transport, end, start) === 0, `wrong checksum of protocol ${protocol}`);
  }
  switch (protocol) {
    case 1: {
      must(end - transport >= 8, 'a short ICMP message');
      const error = bytes[transport] === 3 || bytes[transport] === 11 || bytes[transport] === 12;
      must(!error || total <= 576, `an ICMP error of ${total} bytes`);
      return { ...answer, kind: `icmp ${bytes[transport]}/${bytes[transport + 1]}` };
    }
    case 2:
      must(bytes[at + 8] === 1, 'IGMP beyond the link');
      return { ...answer, kind: 'igmp' };
    case 6:
      judgeTcp(bytes, view, transport, end);
      return { ...answer, kind: `tcp ${flagNames(bytes[transport + 13]!)}` };
    case 17:
      must(end - transport >= 8 && view.getUint16(transport + 4) === end - transport, 'a wrong UDP length');
      must(view.getUint16(transport + 2) !== 0, 'UDP to port 0');
      return { ...answer, kind: 'udp' };
    default:
      throw new Foul(`protocol ${protocol}`);
  }
}

const OPTION_LENGTHS: Record<number, number> = { 2: 4, 3: 3, 4: 2, 8: 10 };

function judgeTcp(bytes: Uint8Array, view: DataView, at: number, end: number): void {
  const size = (bytes[at + 12]! >> 4) * 4;
  const flags = bytes[at + 13]!;
  must(end - at >= 20 && size >= 20 && at + size <= end, 'a broken TCP header');
  must((bytes[at + 12]! & 15) === 0, 'reserved bits set');
  must(view.getUint16(at) !== 0 && view.getUint16(at + 2) !== 0, 'TCP port 0');
  must((flags & 32) !== 0 || view.getUint16(at + 18) === 0, 'an urgent pointer without URG');
  must((flags & RST) === 0 || end - at === size, 'a RST with data');
  must((flags & ACK) !== 0 || view.getUint32(at + 8) === 0, 'an acknowledgment number without ACK');
  must((flags & (SYN | RST | FIN)) === 0 || (flags & (SYN | FIN)) !== (SYN | FIN), 'SYN and FIN');
  let i = at + 20;
  while (i < at + size) {
    const kind = bytes[i]!;
    if (kind === 0) {
      for (; i < at + size; i++) must(bytes[i] === 0, 'rubbish after the options');
      break;
    }
    if (kind === 1) {
      i++;
      continue;
    }
    const length = bytes[i + 1]!;
    if (kind === 5) must(length >= 10 && (length - 2) % 8 === 0 && length <= 34, 'a broken SACK option');
    else must(OPTION_LENGTHS[kind] === length, `TCP option ${kind} of ${length} bytes`);
    must((flags & SYN) !== 0 || kind === 5 || kind === 8, `TCP option ${kind} without SYN`);
    i += length;
  }
  must(i === at + size, 'TCP options run over');
}

/** What the stack has open, for the referee. */
export interface Open {
  hasConnection(remote: number, remotePort: number, localPort: number): boolean;
}

/**
 * Whether `answer` may follow from the injected `cause`. Throws a {@link Foul} when not. A fragment may complete a datagram
 * whose parts are not at hand here: then only addresses are compared.
 */
export function relate(cause: Uint8Array, answer: Answer, self: Self, open: Open): void {
  const { kind, bytes, view, network, transport, end } = answer;
  if (kind === 'arp request') {
    const tpa = view.getInt32(network + 24);
    must(tpa !== self.address && !isDirectedBroadcast(tpa, self), 'asks for itself or a broadcast');
    must((tpa ^ self.subnet) >>> (32 - self.bits) === 0, 'asks for an address off the link');
    return;
  }
  const c = viewOf(cause);
  must(cause.length >= 14, `${kind} to a truncated frame`);
  let at = 14;
  if (c.getUint16(12) === 0x8100) at = 18;
  const type = at <= cause.length ? c.getUint16(at - 2) : 0;
  if (type === 0x0806 && cause.length >= at + 28 && !kind.startsWith('arp')) {
    // ARP sets free what waited for a link address: the destination's or the gateway's.
    const freed = bytes.subarray(0, 6).every((b, i) => b === cause[at + 8 + i]);
    must(freed, `${kind} to another station`);
    return;
  }
  if (kind.startsWith('tcp') && (bytes[transport + 13]! & RST) === 0) {
    const known = open.hasConnection(
      view.getInt32(network + 16),
      view.getUint16(transport + 2),
      view.getUint16(transport),
    );
    must(known, `${kind} to somebody without a connection`);
    return;
  }
  if (kind.startsWith('arp')) {
    must(type === 0x0806 && cause.length >= at + 28, `${kind} to something else`);
    if (kind === 'arp announcement') {
      must(c.getInt32(at + 14) === self.address, 'an announcement without a conflict');
      return;
    }
    must(c.getUint16(at + 6) === 1 && c.getInt32(at + 24) === self.address, 'a reply nobody asked for');
    must(view.getInt32(network + 24) === c.getInt32(at + 14), 'a reply to another address');
    must(
      bytes.subarray(0, 6).every((b, i) => b === cause[at + 8 + i]),
      'a reply to another station',
    );
    return;
  }
  if (kind === 'igmp') return;
  must(type === 0x0800 && cause.length >= at + 20, `${kind} to something that is no IPv4`);
  const ihl = (cause[at]! & 15) * 4;
  const source = c.getInt32(at + 12);
  const destination = c.getInt32(at + 16);
  must(view.getInt32(network + 16) === source, `${kind} to somebody who did not ask`);
  must((cause[0]! & 1) === 0, `${kind} to a frame for a group`);
  must(!isGroup(destination) && !isDirectedBroadcast(destination, self), `${kind} to a packet for a group`);
  const piece = c.getUint16(at + 6) & 0x3fff;
  const body = at + ihl;
  const causeEnd = at + c.getUint16(at + 2);
  if (kind.startsWith('icmp') && kind !== 'icmp 0/0') {
    relateError(cause, c, at, answer, piece);
    return;
  }
  if (piece !== 0 || kind.startsWith('fragment')) return;
  must(causeEnd <= cause.length, `${kind} to a truncated packet`);
  if (kind === 'icmp 0/0') {
    must(cause[at + 9] === 1 && cause[body] === 8, 'an echo reply to something else');
    must(causeEnd - body === end - transport, 'an echo reply of another length');
    for (let i = 4; i < end - transport; i++) must(bytes[transport + i] === cause[body + i], 'echo differs');
    return;
  }
  must(c.getUint16(body) === view.getUint16(transport + 2), `${kind} to another port`);
  must(c.getUint16(body + 2) === view.getUint16(transport), `${kind} from another port`);
  if (kind === 'udp') {
    must(cause[at + 9] === 17, 'UDP to something else');
    must(c.getUint16(body + 4) === end - transport, 'UDP echo of another length');
    for (let i = 8; i < end - transport; i++) must(bytes[transport + i] === cause[body + i], 'echo differs');
    return;
  }
  relateReset(cause, c, body, causeEnd, answer);
}

/** RFC 1122 3.2.2: what may be complained about, and what is quoted. */
function relateError(cause: Uint8Array, c: DataView, at: number, answer: Answer, piece: number): void {
  const { kind, bytes, transport, end } = answer;
  const source = c.getInt32(at + 12);
  must(source >>> 24 !== 0 && source >>> 24 < 224 && source >>> 24 !== 127, `${kind} to no single host`);
  must(
    (piece & 0x1fff) === 0 || piece === 0 || kind === 'icmp 3/2' || kind === 'icmp 3/3',
    `${kind} to a fragment`,
  );
  const body = at + (cause[at]! & 15) * 4;
  if (cause[at + 9] === 1 && piece === 0) {
    const type = cause[body]!;
    must(type === 0 || type === 8 || (type >= 13 && type <= 18), `${kind} to ICMP type ${type}`);
  }
  const quote = bytes.subarray(transport + 8, end);
  must(quote.length <= 548, `a quote of ${quote.length} bytes`);
  if (piece !== 0) return;
  const total = c.getUint16(at + 2);
  must(quote.length === Math.min(total, 548), `a quote of ${quote.length} of ${total} bytes`);
  for (let i = 0; i < quote.length; i++) must(quote[i] === cause[at + i], 'quotes what was not sent');
}

/** RFC 9293 3.5.2 group 1 and 2, and 3.10.7.1. */
function relateReset(cause: Uint8Array, c: DataView, body: number, causeEnd: number, answer: Answer): void {
  const { view, bytes, transport } = answer;
  const flags = cause[body + 13]!;
  must((flags & RST) === 0, 'a RST to a RST');
  const size = (cause[body + 12]! >> 4) * 4;
  const length = causeEnd - body - size + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
  const seq = view.getUint32(transport + 4);
  if ((bytes[transport + 13]! & ACK) === 0) {
    must((flags & ACK) !== 0 && seq === c.getUint32(body + 8), 'a RST with a number of its own');
    return;
  }
  const ack = view.getUint32(transport + 8);
  const answersClosed = seq === 0 && ack === (c.getUint32(body + 4) + length) >>> 0;
  // A connection that ends itself says so with its own numbers, which its referee cannot know here.
  must((flags & ACK) !== 0 || answersClosed, 'a RST,ACK with wrong numbers');
}
