// How often we complain: a bucket for each destination and a blurred one for all. RFC 1812 4.3.2.8, RFC 1122 3.2.2.

import { TokenBucket } from '../base/limits.ts';
import { below, type Random } from '../base/random.ts';
import type { Micros } from '../base/time.ts';

/** One error a second to one destination, six at once: enough for a traceroute, as in Linux. */
const PER_DESTINATION_RATE = 1;
const PER_DESTINATION_BURST = 6;
/** All destinations together. Linux allows 1000 a second, 50 at once. */
const GLOBAL_RATE = 1000;
const GLOBAL_BURST = 50;
/**
 * An error costs one to three tokens of the global bucket, at random. A limit that can be counted exactly tells an
 * off-path attacker which ports are closed (SAD DNS, CVE-2020-25705).
 */
const GLOBAL_MOST_COST = 3;
/** Destinations remembered; the oldest makes room. A forgotten one starts with a full burst, and the global bucket still holds. */
const MAX_DESTINATIONS = 512;

/** Decides whether an ICMP error may go out. */
export class IcmpLimit {
  readonly #random: Random;
  readonly #destinations = new Map<number, TokenBucket>();
  readonly #global = new TokenBucket(GLOBAL_RATE, GLOBAL_BURST);

  constructor(random: Random) {
    this.#random = random;
  }

  allow(destination: number, now: Micros): boolean {
    let bucket = this.#destinations.get(destination);
    if (bucket === undefined) {
      if (this.#destinations.size >= MAX_DESTINATIONS) {
        this.#destinations.delete(this.#destinations.keys().next().value!);
      }
      bucket = new TokenBucket(PER_DESTINATION_RATE, PER_DESTINATION_BURST);
      this.#destinations.set(destination, bucket);
    }
    // The destination's own bucket first: what it refuses must not show in the global one.
    if (!bucket.take(now)) return false;
    for (let cost = 1 + below(this.#random, GLOBAL_MOST_COST); cost > 0; cost--) {
      if (!this.#global.take(now)) return false;
    }
    return true;
  }
}
