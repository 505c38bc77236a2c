// UDP for both families: sockets, and the datagrams that go in and out of them. RFC 768, RFC 1122 4.1, RFC 8200 8.1.

import { type Address, ANY_V4, ANY_V6, type Family } from '../base/address.ts';
import { fold, pseudoHeaderSum, sum } from '../base/checksum.ts';
import { countDrop, type DropCounts, type Verdict } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import { type IpError, type IpOutput, type Path, PROTOCOL_UDP, type Transport } from '../base/ip.ts';
import type { Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import { Slab } from '../base/slab.ts';
import type { Trace } from '../base/trace.ts';
import { type Arrival, hearsGroup, PortTable } from './demux.ts';
import { join, leave, type MulticastService, membershipOf, passes, setFilter } from './groups.ts';
import {
  CHECKSUM,
  check,
  destinationPort,
  sourcePort,
  UDP_HEADER_LENGTH,
  udpChecksum,
  udpLength,
  writeUdp,
} from './header.ts';
import { Receiver } from './receive.ts';
import { UdpSocket, type UdpSocketOptions } from './socket.ts';

export type { MulticastService } from './groups.ts';
export { type Datagram, UdpSocket, type UdpSocketOptions, type UdpUser } from './socket.ts';

/** What UDP needs of the stack. */
export interface UdpNeeds {
  /** IP of both families. */
  readonly output: IpOutput;
  /** IGMP and MLD by the group's family. */
  readonly groups: MulticastService;
  readonly random: Random;
  readonly trace: Trace;
  /** Drops that no verdict carries: a full socket among several that hear a multicast. */
  readonly drops: DropCounts;
}

/** The largest payloads: what 16 bits of length leave after the headers. */
const MAX_PAYLOAD_V4 = 65_535 - 20 - UDP_HEADER_LENGTH;
const MAX_PAYLOAD_V6 = 65_535 - UDP_HEADER_LENGTH;

/** The UDP of one host. Register it for protocol 17 with both families. */
export class Udp implements Transport {
  /** `udp` group of RFC 4113, and two that Linux has. */
  readonly counters = {
    udpInDatagrams: 0,
    udpNoPorts: 0,
    udpInErrors: 0,
    udpOutDatagrams: 0,
    udpInCsumErrors: 0,
    udpRcvbufErrors: 0,
  };
  readonly needs: UdpNeeds;
  readonly ports: PortTable;
  readonly receiver = new Receiver();
  /** Groups by "interface/address" and how many sockets joined: what a looped multicast is asked against. */
  readonly joined = new Map<string, number>();
  readonly #arrival: Arrival = {
    s0: 0,
    s1: 0,
    s2: 0,
    s3: 0,
    d0: 0,
    d1: 0,
    d2: 0,
    d3: 0,
    sourcePort: 0,
    destinationPort: 0,
    interfaceIndex: 0,
  };

  constructor(needs: UdpNeeds) {
    this.needs = needs;
    this.ports = new PortTable(needs.random);
  }

  /** True when `deliver` has something to do. */
  get pending(): boolean {
    return this.receiver.pending;
  }

  /** Calls socket users. Only here are they called. */
  deliver(): void {
    this.receiver.deliver();
  }

  input(packet: Packet): Verdict {
    const { view, at } = packet;
    const superFrame = packet.gsoSize > 0;
    const wrong = this.#check(packet, superFrame);
    if (wrong !== undefined) {
      this.counters.udpInErrors++;
      return wrong;
    }
    const arrival = this.#arrival;
    arrival.s0 = packet.s0;
    arrival.s1 = packet.s1;
    arrival.s2 = packet.s2;
    arrival.s3 = packet.s3;
    arrival.d0 = packet.d0;
    arrival.d1 = packet.d1;
    arrival.d2 = packet.d2;
    arrival.d3 = packet.d3;
    arrival.sourcePort = sourcePort(view, at);
    arrival.destinationPort = destinationPort(view, at);
    arrival.interfaceIndex = packet.interfaceIndex;
    const from = at + UDP_HEADER_LENGTH;
    const end = superFrame ? packet.end : at + udpLength(view, at);
    if (!superFrame) return this.#accept(packet, arrival, from, end - from);
    // A super-frame stands for datagrams of gsoSize bytes each, the last perhaps shorter.
    let verdict: Verdict;
    for (let offset = from; offset < end; offset += packet.gsoSize) {
      const one = this.#accept(packet, arrival, offset, Math.min(packet.gsoSize, end - offset));
      if (one !== undefined && verdict !== undefined) countDrop(this.needs.drops, one);
      verdict ??= one;
      if (one === 'no socket') break;
    }
    return verdict;
  }

  /** RFC 1122 4.1.3.3: errors go to the application; as in Linux, only to one that is connected to whom it concerns. */
  error(error: IpError): void {
    const { view, at } = error;
    const socket = this.ports.findConnected(
      error.source,
      sourcePort(view, at),
      error.destination,
      destinationPort(view, at),
    );
    if (socket === undefined) return;
    socket.pendingError = codeOf(error.kind);
    this.receiver.wake(socket);
  }

  /** A Path MTU is believed only when some socket on that port sends with DF at all. */
  plausible(error: IpError): boolean {
    const port = sourcePort(error.view, error.at);
    for (const socket of this.ports.on(port)) {
      if (socket.dontFragment && socket.speaks(error.destination.family)) return true;
    }
    return false;
  }

  /** Own members hear what was sent to a group, and all what was broadcast, without a word on the wire. */
  loop(socket: UdpSocket, path: Path, port: number, bytes: Uint8Array, offset: number, length: number): void {
    const { source, destination } = path;
    const arrival: Arrival = {
      s0: source.w0,
      s1: source.w1,
      s2: source.w2,
      s3: source.w3,
      d0: destination.w0,
      d1: destination.w1,
      d2: destination.w2,
      d3: destination.w3,
      sourcePort: socket.localPort,
      destinationPort: port,
      interfaceIndex: path.interface.index,
    };
    if (destination.isMulticast && !this.joined.has(groupKey(destination, path.interface.index))) return;
    const ttl = destination.isMulticast ? socket.multicastTtl : socket.ttl;
    let range: { slab: Slab; offset: number } | undefined;
    for (const other of this.ports.on(port)) {
      if (!this.#hears(other, arrival, source, destination)) continue;
      range ??= { ...this.receiver.copy(bytes, offset, length) };
      this.#enqueue(other, arrival, range, length, ttl, socket.trafficClass);
    }
  }

  /** Lengths, ports and checksum, in the order in which they may be read. */
  #check(packet: Packet, superFrame: boolean): Verdict {
    const { view, at, end } = packet;
    if (end - at < UDP_HEADER_LENGTH) return 'truncated';
    if (!superFrame) {
      const wrong = check(view, at, end);
      if (wrong !== undefined) return wrong;
    }
    if (destinationPort(view, at) === 0) return 'bad port';
    if (packet.checksumTrusted) return undefined;
    const given = udpChecksum(view, at);
    const v4 = (packet.d0 | packet.d1) === 0 && packet.d2 === 0xffff;
    if (given === 0) {
      // RFC 768: the sender made none. RFC 8200 8.1: over IPv6 it must.
      if (v4) return undefined;
      this.counters.udpInCsumErrors++;
      return 'bad checksum';
    }
    const length = superFrame ? end - at : udpLength(view, at);
    if (fold(sum(view, at, at + length, pseudoSum(packet, length))) === 0xffff) return undefined;
    this.counters.udpInCsumErrors++;
    return 'bad checksum';
  }

  #accept(packet: Packet, arrival: Arrival, offset: number, length: number): Verdict {
    if (packet.groupDestination) return this.#acceptGroup(packet, arrival, offset, length);
    const socket = this.ports.find(arrival);
    if (socket === undefined) {
      this.counters.udpNoPorts++;
      return 'no socket'; // IP answers with Port Unreachable (RFC 1122 4.1.3.1)
    }
    const range = this.receiver.keep(packet, offset, length);
    return this.#enqueue(socket, arrival, range, length, packet.ttl, packet.trafficClass);
  }

  /** Broadcast and multicast: to every socket that hears it (RFC 1122 4.1.3.5, RFC 3376 3.1). */
  #acceptGroup(packet: Packet, arrival: Arrival, offset: number, length: number): Verdict {
    const destination = packet.destination();
    const source = packet.source();
    let heard = 0;
    let verdict: Verdict;
    let range: { slab: Slab; offset: number } | undefined;
    for (const socket of this.ports.on(arrival.destinationPort)) {
      if (!this.#hears(socket, arrival, source, destination)) continue;
      range ??= { ...this.receiver.keep(packet, offset, length) };
      const one = this.#enqueue(socket, arrival, range, length, packet.ttl, packet.trafficClass);
      if (one !== undefined && heard > 0) countDrop(this.needs.drops, one);
      heard++;
      verdict = heard === 1 ? one : undefined;
    }
    if (heard > 0) return verdict;
    this.counters.udpNoPorts++;
    return 'no socket';
  }

  #hears(socket: UdpSocket, arrival: Arrival, source: Address, destination: Address): boolean {
    if (!hearsGroup(socket, arrival)) return false;
    if (!destination.isMulticast) return true;
    const membership = membershipOf(socket, destination, arrival.interfaceIndex);
    return membership === undefined ? socket.multicastAll : passes(membership, source);
  }

  #enqueue(
    socket: UdpSocket,
    arrival: Arrival,
    range: { slab: Slab; offset: number },
    length: number,
    ttl: number,
    trafficClass: number,
  ): Verdict {
    if (!this.receiver.enqueue(socket, arrival, range, length, ttl, trafficClass)) {
      this.counters.udpRcvbufErrors++;
      this.counters.udpInErrors++;
      return 'queue full';
    }
    this.counters.udpInDatagrams++;
    return undefined;
  }
}

