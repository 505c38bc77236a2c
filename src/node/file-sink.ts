// An append-only file for captures: ordered, bounded memory, whole records on a full disk, and a synchronous last flush.

import * as fs from 'node:fs';

/** Bytes gathered before a write is begun. */
const BATCH = 128 * 1024;
/** Above this the disk is behind: a file is then written synchronously, a pipe refuses records. Bounds the memory. */
const MOST_BUFFERED = 8 * 1024 * 1024;
/** Records reach the file at latest so many milliseconds after they were written, so that it can be watched live. */
const LINGER_MS = 100;

/** The calls of `node:fs` that a sink makes. Replaceable, so that a test can fill the disk. */
export interface FileCalls {
  openSync(path: string, flags: string): number;
  fstatSync(fd: number): { isFile(): boolean };
  writev(
    fd: number,
    buffers: Uint8Array[],
    position: number | null,
    done: (error: NodeJS.ErrnoException | null, written: number) => void,
  ): void;
  writevSync(fd: number, buffers: Uint8Array[], position: number | null): number;
  ftruncateSync(fd: number, length: number): void;
  closeSync(fd: number): void;
}

export const NODE_CALLS: FileCalls = {
  openSync: fs.openSync,
  fstatSync: fs.fstatSync,
  writev: (fd, buffers, position, done) => fs.writev(fd, buffers, position as number, done),
  writevSync: (fd, buffers, position) => fs.writevSync(fd, buffers, position ?? undefined),
  ftruncateSync: fs.ftruncateSync,
  closeSync: fs.closeSync,
};

/** Records that go to the file together. */
class Batch {
  readonly buffers: Uint8Array[] = [];
  /** File offsets at which a record ends. */
  readonly ends: number[] = [];
  length = 0;
  /** Where in the file it starts. */
  readonly position: number;

  constructor(position: number) {
    this.position = position;
  }

  add(bytes: Uint8Array): void {
    const last = this.buffers.at(-1);
    // Records carved from one block of memory lie side by side: one range for the kernel instead of many.
    if (
      last !== undefined &&
      last.buffer === bytes.buffer &&
      last.byteOffset + last.length === bytes.byteOffset
    ) {
      const joined = new Uint8Array(last.buffer, last.byteOffset, last.length + bytes.length);
      this.buffers[this.buffers.length - 1] = joined;
    } else {
      this.buffers.push(bytes);
    }
    this.length += bytes.length;
    this.ends.push(this.position + this.length);
  }

  /** What is left to write after the first `written` bytes. */
  rest(written: number): Uint8Array[] {
    if (written === 0) return this.buffers;
    const rest: Uint8Array[] = [];
    let skip = written;
    for (const buffer of this.buffers) {
      if (skip < buffer.length) rest.push(skip === 0 ? buffer : buffer.subarray(skip));
      skip = Math.max(0, skip - buffer.length);
    }
    return rest;
  }
}

/** Sinks that `process.exit` must not cut short. */
const open = new Set<FileSink>();

function closeAll(): void {
  for (const sink of [...open]) sink.closeSync();
}

/** A failed capture file: the system's `code`, and what is left in the file. */
export class CaptureFileError extends Error {
  readonly code: string | undefined;
  readonly path: string;

  constructor(path: string, cause: NodeJS.ErrnoException, kept: number) {
    super(`capture file ${path}: ${cause.message}; ${kept} bytes are in it, all records whole`, { cause });
    this.name = 'CaptureFileError';
    this.code = cause.code;
    this.path = path;
  }
}

/**
 * Takes whole records and appends them to a file, or to a pipe such as a waiting Wireshark. Nothing is written twice,
 * nothing out of order. After a failure the file is cut back to its last whole record and nothing more is taken.
 */
export class FileSink {
  readonly path: string;
  /** Called once, with the failure that ended the file. */
  onError: ((error: CaptureFileError) => void) | undefined;
  error: CaptureFileError | undefined;
  /** Bytes accepted and not yet in the file. */
  buffered = 0;
  readonly #calls: FileCalls;
  readonly #fd: number;
  /** Regular files are written by position, so that a synchronous flush may overtake a write in flight. */
  readonly #seekable: boolean;
  #queue: Batch;
  #flight: Batch | undefined;
  /** Bytes of the flight that are in the file. */
  #flown = 0;
  #timer: NodeJS.Timeout | undefined;
  /** After a failure: how long the file may be. */
  #kept = 0;
  #closing = false;
  #shut = false;
  #waiters: (() => void)[] = [];

  /** Creates or empties `path`; `-` is standard output. Throws what `open(2)` says. */
  constructor(path: string, calls: FileCalls = NODE_CALLS) {
    this.path = path;
    this.#calls = calls;
    this.#fd = path === '-' ? 1 : calls.openSync(path, 'w');
    // Standard output may be a file that a shell has appended to before: its own position rules.
    this.#seekable = path !== '-' && calls.fstatSync(this.#fd).isFile();
    this.#queue = new Batch(0);
    if (open.size === 0) process.on('exit', closeAll);
    open.add(this);
  }

  /** True while no more should be given: a pipe's reader is behind. Files have no such moment. */
  get full(): boolean {
    return !this.#seekable && this.buffered > MOST_BUFFERED;
  }

