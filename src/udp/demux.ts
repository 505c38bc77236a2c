// Finds the socket of a datagram, most specific first, and free ports. RFC 768, RFC 1122 4.1.3.5, RFC 6056.

import type { Address } from '../base/address.ts';
import { below, type Random } from '../base/random.ts';
import type { UdpSocket } from './socket.ts';

/** Ports given to sockets that do not ask for one: Linux's range, well inside what RFC 6056 3.2 allows. */
export const EPHEMERAL_FIRST = 32_768;
export const EPHEMERAL_LAST = 60_999;

/** A datagram's addresses as words, so that a lookup allocates nothing. */
export interface Arrival {
  s0: number;
  s1: number;
  s2: number;
  s3: number;
  d0: number;
  d1: number;
  d2: number;
  d3: number;
  sourcePort: number;
  destinationPort: number;
  interfaceIndex: number;
}

/** The sockets of one port. */
interface Port {
  /** All of them, in order of binding. */
  readonly sockets: Set<UdpSocket>;
  /** Connected ones by remote address and port. */
  readonly connected: Map<number, UdpSocket[]>;
  /** Unconnected ones with an address of their own, by it. */
  readonly specific: Map<number, UdpSocket[]>;
  /** The rest. */
  readonly any: UdpSocket[];
}