/** Opens a socket. It has neither address nor port yet. */
export function openUdp(udp: Udp, options: UdpSocketOptions): UdpSocket {
  return new UdpSocket(udp, options);
}

/**
 * Binds to an address of ours, a broadcast or multicast address, or any (`undefined`), and to `port`, 0 to have a random
 * one chosen. Errors: EINVAL (bound already, or closed), EAFNOSUPPORT, EADDRNOTAVAIL (not ours), EADDRINUSE.
 */
export function bindUdp(
  socket: UdpSocket,
  address: Address | undefined,
  port: number,
): ErrorCode | undefined {
  if (socket.closed || socket.localPort !== 0) return 'EINVAL';
  const any = socket.family === 4 ? ANY_V4 : ANY_V6;
  const wanted = address === undefined || isAny(address, socket.family) ? any : address;
  if (!wanted.isUnspecified && !socket.speaks(wanted.family)) return 'EAFNOSUPPORT';
  const { output } = socket.udp.needs;
  if (
    !wanted.isUnspecified &&
    !wanted.isMulticast &&
    !output.isLocal(wanted) &&
    !output.isBroadcast(wanted)
  ) {
    return 'EADDRNOTAVAIL';
  }
  return bindTo(socket, wanted, port);
}

function bindTo(socket: UdpSocket, address: Address, port: number): ErrorCode | undefined {
  const { ports } = socket.udp;
  if (port !== 0 && ports.conflicts(socket, address, port)) return 'EADDRINUSE';
  const chosen = port === 0 ? ports.ephemeral(socket, address) : port;
  if (chosen === 0) return 'EADDRINUSE';
  socket.local = socket.boundAddress = address;
  socket.localPort = chosen;
  ports.insert(socket);
  return undefined;
}

