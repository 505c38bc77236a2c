// The interface of npm's pcap-writer, over our own writer: microsecond pcap files.

import { PcapWriter } from '../pcap/pcap.ts';
import { type CaptureFileError, type FileCalls, FileSink } from './file-sink.ts';

export interface PacketSink {
  /**
   * Appends a frame, stamped `timestampMicros` (microseconds since 1970; now, if not given). The buffer is copied: it may be
   * reused at once. False when the disk is behind. Throws after `close`.
   */
  writePacket(buffer: Uint8Array, timestampMicros?: number): boolean;
  /**
   * Writes what is left and closes. The callback gets the file's name, the milliseconds it was open, and the error if
   * the file failed; without a callback nothing is thrown. The promise resolves in either case.
   */
  close(callback?: (file: string, elapsedMs: number, error?: CaptureFileError) => void): Promise<void>;
  /** What ended the file, if it failed: nothing is written after that. */
  readonly error: CaptureFileError | undefined;
}

/**
 * Creates the pcap file `file`. `snaplen` is 262144 unless given (npm's 1500 cut full Ethernet frames), `linktype` 1,
 * Ethernet. Throws what `open(2)` says.
 */
export function createPcapWriter(file: string, snaplen = 0, linktype = 1, calls?: FileCalls): PacketSink {
  const sink = new FileSink(file, calls);
  const started = Date.now();
  let room = true;
  let closed = false;
  const writer = new PcapWriter(
    (bytes) => {
      room = sink.write(bytes);
    },
    { snapLength: snaplen, linkType: linktype, nanoseconds: false },
  );
  return {
    writePacket(buffer, timestampMicros = Date.now() * 1000) {
      if (closed) throw new Error(`${file}: writePacket after close`);
      const micros = Math.max(0, Math.floor(timestampMicros));
      const seconds = Math.floor(micros / 1_000_000);
      writer.packet(seconds, (micros % 1_000_000) * 1000, buffer, 0, buffer.length);
      return room;
    },
    async close(callback) {
      closed = true;
      await sink.close().catch(() => {}); // it is in sink.error
      const elapsed = Date.now() - started;
      if (sink.error === undefined) callback?.(file, elapsed);
      else callback?.(file, elapsed, sink.error);
    },
    get error() {
      return sink.error;
    },
  };
}
