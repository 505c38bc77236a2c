// The sockets of the virtual kernel: what Linux or FreeBSD put between a program and TCP or UDP.

import type { Address } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Stack } from '../stack/stack.ts';
import {
  abort,
  accept,
  close,
  listen,
  mayStillSend,
  open,
  readableBytes,
  receiveInto,
  send,
  shutdown,
  unlisten,
} from '../tcp/calls.ts';
import type { Tcb, TcpOptions, TcpUser } from '../tcp/tcb.ts';
import type { Listener } from '../tcp/tcp.ts';
import {
  bindUdp,
  closeUdp,
  connectUdp,
  type Datagram,
  openUdp,
  sendUdp,
  type UdpSocket,
} from '../udp/udp.ts';
import { done, failed, OK, type Outcome } from './outcome.ts';
import type { Profile } from './profile.ts';
import type { Errno } from './symbols.ts';

export const POLLIN = 0x001;
export const POLLOUT = 0x004;
export const POLLERR = 0x008;
export const POLLHUP = 0x010;
export const POLLRDNORM = 0x040;
export const POLLWRNORM = 0x100;
export const POLLRDHUP = 0x2000;

export const SHUT_RD = 0;
export const SHUT_WR = 1;

/** Bytes that programs write: which ones does not matter to scripts. */
const TEXT = new Uint8Array(64 << 10).map((_, i) => i);
/** Where programs read to. */
const SINK = new Uint8Array(64 << 10);

export interface Place {
  readonly address: Address | undefined;
  readonly port: number;
}

/** What stands behind a file descriptor. */
export interface File {
  nonBlocking: boolean;
  /** What poll(2) would say of it. */
  events(): number;
  close(): void;
}

/** What a socket of either kind does. `undefined` means that the call blocks. */
export interface Socket extends File {
  readonly kind: 'tcp' | 'udp';
  /** SO_ERROR: what went wrong since the program last looked. */
  error: Errno | undefined;
  bind(place: Place): Outcome;
  connect(place: Place): Outcome | undefined;
  read(length: number, peek: boolean, intoNull: boolean): Outcome | undefined;
  /** `state` remembers how much of a blocking write is done. */
  write(length: number, state: { done: number }, to: Place | undefined): Outcome | undefined;
  shutdown(how: number): Outcome;
  unread(): number;
  unsent(): number;
}

/** A stream socket: new, listening, or with a connection. */
export class TcpSocket implements Socket, TcpUser {
  readonly kind = 'tcp';
  nonBlocking = false;
  error: Errno | undefined;
  readonly stack: Stack;
  readonly profile: Profile;
  /** What connections made from here on begin with. */
  readonly options: TcpOptions;
  /** SO_LINGER. */
  linger: { onoff: number; linger: number } = { onoff: 0, linger: 0 };
  /** Values that are kept for getsockopt only. */
  readonly kept = new Map<string, number>();
  tcb: Tcb | undefined;
  listener: Listener | undefined;
  bound: Place | undefined;
  isConnected = false;
  /** The connection is no more. */
  isClosed = false;
  /** connect() has told the program how it ended. */
  #told = false;
  #readShut = false;
  #writeShut = false;

  constructor(stack: Stack, profile: Profile, options: TcpOptions) {
    this.stack = stack;
    this.profile = profile;
    this.options = options;
  }

  // ---- opening

  bind(place: Place): Outcome {
    if (this.bound !== undefined || this.tcb !== undefined) return failed('EINVAL');
    if (place.address !== undefined && !place.address.isUnspecified && !this.stack.ip.isLocal(place.address))
      return failed('EADDRNOTAVAIL');
    this.bound = place;
    return OK;
  }

  listen(backlog: number): Outcome {
    if (this.tcb !== undefined) return failed('EINVAL');
    if (this.listener !== undefined) return OK;
    const { address, port } = this.bound ?? { address: undefined, port: 0 };
    const made = listen(this.stack.tcp, {
      local: address?.isUnspecified === true ? undefined : address,
      port,
      backlog,
      family: 4,
      acceptable: () => {},
      options: this.options,
    });
    if (typeof made === 'string') return failed(made);
    this.listener = made;
    return OK;
  }

