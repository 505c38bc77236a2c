// The routing table: longest-prefix match for both families, and the choice of our source address
// (RFC 1122 3.3.1 and 3.3.4.3, RFC 1812 5.2.4.3; RFC 6724 takes the place of the latter for IPv6).

import { Address, type Cidr, maskWord } from '../base/address.ts';
import type { RouteError } from '../base/ip.ts';
import type { InterfaceAddress, NetInterface } from '../base/netif.ts';

/** `local` is an address of ours; `connected` a subnet on the link; `static` what the user or a protocol added. */
export type RouteKind = 'local' | 'connected' | 'static';

export interface Route {
  /** Host bits are zero. */
  readonly prefix: Address;
  readonly prefixLength: number;
  /** The gateway; undefined when the destination itself is on the link. */
  readonly via: Address | undefined;
  readonly interface: NetInterface;
  /** Among routes of one prefix the lowest wins. */
  readonly metric: number;
  readonly kind: RouteKind;
  /** The source address to use, when the route says. */
  readonly source: Address | undefined;
  /** For a `local` route, the interface that has the address; else `interface`. */
  readonly home: NetInterface;
}

export interface RouteSpec {
  prefix: Cidr;
  via?: Address;
  interfaceIndex: number;
  /** Default 0. */
  metric?: number;
  source?: Address;
}

/** The outcome of {@link RouteTable.lookup}: all that a path to a destination needs. */
export interface Resolved {
  readonly interface: NetInterface;
  readonly nextHop: Address;
  readonly source: Address;
  /** True when the destination is a broadcast address on that interface. */
  readonly broadcast: boolean;
  readonly route: Route | undefined;
}

/** Chooses among our addresses for a destination out of `out`; the hook for RFC 6724. */
export type SourcePolicy = (destination: Address, nextHop: Address, out: NetInterface) => Address | undefined;

/** Routes a table holds at most: protocols feed it from the wire (redirects, RA, DHCP), and lookups should stay quick. */
export const MAX_ROUTES = 16_384;

/** All routes of one prefix length, by the hash of the prefix. */
interface Bucket {
  readonly length: number;
  readonly routes: Map<number, Route[]>;
}

export class RouteTable {
  /** Moves whenever an answer may have changed: routes, addresses, interfaces. Who keeps an answer compares it. */
  generation = 0;
  /** Source choice for IPv6 once its layer is there. */
  sourcePolicy6: SourcePolicy | undefined;
  readonly #v4: Bucket[] = [];
  readonly #v6: Bucket[] = [];
  readonly #interfaces: readonly NetInterface[];
  #size = 0;

  /** `interfaces` is the stack's own list, which it goes on changing; it calls {@link changed} when it does. */
  constructor(interfaces: readonly NetInterface[]) {
    this.#interfaces = interfaces;
  }

  get size(): number {
    return this.#size;
  }

  /** Tells the table that addresses or interfaces changed, so that kept answers are asked for again. */
  changed(): void {
    this.generation++;
  }

  /**
   * Adds a route, replacing one with the same prefix, gateway and interface. Throws RangeError when the interface does not
   * exist, families differ, the gateway is no host address, or the table is full.
   */
  add({ prefix, via, interfaceIndex, metric = 0, source }: RouteSpec): Route {
    const out = this.#interfaces.find((i) => i.index === interfaceIndex);
    if (out === undefined) throw new RangeError(`no interface ${interfaceIndex}`);
    if (via !== undefined && (via.family !== prefix.address.family || via.isMulticast || via.isUnspecified)) {
      throw new RangeError(`not a gateway for ${prefix.address}/${prefix.prefixLength}: ${via}`);
    }
    return this.#insert(prefix, via, out, metric, 'static', source, out);
  }

