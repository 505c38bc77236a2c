// Drives one stack over one device: the only place that waits, reads the clock and sets a timer.
//
//   device ready ─► round:  receive → input → advance ─┐
//   timer        ─► round ─────────────────────────────┤► flush → deliver, again while something is pending
//   user's call  ─► touch ─► (this tick's end) settle ─┘
//
// A round never nests. What the application does in its callbacks is flushed by the same round, so that a request is
// read, answered and sent in one go.

import type { DropReason, Verdict } from '../base/drop.ts';
import type { NetInterface } from '../base/netif.ts';
import type { Packet } from '../base/packet.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { Device } from '../link/device.ts';
import { now } from './clock.ts';
import { surface } from './errors.ts';

/** What the loop asks of a stack. */
export interface Driven<I extends NetInterface> {
  input(iface: I, packet: Packet): Verdict;
  advance(now: Micros): void;
  flush(): void;
  deliver(): void;
  nextTimeout(): Micros;
  readonly pending: boolean;
}

/** A handle that wants to be called soon, out of the caller's way. */
export interface Deferred {
  resume(): void;
}

/** Frames taken from the device between two looks at timers and at what there is to send. */
const RECEIVE_BATCH = 256;
/** Flush-and-deliver turns before the event loop gets a breath: an application that answers itself must not starve it. */
const MOST_TURNS = 16;
/** setTimeout's longest wait, in milliseconds. */
const LONGEST_WAIT = 2 ** 31 - 1;

export interface LoopOptions {
  /**
   * True when `onReady` is called from the event loop itself, as a TAP's is: the round then runs at once. Otherwise
   * (a pipe, whose `onReady` is called from within another stack's flush) it runs in the next check phase.
   */
  readonly direct: boolean;
  /** Sets the stack's clock before a user's call, without firing timers. */
  readonly setTime: (now: Micros) => void;
  /** Called with each frame that the stack did not take, and where it ended before the stack read it. */
  readonly dropped?: (packet: Packet, end: number, reason: DropReason) => void;
  /** Called when a round is over. */
  readonly afterRound?: () => void;
}

export class Loop<I extends NetInterface = NetInterface> {
  readonly #stack: Driven<I>;
  readonly #options: LoopOptions;
  #device: Device | undefined;
  #sink: ((packet: Packet) => void) | undefined;
  #running = false;
  #closed = false;
  #touched = false;
  #again = false;
  #immediate: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt: Micros = NEVER;
  #deferred: Deferred[] = [];
  #after: Deferred[] = [];
  #afterImmediate: NodeJS.Immediate | undefined;
  #holds = 0;
  /** A timer that never matters but for being referenced: the cheapest thing that keeps a Node process alive. */
  readonly #anchor: NodeJS.Timeout;

  constructor(stack: Driven<I>, options: LoopOptions) {
    this.#stack = stack;
    this.#options = options;
    this.#anchor = setInterval(nothing, LONGEST_WAIT).unref();
  }

