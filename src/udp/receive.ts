// What waits for the users of UDP sockets: datagrams within bounds, errors, and news of room. RFC 1122 4.1.3.

import { Address } from '../base/address.ts';
import type { Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import { tellAll } from '../base/tell.ts';
import type { Arrival } from './demux.ts';
import { DATAGRAM_OVERHEAD, type UdpSocket } from './socket.ts';

/**
 * A payload above this stays where it was received and pins that slab; below, copying costs less than keeping a slab of
 * up to 256 KB from being used again.
 */
export const COPY_BELOW = 2048;
/**
 * Small payloads are copied one behind the other into blocks of this size: no typed array a datagram, and a byte that
 * somebody keeps pins this much and no more (Node's own pool works alike).
 */
const ARENA_SIZE = 16 * 1024;

/** Where a payload lies. */
export interface Range {
  slab: Slab;
  offset: number;
}

/** The queue between `input` and `deliver`. */
export class Receiver {
  #arena = new Slab(new Uint8Array(0));
  #used = 0;
  readonly #range: Range = { slab: this.#arena, offset: 0 };
  readonly #ready: UdpSocket[] = [];
  #blocked: UdpSocket[] = [];
  /** The last addresses seen, as values: a flow makes one of each (addresses are immutable). */
  #source = new Address(0, 0, 0, 0);
  #destination = new Address(0, 0, 0, 0);

  /** True when {@link deliver} would call somebody. */
  get pending(): boolean {
    return this.#ready.length > 0 || this.#blocked.some((s) => s.blockedOn?.hasRoom() !== false);
  }

  /** Keeps a received payload beyond the packet: in place when large, as a copy when small. The result is reused. */
  keep(packet: Packet, offset: number, length: number): Range {
    if (length > COPY_BELOW) {
      packet.pinned = true;
      this.#range.slab = packet.slab;
      this.#range.offset = offset;
      return this.#range;
    }
    return this.copy(packet.bytes, offset, length);
  }

  /** Keeps a copy. The result is reused. */
  copy(bytes: Uint8Array, offset: number, length: number): Range {
    const range = this.#range;
    if (length > COPY_BELOW) {
      range.slab = new Slab(bytes.slice(offset, offset + length));
      range.offset = 0;
      return range;
    }
    if (this.#used + length > this.#arena.bytes.length) {
      this.#arena = new Slab(new Uint8Array(ARENA_SIZE));
      this.#used = 0;
    }
    const target = this.#arena.bytes;
    const to = this.#used;
    // A handful of bytes is copied sooner than a subarray of them is made.
    if (length <= 64) for (let i = 0; i < length; i++) target[to + i] = bytes[offset + i]!;
    else target.set(bytes.subarray(offset, offset + length), to);
    this.#used += length;
    range.slab = this.#arena;
    range.offset = to;
    return range;
  }

  /** Queues a datagram for `socket`; false when its receive buffer is full. */
  enqueue(
    socket: UdpSocket,
    arrival: Arrival,
    { slab, offset }: Range,
    length: number,
    ttl: number,
    trafficClass: number,
  ): boolean {
    const cost = length + DATAGRAM_OVERHEAD;
    if (socket.queuedBytes + cost > socket.receiveBuffer) {
      socket.drops++;
      return false;
    }
    socket.queuedBytes += cost;
    socket.queue.push({
      slab,
      offset,
      length,
      source: this.source(arrival),
      sourcePort: arrival.sourcePort,
      destination: this.#to(arrival),
      interfaceIndex: arrival.interfaceIndex,
      ttl,
      trafficClass,
    });
    if (!socket.paused) this.wake(socket);
    return true;
  }

  /** Puts `socket` on the list for {@link deliver}. */
  wake(socket: UdpSocket): void {
    if (socket.ready) return;
    socket.ready = true;
    this.#ready.push(socket);
  }

  /** Remembers that the user of `socket` waits for room. */
  block(socket: UdpSocket): void {
    if (!this.#blocked.includes(socket)) this.#blocked.push(socket);
  }

  /** The source of a datagram as a value. */
  source(a: Arrival): Address {
    const last = this.#source;
    if (last.w3 === a.s3 && last.w2 === a.s2 && last.w1 === a.s1 && last.w0 === a.s0) {
      if (last.zone === zoneOf(a.s0, a.interfaceIndex)) return last;
    }
    this.#source = new Address(a.s0, a.s1, a.s2, a.s3, zoneOf(a.s0, a.interfaceIndex));
    return this.#source;
  }

  /** Calls the users. What they do in there waits for the next round. */
  deliver(): void {
    if (this.#ready.length > 0) tellAll(this.#ready, this.#deliverTo);
    const blocked = this.#blocked;
    if (blocked.length === 0) return;
    this.#blocked = [];
    let i = 0;
    try {
      while (i < blocked.length) this.#unblock(blocked[i++]!);
    } finally {
      // A user's callback threw: the others hear of it in the next round.
      this.#blocked.push(...blocked.slice(i));
    }
  }

  readonly #deliverTo = (socket: UdpSocket): void => {
    socket.ready = false;
    try {
      deliverTo(socket);
    } finally {
      if (socket.queue.length > 0 && !socket.paused) this.wake(socket);
    }
  };

  #unblock(socket: UdpSocket): void {
    const { blockedOn } = socket;
    if (socket.closed || blockedOn === undefined) return;
    // An interface that went down has room for the error that the next send will report.
    if (blockedOn.up && !blockedOn.hasRoom()) {
      this.block(socket);
      return;
    }
    socket.blockedOn = undefined;
    socket.user.writable(socket);
  }

  #to(a: Arrival): Address {
    const last = this.#destination;
    if (last.w3 === a.d3 && last.w2 === a.d2 && last.w1 === a.d1 && last.w0 === a.d0) {
      if (last.zone === zoneOf(a.d0, a.interfaceIndex)) return last;
    }
    this.#destination = new Address(a.d0, a.d1, a.d2, a.d3, zoneOf(a.d0, a.interfaceIndex));
    return this.#destination;
  }
}

/** Calls one user, until it pauses, closes or throws: what is left goes on waiting. */
function deliverTo(socket: UdpSocket): void {
  const error = socket.pendingError;
  if (error !== undefined && !socket.closed) {
    socket.pendingError = undefined;
    socket.user.error(socket, error);
  }
  if (socket.paused || socket.closed || socket.queue.length === 0) return;
  const queue = socket.queue;
  socket.queue = [];
  let i = 0;
  try {
    while (i < queue.length && !socket.paused && !socket.closed) {
      const datagram = queue[i++]!;
      socket.queuedBytes -= datagram.length + DATAGRAM_OVERHEAD;
      const { slab, offset, length, source, sourcePort } = datagram;
      socket.user.received(socket, slab, offset, length, source, sourcePort, datagram);
    }
  } finally {
    if (i < queue.length && !socket.closed) socket.queue = queue.slice(i).concat(socket.queue);
  }
}

/** Link-local addresses and groups mean something only with their interface (RFC 4007). */
function zoneOf(w0: number, interfaceIndex: number): number {
  return w0 >>> 22 === 0x3fa || w0 >>> 16 === 0xff02 ? interfaceIndex : 0;
}
