// Memory that an application may read for ever, but not take away.

import { markAsUntransferable } from 'node:worker_threads';
import type { Slab } from '../base/slab.ts';

/**
 * The memory of `slab`, for the application to look at. What one socket received lies in the same memory as what others did
 * and will: transferred to a worker (`postMessage(data, [data.buffer])`, `data.buffer.transfer()`) it would be gone for all
 * of them. So it cannot be transferred: Node throws DataCloneError or copies, as with its own pool of Buffers.
 */
export function lend(slab: Slab): ArrayBufferLike {
  const { buffer } = slab.bytes;
  if (!slab.lent) {
    slab.lent = true;
    markAsUntransferable(buffer);
  }
  return buffer;
}
