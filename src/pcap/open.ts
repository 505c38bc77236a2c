// Opens a capture of any format by its first bytes.

import { hex32, PcapReader, pcapLittleEndian } from './pcap.ts';
import { SECTION_HEADER } from './pcapng-format.ts';
import { PcapngReader } from './pcapng-reader.ts';
import { type CaptureError, type CaptureReader, type CaptureRecord, captureError } from './record.ts';

/** A reader that looks at the first four bytes and then is a pcap or a pcapng reader. */
export class SniffingReader implements CaptureReader {
  #reader: CaptureReader | undefined;
  #error: CaptureError | undefined;
  #head = new Uint8Array(0);

  push(bytes: Uint8Array): CaptureRecord[] {
    if (this.#reader !== undefined) return this.#reader.push(bytes);
    if (this.#error !== undefined) return [];
    const head = this.#head.length === 0 ? bytes : join(this.#head, bytes);
    if (head.length < 4) {
      this.#head = head.slice();
      return [];
    }
    const found = readerFor(head);
    if ('fault' in found) {
      this.#error = found;
      return [found];
    }
    this.#reader = found;
    return found.push(head);
  }

  finish(): CaptureError | undefined {
    if (this.#reader !== undefined) return this.#reader.finish();
    this.#error ??= captureError(
      'truncated',
      0,
      this.#head.length === 0 ? 'the file is empty' : 'the file ends inside its magic number',
    );
    return this.#error;
  }
}

/** The reader for a file that begins with `head` (four bytes or more), or why there is none. */
function readerFor(head: Uint8Array): CaptureReader | CaptureError {
  const magic = new DataView(head.buffer, head.byteOffset, head.byteLength).getUint32(0);
  if (magic === SECTION_HEADER) return new PcapngReader();
  if (pcapLittleEndian(magic) !== undefined) return new PcapReader();
  const packed = packedBy(magic);
  return packed === undefined
    ? captureError('unknown format', 0, `magic ${hex32(magic)} is neither pcap nor pcapng`)
    : captureError('compressed', 0, `packed by ${packed}: unpack it first`);
}

/** The packer whose files begin with `magic`. */
export function packedBy(magic: number): 'gzip' | 'zstd' | 'lz4' | 'xz' | 'bzip2' | undefined {
  if (magic >>> 16 === 0x1f8b) return 'gzip';
  if (magic === 0x28b52ffd) return 'zstd';
  if (magic === 0x04224d18) return 'lz4';
  if (magic === 0xfd377a58) return 'xz';
  return magic >>> 8 === 0x425a68 ? 'bzip2' : undefined;
}

/** A whole capture in memory: its records up to the first fault, and the fault. Never throws. */
export function openCapture(bytes: Uint8Array): {
  records: CaptureRecord[];
  error: CaptureError | undefined;
} {
  const reader = new SniffingReader();
  const records = reader.push(bytes);
  const error = reader.finish();
  return { records: error === undefined ? records : records.filter((r) => r.kind !== 'error'), error };
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (b.length === 0) return a;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
