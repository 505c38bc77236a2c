// The handle under a dgram.Socket: what Node calls a UDPWrap, over our UDP (RFC 768).

import { type Address, type Family, LOOPBACK_V4, LOOPBACK_V6 } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Slab } from '../base/slab.ts';
import {
  bindUdp,
  closeUdp,
  connectUdp,
  disconnectUdp,
  joinGroup,
  leaveGroup,
  openUdp,
  resumeUdp,
  sendUdp,
  type UdpSocket,
  type UdpUser,
} from '../udp/udp.ts';
import { errnoOf } from './errors.ts';
import { Anchor, type Closable, Context, fillName, type Ground, type SockName, toAddress } from './handle.ts';
import { type DatagramHandle, ownerOf, type Request, UV_ECANCELED } from './internals.ts';
import { lend } from './lend.ts';

/** bind's flags. */
const IPV6_ONLY = 1;
const REUSE_ADDRESS = 4;
/** UV_UDP_REUSEPORT: several sockets share a port and the datagrams for it. */
const REUSE_PORT = 64;
/** What Linux says of a socket that is not bound: it has no descriptor yet. */
const EBADF = -9;
/** Datagrams that wait for room on the link. Beyond it a send fails with ENOBUFS, as a full socket buffer does. */
const QUEUE_LIMIT = 1024;

type Onmessage = (
  this: UdpHandle,
  bytesOrError: number,
  handle: UdpHandle,
  message?: Buffer,
  from?: { address: string; family: string; port: number },
) => void;

/** A datagram that waits for room. */
interface Waiting {
  readonly request: Request;
  readonly bytes: Uint8Array;
  readonly to: Address | undefined;
  readonly port: number;
}

export class UdpHandle implements DatagramHandle, UdpUser, Closable {
  /** Set by dgram.Socket. */
  lookup: unknown;
  onmessage: Onmessage | undefined;
  onerror: unknown;
  /** Links of the ground's roster of open handles. */
  roster: Closable['roster'];
  older: Closable | undefined;
  newer: Closable | undefined;

  readonly #ground: Ground;
  readonly #family: Family;
  readonly #context = new Context('TAPUDP');
  readonly #anchor: Anchor;
  #socket: UdpSocket;
  #bound = false;
  #receiving = false;
  #closed = false;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** Told to whoever asks: datagrams are handed to the link at once, and only a full link makes them wait. */
  #sendBuffer = 212_992;
  /** The last sender and its text: a flow has one. */
  #lastSource: Address | undefined;
  #lastSourceText = '';

  constructor(ground: Ground, family: Family) {
    this.#ground = ground;
    this.#family = family;
    this.#anchor = new Anchor(ground.loop);
    this.#socket = openUdp(ground.udp, { family, user: this });
    ground.open.add(this);
  }

  get fd(): number {
    return -1;
  }

  getAsyncId(): number {
    return this.#context.asyncId;
  }

  getProviderType(): number {
    return 0;
  }

  ref(): void {
    this.#anchor.ref();
  }

  unref(): void {
    this.#anchor.unref();
  }

  hasRef(): boolean {
    return this.#anchor.referenced && !this.#closed;
  }

  open(): number {
    return errnoOf('EINVAL');
  }

  // Addresses.

  /** Node gives `lookup` an address of its own family, or a name that it resolves to one. */
  bind(text: string, port: number, flags = 0): number {
    const address = toAddress(text);
    if (!this.#fits(address) || this.#bound) return errnoOf('EINVAL');
    if (this.#ground.closed) return errnoOf('ENETDOWN');
    if ((flags & (REUSE_ADDRESS | REUSE_PORT | IPV6_ONLY)) !== 0) this.#reopen(flags);
    this.#ground.loop.touch();
    const error = bindUdp(this.#socket, address.isUnspecified ? undefined : address, port);
    if (error !== undefined) return errnoOf(error);
    this.#bound = true;
    return 0;
  }

  /** Options of the bind are options of the socket: nothing has used it yet. */
  #reopen(flags: number): void {
    const old = this.#socket;
    closeUdp(old);
    this.#socket = openUdp(this.#ground.udp, {
      family: this.#family,
      user: this,
      reuseAddress: (flags & (REUSE_ADDRESS | REUSE_PORT)) !== 0,
      ipv6Only: (flags & IPV6_ONLY) !== 0,
    });
  }

