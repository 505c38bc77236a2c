// The table of connections by the hash of their four-tuple: buckets of chains, linked through `tcb.nextInBucket`.
//
// Why not a Map: see base/roster.ts. One lookup is an array access and, on average, less than one step along a chain.

import type { Tcb } from './tcb.ts';

/** Buckets of an empty table; a power of two. */
const FIRST_SIZE = 64;

export class ConnectionTable {
  #buckets: (Tcb | undefined)[] = new Array(FIRST_SIZE).fill(undefined);
  /** Number of connections. */
  size = 0;

  /** The first of those that may have this hash; the others follow along `nextInBucket`. */
  get(hash: number): Tcb | undefined {
    return this.#buckets[hash & (this.#buckets.length - 1)];
  }

  /** Adds a connection that is not in the table. */
  insert(tcb: Tcb): void {
    if (this.size === this.#buckets.length) this.#grow();
    this.#put(tcb);
    this.size++;
  }

  /** False when it is not in the table. */
  delete(tcb: Tcb): boolean {
    const buckets = this.#buckets;
    const bucket = tcb.hash & (buckets.length - 1);
    let at = buckets[bucket];
    if (at === tcb) {
      buckets[bucket] = tcb.nextInBucket;
    } else {
      while (at !== undefined && at.nextInBucket !== tcb) at = at.nextInBucket;
      if (at === undefined) return false;
      at.nextInBucket = tcb.nextInBucket;
    }
    tcb.nextInBucket = undefined;
    this.size--;
    return true;
  }

  /** All connections, in no order. The one at hand may be deleted meanwhile. */
  *values(): Generator<Tcb> {
    for (const first of this.#buckets) {
      for (let tcb = first; tcb !== undefined; ) {
        const next: Tcb | undefined = tcb.nextInBucket;
        yield tcb;
        tcb = next;
      }
    }
  }

  #put(tcb: Tcb): void {
    const bucket = tcb.hash & (this.#buckets.length - 1);
    tcb.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = tcb;
  }

  /** Doubles. It never shrinks: a table of the most connections there may be is 2 MB. */
  #grow(): void {
    const all = [...this.values()];
    this.#buckets = new Array(this.#buckets.length * 2).fill(undefined);
    for (const tcb of all) this.#put(tcb);
  }
}
