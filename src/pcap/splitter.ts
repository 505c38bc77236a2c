// Cuts a byte stream that comes in any pieces into whole records, without copying those that lie in one piece.

import {
  type CaptureError,
  type CaptureFault,
  type CaptureReader,
  type CaptureRecord,
  captureError,
} from './record.ts';

const EMPTY = new Uint8Array(0);

/**
 * The frame of a push parser. A subclass says how long the next record is ({@link measure}) and reads it
 * ({@link take}). Memory follows the bytes that really came, never a length that the file claims.
 */
export abstract class RecordSplitter implements CaptureReader {
  /** File offset of the record at hand. */
  protected offset = 0;
  #error: CaptureError | undefined;
  /** The beginning of a record whose end has not come. */
  #pending: Uint8Array = EMPTY;
  #have = 0;
  #need = 0;

  /**
   * Bytes of the record at `at`, of which `have` are there. When more are needed to tell, how many, above `have`. -1 after
   * {@link fail}.
   */
  protected abstract measure(view: DataView, at: number, have: number): number;

  /** Reads the whole record of `size` bytes at `at`; or calls {@link fail}. */
  protected abstract take(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    size: number,
  ): CaptureRecord | undefined;

  push(chunk: Uint8Array): CaptureRecord[] {
    const records: CaptureRecord[] = [];
    if (this.#error !== undefined) return records;
    let at = 0;
    while (this.#have > 0 && at < chunk.length && this.#error === undefined) {
      at = this.#fill(chunk, at);
      if (this.#have < this.#need) return records;
      const bytes = this.#pending.subarray(0, this.#have);
      if (this.#step(bytes, viewOf(bytes), 0, records) > 0) this.#have = 0;
    }
    if (at < chunk.length && this.#error === undefined) this.#direct(chunk, at, records);
    return records;
  }

  finish(): CaptureError | undefined {
    if (this.#have > 0) {
      this.fail('truncated', `the file ends after ${this.#have} of the ${this.#need} bytes needed`);
    } else if (this.offset === 0) {
      this.fail('truncated', 'the file is empty');
    }
    return this.#error;
  }

  /** Ends the reading with one error. Returns -1, for `measure`. */
  protected fail(fault: CaptureFault, detail: string, offset = this.offset): -1 {
    this.#error ??= captureError(fault, offset, detail);
    this.#have = 0;
    this.#pending = EMPTY;
    return -1;
  }

  /** Reads records where they lie in `chunk` and keeps what is left over. */
  #direct(chunk: Uint8Array, from: number, records: CaptureRecord[]): void {
    const view = viewOf(chunk);
    let at = from;
    while (at < chunk.length) {
      const size = this.#step(chunk, view, at, records);
      if (size < 0) return;
      if (size === 0) break;
      at += size;
    }
    this.#have = chunk.length - at;
    this.#pending = chunk.slice(at);
  }

  /** One record at `at`, if it is whole: its size; 0 when more bytes must come; -1 after an error. */
  #step(bytes: Uint8Array, view: DataView, at: number, records: CaptureRecord[]): number {
    const have = bytes.length - at;
    const size = this.measure(view, at, have);
    if (size > have) {
      this.#need = size;
      return 0;
    }
    if (size >= 0) {
      const record = this.take(bytes, view, at, size);
      if (record !== undefined && this.#error === undefined) records.push(record);
      this.offset += size;
    }
    if (this.#error === undefined) return size;
    records.push(this.#error);
    return -1;
  }

  /** Appends to the pending bytes as much of `chunk` as is needed; returns where it stopped. */
  #fill(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.#need - this.#have, chunk.length - at);
    const length = this.#have + count;
    if (length > this.#pending.length) {
      // Grows by doubling, up to what is needed: 16 MiB claimed in a short file cost nothing.
      const grown = new Uint8Array(Math.max(length, Math.min(this.#need, 2 * this.#pending.length)));
      grown.set(this.#pending.subarray(0, this.#have));
      this.#pending = grown;
    }
    this.#pending.set(chunk.subarray(at, at + count), this.#have);
    this.#have = length;
    return at + count;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