  /**
   * Takes one whole record; the sink keeps the bytes. False when the sender should wait for {@link drained}: it has been
   * taken all the same, unless the sink is {@link full}, failed or closed.
   */
  write(record: Uint8Array): boolean {
    if (this.error !== undefined || this.#closing || this.full) return false;
    this.#queue.add(record);
    this.buffered += record.length;
    if (this.buffered > MOST_BUFFERED) this.flushSync();
    else if (this.#queue.length >= BATCH) this.#start();
    else this.#timer ??= this.#later();
    return this.buffered < BATCH * 4;
  }

  /** Resolves when all that was taken is in the file, or when it failed. */
  async drained(): Promise<void> {
    this.#start();
    if (this.buffered === 0 || this.error !== undefined) return;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /**
   * Writes what is buffered before it returns, also what a write in flight has not finished. A pipe with a write in
   * flight cannot be flushed: false.
   */
  flushSync(): boolean {
    if (this.error !== undefined) return false;
    const flight = this.#flight;
    if (flight !== undefined) {
      if (!this.#seekable) return false;
      // The same bytes to the same place: it does not matter which of the two writes comes last.
      if (!this.#writeNow(flight, this.#flown)) return false;
      this.buffered -= flight.length - this.#flown;
      this.#flown = flight.length;
    }
    const batch = this.#take();
    if (batch.length > 0 && !this.#writeNow(batch, 0)) return false;
    this.buffered -= batch.length;
    this.#settle();
    return true;
  }

  /** Writes everything and closes the file. Rejects with the failure, if there was one. Twice is harmless. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.drained();
    this.#shutDown();
    if (this.error !== undefined) throw this.error;
  }

  /** {@link close} without waiting, for the end of a process. Failures are in {@link error}. */
  closeSync(): void {
    this.#closing = true;
    this.flushSync();
    this.#shutDown();
  }

  #later(): NodeJS.Timeout {
    return setTimeout(() => this.#start(), LINGER_MS).unref();
  }

  #take(): Batch {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#queue;
    this.#queue = new Batch(batch.position + batch.length);
    return batch;
  }

  /** Begins to write what is queued, unless a write is in flight: it then begins the next when it is done. */
  #start(): void {
    if (this.#flight !== undefined || this.error !== undefined || this.#shut || this.#queue.length === 0)
      return;
    this.#flight = this.#take();
    this.#flown = 0;
    this.#continue(this.#flight);
  }

  #continue(batch: Batch): void {
    const position = this.#seekable ? batch.position + this.#flown : null;
    const from = this.#flown;
    this.#calls.writev(this.#fd, batch.rest(from), position, (error, written) => {
      // A synchronous flush failed while this write was on its way: what it wrote may be too much.
      if (this.error !== undefined) this.#cutBack();
      if (this.#shut) {
        this.#closeDescriptor();
        return;
      }
      // A synchronous flush may have written on in the meantime.
      const progress = Math.max(this.#flown, from + (error === null ? written : 0));
      this.buffered -= progress - this.#flown;
      this.#flown = progress;
      if (error !== null && progress < batch.length) {
        if (error.code === 'EAGAIN') {
          setTimeout(() => this.#continue(batch), LINGER_MS / 10);
          return;
        }
        this.#flight = undefined;
        this.#fail(error, batch, progress);
        return;
      }
      if (progress < batch.length && this.error === undefined) {
        this.#continue(batch);
        return;
      }
      this.#flight = undefined;
      if (this.#queue.length >= BATCH || this.#waiters.length > 0) this.#start();
      this.#settle();
    });
  }

  #writeNow(batch: Batch, from: number): boolean {
    let written = from;
    try {
      while (written < batch.length) {
        const position = this.#seekable ? batch.position + written : null;
        written += this.#calls.writevSync(this.#fd, batch.rest(written), position);
      }
      return true;
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException, batch, written);
      return false;
    }
  }

  /** Ends the file after its last whole record. */
  #fail(cause: NodeJS.ErrnoException, batch: Batch, written: number): void {
    if (this.error !== undefined) return;
    this.#kept = batch.ends.findLast((end) => end <= batch.position + written) ?? batch.position;
    this.#cutBack();
    this.error = new CaptureFileError(this.path, cause, this.#kept);
    this.#take();
    this.buffered = 0;
    this.#settle();
    this.onError?.(this.error);
  }

  #cutBack(): void {
    if (!this.#seekable) return;
    try {
      this.#calls.ftruncateSync(this.#fd, this.#kept);
    } catch {
      // The first failure is the one to report.
    }
  }

  #settle(): void {
    if (this.buffered > 0 && this.error === undefined) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }

  #shutDown(): void {
    if (this.#shut) return;
    this.#shut = true;
    clearTimeout(this.#timer);
    open.delete(this);
    if (open.size === 0) process.off('exit', closeAll);
    // While a write is in flight the descriptor must live: its number could be given to another file.
    if (this.#flight === undefined) this.#closeDescriptor();
  }

  #closeDescriptor(): void {
    this.#flight = undefined;
    if (this.path !== '-') this.#calls.closeSync(this.#fd);
  }
}
