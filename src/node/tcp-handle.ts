// The handle under a net.Socket or net.Server: what Node calls a TCPWrap, over our TCP (RFC 9293 3.9.1's user calls).
//
//   net.Socket ──writeBuffer, writev, shutdown, readStart, close──► TcpHandle ──send, shutdown, close──► TCP
//              ◄──onread(buffer), request.oncomplete(status)──────           ◄──readable, writable, closed──
//
// Receiving is without a copy: `onread` gets the slab that the frame was read into. Sending is one copy, into TCP's send
// buffer, and a write is complete once that has taken all of it; most writes complete before they return.

import type { Server, Socket } from 'node:net';
import { type Address, ANY_V4, ANY_V6, type Family, LOOPBACK_V4, LOOPBACK_V6 } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Slab } from '../base/slab.ts';
import { SECOND } from '../base/time.ts';
import {
  abort,
  accept,
  close,
  listen,
  mayStillSend,
  open,
  readableBytes,
  receive,
  receiveInto,
  send,
  setKeepAlive,
  setNoDelay,
  shutdown,
  unlisten,
} from '../tcp/calls.ts';
import type { Tcb, TcpUser } from '../tcp/tcb.ts';
import type { Listener } from '../tcp/tcp.ts';
import { errnoOf } from './errors.ts';
import { Anchor, Context, fillName, type Ground, type SockName, toAddress } from './handle.ts';
import {
  announceRead,
  announceWrite,
  finishNativeShutdown,
  finishNativeWrite,
  NativeStream,
  nativeEnd,
  nativeRead,
  ownerOf,
  pendingWrite,
  type Request,
  setNativeOnread,
  UV_ECANCELED,
  UV_EOF,
} from './internals.ts';

/** Bytes handed up between two looks at whether the reader still wants them: what libuv reads at a time. */
const READ_MOST = 65_536;
/** `bind6`'s flag for a socket that takes no IPv4. */
const IPV6_ONLY = 1;
/** Linux's answer to a handle call that makes no sense here. */
const ENOTSUP = -95;

type Onread = (this: TcpHandle, buffer: ArrayBufferLike | undefined) => unknown;
type Onconnection = (this: TcpHandle, status: number, client?: TcpHandle) => void;
type Closed = () => void;

/** A write that TCP's send buffer had no room for. */
interface Write {
  readonly request: Request;
  /** C++ made the request, and is told through the JSStream. */
  readonly native: boolean;
  readonly chunks: readonly Uint8Array[];
  /** The chunk, and the byte of it, that goes next. */
  index: number;
  offset: number;
  bytes: number;
}

/** Where a handle that nobody reads leaves its connection: TCP ends it on its own. */
const NOBODY: TcpUser = {
  connected() {},
  readable() {},
  writable() {},
  drained() {},
  closed() {},
};

/** Strings are encoded here on their way to the send buffer: a write never waits here, so one serves every handle. */
const scratch = Buffer.allocUnsafeSlow(65_536);
/** UTF-8 takes at most 3 bytes for a UTF-16 unit, and ucs2 two. */
const SCRATCH_UNITS = Math.floor(scratch.length / 3);

/** Ranges taken from TCP and not yet handed up. Filled and emptied within one call. */
const ranges: { slab: Slab; offset: number; length: number }[] = [];
const collect = (slab: Slab, offset: number, length: number): void => {
  ranges.push({ slab, offset, length });
};

export class TcpHandle extends NativeStream implements TcpUser {
  /** Node's own note of whether it wants `onread`; never used here. */
  reading = false;
  bytesRead = 0;
  bytesWritten = 0;
  onconnection: Onconnection | undefined;
  /** Set by what accepts for an HTTP server: the parser then reads in JavaScript. */
  plain = false;

