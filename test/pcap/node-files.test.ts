import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type FileCalls, FileSink, NODE_CALLS } from '../../src/node/file-sink.ts';
import { createPcapngFile, readCapture } from '../../src/node/pcap-file.ts';
import { createPcapWriter } from '../../src/node/pcap-writer.ts';
import { openCapture } from '../../src/pcap/open.ts';
import type { CaptureRecord, PacketRecord } from '../../src/pcap/record.ts';
import { inFolder, read } from './files.ts';

const FRAME = Uint8Array.from({ length: 60 }, (_, i) => i);

/** A disk that takes `room` bytes and then is full. Writes take as much as fits, as the kernel does. */
function fullAfter(room: number): FileCalls {
  let left = room;
  const some = (buffers: readonly Uint8Array[]) => {
    if (left === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const bytes = Buffer.concat(buffers).subarray(0, left);
    left -= bytes.length;
    return [bytes];
  };
  return {
    ...NODE_CALLS,
    writev(fd, buffers, position, done) {
      try {
        fs.writev(fd, some(buffers), position as number, done);
      } catch (error) {
        setImmediate(done, error as NodeJS.ErrnoException, 0);
      }
    },
    writevSync: (fd, buffers, position) => fs.writevSync(fd, some(buffers), position ?? undefined),
  };
}

function packetsOf(path: string): { packets: PacketRecord[]; error: unknown } {
  const { records, error } = openCapture(read(path));
  return { packets: records.filter((record) => record.kind === 'packet'), error };
}

async function all(records: AsyncIterable<CaptureRecord>): Promise<CaptureRecord[]> {
  const list: CaptureRecord[] = [];
  for await (const record of records) list.push(record);
  return list;
}

describe('createPcapngFile', () => {
  test('keeps order over many batches, and everything is there after close', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const file = createPcapngFile(path, { application: 'test' });
      const id = file.addInterface({ name: 'tap0' });
      for (let i = 0; i < 20_000; i++) {
        file.packet(id, i, i, FRAME, 0, 60);
        if (i % 5000 === 0) await file.flush();
      }
      await file.close();
      await file.close();
      const { packets, error } = packetsOf(path);
      expect(error).toBeUndefined();
      expect(packets).toHaveLength(20_000);
      expect(packets.every((packet, i) => packet.seconds === i && packet.nanos === i)).toBe(true);
    });
  });

  test('what was written can be seen while the file is open', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      await using file = createPcapngFile(path);
      file.packet(file.addInterface(), 1, 2, FRAME, 0, 60);
      while (fs.statSync(path).size === 0) await sleep(10);
      expect(packetsOf(path)).toMatchObject({ error: undefined, packets: [{ seconds: 1, nanos: 2 }] });
    });
  });

  test('a synchronous flush overtakes a write in flight without doubling or losing a byte', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const file = createPcapngFile(path);
      const id = file.addInterface();
      for (let i = 0; i < 5000; i++) file.packet(id, i, 0, FRAME, 0, 60); // several batches: one is in flight
      file.closeSync();
      const seconds = packetsOf(path).packets.map((packet) => packet.seconds);
      expect(seconds).toEqual(Array.from({ length: 5000 }, (_, i) => i));
      await sleep(20); // the write in flight ends
      expect(packetsOf(path).packets).toHaveLength(5000);
    });
  });

  test('memory is bounded when the disk is behind', async () => {
    await inFolder(async (folder) => {
      const sink = new FileSink(join(folder, 'x'), {
        ...NODE_CALLS,
        writev: (fd, buffers, position, done) =>
          void setTimeout(() => fs.writev(fd, buffers, position as number, done), 50),
      });
      const record = new Uint8Array(65_536);
      for (let i = 0; i < 1000; i++) {
        sink.write(record.slice());
        expect(sink.buffered).toBeLessThanOrEqual(8 * 1024 * 1024 + record.length);
      }
      await sink.close();
      expect(fs.statSync(join(folder, 'x')).size).toBe(1000 * 65_536);
    });
  });

  test.each([0, 1, 95, 96, 500, 1000, 20_000, 150_001])(
    'a disk that is full after %i bytes: one error, and whole packets in the file',
    async (room) => {
      await inFolder(async (folder) => {
        const path = join(folder, 'x.pcapng');
        const errors: Error[] = [];
        const file = createPcapngFile(path, { onError: (error) => errors.push(error) }, fullAfter(room));
        const id = file.addInterface();
        for (let i = 0; i < 4000; i++) file.packet(id, i, 0, FRAME, 0, 60);
        await expect(file.close()).rejects.toMatchObject({ code: 'ENOSPC', path });
        expect(errors).toEqual([file.error]);
        expect(file.error?.message).toMatch(/^capture file .*no space left on device; \d+ bytes are in it/);
        const bytes = read(path);
        expect(bytes.length).toBeLessThanOrEqual(room);
        if (bytes.length > 0) expect(openCapture(bytes).error).toBeUndefined();
        expect(room - bytes.length).toBeLessThan(100); // no more is lost than the packet that did not fit
      });
    },
  );

  test('the same when the last flush is synchronous', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const file = createPcapngFile(path, {}, fullAfter(1000));
      const id = file.addInterface();
      for (let i = 0; i < 50; i++) file.packet(id, i, 0, FRAME, 0, 60);
      file.closeSync();
      expect(file.error).toMatchObject({ code: 'ENOSPC' });
      expect(openCapture(read(path)).error).toBeUndefined();
    });
  });

  test('a write that was on its way when a synchronous flush failed leaves nothing behind', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const full = fullAfter(50_000);
      let begun = 0;
      let landed: () => void = () => {};
      const late = new Promise<void>((resolve) => {
        landed = resolve;
      });
      const file = createPcapngFile(
        path,
        {},
        {
          ...full,
          // The write in flight gets all of its bytes down, but late.
          writev: (fd, buffers, position, done) => {
            begun++;
            const told: typeof done = (error, written) => {
              done(error, written);
              landed();
            };
            setTimeout(() => fs.writev(fd, buffers, position as number, told), 50);
          },
        },
      );
      const id = file.addInterface();
      for (let i = 0; i < 2000; i++) file.packet(id, i, 0, FRAME, 0, 60);
      file.closeSync();
      expect(begun).toBe(1);
      expect(file.error).toMatchObject({ code: 'ENOSPC' });
      const size = fs.statSync(path).size;
      expect(openCapture(read(path)).error).toBeUndefined();
      await late;
      expect(fs.statSync(path).size).toBe(size);
    });
  });

  test('a folder that is not there is the caller’s mistake', () => {
    expect(() => createPcapngFile('/nowhere/at/all.pcapng')).toThrow(/ENOENT/);
  });

  test('a pipe whose reader sleeps: packets are dropped and counted, blocks stay whole', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'pipe');
      execFileSync('mkfifo', [path]);
      const reader = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      const file = createPcapngFile(path);
      const id = file.addInterface();
      const big = new Uint8Array(60_000);
      for (let i = 0; i < 400; i++) file.packet(id, i, 0, big, 0, big.length);
      expect(file.dropped).toBeGreaterThan(200);
      const parts: Uint8Array[] = [];
      const drain = async (until: () => boolean) => {
        for (;;) {
          const buffer = Buffer.alloc(1 << 20);
          try {
            const n = fs.readSync(reader, buffer);
            if (n > 0) parts.push(buffer.subarray(0, n));
            else if (until()) return;
          } catch {
            if (until()) return;
          }
          await sleep(0);
        }
      };
      let flushed = false;
      void file.flush().then(() => {
        flushed = true;
      });
      await drain(() => flushed);
      file.packet(id, 400, 0, FRAME, 0, 60);
      let closed = false;
      void file.close().then(() => {
        closed = true;
      });
      await drain(() => closed);
      fs.closeSync(reader);
      const { records, error } = openCapture(new Uint8Array(Buffer.concat(parts)));
      expect(error).toBeUndefined();
      const packets = records.filter((record) => record.kind === 'packet');
      expect(packets.at(-1)).toMatchObject({ seconds: 400, dropped: file.dropped });
      expect(packets).toHaveLength(401 - file.dropped);
    });
  });
});

