// Software segmentation and checksums for a device that has no offload, or not all of it: the stack above hands down
// super-frames and pending checksums, the device below gets frames it can send.
//
//   stack ── super-frames, pending checksums ──▶ segment ── wire-sized, complete ──▶ device
//   stack ◀────────────── as they came, untouched ─────────────────────────────────  device
//
// The payload is never copied: segments point at the same slabs as the super-frame did. A device that completes checksums
// gets them pending: the TAP's driver sums faster than we do.

import type { Mac } from '../base/mac.ts';
import { type Frame, makeFrames } from '../base/packet.ts';
import type { Micros } from '../base/time.ts';
import { Cutter, completeChecksum } from './cut.ts';
import {
  type Device,
  type DeviceFeatures,
  type DeviceStats,
  type FrameSink,
  FULL_OFFLOAD,
} from './device.ts';
import { takes } from './wire.ts';

/** Segments handed to the device at once. A super-frame of 64 KB makes 45 at an MTU of 1500. */
const BATCH = 64;

/**
 * Wraps `device` so that it takes everything. What the device can do itself (`features`) passes untouched; a device that can do
 * all of it is returned as it is.
 *
 * A super-frame is taken when its first segments are under way; the rest follows before anything else, so order is kept
 * and never more than one super-frame waits here.
 */
export function segment(device: Device): Device {
  const { checksum, tso4, tso6, uso } = device.features;
  return checksum && tso4 && tso6 && uso ? device : new SegmentingDevice(device);
}

class SegmentingDevice implements Device {
  readonly features: DeviceFeatures = FULL_OFFLOAD;
  onReady: (() => void) | undefined;
  readonly #inner: Device;
  readonly #cutter = new Cutter();
  readonly #batch: Frame[] = makeFrames(BATCH);
  // The part of #batch that is cut and not yet sent.
  #from = 0;
  #to = 0;
  #closed = false;

  constructor(inner: Device) {
    this.#inner = inner;
    inner.onReady = () => this.onReady?.();
  }

  get name(): string {
    return this.#inner.name;
  }

  get mac(): Mac {
    return this.#inner.mac;
  }

  get mtu(): number {
    return this.#inner.mtu;
  }

  get stats(): DeviceStats {
    return this.#inner.stats;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    if (this.#closed || !this.#drain()) return 0;
    const inner = this.#inner;
    let next = from;
    while (next < to) {
      // A run of frames that need no cutting goes down in one call.
      let stop = next;
      for (; stop < to; stop++) {
        const frame = frames[stop]!;
        if (takes(frame, inner.features)) continue;
        if (frame.gsoSize > 0) break;
        completeChecksum(frame);
      }
      if (stop > next) {
        next += inner.transmit(frames, next, stop);
        if (next < stop) break;
        continue;
      }
      next++;
      if (!this.#cutter.begin(frames[stop]!)) inner.stats.txDropped++;
      else if (!this.#drain()) break;
    }
    return next - from;
  }

  receive(sink: FrameSink, limit: number): number {
    this.#drain();
    return this.#inner.receive(sink, limit);
  }

  advance(now: Micros): void {
    this.#inner.advance(now);
    this.#drain();
  }

  nextTimeout(): Micros {
    return this.#inner.nextTimeout();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inner.stats.txDropped += this.#to - this.#from + this.#cutter.count - this.#cutter.taken;
    for (; this.#from < this.#to; this.#from++) this.#batch[this.#from]!.reset();
    this.#cutter.reset();
    this.#inner.close();
  }

  /** Sends what is left of the super-frame at hand; true when nothing is. */
  #drain(): boolean {
    if (this.#closed) return true;
    for (;;) {
      if (this.#from === this.#to) {
        this.#from = this.#to = 0;
        const { checksum } = this.#inner.features;
        while (this.#to < BATCH && this.#cutter.nextFrame(this.#batch[this.#to]!, checksum)) this.#to++;
        if (this.#to === 0) return true;
      }
      const sent = this.#inner.transmit(this.#batch, this.#from, this.#to);
      for (let i = 0; i < sent; i++) this.#batch[this.#from + i]!.reset();
      this.#from += sent;
      if (this.#from < this.#to) return false;
    }
  }
}
