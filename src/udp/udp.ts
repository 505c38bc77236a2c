// UDP sockets: what a program does with them, for both families. RFC 768, RFC 1122 4.1.

import { type Address, ANY_V4, ANY_V6, type Family } from '../base/address.ts';
import { fold, pseudoHeaderSum } from '../base/checksum.ts';
import type { ErrorCode } from '../base/errors.ts';
import { type Path, PROTOCOL_UDP } from '../base/ip.ts';
import { Slab } from '../base/slab.ts';
import { groupKey, join, leave, membershipOf, setFilter } from './groups.ts';
import { CHECKSUM, UDP_HEADER_LENGTH, writeUdp } from './header.ts';
import { UdpSocket, type UdpSocketOptions } from './socket.ts';
import type { Udp } from './transport.ts';

export type { MulticastService } from './groups.ts';
export { type Datagram, UdpSocket, type UdpSocketOptions, type UdpUser } from './socket.ts';
export { Udp, type UdpNeeds } from './transport.ts';

/** The largest payloads: what 16 bits of length leave after the headers. */
const MAX_PAYLOAD_V4 = 65_535 - 20 - UDP_HEADER_LENGTH;
const MAX_PAYLOAD_V6 = 65_535 - UDP_HEADER_LENGTH;

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
 * room (`user.writable` follows), EINVAL (closed, or a range outside `bytes`), EMSGSIZE, EDESTADDRREQ, EACCES (broadcast),
 * EAFNOSUPPORT, EHOSTUNREACH and others of routing.
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
  // Beyond `bytes` lies what the frame held before: somebody else's data.
  if (offset < 0 || length < 0 || offset + length > bytes.length) return 'EINVAL';
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

/** An unspecified address of either family means any address; 0.0.0.0 limits an IPv6 socket to IPv4, which we do not do. */
function isAny(address: Address, family: Family): boolean {
  return address.isUnspecified && (address.family === family || address.family === 4);
}
