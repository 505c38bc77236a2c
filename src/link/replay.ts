// Plays captured frames to a stack, each at its time, and collects what the stack answers.

import type { Mac } from '../base/mac.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { type Device, emptyStats, type FrameSink, NO_OFFLOAD } from './device.ts';
import { ETHERNET_MTU } from './pipe.ts';
import { FrameStore, fitsWire } from './wire.ts';

/** Bytes of answers kept when nobody takes them; later ones are counted as dropped. */
const KEPT_BYTES = 64 * 1_024 * 1_024;

/** A frame and its time. The epoch is the capture's own: only differences count. */
export interface TimedFrame {
  readonly at: Micros;
  readonly bytes: Uint8Array;
}

export interface ReplayOptions {
  /** In the order they are played. Read as they come due: a reader of a large file may be lazy. Bytes are copied when read. */
  frames: Iterable<TimedFrame>;
  /** 2 plays twice as fast; Infinity plays everything at once. 1 unless given. */
  speed?: number;
  /** How often it is played; `true` for ever. An iterable that can be read only once is played once. */
  loop?: boolean | number;
  /** The capture's time that falls on the first `advance`; the time of the first frame unless given. */
  origin?: Micros;
  mac?: Mac;
  mtu?: number;
  name?: string;
  /** Takes each transmitted frame, a copy; without it they are kept in `transmitted`. */
  onTransmit?: (frame: TimedFrame) => void;
}

export interface Replay extends Device {
  /** What was transmitted, with the time of the last `advance`. At most 64 MiB; empty with `onTransmit`. */
  readonly transmitted: TimedFrame[];
  /** True when the last frame was handed on. */
  readonly done: boolean;
}

/**
 * A device whose received frames come from a capture. Times run from the first `advance(now)`; a timestamp that goes back is
 * played at once after the one before it. It never refuses a transmitted frame. Throws RangeError for a speed that is not
 * above zero.
 */
export function replay(options: ReplayOptions): Replay {
  return new ReplayDevice(options);
}

class ReplayDevice implements Replay {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly features = NO_OFFLOAD;
  readonly stats = emptyStats();
  readonly transmitted: TimedFrame[] = [];
  onReady: (() => void) | undefined;
  done = false;
  readonly #frames: Iterable<TimedFrame>;
  readonly #speed: number;
  readonly #onTransmit: ((frame: TimedFrame) => void) | undefined;
  readonly #store = new FrameStore();
  readonly #packet = new Packet();
  #iterator: Iterator<TimedFrame> | undefined;
  #rounds: number;
  /** The frame to be played next, and when. */
  #next: TimedFrame | undefined;
  #due: Micros = NEVER;
  /** The capture's time that falls on `#start`. */
  #origin: Micros | undefined;
  #start: Micros = NEVER;
  #now: Micros = 0;
  #keptBytes = 0;
  #closed = false;

  constructor(options: ReplayOptions) {
    const { speed = 1, loop = false } = options;
    if (!(speed > 0)) throw new RangeError(`replay: ${speed} is no speed`);
    this.name = options.name ?? 'replay';
    this.mac = options.mac ?? Uint8Array.of(2, 0, 0, 0, 0, 0x0c);
    this.mtu = options.mtu ?? ETHERNET_MTU;
    this.#frames = options.frames;
    this.#speed = speed;
    this.#rounds = loop === true ? Number.POSITIVE_INFINITY : Math.max(1, Number(loop));
    this.#origin = options.origin;
    this.#onTransmit = options.onTransmit;
  }

  advance(now: Micros): void {
    if (this.#start === NEVER) {
      this.#start = this.#now = now;
      if (!this.#closed) this.#readNext();
    }
    if (now > this.#now) this.#now = now;
  }

  /** Before the first `advance` it wants to be told the time at once. */
  nextTimeout(): Micros {
    if (this.#closed) return NEVER;
    return this.#start === NEVER ? this.#now : this.#due;
  }

  receive(sink: FrameSink, limit: number): number {
    let n = 0;
    while (n < limit && this.#next !== undefined && this.#due <= this.#now) {
      const { bytes } = this.#next;
      const stored = this.#store.keepBytes(bytes, 0, bytes.length);
      n++;
      this.stats.rxFrames++;
      this.stats.rxBytes += bytes.length;
      this.#readNext();
      this.#store.hand(stored, this.#packet, sink);
    }
    return n;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    if (this.#closed) return 0;
    for (let i = from; i < to; i++) this.#collect(frames[i]!);
    return to - from;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onReady = undefined;
    this.#next = undefined;
    this.#due = NEVER;
    this.#iterator?.return?.();
  }

  #collect(frame: Frame): void {
    const fits = fitsWire(frame, this.mtu, this.features, this.name);
    const { length } = frame;
    if (!fits || (this.#onTransmit === undefined && this.#keptBytes + length > KEPT_BYTES)) {
      this.stats.txDropped++;
      return;
    }
    this.stats.txFrames++;
    this.stats.txBytes += length;
    const bytes = new Uint8Array(length);
    frame.copyTo(bytes, 0);
    const timed = { at: this.#now, bytes };
    if (this.#onTransmit !== undefined) this.#onTransmit(timed);
    else {
      this.#keptBytes += length;
      this.transmitted.push(timed);
    }
  }

  /** Reads the next frame, beginning again from the start when another round is due. */
  #readNext(): void {
    this.#iterator ??= this.#frames[Symbol.iterator]();
    let step = this.#iterator.next();
    if (step.done === true && this.#rounds > 1 && this.#next !== undefined) {
      // The next round begins where this one ended. One that turns out empty ends the show.
      this.#rounds--;
      this.#start = this.#due;
      this.#origin = undefined;
      this.#iterator = this.#frames[Symbol.iterator]();
      step = this.#iterator.next();
    }
    if (step.done === true) {
      this.#next = undefined;
      this.#due = NEVER;
      this.done = true;
      return;
    }
    const frame = step.value;
    this.#origin ??= frame.at;
    const due = this.#start + Math.max(0, Math.round((frame.at - this.#origin) / this.#speed));
    this.#due = this.#next === undefined ? due : Math.max(due, this.#due);
    this.#next = frame;
  }
}