describe('readCapture', () => {
  test('a file, and the same gzipped', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const file = createPcapngFile(path);
      const id = file.addInterface();
      for (let i = 0; i < 3000; i++) file.packet(id, i, 0, FRAME, 0, 60);
      await file.close();
      const records = await all(readCapture(path));
      expect(records).toEqual(openCapture(read(path)).records);
      expect(records).toHaveLength(3002);
      fs.writeFileSync(`${path}.gz`, gzipSync(read(path)));
      expect(await all(readCapture(`${path}.gz`))).toEqual(records);
      fs.writeFileSync(`${path}.gz`, gzipSync(read(path)).subarray(0, -40));
      expect((await all(readCapture(`${path}.gz`))).at(-1)).toMatchObject({
        kind: 'error',
        fault: 'compressed',
      });
    });
  });

  test('a fault is the last record, and a file that is not there throws', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x');
      fs.writeFileSync(path, 'not a capture');
      expect(await all(readCapture(path))).toMatchObject([{ kind: 'error', fault: 'unknown format' }]);
      fs.writeFileSync(path, '');
      expect(await all(readCapture(path))).toMatchObject([{ kind: 'error', fault: 'truncated' }]);
      await expect(all(readCapture(join(folder, 'absent')))).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });

  test('leaving early lets go of the file', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'x.pcapng');
      const file = createPcapngFile(path);
      const id = file.addInterface();
      for (let i = 0; i < 3000; i++) file.packet(id, i, 0, FRAME, 0, 60);
      await file.close();
      const records = readCapture(path);
      for await (const record of records) if (record.kind === 'packet') break;
      expect(await records.next()).toEqual({ done: true, value: undefined });
    });
  });
});

