// A way to a destination, as transports keep it: RFC 1122 3.3.1.3's route cache entry with the Path MTU of RFC 1191.

import type { Address } from '../base/address.ts';
import type { Path } from '../base/ip.ts';
import type { NetInterface } from '../base/netif.ts';
import { HEADER_LENGTH, MAX_DATAGRAM } from './header.ts';
import type { RouteTable } from './needs.ts';
import type { PathMtuTable } from './pmtu.ts';

/** Made by `Ipv4Output.path`. Turns stale by itself; its MTU follows what is learned about the destination. */
export class Ipv4Path implements Path {
  readonly source: Address;
  readonly destination: Address;
  readonly interface: NetInterface;
  readonly nextHop: Address;
  readonly broadcast: boolean;
  readonly headerLength = HEADER_LENGTH;
  readonly #routes: RouteTable;
  readonly #generation: number;
  readonly #pmtu: PathMtuTable;
  #seen = -1;
  #learned = MAX_DATAGRAM;
  #fragmentable = false;

  constructor(
    source: Address,
    destination: Address,
    netif: NetInterface,
    nextHop: Address,
    broadcast: boolean,
    routes: RouteTable,
    pmtu: PathMtuTable,
  ) {
    this.source = source;
    this.destination = destination;
    this.interface = netif;
    this.nextHop = nextHop;
    this.broadcast = broadcast;
    this.#routes = routes;
    this.#generation = routes.generation;
    this.#pmtu = pmtu;
  }

  get stale(): boolean {
    return this.#generation !== this.#routes.generation;
  }

  get mtu(): number {
    if (this.#seen !== this.#pmtu.generation) this.#refresh();
    return Math.min(this.interface.mtu, this.#learned);
  }

  /** True when the path is so narrow that DF must stay clear (see `PMTU_FLOOR`). */
  get fragmentable(): boolean {
    if (this.#seen !== this.#pmtu.generation) this.#refresh();
    return this.#fragmentable;
  }

  #refresh(): void {
    const known = this.#pmtu.get(this.destination.w3);
    this.#learned = known?.mtu ?? MAX_DATAGRAM;
    this.#fragmentable = known?.fragmentable ?? false;
    this.#seen = this.#pmtu.generation;
  }
}
