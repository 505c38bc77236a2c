// What has arrived and is not yet read: bytes in order for the user, and bytes out of order waiting for the gap before
// them (RFC 9293 3.10.7.4 seventh; SACK blocks of RFC 2018 and RFC 2883).
//
//        readable                 gap            out of order
//    |-------------------|..................|=======|....|=====|..........|
//    ^ read by the user  ^ nxt                                            ^ right edge
//
// Data lies in *chunks*: (slab, offset, length). A large payload is kept where the device read it; a small one is copied
// into a block shared by all connections, so that one byte never pins a slab, and bytes that follow each other in the
// stream mostly lie together and are handed up as one range. An empty buffer owns nothing but its record.

import type { Slab } from '../base/slab.ts';
import { addRange, createRanges, find, leftOf, type Ranges, removeBelow, rightOf } from './ranges.ts';
import {
  type Chunk,
  copyIn,
  giveBack,
  giveChunk,
  type ReceivePool,
  type Reserve,
  takeChunk,
} from './receive-pool.ts';
import { add, geq, gt, lt, min, sub } from './seq.ts';

/** Payloads below this are copied. Copying 4 KB costs some 150 ns; keeping it could pin a slab 16 times its size or more. */
export const COPY_BELOW = 4096;
/** What a chunk's own record is charged in {@link ReceiveBuffer.held}, in bytes. */
const CHUNK_COST = 64;
/** Most separate ranges out of order: 1024 holes in one window are no path but an attack (hostile 98, CVE-2018-5390). */
const MAX_OUT_OF_ORDER_RANGES = 1024;
/** Most pieces of memory out of order. Beyond it only in-order data is taken; the peer sends the rest again. */
const MAX_OUT_OF_ORDER_CHUNKS = 4096;
/** Blocks remembered for reporting: as many as one segment can carry. */
const RECENT = 4;

// What `insert` did, as bits.

/** RCV.NXT advanced: there is more to read. */
export const ADVANCED = 1;
/** Some of it lies beyond a gap and was stored: the user must wait, the peer wants an immediate ACK (RFC 5681 4.2). */
export const OUT_OF_ORDER = 2;
/** It filled a gap, or part of one: the peer wants an immediate ACK (RFC 5681 4.2). */
export const FILLED = 4;
/** Some of it had arrived before: [duplicateLeft, duplicateRight). */
export const DUPLICATE = 8;
/** A range of the given slab was kept: the slab must not be written again (`packet.pinned`). */
export const KEPT = 16;
/** Some of it lies beyond a gap and there was no room for it. */
export const REFUSED = 32;

interface OutOfOrder {
  /** Sorted by `seq`, disjoint. */
  readonly chunks: Chunk[];
  readonly ranges: Ranges;
  /** A number out of each of the ranges that changed last, most recent first. */
  readonly recent: number[];
}

/** Read freely; only `nxt` (for SYN and FIN) may be set from outside. */
export interface ReceiveBuffer extends Reserve {
  /** RCV.NXT */
  nxt: number;
  /** Bytes in order, waiting for the user. */
  readable: number;
  outOfOrderBytes: number;
  /** Memory it answers for: its bytes and the records of their chunks. */
  held: number;
  /** The last duplicate (RFC 2883); nothing to report when both are equal. */
  duplicateLeft: number;
  duplicateRight: number;
  first: Chunk | undefined;
  last: Chunk | undefined;
  outOfOrder: OutOfOrder | undefined;
}

export function createReceiveBuffer({ nxt, pool }: { nxt: number; pool: ReceivePool }): ReceiveBuffer {
  return {
    nxt,
    readable: 0,
    outOfOrderBytes: 0,
    held: 0,
    duplicateLeft: 0,
    duplicateRight: 0,
    pool,
    first: undefined,
    last: undefined,
    spare: undefined,
    spareAt: 0,
    spareEnd: 0,
    outOfOrder: undefined,
  };
}

/**
 * Takes the `length` bytes of `slab` at `offset`, whose first has sequence number `seq`. What lies before RCV.NXT or at
 * or after `rightEdge` is left out (3.10.7.4: "segments should be trimmed"). Where bytes overlap, those that came first
 * stay (hostile 105). Returns bits: {@link ADVANCED} and its like. In-order bytes are never refused.
 */
