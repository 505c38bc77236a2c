// The sending half of a TCP handle: Node's writes and its shutdown, onto TCP's SEND and CLOSE (RFC 9293 3.10.2, 3.10.4).
//
// A write is one copy, into TCP's send buffer, and complete once that has taken all of it: mostly before it returns. What
// does not fit waits here, in order, for TCP to say that there is room.

import { mayStillSend, send, shutdown } from '../tcp/calls.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { errnoOf } from './errors.ts';
import type { StreamOwner } from './handle.ts';
import {
  announceWrite,
  finishNativeShutdown,
  finishNativeWrite,
  pendingWrite,
  type Request,
  UV_ECANCELED,
} from './internals.ts';

/** A write that TCP's send buffer had no room for. */
interface Write {
  readonly request: Request;
  /** C++ made the request, and is told through the JSStream. */
  readonly native: boolean;
  readonly chunks: readonly Uint8Array[];
  /** The chunk, and the byte of it, that goes next. */
  index: number;
  offset: number;
}

/** Strings are encoded here on their way to the send buffer: nothing ever stays here, so one serves every handle. */
const scratch = Buffer.allocUnsafeSlow(65_536);
/** UTF-8 takes at most 3 bytes for a UTF-16 unit, and UTF-16 itself 2. */
const SCRATCH_UNITS = Math.floor(scratch.length / 3);

export class StreamWriter {
  bytesWritten = 0;
  readonly #owner: StreamOwner;
  #tcb: Tcb | undefined;
  readonly #writes: Write[] = [];
  #shutdown: Request | undefined;
  #shutdownIsNative = false;
  #deferred = false;

  constructor(owner: StreamOwner, tcb: Tcb | undefined) {
    this.#owner = owner;
    this.#tcb = tcb;
  }

  set tcb(tcb: Tcb | undefined) {
    this.#tcb = tcb;
  }

  /** True while a request waits. */
  get busy(): boolean {
    return this.#writes.length > 0 || this.#shutdown !== undefined;
  }

