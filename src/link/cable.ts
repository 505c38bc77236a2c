// A cable between two devices: what one receives, the other transmits, through a bad network if that is wished for.
//
//   a ── receive ─▶ [ rate ▸ loss ▸ duplicate ▸ corrupt ▸ delay ▸ reorder ] ── transmit ─▶ b        and the same from b to a
//
// Where `netem` makes the network of one host worse, a cable stands alone, between two kernels or two switches, and is driven
// by somebody with a clock. Frames pass as they are, link addresses too. Super-frames and pending checksums of a device with
// offload are cut and completed, for a cable carries neither. Each frame is copied once on its way in and once on its way out.

import { FRAME_SIZE, type Frame, HEADROOM, makeFrames, type Packet } from '../base/packet.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { Cutter } from './cut.ts';
import type { Device, FrameSink } from './device.ts';
import { ImpairedPath, type Impairment, type PathCounters } from './impair.ts';
import { FrameStore } from './wire.ts';

/** Frames on their way in each direction before the sender has to wait: 10 Gbit/s for 20 ms, at 1500 bytes. */
const DEFAULT_LIMIT = 16_384;
/** Frames taken from one device before the other direction has its turn. */
const RECEIVE_BATCH = 256;
/** Frames handed to a device at once. */
const TRANSMIT_BATCH = 64;
/** Link header with a tag, and some slack. */
const MOST_LINK_HEADER = 32;

export interface CableOptions extends Impairment {
  /** Where its chance comes from: a seed (0 unless given), or a source. Each direction draws from its own stream. */
  seed?: number;
  random?: Random;
  /** What differs from `a` to `b`, and from `b` to `a`. */
  ab?: Impairment;
  ba?: Impairment;
  /** Frames on their way in each direction; 16384. At the limit nothing more is taken from the device: its own queue fills. */
  limit?: number;
}

/** Joins two devices. It sets their `onReady` and closes them with itself. Throws RangeError for a number out of range. */
export class Cable {
  readonly counters: { readonly ab: Readonly<PathCounters>; readonly ba: Readonly<PathCounters> };
  /** Called when a device has frames or room again: {@link run} has work. */
  onReady: (() => void) | undefined;
  readonly #a: Device;
  readonly #b: Device;
  readonly #ab: Lane;
  readonly #ba: Lane;
  #closed = false;

