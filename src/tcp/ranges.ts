// An ordered set of disjoint ranges of sequence numbers: what has arrived out of order, what the peer has SACKed.
//
// All numbers in one set lie within 2^31 of each other (a window is at most 2^30, RFC 7323 2.3), so "before" is a
// total order and the edges are found by binary search. Ranges that touch are one range. The set is bounded: the wire
// feeds it (hostile 74, 98).

import { gt, leq, lt, max, min, sub } from './seq.ts';

/** Read freely; change only through the functions here. */
export interface Ranges {
  /** Most ranges it will hold. */
  readonly limit: number;
  count: number;
  /** Sequence numbers covered by all ranges together. */
  total: number;
  readonly lefts: number[];
  readonly rights: number[];
}

export function createRanges(limit: number): Ranges {
  return { limit, count: 0, total: 0, lefts: [], rights: [] };
}

export function isEmpty(r: Ranges): boolean {
  return r.count === 0;
}

/** Left edge of range `i`, 0 being the lowest: the first number in it. */
export function leftOf(r: Ranges, i: number): number {
  return r.lefts[i]!;
}

/** Right edge of range `i`: the number after its last. */
export function rightOf(r: Ranges, i: number): number {
  return r.rights[i]!;
}

/** The right edge of the highest range. Ask only when `count` is not 0. */
export function highest(r: Ranges): number {
  return r.rights[r.count - 1]!;
}

/** Index of the first range whose right edge is after `seq` (or, with `touching`, at it); `count` if there is none. */
function search(r: Ranges, seq: number, touching: boolean): number {
  const { rights } = r;
  const edge = touching ? 0 : 1;
  let low = 0;
  let high = r.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sub(rights[middle]!, seq) >= edge) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Adds [left, right) and returns how many numbers are newly covered. A range that would stand alone in a full set is
 * refused: 0, as if it had been lost on the way.
 */
export function addRange(r: Ranges, left: number, right: number): number {
  if (!lt(left, right)) return 0;
  const { lefts, rights } = r;
  const i = search(r, left, true);
  if (i === r.count || gt(lefts[i]!, right)) {
    if (r.count === r.limit) return 0;
    openAt(r, i);
    lefts[i] = left;
    rights[i] = right;
    r.total += sub(right, left);
    return sub(right, left);
  }
  const newLeft = min(left, lefts[i]!);
  let newRight = right;
  let had = 0;
  let j = i;
  for (; j < r.count && leq(lefts[j]!, right); j++) {
    had += sub(rights[j]!, lefts[j]!);
    newRight = max(newRight, rights[j]!);
  }
  lefts[i] = newLeft;
  rights[i] = newRight;
  closeAt(r, i + 1, j - i - 1);
  const gained = sub(newRight, newLeft) - had;
  r.total += gained;
  return gained;
}

/** Forgets every number before `seq`. */
export function removeBelow(r: Ranges, seq: number): void {
  if (r.count === 0 || leq(seq, r.lefts[0]!)) return;
  const { lefts, rights } = r;
  const gone = search(r, seq, false);
  for (let i = 0; i < gone; i++) r.total -= sub(rights[i]!, lefts[i]!);
  if (gone < r.count && lt(lefts[gone]!, seq)) {
    r.total -= sub(seq, lefts[gone]!);
    lefts[gone] = seq;
  }
  closeAt(r, 0, gone);
}

/** Index of the range that contains `seq`, or -1. */
export function find(r: Ranges, seq: number): number {
  const i = search(r, seq, false);
  return i < r.count && leq(r.lefts[i]!, seq) ? i : -1;
}

export function contains(r: Ranges, seq: number): boolean {
  return find(r, seq) >= 0;
}

/** How many numbers of [left, right) are in the set. */
export function covered(r: Ranges, left: number, right: number): number {
  let n = 0;
  if (!lt(left, right)) return 0;
  for (let i = search(r, left, false); i < r.count && lt(r.lefts[i]!, right); i++) {
    n += sub(min(r.rights[i]!, right), max(r.lefts[i]!, left));
  }
  return n;
}

/** The first number at or after `from` that is not in the set. */
export function nextGap(r: Ranges, from: number): number {
  const i = find(r, from);
  return i < 0 ? from : r.rights[i]!;
}

/** Where a gap that holds `from` ends: the left edge of the next range, or `limit` if that comes first. */
export function gapEnd(r: Ranges, from: number, limit: number): number {
  const i = search(r, from, false);
  return i < r.count ? min(r.lefts[i]!, limit) : limit;
}

/** Empties the set and its memory. */
export function clear(r: Ranges): void {
  r.count = 0;
  r.total = 0;
  r.lefts.length = 0;
  r.rights.length = 0;
}

/** Makes room for one range at `i`. */
function openAt(r: Ranges, i: number): void {
  const { lefts, rights } = r;
  for (let k = r.count; k > i; k--) {
    lefts[k] = lefts[k - 1]!;
    rights[k] = rights[k - 1]!;
  }
  r.count++;
}

/** Takes `n` ranges out at `i`. */
function closeAt(r: Ranges, i: number, n: number): void {
  if (n === 0) return;
  const { lefts, rights } = r;
  for (let k = i + n; k < r.count; k++) {
    lefts[k - n] = lefts[k]!;
    rights[k - n] = rights[k]!;
  }
  r.count -= n;
  if (r.count === 0) clear(r);
}