describe('createPcapWriter, as npm’s pcap-writer has it', () => {
  test('two writers of different link types do not spoil each other', async () => {
    await inFolder(async (folder) => {
      const a = createPcapWriter(join(folder, 'a.pcap'), 65535, 1);
      const b = createPcapWriter(join(folder, 'b.pcap'), 96, 101);
      expect(a.writePacket(new Uint8Array(1514), 1_700_000_000_123_456)).toBe(true);
      b.writePacket(FRAME.slice(), 5);
      const told = await new Promise<unknown[]>((resolve) => void a.close((...args) => resolve(args)));
      expect(told).toEqual([join(folder, 'a.pcap'), expect.any(Number)]);
      await b.close();
      const [, face, packet] = openCapture(read(join(folder, 'a.pcap'))).records;
      expect(face).toMatchObject({ linkType: 1, snapLength: 65535, resolution: { base: 10, exponent: 6 } });
      expect(packet).toMatchObject({ seconds: 1_700_000_000, nanos: 123_456_000, originalLength: 1514 });
      const [, other, small] = openCapture(read(join(folder, 'b.pcap'))).records;
      expect(other).toMatchObject({ linkType: 101, snapLength: 96 });
      expect(small).toMatchObject({ seconds: 0, nanos: 5000 });
    });
  });

  test('the defaults keep a full Ethernet frame and stamp it now', async () => {
    await inFolder(async (folder) => {
      const writer = createPcapWriter(join(folder, 'a.pcap'));
      const frame = new Uint8Array(1514);
      writer.writePacket(frame);
      frame.fill(255); // the writer made a copy
      await writer.close();
      const packet = packetsOf(join(folder, 'a.pcap')).packets[0]!;
      expect(packet.bytes).toEqual(new Uint8Array(1514));
      expect(Math.abs(packet.seconds - Date.now() / 1000)).toBeLessThan(60);
      expect(() => writer.writePacket(frame)).toThrow(/after close/);
    });
  });

  test('a full disk is told to the callback of close', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'a.pcap');
      const writer = createPcapWriter(path, 0, 1, fullAfter(200));
      for (let i = 0; i < 10; i++) writer.writePacket(FRAME, i);
      const error = await new Promise((resolve) => void writer.close((_file, _ms, cause) => resolve(cause)));
      expect(error).toMatchObject({ code: 'ENOSPC' });
      expect(writer.error).toBe(error);
      expect(packetsOf(path)).toMatchObject({ error: undefined, packets: [{ nanos: 0 }, { nanos: 1000 }] });
    });
  });
});
