// What may go on the wire of a device: the checks and stored frames that the in-memory devices share.

import { PROTOCOL_TCP } from '../base/ip.ts';
import { ETHERTYPE_VLAN } from '../base/netif.ts';
import type { Frame, Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import type { DeviceFeatures, FrameSink } from './device.ts';
import { completeBytes, ETHERNET_HEADER, Headers, readHeaders, VLAN_TAG } from './headers.ts';

const headers = new Headers();

/** True when a device with `features` takes `frame` as it is: no cutting and no checksum is left to do. */
export function takes(frame: Frame, features: DeviceFeatures): boolean {
  if (frame.checksumStart >= 0 && !features.checksum) return false;
  if (frame.gsoSize === 0 || (features.tso4 && features.tso6 && features.uso)) return true;
  if (!features.checksum || !readHeaders(frame.view, frame.head, frame.tail, frame.length, headers)) {
    return false;
  }
  if (headers.protocol !== PROTOCOL_TCP) return features.uso;
  return headers.family === 4 ? features.tso4 : features.tso6;
}

/**
 * True when `frame` has a size the wire carries: at least one byte, and no more than `mtu` behind its link header unless it is
 * a super-frame. Throws when it is in a form the device does not take: that is the mistake of who forgot `segment`.
 */
export function fitsWire(frame: Frame, mtu: number, features: DeviceFeatures, name: string): boolean {
  if (!takes(frame, features)) {
    throw new Error(
      `${name}: super-frame or pending checksum on a device without that offload; use segment()`,
    );
  }
  return frame.gsoSize > 0 || isWireSized(frame, mtu);
}

/** True when `frame` is not empty and has no more than `mtu` bytes behind its link header, which may be tagged. */
export function isWireSized(frame: Frame, mtu: number): boolean {
  const { length } = frame;
  return length > 0 && length <= mtu + linkHeader(frame);
}

function linkHeader({ view, head, tail }: Frame): number {
  const tagged = tail - head >= ETHERNET_HEADER && view.getUint16(head + 12) === ETHERTYPE_VLAN;
  return tagged ? ETHERNET_HEADER + VLAN_TAG : ETHERNET_HEADER;
}

/** Bytes of one block of a {@link FrameStore}: a dozen frames, and not much to be held by one that is pinned. */
const BLOCK = 16_384;
/** A longer frame gets a slab of its own size. */
const MOST_SHARED = 4_096;
/** Empty blocks kept for reuse. */
const MOST_SPARE = 8;
/** Records kept for reuse. */
const MOST_RECORDS = 1_024;

/** Memory that frames lie in. `live` counts those not yet handed on; a pinned block is never written again. */
interface Block {
  readonly slab: Slab;
  used: number;
  live: number;
  pinned: boolean;
}

/** A frame at rest in a {@link FrameStore}. */
export class StoredFrame {
  block: Block;
  offset = 0;
  length = 0;
  gsoSize = 0;
  /** Its transport checksum is still pending: it may be handed on only as `checksumTrusted`. */
  trusted = false;
  /** Where the owner keeps it: a moment and a place in a row, or the next of a list. */
  due = 0;
  order = 0;
  next: StoredFrame | undefined;

  constructor(block: Block) {
    this.block = block;
  }

  get slab(): Slab {
    return this.block.slab;
  }
}

/**
 * Copies frames into slabs and hands them on without another copy. Small frames share a block, which is used again once all
 * of its frames were handed on and none was pinned.
 */
export class FrameStore {
  #block: Block | undefined;
  readonly #spare: Block[] = [];
  readonly #records: StoredFrame[] = [];

  /** Copies a frame as it is, ranges and all; a pending checksum stays pending. */
  keep(frame: Frame): StoredFrame {
    const stored = this.reserve(frame.length);
    frame.copyTo(stored.slab.bytes, stored.offset);
    stored.gsoSize = frame.gsoSize;
    stored.trusted = frame.checksumStart >= 0 || frame.gsoSize > 0;
    return stored;
  }

  /** Copies bytes that are a complete frame. */
  keepBytes(bytes: Uint8Array, offset: number, length: number): StoredFrame {
    const stored = this.reserve(length);
    stored.slab.bytes.set(bytes.subarray(offset, offset + length), stored.offset);
    return stored;
  }

  /** Room for a complete frame of `length` bytes, to be written by the caller before the next call. */
  reserve(length: number): StoredFrame {
    const block = length > MOST_SHARED ? newBlock(length) : this.#blockFor(length);
    const stored = this.#records.pop() ?? new StoredFrame(block);
    stored.block = block;
    stored.offset = block.used;
    stored.length = length;
    stored.gsoSize = 0;
    stored.trusted = false;
    stored.next = undefined;
    block.used += length;
    block.live++;
    return stored;
  }

  /** Hands a frame to `sink` where it lies and lets go of it. */
  hand(stored: StoredFrame, packet: Packet, sink: FrameSink): void {
    packet.set(stored.slab, stored.offset, stored.length);
    packet.gsoSize = stored.gsoSize;
    packet.checksumTrusted = stored.trusted;
    sink(packet);
    if (packet.pinned) this.#pin(stored.block);
    this.drop(stored);
  }

  /** Lets go of a frame. The record may be used again at once. */
  drop(stored: StoredFrame): void {
    const { block } = stored;
    block.live--;
    if (block.live === 0 && !block.pinned) {
      block.used = 0;
      if (block !== this.#block && block.slab.bytes.length === BLOCK && this.#spare.length < MOST_SPARE) {
        this.#spare.push(block);
      }
    }
    if (this.#records.length < MOST_RECORDS) this.#records.push(stored);
  }

  /** A frame whose pending checksum, if any, is now done in place. */
  complete(stored: StoredFrame): StoredFrame {
    if (stored.trusted) completeBytes(stored.slab.view, stored.offset, stored.length);
    stored.trusted = false;
    return stored;
  }

  #blockFor(length: number): Block {
    const block = this.#block;
    if (block !== undefined && block.used + length <= BLOCK) return block;
    this.#block = this.#spare.pop() ?? newBlock(BLOCK);
    return this.#block;
  }

  #pin(block: Block): void {
    block.pinned = true;
    if (block === this.#block) this.#block = undefined;
  }
}

function newBlock(size: number): Block {
  return { slab: new Slab(new Uint8Array(size)), used: 0, live: 0, pinned: false };
}

/** Stored frames first in, first out. */
export class FrameQueue {
  #first: StoredFrame | undefined;
  #last: StoredFrame | undefined;
  frames = 0;
  bytes = 0;

  push(stored: StoredFrame): void {
    stored.next = undefined;
    if (this.#last === undefined) this.#first = stored;
    else this.#last.next = stored;
    this.#last = stored;
    this.frames++;
    this.bytes += stored.length;
  }

  shift(): StoredFrame | undefined {
    const stored = this.#first;
    if (stored === undefined) return undefined;
    this.#first = stored.next;
    if (this.#first === undefined) this.#last = undefined;
    this.frames--;
    this.bytes -= stored.length;
    return stored;
  }
}