  readonly #ground: Ground;
  readonly #context = new Context('TAPTCP');
  readonly #anchor: Anchor;
  #tcb: Tcb | undefined;
  #listener: Listener | undefined;
  /** What bind was told. */
  #local: Address | undefined;
  #localPort = 0;
  #family: Family | undefined;
  #onread: Onread | undefined;
  #userBuffer: Uint8Array | undefined;
  #wantsRead = false;
  #ended = false;
  #restarting = false;
  #deferred = false;
  #error: ErrorCode | undefined;
  #connectRequest: Request | undefined;
  #shutdownRequest: Request | undefined;
  #shutdownIsNative = false;
  readonly #writes: Write[] = [];
  #closing = false;
  #closed: Closed | undefined;
  /** Whether C++ has taken the stream over, and whether the HTTP parser has. */
  #taken = false;
  #consumed = false;

  constructor(ground: Ground, tcb?: Tcb) {
    super();
    this.#ground = ground;
    this.#anchor = new Anchor(ground.loop);
    this.#tcb = tcb;
    if (tcb !== undefined) tcb.user = this;
    ground.open.add(this);
  }

  // What Node reads.

  get fd(): number {
    return -1;
  }

  /** Bytes of writes that are not complete. */
  get writeQueueSize(): number {
    let bytes = 0;
    for (const write of this.#writes) bytes += left(write);
    return bytes;
  }

  getAsyncId(): number {
    return this.#context.asyncId;
  }

  asyncReset(): void {
    this.#context.reset();
  }

  getProviderType(): number {
    return 0;
  }

  /**
   * TLS, HTTP/2 and the HTTP server ask this just before they take a stream over in C++, and for no other reason. From
   * then on bytes go through the JSStream, which hands them to whoever listens there: right in any case, only slower.
   */
  get isStreamBase(): boolean {
    if (this.plain) return false;
    this.#taken = true;
    return true;
  }

  /** The HTTP server's mark for a handle that its parser reads from. Taken away when a connection is upgraded. */
  get _consumed(): boolean {
    return this.#consumed;
  }

  set _consumed(consumed: boolean) {
    this.#consumed = consumed;
    this.#taken = consumed;
  }

  get onread(): Onread | undefined {
    return this.#onread;
  }

  set onread(onread: Onread | undefined) {
    this.#onread = onread;
    setNativeOnread(this, onread);
  }

  ref(): void {
    this.#anchor.ref();
  }

  unref(): void {
    this.#anchor.unref();
  }

  hasRef(): boolean {
    return this.#anchor.referenced && !this.#closing;
  }

  getsockname(out: SockName): number {
    const tcb = this.#tcb;
    if (tcb !== undefined) return fillName(out, tcb.local, tcb.localPort);
    if (this.#local === undefined) return errnoOf('EINVAL');
    return fillName(out, this.#local, this.#listener?.port ?? this.#localPort);
  }

  getpeername(out: SockName): number {
    const tcb = this.#tcb;
    if (tcb === undefined || this.#connectRequest !== undefined) return errnoOf('ENOTCONN');
    return fillName(out, tcb.remote, tcb.remotePort);
  }

  // Options.

  setNoDelay(on: boolean): number {
    const tcb = this.#tcb;
    if (tcb === undefined) return errnoOf('ENOTCONN');
    this.#ground.loop.touch();
    setNoDelay(tcb, on);
    return 0;
  }

  /** Times in seconds, as Node counts them; 0 and `undefined` leave the default. */
  setKeepAlive(enabled: boolean, delay?: number, interval?: number, count?: number): number {
    const tcb = this.#tcb;
    if (tcb === undefined) return errnoOf('ENOTCONN');
    this.#ground.loop.touch();
    setKeepAlive(tcb, {
      enabled,
      ...(delay ? { idle: delay * SECOND } : {}),
      ...(interval ? { interval: interval * SECOND } : {}),
      ...(count ? { count } : {}),
    });
    return 0;
  }

  setTypeOfService(octet: number): number {
    if (this.#tcb === undefined) return errnoOf('ENOTCONN');
    this.#tcb.options.trafficClass = octet;
    return 0;
  }

  getTypeOfService(): number {
    return this.#tcb?.options.trafficClass ?? errnoOf('ENOTCONN');
  }

  setSimultaneousAccepts(): number {
    return 0;
  }

  setBlocking(): number {
    return ENOTSUP;
  }

  open(): number {
    return ENOTSUP;
  }

  // Opening.

  bind(address: string, port: number): number {
    return this.#bind(address, port, 4, 0);
  }

  bind6(address: string, port: number, flags = 0): number {
    return this.#bind(address, port, 6, flags);
  }

  #bind(text: string, port: number, family: Family, flags: number): number {
    const address = toAddress(text);
    if (address === undefined || (family === 4 && address.family === 6)) return errnoOf('EINVAL');
    if (!address.isUnspecified && !this.#ground.tcp.ip.isLocal(address)) return errnoOf('EADDRNOTAVAIL');
    this.#local = address;
    this.#localPort = port;
    // `::` without the flag takes both families, as Linux does by default.
    this.#family =
      address.family === 6 && address.isUnspecified && (flags & IPV6_ONLY) === 0 ? undefined : address.family;
    return 0;
  }

  /** Twice is harmless: `host.listen` has done it before Node does. */
  listen(backlog: number): number {
    if (this.#listener !== undefined) return 0;
    if (this.#ground.closed) return errnoOf('ENETDOWN');
    const local = this.#local;
    const listener = listen(this.#ground.tcp, {
      local: local === undefined || local.isUnspecified ? undefined : local,
      port: this.#localPort,
      backlog,
      family: this.#family,
      acceptable: (waiting) => this.#acceptAll(waiting),
    });
    if (typeof listener === 'string') return errnoOf(listener);
    this.#local ??= this.#family === 4 ? ANY_V4 : ANY_V6;
    this.#listener = listener;
    this.#update();
    return 0;
  }

  #acceptAll(listener: Listener): void {
    for (;;) {
      const tcb = this.#closing ? undefined : accept(listener);
      if (tcb === undefined) return;
      this.#context.run(this.#welcome, this, tcb);
    }
  }

  #welcome(tcb: Tcb): void {
    const client = new TcpHandle(this.#ground, tcb);
    client.plain = this.plain;
    this.onconnection?.(0, client);
  }

  connect(request: Request, address: string, port: number): number {
    const to = toAddress(address);
    if (to === undefined) return errnoOf('EINVAL');
    if (this.#ground.closed) return errnoOf('ENETDOWN');
    if (this.#tcb !== undefined) return errnoOf('EISCONN');
    // Linux refuses port 0 as if nobody listened, and takes the unspecified address for this host.
    if (port === 0) return errnoOf('ECONNREFUSED');
    const remote = to.isUnspecified ? (to.family === 4 ? LOOPBACK_V4 : LOOPBACK_V6) : to;
    const local = this.#local;
    this.#ground.loop.touch();
    const tcb = open(this.#ground.tcp, {
      remote,
      remotePort: port,
      local: local === undefined || local.isUnspecified ? undefined : local,
      localPort: this.#localPort,
      user: this,
    });
    if (typeof tcb === 'string') return errnoOf(tcb);
    this.#tcb = tcb;
    this.#connectRequest = request;
    this.#update();
    return 0;
  }

  connect6(request: Request, address: string, port: number): number {
    return this.connect(request, address, port);
  }

  // Reading.

  readStart(): number {
    if (this.#closing) return errnoOf('EINVAL');
    this.#wantsRead = true;
    this.#update();
    // Never from within this call: Node expects bytes from the event loop.
    if (this.#somethingToRead() && !this.#restarting) {
      this.#restarting = true;
      this.#ground.loop.afterEvents({ resume: () => this.#restart() });
    }
    return 0;
  }

  readStop(): number {
    this.#wantsRead = false;
    this.#update();
    return 0;
  }

  useUserBuffer(buffer: Uint8Array): void {
    this.#userBuffer = buffer;
  }

  #somethingToRead(): boolean {
    const tcb = this.#tcb;
    if (tcb === undefined || this.#ended || this.#connectRequest !== undefined) return false;
    return readableBytes(tcb) > 0 || tcb.receiveEnded || tcb.state === 'CLOSED';
  }

  #restart(): void {
    this.#restarting = false;
    this.#deliver();
  }

  /** Hands up what may be handed up: bytes, then the end or the error. */
  #deliver(): void {
    const tcb = this.#tcb;
    if (tcb === undefined || this.#connectRequest !== undefined) return;
    while (this.#wantsRead && !this.#closing && readableBytes(tcb) > 0) {
      if (this.#taken) this.#readTaken(tcb);
      else if (this.#userBuffer !== undefined) this.#readIntoUser(tcb, this.#userBuffer);
      else this.#readInPlace(tcb);
    }
    if (!this.#wantsRead || this.#closing || this.#ended) return;
    if (this.#error !== undefined) this.#end(errnoOf(this.#error));
    else if (tcb.receiveEnded || tcb.state === 'CLOSED') this.#end(UV_EOF);
  }

  /** Zero copy: each range goes up where it lies. */
  #readInPlace(tcb: Tcb): void {
    receive(tcb, READ_MOST, collect);
    const taken = ranges.splice(0);
    for (const { slab, offset, length } of taken) {
      if (this.#closing) return;
      // Whoever stopped reading in the middle still gets what was taken: at most one READ_MOST, as from a kernel.
      this.bytesRead += length;
      announceRead(length, slab.bytes.byteOffset + offset);
      this.#context.run(this.#onread!, this, slab.bytes.buffer);
    }
  }

  #readIntoUser(tcb: Tcb, into: Uint8Array): void {
    const length = receiveInto(tcb, into, 0, into.length);
    this.bytesRead += length;
    announceRead(length, 0);
    const next = this.#context.run(this.#onread!, this, undefined);
    if (next instanceof Uint8Array) this.#userBuffer = next;
  }

  #readTaken(tcb: Tcb): void {
    receive(tcb, READ_MOST, collect);
    const taken = ranges.splice(0);
    for (const { slab, offset, length } of taken) {
      if (this.#closing) return;
      this.bytesRead += length;
      this.#context.run(nativeRead, undefined, this, slab.bytes.subarray(offset, offset + length));
    }
  }

  #end(status: number): void {
    this.#ended = true;
    this.#update();
    if (this.#taken && status === UV_EOF) {
      this.#context.run(nativeEnd, undefined, this);
      return;
    }
    // C++ has no way to be told of an error: the socket is, which tells whoever wraps it.
    announceRead(status, 0);
    this.#context.run(this.#onread!, this, undefined);
  }

  // Writing.

  writeBuffer(request: Request | null, bytes: Uint8Array): number | Request {
    const tcb = this.#tcb;
    const length = bytes.length;
    const refused = this.#refusal(tcb);
    if (refused !== 0) return refused;
    this.#ground.loop.touch();
    const taken = this.#writes.length > 0 ? 0 : send(tcb!, bytes, 0, length);
    this.bytesWritten += length;
    if (taken === length) {
      announceWrite(length, false);
      return 0;
    }
    return this.#queue(request, [bytes], 0, taken, length);
  }

  /** Gathers what was corked; each chunk is copied once, straight into the send buffer. */
  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    const tcb = this.#tcb;
    const refused = this.#refusal(tcb);
    if (refused !== 0) return refused;
    const buffers = allBuffers ? (chunks as readonly Uint8Array[]) : encodeAll(chunks);
    this.#ground.loop.touch();
    let bytes = 0;
    for (const buffer of buffers) bytes += buffer.length;
    this.bytesWritten += bytes;
    let index = 0;
    let taken = 0;
    for (; index < buffers.length && this.#writes.length === 0; index++) {
      const buffer = buffers[index]!;
      taken = send(tcb!, buffer, 0, buffer.length);
      if (taken < buffer.length) break;
      taken = 0;
    }
    if (index === buffers.length) {
      announceWrite(bytes, false);
      return 0;
    }
    return this.#queue(request, buffers, index, taken, bytes);
  }

  writeUtf8String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, 'utf8');
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, 'latin1');
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, 'latin1');
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, 'utf16le');
  }

  #writeString(request: Request | null, text: string, encoding: BufferEncoding): number | Request {
    if (text.length > SCRATCH_UNITS || this.#writes.length > 0)
      return this.writeBuffer(request, Buffer.from(text, encoding));
    const refused = this.#refusal(this.#tcb);
    if (refused !== 0) return refused;
    this.#ground.loop.touch();
    const length = scratch.write(text, 0, encoding);
    const taken = send(this.#tcb!, scratch, 0, length);
    this.bytesWritten += length;
    if (taken === length) {
      announceWrite(length, false);
      return 0;
    }
    return this.#queue(request, [Buffer.from(scratch.subarray(taken, length))], 0, 0, length);
  }

  /** 0, or why nothing can be written: what the connection died of the first time, a broken pipe from then on. */
  #refusal(tcb: Tcb | undefined): number {
    if (tcb === undefined) return errnoOf('ENOTCONN');
    if (mayStillSend(tcb)) return 0;
    const error = this.#error;
    if (error === undefined || this.#ended) return errnoOf('EPIPE');
    return errnoOf(error);
  }

  #queue(
    request: Request | null,
    chunks: readonly Uint8Array[],
    index: number,
    offset: number,
    bytes: number,
  ): number | Request {
    const pending = pendingWrite(request);
    this.#writes.push({ request: pending.request, native: false, chunks, index, offset, bytes });
    this.#update();
    announceWrite(bytes, true);
    return pending.result;
  }

  /** Goes on with writes that wait, in order, while TCP has room. */
  #pump(): void {
    const tcb = this.#tcb!;
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      while (write.index < write.chunks.length) {
        const chunk = write.chunks[write.index]!;
        const rest = chunk.length - write.offset;
        const taken = send(tcb, chunk, write.offset, rest);
        if (taken < rest) {
          write.offset += taken;
          return;
        }
        write.index++;
        write.offset = 0;
      }
      this.#writes.shift();
      this.#update();
      this.#complete(write, 0);
      if (this.#closing) return;
    }
    this.#finishShutdown(0);
  }

  #complete({ request, native }: Write, status: number): void {
    if (native) this.#context.run(finishNativeWrite, undefined, this, request, status);
    else if (request.oncomplete !== undefined) this.#context.run(request.oncomplete, request, status);
  }

