// Proportional rate reduction: how much goes out while the window is being reduced (RFC 6937).
//
// The window shrinks to ssthresh evenly over a round trip, as ACKs come in, instead of by a silence of half a round trip. Losses that
// take more than the reduction would are made up for, but never faster than data arrives (and one segment).

import type { CongestionController } from './congestion.ts';
import type { Trouble } from './trouble.ts';

/** A reduction begins with `flightSize` bytes outstanding. A model-based controller sees to its window itself. */
export function startReduction(t: Trouble, congestion: CongestionController, flightSize: number): void {
  t.prrDelivered = 0;
  t.prrOut = 0;
  t.recoverFs = congestion.modelBased || congestion.ssthresh === Number.POSITIVE_INFINITY ? 0 : flightSize;
  t.budget = 0;
  t.conservative = false;
}

/** True while PRR says how much may go out, in `t.budget`. */
export function isReducing(t: Trouble): boolean {
  return t.recoverFs > 0;
}

/** The window is what it shall be. */
export function endReduction(t: Trouble): void {
  t.recoverFs = 0;
}

/**
 * On every ACK (and when the reordering timer finds a loss): `delivered` is DeliveredData, `pipe` what is thought to be in the
 * network now. Of the two bounds that 3 leaves to choose from, the slow-start one serves while retransmissions get through, the
 * conservative one when they are lost too.
 */
export function reduceOnAck(
  t: Trouble,
  delivered: number,
  pipe: number,
  ssthresh: number,
  mss: number,
): void {
  t.prrDelivered += Math.max(0, delivered);
  let count: number;
  if (pipe > ssthresh) {
    count = Math.ceil((t.prrDelivered * ssthresh) / t.recoverFs) - t.prrOut;
  } else {
    const banked = t.prrDelivered - t.prrOut;
    const limit = t.conservative ? banked : Math.max(banked, delivered) + mss;
    count = Math.min(ssthresh - pipe, limit);
  }
  // With nothing in the network no ACK would come to let anything out.
  if (pipe <= 0) count = Math.max(count, mss);
  t.budget = Math.max(0, count);
}

/** `bytes` have gone out. */
export function noteSent(t: Trouble, bytes: number): void {
  t.prrOut += bytes;
  t.budget -= bytes;
}
