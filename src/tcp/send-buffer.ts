// Bytes accepted from the user until the peer acknowledges them (RFC 9293 3.8, 3.10.2).
//
//      block            block                       block
//    |...#########|###########################|########..........|
//        ^ first unacknowledged byte                   ^ end
//
// One copy is made, on the way in; frames then send the bytes from where they lie. Blocks are slabs of two pools that all
// connections share: the buffer holds one reference to each, and every frame under way another, so that a block that is
// acknowledged while a retransmission of it waits in a queue goes back to its pool only after that.

import { type Frame, MAX_RANGES } from '../base/packet.ts';
import type { Slab, SlabPool } from '../base/slab.ts';

/** Small blocks (4 KB) for requests and answers, large ones (64 KB: a super-frame) for bulk. */
export interface SendPools {
  readonly small: SlabPool;
  readonly large: SlabPool;
}

/** Payloads up to this are copied into the frame: cheaper than one more range for the driver to gather. */
const INLINE_BELOW = 128;

interface Block {
  slab: Slab | undefined;
  /** Place in the stream of the slab's first byte, and of the byte after the last one written. */
  start: number;
  end: number;
}

/** Read freely; `limit` may be set. */
export interface SendBuffer {
  /** Most bytes it accepts. It may be set lower than {@link length}: nothing is thrown away. */
  limit: number;
  /** Bytes held. */
  length: number;
  readonly pools: SendPools;
  /** Place in the stream of the first unacknowledged byte, counted from 0. */
  head: number;
  /** A ring of records that are used again and again; its size is 0 or a power of two. */
  ring: Block[];
  /** Slot of the first block in use, and how many are. */
  first: number;
  count: number;
  /** Where the last lookup ended, counted from `first`: the next is mostly there or one further. */
  cursor: number;
}

export function createSendBuffer(pools: SendPools, limit: number): SendBuffer {
  return { limit, length: 0, pools, head: 0, ring: [], first: 0, count: 0, cursor: 0 };
}

/** Bytes that {@link write} would take now. */
export function room(sb: SendBuffer): number {
  return Math.max(0, sb.limit - sb.length);
}

/** Copies up to `length` bytes of `bytes` from `offset`; returns how many there was room for. */
export function write(sb: SendBuffer, bytes: Uint8Array, offset: number, length: number): number {
  const taken = Math.min(length, room(sb));
  let done = 0;
  while (done < taken) {
    const left = taken - done;
    const block = blockToFill(sb, left);
    const used = block.end - block.start;
    const n = Math.min(left, block.slab!.bytes.length - used);
    copy(bytes, offset + done, n, block.slab!.bytes, used);
    block.end += n;
    sb.length += n;
    done += n;
  }
  return taken;
}

/** The last block, if it has room, or a new one fit for `length` bytes. */
function blockToFill(sb: SendBuffer, length: number): Block {
  if (sb.count > 0) {
    const last = blockAt(sb, sb.count - 1);
    if (last.end - last.start < last.slab!.bytes.length) return last;
  }
  const { small, large } = sb.pools;
  // Much at once, or much waiting already: bulk. So small blocks never make up more than a few kilobytes.
  const bulk = length > small.slabSize || sb.length >= 2 * small.slabSize;
  if (sb.count === sb.ring.length) grow(sb);
  const block = blockAt(sb, sb.count++);
  block.slab = (bulk ? large : small).take();
  block.start = sb.head + sb.length;
  block.end = block.start;
  return block;
}

/** The `i`th block in use. */
function blockAt(sb: SendBuffer, i: number): Block {
  return sb.ring[(sb.first + i) & (sb.ring.length - 1)]!;
}

/** Doubles the ring. */
function grow(sb: SendBuffer): void {
  const ring: Block[] = [];
  for (let i = 0; i < sb.count; i++) ring.push(blockAt(sb, i));
  for (let i = Math.max(1, sb.count); i > 0; i--) ring.push({ slab: undefined, start: 0, end: 0 });
  sb.ring = ring;
  sb.first = 0;
}

/**
 * Puts up to `length` bytes, from `offset` after the first unacknowledged byte, into `frame`, whose header is written or
 * will be pushed and which has no payload yet; returns how many. Few bytes are copied behind the header, more are attached
 * where they lie. It is fewer than asked where they lie in more pieces than a frame can carry.
 */
export function attachRange(sb: SendBuffer, offset: number, length: number, frame: Frame): number {
  const wanted = Math.min(length, sb.length - offset);
  if (wanted <= 0) return 0;
  const from = sb.head + offset;
  const to = from + wanted;
  let i = locate(sb, from);
  let at = from;
  const inline = wanted <= INLINE_BELOW && wanted <= frame.room;
  let ranges = frame.a === undefined ? MAX_RANGES : frame.b === undefined ? 1 : 0;
  while (at < to) {
    const block = blockAt(sb, i);
    const n = Math.min(to, block.end) - at;
    const place = at - block.start;
    if (inline || (ranges === MAX_RANGES && n <= frame.room && isOneTooMany(sb, i, to))) {
      const behind = frame.put(n);
      copy(block.slab!.bytes, place, n, frame.bytes, behind);
    } else {
      if (ranges === 0) break;
      ranges--;
      frame.attach(block.slab!, place, n);
    }
    at += n;
    sb.cursor = i;
    i++;
  }
  return at - from;
}

/** True when the bytes up to `to`, starting in block `i`, lie in more blocks than a frame has ranges. */
function isOneTooMany(sb: SendBuffer, i: number, to: number): boolean {
  return i + MAX_RANGES < sb.count && blockAt(sb, i + MAX_RANGES).start < to;
}

/** Which block holds the byte at `at` of the stream. */
function locate(sb: SendBuffer, at: number): number {
  // Sending goes forward: the block of last time, or the one after it.
  for (let i = sb.cursor; i < sb.count && i < sb.cursor + 2; i++) {
    const block = blockAt(sb, i);
    if (block.start <= at && at < block.end) return i;
  }
  let low = 0;
  let high = sb.count - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (blockAt(sb, middle).end > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

function copy(from: Uint8Array, offset: number, length: number, to: Uint8Array, at: number): void {
  if (length <= 64) {
    for (let i = 0; i < length; i++) to[at + i] = from[offset + i]!;
  } else if (offset === 0 && length === from.length) {
    to.set(from, at);
  } else {
    to.set(from.subarray(offset, offset + length), at);
  }
}

/** The peer acknowledged `n` bytes more: lets them go. */
export function ack(sb: SendBuffer, n: number): void {
  const released = Math.min(n, sb.length);
  sb.head += released;
  sb.length -= released;
  while (sb.count > 0) {
    const block = blockAt(sb, 0);
    if (block.end > sb.head) return;
    // Also the last block, even if it has room left: an idle connection keeps no memory.
    block.slab!.release();
    block.slab = undefined;
    sb.first = (sb.first + 1) & (sb.ring.length - 1);
    sb.count--;
    if (sb.cursor > 0) sb.cursor--;
  }
}

/** Throws everything away: the connection is over. */
export function clear(sb: SendBuffer): void {
  ack(sb, sb.length);
  sb.ring = [];
  sb.first = 0;
  sb.cursor = 0;
}
