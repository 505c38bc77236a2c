// A wire in memory: two devices, what one transmits the other receives.

import type { Mac } from '../base/mac.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { type Device, type DeviceFeatures, emptyStats, type FrameSink, NO_OFFLOAD } from './device.ts';
import { FrameQueue, FrameStore, fitsWire } from './wire.ts';

/** MTU of Ethernet, and of every in-memory device unless told otherwise. */
export const ETHERNET_MTU = 1_500;
/** Frames that may wait in each direction: as many as Linux lets wait for a TAP (`txqueuelen`). */
const DEFAULT_QUEUE = 1_000;
/** Bytes that may wait in each direction, so that a queue of super-frames is bounded too. */
const QUEUE_BYTES = 4 * 1_024 * 1_024;

export interface PipeOptions {
  /** Largest IP packet of one frame, in bytes; 1500. */
  mtu?: number;
  macA?: Mac;
  macB?: Mac;
  /**
   * What both ends can do. With offload, super-frames and pending checksums cross as they are and arrive trusted; without,
   * wire-sized and complete frames are asked for.
   */
  features?: DeviceFeatures;
  /** Frames that may wait in each direction; 1000. */
  queue?: number;
}

/**
 * Makes the two ends of a wire. Frames arrive in order, none is lost while both ends are open, and an end whose peer does not
 * receive becomes full. Once one end is closed, what the other transmits is lost and counted as dropped.
 */
export function createPipe(options: PipeOptions = {}): [Device, Device] {
  const a = new PipeEnd('pipe-a', options.macA ?? Uint8Array.of(2, 0, 0, 0, 0, 0x0a), options);
  const b = new PipeEnd('pipe-b', options.macB ?? Uint8Array.of(2, 0, 0, 0, 0, 0x0b), options);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class PipeEnd implements Device {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly features: DeviceFeatures;
  readonly stats = emptyStats();
  onReady: (() => void) | undefined;
  peer: PipeEnd | undefined;
  readonly #most: number;
  readonly #inbox = new FrameQueue();
  readonly #store = new FrameStore();
  readonly #packet = new Packet();
  /** The peer was refused and waits to be told of room. */
  #peerWaits = false;
  #closed = false;

  constructor(name: string, mac: Mac, { mtu, features, queue }: PipeOptions) {
    this.name = name;
    this.mac = mac;
    this.mtu = mtu ?? ETHERNET_MTU;
    this.features = features ?? NO_OFFLOAD;
    this.#most = queue ?? DEFAULT_QUEUE;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    const { peer } = this;
    if (this.#closed || peer === undefined) return 0;
    let next = from;
    let arrived = 0;
    for (; next < to; next++) {
      const frame = frames[next]!;
      if (!fitsWire(frame, this.mtu, this.features, this.name) || peer.#closed) {
        this.stats.txDropped++;
        continue;
      }
      if (!peer.#accept(frame)) break;
      this.stats.txFrames++;
      this.stats.txBytes += frame.length;
      arrived++;
    }
    if (arrived > 0) peer.onReady?.();
    return next - from;
  }

  receive(sink: FrameSink, limit: number): number {
    let n = 0;
    while (n < limit) {
      const stored = this.#inbox.shift();
      if (stored === undefined) break;
      n++;
      this.stats.rxFrames++;
      this.stats.rxBytes += stored.length;
      this.#store.hand(stored, this.#packet, sink);
    }
    if (n > 0 && this.#peerWaits) {
      this.#peerWaits = false;
      this.peer?.onReady?.();
    }
    return n;
  }

  advance(_now: Micros): void {}

  nextTimeout(): Micros {
    return NEVER;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onReady = undefined;
    for (let s = this.#inbox.shift(); s !== undefined; s = this.#inbox.shift()) {
      this.stats.rxDropped++;
      this.#store.drop(s);
    }
    if (this.#peerWaits) this.peer?.onReady?.();
  }

  #accept(frame: Frame): boolean {
    if (this.#inbox.frames >= this.#most || this.#inbox.bytes >= QUEUE_BYTES) {
      this.#peerWaits = true;
      return false;
    }
    this.#inbox.push(this.#store.keep(frame));
    return true;
  }
}
