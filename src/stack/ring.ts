// The transmit queue of an interface: frames that are built in place, sent in order, and used again.

import type { LinkPort } from '../base/netif.ts';
import { type Frame, makeFrames } from '../base/packet.ts';

/** Frames of one interface: a power of two. Half a megabyte, and four full batches of a TAP. */
export const RING_FRAMES = 256;

/**
 * Frames in a ring: those from `first` on are built and wait for the device, the one behind them is under construction.
 * A frame is copied or sent by the device before `transmit` returns, so it is free at once.
 */
export class TransmitRing {
  readonly #frames: readonly Frame[];
  readonly #mask: number;
  #first = 0;
  #count = 0;
  /** The device took less than it was given: asking again before the next round is no use. */
  #blocked = false;

  constructor(size = RING_FRAMES) {
    this.#frames = makeFrames(size);
    this.#mask = size - 1;
  }

  /** Frames that wait. */
  get waiting(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count > this.#mask;
  }

  /** True while the device refuses frames; until {@link unblock}. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** A new round: the device may have room again. */
  unblock(): void {
    this.#blocked = false;
  }

  /** The frame under construction, empty. The ring must not be full. */
  frame(): Frame {
    return this.#frames[(this.#first + this.#count) & this.#mask]!.reset();
  }

  /** The frame under construction is complete. */
  commit(): void {
    this.#count++;
  }

  /** Hands waiting frames to `port` until all are gone or it is full; returns how many went. Order is kept. */
  drain(port: LinkPort): number {
    let sent = 0;
    while (this.#count > 0 && !this.#blocked) {
      const from = this.#first;
      // What wraps around goes in a second call.
      const to = Math.min(from + this.#count, this.#mask + 1);
      const taken = port.transmit(this.#frames, from, to);
      for (let i = from; i < from + taken; i++) this.#frames[i]!.reset();
      this.#first = (from + taken) & this.#mask;
      this.#count -= taken;
      sent += taken;
      if (taken < to - from) this.#blocked = true;
    }
    return sent;
  }

  /** Throws away what waits; returns how many frames. */
  clear(): number {
    const n = this.#count;
    for (let i = 0; i < n; i++) this.#frames[(this.#first + i) & this.#mask]!.reset();
    this.#count = 0;
    return n;
  }
}