  /** CLOSE of the send half, after the writes that wait. */
  shutdown(request: Request): number {
    const tcb = this.#tcb;
    if (tcb === undefined || tcb.state === 'CLOSED') return errnoOf('ENOTCONN');
    this.#shutdownRequest = request;
    this.#update();
    if (this.#writes.length > 0) return 0;
    this.#ground.loop.touch();
    // The FIN may leave with the last bytes; the socket hears of it later, as from libuv.
    shutdown(tcb);
    this.#ground.loop.afterEvents({ resume: () => this.#finishShutdown(0) });
    return 0;
  }

  #finishShutdown(status: number): void {
    const request = this.#shutdownRequest;
    if (request === undefined) return;
    this.#shutdownRequest = undefined;
    if (status === 0) shutdown(this.#tcb!);
    this.#update();
    if (this.#shutdownIsNative) this.#context.run(finishNativeShutdown, undefined, this, request, status);
    else if (request.oncomplete !== undefined) this.#context.run(request.oncomplete, request, status);
  }

  // What C++ calls on a JSStream, once TLS or HTTP/2 has taken it over.

  onreadstart(): number {
    return this.readStart();
  }

  onreadstop(): number {
    return this.readStop();
  }

  /** From the loop, after {@link onwrite}. */
  resume(): void {
    this.#deferred = false;
    if (!this.#closing) this.#pump();
  }

  isClosing(): boolean {
    return this.#closing;
  }

  onwrite(request: Request, chunks: readonly Uint8Array[]): number {
    const refused = this.#refusal(this.#tcb);
    if (refused !== 0) return refused;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    this.bytesWritten += bytes;
    this.#writes.push({ request, native: true, chunks, index: 0, offset: 0, bytes });
    this.#update();
    // C++ wants to hear of the end after this call has returned: the end of this tick sends and completes it.
    if (!this.#deferred) {
      this.#deferred = true;
      this.#ground.loop.defer(this);
    }
    return 0;
  }

  onshutdown(request: Request): number {
    this.#shutdownIsNative = true;
    return this.shutdown(request);
  }

  // Closing.

  /** Both halves. What TCP has in its send buffer still goes; what waits here is cancelled, as libuv does. */
  close(closed?: Closed): void {
    if (this.#closing) {
      if (closed !== undefined) this.#ground.loop.afterEvents({ resume: closed });
      return;
    }
    this.#closing = true;
    this.#closed = closed;
    this.#ground.open.delete(this);
    this.#ground.loop.touch();
    if (this.#listener !== undefined) unlisten(this.#listener);
    const tcb = this.#tcb;
    if (tcb !== undefined) {
      tcb.user = NOBODY;
      close(tcb);
    }
    this.#update();
    this.#ground.loop.afterEvents({ resume: () => this.#finishClose() });
  }

  /** RST, then as {@link close}. */
  reset(closed?: Closed): number {
    if (this.#tcb !== undefined && !this.#closing) {
      this.#ground.loop.touch();
      this.#tcb.user = NOBODY;
      abort(this.#tcb);
    }
    this.close(closed);
    return 0;
  }

  /** For a host that goes down: a server stops, a connection says what it has to say and ends. */
  closeSoon(): void {
    const owner = ownerOf(this);
    if (this.#listener !== undefined) (owner as Server | undefined)?.close();
    else (owner as Socket | undefined)?.destroySoon();
  }

  /** For a host that has waited long enough. */
  destroy(): void {
    if (this.#tcb !== undefined && !this.#closing) this.closed(this.#tcb, 'ECONNABORTED');
    (ownerOf(this) as Socket | undefined)?.destroy?.();
  }

  #finishClose(): void {
    this.#finishConnect(UV_ECANCELED);
    for (const write of this.#writes.splice(0)) this.#complete(write, UV_ECANCELED);
    this.#finishShutdown(UV_ECANCELED);
    this.#update();
    const closed = this.#closed;
    this.#closed = undefined;
    if (closed !== undefined) this.#context.run(closed, this);
    this.#context.destroy();
  }

  #finishConnect(status: number): void {
    const request = this.#connectRequest;
    if (request === undefined) return;
    this.#connectRequest = undefined;
    this.#update();
    const ok = status === 0;
    if (request.oncomplete !== undefined)
      this.#context.run(request.oncomplete, request, status, this, request, ok, ok);
  }

  #update(): void {
    this.#anchor.active =
      !this.#closing &&
      (this.#listener !== undefined ||
        this.#connectRequest !== undefined ||
        this.#shutdownRequest !== undefined ||
        this.#writes.length > 0 ||
        (this.#wantsRead && !this.#ended && this.#tcb !== undefined));
  }

  // What TCP tells us, from deliver.

  connected(): void {
    this.#finishConnect(0);
  }

  readable(): void {
    this.#deliver();
  }

  writable(): void {
    this.#pump();
  }

  drained(): void {}

  closed(_tcb: Tcb, error: ErrorCode | undefined): void {
    if (this.#connectRequest !== undefined) {
      this.#finishConnect(errnoOf(error ?? 'ECONNRESET'));
      return;
    }
    this.#error = error;
    this.#deliver();
    if (this.#closing) return;
    const status = errnoOf(error ?? 'EPIPE');
    for (const write of this.#writes.splice(0)) this.#complete(write, status);
    this.#finishShutdown(errnoOf('ENOTCONN'));
    this.#update();
  }
}

function left({ chunks, index, offset }: Write): number {
  let bytes = -offset;
  for (let i = index; i < chunks.length; i++) bytes += chunks[i]!.length;
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
