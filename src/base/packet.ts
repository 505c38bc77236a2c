// The two shapes of a packet in flight: one being read where it lies, one being built from the inside out.

import { Address } from './address.ts';
import { Slab } from './slab.ts';

/** What a Packet points at before its first frame. */
const NO_SLAB = new Slab(new Uint8Array(0));

/** How a frame was addressed on the link: RFC 1122 3.2.2 forbids answering some of these. */
export const UNICAST = 0;
export const MULTICAST = 1;
export const BROADCAST = 2;
export type LinkCast = typeof UNICAST | typeof MULTICAST | typeof BROADCAST;

/**
 * A received frame, read in place.
 *
 * ```
 *   slab.bytes  ........[ Ethernet | IP | TCP | payload | padding ]........
 *                       ^start     ^network ^transport           ^end
 *                                        at ^ moves inward as each layer consumes its header
 * ```
 *
 * One Packet is reused for every frame of a device: nothing may keep it. Payload is kept as (slab, offset, length).
 * A layer that keeps a range of `slab` says so with `pinned = true`; the device then never writes that slab again.
 */
export class Packet {
  slab: Slab = NO_SLAB;
  bytes: Uint8Array = NO_SLAB.bytes;
  view: DataView = NO_SLAB.view;
  /** First byte of the frame, and one past the last byte that belongs to the layer being read (padding is cut off). */
  start = 0;
  end = 0;
  /** The header being read. */
  at = 0;
  /** True when the transport checksum needs no check: the kernel made the packet on this machine, or the driver verified it. */
  checksumTrusted = false;
  /** Size of the segments a super-frame stands for (its MSS), 0 for an ordinary frame. */
  gsoSize = 0;
  /** A layer kept a reference into the slab. Set by the stack, read by the device after the sink returns. */
  pinned = false;

  // Set by ether.
  /** Index of the interface it came in by. */
  interfaceIndex = 0;
  linkCast: LinkCast = UNICAST;

  // Set by ipv4 and ipv6.
  /** Where the IP header starts. */
  network = 0;
  /** True when the destination is an IP broadcast or multicast address. */
  groupDestination = false;
  /** Source and destination as address words (see {@link Address}). */
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  /** TTL or hop limit, DSCP and ECN (the whole octet), protocol number. */
  ttl = 0;
  trafficClass = 0;
  protocol = 0;

  /** Points the packet at a frame of `length` bytes at `start` of `slab` and forgets the one before. */
  set(slab: Slab, start: number, length: number): this {
    this.slab = slab;
    this.bytes = slab.bytes;
    this.view = slab.view;
    this.start = start;
    this.at = start;
    this.end = start + length;
    this.checksumTrusted = false;
    this.gsoSize = 0;
    this.pinned = false;
    this.linkCast = UNICAST;
    this.groupDestination = false;
    return this;
  }

  /** The source address as a value. Allocates: not for the hot path. */
  source(): Address {
    return new Address(this.s0, this.s1, this.s2, this.s3, this.#zone(this.s0));
  }

  /** The destination address as a value. Allocates: not for the hot path. */
  destination(): Address {
    return new Address(this.d0, this.d1, this.d2, this.d3, this.#zone(this.d0));
  }

  /** Link-local IPv6 addresses mean something only together with their interface (RFC 4007). */
  #zone(w0: number): number {
    return w0 >>> 22 === 0x3fa || w0 >>> 16 === 0xff02 ? this.interfaceIndex : 0;
  }
}

/**
 * Room kept before the payload for the longest headers we push: Ethernet with one VLAN tag (18), IPv6 (40), a fragment or
 * hop-by-hop header (8) and TCP with 40 bytes of options (60), 126 in all. Frames share memory: a push beyond it would write
 * into the frame before.
 */
export const HEADROOM = 128;
/** Bytes of one frame's own memory: headroom, headers and the payload of an ordinary Ethernet frame. */
export const FRAME_SIZE = 2048;
/** Most payload ranges a frame can carry beside its own bytes. */
export const MAX_RANGES = 2;

/**
 * A frame being built: headers are *pushed* outward into its own bytes, payload is copied in (`put`) or *attached* as up
 * to two ranges of slabs that are sent from where they lie.
 *
 * ```
 *   bytes  [ ...headroom... | Ethernet | IP | TCP | inline payload ]      + a range + b range
 *                           ^head                                 ^tail
 * ```
 *
 * Offsets are absolute in `bytes`/`view`, which many frames share.
 */
export class Frame {
  readonly slab: Slab;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The part of `slab` that is this frame's. */
  readonly origin: number;
  readonly limit: number;
  head = 0;
  tail = 0;
  /** Attached payload, in order after `tail`. */
  a: Slab | undefined;
  aOffset = 0;
  aLength = 0;
  b: Slab | undefined;
  bOffset = 0;
  bLength = 0;
  /** For a super-frame, the payload bytes of each segment to be cut from it; 0 otherwise. */
  gsoSize = 0;
  /**
   * Where the transport header starts, when its checksum is still to be completed; -1 otherwise. The field, at
   * `checksumStart + checksumOffset`, then holds the folded, uncomplemented pseudo-header sum, as virtio and Linux's
   * CHECKSUM_PARTIAL have it. The driver completes it, or `link/segment.ts` does.
   */
  checksumStart = -1;
  checksumOffset = 0;
  /** What the stack was doing when it built this frame, for a capture. */
  note: string | undefined;

