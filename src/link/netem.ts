// A worse network: delays, loses, repeats, reorders, corrupts and slows down the frames of the device it wraps, the same way
// every time for the same seed.
//
//   frame ─▶ rate and its queue ─▶ loss ─▶ duplicate ─▶ corrupt ─▶ delay ± jitter ─▶ reorder ─▶ frame
//
// It deals in complete, wire-sized frames, so the stack wears it as `segment(netem(device))`. A super-frame or pending checksum
// that reaches it all the same, from above or from a device with offload, is cut and completed first: a flipped bit is then
// always seen as a bad checksum by who receives it.

import type { Mac } from '../base/mac.ts';
import { FRAME_SIZE, type Frame, HEADROOM, makeFrames, Packet } from '../base/packet.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { Slab } from '../base/slab.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { Cutter } from './cut.ts';
import { type Device, type DeviceFeatures, emptyStats, type FrameSink, NO_OFFLOAD } from './device.ts';
import { ImpairedPath, type Impairment, type PathCounters } from './impair.ts';
import { FrameStore, isWireSized } from './wire.ts';

export type { BurstLoss, Distribution, Impairment, PathCounters, Reorder } from './impair.ts';

/** Frames held in each direction before the sender is told to wait: 10 Gbit/s for 20 ms, at 1500 bytes. */
const DEFAULT_LIMIT = 16_384;
/** Frames handed to the device at once. */
const BATCH = 32;

export interface NetemOptions extends Impairment {
  /** Where its chance comes from: a seed (0 unless given), or a source. Each direction draws from its own stream. */
  seed?: number;
  random?: Random;
  /** Which frames the impairments above are for: those received (`in`), those transmitted (`out`), or `both`. */
  direction?: 'both' | 'in' | 'out';
  /** What differs in one direction. */
  in?: Impairment;
  out?: Impairment;
  /** Frames held in each direction; 16384. At the limit the sender is told to wait: nothing is lost that was not asked for. */
  limit?: number;
}

export interface Netem extends Device {
  /** What it did so far to frames received and transmitted. */
  readonly counters: { readonly in: Readonly<PathCounters>; readonly out: Readonly<PathCounters> };
  /** Changes the network while it runs. What is left out keeps its value; frames under way keep their fate. */
  change(direction: 'both' | 'in' | 'out', impairment: Impairment): void;
}

/**
 * Wraps `device` in a bad network. Times are microseconds, rates bit/s, probabilities 0 to 1. Throws RangeError for a number out
 * of range.
 */
export function netem(device: Device, options: NetemOptions = {}): Netem {
  return new NetemDevice(device, options);
}

class NetemDevice implements Netem {
  readonly features: DeviceFeatures = NO_OFFLOAD;
  readonly stats = emptyStats();
  onReady: (() => void) | undefined;
  readonly counters: { readonly in: PathCounters; readonly out: PathCounters };
  readonly #inner: Device;
  readonly #limit: number;
  readonly #store = new FrameStore();
  readonly #in: ImpairedPath;
  readonly #out: ImpairedPath;
  readonly #packet = new Packet();
  readonly #cutter = new Cutter();
  readonly #wrap: FrameSink = (packet) => this.#arrive(packet);
  // Frames that are due and wait for the device: #batch[#from] to #batch[#to - 1].
  readonly #batch: Frame[];
  #from = 0;
  #to = 0;
  /** The device was full; it will say when it is not. */
  #blocked = false;
  /** The sender was refused and waits to be told of room. */
  #senderWaits = false;
  /** Frames of a size that no wire carries. */
  #refused = 0;
  #now: Micros = 0;
  #closed = false;