export function insert(
  rb: ReceiveBuffer,
  seq: number,
  slab: Slab,
  offset: number,
  length: number,
  rightEdge: number,
): number {
  let from = seq;
  const to = min(add(seq, length), rightEdge);
  let result = 0;
  if (lt(from, rb.nxt)) {
    if (length > 0) result = noteDuplicate(rb, from, min(add(seq, length), rb.nxt), result);
    from = rb.nxt;
  }
  if (geq(from, to)) return result;
  const start = offset + sub(from, seq);
  if (from === rb.nxt) {
    if (rb.outOfOrder !== undefined) return fill(rb, rb.outOfOrder, to, slab, start, result);
    return append(rb, slab, start, sub(to, from)) ? result | ADVANCED | KEPT : result | ADVANCED;
  }
  return insertAmong(rb, from, to, slab, start, result);
}

/** Stores [from, to), which begins after RCV.NXT, in the gaps between the chunks that are there already. */
function insertAmong(
  rb: ReceiveBuffer,
  from: number,
  to: number,
  slab: Slab,
  start: number,
  result: number,
): number {
  rb.outOfOrder ??= { chunks: [], ranges: createRanges(MAX_OUT_OF_ORDER_RANGES), recent: [] };
  const o = rb.outOfOrder;
  const { chunks } = o;
  let bits = result;
  let i = firstEndingAfter(chunks, from);
  let at = from;
  while (lt(at, to)) {
    const next = chunks[i];
    const stop = next === undefined ? to : min(next.seq, to);
    if (lt(at, stop)) {
      const before = chunks.length;
      bits |= storeAt(rb, o, i, at, slab, start + sub(at, from), sub(stop, at));
      i += chunks.length - before;
      at = stop;
    } else {
      // `at` lies in the next chunk: those bytes are here already.
      const end = min(endOf(next!), to);
      bits = noteDuplicate(rb, at, end, bits);
      at = end;
      i++;
    }
  }
  remember(o, from, to);
  if (chunks.length === 0) rb.outOfOrder = undefined;
  return bits;
}

/** Takes [RCV.NXT, to), which fills the gap before the first chunk, and sets free the chunks that it reaches. */
function fill(
  rb: ReceiveBuffer,
  o: OutOfOrder,
  to: number,
  slab: Slab,
  start: number,
  result: number,
): number {
  const { chunks } = o;
  const from = rb.nxt;
  let bits = result | ADVANCED | FILLED;
  let free = 0;
  for (;;) {
    const chunk = chunks[free];
    if (chunk !== undefined && chunk.seq === rb.nxt) {
      if (lt(rb.nxt, to)) bits = noteDuplicate(rb, rb.nxt, min(endOf(chunk), to), bits);
      setFree(rb, chunk);
      free++;
    } else if (lt(rb.nxt, to)) {
      const stop = chunk === undefined ? to : min(chunk.seq, to);
      if (append(rb, slab, start + sub(rb.nxt, from), sub(stop, rb.nxt))) bits |= KEPT;
    } else {
      break;
    }
  }
  if (free > 0) {
    chunks.splice(0, free);
    removeBelow(o.ranges, rb.nxt);
    if (chunks.length === 0) rb.outOfOrder = undefined;
  }
  return bits;
}

/** Moves a chunk that starts at RCV.NXT to the readable bytes. */
function setFree(rb: ReceiveBuffer, chunk: Chunk): void {
  rb.outOfOrderBytes -= chunk.length;
  rb.readable += chunk.length;
  rb.nxt = endOf(chunk);
  const { last } = rb;
  if (last !== undefined && follows(last, chunk.slab, chunk.offset)) {
    last.length += chunk.length;
    dropChunk(rb, chunk);
  } else {
    link(rb, chunk);
  }
}

/** The sequence number after the last byte held, in order or not. */
export function dataEnd(rb: ReceiveBuffer): number {
  const chunk = rb.outOfOrder?.chunks.at(-1);
  return chunk === undefined ? rb.nxt : endOf(chunk);
}

