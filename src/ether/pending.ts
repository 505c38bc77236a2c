// Packets that wait for a link address: RFC 1122 2.3.2.2 and RFC 4861 7.2.2, with bounds.

import type { Frame } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';

/** Packets kept for one neighbour. RFC 1122 asks for one; the largest datagram in 1500-byte fragments is 45. */
export const PENDING_PACKETS = 64;
/** Bytes kept for one neighbour: room for two super-frames of 64 KB. */
export const PENDING_BYTES = 160 * 1024;
/** Bytes kept by one cache in all, whatever the number of neighbours asked for (RFC 6583 7.1). */
export const PENDING_TOTAL_BYTES = 2 * 1024 * 1024;

/**
 * A packet copied out of its frame, as the network layer handed it down: no link header. What a frame says beside its bytes
 * is kept too, with offsets relative to the first byte.
 */
export interface PendingPacket {
  readonly slab: Slab;
  readonly length: number;
  readonly etherType: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly note: string | undefined;
}

/** Copies what `frame` holds. The frame may be reset afterwards. */
export function flatten(frame: Frame, etherType: number): PendingPacket {
  const { length } = frame;
  const slab = new Slab(new Uint8Array(length));
  frame.copyTo(slab.bytes, 0);
  return {
    slab,
    length,
    etherType,
    gsoSize: frame.gsoSize,
    checksumStart: frame.checksumStart < 0 ? -1 : frame.checksumStart - frame.head,
    checksumOffset: frame.checksumOffset,
    note: frame.note,
  };
}

/** Headers are put into the frame's own bytes, where link layers and segmenters look for them; the rest is attached. */
const INLINE = 256;

/** Puts a kept packet into an empty frame. */
export function restore(packet: PendingPacket, frame: Frame): void {
  const { slab, length } = packet;
  const inline = length <= frame.room ? length : INLINE;
  const at = frame.tail;
  frame.copyIn(slab.bytes, 0, inline);
  frame.attach(slab, inline, length - inline);
  frame.gsoSize = packet.gsoSize;
  frame.checksumStart = packet.checksumStart < 0 ? -1 : at + packet.checksumStart;
  frame.checksumOffset = packet.checksumOffset;
  frame.note = packet.note;
}
