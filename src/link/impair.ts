// One direction of a bad network: what happens to each frame, decided by chance when it enters, and when it comes out.

import { below, type Random, unit } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../base/time.ts';
import type { FrameStore, StoredFrame } from './wire.ts';

/**
 * How jitter is spread: evenly over ± jitter; as a normal distribution with jitter as its standard deviation; or as a Pareto
 * distribution (shape 4) of the same deviation, whose long tail is that of real queues. Computed from sums and square roots
 * alone, so that every machine draws the same.
 */
export type Distribution = 'uniform' | 'normal' | 'pareto';

/** The Gilbert-Elliott model: a good state and a bad one, each with its own loss (Elliott 1963). Probabilities a frame. */
export interface BurstLoss {
  /** From good to bad, and from bad to good: bursts are 1/r frames long on average. */
  readonly p: number;
  readonly r: number;
  /** Loss in the bad state, 1 unless given, and in the good state, 0. */
  readonly bad?: number;
  readonly good?: number;
}

export interface Reorder {
  /** Share of frames that are held back. */
  readonly probability: number;
  /** How many later frames overtake it; without it, as many as come in `extra`. */
  readonly gap?: number;
  /** How much later it comes; with `gap`, the latest if not enough frames follow. 10 ms unless given. */
  readonly extra?: Micros;
}

export interface Corrupt {
  /** Share of frames in which one bit is flipped. */
  readonly probability: number;
  /** First byte that may be hit: 14 spares the link header, so that the frame still finds its host. 0 unless given. */
  readonly from?: number;
}

/** What may befall a frame. Everything left out does not happen. */
export interface Impairment {
  delay?: Micros;
  /** How far the delay varies. Frames keep their order all the same, as in a queue: only `reorder` reorders. */
  jitter?: Micros;
  delayDistribution?: Distribution;
  /** Bits a second; 0 or Infinity for no limit. Frames wait in a queue of `queue` bytes (256 KiB), and are lost when it is full. */
  rate?: number;
  queue?: number;
  loss?: number;
  burstLoss?: BurstLoss | undefined;
  duplicate?: number;
  reorder?: number | Reorder;
  corrupt?: number | Corrupt;
}

/** What a path did. `frames` went in; `frames` − `lost` − `overflowed` + `duplicated` come out. */
export interface PathCounters {
  frames: number;
  bytes: number;
  lost: number;
  /** Lost because the queue before the rate limit was full. */
  overflowed: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  /** Super-frames that could not be cut, and were lost. */
  uncuttable: number;
  delivered: number;
}

const DEFAULT_QUEUE = 256 * 1_024;
const DEFAULT_EXTRA: Micros = 10 * MILLISECOND;
/** Standard deviation and mean of a Pareto distribution of shape 4 that starts at 1. */
const PARETO_MEAN = 4 / 3;
const PARETO_DEVIATION = Math.sqrt(2 / 9);

/** A frame held back until `passes` more have gone by, or until its own `due`. */
interface Late {
  readonly stored: StoredFrame;
  passes: number;
}

export class ImpairedPath {
  readonly counters: PathCounters = {
    frames: 0,
    bytes: 0,
    lost: 0,
    overflowed: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
    uncuttable: 0,
    delivered: 0,
  };
  readonly #store: FrameStore;
  readonly #random: Random;
  /** A heap by (due, order): equal times come out as they went in. */
  readonly #heap: StoredFrame[] = [];
  readonly #late: Late[] = [];
  #order = 0;
  #lastDue: Micros = 0;
  /** When the rate limit has sent all that was given to it; a fraction of a microsecond counts. */
  #busyUntil = 0;
  #inBadState = false;

  #delay = 0;
  #jitter = 0;
  #distribution: Distribution = 'uniform';
  #rate = 0;
  #queue = DEFAULT_QUEUE;
  #loss = 0;
  #burst: Required<BurstLoss> | undefined;
  #duplicate = 0;
  #reorder: Reorder = { probability: 0 };
  #corrupt: Corrupt = { probability: 0 };

  constructor(store: FrameStore, random: Random) {
    this.#store = store;
    this.#random = random;
  }

  /** Frames that went in and have not come out. */
  get held(): number {
    return this.#heap.length + this.#late.length;
  }

  /** Frames that will never come out. */
  get lostFrames(): number {
    const { lost, overflowed, uncuttable } = this.counters;
    return lost + overflowed + uncuttable;
  }

  change(to: Impairment): void {
    const reorder = typeof to.reorder === 'number' ? { probability: to.reorder } : to.reorder;
    const corrupt = typeof to.corrupt === 'number' ? { probability: to.corrupt } : to.corrupt;
    for (const p of [to.loss, to.duplicate, reorder?.probability, corrupt?.probability]) asProbability(p);
    const { p, r, bad = 1, good = 0 } = to.burstLoss ?? { p: 0, r: 0 };
    for (const q of [p, r, bad, good]) asProbability(q);
    const amounts = [to.delay, to.jitter, to.rate, to.queue, reorder?.gap, reorder?.extra, corrupt?.from];
    for (const n of amounts) {
      if (n !== undefined && !(n >= 0)) throw new RangeError(`netem: ${n} is not an amount`);
    }
    this.#delay = to.delay ?? this.#delay;
    this.#jitter = to.jitter ?? this.#jitter;
    this.#distribution = to.delayDistribution ?? this.#distribution;
    this.#rate = to.rate === Number.POSITIVE_INFINITY ? 0 : (to.rate ?? this.#rate);
    this.#queue = to.queue ?? this.#queue;
    this.#loss = to.loss ?? this.#loss;
    if ('burstLoss' in to) this.#burst = to.burstLoss === undefined ? undefined : { p, r, bad, good };
    this.#duplicate = to.duplicate ?? this.#duplicate;
    this.#reorder = reorder ?? this.#reorder;
    this.#corrupt = corrupt ?? this.#corrupt;
  }

