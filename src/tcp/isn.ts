// Initial sequence numbers that a stranger cannot guess, yet old duplicates cannot meet (RFC 6528, RFC 9293 3.4.1).

import type { Address } from '../base/address.ts';
import { fillRandom, type Random } from '../base/random.ts';
import { SIPHASH_KEY_LENGTH, SipHash } from '../base/siphash.ts';
import type { Micros } from '../base/time.ts';

/** M ticks every 4 microseconds (RFC 6528 3): it wraps in 4.55 hours. */
const TICK: Micros = 4;
const TUPLE_LENGTH = 36;
const PAIR_LENGTH = 32;

/** Numbers drawn from one secret, made when the stack starts. */
export interface Isn {
  /** ISN = M + F(localip, localport, remoteip, remoteport, secretkey), as u32. */
  isn(now: Micros, local: Address, localPort: number, remote: Address, remotePort: number): number;
  /**
   * What to add to the timestamp clock towards this peer, as u32 (RFC 7323 7.1): the same for all connections of a pair of
   * addresses, so that timestamps still grow from one connection to the next, and none tells another pair our uptime.
   */
  timestampOffset(local: Address, remote: Address): number;
}

export function createIsn(random: Random): Isn {
  const f = new SipHash(fillRandom(random, new Uint8Array(SIPHASH_KEY_LENGTH)));
  const input = new DataView(new ArrayBuffer(TUPLE_LENGTH));
  return {
    isn(now, local, localPort, remote, remotePort) {
      put(input, 0, local);
      put(input, 16, remote);
      input.setUint32(32, ((localPort << 16) | remotePort) >>> 0);
      return (Math.floor(now / TICK) + f.hash(input, 0, TUPLE_LENGTH)) >>> 0;
    },
    // SipHash mixes the length in, so this can never equal a hash over a whole tuple but by chance.
    timestampOffset(local, remote) {
      put(input, 0, local);
      put(input, 16, remote);
      return f.hash(input, 0, PAIR_LENGTH);
    },
  };
}

function put(view: DataView, at: number, address: Address): void {
  view.setInt32(at, address.w0);
  view.setInt32(at + 4, address.w1);
  view.setInt32(at + 8, address.w2);
  view.setInt32(at + 12, address.w3);
}
