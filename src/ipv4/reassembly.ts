// Puts fragments together again, within limits that no stranger can stretch. RFC 791 3.2, RFC 815, RFC 1122 3.3.2.
//
// Pieces are copied as they come, each into exactly its own size, and kept in order of offset: so memory is what a sender
// really sent, never what an offset claims. RFC 815's holes are the gaps between the pieces; as pieces never overlap here,
// the datagram is whole when their lengths add up to the total that the last fragment told.

import type { DropReason } from '../base/drop.ts';
import { countDrop } from '../base/drop.ts';
import { PROTOCOL_TCP } from '../base/ip.ts';
import { Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { Timer } from '../base/timers.ts';
import type { IpCounters } from './counters.ts';
import {
  DONT_FRAGMENT,
  destinationWord,
  flagsOffset,
  fragmentOffset,
  headerLength,
  identification,
  MAX_DATAGRAM,
  moreFragments,
  protocol,
  refreshChecksum,
  setFlagsOffset,
  setTotalLength,
  sourceWord,
  TYPE_OF_SERVICE,
  timeToLive,
  typeOfService,
} from './header.ts';
import type { Ipv4Needs } from './needs.ts';

/**
 * Deviates: RFC 1122 3.3.2 says 60 to 120 seconds; this is 30, as in Linux and later practice. At today's rates
 * identifications repeat within seconds, and a piece that waits longer joins the wrong datagram (RFC 4963).
 */
export const REASSEMBLY_TIMEOUT: Micros = 30 * SECOND;
/** Datagrams in the making: more than any honest set of peers needs, few enough that a walk over them is short. */
export const MAX_DATAGRAMS = 256;
/** Bytes of all pieces and their bookkeeping; Linux's ipfrag_high_thresh. */
export const MAX_BYTES = 4 << 20;
/** What one source may use of each: a quarter, so that three more can work while one misbehaves. */
export const MAX_DATAGRAMS_PER_SOURCE = MAX_DATAGRAMS / 4;
export const MAX_BYTES_PER_SOURCE = MAX_BYTES / 4;
/** Pieces of one datagram: 64 KB in fragments of 256 bytes. Smaller pieces are an attack (CVE-2018-5391). */
export const MAX_FRAGMENTS = 256;
/** Counted for each piece and each datagram beside its bytes, so that tiny pieces are not free. */
const OVERHEAD = 192;
/** The first fragment of a TCP segment holds at least the fixed TCP header (RFC 1858 3.1, RFC 3128). */
const MIN_TCP_FIRST = 20;

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A datagram in the making. Once spoiled it keeps no pieces, only its name: what still comes is dropped until the timeout. */
interface Datagram {
  readonly key: string;
  readonly source: number;
  readonly deadline: Micros;
  readonly interfaceIndex: number;
  spoiled: boolean;
  /** The header of fragment zero. */
  header: Uint8Array | undefined;
  /** Set from the frame that brought fragment zero, or of any frame that was not unicast: worst case wins. */
  linkCast: Packet['linkCast'];
  groupDestination: boolean;
  pieces: Piece[];
  received: number;
  /** Payload length, -1 until the last fragment has come. */
  total: number;
  /** A bit for each ECN codepoint seen (RFC 3168 5.3). */
  ecn: number;
  cost: number;
}

interface Share {
  datagrams: number;
  bytes: number;
}

/** The reassembly queues of one host. */
export class Reassembly {
  readonly #needs: Ipv4Needs;
  readonly #counters: IpCounters;
  /** Told of a datagram that ran out of time, as a packet that ends where fragment zero ended. */
  readonly #expired: (firstFragment: Packet) => void;
  /** In order of arrival, which is the order of deadlines. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #shares = new Map<number, Share>();
  readonly #timer: Timer;
  readonly #packet = new Packet();
  #bytes = 0;

  constructor(needs: Ipv4Needs, counters: IpCounters, expired: (firstFragment: Packet) => void) {
    this.#needs = needs;
    this.#counters = counters;
    this.#expired = expired;
    this.#timer = new Timer((now) => this.#expire(now));
  }

  /** Datagrams in the making, and bytes held for them. */
  get size(): number {
    return this.#datagrams.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the fragment that `packet` holds; its header has been checked, `packet.end` trimmed. Returns the whole datagram
   * once it is complete (valid until the next call), a reason when the fragment was dropped, `undefined` while more is
   * missing.
   */
  add(packet: Packet): Packet | DropReason | undefined {
    this.#counters.ipSystemStatsReasmReqds++;
    const { view, network } = packet;
    const ihl = headerLength(view, network);
    const offset = fragmentOffset(view, network);
    const more = moreFragments(view, network);
    const length = packet.end - network - ihl;
    const wrong = checkFragment(packet.protocol, offset, length, more);
    const key = `${packet.s3},${packet.d3},${(packet.protocol << 16) | identification(view, network)}`;
    let datagram = this.#datagrams.get(key);
    if (wrong !== undefined) {
      // Beyond 64 KB (ping of death) nothing of the datagram can be right; an ill-formed piece alone is only dropped.
      if (datagram !== undefined && offset + length > MAX_DATAGRAM - ihl) this.#spoil(datagram);
      return this.#fail(wrong);
    }
    datagram ??= this.#create(key, packet);
    if (datagram.spoiled) return this.#fail('overlapping fragment');
    return this.#place(datagram, packet, ihl, offset, length, more);
  }

  #place(
    datagram: Datagram,
    packet: Packet,
    ihl: number,
    offset: number,
    length: number,
    more: boolean,
  ): Packet | DropReason | undefined {
    const { pieces } = datagram;
    const end = offset + length;
    const index = searchPieces(pieces, offset);
    const before = pieces[index - 1];
    const after = pieces[index];
    const from = packet.network + ihl;
    if (after !== undefined && after.offset === offset && after.bytes.length === length) {
      // A duplicate made by the network is harmless; one that says something else is an attack.
      if (more === (end !== datagram.total) && sameBytes(after.bytes, packet.bytes, from)) return undefined;
      return this.#discard(datagram, 'overlapping fragment');
    }
    // RFC 5722's rule for IPv6, taken for IPv4 too: an overlap spoils the datagram (teardrop, CVE-1999-0015).
    if (before !== undefined && before.offset + before.bytes.length > offset) {
      return this.#discard(datagram, 'overlapping fragment');
    }
    if (after !== undefined && end > after.offset) return this.#discard(datagram, 'overlapping fragment');
    // The end is told once, nothing lies beyond it.
    const known = datagram.total;
    const furthest = pieces.length === 0 ? 0 : endOf(pieces[pieces.length - 1]!);
    if (more ? known >= 0 && end > known : known >= 0 || furthest > end) {
      return this.#discard(datagram, 'bad fragment');
    }
    if (pieces.length >= MAX_FRAGMENTS) return this.#discard(datagram, 'fragment limit');

    if (!more) datagram.total = end;
    if (offset === 0) datagram.header = packet.bytes.slice(packet.network, from);
    if (packet.linkCast > datagram.linkCast) datagram.linkCast = packet.linkCast;
    datagram.ecn |= 1 << (packet.trafficClass & 3);
    pieces.splice(index, 0, { offset, bytes: packet.bytes.slice(from, from + length) });
    datagram.received += length;
    this.#charge(datagram, length + OVERHEAD);
    if (datagram.received === datagram.total) return this.#finish(datagram);
    this.#limit(datagram);
    return undefined;
  }

  /** Every byte is there: lays header and pieces into a slab of their own. */
  #finish(datagram: Datagram): Packet | DropReason {
    this.#remove(datagram);
    const header = datagram.header!;
    const length = header.length + datagram.total;
    if (length > MAX_DATAGRAM) return this.#fail('bad fragment');
    // RFC 3168 5.3: CE in one piece marks all, but a mixture of CE and Not-ECT has been tampered with.
    const ce = (datagram.ecn & 8) !== 0;
    if (ce && (datagram.ecn & 1) !== 0) return this.#fail('bad fragment');
    const slab = this.#layOut(datagram, header, length);
    if (ce) slab.bytes[TYPE_OF_SERVICE] = slab.bytes[TYPE_OF_SERVICE]! | 3;
    setTotalLength(slab.view, 0, length);
    setFlagsOffset(slab.view, 0, flagsOffset(slab.view, 0) & DONT_FRAGMENT);
    refreshChecksum(slab.view, 0);
    this.#counters.ipSystemStatsReasmOKs++;
    return this.#aim(slab, length, datagram);
  }

  #layOut(datagram: Datagram, header: Uint8Array, length: number): Slab {
    const slab = new Slab(new Uint8Array(length));
    slab.bytes.set(header);
    for (const { offset, bytes } of datagram.pieces) {
      if (header.length + offset + bytes.length <= length) slab.bytes.set(bytes, header.length + offset);
    }
    return slab;
  }

  /** Points our packet at the datagram in `slab`. */
  #aim(slab: Slab, length: number, datagram: Datagram): Packet {
    const packet = this.#packet.set(slab, 0, length);
    packet.network = 0;
    packet.at = headerLength(slab.view, 0);
    packet.interfaceIndex = datagram.interfaceIndex;
    packet.linkCast = datagram.linkCast;
    packet.groupDestination = datagram.groupDestination;
    packet.s0 = packet.s1 = packet.d0 = packet.d1 = 0;
    packet.s2 = packet.d2 = 0xffff;
    packet.s3 = sourceWord(slab.view, 0);
    packet.d3 = destinationWord(slab.view, 0);
    packet.ttl = timeToLive(slab.view, 0);
    packet.protocol = protocol(slab.view, 0);
    packet.trafficClass = typeOfService(slab.view, 0);
    return packet;
  }

  #create(key: string, packet: Packet): Datagram {
    const source = packet.s3;
    const share = this.#shares.get(source);
    if (share !== undefined && share.datagrams >= MAX_DATAGRAMS_PER_SOURCE) this.#evict(source, undefined);
    if (this.#datagrams.size >= MAX_DATAGRAMS) this.#evict(undefined, undefined);
    const datagram: Datagram = {
      key,
      source,
      deadline: this.#needs.now + REASSEMBLY_TIMEOUT,
      interfaceIndex: packet.interfaceIndex,
      spoiled: false,
      header: undefined,
      linkCast: packet.linkCast,
      groupDestination: packet.groupDestination,
      pieces: [],
      received: 0,
      total: -1,
      ecn: 0,
      cost: 0,
    };
    this.#datagrams.set(key, datagram);
    const mine = this.#shares.get(source);
    if (mine === undefined) this.#shares.set(source, { datagrams: 1, bytes: 0 });
    else mine.datagrams++;
    this.#charge(datagram, OVERHEAD);
    if (this.#timer.deadline === NEVER) this.#needs.timers.set(this.#timer, datagram.deadline);
    return datagram;
  }

  #charge(datagram: Datagram, bytes: number): void {
    datagram.cost += bytes;
    this.#bytes += bytes;
    this.#shares.get(datagram.source)!.bytes += bytes;
  }

  /** Lets the oldest go until the limits hold; the newest, `spare`, is the last to go. */
  #limit(spare: Datagram): void {
    const share = this.#shares.get(spare.source)!;
    while (share.bytes > MAX_BYTES_PER_SOURCE) if (!this.#evict(spare.source, spare)) break;
    while (this.#bytes > MAX_BYTES) if (!this.#evict(undefined, spare)) break;
  }

  /** Gives up the oldest datagram (of `source`, if given; never `spare`); false when there is none. */
  #evict(source: number | undefined, spare: Datagram | undefined): boolean {
    for (const datagram of this.#datagrams.values()) {
      if (datagram === spare || (source !== undefined && datagram.source !== source)) continue;
      this.#remove(datagram);
      if (!datagram.spoiled) {
        this.#counters.ipSystemStatsReasmFails++;
        countDrop(this.#needs.drops, 'fragment limit');
      }
      return true;
    }
    return false;
  }

  #discard(datagram: Datagram, reason: DropReason): DropReason {
    this.#spoil(datagram);
    return this.#fail(reason);
  }

  #fail(reason: DropReason): DropReason {
    this.#counters.ipSystemStatsReasmFails++;
    return reason;
  }

  #spoil(datagram: Datagram): void {
    datagram.spoiled = true;
    datagram.pieces = [];
    datagram.header = undefined;
    this.#charge(datagram, OVERHEAD - datagram.cost);
  }

  #remove(datagram: Datagram): void {
    this.#charge(datagram, -datagram.cost);
    this.#datagrams.delete(datagram.key);
    const share = this.#shares.get(datagram.source)!;
    share.datagrams--;
    if (share.datagrams === 0) this.#shares.delete(datagram.source);
  }

  #expire(now: Micros): void {
    for (const datagram of this.#datagrams.values()) {
      if (datagram.deadline > now) {
        this.#needs.timers.set(this.#timer, datagram.deadline);
        return;
      }
      this.#remove(datagram);
      if (datagram.spoiled) continue;
      this.#counters.ipSystemStatsReasmFails++;
      // RFC 792: Time Exceeded is sent only when fragment zero is there to be quoted.
      const { header } = datagram;
      const first = datagram.pieces[0];
      if (header === undefined || first === undefined) continue;
      const length = header.length + first.bytes.length;
      const slab = this.#layOut(datagram, header, length);
      this.#expired(this.#aim(slab, length, datagram));
    }
  }
}

