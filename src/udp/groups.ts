// A socket's multicast memberships: joining, leaving and source filters. RFC 1112 6.1, RFC 3376 2 and 3.1, RFC 3678.

import type { Address } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Membership, UdpSocket } from './socket.ts';

/** The service of IGMP and MLD that sockets use: IPMulticastListen, RFC 3376 2 and RFC 3810 3. */
export interface MulticastService {
  multicastListen(
    socket: object,
    interfaceIndex: number,
    group: Address,
    mode: 'include' | 'exclude',
    sources: readonly Address[],
  ): ErrorCode | undefined;
}

export function membershipOf(
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
): Membership | undefined {
  return socket.memberships.find((m) => m.interfaceIndex === interfaceIndex && m.group.equals(group));
}

/** True when the filter lets `source` through. */
export function passes(membership: Membership, source: Address): boolean {
  return membership.sources.some((s) => s.equals(source)) === (membership.mode === 'include');
}

/** Sets the whole filter of `socket` for a group; INCLUDE with no sources leaves. Undone when the service refuses. */
export function setFilter(
  service: MulticastService,
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  mode: 'include' | 'exclude',
  sources: readonly Address[],
): ErrorCode | undefined {
  const leaving = mode === 'include' && sources.length === 0;
  const error = service.multicastListen(socket, interfaceIndex, group, mode, sources);
  // An interface that is gone took its groups with it: the socket forgets them all the same.
  if (error !== undefined && !(leaving && error === 'ENODEV')) return error;
  const membership = membershipOf(socket, group, interfaceIndex);
  if (leaving) {
    if (membership !== undefined) socket.memberships.splice(socket.memberships.indexOf(membership), 1);
  } else if (membership === undefined) {
    socket.memberships.push({ group, interfaceIndex, mode, sources });
  } else {
    membership.mode = mode;
    membership.sources = sources;
  }
  return undefined;
}

/** IP_ADD_MEMBERSHIP, or IP_ADD_SOURCE_MEMBERSHIP with a source; errors as Linux gives them. */
export function join(
  service: MulticastService,
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  source: Address | undefined,
): ErrorCode | undefined {
  const membership = membershipOf(socket, group, interfaceIndex);
  if (source === undefined) {
    if (membership !== undefined) return 'EADDRINUSE';
    return setFilter(service, socket, group, interfaceIndex, 'exclude', []);
  }
  if (membership?.mode === 'exclude') return 'EINVAL';
  const sources = membership?.sources ?? [];
  if (sources.some((s) => s.equals(source))) return 'EADDRNOTAVAIL';
  return setFilter(service, socket, group, interfaceIndex, 'include', [...sources, source]);
}

/** IP_DROP_MEMBERSHIP, or IP_DROP_SOURCE_MEMBERSHIP with a source. */
export function leave(
  service: MulticastService,
  socket: UdpSocket,
  group: Address,
  interfaceIndex: number,
  source: Address | undefined,
): ErrorCode | undefined {
  const membership = membershipOf(socket, group, interfaceIndex);
  if (membership === undefined) return 'EADDRNOTAVAIL';
  if (source === undefined) return setFilter(service, socket, group, interfaceIndex, 'include', []);
  if (membership.mode === 'exclude') return 'EINVAL';
  const rest = membership.sources.filter((s) => !s.equals(source));
  if (rest.length === membership.sources.length) return 'EADDRNOTAVAIL';
  return setFilter(service, socket, group, interfaceIndex, 'include', rest);
}

/** One group on one interface, as a key. */
export function groupKey(group: Address, interfaceIndex: number): string {
  return `${interfaceIndex}/${group}`;
}
