// The handle under a net.Socket or net.Server: what Node calls a TCPWrap, over our TCP (RFC 9293 3.9.1's user calls).
//
//   net.Socket ──writeBuffer, writev, shutdown, readStart, close──► TcpHandle ──send, shutdown, close──► TCP
//              ◄──onread(buffer), request.oncomplete(status)──────           ◄──readable, writable, closed──
//
// stream-writer.ts and stream-reader.ts are its two halves; here is the rest: opening, closing, options, names.

import type { Server, Socket } from 'node:net';
import { type Address, type Family, LOOPBACK_V4, LOOPBACK_V6 } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import { SECOND } from '../base/time.ts';
import { abort, accept, close, listen, open, setKeepAlive, setNoDelay, unlisten } from '../tcp/calls.ts';
import type { Tcb, TcpUser } from '../tcp/tcb.ts';
import type { Listener } from '../tcp/tcp.ts';
import { errnoOf } from './errors.ts';
import {
  Anchor,
  type Closable,
  Context,
  fillName,
  type Ground,
  type SockName,
  type StreamOwner,
  toAddress,
} from './handle.ts';
import {
  forgetOwner,
  NativeStream,
  ownerOf,
  type Request,
  setNativeOnread,
  UV_ECANCELED,
} from './internals.ts';
import type { Loop } from './loop.ts';
import { type Onread, StreamReader } from './stream-reader.ts';
import { StreamWriter } from './stream-writer.ts';

/** `bind6`'s flag for a socket that takes no IPv4. */
const IPV6_ONLY = 1;
/** Linux's answer to a handle call that makes no sense here. */
const ENOTSUP = -95;

type Onconnection = (this: TcpHandle, status: number, client?: TcpHandle) => void;

/** Where a handle that nobody reads leaves its connection: TCP ends it on its own. */
const NOBODY: TcpUser = { connected() {}, readable() {}, writable() {}, drained() {}, closed() {} };

export class TcpHandle extends NativeStream implements TcpUser, StreamOwner, Closable {
  /** Node's own note of whether it wants `onread`; never used here. */
  reading = false;
  onconnection: Onconnection | undefined;
  /** Set by what accepts for an HTTP server, whose parser is to read in JavaScript: the first to ask is that server. */
  plain = false;
  /** Links of the ground's roster of open handles. */
  roster: Closable['roster'];
  older: Closable | undefined;
  newer: Closable | undefined;
  readonly context = new Context('TAPTCP');
  readonly #ground: Ground;
  readonly #anchor: Anchor;
  readonly #reader: StreamReader;
  readonly #writer: StreamWriter;
  #tcb: Tcb | undefined;
  #listener: Listener | undefined;
  /** What bind was told. */
  #local: Address | undefined;
  #localPort = 0;
  #family: Family | undefined;
  #connectRequest: Request | undefined;
  /** What the connection died of. */
  #error: ErrorCode | undefined;
  #consumed = false;
  #closing = false;
  #closed: (() => void) | undefined;

  constructor(ground: Ground, tcb?: Tcb) {
    super();
    this.#ground = ground;
    this.#anchor = new Anchor(ground.loop);
    this.#reader = new StreamReader(this, tcb);
    this.#writer = new StreamWriter(this, tcb);
    this.#tcb = tcb;
    if (tcb !== undefined) tcb.user = this;
    ground.open.add(this);
  }

  // ---- what Node reads

  get fd(): number {
    return -1;
  }

  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  get bytesWritten(): number {
    return this.#writer.bytesWritten;
  }

  get writeQueueSize(): number {
    return this.#writer.queued;
  }

  getAsyncId(): number {
    return this.context.asyncId;
  }

  asyncReset(): void {
    this.context.reset();
  }

  getProviderType(): number {
    return 0;
  }

  /**
   * TLS, HTTP/2 and the HTTP server ask this just before they take a stream over in C++, and for no other reason. From
   * then on bytes go through the JSStream, which hands them to whoever listens there: right in any case, only slower.
   */
  get isStreamBase(): boolean {
    if (this.plain) {
      this.plain = false;
      return false;
    }
    this.#reader.taken = true;
    return true;
  }