  /** Bytes of writes that are not complete. */
  get queued(): number {
    let bytes = 0;
    for (const write of this.#writes) bytes += left(write);
    return bytes;
  }

  /** Returns 0, a negative error, or (from Node 26 on, for a write that waits) the request. */
  write(request: Request | null, bytes: Uint8Array): number | Request {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    const { length } = bytes;
    this.#owner.loop.touch();
    const taken = this.#writes.length > 0 ? 0 : send(this.#tcb!, bytes, 0, length);
    this.bytesWritten += length;
    if (taken === length) {
      announceWrite(length, false);
      return 0;
    }
    return this.#queue(request, [bytes], 0, taken, length);
  }

  /** Gathers what was corked; each chunk is copied once, straight into the send buffer. */
  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    const buffers = allBuffers ? (chunks as readonly Uint8Array[]) : encodeAll(chunks);
    this.#owner.loop.touch();
    const bytes = lengthOf(buffers);
    this.bytesWritten += bytes;
    let index = 0;
    let taken = 0;
    while (index < buffers.length && this.#writes.length === 0) {
      const buffer = buffers[index]!;
      taken = send(this.#tcb!, buffer, 0, buffer.length);
      if (taken < buffer.length) break;
      taken = 0;
      index++;
    }
    if (index === buffers.length) {
      announceWrite(bytes, false);
      return 0;
    }
    return this.#queue(request, buffers, index, taken, bytes);
  }

  /** Encodes and writes without making a buffer, when it is not too long and nothing waits. */
  writeString(request: Request | null, text: string, encoding: BufferEncoding): number | Request {
    if (text.length > SCRATCH_UNITS || this.#writes.length > 0)
      return this.write(request, Buffer.from(text, encoding));
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    this.#owner.loop.touch();
    const length = scratch.write(text, 0, encoding);
    const taken = send(this.#tcb!, scratch, 0, length);
    this.bytesWritten += length;
    if (taken === length) {
      announceWrite(length, false);
      return 0;
    }
    return this.#queue(request, [Buffer.from(scratch.subarray(taken, length))], 0, 0, length);
  }

  /** A write of C++'s: it wants to hear of the end after this call has returned. */
  writeNative(request: Request, chunks: readonly Uint8Array[]): number {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    this.bytesWritten += lengthOf(chunks);
    this.#writes.push({ request, native: true, chunks, index: 0, offset: 0 });
    this.#owner.changed();
    if (!this.#deferred) {
      this.#deferred = true;
      this.#owner.loop.defer(this);
    }
    return 0;
  }

  /** From the loop, at the end of the tick of {@link writeNative}. */
  resume(): void {
    this.#deferred = false;
    if (!this.#owner.closing) this.pump();
  }

  /** CLOSE of the send half, after the writes that wait. */
  shutdown(request: Request, native: boolean): number {
    const tcb = this.#tcb;
    if (tcb === undefined || tcb.state === 'CLOSED') return errnoOf('ENOTCONN');
    this.#shutdown = request;
    this.#shutdownIsNative = native;
    this.#owner.changed();
    if (this.#writes.length > 0) return 0;
    this.#owner.loop.touch();
    // The FIN may leave with the last bytes; the socket hears of it later, as from libuv.
    shutdown(tcb);
    this.#owner.loop.afterEvents({ resume: () => this.#finishShutdown(0) });
    return 0;
  }

  /** Goes on with the writes that wait while TCP has room, then with the shutdown. */
  pump(): void {
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      if (!this.#push(write)) return;
      this.#writes.shift();
      this.#owner.changed();
      this.#complete(write, 0);
      if (this.#owner.closing) return;
    }
    if (this.#shutdown === undefined) return;
    shutdown(this.#tcb!);
    this.#finishShutdown(0);
  }

  /** Ends everything that waits: the connection is gone, or the handle is being closed. */
  fail(writeStatus: number, shutdownStatus: number): void {
    for (const write of this.#writes.splice(0)) this.#complete(write, writeStatus);
    this.#finishShutdown(shutdownStatus);
  }

  /**
   * Fails the writes of C++ that wait, so that TLS ends with this error. Told of the socket's error alone, it would emit that, and
   * then another when its write is cancelled.
   */
  failNative(status: number): void {
    if (this.#writes[0]?.native !== true) return;
    for (const write of this.#writes.splice(0)) this.#complete(write, status);
  }

  cancel(): void {
    this.fail(UV_ECANCELED, UV_ECANCELED);
  }

  #refusal(): number {
    const tcb = this.#tcb;
    if (tcb === undefined) return errnoOf('ENOTCONN');
    return mayStillSend(tcb) ? 0 : this.#owner.brokenPipe();
  }

  #queue(
    request: Request | null,
    chunks: readonly Uint8Array[],
    index: number,
    offset: number,
    bytes: number,
  ): number | Request {
    const pending = pendingWrite(request);
    this.#writes.push({ request: pending.request, native: false, chunks, index, offset });
    this.#owner.changed();
    announceWrite(bytes, true);
    return pending.result;
  }

  /** Sends as much of `write` as TCP takes; true when it took all. */
  #push(write: Write): boolean {
    while (write.index < write.chunks.length) {
      const chunk = write.chunks[write.index]!;
      const rest = chunk.length - write.offset;
      const taken = send(this.#tcb!, chunk, write.offset, rest);
      if (taken < rest) {
        write.offset += taken;
        return false;
      }
      write.index++;
      write.offset = 0;
    }
    return true;
  }

  #complete({ request, native }: Write, status: number): void {
    const { context } = this.#owner;
    if (native) context.run(finishNativeWrite, undefined, this.#owner, request, status);
    else if (request.oncomplete !== undefined) context.run(request.oncomplete, request, status);
  }

  #finishShutdown(status: number): void {
    const request = this.#shutdown;
    if (request === undefined) return;
    this.#shutdown = undefined;
    this.#owner.changed();
    const { context } = this.#owner;
    if (this.#shutdownIsNative) context.run(finishNativeShutdown, undefined, this.#owner, request, status);
    else if (request.oncomplete !== undefined) context.run(request.oncomplete, request, status);
  }
}

function left({ chunks, index, offset }: Write): number {
  let bytes = -offset;
  for (let i = index; i < chunks.length; i++) bytes += chunks[i]!.length;
  return bytes;
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.length;
  return bytes;
}

/** Node's mixed form of a gathered write: chunk, encoding, chunk, encoding … */
function encodeAll(chunks: readonly unknown[]): Uint8Array[] {
  const buffers: Uint8Array[] = [];
  for (let i = 0; i < chunks.length; i += 2) {
    const chunk = chunks[i] as string | Uint8Array;
    buffers.push(typeof chunk === 'string' ? Buffer.from(chunk, chunks[i + 1] as BufferEncoding) : chunk);
  }
  return buffers;
}
