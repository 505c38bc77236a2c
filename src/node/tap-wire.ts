// A cable between two TAPs in real time: two kernels, or two namespaces of one, meet over a network as bad as one likes, without a
// module of any kernel (what `tc netem` needs).
//
//   kernel, or namespace A ── TAP ── [ link/cable.ts: delay, loss, rate … ] ── TAP ── kernel, or namespace B
//
// Times: a frame never leaves early. It leaves late by what Node's timer is late, a millisecond at most and half of one on
// average, plus what the machine is busy with; `late` says how much it really was. `fine` asks the event loop again and again
// in the last millisecond: late by some microseconds then, for a whole core while there is traffic.

import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { Cable, type CableOptions } from '../link/cable.ts';
import { capture } from '../link/capture.ts';
import type { Device } from '../link/device.ts';
import type { Impairment, PathCounters } from '../link/impair.ts';
import { now, wallClock } from './clock.ts';
import { createPcapngFile, type PcapngFile } from './pcap-file.ts';
import { openTap, type TapDevice, type TapError, type TapOptions } from './tap.ts';

export interface TapWireOptions extends CableOptions {
  /** The two TAPs: names, or all of their options. */
  readonly a: string | TapOptions;
  readonly b: string | TapOptions;
  /** Spends a core on times that are right to some microseconds; false unless given. */
  readonly fine?: boolean;
  /** Records both ends into this pcapng file: frames as they were sent and, where they arrive, as they came out. */
  readonly capture?: string;
  /** Closes the wire when it aborts. */
  readonly signal?: AbortSignal;
}

/** How late frames left, in microseconds: of each batch that a timer released, the first. */
export interface Lateness {
  batches: number;
  total: Micros;
  most: Micros;
}

/** setTimeout's longest wait, in milliseconds. */
const LONGEST_WAIT = 2 ** 31 - 1;

/** Opens both TAPs and joins them. Throws TapError as `openTap` does, RangeError for an impossible number, and what `open(2)` says of the capture. */
export function createTapWire(options: TapWireOptions): TapWire {
  return new TapWire(options);
}

/** Two TAPs that are joined, until `close`, or until an interface is deleted. It keeps the process running. */
export class TapWire {
  readonly a: TapDevice;
  readonly b: TapDevice;
  readonly late: Lateness = { batches: 0, total: 0, most: 0 };
  /** Resolves when the wire is closed; rejects with TapError when one of the interfaces was deleted. */
  readonly closed: Promise<void>;
  readonly #cable: Cable;
  readonly #fine: boolean;
  readonly #file: PcapngFile | undefined;
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #closing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt: Micros = NEVER;
  #immediate: NodeJS.Immediate | undefined;

  constructor(options: TapWireOptions) {
    this.#fine = options.fine ?? false;
    this.a = openTap(optionsOf(options.a));
    let b: TapDevice | undefined;
    let file: PcapngFile | undefined;
    try {
      b = openTap(optionsOf(options.b));
      if (options.capture !== undefined)
        file = createPcapngFile(options.capture, { application: 'tapstack wire' });
      this.b = b;
      this.#file = file;
      this.#cable = new Cable(recorded(this.a, file), recorded(b, file), options);
    } catch (error) {
      this.a.close();
      b?.close();
      file?.closeSync();
      throw error;
    }
    this.closed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Who does not ask is not bothered.
    this.closed.catch(() => {});
    this.#cable.onReady = this.#round;
    options.signal?.addEventListener('abort', () => void this.close(), { once: true });
    if (options.signal?.aborted === true) void this.close();
  }

  /** What became of the frames of each direction. */
  get counters(): { readonly ab: Readonly<PathCounters>; readonly ba: Readonly<PathCounters> } {
    return this.#cable.counters;
  }

  /** Frames that are on their way. */
  get held(): number {
    return this.#cable.held;
  }

  /** Changes the network while it runs. What is left out keeps its value; frames under way keep their fate. */
  change(direction: 'both' | 'ab' | 'ba', impairment: Impairment): void {
    this.#cable.change(direction, impairment);
    this.#arm();
  }

  /** Loses what is on its way, closes both TAPs and completes the capture. Rejects when the capture could not be written. */
  close(): Promise<void> {
    this.#closing ??= this.#close(undefined);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(failure: TapError | undefined): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#cable.close();
    try {
      await this.#file?.close();
      if (failure === undefined) this.#settle?.resolve();
      else this.#settle?.reject(failure);
    } catch (error) {
      this.#settle?.reject(failure ?? error);
      throw error;
    }
  }

  readonly #round = (): void => {
    if (this.#closing !== undefined) return;
    const time = now();
    const due = this.#cable.nextTimeout();
    if (due <= time) this.#note(time - due);
    const more = this.#cable.run(time);
    const failure = this.a.failure ?? this.b.failure;
    if (failure !== undefined) {
      this.#closing = this.#close(failure);
      this.#closing.catch(() => {});
    } else if (more) this.#soon();
    else this.#arm();
  };

  #note(late: Micros): void {
    this.late.batches++;
    this.late.total += late;
    if (late > this.late.most) this.late.most = late;
  }

  readonly #soon = (): void => {
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.#round();
    });
  };

  /** Sets the one timer, only ever to an earlier time: a late deadline is found when the early one passes. */
  #arm(): void {
    const due = this.#cable.nextTimeout();
    if (due === NEVER || this.#closing !== undefined) return;
    const wait = due - now();
    if (this.#fine && wait < MILLISECOND) {
      this.#soon();
      return;
    }
    if (due >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = due;
    // Down to the millisecond before it, or up to the one after.
    const whole = this.#fine ? Math.floor(wait / MILLISECOND) : Math.ceil(wait / MILLISECOND);
    this.#timer = setTimeout(this.#expire, Math.min(LONGEST_WAIT, Math.max(0, whole)));
  }

  readonly #expire = (): void => {
    this.#timerAt = NEVER;
    this.#timer = undefined;
    this.#round();
  };
}

function optionsOf(tap: string | TapOptions): TapOptions {
  return typeof tap === 'string' ? { name: tap } : tap;
}

/** The device, as an interface of `file` if there is one. */
function recorded(device: TapDevice, file: PcapngFile | undefined): Device {
  if (file === undefined) return device;
  const { name, kernel } = device;
  return capture(device, {
    writer: file,
    interfaceId: file.addInterface({ name, linkType: 1, mac: kernel.mac }),
    clock: () => {
      const micros = wallClock(now());
      const seconds = Math.floor(micros / 1_000_000);
      return { seconds, nanos: (micros - seconds * 1_000_000) * 1_000 };
    },
  });
}
