// A link device over any stream of frames such as npm's `tuntap2`: one chunk is one frame. No offload.

import type { Duplex } from 'node:stream';
import type { Mac } from '../base/mac.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import { type Micros, NEVER } from '../base/time.ts';
import {
  type Device,
  type DeviceFeatures,
  type DeviceStats,
  emptyStats,
  type FrameSink,
  NO_OFFLOAD,
} from '../link/device.ts';
import { macOf } from './tap-link.ts';

/** Frames that wait for the stack before the stream is paused: as many as a network card's ring holds. */
const QUEUE_PAUSE = 256;
/** Frames that wait at most: a stream may deliver a few more after it was paused. Beyond, they are dropped. */
const QUEUE_MOST = 1024;
/** Shorter than an Ethernet header: no frame. */
const ETHERNET_HEADER = 14;

/** What a stream cannot tell about itself. */
export interface DuplexDeviceOptions {
  readonly mtu: number;
  /** Our link address, not that of the other end. */
  readonly mac: Mac | string;
  readonly name?: string;
}

/**
 * A device that reads and writes frames of `duplex`. The stream's back-pressure is kept in both directions: it is paused
 * while frames wait, and takes nothing while it wants `'drain'`. Wrap the device in `segment`.
 */
export function deviceFromDuplex(duplex: Duplex, options: DuplexDeviceOptions): DuplexDevice {
  return new DuplexDevice(duplex, options);
}

/** See {@link deviceFromDuplex}. */
export class DuplexDevice implements Device {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly features: DeviceFeatures = NO_OFFLOAD;
  readonly stats: DeviceStats = emptyStats();
  onReady: (() => void) | undefined;
  /** Why the stream ended by itself, if it failed. */
  failure: Error | undefined;
  readonly #duplex: Duplex;
  readonly #packet = new Packet();
  #queue: Uint8Array[] = [];
  /** First frame of the queue that was not handed over. */
  #next = 0;
  #full = false;
  #closed = false;

  constructor(duplex: Duplex, options: DuplexDeviceOptions) {
    this.name = options.name ?? (duplex as { name?: string }).name ?? 'duplex';
    this.mac = macOf(options.mac);
    this.mtu = options.mtu;
    this.#duplex = duplex;
    duplex.on('data', this.#arrived);
    duplex.on('drain', this.#drained);
    duplex.on('error', this.#failed);
    duplex.on('close', this.#ended);
  }

  get #waiting(): number {
    return this.#queue.length - this.#next;
  }

  readonly #arrived = (chunk: Uint8Array): void => {
    if (this.#waiting >= QUEUE_MOST || chunk.length < ETHERNET_HEADER) {
      this.stats.rxDropped++;
      return;
    }
    this.#queue.push(chunk);
    if (this.#waiting >= QUEUE_PAUSE) this.#duplex.pause();
    if (this.#waiting === 1) this.onReady?.();
  };

  readonly #drained = (): void => {
    this.#full = false;
    this.onReady?.();
  };

  readonly #failed = (error: Error): void => {
    this.failure = error;
  };

  readonly #ended = (): void => {
    this.#closed = true;
    this.onReady?.();
  };

  receive(sink: FrameSink, limit: number): number {
    let count = 0;
    // Looked at each time: `sink` may close the device.
    for (; count < limit && this.#waiting > 0; count++) {
      const bytes = this.#queue[this.#next++] as Uint8Array;
      this.stats.rxFrames++;
      this.stats.rxBytes += bytes.length;
      // The chunk is ours alone, so what the stack pins is simply kept alive.
      sink(this.#packet.set(new Slab(plain(bytes)), 0, bytes.length));
    }
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
      if (!this.#closed && this.#duplex.isPaused()) this.#duplex.resume();
    } else if (count > 0) {
      setImmediate(() => this.onReady?.()); // `limit` was reached: frames still wait
    }
    return count;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    let at = from;
    while (at < to && !this.#full && !this.#closed && this.#duplex.writable) {
      const frame = frames[at++] as Frame;
      const { length } = frame;
      // The stream may keep the chunk for long, and the frame is reused at once: a copy of its own.
      const bytes = Buffer.allocUnsafe(length);
      frame.copyTo(bytes, 0);
      this.stats.txFrames++;
      this.stats.txBytes += length;
      if (!this.#duplex.write(bytes)) this.#full = true;
    }
    return at - from;
  }

  advance(_now: Micros): void {}

  nextTimeout(): Micros {
    return NEVER;
  }

  /** Destroys the stream. */
  close(): void {
    if (this.#closed && this.#duplex.destroyed) return;
    this.#closed = true;
    this.onReady = undefined;
    this.#queue = [];
    this.#next = 0;
    this.#duplex.off('data', this.#arrived);
    this.#duplex.off('drain', this.#drained);
    this.#duplex.destroy();
  }
}

/** The same bytes without Buffer's prototype: every slab has the same shape. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