  /** The HTTP server's mark for a handle that its parser reads from; taken away when a connection is upgraded. */
  get _consumed(): boolean {
    return this.#consumed;
  }

  set _consumed(consumed: boolean) {
    this.#consumed = consumed;
    this.#reader.taken = consumed;
  }

  get onread(): Onread | undefined {
    return this.#reader.onread;
  }

  set onread(onread: Onread | undefined) {
    this.#reader.onread = onread;
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
    if (tcb === undefined || this.connecting) return errnoOf('ENOTCONN');
    return fillName(out, tcb.remote, tcb.remotePort);
  }

  // ---- options

  setNoDelay(on: boolean): number {
    const tcb = this.#tcb;
    if (tcb === undefined) return errnoOf('ENOTCONN');
    this.loop.touch();
    setNoDelay(tcb, on);
    return 0;
  }

  /** Times in seconds, as Node counts them; 0 and `undefined` leave the default. */
  setKeepAlive(enabled: boolean, delay?: number, interval?: number, count?: number): number {
    const tcb = this.#tcb;
    if (tcb === undefined) return errnoOf('ENOTCONN');
    this.loop.touch();
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

  // ---- opening

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
    const both = address.family === 6 && address.isUnspecified && (flags & IPV6_ONLY) === 0;
    this.#family = both ? undefined : address.family;
    return 0;
  }

