// The way down: finds paths, pushes the IPv4 header, fragments. RFC 791, RFC 1122 3.3, RFC 6864.

import { type Address, ANY_V4, LOOPBACK_V4 } from '../base/address.ts';
import { finish, sum } from '../base/checksum.ts';
import { type IpOutput, type Path, PROTOCOL_UDP, type RouteError, type SendOptions } from '../base/ip.ts';
import { ETHERTYPE_IPV4, type NetInterface, type SendResult } from '../base/netif.ts';
import type { Frame } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import type { IpCounters } from './counters.ts';
import { Fragmenter } from './fragment.ts';
import {
  DONT_FRAGMENT,
  HEADER_LENGTH,
  MAX_DATAGRAM,
  refreshChecksum,
  VERSION_IHL,
  writeHeader,
} from './header.ts';
import { Identification } from './identification.ts';
import type { LocalAddresses } from './local.ts';
import type { Ipv4Needs } from './needs.ts';
import { ROUTER_ALERT, ROUTER_ALERT_LENGTH } from './options.ts';
import { Ipv4Path } from './path.ts';
import type { PathMtuTable } from './pmtu.ts';

/** IPv4 as transports send through it. */
export class Ipv4Output implements IpOutput {
  readonly fragmenter: Fragmenter;
  readonly #needs: Ipv4Needs;
  readonly #local: LocalAddresses;
  readonly #pmtu: PathMtuTable;
  readonly #counters: IpCounters;
  readonly #ids: Identification;

  constructor(needs: Ipv4Needs, local: LocalAddresses, pmtu: PathMtuTable, counters: IpCounters) {
    this.#needs = needs;
    this.#local = local;
    this.#pmtu = pmtu;
    this.#counters = counters;
    this.#ids = new Identification(needs.random);
    this.fragmenter = new Fragmenter(counters);
  }

  isLocal(address: Address): boolean {
    return address.family === 4 && this.#local.isOwn(address.w3);
  }

  isBroadcast(address: Address): boolean {
    return address.family === 4 && this.#local.isBroadcast(address.w3, 0);
  }

  /** See {@link IpOutput.path}. An unspecified `source` is as good as none. */
  path(destination: Address, source: Address | undefined, interfaceIndex: number): Ipv4Path | RouteError {
    // RFC 1122 3.2.1.3 (a), (b): network 0 is never sent to.
    if (destination.family !== 4 || destination.w3 >>> 24 === 0) return 'EINVAL';
    const asked = source === undefined || source.isUnspecified ? undefined : source;
    if (asked !== undefined && !this.isLocal(asked)) return 'EADDRNOTAVAIL';
    if (this.#local.isOwn(destination.w3)) return this.#loopback(destination, asked);
    // RFC 1122 3.2.1.3 (g): loopback addresses never leave the host.
    if (asked?.isLoopback === true) return 'EINVAL';
    if (destination.isMulticast || destination.isLimitedBroadcast) {
      return this.#group(destination, asked, interfaceIndex);
    }
    const subnet = this.#local.broadcastInterface(destination.w3, interfaceIndex);
    if (subnet !== undefined) return this.#onLink(subnet, destination, asked, true);
    const route = this.#needs.routes.lookup(destination, asked, interfaceIndex);
    if (typeof route === 'string') {
      this.#counters.ipSystemStatsOutNoRoutes++;
      return route;
    }
    if (!route.interface.up) return 'ENETDOWN';
    return this.#make(asked ?? route.source, destination, route.interface, route.nextHop, false);
  }

  /**
   * The way of a packet whose source the caller vouches for, out of interface `netif`: IGMP reports, which may have none,
   * and replies by the interface of the question.
   */
  linkPath(netif: NetInterface, destination: Address, source: Address, broadcast = false): Ipv4Path {
    return this.#make(source, destination, netif, destination, broadcast);
  }

  /** Our address on `netif` that new traffic should use; `undefined` when it has none. */
  addressOf(netif: NetInterface): Address | undefined {
    let second: Address | undefined;
    for (const { address, state } of netif.addresses) {
      if (address.family !== 4) continue;
      if (state === 'preferred') return address;
      if (state === 'deprecated') second ??= address;
    }
    return second;
  }

  /** See {@link IpOutput.send}. `path` is one of ours. A frame that is not sent is reset. */
  send(path: Path, protocol: number, frame: Frame, options: SendOptions): SendResult {
    const way = path as Ipv4Path;
    this.#counters.ipSystemStatsOutRequests++;
    const length = frame.length + HEADER_LENGTH;
    const superFrame = frame.gsoSize !== 0;
    if (length > MAX_DATAGRAM) return this.#refuse(frame, 'too big');
    const fits = superFrame || length <= way.mtu;
    if (!fits && options.dontFragment) return this.#refuse(frame, 'too big');
    const df = fits && options.dontFragment && !way.fragmentable;
    const { source, destination } = way;
    // RFC 6864 4.1: in an atomic datagram the value has no meaning. Segments cut from a super-frame count up from it.
    const pieces = superFrame ? Math.ceil(length / frame.gsoSize) : 1;
    const id = df ? 0 : this.#ids.next(source.w3, destination.w3, protocol, pieces);
    const at = frame.push(HEADER_LENGTH);
    writeHeader(
      frame.view,
      at,
      options.trafficClass,
      length,
      id,
      df ? DONT_FRAGMENT : 0,
      options.ttl,
      protocol,
      source.w3,
      destination.w3,
    );
    return fits ? this.#transmit(way, frame, length) : this.#fragment(way, protocol, frame, length);
  }

  /** Sends `frame` with the Router Alert option (RFC 2113), as IGMP asks. It fits any link: the caller sees to that. */
  sendRouterAlert(path: Ipv4Path, protocol: number, frame: Frame, ttl: number, tos: number): SendResult {
    this.#counters.ipSystemStatsOutRequests++;
    frame.view.setUint32(frame.push(ROUTER_ALERT_LENGTH), ROUTER_ALERT);
    const at = frame.push(HEADER_LENGTH);
    const length = frame.length;
    const { source, destination } = path;
    const id = this.#ids.next(source.w3, destination.w3, protocol, 1);
    writeHeader(frame.view, at, tos, length, id, 0, ttl, protocol, source.w3, destination.w3);
    frame.view.setUint8(at + VERSION_IHL, 0x46);
    refreshChecksum(frame.view, at);
    return this.#transmit(path, frame, length);
  }

  #transmit(path: Ipv4Path, frame: Frame, length: number): SendResult {
    const counters = this.#counters;
    const result = path.interface.send(frame, path.nextHop, ETHERTYPE_IPV4);
    if (result === 'sent' || result === 'queued') {
      counters.ipSystemStatsOutTransmits++;
      counters.ipSystemStatsOutOctets += length;
      if (path.broadcast) counters.ipSystemStatsOutBcastPkts++;
      else if (path.destination.isMulticast) counters.ipSystemStatsOutMcastPkts++;
    } else {
      counters.ipSystemStatsOutDiscards++;
    }
    return result;
  }