/**
 * Gives the socket one peer: it hears nobody else, is told of ICMP errors, and may send without naming a destination. Binds
 * it if need be. Errors: EINVAL, EAFNOSUPPORT, EACCES (a broadcast without permission), and those of routing.
 */
export function connectUdp(socket: UdpSocket, remote: Address, port: number): ErrorCode | undefined {
  if (socket.closed || port === 0) return 'EINVAL';
  if (!socket.speaks(remote.family)) return 'EAFNOSUPPORT';
  const path = findPath(socket, remote, socket.boundAddress);
  if (typeof path === 'string') return path;
  if (path.broadcast && !socket.broadcast) return 'EACCES';
  if (socket.localPort === 0) {
    const error = bindTo(socket, socket.local, 0);
    if (error !== undefined) return error;
  }
  const { ports } = socket.udp;
  ports.remove(socket);
  socket.remote = remote;
  socket.remotePort = port;
  if (socket.boundAddress.isUnspecified) socket.local = path.source;
  ports.insert(socket);
  return undefined;
}

/** Undoes `connectUdp`; the port stays. Error: ENOTCONN. */
export function disconnectUdp(socket: UdpSocket): ErrorCode | undefined {
  if (socket.remote === undefined) return 'ENOTCONN';
  const { ports } = socket.udp;
  ports.remove(socket);
  socket.remote = undefined;
  socket.remotePort = 0;
  socket.local = socket.boundAddress;
  socket.pendingError = undefined;
  ports.insert(socket);
  return undefined;
}