  constructor(slab: Slab, origin: number, size: number) {
    this.slab = slab;
    this.bytes = slab.bytes;
    this.view = slab.view;
    this.origin = origin;
    this.limit = origin + size;
    this.reset();
  }

  /** Makes the frame empty again and lets go of attached slabs. */
  reset(): this {
    this.a?.release();
    this.b?.release();
    this.head = this.tail = this.origin + HEADROOM;
    this.a = this.b = undefined;
    this.aOffset = this.aLength = this.bOffset = this.bLength = 0;
    this.gsoSize = 0;
    this.checksumStart = -1;
    this.checksumOffset = 0;
    this.note = undefined;
    return this;
  }

  /** Whole length on the wire, in bytes. */
  get length(): number {
    return this.tail - this.head + this.aLength + this.bLength;
  }

  /** Free bytes after `tail` in the frame's own memory. */
  get room(): number {
    return this.limit - this.tail;
  }

  /** Makes room for `n` header bytes in front and returns where they start. */
  push(n: number): number {
    this.head -= n;
    return this.head;
  }

  /** Makes room for `n` bytes at the tail (before any attached range) and returns where they start. */
  put(n: number): number {
    const at = this.tail;
    this.tail += n;
    return at;
  }

  /** Copies `length` bytes of `from` to the tail. The caller has looked at {@link room}. */
  copyIn(from: Uint8Array, offset: number, length: number): void {
    this.bytes.set(from.subarray(offset, offset + length), this.put(length));
  }

  /** Attaches a payload range, sent from where it lies; holds the slab until the frame is reset. At most {@link MAX_RANGES}. */
  attach(slab: Slab, offset: number, length: number): void {
    if (length === 0) return;
    slab.hold();
    if (this.a === undefined) {
      this.a = slab;
      this.aOffset = offset;
      this.aLength = length;
    } else {
      this.b = slab;
      this.bOffset = offset;
      this.bLength = length;
    }
  }

  /** Copies the whole frame to `target` at `at` and returns the offset after it. */
  copyTo(target: Uint8Array, at: number): number {
    target.set(this.bytes.subarray(this.head, this.tail), at);
    let to = at + this.tail - this.head;
    if (this.a !== undefined) {
      target.set(this.a.bytes.subarray(this.aOffset, this.aOffset + this.aLength), to);
      to += this.aLength;
    }
    if (this.b !== undefined) {
      target.set(this.b.bytes.subarray(this.bOffset, this.bOffset + this.bLength), to);
      to += this.bLength;
    }
    return to;
  }
}

/** `count` frames that share one slab, so that a driver needs to know a single block of memory. */
export function makeFrames(count: number, size = FRAME_SIZE): Frame[] {
  const slab = new Slab(new Uint8Array(count * size));
  return Array.from({ length: count }, (_, i) => new Frame(slab, i * size, size));
}