  /** Removes the routes of this prefix (through `via` and `interfaceIndex`, if given) that {@link add} made; how many. */
  remove({ prefix, via, interfaceIndex }: { prefix: Cidr; via?: Address; interfaceIndex?: number }): number {
    return this.#removeWhere(
      (r) =>
        r.kind === 'static' &&
        r.prefixLength === prefix.prefixLength &&
        prefix.address.inPrefix(r.prefix, r.prefixLength) &&
        (via === undefined || r.via?.equals(via) === true) &&
        (interfaceIndex === undefined || r.interface.index === interfaceIndex),
    );
  }

  /** Removes every route through `gone`, and the local routes of its addresses. */
  removeInterface(gone: NetInterface): void {
    this.#removeWhere((r) => r.interface === gone || r.home === gone);
    this.changed();
  }

  /** An address came into use on `home`: its subnet is connected, and packets to it go through `loopback`. */
  connect(
    home: NetInterface,
    { address, prefixLength }: InterfaceAddress,
    loopback: NetInterface | undefined,
  ): void {
    const whole = address.family === 4 ? 32 : 128;
    if (loopback !== undefined) {
      this.#insert({ address, prefixLength: whole }, undefined, loopback, 0, 'local', undefined, home);
    }
    if (prefixLength < whole && !home.loopback) {
      this.#insert({ address, prefixLength }, undefined, home, 0, 'connected', undefined, home);
    }
    // 127.0.0.0/8 is ours as a whole (RFC 1122 3.2.1.3 (g)).
    if (home.loopback && prefixLength < whole) {
      this.#insert({ address, prefixLength }, undefined, home, 0, 'local', undefined, home);
    }
    this.changed();
  }

  /** An address went out of use on `home`. A subnet that another address of `home` still has stays connected. */
  disconnect(home: NetInterface, gone: InterfaceAddress): void {
    const { address, prefixLength } = gone;
    const whole = address.family === 4 ? 32 : 128;
    const shared = home.addresses.some(
      (a) =>
        a !== gone &&
        isUsable(a) &&
        a.prefixLength === prefixLength &&
        a.address.inPrefix(address, prefixLength),
    );
    this.#removeWhere((r) => {
      if (r.home !== home || r.kind === 'static') return false;
      if (r.kind === 'local' && r.prefixLength === whole) return r.prefix.equals(address);
      return !shared && r.prefixLength === prefixLength && address.inPrefix(r.prefix, prefixLength);
    });
    this.changed();
  }

  /**
   * The best route: longest prefix, then one out of `prefer` (an interface index, 0 for none), then lowest metric. With
   * `interfaceIndex` only routes of that interface count. Interfaces that are down have no routes.
   */
  match(destination: Address, interfaceIndex = 0, prefer = 0): Route | undefined {
    for (const bucket of destination.family === 4 ? this.#v4 : this.#v6) {
      const routes = bucket.routes.get(prefixKey(destination, bucket.length));
      if (routes === undefined) continue;
      const route = best(routes, destination, interfaceIndex, prefer);
      if (route !== undefined) return route;
    }
    return undefined;
  }

  /** The interface that has `address` in use, if one does. */
  localInterface(address: Address): NetInterface | undefined {
    const route = this.match(address);
    return route?.kind === 'local' ? route.home : undefined;
  }

  isLocal(address: Address): boolean {
    return this.localInterface(address) !== undefined;
  }

  /** True for 255.255.255.255 and the directed broadcast of a subnet of ours. */
  isBroadcast(address: Address): boolean {
    if (address.family !== 4) return false;
    if (address.isLimitedBroadcast) return true;
    return this.#interfaces.some((i) => isBroadcastOn(i, address));
  }

  /** Every route, for status pages: longest prefixes first. */
  list(): Route[] {
    return [...this.#v4, ...this.#v6].flatMap((b) => [...b.routes.values()].flat());
  }

  /**
   * The whole answer for a destination: interface, next hop and source. `source`, if given, must be ours (0.0.0.0 is
   * allowed for a broadcast out of a named interface: RFC 1122 3.2.1.3 (a), DHCP). `interfaceIndex` 0 means any.
   */
  lookup(destination: Address, source: Address | undefined, interfaceIndex: number): Resolved | RouteError {
    if (destination.isUnspecified) return 'EINVAL';
    const nameless = source?.isUnspecified === true;
    const home = source === undefined || nameless ? undefined : this.localInterface(source);
    if (source !== undefined && !nameless && home === undefined) return 'EADDRNOTAVAIL';
    if (source !== undefined && source.family !== destination.family) return 'EINVAL';
    if (nameless && interfaceIndex === 0) return 'EADDRNOTAVAIL';

    const asked = interfaceIndex !== 0 ? interfaceIndex : destination.zone;
    if (asked !== 0) {
      const out = this.#interfaces.find((i) => i.index === asked);
      if (out === undefined) return 'EADDRNOTAVAIL';
      if (!out.up) return 'ENETDOWN';
    }
    const group = destination.isMulticast || destination.isLimitedBroadcast;
    const route = this.match(destination, asked, home?.index ?? 0);
    const out = group ? this.#groupInterface(route, asked, home) : route?.interface;
    if (out === undefined) return 'ENETUNREACH';

    const broadcast = destination.isLimitedBroadcast || isBroadcastOn(out, destination);
    const nextHop = group || broadcast ? destination : (route?.via ?? destination);
    const from = source ?? this.#chooseSource(destination, nextHop, out, route);
    if (from === undefined) return 'EADDRNOTAVAIL';
    return { interface: out, nextHop, source: from, broadcast, route };
  }

  /** Where a multicast or limited broadcast goes out: as asked, where its source lives, by route, or the first that can. */
  #groupInterface(
    route: Route | undefined,
    asked: number,
    home: NetInterface | undefined,
  ): NetInterface | undefined {
    if (asked !== 0) return this.#interfaces.find((i) => i.index === asked);
    // A host route or a route for the group itself says more than the source; the default route says less.
    if (route !== undefined && route.prefixLength > 0) return route.interface;
    if (home?.up === true) return home;
    return route?.interface ?? this.#interfaces.find((i) => i.up && !i.loopback) ?? home;
  }

  /** RFC 1122 3.3.4.3 (c): an address of the outgoing interface, of the next hop's subnet where there is one. */
  #chooseSource(
    destination: Address,
    nextHop: Address,
    out: NetInterface,
    route: Route | undefined,
  ): Address | undefined {
    if (route?.source !== undefined && this.isLocal(route.source)) return route.source;
    // A packet to an address of ours comes from that address, as it would if it had left and returned.
    if (route?.kind === 'local' && route.home.addresses.some((a) => a.address.equals(destination)))
      return destination;
    if (destination.family === 6 && this.sourcePolicy6 !== undefined) {
      return this.sourcePolicy6(destination, nextHop, out);
    }
    return (
      sourceOn(out, nextHop) ??
      // An unnumbered interface borrows an address of another (RFC 1812 2.2.7), but never a loopback or link-local one.
      this.#interfaces
        .filter((i) => i.up && !i.loopback)
        .map((i) => sourceOn(i, nextHop))
        .find((a) => a !== undefined && !a.isLinkLocal)
    );
  }

  #insert(
    cidr: Cidr,
    via: Address | undefined,
    out: NetInterface,
    metric: number,
    kind: RouteKind,
    source: Address | undefined,
    home: NetInterface,
  ): Route {
    const { prefixLength } = cidr;
    const prefix = maskAddress(cidr.address, prefixLength);
    const route: Route = { prefix, prefixLength, via, interface: out, metric, kind, source, home };
    const bucket = bucketFor(prefix.family === 4 ? this.#v4 : this.#v6, prefixLength);
    const key = prefixKey(prefix, prefixLength);
    const routes = bucket.routes.get(key) ?? [];
    const at = routes.findIndex((r) => isSameWay(r, route));
    if (at >= 0) {
      routes[at] = route;
    } else {
      if (this.#size >= MAX_ROUTES) throw new RangeError('the routing table is full');
      routes.push(route);
      bucket.routes.set(key, routes);
      this.#size++;
    }
    this.changed();
    return route;
  }

  #removeWhere(gone: (route: Route) => boolean): number {
    let removed = 0;
    for (const table of [this.#v4, this.#v6]) {
      for (const bucket of table) {
        for (const [key, routes] of bucket.routes) {
          const kept = routes.filter((r) => !gone(r));
          if (kept.length === routes.length) continue;
          removed += routes.length - kept.length;
          if (kept.length === 0) bucket.routes.delete(key);
          else bucket.routes.set(key, kept);
        }
      }
    }
    this.#size -= removed;
    if (removed > 0) this.changed();
    return removed;
  }
}

/** True when an address may be used as a source and is answered for: not tentative, not a duplicate. */
export function isUsable({ state }: InterfaceAddress): boolean {
  return state === 'preferred' || state === 'deprecated' || state === 'optimistic';
}

/** The address with its bits behind `prefixLength` set to zero. */
export function maskAddress(address: Address, prefixLength: number): Address {
  if (address.family === 4) return new Address(0, 0, address.w2, address.w3 & maskWord(prefixLength));
  const mask = (word: number, from: number) =>
    word & maskWord(Math.max(0, Math.min(32, prefixLength - from)));
  return new Address(
    mask(address.w0, 0),
    mask(address.w1, 32),
    mask(address.w2, 64),
    mask(address.w3, 96),
    address.zone,
  );
}

/** True when `a` takes the place of `b`: the same prefix by the same way. */
function isSameWay(a: Route, b: Route): boolean {
  return (
    a.kind === b.kind &&
    a.interface === b.interface &&
    a.home === b.home &&
    a.prefix.equals(b.prefix) &&
    (a.via === undefined ? b.via === undefined : b.via !== undefined && a.via.equals(b.via))
  );
}

function isBroadcastOn(i: NetInterface, address: Address): boolean {
  return i.addresses.some((a) => a.broadcast !== undefined && isUsable(a) && a.broadcast.equals(address));
}

/** An address of `out` in the subnet of `nextHop`, else its first; a deprecated one only for want of a better. */
function sourceOn(out: NetInterface, nextHop: Address): Address | undefined {
  let found: InterfaceAddress | undefined;
  let score = -1;
  for (const a of out.addresses) {
    if (a.address.family !== nextHop.family || !isUsable(a)) continue;
    const points = (a.state === 'deprecated' ? 0 : 2) + (nextHop.inPrefix(a.address, a.prefixLength) ? 1 : 0);
    if (points > score) {
      score = points;
      found = a;
    }
  }
  return found?.address;
}

function best(
  routes: readonly Route[],
  destination: Address,
  interfaceIndex: number,
  prefer: number,
): Route | undefined {
  let found: Route | undefined;
  for (const route of routes) {
    if (!route.interface.up || !destination.inPrefix(route.prefix, route.prefixLength)) continue;
    // An address that means something on one link only is not found on another (RFC 4007).
    if (route.prefix.zone !== 0 && route.prefix.zone !== destination.zone) continue;
    if (
      interfaceIndex !== 0 &&
      route.interface.index !== interfaceIndex &&
      route.home.index !== interfaceIndex
    ) {
      continue;
    }
    if (found === undefined || isBetter(route, found, prefer)) found = route;
  }
  return found;
}

function isBetter(route: Route, than: Route, prefer: number): boolean {
  // An address of ours on the loopback wins over whatever else is known for it.
  if ((route.kind === 'local') !== (than.kind === 'local')) return route.kind === 'local';
  const preferred = route.interface.index === prefer;
  if (preferred !== (than.interface.index === prefer)) return preferred;
  return route.metric < than.metric;
}

function bucketFor(table: Bucket[], length: number): Bucket {
  let at = table.findIndex((b) => b.length <= length);
  if (at < 0) at = table.length;
  const found = table[at];
  if (found?.length === length) return found;
  const bucket: Bucket = { length, routes: new Map() };
  table.splice(at, 0, bucket);
  return bucket;
}

/** Equal for equal prefixes. For IPv4 it is the prefix; for IPv6 a mix of its words, so a hit is compared in full. */
function prefixKey(address: Address, length: number): number {
  if (address.family === 4) return length === 0 ? 0 : address.w3 & (-1 << (32 - length));
  let key = 0;
  for (let from = 0, left = length; from < 4 && left > 0; from++, left -= 32) {
    const word = from === 0 ? address.w0 : from === 1 ? address.w1 : from === 2 ? address.w2 : address.w3;
    key = (Math.imul(key, 31) + (left >= 32 ? word : word & (-1 << (32 - left)))) | 0;
  }
  return key;
}
