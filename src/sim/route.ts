// Routes for every host of a simulation: the fewest routers to every subnet.

import { type Address, parseCidr } from '../base/address.ts';
import type { Interface } from '../stack/interface.ts';
import type { SimHost } from './host.ts';
import type { Network } from './link.ts';

/** A host's place on a subnet. */
export interface Place {
  readonly host: SimHost;
  readonly netif: Interface;
  readonly network: Network;
  readonly address: Address;
}

/** Where a search has come to: a subnet, and the first step on the way there. */
interface Reached {
  readonly network: Network;
  readonly netif: Interface;
  readonly via: Address | undefined;
}

/** Gives every host routes to all subnets that routers lead to. Routes it has already stay; twice is harmless. */
export function addRoutes(hosts: readonly SimHost[], places: readonly Place[]): void {
  for (const host of hosts) {
    for (const { network, netif, via } of reach(host, places)) {
      if (via === undefined) continue;
      const spec = { prefix: parseCidr(network.prefix)!, via, interfaceIndex: netif.index };
      host.stack.routes.remove(spec);
      host.stack.routes.add(spec);
    }
  }
}

/** Breadth first: the first way found to a subnet is a shortest one. */
function reach(host: SimHost, places: readonly Place[]): Reached[] {
  const reached: Reached[] = places
    .filter((place) => place.host === host)
    .map(({ network, netif }) => ({ network, netif, via: undefined }));
  const seen = new Set(reached.map(({ network }) => network));
  // The list grows while it is walked.
  for (const { network, netif, via } of reached) {
    for (const router of places) {
      if (router.network !== network || router.host === host || !router.host.stack.forwarding) continue;
      for (const beyond of places) {
        if (beyond.host !== router.host || seen.has(beyond.network)) continue;
        seen.add(beyond.network);
        reached.push({ network: beyond.network, netif, via: via ?? router.address });
      }
    }
  }
  return reached;
}
