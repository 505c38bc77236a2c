// What Path MTU Discovery has learned about destinations. RFC 1191.

import { MINUTE } from '../base/time.ts';
import { Timer } from '../base/timers.ts';
import { MIN_MTU } from './header.ts';
import type { Ipv4Needs } from './needs.ts';

/** "an increase ... MUST NOT be attempted less than 5 minutes after ... Datagram Too Big"; 10 minutes recommended (RFC 1191 6.3). */
export const PMTU_AGE = 10 * MINUTE;

/**
 * The smallest Path MTU that a message can make us believe. Below it lies more harm (forged messages that make us send
 * crumbs: CVE-2004-1060, CVE-2005-1205) than use; for a path that really is so narrow, packets of this size go without
 * DF and routers cut them. 552 = 512 + 40, as Linux has it.
 */
export const PMTU_FLOOR = 552;

/** Destinations remembered. Each costs one believable forged message, so there are few; the oldest makes room. */
const MAX_DESTINATIONS = 1024;

/** RFC 1191 table 7-1: MTUs that links really have. */
const PLATEAUS = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, MIN_MTU];

/** One destination's Path MTU. */
export interface PathMtu {
  readonly mtu: number;
  /** True when the path is narrower than {@link PMTU_FLOOR}: routers must be allowed to fragment. */
  readonly fragmentable: boolean;
  readonly until: number;
}

/** Learned Path MTUs by destination, forgotten after {@link PMTU_AGE}. */
export class PathMtuTable {
  readonly #needs: Ipv4Needs;
  readonly #table = new Map<number, PathMtu>();
  readonly #timer: Timer;
  /** Grows with every change, so that a path can remember its value. */
  generation = 0;

  constructor(needs: Ipv4Needs) {
    this.#needs = needs;
    this.#timer = new Timer((now) => this.#age(now));
  }

  get size(): number {
    return this.#table.size;
  }

  get(destination: number): PathMtu | undefined {
    return this.#table.get(destination);
  }

  /**
   * Learns that packets to `destination` must not exceed `mtu`, which the caller has found lower than what was believed.
   * Returns the value now in force, never below {@link PMTU_FLOOR}.
   */
  lower(destination: number, mtu: number): number {
    const until = this.#needs.now + PMTU_AGE;
    const kept = Math.max(mtu, PMTU_FLOOR);
    this.#table.delete(destination); // so that the order of the map is the order of age
    this.#table.set(destination, { mtu: kept, fragmentable: mtu < PMTU_FLOOR, until });
    if (this.#table.size > MAX_DESTINATIONS) {
      this.#table.delete(this.#table.keys().next().value!);
    }
    this.generation++;
    this.#arm();
    return kept;
  }

  #age(now: number): void {
    for (const [destination, { until }] of this.#table) {
      if (until > now) break;
      this.#table.delete(destination);
    }
    this.generation++;
    this.#arm();
  }

  #arm(): void {
    const first = this.#table.values().next().value;
    if (first !== undefined) this.#needs.timers.set(this.#timer, first.until);
  }
}

/** The greatest plateau below `length` (RFC 1191 5), for routers that do not tell their MTU; never below 68. */
export function plateauBelow(length: number): number {
  for (const plateau of PLATEAUS) if (plateau < length) return plateau;
  return MIN_MTU;
}
