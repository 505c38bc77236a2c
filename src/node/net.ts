// host.net: node:net over one host's stack. Its sockets and servers are Node's own, with our handle under them.

import { channel } from 'node:diagnostics_channel';
import net from 'node:net';
import { HostError } from './errors.ts';
import type { Ground } from './handle.ts';
import {
  isNormalized,
  normalizeArguments,
  reinitializeHandle,
  socketPublishesItself,
  systemError,
} from './internals.ts';
import type { Lookup } from './lookup.ts';
import { TcpHandle } from './tcp-handle.ts';

/** `node:net` for one host: the same names, the same classes, another network. */
export interface HostNet {
  /** As `net.connect`. Usable as `createConnection` of http, undici, ws and others. */
  connect(options: net.NetConnectOpts, connected?: () => void): net.Socket;
  connect(port: number, host?: string, connected?: () => void): net.Socket;
  connect(port: number, connected?: () => void): net.Socket;
  createConnection: HostNet['connect'];
  createServer(listener?: (socket: net.Socket) => void): net.Server;
  createServer(options?: net.ServerOpts, listener?: (socket: net.Socket) => void): net.Server;
  readonly Socket: new (options?: net.SocketConstructorOpts) => net.Socket;
  readonly Server: new (
    options?: net.ServerOpts | ((socket: net.Socket) => void),
    listener?: (socket: net.Socket) => void,
  ) => net.Server;
  readonly Stream: HostNet['Socket'];
  readonly isIP: typeof net.isIP;
  readonly isIPv4: typeof net.isIPv4;
  readonly isIPv6: typeof net.isIPv6;
  readonly BlockList: typeof net.BlockList;
  readonly SocketAddress: typeof net.SocketAddress;
  readonly getDefaultAutoSelectFamily: typeof net.getDefaultAutoSelectFamily;
  readonly setDefaultAutoSelectFamily: typeof net.setDefaultAutoSelectFamily;
  readonly getDefaultAutoSelectFamilyAttemptTimeout: typeof net.getDefaultAutoSelectFamilyAttemptTimeout;
  readonly setDefaultAutoSelectFamilyAttemptTimeout: typeof net.setDefaultAutoSelectFamilyAttemptTimeout;
}

/** What Node hides of a socket and we call. */
interface SocketInternals {
  _handle: TcpHandle | null;
  [reinitializeHandle: symbol]: (handle: unknown) => void;
}

/** What Node hides of a server and we call. */
interface ServerInternals {
  _handle: TcpHandle | null;
  _listen2(
    address: string | null,
    port: number,
    family: number,
    backlog: number | undefined,
    fd: unknown,
    flags: number,
  ): void;
}

type Options = Record<string, unknown>;

/** Node's own default. */
const BACKLOG = 511;

function noPaths(options: Options): void {
  if (options.path != null || options.fd != null)
    throw new HostError(
      'ERR_NOT_OF_THIS_STACK',
      `A ${options.path != null ? 'Unix socket path' : 'file descriptor'} belongs to the kernel: use node:net for it.`,
    );
}