/** All bound sockets. */
export class PortTable {
  readonly #ports = new Map<number, Port>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Every bound socket, for status pages. */
  *sockets(): Generator<UdpSocket> {
    for (const port of this.#ports.values()) yield* port.sockets;
  }

  /** Sockets on `port`, whatever their addresses. */
  on(port: number): Iterable<UdpSocket> {
    return this.#ports.get(port)?.sockets ?? NONE;
  }

  /** Enters `socket` under its local and remote addresses, which must not change until {@link remove}. */
  insert(socket: UdpSocket): void {
    let port = this.#ports.get(socket.localPort);
    if (port === undefined) {
      port = { sockets: new Set(), connected: new Map(), specific: new Map(), any: [] };
      this.#ports.set(socket.localPort, port);
    }
    port.sockets.add(socket);
    listFor(port, socket).push(socket);
  }

  remove(socket: UdpSocket): void {
    const port = this.#ports.get(socket.localPort);
    if (port === undefined || !port.sockets.delete(socket)) return;
    const list = listFor(port, socket);
    list.splice(list.indexOf(socket), 1);
    if (list.length === 0 && list !== port.any) {
      if (socket.remote !== undefined) port.connected.delete(remoteKey(socket));
      else port.specific.delete(addressKey(socket.local));
    }
    if (port.sockets.size === 0) this.#ports.delete(socket.localPort);
  }

  /** The socket for a unicast datagram: connected to its source, else bound to its destination, else bound to any. */
  find(arrival: Arrival): UdpSocket | undefined {
    const port = this.#ports.get(arrival.destinationPort);
    if (port === undefined) return undefined;
    if (port.connected.size > 0) {
      const key = hash(arrival.s0, arrival.s1, arrival.s2, arrival.s3) ^ arrival.sourcePort;
      const found = newest(port.connected.get(key), arrival);
      if (found !== undefined) return found;
    }
    if (port.specific.size > 0) {
      const key = hash(arrival.d0, arrival.d1, arrival.d2, arrival.d3);
      const found = newest(port.specific.get(key), arrival);
      if (found !== undefined) return found;
    }
    return newest(port.any, arrival);
  }

  /** Who we were connected to when a datagram of ours failed: local and remote ends as in the quoted header. */
  findConnected(
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
  ): UdpSocket | undefined {
    const list = this.#ports.get(localPort)?.connected.get(addressKey(remote) ^ remotePort);
    return list?.find(
      (s) => s.remotePort === remotePort && s.remote!.equals(remote) && s.local.equals(local),
    );
  }

  /** True when `socket` may not have `address` and `port`: Linux's rules for SO_REUSEADDR. */
  conflicts(socket: UdpSocket, address: Address, port: number): boolean {
    const there = this.#ports.get(port);
    if (there === undefined) return false;
    for (const other of there.sockets) {
      if (other === socket || (other.reuseAddress && socket.reuseAddress)) continue;
      const apart =
        other.boundInterface !== 0 &&
        socket.boundInterface !== 0 &&
        other.boundInterface !== socket.boundInterface;
      if (!apart && overlap(other, other.local, socket, address)) return true;
    }
    return false;
  }

  /** A free port for `socket` at `address`, 0 when there is none. RFC 6056 3.3.1: a random one, then the next that is free. */
  ephemeral(socket: UdpSocket, address: Address): number {
    const count = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
    const start = below(this.#random, count);
    for (let i = 0; i < count; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % count);
      // A port that somebody shares is still somebody's: who does not care gets one alone.
      if (!this.#ports.has(port)) return port;
    }
    for (let i = 0; i < count; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % count);
      if (!this.conflicts(socket, address, port)) return port;
    }
    return 0;
  }
}

const NONE: readonly UdpSocket[] = [];

/** True when a broadcast or multicast datagram may concern `socket`: not connected elsewhere, not bound elsewhere. */
export function hearsGroup(socket: UdpSocket, arrival: Arrival): boolean {
  const { local, remote } = socket;
  if (!local.isUnspecified && !isDestination(local, arrival)) {
    // A connected socket has an address only because it was connected; it was bound to any.
    if (remote === undefined || !socket.boundAddress.isUnspecified) return false;
  }
  if (remote !== undefined && !(socket.remotePort === arrival.sourcePort && isSource(remote, arrival))) {
    return false;
  }
  return hears(socket, arrival);
}

function hears(socket: UdpSocket, arrival: Arrival): boolean {
  const family = isV4(arrival) ? 4 : 6;
  if (!socket.speaks(family)) return false;
  return socket.boundInterface === 0 || socket.boundInterface === arrival.interfaceIndex;
}

/** The last bound of `list` that fits: with SO_REUSEADDR the newest socket takes unicast, as in Linux. */
function newest(list: readonly UdpSocket[] | undefined, arrival: Arrival): UdpSocket | undefined {
  if (list === undefined) return undefined;
  for (let i = list.length - 1; i >= 0; i--) {
    const socket = list[i]!;
    const { local, remote } = socket;
    if (!local.isUnspecified && !isDestination(local, arrival)) continue;
    if (remote !== undefined && !(socket.remotePort === arrival.sourcePort && isSource(remote, arrival))) {
      continue;
    }
    if (hears(socket, arrival)) return socket;
  }
  return undefined;
}

function isV4(a: Arrival): boolean {
  return (a.d0 | a.d1) === 0 && a.d2 === 0xffff;
}

function isDestination(address: Address, a: Arrival): boolean {
  return (
    address.w3 === a.d3 &&
    address.w2 === a.d2 &&
    address.w1 === a.d1 &&
    address.w0 === a.d0 &&
    (address.zone === 0 || address.zone === a.interfaceIndex)
  );
}

function isSource(address: Address, a: Arrival): boolean {
  return (
    address.w3 === a.s3 &&
    address.w2 === a.s2 &&
    address.w1 === a.s1 &&
    address.w0 === a.s0 &&
    (address.zone === 0 || address.zone === a.interfaceIndex)
  );
}

function listFor(port: Port, socket: UdpSocket): UdpSocket[] {
  if (socket.remote !== undefined) return listOf(port.connected, remoteKey(socket));
  if (socket.local.isUnspecified) return port.any;
  return listOf(port.specific, addressKey(socket.local));
}

function listOf(map: Map<number, UdpSocket[]>, key: number): UdpSocket[] {
  let list = map.get(key);
  if (list === undefined) {
    list = [];
    map.set(key, list);
  }
  return list;
}

function remoteKey(socket: UdpSocket): number {
  return addressKey(socket.remote!) ^ socket.remotePort;
}

function addressKey({ w0, w1, w2, w3 }: Address): number {
  return hash(w0, w1, w2, w3);
}

/** Peers of connected sockets are our user's choice, not a stranger's, so the hash needs no key. */
function hash(w0: number, w1: number, w2: number, w3: number): number {
  let h = Math.imul(w3, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15) ^ w2, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13) ^ w1, 0xc2b2ae35);
  return (h ^ (h >>> 16) ^ w0) | 0;
}

/** Whether two sockets could both be meant by one datagram. */
function overlap(a: UdpSocket, addressA: Address, b: UdpSocket, addressB: Address): boolean {
  if (addressA.isUnspecified || addressB.isUnspecified) {
    const aSpeaks = addressA.isUnspecified ? a.speaks(4) : addressA.family === 4;
    const bSpeaks = addressB.isUnspecified ? b.speaks(4) : addressB.family === 4;
    if (aSpeaks && bSpeaks) return true;
    const a6 = addressA.isUnspecified ? a.speaks(6) : addressA.family === 6;
    const b6 = addressB.isUnspecified ? b.speaks(6) : addressB.family === 6;
    return a6 && b6;
  }
  return addressA.equals(addressB);
}