/** What makes a fragment wrong in itself. */
function checkFragment(proto: number, offset: number, length: number, more: boolean): DropReason | undefined {
  if (length === 0) return 'bad fragment';
  if (more && (length & 7) !== 0) return 'bad fragment'; // RFC 791 3.2: counted in units of 8 octets
  if (offset + length > MAX_DATAGRAM - 20) return 'bad fragment'; // ping of death, CVE-1999-0128
  if (proto === PROTOCOL_TCP) {
    // RFC 1858 3.2.2, RFC 3128: a second fragment at octet 8 rewrites TCP's flags; a first without them hides them.
    if (offset === 8) return 'bad fragment';
    if (offset === 0 && length < MIN_TCP_FIRST) return 'bad fragment';
  }
  return undefined;
}

function endOf(piece: Piece): number {
  return piece.offset + piece.bytes.length;
}

/** Index of the first piece at or after `offset`. In-order arrival looks at one piece. */
function searchPieces(pieces: readonly Piece[], offset: number): number {
  const last = pieces[pieces.length - 1];
  if (last === undefined || last.offset < offset) return pieces.length;
  let low = 0;
  let high = pieces.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pieces[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sameBytes(piece: Uint8Array, bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < piece.length; i++) if (piece[i] !== bytes[from + i]) return false;
  return true;
}