/** Index of the first chunk that ends after `seq`. Data mostly comes in order behind the gap: look at the end first. */
function firstEndingAfter(chunks: readonly Chunk[], seq: number): number {
  let high = chunks.length;
  if (high === 0 || geq(seq, endOf(chunks[high - 1]!))) return high;
  let low = 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (gt(endOf(chunks[middle]!), seq)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function endOf(chunk: Chunk): number {
  return add(chunk.seq, chunk.length);
}

/** Stores bytes that no chunk holds, before chunk `i`. */
function storeAt(
  rb: ReceiveBuffer,
  o: OutOfOrder,
  i: number,
  seq: number,
  slab: Slab,
  offset: number,
  length: number,
): number {
  if (o.chunks.length >= MAX_OUT_OF_ORDER_CHUNKS) return REFUSED;
  const holes = o.ranges.count;
  if (addRange(o.ranges, seq, add(seq, length)) === 0) return REFUSED;
  // It touches a range that was there: part of the gap before or after that range is filled.
  const bits = o.ranges.count > holes ? OUT_OF_ORDER : OUT_OF_ORDER | FILLED;
  rb.outOfOrderBytes += length;
  rb.held += length;
  if (length >= COPY_BELOW) {
    insertChunk(o.chunks, i, newChunk(rb, seq, slab, offset, length));
    return bits | KEPT;
  }
  const at = copyFrom(rb, slab, offset, length);
  const before = o.chunks[i - 1];
  if (before !== undefined && endOf(before) === seq && follows(before, rb.spare!, at))
    before.length += length;
  else insertChunk(o.chunks, i, newChunk(rb, seq, rb.spare!, at, length));
  return bits;
}

function insertChunk(chunks: Chunk[], i: number, chunk: Chunk): void {
  chunks.push(chunk);
  for (let k = chunks.length - 1; k > i; k--) chunks[k] = chunks[k - 1]!;
  chunks[i] = chunk;
}

/** Adds bytes at RCV.NXT. True when the slab itself was kept. */
function append(rb: ReceiveBuffer, slab: Slab, offset: number, length: number): boolean {
  const seq = rb.nxt;
  const kept = length >= COPY_BELOW;
  const place = kept ? offset : copyFrom(rb, slab, offset, length);
  const from = kept ? slab : rb.spare!;
  rb.nxt = add(seq, length);
  rb.readable += length;
  rb.held += length;
  const { last } = rb;
  if (last !== undefined && follows(last, from, place)) last.length += length;
  else link(rb, newChunk(rb, seq, from, place, length));
  return kept;
}

/** True when the byte after `chunk` in memory is `offset` of `slab`. */
function follows(chunk: Chunk, slab: Slab, offset: number): boolean {
  return chunk.slab === slab && chunk.offset + chunk.length === offset;
}

function link(rb: ReceiveBuffer, chunk: Chunk): void {
  chunk.next = undefined;
  if (rb.last === undefined) rb.first = chunk;
  else rb.last.next = chunk;
  rb.last = chunk;
}

function copyFrom(rb: ReceiveBuffer, slab: Slab, offset: number, length: number): number {
  return copyIn(rb, slab, offset, length, rb.readable + rb.outOfOrderBytes);
}

function newChunk(rb: ReceiveBuffer, seq: number, slab: Slab, offset: number, length: number): Chunk {
  rb.held += CHUNK_COST;
  return takeChunk(rb.pool, seq, slab, offset, length);
}

function dropChunk(rb: ReceiveBuffer, chunk: Chunk): void {
  rb.held -= CHUNK_COST;
  giveChunk(rb.pool, chunk);
}

/**
 * Hands at most `most` bytes to `sink`, in order, each range as long as memory allows; returns how many bytes. The ranges
 * are the user's for ever: nothing here writes to them again. `sink` must not call back into this buffer.
 */
export function read(
  rb: ReceiveBuffer,
  most: number,
  sink: (slab: Slab, offset: number, length: number) => void,
): number {
  let taken = 0;
  for (let chunk = rb.first; chunk !== undefined && taken < most; chunk = rb.first) {
    const { slab, offset } = chunk;
    const n = Math.min(chunk.length, most - taken);
    consume(rb, chunk, n);
    taken += n;
    sink(slab, offset, n);
  }
  return taken;
}

/** Copies at most `length` bytes to `into` at `offset`; returns how many. */
export function readInto(rb: ReceiveBuffer, into: Uint8Array, offset: number, length: number): number {
  let taken = 0;
  for (let chunk = rb.first; chunk !== undefined && taken < length; chunk = rb.first) {
    const n = Math.min(chunk.length, length - taken);
    into.set(chunk.slab.bytes.subarray(chunk.offset, chunk.offset + n), offset + taken);
    consume(rb, chunk, n);
    taken += n;
  }
  return taken;
}

/** Takes `n` bytes off the first chunk. */
function consume(rb: ReceiveBuffer, chunk: Chunk, n: number): void {
  rb.readable -= n;
  rb.held -= n;
  if (n < chunk.length) {
    chunk.offset += n;
    chunk.length -= n;
    return;
  }
  rb.first = chunk.next;
  if (rb.first === undefined) rb.last = undefined;
  dropChunk(rb, chunk);
  if (rb.first === undefined && rb.outOfOrder === undefined) giveBack(rb);
}

/** Forgets everything that waits: the user will read no more. RCV.NXT stays. */
export function clear(rb: ReceiveBuffer): void {
  for (let chunk = rb.first; chunk !== undefined; ) {
    const { next } = chunk;
    dropChunk(rb, chunk);
    chunk = next;
  }
  for (const chunk of rb.outOfOrder?.chunks ?? []) dropChunk(rb, chunk);
  rb.first = rb.last = undefined;
  rb.outOfOrder = undefined;
  rb.readable = rb.outOfOrderBytes = rb.held = 0;
  giveBack(rb);
}

// ---- what to tell the sender

/** Notes that [from, to) came again; if the segment holds several such pieces, the first is the one to report. */
function noteDuplicate(rb: ReceiveBuffer, from: number, to: number, result: number): number {
  if ((result & DUPLICATE) === 0) {
    rb.duplicateLeft = from;
    rb.duplicateRight = to;
  } else if (from === rb.duplicateRight) {
    rb.duplicateRight = to;
  }
  return result | DUPLICATE;
}

/** Puts the range that the segment [from, to) landed in first in the list of recent ones. */
function remember(o: OutOfOrder, from: number, to: number): void {
  const { ranges, recent } = o;
  // Its first part may have been refused: then the next range that it touches.
  let range = find(ranges, from);
  if (range < 0) range = find(ranges, add(to, -1));
  if (range < 0) return;
  const seq = leftOf(ranges, range);
  // Take out whatever names the same range (ranges merge), keep the order of the rest.
  let kept = 0;
  for (let i = 0; i < recent.length; i++) {
    const other = find(ranges, recent[i]!);
    if (other >= 0 && other !== range && kept < RECENT - 1) recent[kept++] = recent[i]!;
  }
  recent.length = kept;
  recent.unshift(seq);
}

/**
 * Writes at most `most` (up to 4) SACK blocks to `into`: left, right, left, right …; returns how many. First a duplicate
 * that has not been reported (RFC 2883 4: once), then the range that the last segment landed in, then those that changed
 * before it (RFC 2018 4), then the highest others.
 */
export function sackBlocks(rb: ReceiveBuffer, into: number[], most: number): number {
  let n = 0;
  if (rb.duplicateLeft !== rb.duplicateRight && most > 0) {
    into[0] = rb.duplicateLeft;
    into[1] = rb.duplicateRight;
    rb.duplicateLeft = rb.duplicateRight;
    n = 1;
  }
  const o = rb.outOfOrder;
  if (o === undefined) return n;
  const first = n;
  for (let i = 0; i < o.recent.length && n < most; i++) {
    n = putBlock(o.ranges, find(o.ranges, o.recent[i]!), into, first, n);
  }
  for (let i = o.ranges.count - 1; i >= 0 && n < most; i--) n = putBlock(o.ranges, i, into, first, n);
  return n;
}

/** Writes range `i` as block `n` unless it is there already; returns the number of blocks. */
function putBlock(ranges: Ranges, i: number, into: number[], first: number, n: number): number {
  if (i < 0) return n;
  const edge = leftOf(ranges, i);
  for (let k = first; k < n; k++) if (into[2 * k] === edge) return n;
  into[2 * n] = edge;
  into[2 * n + 1] = rightOf(ranges, i);
  return n + 1;
}
