// A queue of deadlines: a binary heap whose entries may lie later than they claim.
//
// TCP moves its retransmission deadline on nearly every ACK, almost always *later*. Such a move only writes a
// number: the entry keeps its old place in the heap and is put right when that place comes up. Only a move to
// an *earlier* time touches the heap. So a busy connection costs the heap one visit per old deadline, not one
// per packet.

import { type Micros, NEVER } from './time.ts';

/** One deadline and what to do at it. Made by the owner, kept for its life, armed and disarmed at will. */
export class Timer {
  /** When it fires; {@link NEVER} while disarmed. Read only: use {@link TimerQueue.set}. */
  deadline: Micros = NEVER;
  /** Place in the heap, -1 when not in it. */
  index = -1;
  /** The key the heap sorted it by: never later than `deadline`. */
  key: Micros = NEVER;
  readonly fire: (now: Micros) => void;

  constructor(fire: (now: Micros) => void) {
    this.fire = fire;
  }
}

/** Deadlines in order. Holds no clock: `advance(now)` is told the time. */
export class TimerQueue {
  readonly #heap: Timer[] = [];

  /** Number of timers in the queue; lazily disarmed ones count until their old deadline passes. */
  get size(): number {
    return this.#heap.length;
  }

  /** Number of timers that will fire. O(n): for tests and status pages. */
  get armed(): number {
    return this.#heap.reduce((n, t) => (t.deadline === NEVER ? n : n + 1), 0);
  }

  /** Arms `timer` for `at`, replacing an earlier deadline. `NEVER` disarms. */
  set(timer: Timer, at: Micros): void {
    timer.deadline = at;
    if (timer.index < 0) {
      if (at === NEVER) return;
      timer.key = at;
      timer.index = this.#heap.push(timer) - 1;
      this.#up(timer.index);
    } else if (at < timer.key) {
      timer.key = at;
      this.#up(timer.index);
    }
  }

  /** Disarms `timer` and forgets it at once. Call it when the owner goes away. */
  remove(timer: Timer): void {
    timer.deadline = NEVER;
    if (timer.index >= 0) this.#take(timer.index);
  }

  /** The earliest moment at which {@link advance} has something to look at: never later than the next deadline. */
  next(): Micros {
    return this.#heap[0]?.key ?? NEVER;
  }

  /** Fires every timer whose deadline is at or before `now`, earliest first. A timer may re-arm itself. */
  advance(now: Micros): void {
    for (let timer = this.#heap[0]; timer !== undefined && timer.key <= now; timer = this.#heap[0]) {
      if (timer.deadline === NEVER) {
        this.#take(0);
      } else if (timer.deadline > timer.key) {
        // It was moved: put it where it belongs, even if it is due, or it would come before earlier ones.
        timer.key = timer.deadline;
        this.#down(0);
      } else {
        this.#take(0);
        timer.deadline = NEVER;
        timer.fire(now);
      }
    }
  }

  #take(index: number): void {
    const heap = this.#heap;
    const gone = heap[index]!;
    const last = heap.pop()!;
    gone.index = -1;
    if (last === gone) return;
    heap[index] = last;
    last.index = index;
    this.#up(index);
    this.#down(last.index);
  }

  #up(from: number): void {
    const heap = this.#heap;
    const timer = heap[from]!;
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent]!;
      if (above.key <= timer.key) break;
      heap[i] = above;
      above.index = i;
      i = parent;
    }
    heap[i] = timer;
    timer.index = i;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const timer = heap[from]!;
    const n = heap.length;
    let i = from;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && heap[child + 1]!.key < heap[child]!.key) child++;
      const below = heap[child]!;
      if (below.key >= timer.key) break;
      heap[i] = below;
      below.index = i;
      i = child;
    }
    heap[i] = timer;
    timer.index = i;
  }
}
