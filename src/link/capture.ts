// Records every frame of the device it wraps into a pcapng file: both ways, in order, as it is (or would be) on the wire.
//
// With offload the stack and the kernel exchange super-frames and pending checksums. A capture shows neither: super-frames
// are cut and checksums completed in a copy, so Wireshark sees packets that could have crossed a cable, and no false alarm.

import type { Mac } from '../base/mac.ts';
import type { Frame, Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import type { Micros } from '../base/time.ts';
import type { Trace } from '../base/trace.ts';
import type { PacketOptions, PcapngWriter } from '../pcap/pcapng.ts';
import { Cutter } from './cut.ts';
import type { Device, DeviceFeatures, DeviceStats, FrameSink } from './device.ts';
import { completeBytes, MAX_SUPER_FRAME } from './headers.ts';

/** A moment of the calendar, for timestamps: seconds since 1970 and nanoseconds. */
export interface WallTime {
  seconds: number;
  nanos: number;
}

export interface CaptureOptions {
  writer: Pick<PcapngWriter, 'packet' | 'statistics'>;
  /** What `writer.addInterface` returned for this device. */
  interfaceId: number;
  /** The stack's trace: its notes about a frame become the frame's comment. Switched on while recording. */
  trace?: Trace;
  clock: () => WallTime;
  /** Bytes kept of each frame; all of them unless given. */
  snapLength?: number;
  /** False: do not record until `start` is called. */
  started?: boolean;
}

export interface Capture extends Device {
  readonly recording: boolean;
  /** Wire frames written so far. */
  readonly recorded: number;
  /** Why recording ended by itself: the writer threw. Traffic goes on. */
  readonly failure: unknown;
  /** Goes on recording; nothing when it does already, or the device is closed. */
  start(): void;
  /** Stops recording and writes the interface's counters; traffic goes on. */
  stop(): void;
}

/** Wraps `device` so that its frames are recorded. Closing it writes the counters and closes the device, not the writer. */
export function capture(device: Device, options: CaptureOptions): Capture {
  return new CapturingDevice(device, options);
}

class CapturingDevice implements Capture {
  onReady: (() => void) | undefined;
  recording = false;
  recorded = 0;
  failure: unknown;
  readonly #inner: Device;
  readonly #options: CaptureOptions;
  readonly #snapLength: number;
  readonly #cutter = new Cutter();
  readonly #wrap: FrameSink = (packet) => this.#receive(packet);
  readonly #note: PacketOptions = {};
  readonly #last: WallTime = { seconds: 0, nanos: 0 };
  #scratch: Slab | undefined;
  #sink: FrameSink | undefined;
  /** The trace was on before we switched it on. */
  #traceWasOn = false;
  #startedAt: WallTime = { seconds: 0, nanos: 0 };
  #receivedBefore = 0;
  #droppedBefore = 0;
  #closed = false;
  // The received frame that the stack is reading now: it is written after, with the stack's notes.
  #pending = false;
  #slab: Slab | undefined;
  #start = 0;
  #length = 0;
  #gsoSize = 0;
  #trusted = false;

  constructor(inner: Device, options: CaptureOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#snapLength = options.snapLength ?? Number.POSITIVE_INFINITY;
    inner.onReady = () => this.onReady?.();
    if (options.started !== false) this.start();
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

  get features(): DeviceFeatures {
    return this.#inner.features;
  }

  get stats(): DeviceStats {
    return this.#inner.stats;
  }

  start(): void {
    if (this.recording || this.#closed) return;
    this.recording = true;
    this.failure = undefined;
    const { trace } = this.#options;
    if (trace !== undefined) {
      this.#traceWasOn = trace.on;
      trace.on = true;
    }
    this.#tick();
    this.#startedAt = { ...this.#last };
    this.#receivedBefore = this.stats.rxFrames + this.stats.rxDropped;
    this.#droppedBefore = this.stats.rxDropped;
  }

  stop(): void {
    if (!this.recording) return;
    this.#flushPending();
    this.#writeCounters();
    this.#end();
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    // A frame sent while another is being read: that one came first.
    if (this.#pending) this.#flushPending();
    const taken = this.#inner.transmit(frames, from, to);
    if (this.recording && taken > 0) {
      this.#tick();
      for (let i = from; i < from + taken; i++) this.#writeSent(frames[i]!);
    }
    return taken;
  }

  receive(sink: FrameSink, limit: number): number {
    if (!this.recording) return this.#inner.receive(sink, limit);
    const outer = this.#sink;
    this.#sink = sink;
    const n = this.#inner.receive(this.#wrap, limit);
    this.#sink = outer;
    return n;
  }

  advance(now: Micros): void {
    this.#inner.advance(now);
  }

  nextTimeout(): Micros {
    return this.#inner.nextTimeout();
  }

  close(): void {
    if (this.#closed) return;
    this.stop();
    this.#closed = true;
    this.onReady = undefined;
    this.#inner.close();
  }

  #receive(packet: Packet): void {
    if (!this.recording) {
      this.#sink?.(packet);
      return;
    }
    const { trace } = this.#options;
    // What was noted since the last frame was about timers, not about this one.
    trace?.take();
    this.#tick();
    // The stack moves the packet's marks while it reads.
    this.#slab = packet.slab;
    this.#start = packet.start;
    this.#length = packet.end - packet.start;
    this.#gsoSize = packet.gsoSize;
    this.#trusted = packet.checksumTrusted;
    this.#pending = true;
    this.#sink?.(packet);
    if (this.#pending) this.#flushPending();
  }

  #flushPending(): void {
    const slab = this.#slab;
    if (!this.#pending || slab === undefined) return;
    this.#pending = false;
    this.#slab = undefined;
    const comment = this.#options.trace?.take();
    const start = this.#start;
    const length = this.#length;
    if (this.#gsoSize > 0 && this.#cutter.beginBytes(slab, start, length, this.#gsoSize)) {
      this.#writeSegments('in', comment);
    } else if (this.#trusted && length <= MAX_SUPER_FRAME) {
      const copy = this.#room();
      copy.bytes.set(slab.bytes.subarray(start, start + length));
      completeBytes(copy.view, 0, length);
      this.#write('in', copy.bytes, 0, length, comment);
    } else this.#write('in', slab.bytes, start, length, comment);
  }

  #writeSent(frame: Frame): void {
    if (frame.gsoSize > 0 && this.#cutter.begin(frame)) {
      this.#writeSegments('out', frame.note);
      return;
    }
    const { length } = frame;
    if (frame.checksumStart < 0 && frame.a === undefined) {
      this.#write('out', frame.bytes, frame.head, length, frame.note);
      return;
    }
    const copy = length <= MAX_SUPER_FRAME ? this.#room() : new Slab(new Uint8Array(length));
    frame.copyTo(copy.bytes, 0);
    if (frame.checksumStart >= 0) completeBytes(copy.view, 0, length);
    this.#write('out', copy.bytes, 0, length, frame.note);
  }

  /** Writes the segments of the super-frame in the cutter. They share a moment, as they share a batch on the wire. */
  #writeSegments(direction: 'in' | 'out', note: string | undefined): void {
    const cutter = this.#cutter;
    const room = this.#room();
    const row = `super-frame of ${cutter.count} segments`;
    for (let i = 0; !cutter.done; i++) {
      const length = cutter.nextBytes(room, 0);
      this.#write(
        direction,
        room.bytes,
        0,
        length,
        i > 0 ? undefined : note === undefined ? row : `${note}; ${row}`,
      );
    }
  }

  #write(
    direction: 'in' | 'out',
    bytes: Uint8Array,
    at: number,
    length: number,
    comment: string | undefined,
  ): void {
    if (!this.recording) return;
    const note = this.#note;
    note.direction = direction;
    note.comment = comment;
    const kept = Math.min(length, this.#snapLength);
    note.originalLength = kept < length ? length : undefined;
    const { writer, interfaceId } = this.#options;
    try {
      writer.packet(interfaceId, this.#last.seconds, this.#last.nanos, bytes, at, kept, note);
      this.recorded++;
    } catch (error) {
      // A full disk must not stop the traffic.
      this.failure = error;
      this.#end();
    }
  }

  #writeCounters(): void {
    const { writer, interfaceId } = this.#options;
    this.#tick();
    const { rxFrames, rxDropped, txDropped } = this.stats;
    try {
      writer.statistics(interfaceId, this.#last.seconds, this.#last.nanos, {
        received: rxFrames + rxDropped - this.#receivedBefore,
        dropped: rxDropped - this.#droppedBefore,
        start: this.#startedAt,
        end: { ...this.#last },
        comment: `${txDropped} frames dropped on transmit`,
      });
    } catch (error) {
      this.failure = error;
    }
  }

  #end(): void {
    this.recording = false;
    const { trace } = this.#options;
    if (trace !== undefined) trace.on = this.#traceWasOn;
  }

  /** Reads the clock. A clock that was set back stands still until it has caught up: time in a file never goes back. */
  #tick(): void {
    const { seconds, nanos } = this.#options.clock();
    const last = this.#last;
    if (seconds > last.seconds || (seconds === last.seconds && nanos > last.nanos)) {
      last.seconds = seconds;
      last.nanos = nanos;
    }
  }

  /** Room for one frame of any size, made when first needed. */
  #room(): Slab {
    this.#scratch ??= new Slab(new Uint8Array(MAX_SUPER_FRAME));
    return this.#scratch;
  }
}