/** Closes the socket, leaves its groups, and forgets what waits. Twice is harmless. */
export function closeUdp(socket: UdpSocket): void {
  if (socket.closed) return;
  socket.closed = true;
  for (const { group, interfaceIndex } of [...socket.memberships]) {
    leaveGroup(socket, group, interfaceIndex);
  }
  if (socket.localPort !== 0) socket.udp.ports.remove(socket);
  socket.queue = [];
  socket.queuedBytes = 0;
  socket.path = undefined;
  socket.blockedOn = undefined;
}

/** Goes on delivering after `socket.paused` was set. */
export function resumeUdp(socket: UdpSocket): void {
  socket.paused = false;
  if (socket.queue.length > 0) socket.udp.receiver.wake(socket);
}

/**
 * Sends a datagram, copying `bytes`; binds the socket if need be. Returns `length`, or EAGAIN when the interface has no
 * room (`user.writable` follows), EMSGSIZE, EDESTADDRREQ, EACCES (broadcast), EAFNOSUPPORT, EHOSTUNREACH and others of routing.
 */
export function sendUdp(
  socket: UdpSocket,
  bytes: Uint8Array,
  offset: number,
  length: number,
  destination?: Address,
  port?: number,
): number | ErrorCode {
  const to = destination ?? socket.remote;
  const toPort = port ?? socket.remotePort;
  if (socket.closed || (to !== undefined && toPort === 0)) return 'EINVAL';
  if (to === undefined) return 'EDESTADDRREQ';
  if (!socket.speaks(to.family)) return 'EAFNOSUPPORT';
  if (length > (to.family === 4 ? MAX_PAYLOAD_V4 : MAX_PAYLOAD_V6)) return 'EMSGSIZE';
  const path = findPath(socket, to, socket.local);
  if (typeof path === 'string') return path;
  if (path.broadcast && !socket.broadcast) return 'EACCES';
  const multicast = to.isMulticast;
  if (socket.localPort === 0) {
    const error = bindTo(socket, socket.local, 0);
    if (error !== undefined) return error;
  }
  // A multicast with TTL 0 stays in the host (RFC 1112 6.1).
  if (!multicast || socket.multicastTtl > 0) {
    const error = transmit(socket, path, toPort, bytes, offset, length, multicast);
    if (error !== undefined) return error;
  }
  const { udp } = socket;
  udp.counters.udpOutDatagrams++;
  // What goes out by the loopback interface comes back by itself.
  if ((path.broadcast || (multicast && socket.multicastLoop)) && !path.interface.loopback) {
    udp.loop(socket, path, toPort, bytes, offset, length);
  }
  return length;
}

function transmit(
  socket: UdpSocket,
  path: Path,
  port: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  multicast: boolean,
): ErrorCode | undefined {
  const { udp } = socket;
  const netif = path.interface;
  if (netif.up && !netif.hasRoom()) return wait(socket, path);
  const total = UDP_HEADER_LENGTH + length;
  if (socket.dontFragment && path.headerLength + total > path.mtu) return 'EMSGSIZE';
  const frame = netif.frame();
  const at = frame.put(UDP_HEADER_LENGTH);
  // The checksum stays pending: a driver or `link/segment` completes it, and makes 0 of it 0xffff (RFC 768).
  const pending = fold(pseudoHeaderSum(path.source, path.destination, PROTOCOL_UDP, total));
  writeUdp(frame.view, at, socket.localPort, port, total, pending);
  frame.checksumStart = at;
  frame.checksumOffset = CHECKSUM;
  if (length <= frame.room) frame.copyIn(bytes, offset, length);
  else frame.attach(new Slab(bytes.slice(offset, offset + length)), 0, length);
  const { wishes } = socket;
  wishes.ttl = multicast ? socket.multicastTtl : socket.ttl;
  wishes.trafficClass = socket.trafficClass;
  wishes.dontFragment = socket.dontFragment;
  switch (udp.needs.output.send(path, PROTOCOL_UDP, frame, wishes)) {
    case 'sent':
    case 'queued':
      return undefined;
    case 'full':
      return wait(socket, path);
    case 'too big':
      return 'EMSGSIZE';
    case 'unreachable':
      return 'EHOSTUNREACH';
    case 'down':
      return 'ENETDOWN';
  }
}

function wait(socket: UdpSocket, path: Path): ErrorCode {
  socket.blockedOn = path.interface;
  socket.udp.receiver.block(socket);
  return 'EAGAIN';
}