  constructor(a: Device, b: Device, options: CableOptions = {}) {
    const random = options.random ?? seededRandom(options.seed ?? 0);
    const limit = options.limit ?? DEFAULT_LIMIT;
    this.#a = a;
    this.#b = b;
    this.#ab = new Lane(a, b, seededRandom(random.u32()), limit);
    this.#ba = new Lane(b, a, seededRandom(random.u32()), limit);
    this.counters = { ab: this.#ab.path.counters, ba: this.#ba.path.counters };
    this.change('both', options);
    if (options.ab !== undefined) this.change('ab', options.ab);
    if (options.ba !== undefined) this.change('ba', options.ba);
    a.onReady = () => this.#wake(this.#ba);
    b.onReady = () => this.#wake(this.#ab);
  }

  /** Frames that are on their way. */
  get held(): number {
    return this.#ab.path.held + this.#ba.path.held;
  }

  /** Changes the network while it runs. What is left out keeps its value; frames under way keep their fate. */
  change(direction: 'both' | 'ab' | 'ba', impairment: Impairment): void {
    if (direction !== 'ba') this.#ab.path.change(impairment);
    if (direction !== 'ab') this.#ba.path.change(impairment);
  }

  /** Takes what has arrived and sends what is due. True when more waits: call again, at once or a little later. */
  run(now: Micros): boolean {
    if (this.#closed) return false;
    this.#a.advance(now);
    this.#b.advance(now);
    const more = this.#ab.run(now);
    return this.#ba.run(now) || more;
  }

  /** When {@link run} has something to do, apart from what `onReady` says. */
  nextTimeout(): Micros {
    if (this.#closed) return NEVER;
    const devices = Math.min(this.#a.nextTimeout(), this.#b.nextTimeout());
    return Math.min(devices, this.#ab.nextDue(), this.#ba.nextDue());
  }

  /** Loses what is on its way, and closes both devices. Twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onReady = undefined;
    this.#ab.clear();
    this.#ba.clear();
    this.#a.close();
    this.#b.close();
  }

  /** A device has frames, or room for those of `into`. */
  #wake(into: Lane): void {
    into.blocked = false;
    this.onReady?.();
  }
}

/** One direction. */
class Lane {
  readonly path: ImpairedPath;
  /** The device was full; it will say when it is not. */
  blocked = false;
  readonly #from: Device;
  readonly #to: Device;
  readonly #limit: number;
  readonly #store = new FrameStore();
  readonly #cutter = new Cutter();
  readonly #batch: Frame[];
  /** Those of the batch that wait for the device. */
  #first = 0;
  #end = 0;
  #now: Micros = 0;
  readonly #sink: FrameSink = (packet) => this.#arrive(packet);

  constructor(from: Device, to: Device, random: Random, limit: number) {
    this.#from = from;
    this.#to = to;
    this.#limit = limit;
    this.path = new ImpairedPath(this.#store, random);
    const size = Math.max(from.mtu, to.mtu) + HEADROOM + MOST_LINK_HEADER;
    this.#batch = makeFrames(TRANSMIT_BATCH, Math.max(FRAME_SIZE, size));
  }

  run(now: Micros): boolean {
    this.#now = now;
    this.#send();
    const most = Math.min(RECEIVE_BATCH, this.#limit - this.path.held);
    const taken = most > 0 ? this.#from.receive(this.#sink, most) : 0;
    if (taken > 0) this.#send();
    return taken === RECEIVE_BATCH || (taken > 0 && taken === most && this.path.held < this.#limit);
  }

  /** When a frame is due that the device would take. A full lane waits for the same moment to take more. */
  nextDue(): Micros {
    return this.blocked ? NEVER : this.path.nextDue();
  }

  clear(): void {
    for (; this.#first < this.#end; this.#first++) this.#batch[this.#first]!.reset();
    this.path.clear();
  }

  #arrive(packet: Packet): void {
    const { slab, start, end, gsoSize } = packet;
    if (gsoSize === 0) {
      const stored = this.#store.keepBytes(slab.bytes, start, end - start);
      stored.trusted = packet.checksumTrusted;
      this.path.input(this.#store.complete(stored), this.#now);
      return;
    }
    const cutter = this.#cutter;
    if (!cutter.beginBytes(slab, start, end - start, gsoSize)) {
      this.path.counters.uncuttable++;
      return;
    }
    while (!cutter.done) {
      const stored = this.#store.reserve(cutter.longest);
      stored.length = cutter.nextBytes(stored.slab, stored.offset);
      this.path.input(stored, this.#now);
    }
  }

  /** Hands over what is due, until the device is full. */
  #send(): void {
    while (!this.blocked) {
      if (this.#first === this.#end && this.#load() === 0) return;
      const sent = this.#to.transmit(this.#batch, this.#first, this.#end);
      for (let i = 0; i < sent; i++) this.#batch[this.#first + i]!.reset();
      this.#first += sent;
      this.blocked = this.#first < this.#end;
    }
  }

  #load(): number {
    this.#first = this.#end = 0;
    while (this.#end < TRANSMIT_BATCH) {
      const stored = this.path.takeDue(this.#now);
      if (stored === undefined) break;
      const frame = this.#batch[this.#end]!;
      if (stored.length > frame.room) {
        // Larger than either MTU: no wire carries it.
        this.#to.stats.txDropped++;
      } else {
        frame.copyIn(stored.slab.bytes, stored.offset, stored.length);
        this.#end++;
      }
      this.#store.drop(stored);
    }
    return this.#end;
  }
}
