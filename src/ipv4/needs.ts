// What IPv4 asks of the stack that owns it. `stack.ts` gives one; so does a test.

import type { Address } from '../base/address.ts';
import type { DropCounts } from '../base/drop.ts';
import type { RouteError } from '../base/ip.ts';
import type { NetInterface } from '../base/netif.ts';
import type { Random } from '../base/random.ts';
import type { Micros } from '../base/time.ts';
import type { TimerQueue } from '../base/timers.ts';
import type { Trace } from '../base/trace.ts';

/** The answer of a route lookup (RFC 1122 3.3.1): by which interface, to whom on its link, and as whom we speak. */
export interface Route {
  readonly interface: NetInterface;
  /** The destination itself when it is on the link, else the gateway. */
  readonly nextHop: Address;
  /** Our address on this way (RFC 1122 3.3.4.3): the one asked for, else the best of the interface. */
  readonly source: Address;
}

/** The routing table as IPv4 sees it. */
export interface RouteTable {
  /**
   * Grows with every change of a route, of an address or its state, and of an interface (added, removed, up, down, MTU).
   * Paths and the table of our own addresses are rebuilt when it has moved.
   */
  readonly generation: number;
  /**
   * The way to a unicast `destination` that is not our own. `source`, when given, is one of our addresses;
   * `interfaceIndex` 0 means any. IPv4 itself sees to own addresses, broadcast and multicast, but asks here, too, for the
   * interface of a multicast or limited broadcast that names none (a default route decides; an error lets IPv4 choose).
   */
  lookup(destination: Address, source: Address | undefined, interfaceIndex: number): Route | RouteError;
}

/** Everything IPv4 needs. All members are read each time they are used, so getters are welcome. */
export interface Ipv4Needs {
  /** Every interface, loopback included (`loopback: true`, address 127.0.0.1/8). */
  readonly interfaces: readonly NetInterface[];
  readonly routes: RouteTable;
  readonly timers: TimerQueue;
  readonly random: Random;
  readonly trace: Trace;
  /** Drops that no verdict carries: for example a fragment queue given up. Verdicts are counted by who called `input`. */
  readonly drops: DropCounts;
  /** The time of the current round. */
  readonly now: Micros;
  /** Whether packets for others are passed on (RFC 1812); a host does not (RFC 1122 3.3.4.2). */
  readonly forwarding: boolean;
  /** A host group was joined on `netif`, or left: opens and shuts the link's multicast filter. Calls come in pairs. */
  groupJoined?(netif: NetInterface, group: Address): void;
  groupLeft?(netif: NetInterface, group: Address): void;
}
