// host.dgram: node:dgram over one host's stack. Its sockets are Node's own, with our handle under them.

import dgram from 'node:dgram';
import type { Ground } from './handle.ts';
import { adoptDatagramHandle, datagramHandleOf } from './internals.ts';
import type { Lookup } from './lookup.ts';
import { UdpHandle } from './udp-handle.ts';

type OnMessage = (message: Buffer, from: dgram.RemoteInfo) => void;

/** `node:dgram` for one host. */
export interface HostDgram {
  createSocket(type: dgram.SocketType, listener?: OnMessage): dgram.Socket;
  createSocket(options: dgram.SocketOptions, listener?: OnMessage): dgram.Socket;
  readonly Socket: new (
    options: dgram.SocketType | dgram.SocketOptions,
    listener?: OnMessage,
  ) => dgram.Socket;
}

export function createDgram(ground: Ground, lookup: Lookup): HostDgram {
  const Base = dgram.Socket as unknown as new (
    options: dgram.SocketOptions,
    listener?: OnMessage,
  ) => dgram.Socket;

  class Socket extends Base {
    constructor(given: dgram.SocketType | dgram.SocketOptions, listener?: OnMessage) {
      const options = typeof given === 'string' ? { type: given } : { ...given };
      // Names are looked up by this host, never by the process.
      options.lookup ??= lookup as unknown as NonNullable<dgram.SocketOptions['lookup']>;
      super(options, listener);
      // An aborted signal has closed it already.
      if (datagramHandleOf(this) !== null)
        adoptDatagramHandle(this, new UdpHandle(ground, options.type === 'udp6' ? 6 : 4));
    }

    // A cluster worker must not ask its primary for the kernel's socket.
    override bind(...values: unknown[]): this {
      const bind = super.bind as unknown as (...values: unknown[]) => this;
      const [first, second] = values;
      if (typeof first === 'object' && first !== null) {
        const exclusive = 'fd' in first || 'recvStart' in first ? first : { ...first, exclusive: true };
        return bind.call(this, exclusive, ...values.slice(1));
      }
      const port = typeof first === 'function' ? 0 : first;
      const address = typeof second === 'string' ? second : undefined;
      const listening = values.find((value) => typeof value === 'function');
      return bind.call(this, { port, address, exclusive: true }, listening);
    }
  }

  return {
    createSocket: (options: dgram.SocketType | dgram.SocketOptions, listener?: OnMessage) =>
      new Socket(options, listener),
    Socket: Socket as unknown as HostDgram['Socket'],
  };
}