  /** A socket for the next connection that waits; undefined when none does. */
  accept(): TcpSocket | undefined {
    const tcb = this.listener === undefined ? undefined : accept(this.listener);
    if (tcb === undefined) return undefined;
    const socket = new TcpSocket(this.stack, this.profile, tcb.options);
    for (const [name, value] of this.kept) socket.kept.set(name, value);
    socket.linger = this.linger;
    tcb.user = socket;
    socket.tcb = tcb;
    socket.#opened();
    return socket;
  }

  connect({ address, port }: Place): Outcome | undefined {
    if (this.listener !== undefined) return failed('EISCONN');
    if (this.tcb === undefined) return this.#open(address!, port);
    if (this.error !== undefined && !this.isConnected) return this.#takeError();
    if (this.isConnected) {
      // The first call that finds the connection made says so; later ones are mistakes.
      if (this.#told) return failed('EISCONN');
      this.#told = true;
      return OK;
    }
    if (this.isClosed) return failed('ECONNABORTED');
    return this.nonBlocking ? failed('EALREADY') : undefined;
  }

  #open(remote: Address, remotePort: number): Outcome | undefined {
    const { bound } = this;
    const made = open(this.stack.tcp, {
      remote,
      remotePort,
      local: bound?.address?.isUnspecified === true ? undefined : bound?.address,
      localPort: bound?.port,
      user: this,
      options: this.options,
    });
    if (typeof made === 'string') return failed(made);
    this.tcb = made;
    return this.nonBlocking ? failed('EINPROGRESS') : undefined;
  }