  /** Flattens the datagram, completes its checksum, which no driver could do for pieces, and cuts it. */
  #fragment(path: Ipv4Path, protocol: number, frame: Frame, length: number): SendResult {
    const slab = new Slab(new Uint8Array(length));
    const start = frame.checksumStart < 0 ? -1 : frame.checksumStart - frame.head;
    const field = start + frame.checksumOffset;
    frame.copyTo(slab.bytes, 0);
    frame.reset();
    if (start >= 0) {
      const value = finish(sum(slab.view, start, length));
      slab.view.setUint16(field, value === 0 && protocol === PROTOCOL_UDP ? 0xffff : value); // RFC 768
    }
    const netif = path.interface;
    const { trace } = this.#needs;
    if (trace.on) trace.note(`IPv4 fragments ${length} bytes for MTU ${path.mtu}`);
    const result = this.fragmenter.send(slab, 0, length, path.mtu, netif, path.nextHop);
    if (result !== 'sent' && result !== 'queued') this.#counters.ipSystemStatsOutDiscards++;
    else this.#counters.ipSystemStatsOutOctets += length;
    return result;
  }

  #refuse(frame: Frame, result: SendResult): SendResult {
    frame.reset();
    this.#counters.ipSystemStatsOutDiscards++;
    return result;
  }

  /** RFC 1122 3.3.4.2: a packet to one of our own addresses is looped inside the host. */
  #loopback(destination: Address, source: Address | undefined): Ipv4Path | RouteError {
    const netif = this.#needs.interfaces.find((i) => i.loopback && i.up);
    if (netif === undefined) return 'ENETUNREACH';
    const from = source ?? (destination.isLoopback ? LOOPBACK_V4 : destination);
    return this.#make(from, destination, netif, destination, false);
  }

  /** Multicast and limited broadcast name no network: the interface is the one asked for, the source's, or the default's. */
  #group(destination: Address, source: Address | undefined, index: number): Ipv4Path | RouteError {
    const broadcast = destination.isLimitedBroadcast;
    const wanted = index !== 0 ? index : source === undefined ? 0 : this.#local.interfaceOf(source.w3);
    const { interfaces, routes } = this.#needs;
    if (wanted !== 0) {
      const netif = interfaces.find((i) => i.index === wanted);
      if (netif === undefined) return 'EADDRNOTAVAIL';
      return this.#onLink(netif, destination, source, broadcast);
    }
    const route = routes.lookup(destination, undefined, 0);
    const netif =
      typeof route === 'string'
        ? interfaces.find((i) => i.up && !i.loopback && this.addressOf(i) !== undefined)
        : route.interface;
    if (netif === undefined) {
      this.#counters.ipSystemStatsOutNoRoutes++;
      return 'ENETUNREACH';
    }
    return this.#onLink(netif, destination, source, broadcast);
  }

  #onLink(
    netif: NetInterface,
    destination: Address,
    source: Address | undefined,
    broadcast: boolean,
  ): Ipv4Path | RouteError {
    if (!netif.up) return 'ENETDOWN';
    // 0.0.0.0 speaks only where we have yet to learn our address: DHCP's broadcasts (RFC 1122 3.2.1.3 (a)).
    const from = source ?? this.addressOf(netif) ?? (destination.isLimitedBroadcast ? ANY_V4 : undefined);
    if (from === undefined) return 'EADDRNOTAVAIL';
    return this.#make(from, destination, netif, destination, broadcast);
  }

  #make(
    source: Address,
    destination: Address,
    netif: NetInterface,
    nextHop: Address,
    broadcast: boolean,
  ): Ipv4Path {
    return new Ipv4Path(source, destination, netif, nextHop, broadcast, this.#needs.routes, this.#pmtu);
  }
}