  connect(text: string, port: number): number {
    const address = toAddress(text);
    if (!this.#fits(address)) return errnoOf('EINVAL');
    this.#ground.loop.touch();
    const error = connectUdp(this.#socket, this.#reachable(address), port);
    if (error !== undefined) return errnoOf(error);
    this.#bound = true;
    return 0;
  }

  disconnect(): number {
    const error = disconnectUdp(this.#socket);
    return error === undefined ? 0 : errnoOf(error);
  }

  /** An IPv4 socket knows no IPv6 address. */
  #fits(address: Address | undefined): address is Address {
    return address !== undefined && (this.#family === 6 || address.family === 4);
  }

  /** Linux takes the unspecified address as a destination for this host. */
  #reachable(address: Address): Address {
    if (!address.isUnspecified) return address;
    return address.family === 4 ? LOOPBACK_V4 : LOOPBACK_V6;
  }

  getsockname(out: SockName): number {
    if (!this.#bound) return EBADF;
    const { local, localPort } = this.#socket;
    return fillName(out, local, localPort);
  }

  getpeername(out: SockName): number {
    const { remote, remotePort } = this.#socket;
    if (remote === undefined) return errnoOf('ENOTCONN');
    return fillName(out, remote, remotePort);
  }

  // Sending.

  /** `(request, list, count, port, address, wantsCallback)`, or without port and address on a connected socket. */
  send(request: Request, list: readonly Uint8Array[], count: number, ...rest: unknown[]): number {
    const [port, text] = rest.length > 1 ? (rest as [number, string]) : [0, undefined];
    const to = text === undefined ? undefined : toAddress(text);
    if (text !== undefined && !this.#fits(to)) return errnoOf('EINVAL');
    const bytes = count === 1 ? list[0]! : Buffer.concat(list as Uint8Array[]);
    const destination = to === undefined ? undefined : this.#reachable(to);
    if (this.#waiting.length > 0) return this.#wait(request, bytes, destination, port);
    this.#ground.loop.touch();
    const sent = this.#send(bytes, destination, port);
    if (typeof sent === 'number') {
      this.#bound = true;
      // One more than was sent says: done, and here is how much.
      return sent + 1;
    }
    return sent === 'EAGAIN' ? this.#wait(request, bytes, destination, port) : errnoOf(sent);
  }

  #send(bytes: Uint8Array, to: Address | undefined, port: number): number | ErrorCode {
    return to === undefined
      ? sendUdp(this.#socket, bytes, 0, bytes.length)
      : sendUdp(this.#socket, bytes, 0, bytes.length, to, port);
  }

  #wait(request: Request, bytes: Uint8Array, to: Address | undefined, port: number): number {
    if (this.#waiting.length >= QUEUE_LIMIT) return errnoOf('ENOBUFS');
    // Node keeps `list` alive and promises not to change it before the callback.
    this.#waiting.push({ request, bytes, to, port });
    this.#waitingBytes += bytes.length;
    this.#update();
    return 0;
  }

  getSendQueueSize(): number {
    return this.#waitingBytes;
  }

  getSendQueueCount(): number {
    return this.#waiting.length;
  }

  /** From UDP: the link has room again. */
  writable(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const sent = this.#send(next.bytes, next.to, next.port);
      if (sent === 'EAGAIN') return;
      this.#waiting.shift();
      this.#waitingBytes -= next.bytes.length;
      this.#update();
      const ok = typeof sent === 'number';
      this.#complete(next.request, ok ? 0 : errnoOf(sent), ok ? sent : 0);
      if (this.#closed) return;
    }
  }

  #complete(request: Request, status: number, sent: number): void {
    if (request.oncomplete !== undefined) this.#context.run(request.oncomplete, request, status, sent);
  }

  // Receiving.

  recvStart(): number {
    this.#receiving = true;
    this.#bound = true;
    this.#ground.loop.touch();
    resumeUdp(this.#socket);
    this.#update();
    return 0;
  }

  recvStop(): number {
    this.#receiving = false;
    this.#socket.paused = true;
    this.#update();
    return 0;
  }

  /** From UDP: a datagram. */
  received(
    _socket: UdpSocket,
    slab: Slab,
    offset: number,
    length: number,
    source: Address,
    sourcePort: number,
  ): void {
    if (this.onmessage === undefined) return;
    const { bytes } = slab;
    // No copy: UDP has put small ones together, and a large one is the only thing that keeps its slab.
    const message = Buffer.from(lend(slab) as ArrayBuffer, bytes.byteOffset + offset, length);
    const from = {
      address: this.#textOf(source),
      family: source.family === 4 ? 'IPv4' : 'IPv6',
      port: sourcePort,
    };
    this.#context.run(this.onmessage, this, length, this, message, from);
  }

  #textOf(source: Address): string {
    if (this.#lastSource?.equals(source) !== true) {
      this.#lastSource = source;
      this.#lastSourceText = source.toString();
    }
    return this.#lastSourceText;
  }

  /** From UDP: an ICMP error about what a connected socket sent; Linux reports it on the next receive. */
  error(_socket: UdpSocket, code: ErrorCode): void {
    if (this.onmessage !== undefined) this.#context.run(this.onmessage, this, errnoOf(code), this);
  }

  // Options.

  setBroadcast(on: number): number {
    if (!this.#bound) return EBADF;
    this.#socket.broadcast = on !== 0;
    return 0;
  }

  setTTL(ttl: number): number {
    if (!this.#bound) return EBADF;
    if (ttl < 1 || ttl > 255) return errnoOf('EINVAL');
    this.#socket.ttl = ttl;
    return 0;
  }

  setMulticastTTL(ttl: number): number {
    if (!this.#bound) return EBADF;
    if (ttl < 0 || ttl > 255) return errnoOf('EINVAL');
    this.#socket.multicastTtl = ttl;
    return 0;
  }

  setMulticastLoopback(on: number): number {
    if (!this.#bound) return EBADF;
    this.#socket.multicastLoop = on !== 0;
    return 0;
  }

  setMulticastInterface(text: string): number {
    if (!this.#bound) return EBADF;
    const index = this.#interface(text);
    if (index < 0) return index;
    this.#socket.multicastInterface = index;
    return 0;
  }

  addMembership(group: string, iface?: string): number {
    return this.#membership(joinGroup, group, iface, undefined);
  }

  dropMembership(group: string, iface?: string): number {
    return this.#membership(leaveGroup, group, iface, undefined);
  }

  addSourceSpecificMembership(source: string, group: string, iface?: string): number {
    return this.#membership(joinGroup, group, iface, source);
  }

  dropSourceSpecificMembership(source: string, group: string, iface?: string): number {
    return this.#membership(leaveGroup, group, iface, source);
  }

  #membership(
    change: typeof joinGroup,
    groupText: string,
    interfaceText: string | undefined,
    sourceText: string | undefined,
  ): number {
    const group = toAddress(groupText);
    const source = sourceText === undefined ? undefined : toAddress(sourceText);
    if (group === undefined || !group.isMulticast || group.family !== this.#family) return errnoOf('EINVAL');
    if (sourceText !== undefined && (source === undefined || source.family !== group.family))
      return errnoOf('EINVAL');
    const index = interfaceText === undefined ? 0 : this.#interface(interfaceText);
    if (index < 0) return index;
    // A membership on an unbound socket binds it, as libuv does.
    if (!this.#bound) {
      const status = this.bind(this.#family === 4 ? '0.0.0.0' : '::', 0, REUSE_ADDRESS);
      if (status !== 0) return status;
    }
    this.#ground.loop.touch();
    const error = change(this.#socket, group, index, source);
    return error === undefined ? 0 : errnoOf(error);
  }

  /** The index of an interface named by its address, or as `::%2`; 0 for any, negative for none. */
  #interface(text: string): number {
    const percent = text.indexOf('%');
    if (percent >= 0) {
      const index = Number(text.slice(percent + 1));
      return Number.isInteger(index) && index > 0 ? index : errnoOf('EINVAL');
    }
    const address = toAddress(text);
    if (address === undefined) return errnoOf('EINVAL');
    if (address.isUnspecified) return 0;
    const index = this.#ground.interfaceOf(address);
    return index > 0 ? index : errnoOf('EADDRNOTAVAIL');
  }

  /** Sets a buffer's size in bytes, or with 0 asks for it. `undefined` with the reason in `failure` when not bound. */
  bufferSize(size: number, receive: boolean, failure: Record<string, unknown>): number | undefined {
    if (!this.#bound) {
      const syscall = receive ? 'uv_recv_buffer_size' : 'uv_send_buffer_size';
      Object.assign(failure, { errno: EBADF, code: 'EBADF', message: 'bad file descriptor', syscall });
      return undefined;
    }
    if (!receive) {
      if (size > 0) this.#sendBuffer = size;
      return this.#sendBuffer;
    }
    if (size > 0) this.#socket.receiveBuffer = size;
    return this.#socket.receiveBuffer;
  }

  // Closing.

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#receiving = false;
    this.#ground.loop.touch();
    closeUdp(this.#socket);
    this.#ground.open.delete(this);
    this.#update();
    const waiting = this.#waiting.splice(0);
    this.#waitingBytes = 0;
    this.#ground.loop.afterEvents({
      resume: () => {
        for (const { request } of waiting) this.#complete(request, UV_ECANCELED, 0);
        this.#context.destroy();
      },
    });
  }

  closeSoon(): void {
    (ownerOf(this) as { close(): void } | undefined)?.close();
  }

  destroy(): void {
    if (!this.#closed) this.closeSoon();
  }

  #update(): void {
    this.#anchor.active = !this.#closed && (this.#receiving || this.#waiting.length > 0);
  }
}