export function createNet(ground: Ground, lookup: Lookup): HostNet {
  class Socket extends net.Socket {
    override connect(...values: unknown[]): this {
      const [given, connected] = isNormalized(values[0]) ? values[0] : normalizeArguments(values);
      noPaths(given);
      // Names are looked up by this host, never by the process.
      const options: Options = { lookup, ...given };
      const self = this as unknown as SocketInternals;
      // Node reuses a destroyed socket: it gets a fresh handle, as it would from Node.
      if (this.destroyed) self._handle = null;
      if (self._handle === null && options.port !== undefined)
        super_reinitialize.call(this, new TcpHandle(ground));
      const connect = super.connect as unknown as (options: Options, connected?: () => void) => this;
      return connect.call(this, options, connected ?? undefined);
    }
  }
  const super_reinitialize = (net.Socket.prototype as unknown as SocketInternals)[reinitializeHandle]!;
  Object.defineProperty(Socket.prototype, reinitializeHandle, {
    // Node tries the next address of several with a handle of the kernel's: it gets one of ours.
    value(this: net.Socket, handle: unknown) {
      if (handle instanceof TcpHandle) return super_reinitialize.call(this, handle);
      (handle as net.Socket & { close(): void }).close();
      return super_reinitialize.call(this, new TcpHandle(ground));
    },
    writable: true,
    configurable: true,
  });

  class Server extends net.Server {
    override listen(...values: unknown[]): this {
      // A handle that listens already, as host.listen gives, is taken as it is.
      if (values[0] instanceof TcpHandle)
        return (super.listen as unknown as (...values: unknown[]) => this).apply(this, values);
      // From host.listen: a handle that listens already.
      if (values[0] instanceof TcpHandle) return super.listen(...(values as [net.ListenOptions]));
      const [given, listening] = normalizeArguments(values);
      noPaths(given);
      const self = this as unknown as ServerInternals;
      // A cluster worker must not ask its primary for the kernel's socket.
      const options: Options = { ...given, exclusive: true };
      if (typeof options.backlog !== 'number') {
        const backlog = [values[1], values[2]].find((value) => typeof value === 'number');
        if (backlog !== undefined) options.backlog = backlog;
      }
      if (values.length === 0 || typeof values[0] === 'function' || values[0] === null) options.port = 0;
      const listen = super.listen as unknown as (options: Options, listening?: () => void) => this;
      const { host } = options;
      if (self._handle !== null || typeof host !== 'string' || host === '' || net.isIP(host) !== 0)
        return listen.call(this, options, listening ?? undefined);
      lookup(host, { all: false }, (error, address) => {
        if (error !== null) this.emit('error', error);
        else listen.call(this, { ...options, host: address as string }, listening ?? undefined);
      });
      return this;
    }

    /** Node calls this to make, bind and listen on a handle: it finds ours already listening. */
    _listen2(
      address: string | null,
      port: number,
      family: number,
      backlog: number | undefined,
      fd: unknown,
      flags: number,
    ): void {
      const self = this as unknown as ServerInternals;
      if (self._handle === null) {
        const handle = listenOn(ground, address, port, backlog || BACKLOG, flags, false);
        if (handle instanceof Error) {
          process.nextTick(() => this.emit('error', handle));
          return;
        }
        self._handle = handle;
      }
      super_listen2.call(this as unknown as ServerInternals, address, port, family, backlog, fd, flags);
    }
  }
  const super_listen2 = (net.Server.prototype as unknown as ServerInternals)._listen2;

  const clientSockets = channel('net.client.socket');
  const connect = (...values: unknown[]): net.Socket => {
    const normalized = normalizeArguments(values);
    const [options] = normalized;
    const socket = new Socket(options as net.SocketConstructorOpts);
    if (!socketPublishesItself && clientSockets.hasSubscribers) clientSockets.publish({ socket });
    if (options.timeout) socket.setTimeout(options.timeout as number);
    return socket.connect(normalized);
  };

  return {
    connect,
    createConnection: connect,
    createServer: (options?: unknown, listener?: unknown) =>
      new Server(options as net.ServerOpts, listener as () => void),
    Socket: Socket as unknown as HostNet['Socket'],
    Server: Server as unknown as HostNet['Server'],
    Stream: Socket as unknown as HostNet['Socket'],
    isIP: net.isIP,
    isIPv4: net.isIPv4,
    isIPv6: net.isIPv6,
    BlockList: net.BlockList,
    SocketAddress: net.SocketAddress,
    getDefaultAutoSelectFamily: net.getDefaultAutoSelectFamily,
    setDefaultAutoSelectFamily: net.setDefaultAutoSelectFamily,
    getDefaultAutoSelectFamilyAttemptTimeout: net.getDefaultAutoSelectFamilyAttemptTimeout,
    setDefaultAutoSelectFamilyAttemptTimeout: net.setDefaultAutoSelectFamilyAttemptTimeout,
  };
}

/**
 * A handle that listens, or the error as `net.Server` emits it. Without an address both families are served when the host
 * has IPv6, as in Node.
 */
export function listenOn(
  ground: Ground,
  address: string | null,
  port: number,
  backlog: number,
  flags: number,
  plain: boolean,
): TcpHandle | Error {
  const where = address || (ground.hasIpv6() ? '::' : '0.0.0.0');
  const handle = new TcpHandle(ground);
  handle.plain = plain;
  const status =
    (net.isIPv6(where) ? handle.bind6(where, port, flags) : handle.bind(where, port)) ||
    handle.listen(backlog);
  if (status === 0) return handle;
  handle.close();
  return systemError(status, 'listen', where, port);
}