  /** Twice is harmless: `host.listen` has done it before Node does. */
  listen(backlog: number): number {
    if (this.#listener !== undefined) return 0;
    const local = this.#local;
    if (local === undefined) return errnoOf('EINVAL');
    if (this.#ground.closed) return errnoOf('ENETDOWN');
    this.loop.touch();
    const listener = listen(this.#ground.tcp, {
      local: local.isUnspecified ? undefined : local,
      port: this.#localPort,
      backlog,
      family: this.#family,
      acceptable: (waiting) => this.#acceptAll(waiting),
    });
    if (typeof listener === 'string') return errnoOf(listener);
    this.#listener = listener;
    this.changed();
    return 0;
  }

  #acceptAll(listener: Listener): void {
    for (;;) {
      const tcb = this.#closing ? undefined : accept(listener);
      if (tcb === undefined) return;
      this.context.run(this.#welcome, this, tcb);
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
    if (this.connecting) return errnoOf('EALREADY');
    if (this.#tcb !== undefined) return errnoOf('EISCONN');
    if (this.#ground.closed) return errnoOf('ENETDOWN');
    // Linux refuses port 0 as if nobody listened, and takes the unspecified address for this host.
    if (port === 0) {
      this.#connectRequest = request;
      this.changed();
      this.loop.afterEvents({ resume: () => this.#finishConnect(errnoOf('ECONNREFUSED')) });
      return 0;
    }
    const remote = to.isUnspecified ? (to.family === 4 ? LOOPBACK_V4 : LOOPBACK_V6) : to;
    const local = this.#local;
    this.loop.touch();
    const tcb = open(this.#ground.tcp, {
      remote,
      remotePort: port,
      local: local === undefined || local.isUnspecified ? undefined : local,
      localPort: this.#localPort,
      user: this,
    });
    // Linux's word for a four-tuple that is taken.
    if (tcb === 'EADDRINUSE') return errnoOf('EADDRNOTAVAIL');
    if (typeof tcb === 'string') return errnoOf(tcb);
    this.#tcb = this.#reader.tcb = this.#writer.tcb = tcb;
    this.#connectRequest = request;
    this.changed();
    return 0;
  }

  connect6(request: Request, address: string, port: number): number {
    return this.connect(request, address, port);
  }

  #finishConnect(status: number): void {
    const request = this.#connectRequest;
    if (request === undefined) return;
    this.#connectRequest = undefined;
    this.changed();
    const ok = status === 0;
    if (request.oncomplete !== undefined)
      this.context.run(request.oncomplete, request, status, this, request, ok, ok);
  }

  // ---- reading

  readStart(): number {
    if (this.#closing) return errnoOf('EINVAL');
    this.#reader.start();
    return 0;
  }

  readStop(): number {
    this.#reader.stop();
    return 0;
  }

  useUserBuffer(buffer: Uint8Array): void {
    this.#reader.userBuffer = buffer;
  }

  // ---- writing

  writeBuffer(request: Request | null, bytes: Uint8Array): number | Request {
    return this.#writer.write(request, bytes);
  }

  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    return this.#writer.writev(request, chunks, allBuffers);
  }

  writeUtf8String(request: Request | null, text: string): number | Request {
    return this.#writer.writeString(request, text, 'utf8');
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    return this.#writer.writeString(request, text, 'latin1');
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.#writer.writeString(request, text, 'latin1');
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.#writer.writeString(request, text, 'utf16le');
  }

  shutdown(request: Request): number {
    return this.#writer.shutdown(request, false);
  }

  // ---- what C++ calls on a JSStream, once it has taken the stream over

  onreadstart(): number {
    return this.readStart();
  }

  onreadstop(): number {
    return this.readStop();
  }

  onwrite(request: Request, chunks: readonly Uint8Array[]): number {
    return this.#writer.writeNative(request, chunks);
  }

  onshutdown(request: Request): number {
    return this.#writer.shutdown(request, true);
  }

  isClosing(): boolean {
    return this.#closing;
  }

  // ---- closing

  /** Both halves. What TCP has in its send buffer still goes; what waits here is cancelled, as libuv does. */
  close(closed?: () => void): void {
    if (this.#closing) {
      if (closed !== undefined) this.loop.afterEvents({ resume: closed });
      return;
    }
    this.#closing = true;
    this.#closed = closed;
    this.#ground.open.delete(this);
    this.loop.touch();
    if (this.#listener !== undefined) unlisten(this.#listener);
    const tcb = this.#tcb;
    if (tcb !== undefined) {
      tcb.user = NOBODY;
      close(tcb);
    }
    this.changed();
    this.loop.afterEvents({ resume: () => this.#finishClose() });
  }

  /** RST, then as {@link close}. */
  reset(closed?: () => void): number {
    if (this.#tcb !== undefined && !this.#closing) {
      this.loop.touch();
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
    this.#writer.cancel();
    const closed = this.#closed;
    this.#closed = undefined;
    if (closed !== undefined) this.context.run(closed, this);
    this.context.destroy();
    // V8 keeps what C++ knows of until the next full collection. Let that be the bare handle, and not a connection with it.
    this.#tcb = this.#reader.tcb = this.#writer.tcb = undefined;
    forgetOwner(this);
  }

  // ---- what the two halves ask

  get loop(): Loop {
    return this.#ground.loop;
  }

  get closing(): boolean {
    return this.#closing;
  }

  get connecting(): boolean {
    return this.#connectRequest !== undefined;
  }

  failure(): number {
    return this.#error === undefined ? 0 : errnoOf(this.#error);
  }

  /** What the connection died of, unless that was told already: a broken pipe from then on. */
  brokenPipe(): number {
    return this.#reader.ended ? errnoOf('EPIPE') : this.failure() || errnoOf('EPIPE');
  }

  changed(): void {
    this.#anchor.active =
      !this.#closing &&
      (this.#listener !== undefined || this.connecting || this.#writer.busy || this.#reader.waiting);
  }

  // ---- what TCP tells, from deliver

  connected(): void {
    this.#finishConnect(0);
  }

  readable(): void {
    this.#reader.deliver();
  }

  writable(): void {
    this.#writer.pump();
  }

  drained(): void {}

  closed(_tcb: Tcb, error: ErrorCode | undefined): void {
    if (this.connecting) {
      this.#finishConnect(errnoOf(error ?? 'ECONNRESET'));
      return;
    }
    this.#error = error;
    if (error !== undefined) this.#writer.failNative(errnoOf(error));
    this.#reader.deliver();
    if (!this.#closing) this.#writer.fail(errnoOf(error ?? 'EPIPE'), errnoOf('ENOTCONN'));
  }
}