/** The way to `to` from `source`, remembered from the last time while it holds. */
function findPath(socket: UdpSocket, to: Address, source: Address): Path | ErrorCode {
  const index = socket.boundInterface || (to.isMulticast ? socket.multicastInterface : to.zone);
  const { output } = socket.udp.needs;
  // Any, a group and a broadcast address can be bound to, but nothing is sent from them.
  const free = source.isUnspecified || source.isMulticast || output.isBroadcast(source);
  const last = socket.path;
  if (last?.destination.equals(to) && socket.pathInterface === index && !last.stale) {
    if (free || last.source.equals(source)) return last;
  }
  const path = output.path(to, free ? undefined : source, index);
  if (typeof path === 'string') return path;
  socket.path = path;
  socket.pathInterface = index;
  return path;
}

/**
 * Joins `group` on an interface (0: where routing sends the group), for all sources or, when given, also for `source` (RFC
 * 3678 source-specific). Errors: EINVAL, ENODEV, EADDRINUSE (joined already), EADDRNOTAVAIL, ENOBUFS (too many).
 */
export function joinGroup(
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  source?: Address,
): ErrorCode | undefined {
  return changeGroup(socket, group, interfaceIndex, (index) =>
    join(socket.udp.needs.groups, socket, group, index, source),
  );
}

/** Leaves `group`, or only stops hearing `source` in it. Error: EADDRNOTAVAIL when it was not joined so. */
export function leaveGroup(
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  source?: Address,
): ErrorCode | undefined {
  return changeGroup(socket, group, interfaceIndex, (index) =>
    leave(socket.udp.needs.groups, socket, group, index, source),
  );
}

/** Sets the whole source filter for a group (RFC 3678 setipv4sourcefilter): INCLUDE with no sources leaves. */
export function setGroupFilter(
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  mode: 'include' | 'exclude',
  sources: readonly Address[],
): ErrorCode | undefined {
  return changeGroup(socket, group, interfaceIndex, (index) =>
    setFilter(socket.udp.needs.groups, socket, group, index, mode, [...sources]),
  );
}

function changeGroup(
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  change: (index: number) => ErrorCode | undefined,
): ErrorCode | undefined {
  if (!group.isMulticast || !socket.speaks(group.family)) return 'EINVAL';
  const index = interfaceIndex !== 0 ? interfaceIndex : chooseInterface(socket, group);
  if (typeof index === 'string') return index;
  const before = membershipOf(socket, group, index) !== undefined;
  const error = change(index);
  const after = membershipOf(socket, group, index) !== undefined;
  if (before !== after) {
    const { joined } = socket.udp;
    const key = groupKey(group, index);
    const count = (joined.get(key) ?? 0) + (after ? 1 : -1);
    if (count > 0) joined.set(key, count);
    else joined.delete(key);
  }
  return error;
}

/** For index 0: where the group was joined before, else where routing would send it. */
function chooseInterface(socket: UdpSocket, group: Address): number | ErrorCode {
  const known = socket.memberships.find((m) => m.group.equals(group));
  if (known !== undefined) return known.interfaceIndex;
  const preferred = socket.boundInterface || socket.multicastInterface || group.zone;
  if (preferred !== 0) return preferred;
  const path = socket.udp.needs.output.path(group, undefined, 0);
  return typeof path === 'string' ? 'ENODEV' : path.interface.index;
}

function groupKey(group: Address, interfaceIndex: number): string {
  return `${interfaceIndex}/${group}`;
}

/** An unspecified address of either family means any address; 0.0.0.0 limits an IPv6 socket to IPv4, which we do not do. */
function isAny(address: Address, family: Family): boolean {
  return address.isUnspecified && (address.family === family || address.family === 4);
}

/** As Linux's `icmp_err_convert` has it. */
function codeOf(kind: IpError['kind']): ErrorCode {
  switch (kind) {
    case 'port unreachable':
      return 'ECONNREFUSED';
    case 'protocol unreachable':
      return 'ENOPROTOOPT';
    case 'net unreachable':
      return 'ENETUNREACH';
    case 'packet too big':
      return 'EMSGSIZE';
    case 'parameter problem':
      return 'EPROTO';
    default:
      return 'EHOSTUNREACH';
  }
}

/** The pseudo-header's sum from a packet's words (RFC 768, RFC 8200 8.1), without making addresses. */
function pseudoSum(p: Packet, length: number): number {
  const low = half(p.s3) + half(p.d3) + PROTOCOL_UDP + (length >>> 16) + (length & 0xffff);
  // The mapped form's third word, 0xffff twice, counts for nothing in one's complement (RFC 1071 1).
  return low + half(p.s0) + half(p.s1) + half(p.s2) + half(p.d0) + half(p.d1) + half(p.d2);
}

function half(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}