  /** Takes frames for `iface` from `device` from now on. */
  attach(device: Device, iface: I): void {
    const stack = this.#stack;
    this.#device = device;
    const { dropped } = this.#options;
    this.#sink = (packet) => {
      // The layers cut padding off: the frame's own end is known only before they look.
      const { end } = packet;
      const verdict = stack.input(iface, packet);
      if (verdict !== undefined) dropped?.(packet, end, verdict);
    };
    device.onReady = this.#options.direct ? this.#round : this.#soon;
    this.#soon();
  }

  /**
   * Says that a user's call is about to change the stack. Outside a round it sets the stack's clock and has the result
   * flushed at the end of this tick.
   *
   * Why nextTick and not setImmediate: all the writes of one callback still share one flush, because ticks run when it
   * returns; a reply made in a promise is on the wire before the next event is looked at, as with a system call. The
   * check phase would gather the writes of several callbacks, but a frame costs one write to the TAP either way, so there
   * is little to gain there.
   */
  touch(): void {
    if (this.#running || this.#touched) return;
    this.#touched = true;
    this.#options.setTime(now());
    process.nextTick(this.#settleNow);
  }

  /** Calls `task.resume()` between this tick's flush and its deliver. */
  defer(task: Deferred): void {
    this.#deferred.push(task);
    this.touch();
  }

  /**
   * Calls `task.resume()` in the next check phase: where libuv would report bytes that wait, a shutdown that is done or a
   * handle that is closed. Node's streams count on that being after all the ticks and promises of the present event.
   */
  afterEvents(task: Deferred): void {
    this.#after.push(task);
    this.#afterImmediate ??= setImmediate(this.#runAfter);
  }

  /** One more reason to keep the process alive. */
  hold(): void {
    if (this.#holds++ === 0) this.#anchor.ref();
  }

  release(): void {
    if (--this.#holds === 0) this.#anchor.unref();
  }

  /** Reasons to keep the process alive, for tests. */
  get holds(): number {
    return this.#holds;
  }

  /** Runs until nothing is pending that needs no waiting, and leaves the device. */
  close(): void {
    if (this.#closed) return;
    this.#settle(now());
    this.#closed = true;
    if (this.#device !== undefined) this.#device.onReady = undefined;
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    clearTimeout(this.#timer);
    clearInterval(this.#anchor);
  }

  readonly #soon = (): void => {
    if (this.#immediate !== undefined || this.#closed) return;
    this.#immediate = setImmediate(this.#round);
  };

  readonly #round = (): void => {
    if (this.#closed) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    if (this.#immediate !== undefined) {
      clearImmediate(this.#immediate);
      this.#immediate = undefined;
    }
    this.#running = true;
    const time = now();
    try {
      this.#receive(time);
    } catch (error) {
      // A fault of ours or of a device: the process hears of it, and the loop lives.
      surface(error);
    }
    this.#running = false;
    this.#settle(time);
    this.#options.afterRound?.();
  };

  #receive(time: Micros): void {
    const device = this.#device;
    if (device === undefined) return;
    this.#options.setTime(time);
    device.advance(time);
    if (device.receive(this.#sink!, RECEIVE_BATCH) >= RECEIVE_BATCH) this.#again = true;
  }

  readonly #settleNow = (): void => {
    this.#touched = false;
    if (!this.#running && !this.#closed) this.#settle(now());
  };

  /** Timers, then flush and deliver until both are done, then the next wait. */
  #settle(time: Micros): void {
    const stack = this.#stack;
    this.#running = true;
    try {
      // A device that delays frames counts from now, also when it was a user's call that brought us here.
      this.#device?.advance(time);
      stack.advance(time);
      for (let turn = 0; turn < MOST_TURNS; turn++) {
        stack.flush();
        this.#resumeDeferred();
        stack.deliver();
        if (!stack.pending && this.#deferred.length === 0) break;
      }
      if (stack.pending || this.#deferred.length > 0) this.#again = true;
    } catch (error) {
      surface(error);
      this.#again = true;
    }
    this.#running = false;
    if (this.#again) {
      this.#again = false;
      this.#soon();
    }
    this.#arm();
  }

  #resumeDeferred(): void {
    const tasks = this.#deferred;
    if (tasks.length === 0) return;
    this.#deferred = [];
    for (const task of tasks) task.resume();
  }

  readonly #runAfter = (): void => {
    const tasks = this.#after;
    this.#after = [];
    this.#afterImmediate = undefined;
    const time = now();
    if (!this.#closed) this.#options.setTime(time);
    this.#running = true;
    for (const task of tasks) task.resume();
    this.#running = false;
    if (!this.#closed) this.#settle(time);
  };

  /** Sets the one timer, only ever to an earlier time: a late deadline is found when the early one passes. */
  #arm(): void {
    if (this.#closed) return;
    const due = Math.min(this.#stack.nextTimeout(), this.#device?.nextTimeout() ?? NEVER);
    if (due >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = due;
    // Rounded up: a timer that fires early would find nothing to do and be set again.
    const wait = Math.min(LONGEST_WAIT, Math.max(0, Math.ceil((due - now()) / MILLISECOND)));
    this.#timer = setTimeout(this.#expire, wait).unref();
  }

  readonly #expire = (): void => {
    this.#timerAt = NEVER;
    this.#timer = undefined;
    this.#round();
  };
}

function nothing(): void {}
