// The loopback link: what is sent comes back in the next round (RFC 1122 3.2.1.3 (g), 3.3.4.2).

import { MAC_LENGTH, type Mac } from '../base/mac.ts';
import type { LinkPort } from '../base/netif.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';

/** As Linux has it: a whole IP packet always fits. */
export const LOOPBACK_MTU = 65_536;
/** Frames, and bytes, that may be on their way back: a window or two of super-frames, but no more memory than that. */
export const LOOPBACK_FRAMES = 512;
export const LOOPBACK_BYTES = 8 * 1024 * 1024;
/** Frames are laid one behind the other into blocks of this size: a few super-frames each. */
const BLOCK_SIZE = 256 * 1024;
/** Blocks kept for reuse. */
const SPARE_BLOCKS = 8;

/** A slab that frames are laid into; it may be used again once all have been read and nobody kept a part of it. */
interface Block {
  readonly slab: Slab;
  used: number;
  unread: number;
  pinned: boolean;
}

interface Looped {
  readonly block: Block;
  readonly offset: number;
  readonly length: number;
  readonly gsoSize: number;
}

/** A link whose both ends are this host. Takes super-frames and pending checksums as they are: nothing can damage them. */
export class LoopbackPort implements LinkPort {
  readonly mac: Mac = new Uint8Array(MAC_LENGTH);
  readonly mtu = LOOPBACK_MTU;
  readonly #packet = new Packet();
  readonly #spare: Block[] = [];
  #queue: Looped[] = [];
  /** Where reading goes on in the queue. */
  #next = 0;
  #bytes = 0;
  #block: Block = newBlock(BLOCK_SIZE);

  /** Frames on their way back. */
  get waiting(): number {
    return this.#queue.length - this.#next;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    let at = from;
    for (; at < to; at++) {
      const frame = frames[at]!;
      if (this.waiting >= LOOPBACK_FRAMES || this.#bytes + frame.length > LOOPBACK_BYTES) break;
      this.#keep(frame);
    }
    return at - from;
  }

  /** Hands at most `limit` frames to `sink`, in order; returns how many. What `sink` sends meanwhile waits for the next call. */
  receive(sink: (packet: Packet) => void, limit: number): number {
    const n = Math.min(limit, this.waiting);
    for (let i = 0; i < n; i++) {
      const { block, offset, length, gsoSize } = this.#queue[this.#next++]!;
      this.#bytes -= length;
      const packet = this.#packet.set(block.slab, offset, length);
      packet.gsoSize = gsoSize;
      packet.checksumTrusted = true;
      sink(packet);
      if (packet.pinned) block.pinned = true;
      this.#done(block);
    }
    if (this.#next === this.#queue.length) {
      this.#queue.length = 0;
      this.#next = 0;
    } else if (this.#next >= LOOPBACK_FRAMES) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    return n;
  }

  #keep(frame: Frame): void {
    const { length } = frame;
    if (this.#block.used + length > this.#block.slab.bytes.length) {
      const spare = length <= BLOCK_SIZE ? this.#spare.pop() : undefined;
      const full = this.#block;
      this.#block = spare ?? newBlock(Math.max(BLOCK_SIZE, length));
      if (full.unread === 0) this.#recycle(full);
    }
    const block = this.#block;
    const offset = block.used;
    block.used = frame.copyTo(block.slab.bytes, offset);
    block.unread++;
    this.#queue.push({ block, offset, length, gsoSize: frame.gsoSize });
    this.#bytes += length;
  }

  #done(block: Block): void {
    block.unread--;
    if (block.unread > 0) return;
    if (block !== this.#block) this.#recycle(block);
    else if (!block.pinned) block.used = 0;
  }

  #recycle(block: Block): void {
    if (block.pinned || block.slab.bytes.length !== BLOCK_SIZE || this.#spare.length >= SPARE_BLOCKS) return;
    block.used = 0;
    this.#spare.push(block);
  }
}

function newBlock(size: number): Block {
  return { slab: new Slab(new Uint8Array(size)), used: 0, unread: 0, pinned: false };
}
