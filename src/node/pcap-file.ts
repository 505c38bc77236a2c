// Capture files on disk: a pcapng file to write to, and any capture file, pipe or gzip of one to read from.

import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { SniffingReader } from '../pcap/open.ts';
import {
  type InterfaceOptions,
  type PacketOptions,
  PcapngWriter,
  type SectionOptions,
} from '../pcap/pcapng.ts';
import { type CaptureRecord, captureError } from '../pcap/record.ts';
import { type CaptureFileError, type FileCalls, FileSink } from './file-sink.ts';

export interface PcapngFileOptions extends SectionOptions {
  /** Called once if the file fails, for example with `ENOSPC`. The file then holds whole packets up to there. */
  onError?: ((error: CaptureFileError) => void) | undefined;
}

/**
 * A {@link PcapngWriter} whose blocks go to a file. Writing never throws and never waits; a failure is in `error`, is told
 * to `onError`, and `close` rejects with it. Packets that a slow pipe could not take are counted in the next packet's
 * `dropped` and in {@link dropped}.
 */
export class PcapngFile extends PcapngWriter {
  readonly #sink: FileSink;
  /** Packets not written since the last one that was, by interface. */
  readonly #missed: number[] = [];
  /** Packets that were not written, for want of room. */
  dropped = 0;

  constructor(sink: FileSink, options: PcapngFileOptions) {
    super((bytes) => void sink.write(bytes), options);
    this.#sink = sink;
    sink.onError = options.onError;
  }

  override addInterface(options: InterfaceOptions = {}): number {
    this.#missed.push(0);
    return super.addInterface(options);
  }

  override packet(
    interfaceId: number,
    seconds: number,
    nanos: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    options?: PacketOptions,
  ): void {
    const missed = this.#missed[interfaceId] ?? 0;
    if (this.#sink.full) {
      this.#missed[interfaceId] = missed + 1;
      this.dropped++;
      return;
    }
    this.#missed[interfaceId] = 0;
    const full = missed === 0 ? options : { ...options, dropped: (options?.dropped ?? 0) + missed };
    super.packet(interfaceId, seconds, nanos, bytes, offset, length, full);
  }

  get path(): string {
    return this.#sink.path;
  }

  get error(): CaptureFileError | undefined {
    return this.#sink.error;
  }

  /** Resolves when everything so far is in the file. */
  flush(): Promise<void> {
    return this.#sink.drained();
  }

  /** Writes what is buffered and closes. Rejects with the failure, if there was one. */
  close(): Promise<void> {
    return this.#sink.close();
  }

  /** The same at once, for the end of a process. `process.exit` does it for files left open. */
  closeSync(): void {
    this.#sink.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Creates a pcapng file, or writes to standard output for `-`. Throws what `open(2)` says, as Node does. */
export function createPcapngFile(
  path: string,
  options: PcapngFileOptions = {},
  calls?: FileCalls,
): PcapngFile {
  return new PcapngFile(new FileSink(path, calls), options);
}

/**
 * Reads a capture file record by record: pcap or pcapng, also gzipped; `-` is standard input. A fault in the file is the
 * last record, of kind `error`. Throws only when the file cannot be read at all.
 */
export async function* readCapture(path: string): AsyncGenerator<CaptureRecord, void, undefined> {
  const source = path === '-' ? process.stdin : createReadStream(path);
  try {
    const [head, chunks] = await peek(source);
    const packed = head.length >= 2 && head[0] === 0x1f && head[1] === 0x8b;
    yield* packed ? readPacked(chunks) : readChunks(chunks);
  } finally {
    source.destroy();
  }
}

async function* readChunks(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<CaptureRecord, void, undefined> {
  const reader = new SniffingReader();
  let told = false;
  for await (const chunk of chunks) {
    for (const record of reader.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))) {
      told ||= record.kind === 'error';
      yield record;
    }
    if (told) return;
  }
  const error = reader.finish();
  if (error !== undefined) yield error;
}

async function* readPacked(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<CaptureRecord, void, undefined> {
  const gunzip = createGunzip();
  // Its errors come out of the iteration below.
  pipeline(Readable.from(chunks, { objectMode: false }), gunzip, () => {});
  let bytes = 0;
  let unpacking = true;
  async function* counted() {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      unpacking = false;
      yield chunk;
      unpacking = true;
    }
  }
  try {
    yield* readChunks(counted());
  } catch (error) {
    if (!unpacking || !String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw error;
    yield captureError('compressed', bytes, `the gzip stream is broken: ${(error as Error).message}`);
  }
}

/** The first two bytes or more, and the whole stream from its beginning. */
async function peek(stream: Readable): Promise<[Uint8Array, AsyncIterable<Uint8Array>]> {
  const iterator = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 2) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    head = head.length === 0 ? value : Buffer.concat([head, value]);
  }
  async function* whole() {
    if (head.length > 0) yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return [head, whole()];
}
