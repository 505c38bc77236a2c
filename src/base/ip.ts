// The seam between IP and the transports: what TCP and UDP ask of IP, and what IP hands up to them.
//
// TCP and UDP import this and neither ipv4 nor ipv6, so one implementation serves both families.

import type { Address } from './address.ts';
import type { Verdict } from './drop.ts';
import type { NetInterface, SendResult } from './netif.ts';
import type { Frame, Packet } from './packet.ts';

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IGMP = 2;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;

/** Why there is no way to a destination, as the errno a socket call reports. */
export type RouteError = 'ENETUNREACH' | 'EHOSTUNREACH' | 'EADDRNOTAVAIL' | 'EACCES' | 'ENETDOWN' | 'EINVAL';

/**
 * The way to a peer: RFC 1122 3.3.1's route cache entry. A transport asks once and keeps it; when `stale` turns true (a
 * route or an address changed) it asks again.
 */
export interface Path {
  readonly source: Address;
  readonly destination: Address;
  readonly interface: NetInterface;
  /** Where the packet goes on this link: the destination itself, or a gateway. */
  readonly nextHop: Address;
  /** Largest IP packet, in bytes, that passes now: the interface's MTU or what Path MTU Discovery learned (RFC 1191, 8201). */
  readonly mtu: number;
  /** IP header bytes the layer will push: 20 or 40. */
  readonly headerLength: number;
  /** True when the destination is a broadcast address of the interface, or 255.255.255.255. */
  readonly broadcast: boolean;
  readonly stale: boolean;
}

/** Per-packet wishes. A transport keeps one object and reuses it. */
export interface SendOptions {
  /** TTL or hop limit, 1 to 255. */
  ttl: number;
  /** DSCP and ECN, the whole octet (RFC 2474, 3168). */
  trafficClass: number;
  /** Never fragment: sets DF on IPv4. With it, a packet above `path.mtu` is `too big`; without, IP fragments. */
  dontFragment: boolean;
}

export const DEFAULT_TTL = 64;

/** What a transport may ask of IP. `stack.ts` gives one that serves both families. */
export interface IpOutput {
  /**
   * Finds the way to `destination`: interface, next hop, and our source address (`source` if given, which must be ours; else
   * by RFC 1122 3.3.4.3 / RFC 6724). `interfaceIndex` 0 means any.
   */
  path(destination: Address, source: Address | undefined, interfaceIndex: number): Path | RouteError;
  /**
   * Sends `frame` (transport header pushed, payload behind it; from `path.interface.frame()`): pushes the IP header,
   * fragments if allowed and needed (completing a pending checksum first), and hands it to the interface.
   */
  send(path: Path, protocol: number, frame: Frame, options: SendOptions): SendResult;
  /** True when `address` is ours and usable (not tentative), on any interface, loopback included. */
  isLocal(address: Address): boolean;
  /** True when `address` is a broadcast address on some interface of ours. */
  isBroadcast(address: Address): boolean;
  /**
   * Advice that packets by `path` arrive, because the peer acknowledged new data: its next hop needs no probing
   * (RFC 4861 7.3.1, RFC 1122 2.3.2.1 (4)). Cheap enough for every ACK.
   */
  confirm?(path: Path): void;
}

/** An error that IP learned about a packet we sent: from ICMP, or because the next hop does not answer. */
export interface IpError {
  readonly kind:
    | 'net unreachable'
    | 'host unreachable'
    | 'protocol unreachable'
    | 'port unreachable'
    | 'packet too big'
    | 'source route failed'
    | 'prohibited'
    | 'ttl exceeded'
    | 'reassembly timeout'
    | 'parameter problem';
  /** For `packet too big`, the next hop's MTU after the checks of RFC 1191 / 8201; already stored in the path. 0 otherwise. */
  readonly mtu: number;
  /** Addresses of the packet that failed: `source` is ours. */
  readonly source: Address;
  readonly destination: Address;
  /** Who reported it; ourselves when a neighbour did not answer. */
  readonly reporter: Address;
  /** The quoted transport header: at least 8 bytes from `at`, ending before `end`. For a failed neighbour, of our own packet. */
  readonly view: DataView;
  readonly at: number;
  readonly end: number;
}

/** A transport as IP sees it: registered by protocol number, called with packets whose IP header has been consumed. */
export interface Transport {
  /** `packet.at` is the transport header, `packet.end` the end of the datagram; addresses, ttl and trafficClass are set. */
  input(packet: Packet): Verdict;
  error(error: IpError): void;
  /**
   * Asked before the Path MTU of a `packet too big` is stored: false when the quoted header is not one that this transport
   * has in flight (RFC 5927 7, so that a forged message narrows no path). Without it every such error is believed.
   */
  plausible?(error: IpError): boolean;
}