  constructor(inner: Device, options: NetemOptions) {
    const { direction = 'both' } = options;
    const random = options.random ?? seededRandom(options.seed ?? 0);
    this.#inner = inner;
    this.#limit = options.limit ?? DEFAULT_LIMIT;
    this.#out = new ImpairedPath(this.#store, seededRandom(random.u32()));
    this.#in = new ImpairedPath(this.#store, seededRandom(random.u32()));
    this.counters = { in: this.#in.counters, out: this.#out.counters };
    this.change(direction, options);
    if (options.in !== undefined) this.change('in', options.in);
    if (options.out !== undefined) this.change('out', options.out);
    this.#batch = makeFrames(BATCH, Math.max(FRAME_SIZE, HEADROOM + inner.mtu + 32));
    inner.onReady = () => {
      this.#blocked = false;
      this.onReady?.();
    };
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

  change(direction: 'both' | 'in' | 'out', impairment: Impairment): void {
    if (direction !== 'out') this.#in.change(impairment);
    if (direction !== 'in') this.#out.change(impairment);
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    if (this.#closed) return 0;
    let next = from;
    for (; next < to; next++) {
      if (this.#out.held >= this.#limit) {
        this.#senderWaits = true;
        break;
      }
      const frame = frames[next]!;
      this.stats.txFrames++;
      this.stats.txBytes += frame.length;
      if (frame.gsoSize > 0) this.#cut(this.#out, this.#cutter.begin(frame));
      else if (isWireSized(frame, this.mtu)) {
        this.#out.input(this.#store.complete(this.#store.keep(frame)), this.#now);
      } else this.#refused++;
    }
    this.#send();
    this.stats.txDropped = this.#out.lostFrames + this.#refused;
    return next - from;
  }

  receive(sink: FrameSink, limit: number): number {
    if (this.#closed) return 0;
    this.#send();
    let n = 0;
    for (;;) {
      const room = this.#limit - this.#in.held;
      const pulled = room > 0 ? this.#inner.receive(this.#wrap, room) : 0;
      const before = n;
      while (n < limit) {
        const stored = this.#in.takeDue(this.#now);
        if (stored === undefined) break;
        n++;
        this.stats.rxFrames++;
        this.stats.rxBytes += stored.length;
        this.#store.hand(stored, this.#packet, sink);
      }
      // More may wait below only when all the room was used, and there is room again only when something left.
      if (n === limit || n === before || pulled < room) break;
    }
    this.stats.rxDropped = this.#in.lostFrames;
    return n;
  }

  advance(now: Micros): void {
    if (now > this.#now) this.#now = now;
    this.#inner.advance(now);
    if (!this.#closed) this.#send();
  }

  nextTimeout(): Micros {
    if (this.#closed) return this.#inner.nextTimeout();
    const out = this.#blocked ? NEVER : this.#out.nextDue();
    return Math.min(this.#in.nextDue(), out, this.#inner.nextTimeout());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onReady = undefined;
    this.stats.txDropped += this.#out.held + this.#to - this.#from;
    this.stats.rxDropped += this.#in.held;
    for (; this.#from < this.#to; this.#from++) this.#batch[this.#from]!.reset();
    this.#in.clear();
    this.#out.clear();
    this.#inner.close();
  }

  /** A frame from the device below. */
  #arrive(packet: Packet): void {
    const { slab, start, end } = packet;
    if (packet.gsoSize > 0) {
      this.#cut(this.#in, this.#cutter.beginBytes(slab, start, end - start, packet.gsoSize));
      return;
    }
    const stored = this.#store.keepBytes(slab.bytes, start, end - start);
    stored.trusted = packet.checksumTrusted;
    this.#in.input(this.#store.complete(stored), this.#now);
  }

  /** Puts the segments of the super-frame in #cutter on a path, each as a frame of its own. */
  #cut(path: ImpairedPath, cuttable: boolean): void {
    if (!cuttable) {
      path.counters.uncuttable++;
      return;
    }
    const cutter = this.#cutter;
    while (!cutter.done) {
      const stored = this.#store.reserve(cutter.longest);
      stored.length = cutter.nextBytes(stored.slab, stored.offset);
      path.input(stored, this.#now);
    }
  }

  /** Hands the device what is due, until it is full. */
  #send(): void {
    while (!this.#blocked) {
      if (this.#from === this.#to) this.#load();
      if (this.#to === 0) break;
      const sent = this.#inner.transmit(this.#batch, this.#from, this.#to);
      for (let i = 0; i < sent; i++) this.#batch[this.#from + i]!.reset();
      this.#from += sent;
      // The device may have called onReady meanwhile, but then it has taken all.
      this.#blocked = this.#from < this.#to;
    }
    if (this.#senderWaits && this.#out.held < this.#limit) {
      this.#senderWaits = false;
      this.onReady?.();
    }
  }

  #load(): void {
    this.#from = this.#to = 0;
    while (this.#to < BATCH) {
      const stored = this.#out.takeDue(this.#now);
      if (stored === undefined) return;
      const frame = this.#batch[this.#to++]!;
      const inline = Math.min(stored.length, frame.room);
      frame.copyIn(stored.slab.bytes, stored.offset, inline);
      if (inline < stored.length) {
        // Larger than the MTU: the device will refuse it, but that is for the device to say.
        const rest = stored.offset + inline;
        frame.attach(
          new Slab(stored.slab.bytes.slice(rest, stored.offset + stored.length)),
          0,
          stored.length - inline,
        );
      }
      this.#store.drop(stored);
    }
  }
}
