// Bytes that can be told apart by where they stand: a stream's content as a function of its number and the place in it.

import type { Slab } from '../base/slab.ts';

/** A prime, so that it shares no factor with segments, windows or blocks: a byte out of place shows. */
const PERIOD = 65_521;
/** Streams start far from each other in the period. */
const STEP = 7_919;

/** Twice the period, so that a piece of up to one period is one range wherever it starts. */
const table = makeTable();

function makeTable(): Uint8Array {
  const bytes = new Uint8Array(2 * PERIOD);
  for (let i = 0; i < bytes.length; i++) {
    const n = i % PERIOD;
    bytes[i] = Math.imul(n, 31) ^ (n >> 8) ^ (Math.imul(n, n) >>> 11);
  }
  return bytes;
}

/** Longest piece that {@link pieceOf} gives. */
export const MOST_PIECE = PERIOD;

function placeOf(stream: number, at: number): number {
  return (stream * STEP + at) % PERIOD;
}

/** Where the bytes of `stream` from `at` on lie: up to {@link MOST_PIECE} of them, not to be written to. */
export function pieceOf(stream: number, at: number): { bytes: Uint8Array; offset: number } {
  return { bytes: table, offset: placeOf(stream, at) };
}

/** Where the first of `length` bytes is that are not those of `stream` from `at` on; -1 when all are. */
export function firstWrong(stream: number, at: number, slab: Slab, offset: number, length: number): number {
  const { bytes } = slab;
  for (let i = 0, place = placeOf(stream, at); i < length; i++) {
    if (bytes[offset + i] !== table[place]) return at + i;
    if (++place === PERIOD) place = 0;
  }
  return -1;
}
