// Cuts a datagram into fragments and sends them, in order, as the interface has room. RFC 791 3.2, RFC 1122 3.3.3.

import type { Address } from '../base/address.ts';
import { ETHERTYPE_IPV4, type NetInterface, type SendResult } from '../base/netif.ts';
import type { Slab } from '../base/slab.ts';
import type { IpCounters } from './counters.ts';
import {
  flagsOffset,
  HEADER_LENGTH,
  headerLength,
  MAX_HEADER_LENGTH,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  refreshChecksum,
  setFlagsOffset,
  setTotalLength,
  VERSION_IHL,
} from './header.ts';
import { copyOptionsForFragment } from './options.ts';

/**
 * Datagrams of one interface that may wait half-sent, each up to 64 KB: a full transmit queue never splits a datagram (its first
 * fragments gone, the rest refused), because what was begun is finished here later. Above it, `full`.
 */
const MAX_WAITING = 16;

/** A datagram being cut. */
interface Cutting {
  readonly slab: Slab;
  /** Where its header starts, and its end. */
  readonly at: number;
  readonly end: number;
  readonly mtu: number;
  readonly interface: NetInterface;
  readonly nextHop: Address;
  /** First payload byte not yet sent. */
  next: number;
}

/** The datagrams that are being cut. */
export class Fragmenter {
  readonly #counters: IpCounters;
  readonly #waiting: Cutting[] = [];

  constructor(counters: IpCounters) {
    this.#counters = counters;
  }

  /** True when {@link flush} can do something. */
  get pending(): boolean {
    return this.#waiting.some((cutting) => cutting.interface.hasRoom());
  }

  /**
   * Sends the datagram at [at, end) of `slab` in fragments of at most `mtu` bytes. It has a whole header, DF clear, and a
   * completed transport checksum. The slab is kept until the last fragment is out. All fragments will go, or none.
   */
  send(slab: Slab, at: number, end: number, mtu: number, netif: NetInterface, nextHop: Address): SendResult {
    this.#counters.ipSystemStatsOutFragReqds++;
    const ihl = headerLength(slab.view, at);
    if (mtu < ihl + 8) return this.#fail('too big'); // a fragment carries at least eight octets (RFC 791 3.2)
    let before = 0;
    for (const other of this.#waiting) if (other.interface === netif) before++;
    if (before >= MAX_WAITING) return this.#fail('full');
    const cutting = { slab, at, end, mtu, interface: netif, nextHop, next: at + ihl };
    if (before > 0) {
      this.#waiting.push(cutting);
      return 'queued';
    }
    const result = this.#cut(cutting);
    if (result === 'full') {
      this.#waiting.push(cutting);
      return 'queued';
    }
    return result;
  }

  /** Sends what waits and now has room. */
  flush(): void {
    const waiting = this.#waiting;
    for (let i = 0; i < waiting.length; ) {
      const result = this.#cut(waiting[i]!);
      if (result === 'full') i++;
      else waiting.splice(i, 1);
    }
  }

  #fail(result: SendResult): SendResult {
    this.#counters.ipSystemStatsOutFragFails++;
    return result;
  }

  /** Sends fragments until none is left or there is no room; anything but `sent`, `queued` and `full` ends the datagram. */
  #cut(cutting: Cutting): SendResult {
    let result: SendResult = 'sent';
    while (cutting.next < cutting.end) {
      if (!cutting.interface.hasRoom()) return 'full';
      const before = cutting.next;
      result = sendFragment(cutting);
      if (result === 'full') {
        cutting.next = before;
        return result;
      }
      if (result !== 'sent' && result !== 'queued') return this.#fail(result);
      this.#counters.ipSystemStatsOutFragCreates++;
    }
    this.#counters.ipSystemStatsOutFragOKs++;
    return result;
  }
}

/** Header bytes of a later fragment are built here before they are pushed. */
const scratch = new Uint8Array(MAX_HEADER_LENGTH);

function sendFragment(cutting: Cutting): SendResult {
  const { slab, at, end } = cutting;
  const view = slab.view;
  const ihl = headerLength(view, at);
  const start = cutting.next;
  const first = start === at + ihl;
  scratch.set(slab.bytes.subarray(at, at + (first ? ihl : HEADER_LENGTH)));
  const hlen = first ? ihl : HEADER_LENGTH + copyOptionsForFragment(view, at, scratch, HEADER_LENGTH);
  // All but the last carry a multiple of eight octets (RFC 791 3.2).
  const most = (cutting.mtu - hlen) & ~7;
  const left = end - start;
  const last = left <= cutting.mtu - hlen;
  const length = last ? left : most;

  const frame = cutting.interface.frame();
  if (length <= frame.room) frame.copyIn(slab.bytes, start, length);
  else frame.attach(slab, start, length);
  const head = frame.push(hlen);
  frame.bytes.set(scratch.subarray(0, hlen), head);
  frame.view.setUint8(head + VERSION_IHL, 0x40 | (hlen >> 2));
  setTotalLength(frame.view, head, hlen + length);
  // A datagram that is itself a fragment keeps its place and, but for its tail, says that more follow.
  const own = flagsOffset(view, at);
  const offset = (own & OFFSET_MASK) + ((start - at - ihl) >> 3);
  setFlagsOffset(frame.view, head, (own & ~OFFSET_MASK) | (last ? 0 : MORE_FRAGMENTS) | offset);
  refreshChecksum(frame.view, head);
  cutting.next = start + length;
  return cutting.interface.send(frame, cutting.nextHop, ETHERTYPE_IPV4);
}
