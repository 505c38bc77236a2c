// What a UDP socket is: its addresses, its options, and what waits for its user. Data only.

import { type Address, ANY_V4, ANY_V6, type Family } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import { DEFAULT_TTL, type Path, type SendOptions } from '../base/ip.ts';
import type { NetInterface } from '../base/netif.ts';
import type { Slab } from '../base/slab.ts';
import type { Udp } from './transport.ts';

/** A datagram that waits for its socket's user. */
export interface Datagram {
  readonly slab: Slab;
  readonly offset: number;
  readonly length: number;
  readonly source: Address;
  readonly sourcePort: number;
  /** Where it was sent: one of our addresses, a broadcast or a group (RFC 1122 4.1.3.5). */
  readonly destination: Address;
  readonly interfaceIndex: number;
  readonly ttl: number;
  readonly trafficClass: number;
}

/** Who uses a socket. All are called from `deliver`, never from within a call of theirs. */
export interface UdpUser {
  /** A datagram: `length` bytes at `offset` of `slab`. They are the user's for ever. `info` says the rest about it. */
  received(
    socket: UdpSocket,
    slab: Slab,
    offset: number,
    length: number,
    source: Address,
    sourcePort: number,
    info: Datagram,
  ): void;
  /** An ICMP error about something a connected socket sent (RFC 1122 4.1.3.3). */
  error(socket: UdpSocket, code: ErrorCode): void;
  /** After `EAGAIN`: there is room again. */
  writable(socket: UdpSocket): void;
}

/** What a socket wants of one group on one interface (RFC 3376 3.1). */
export interface Membership {
  readonly group: Address;
  readonly interfaceIndex: number;
  mode: 'include' | 'exclude';
  sources: readonly Address[];
}

/**
 * Bytes of datagrams that may wait for a socket's user, each counted with {@link DATAGRAM_OVERHEAD}. What waits is what one
 * round received, unless the user pauses; a round is a few hundred frames, so this is some of them to one socket.
 */
export const RECEIVE_BUFFER = 2 << 20;
export const DATAGRAM_OVERHEAD = 256;

export interface UdpSocketOptions {
  family: Family;
  user: UdpUser;
  /** SO_REUSEADDR: several sockets may have one address and port if all of them say so. Default false. */
  reuseAddress?: boolean;
  /** For family 6: takes no IPv4 traffic (IPV6_V6ONLY). Default false. */
  ipv6Only?: boolean;
}

/** A UDP socket. Made by `openUdp`; fields marked "option" may be set at any time. */
export class UdpSocket {
  readonly udp: Udp;
  readonly family: Family;
  readonly user: UdpUser;
  readonly reuseAddress: boolean;
  readonly ipv6Only: boolean;
  /** Option: TTL or hop limit of unicast datagrams. */
  ttl = DEFAULT_TTL;
  /** Option: DSCP and ECN octet. */
  trafficClass = 0;
  /** Option: may send to broadcast addresses (SO_BROADCAST). */
  broadcast = false;
  /** Option: sets DF, and refuses with EMSGSIZE what does not fit the path. */
  dontFragment = false;
  /** Option: TTL of multicast datagrams; 1 keeps them on the link (RFC 1112 6.1). */
  multicastTtl = 1;
  /** Option: own members hear what this socket sends to a group. */
  multicastLoop = true;
  /** Option: interface index for multicast sends, 0 to let routing choose. */
  multicastInterface = 0;
  /** Option: also hears groups that only other sockets joined (Linux's IP_MULTICAST_ALL and its default). */
  multicastAll = true;
  /** Option: sends and receives by this interface only, 0 for all (SO_BINDTODEVICE). */
  boundInterface = 0;
  /** Option: see {@link RECEIVE_BUFFER}. */
  receiveBuffer = RECEIVE_BUFFER;
  /** Option: leaves datagrams waiting; set back with `resumeUdp`. */
  paused = false;

  /** Own address: unspecified until bound to one or connected. */
  local: Address;
  /** 0 until bound. */
  localPort = 0;
  /** Where `disconnectUdp` goes back to. */
  boundAddress: Address;
  remote: Address | undefined;
  remotePort = 0;
  closed = false;
  readonly memberships: Membership[] = [];
  /** Datagrams lost because the receive buffer was full. */
  drops = 0;

  // For udp.ts and its parts.
  queue: Datagram[] = [];
  queuedBytes = 0;
  /** It stands in the list of sockets with events. */
  ready = false;
  /** Only the last error is kept, as in `SO_ERROR`: a storm of them costs nothing (hostile class 108). */
  pendingError: ErrorCode | undefined;
  /** The interface that had no room, while the user waits for `writable`. */
  blockedOn: NetInterface | undefined;
  /** The way to the last destination. */
  path: Path | undefined;
  pathInterface = 0;
  readonly wishes: SendOptions = { ttl: DEFAULT_TTL, trafficClass: 0, dontFragment: false };

  constructor(udp: Udp, { family, user, reuseAddress = false, ipv6Only = false }: UdpSocketOptions) {
    this.udp = udp;
    this.family = family;
    this.user = user;
    this.reuseAddress = reuseAddress;
    this.ipv6Only = ipv6Only;
    this.local = this.boundAddress = family === 4 ? ANY_V4 : ANY_V6;
  }

  /** True when addresses of `family` can be its peers: IPv6 sockets take IPv4 too, unless told otherwise (RFC 3493 3.7). */
  speaks(family: Family): boolean {
    return family === this.family || (this.family === 6 && !this.ipv6Only);
  }
}
