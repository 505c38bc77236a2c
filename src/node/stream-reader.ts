// The receiving half of a TCP handle: TCP's RECEIVE (RFC 9293 3.10.3), onto Node's `onread`.
//
// Bytes go up where they lie, in the slab that the frame was read into. While nobody reads they stay in TCP's receive
// buffer, and the window closes.

import type { Slab } from '../base/slab.ts';
import { readableBytes, receive, receiveInto } from '../tcp/calls.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { errnoOf } from './errors.ts';
import type { StreamOwner } from './handle.ts';
import { announceRead, nativeEnd, nativeRead, UV_EOF } from './internals.ts';
import { lend } from './lend.ts';

/** Bytes handed up between two looks at whether the reader still wants them: what libuv reads at a time. */
const READ_MOST = 65_536;

export type Onread = (this: object, buffer: ArrayBufferLike | undefined) => unknown;

/** Ranges taken from TCP and not yet handed up. Filled and emptied within one call. */
let ranges: { slab: Slab; offset: number; length: number }[] = [];
const collect = (slab: Slab, offset: number, length: number): void => {
  ranges.push({ slab, offset, length });
};

/** Takes up to `most` bytes from TCP. All at once, because the application may do anything in between. */
function take(tcb: Tcb, most: number) {
  receive(tcb, most, collect);
  const taken = ranges;
  ranges = [];
  return taken;
}

export class StreamReader {
  bytesRead = 0;
  onread: Onread | undefined;
  /** C++ has taken the stream over: bytes go to it, through the JSStream. */
  taken = false;
  userBuffer: Uint8Array | undefined;
  /** The end, or the error, was told. */
  ended = false;
  readonly #owner: StreamOwner;
  #tcb: Tcb | undefined;
  #wanted = false;
  #restarting = false;

  constructor(owner: StreamOwner, tcb: Tcb | undefined) {
    this.#owner = owner;
    this.#tcb = tcb;
  }

  set tcb(tcb: Tcb | undefined) {
    this.#tcb = tcb;
  }

  /** True while it waits for bytes. */
  get waiting(): boolean {
    return this.#wanted && !this.ended && this.#tcb !== undefined;
  }

  start(): void {
    this.#wanted = true;
    this.#owner.changed();
    // Never from within this call: Node expects bytes from the event loop.
    if (this.#restarting || !this.#somethingToRead()) return;
    this.#restarting = true;
    this.#owner.loop.afterEvents(this);
  }

  stop(): void {
    this.#wanted = false;
    this.#owner.changed();
  }

  /** From the loop, after {@link start}. */
  resume(): void {
    this.#restarting = false;
    this.deliver();
  }

  /** Hands up what may be handed up: bytes, then the end or the error. */
  deliver(): void {
    const tcb = this.#tcb;
    if (tcb === undefined || this.#owner.connecting) return;
    while (this.#wanted && !this.ended && !this.#owner.closing && readableBytes(tcb) > 0) {
      if (this.taken) this.#readNative(tcb);
      else if (this.userBuffer !== undefined) this.#readIntoUser(tcb, this.userBuffer);
      else this.#readInPlace(tcb);
    }
    if (!this.#wanted || this.#owner.closing || this.ended) return;
    const error = this.#owner.failure();
    if (error !== 0) this.#end(error);
    else if (tcb.receiveEnded || tcb.state === 'CLOSED') this.#end(UV_EOF);
  }

  #somethingToRead(): boolean {
    const tcb = this.#tcb;
    if (tcb === undefined || this.ended || this.#owner.connecting) return false;
    return readableBytes(tcb) > 0 || tcb.receiveEnded || tcb.state === 'CLOSED';
  }

  /** Whoever stops reading in the middle still gets what was taken: at most one READ_MOST, as from a kernel. */
  #readInPlace(tcb: Tcb): void {
    for (const { slab, offset, length } of take(tcb, READ_MOST)) {
      if (this.#owner.closing) return;
      this.bytesRead += length;
      announceRead(length, slab.bytes.byteOffset + offset);
      this.#owner.context.run(this.onread!, this.#owner, lend(slab));
    }
  }

  #readIntoUser(tcb: Tcb, into: Uint8Array): void {
    // Empty, or its memory was transferred away: there is nowhere to read to, ever. What libuv says of such a buffer.
    if (into.length === 0) {
      this.#end(errnoOf('ENOBUFS'));
      return;
    }
    const length = receiveInto(tcb, into, 0, into.length);
    this.bytesRead += length;
    announceRead(length, 0);
    const next = this.#owner.context.run(this.onread!, this.#owner, undefined);
    if (next instanceof Uint8Array) this.userBuffer = next;
  }

  #readNative(tcb: Tcb): void {
    for (const { slab, offset, length } of take(tcb, READ_MOST)) {
      if (this.#owner.closing) return;
      this.bytesRead += length;
      const bytes = slab.bytes.subarray(offset, offset + length);
      this.#owner.context.run(nativeRead, undefined, this.#owner, bytes);
    }
  }

  #end(status: number): void {
    this.ended = true;
    this.#owner.changed();
    if (this.taken && status === UV_EOF) {
      this.#owner.context.run(nativeEnd, undefined, this.#owner);
      return;
    }
    // C++ cannot be told of an error: the socket is, which tells whoever wraps it.
    announceRead(status, 0);
    this.#owner.context.run(this.onread!, this.#owner, undefined);
  }
}