  /** A frame enters. It is the path's from now on, and comes out of {@link takeDue} or is dropped. */
  input(stored: StoredFrame, now: Micros): void {
    const { counters } = this;
    counters.frames++;
    counters.bytes += stored.length;
    const sent = this.#serialize(stored.length, now);
    if (sent < 0) {
      counters.overflowed++;
      this.#store.drop(stored);
    } else if (this.#isLost()) {
      counters.lost++;
      this.#store.drop(stored);
    } else {
      let twin: StoredFrame | undefined;
      if (this.#happens(this.#duplicate)) {
        counters.duplicated++;
        twin = this.#store.keepBytes(stored.slab.bytes, stored.offset, stored.length);
      }
      this.#travel(stored, sent);
      if (twin !== undefined) this.#travel(twin, sent);
    }
  }

  /** The next frame that is due, if any. It is the caller's. */
  takeDue(now: Micros): StoredFrame | undefined {
    for (let i = 0; i < this.#late.length; i++) {
      const { stored } = this.#late[i]!;
      if (stored.due > now) continue;
      this.#late.splice(i--, 1);
      this.#push(stored, stored.due);
    }
    const first = this.#heap[0];
    if (first === undefined || first.due > now) return undefined;
    this.#pop();
    this.counters.delivered++;
    return first;
  }

  nextDue(): Micros {
    let next = this.#heap[0]?.due ?? NEVER;
    for (const { stored } of this.#late) if (stored.due < next) next = stored.due;
    return next;
  }

  /** Drops all that is under way. */
  clear(): void {
    for (const stored of this.#heap) this.#store.drop(stored);
    for (const { stored } of this.#late) this.#store.drop(stored);
    this.#heap.length = this.#late.length = 0;
  }

  /** When the last bit has left the sender; -1 when its queue has no room for the frame. */
  #serialize(length: number, now: Micros): number {
    if (this.#rate === 0) return now;
    const start = Math.max(now, this.#busyUntil);
    const waiting = ((start - now) * this.#rate) / (8 * SECOND);
    // The queue holds what waits behind the frame being sent; an idle sender takes any frame.
    if (waiting > 0 && waiting + length > this.#queue) return -1;
    this.#busyUntil = start + (length * 8 * SECOND) / this.#rate;
    return Math.ceil(this.#busyUntil);
  }

  #isLost(): boolean {
    const burst = this.#burst;
    if (burst !== undefined) {
      if (this.#happens(this.#inBadState ? burst.r : burst.p)) this.#inBadState = !this.#inBadState;
      if (this.#happens(this.#inBadState ? burst.bad : burst.good)) return true;
    }
    return this.#happens(this.#loss);
  }

  #travel(stored: StoredFrame, sent: Micros): void {
    const { counters } = this;
    if (this.#happens(this.#corrupt.probability) && this.#flipOneBit(stored)) counters.corrupted++;
    const arrival = Math.max(sent, Math.round(sent + this.#delay + this.#draw() * this.#jitter));
    const due = Math.max(arrival, this.#lastDue);
    if (this.#happens(this.#reorder.probability)) {
      counters.reordered++;
      const latest = due + Math.round(this.#reorder.extra ?? DEFAULT_EXTRA);
      if (this.#reorder.gap === undefined) this.#push(stored, latest);
      else {
        stored.due = latest;
        this.#late.push({ stored, passes: this.#reorder.gap });
      }
      return;
    }
    this.#lastDue = due;
    this.#push(stored, due);
    for (let i = 0; i < this.#late.length; i++) {
      const late = this.#late[i]!;
      if (--late.passes > 0) continue;
      // Enough have overtaken it: it follows the last of them.
      this.#late.splice(i--, 1);
      this.#push(late.stored, due);
    }
  }

  /** Flips one bit of one byte. False when there is none to flip. */
  #flipOneBit({ slab, offset, length }: StoredFrame): boolean {
    const from = this.#corrupt.from ?? 0;
    if (length <= from) return false;
    const at = offset + from + below(this.#random, length - from);
    slab.bytes[at] = slab.bytes[at]! ^ (1 << below(this.#random, 8));
    return true;
  }

  /** A number of mean 0, to be multiplied with the jitter. */
  #draw(): number {
    if (this.#jitter === 0) return 0;
    const random = this.#random;
    if (this.#distribution === 'uniform') return 2 * unit(random) - 1;
    if (this.#distribution === 'normal') {
      // The sum of twelve even draws has deviation 1, and is normal but for the far tails.
      let total = -6;
      for (let i = 0; i < 12; i++) total += unit(random);
      return total;
    }
    const x = 1 / Math.sqrt(Math.sqrt((random.u32() + 1) / 0x1_0000_0000));
    return (x - PARETO_MEAN) / PARETO_DEVIATION;
  }

  /** Draws only when the answer is open, so that turning one impairment on does not move the others more than it must. */
  #happens(probability: number): boolean {
    return probability > 0 && (probability >= 1 || unit(this.#random) < probability);
  }

  #push(stored: StoredFrame, due: Micros): void {
    stored.due = due;
    stored.order = this.#order++;
    const heap = this.#heap;
    let i = heap.push(stored) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (isBefore(heap[parent]!, stored)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = stored;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const n = heap.length;
    if (n === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function isBefore(a: StoredFrame, b: StoredFrame): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

function asProbability(p: number | undefined): void {
  if (p !== undefined && !(p >= 0 && p <= 1)) throw new RangeError(`netem: ${p} is not a probability`);
}
