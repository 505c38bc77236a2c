// Memory that an application may read for ever, but not take away.

import { markAsUntransferable } from 'node:worker_threads';
import type { Slab } from '../base/slab.ts';

/** `ArrayBuffer.prototype.transfer` and its sibling, which Node 20 does not have. */
interface Transferable {
  transfer?(): unknown;
}

/** Node 22 marks a buffer for `postMessage` only: its own `transfer` takes it away all the same. */
const marksTransferToo = (() => {
  const probe: ArrayBufferLike & Transferable = new ArrayBuffer(1);
  markAsUntransferable(probe);
  try {
    probe.transfer?.();
  } catch {
    // What is wanted.
  }
  return probe.byteLength === 1;
})();

function refuse(): never {
  throw new TypeError('Cannot transfer memory that other sockets use too: make a copy');
}

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
    if (!marksTransferToo) Object.assign(buffer, { transfer: refuse, transferToFixedLength: refuse });
  }
  return buffer;
}