  #opened(): void {
    this.isConnected = true;
    this.round();
  }

  /** FreeBSD: once the peer's SYN has told the segment size, the receive buffer is made a whole number of segments. */
  round(): void {
    const { tcb, profile } = this;
    if (tcb === undefined || tcb.state === 'SYN-SENT' || !profile.roundsToSegments) return;
    const mss = tcb.snd.mss;
    tcb.options.receiveBufferLimit = Math.ceil(tcb.options.receiveBufferLimit / mss) * mss;
  }

  // ---- reading and writing

  read(length: number, peek: boolean, intoNull: boolean): Outcome | undefined {
    const { tcb } = this;
    if (tcb === undefined || (!this.isConnected && !this.isClosed)) return failed('ENOTCONN');
    const waiting = readableBytes(tcb);
    if (waiting > 0 && length > 0) {
      if (intoNull) return failed('EFAULT');
      if (peek) return done(Math.min(waiting, length));
      return done(this.#consume(tcb, Math.min(waiting, length)));
    }
    if (length === 0) return done(0);
    if (this.error !== undefined) return this.#takeError();
    if (tcb.receiveEnded || this.isClosed || this.#readShut) return done(0);
    return this.nonBlocking ? failed('EAGAIN') : undefined;
  }

  #consume(tcb: Tcb, length: number): number {
    let taken = 0;
    while (taken < length) {
      const n = receiveInto(tcb, SINK, 0, Math.min(length - taken, SINK.length));
      if (n === 0) break;
      taken += n;
    }
    return taken;
  }

  write(length: number, state: { done: number }, _to: Place | undefined): Outcome | undefined {
    const { tcb } = this;
    if (this.error !== undefined) return this.#takeError();
    if (tcb === undefined) return failed(this.profile.name === 'freebsd' ? 'ENOTCONN' : 'EPIPE');
    if (this.#writeShut || this.isClosed || !mayStillSend(tcb)) return failed('EPIPE');
    if (!this.isConnected) return this.nonBlocking ? failed('EAGAIN') : undefined;
    while (state.done < length) {
      const n = send(tcb, TEXT, 0, Math.min(length - state.done, TEXT.length));
      if (n === 0) break;
      state.done += n;
    }
    if (state.done === length) return done(length);
    if (!this.nonBlocking) return undefined;
    return state.done > 0 ? done(state.done) : failed('EAGAIN');
  }

  shutdown(how: number): Outcome {
    const { tcb } = this;
    if (this.listener !== undefined) {
      unlisten(this.listener);
      this.listener = undefined;
      return OK;
    }
    if (tcb === undefined || this.isClosed) return failed('ENOTCONN');
    if (how !== SHUT_WR) this.#readShut = true;
    if (how !== SHUT_RD) {
      this.#writeShut = true;
      shutdown(tcb);
    }
    return OK;
  }

  close(): void {
    if (this.listener !== undefined) unlisten(this.listener);
    const { tcb } = this;
    if (tcb === undefined || this.isClosed) {
      // In TIME-WAIT nobody reads any more.
      if (tcb !== undefined) close(tcb);
      return;
    }
    if (this.linger.onoff !== 0 && this.linger.linger === 0) abort(tcb);
    else close(tcb);
  }

  unread(): number {
    return this.tcb === undefined ? 0 : readableBytes(this.tcb);
  }

  unsent(): number {
    return this.tcb === undefined ? 0 : this.tcb.sendBuffer.length;
  }

  // ---- what the program may ask

  events(): number {
    const { tcb, listener } = this;
    if (listener !== undefined) return listener.ready.length > 0 ? POLLIN | POLLRDNORM : 0;
    if (tcb === undefined) return POLLOUT | POLLWRNORM | POLLHUP;
    let bits = this.error === undefined ? 0 : POLLERR;
    const ended = tcb.receiveEnded || this.#readShut || this.isClosed;
    if (ended || readableBytes(tcb) > 0) bits |= POLLIN | POLLRDNORM;
    if (ended) bits |= POLLRDHUP;
    const room = tcb.options.sendBufferLimit - tcb.sendBuffer.length;
    const roomy = this.isConnected && room * 3 >= tcb.options.sendBufferLimit;
    if (roomy || this.#writeShut || this.isClosed) bits |= POLLOUT | POLLWRNORM;
    if (this.isClosed || (ended && this.#writeShut)) bits |= POLLHUP;
    return bits;
  }

  #takeError(): Outcome {
    const errno = this.error!;
    this.error = undefined;
    this.#told = true;
    return failed(errno);
  }

  // ---- what TCP tells

  connected(): void {
    this.#opened();
  }

  readable(): void {}

  writable(): void {}

  drained(): void {}

  closed(_tcb: Tcb, error: ErrorCode | undefined): void {
    this.isClosed = true;
    if (error !== undefined) this.error = error;
  }
}

/** Datagrams that wait for a program. */
const MOST_DATAGRAMS = 256;

/** A datagram socket. */
export class DatagramSocket implements Socket {
  readonly kind = 'udp';
  nonBlocking = false;
  error: Errno | undefined;
  readonly udp: UdpSocket;
  readonly #queue: Datagram[] = [];
  #peer: Place | undefined;

  constructor(stack: Stack) {
    this.udp = openUdp(stack.udp, {
      family: 4,
      user: {
        received: (_socket, _slab, _offset, _length, _source, _port, info) => {
          if (this.#queue.length < MOST_DATAGRAMS) this.#queue.push(info);
        },
        error: (_socket, code) => {
          this.error = code;
        },
        writable: () => {},
      },
    });
  }

  bind({ address, port }: Place): Outcome {
    const error = bindUdp(this.udp, address, port);
    return error === undefined ? OK : failed(error);
  }

  connect(place: Place): Outcome {
    const error = connectUdp(this.udp, place.address!, place.port);
    if (error !== undefined) return failed(error);
    this.#peer = place;
    return OK;
  }

  read(length: number, peek: boolean, intoNull: boolean): Outcome | undefined {
    if (this.error !== undefined) return this.#takeError();
    const first = this.#queue[0];
    if (first === undefined) return this.nonBlocking ? failed('EAGAIN') : undefined;
    if (intoNull) return failed('EFAULT');
    if (!peek) this.#queue.shift();
    return done(Math.min(first.length, length));
  }

  write(length: number, _state: { done: number }, to: Place | undefined): Outcome {
    if (this.error !== undefined) return this.#takeError();
    const place = to ?? this.#peer;
    if (place === undefined) return failed('EDESTADDRREQ');
    if (length > TEXT.length) return failed('EMSGSIZE');
    const n =
      to === undefined
        ? sendUdp(this.udp, TEXT, 0, length)
        : sendUdp(this.udp, TEXT, 0, length, place.address, place.port);
    return typeof n === 'string' ? failed(n) : done(n);
  }

  shutdown(): Outcome {
    return this.#peer === undefined ? failed('ENOTCONN') : OK;
  }

  close(): void {
    closeUdp(this.udp);
  }

  unread(): number {
    return this.#queue[0]?.length ?? 0;
  }

  unsent(): number {
    return 0;
  }

  events(): number {
    let bits = POLLOUT | POLLWRNORM;
    if (this.#queue.length > 0) bits |= POLLIN | POLLRDNORM;
    if (this.error !== undefined) bits |= POLLERR;
    return bits;
  }

  #takeError(): Outcome {
    const errno = this.error!;
    this.error = undefined;
    return failed(errno);
  }
}
