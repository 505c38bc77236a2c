// The services of one host: opens them, says where they listen, and closes them so that every peer gets what it was promised.

import type dgram from 'node:dgram';
import { once } from 'node:events';
import { Server as HttpServer } from 'node:http';
import type net from 'node:net';
import type { ServiceFacts } from './page.ts';
import {
  CHARGEN_PORT,
  chargen,
  chargenDatagrams,
  DISCARD_PORT,
  discard,
  discardDatagrams,
  ECHO_PORT,
  echo,
  echoDatagrams,
} from './simple.ts';
import { createSite, type FactsSource } from './site.ts';

/** Connections of one simple service at once; each may hold two buffers. */
const MOST_CONNECTIONS = 1024;

/** Which services to open. */
export interface ServiceWishes {
  /** The port of the web site. */
  readonly http?: number;
  readonly echo?: boolean;
  readonly discard?: boolean;
  readonly chargen?: boolean;
}

/** What the services need of a host; Node's own `net` and `dgram` will do. */
export interface ServiceHost {
  readonly net: { createServer(options: net.ServerOpts, listener: (socket: net.Socket) => void): net.Server };
  readonly dgram: { createSocket(type: dgram.SocketType): dgram.Socket };
  /** Makes any server of Node's shape listen on the host. */
  listen(server: net.Server, port: number): Promise<unknown>;
}

interface Simple {
  readonly name: 'echo' | 'discard' | 'chargen';
  readonly port: number;
  readonly tcp: (socket: net.Socket) => void;
  readonly udp: (socket: dgram.Socket) => void;
}

const SIMPLE: readonly Simple[] = [
  { name: 'echo', port: ECHO_PORT, tcp: echo, udp: echoDatagrams },
  { name: 'discard', port: DISCARD_PORT, tcp: discard, udp: discardDatagrams },
  { name: 'chargen', port: CHARGEN_PORT, tcp: chargen, udp: chargenDatagrams },
];

/** The open services of one host. */
export class ServiceSet {
  readonly #host: ServiceHost;
  readonly #wishes: ServiceWishes;
  readonly #servers: net.Server[] = [];
  readonly #udp = new Map<string, dgram.Socket[]>();
  readonly #sockets = new Set<net.Socket>();
  /** What listens, in the order it was opened. */
  readonly list: ServiceFacts[] = [];
  /** Connections accepted since the start. */
  accepted = 0;

  constructor(host: ServiceHost, wishes: ServiceWishes) {
    this.#host = host;
    this.#wishes = wishes;
  }

  /** Opens everything that was wished for on TCP, on every address. */
  async open(facts: FactsSource): Promise<void> {
    const { http } = this.#wishes;
    if (http !== undefined) await this.#listen('http', createSite(facts), http);
    for (const { name, port, tcp } of this.#wanted()) {
      // Echo goes on sending after the peer has finished; the others finish with it.
      const server = this.#host.net.createServer({ allowHalfOpen: name === 'echo' }, tcp);
      server.maxConnections = MOST_CONNECTIONS;
      await this.#listen(name, server, port);
    }
  }

  /**
   * Opens the UDP services on one of the host's own addresses, once it is usable; gives those that were opened. Bound to it rather than to all, they
   * neither hear nor answer broadcasts: one datagram to a network must not fetch an answer from every host (RFC 1122 3.2.2).
   */
  async openUdp(address: string): Promise<ServiceFacts[]> {
    if (this.#udp.has(address)) return [];
    const opened: ServiceFacts[] = [];
    const sockets: dgram.Socket[] = [];
    this.#udp.set(address, sockets);
    for (const { name, port, udp } of this.#wanted()) {
      const socket = this.#host.dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
      sockets.push(socket);
      // ICMP errors about our replies arrive here; a service has nothing to say to them.
      socket.on('error', () => {});
      udp(socket);
      socket.bind({ port, address });
      await once(socket, 'listening');
      opened.push({ name, transport: 'udp', port, address });
    }
    this.list.push(...opened);
    return opened;
  }

  /** Closes the UDP services of an address that the host no longer has. */
  closeUdp(address: string): void {
    for (const socket of this.#udp.get(address) ?? []) socket.close();
    this.#udp.delete(address);
  }

  /**
   * Takes no more, finishes the open connections (FIN after what is queued), and waits for the peers to finish theirs, at most
   * `grace` milliseconds; what is open then is reset.
   */
  async close(grace: number): Promise<void> {
    for (const address of [...this.#udp.keys()]) this.closeUdp(address);
    const closed = this.#servers.map((server) => {
      const done = once(server, 'close');
      server.close();
      // Idle keep-alive connections have nothing left to finish; a response under way has.
      if (server instanceof HttpServer) server.closeIdleConnections();
      return done;
    });
    for (const socket of this.#sockets) {
      if (!this.#isHttp(socket)) socket.unpipe().resume().end();
    }
    const patience = setTimeout(() => {
      for (const socket of this.#sockets) socket.resetAndDestroy();
    }, grace);
    await Promise.all(closed);
    clearTimeout(patience);
  }

  #wanted(): Simple[] {
    return SIMPLE.filter(({ name }) => this.#wishes[name] === true);
  }

  async #listen(name: string, server: net.Server, port: number): Promise<void> {
    server.on('connection', (socket: net.Socket) => {
      this.accepted++;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await this.#host.listen(server, port);
    this.#servers.push(server);
    this.list.push({ name, transport: 'tcp', port });
  }

  #isHttp(socket: net.Socket): boolean {
    return (socket as { server?: unknown }).server instanceof HttpServer;
  }
}
