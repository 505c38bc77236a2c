// Identification values that strangers cannot guess. RFC 6864, RFC 7739 5.3 (its IPv6 algorithm serves as well here).

import type { Random } from '../base/random.ts';

/** Counters shared by hashed destinations: enough that two busy peers seldom share one, small enough to fit a cache. */
const BUCKETS = 1024;

/**
 * id = F(source, destination, protocol) + counter[G(source, destination, protocol)], with F and G keyed by secrets.
 *
 * Within one (source, destination, protocol) values count up, so they repeat only after 65536 datagrams (RFC 6864 4.2);
 * between two peers nothing can be told, because each sees its own secret offset (CVE-2011-2699, idle scans).
 */
export class Identification {
  readonly #counters = new Uint16Array(BUCKETS);
  readonly #f: number;
  readonly #g: number;

  constructor(random: Random) {
    this.#f = random.u32() | 0;
    this.#g = random.u32() | 0;
    for (let i = 0; i < BUCKETS; i++) this.#counters[i] = random.u32() & 0xffff;
  }

  /** The next value for a datagram that may be fragmented; `count` in a row are taken (a super-frame is cut into many). */
  next(source: number, destination: number, protocol: number, count: number): number {
    const bucket = mix(this.#g, source, destination, protocol) & (BUCKETS - 1);
    const counter = this.#counters[bucket]!;
    this.#counters[bucket] = counter + count;
    return (mix(this.#f, source, destination, protocol) + counter) & 0xffff;
  }
}

/** Three rounds of murmur-like mixing, keyed at both ends. Not a cipher: 16 of 32 bits come out, offset by a counter. */
function mix(key: number, a: number, b: number, c: number): number {
  let h = key;
  h = Math.imul(h ^ a, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h ^ b, 0xc2b2ae35);
  h ^= h >>> 13;
  h = Math.imul(h ^ c ^ key, 0x27d4eb2f);
  h ^= h >>> 16;
  return Math.imul(h, 0x165667b1) >>> 12;
}
