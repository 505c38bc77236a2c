// The memory behind receive buffers: blocks that small payloads are copied into, and the records of where bytes lie.
//
// A block is shared by all connections and filled from the front; each connection has a run of it set aside. Blocks are
// never used twice: what was read belongs to the user for ever, and the garbage collector takes a block when no view of
// it is left.

import { Slab } from '../base/slab.ts';

/** Bytes of a block that small payloads are copied into. */
export const BLOCK_SIZE = 65536;
/** Most bytes of a block set aside for one connection beyond what it needs now. */
const MOST_SPARE = 16384;
/** Chunk records kept for reuse by all connections. */
const MAX_FREE_CHUNKS = 1024;

/** Bytes in a row, in the stream and in memory. */
export interface Chunk {
  seq: number;
  slab: Slab;
  offset: number;
  length: number;
  next: Chunk | undefined;
}

/** Memory shared by the receive buffers of all connections: the block being filled, and used chunk records. */
export interface ReceivePool {
  block: Slab | undefined;
  at: number;
  free: Chunk | undefined;
  freeCount: number;
}

/** One connection's part of the memory. {@link copyIn} leaves what it copied in `spare`. */
export interface Reserve {
  readonly pool: ReceivePool;
  /** The part [spareAt, spareEnd) of a block that is this connection's to fill. */
  spare: Slab | undefined;
  spareAt: number;
  spareEnd: number;
}

const NO_SLAB = new Slab(new Uint8Array(0));

export function createReceivePool(): ReceivePool {
  return { block: undefined, at: 0, free: undefined, freeCount: 0 };
}

/** Copies a small payload into `reserve.spare` and returns where. `waiting`: bytes this connection has that are not read yet. */
export function copyIn(
  reserve: Reserve,
  slab: Slab,
  offset: number,
  length: number,
  waiting: number,
): number {
  if (reserve.spareEnd - reserve.spareAt < length) setAside(reserve, length, waiting);
  const at = reserve.spareAt;
  reserve.spareAt = at + length;
  const { bytes } = reserve.spare!;
  // Below this a plain loop is quicker than the view that `set` asks for, and makes no garbage.
  if (length <= 64) for (let i = 0; i < length; i++) bytes[at + i] = slab.bytes[offset + i]!;
  else bytes.set(slab.bytes.subarray(offset, offset + length), at);
  return at;
}

/**
 * Sets memory aside for at least `length` bytes more. A connection that has much waiting gets as much again, so that
 * two connections that take turns do not chop each other's bytes into single segments; one that has nothing waiting gets
 * just what it needs.
 */
function setAside(reserve: Reserve, length: number, waiting: number): void {
  const { pool } = reserve;
  const want = Math.max(length, Math.min(waiting, MOST_SPARE));
  giveBack(reserve);
  if (pool.block === undefined || BLOCK_SIZE - pool.at < length) {
    // Never from a pool: what is read belongs to the user, for ever.
    pool.block = new Slab(new Uint8Array(BLOCK_SIZE));
    pool.at = 0;
  }
  reserve.spare = pool.block;
  reserve.spareAt = pool.at;
  reserve.spareEnd = Math.min(pool.at + want, BLOCK_SIZE);
  pool.at = reserve.spareEnd;
}

/** Lets go of the memory set aside. If nobody took from the block since, the next reservation goes on where this stopped. */
export function giveBack(reserve: Reserve): void {
  const { pool } = reserve;
  if (reserve.spare !== undefined && reserve.spare === pool.block && reserve.spareEnd === pool.at)
    pool.at = reserve.spareAt;
  reserve.spare = undefined;
  reserve.spareAt = 0;
  reserve.spareEnd = 0;
}

export function takeChunk(pool: ReceivePool, seq: number, slab: Slab, offset: number, length: number): Chunk {
  const chunk = pool.free;
  if (chunk === undefined) return { seq, slab, offset, length, next: undefined };
  pool.free = chunk.next;
  pool.freeCount--;
  chunk.seq = seq;
  chunk.slab = slab;
  chunk.offset = offset;
  chunk.length = length;
  chunk.next = undefined;
  return chunk;
}

export function giveChunk(pool: ReceivePool, chunk: Chunk): void {
  chunk.slab = NO_SLAB;
  if (pool.freeCount >= MAX_FREE_CHUNKS) return;
  chunk.next = pool.free;
  pool.free = chunk;
  pool.freeCount++;
}
