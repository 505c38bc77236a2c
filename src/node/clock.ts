// The two things that a stack is handed and Node has: the time and unpredictable bits.

import { randomFillSync } from 'node:crypto';
import type { Random } from '../base/random.ts';
import type { Micros } from '../base/time.ts';

/** Whole microseconds since the process started, on a clock that never steps back. No BigInt: that would be garbage a round. */
export function now(): Micros {
  return Math.floor(performance.now() * 1000);
}

/** Microseconds since 1970 that belong to the moment `at` of {@link now}. A step of the system's clock does not show. */
export function wallClock(at: Micros): Micros {
  return Math.round(performance.timeOrigin * 1000) + at;
}

/** Words drawn at a time: a draw costs a microsecond, whatever its size. */
const POOL_WORDS = 256;

/** Cryptographic chance (RFC 4086), for ISNs, ports and identifiers. */
export function systemRandom(): Random {
  const pool = new Uint32Array(POOL_WORDS);
  let used = POOL_WORDS;
  return {
    u32() {
      if (used === POOL_WORDS) {
        randomFillSync(pool);
        used = 0;
      }
      const word = pool[used]!;
      // A word that was given away is not kept.
      pool[used++] = 0;
      return word;
    },
  };
}
