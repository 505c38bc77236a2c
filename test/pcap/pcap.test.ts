import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openCapture } from '../../src/pcap/open.ts';
import { PcapReader, PcapWriter } from '../../src/pcap/pcap.ts';
import type { CaptureRecord } from '../../src/pcap/record.ts';
import { decodeUtf8, encodeUtf8 } from '../../src/pcap/utf8.ts';
import { captureFiles, concat, inFolder, read, run, withoutCaptures, withoutWireshark } from './files.ts';
import { expectPiecesToEqualWhole } from './laws.ts';

const FRAME = Uint8Array.from({ length: 60 }, (_, i) => i);

function file(options: { littleEndian?: boolean; nanoseconds?: boolean; snapLength?: number } = {}) {
  const parts: Uint8Array[] = [];
  const writer = new PcapWriter((bytes) => parts.push(bytes), options);
  writer.packet(1_700_000_000, 123_456_789, FRAME, 0, 60);
  writer.packet(4_294_967_295, 999_999_999, FRAME, 10, 20, 1514);
  writer.packet(0, 0, FRAME, 0, 0);
  return concat(parts);
}

describe.each([
  { littleEndian: true, nanoseconds: true },
  { littleEndian: true, nanoseconds: false },
  { littleEndian: false, nanoseconds: true },
  { littleEndian: false, nanoseconds: false },
])('a pcap file, $littleEndian $nanoseconds', (options) => {
  const bytes = file(options);

  test('comes back', () => {
    const { records, error } = openCapture(bytes);
    expect(error).toBeUndefined();
    expect(records).toMatchObject([
      { kind: 'section', format: 'pcap', littleEndian: options.littleEndian, major: 2, minor: 4 },
      {
        kind: 'interface',
        linkType: 1,
        snapLength: 262_144,
        resolution: { base: 10, exponent: options.nanoseconds ? 9 : 6 },
      },
      {
        kind: 'packet',
        offset: 24,
        seconds: 1_700_000_000,
        nanos: options.nanoseconds ? 123_456_789 : 123_456_000,
        bytes: FRAME,
        originalLength: 60,
        timed: true,
      },
      {
        kind: 'packet',
        offset: 100,
        seconds: 4_294_967_295,
        nanos: options.nanoseconds ? 999_999_999 : 999_999_000,
        bytes: FRAME.subarray(10, 30),
        originalLength: 1514,
      },
      { kind: 'packet', offset: 136, seconds: 0, nanos: 0, bytes: new Uint8Array(0), originalLength: 0 },
    ]);
  });

  test('cut at every byte it gives whole records and one error', () => {
    const whole = openCapture(bytes).records;
    const ends = new Set([24, 100, 136, 152]);
    for (let length = 0; length < bytes.length; length++) {
      const { records, error } = openCapture(bytes.slice(0, length));
      expect(records).toEqual(whole.slice(0, records.length));
      expect(error?.fault).toBe(ends.has(length) ? undefined : 'truncated');
    }
  });

  test('pushed byte by byte it gives the same', () => {
    const reader = new PcapReader();
    const records: CaptureRecord[] = [];
    for (const byte of bytes) records.push(...reader.push(Uint8Array.of(byte)));
    expect(reader.finish()).toBeUndefined();
    expect(records).toEqual(openCapture(bytes).records);
  });
});

test('the writer cuts packets to the snap length', () => {
  const { records } = openCapture(file({ snapLength: 16 }));
  expect(records[2]).toMatchObject({ bytes: FRAME.subarray(0, 16), originalLength: 60 });
});

describe('class 138', () => {
  const lie = (at: number, value: number) => {
    const bytes = file();
    new DataView(bytes.buffer).setUint32(at, value, true);
    return openCapture(bytes).error;
  };

  test.each([
    ['captured length 2^32 - 1', 32, 0xffff_ffff, 'bad captured length'],
    ['captured length above the original', 32, 61, 'bad captured length'],
    ['captured length above libpcap’s limit', 32, 262_145, 'bad captured length'],
    ['unknown magic', 0, 0x12345678, 'unknown format'],
    ['version 3', 4, 3, 'unsupported version'],
    ['version 2.2', 4, 0x0002_0002, 'unsupported version'],
  ])('%s', (_name, at, value, fault) => {
    expect(lie(at, value)).toMatchObject({ kind: 'error', fault });
  });

  test('the message names offset and cause', () => {
    expect(lie(32, 61)?.message).toBe('bad captured length at byte 24: 61 bytes captured of a packet of 60');
  });

  test('snap length 0 means no limit', () => {
    const bytes = file();
    new DataView(bytes.buffer).setUint32(16, 0, true);
    expect(openCapture(bytes).error).toBeUndefined();
  });

  test('a fraction of a second or more is carried', () => {
    const bytes = file({ nanoseconds: false });
    new DataView(bytes.buffer).setUint32(28, 2_500_000, true);
    expect(openCapture(bytes).records[2]).toMatchObject({ seconds: 1_700_000_002, nanos: 500_000_000 });
  });

  test('packed files say what to do', () => {
    const error = openCapture(new Uint8Array(gzipSync(file()))).error;
    expect(error).toMatchObject({ fault: 'compressed', offset: 0 });
    expect(error?.message).toContain('gzip');
    expect(openCapture(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)).error?.message).toContain('zstd');
  });

  test('no file at all, and less than a magic', () => {
    expect(openCapture(new Uint8Array(0)).error).toMatchObject({ fault: 'truncated', offset: 0 });
    expect(openCapture(Uint8Array.of(0xa1, 0xb2)).error).toMatchObject({ fault: 'truncated', offset: 0 });
    expect(new PcapReader().finish()).toMatchObject({ fault: 'truncated' });
  });

  test('law: mutations never throw, and one piece or many is the same', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(file(), file({ littleEndian: false })),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 40 }),
        (seed, changes, cut) => {
          const bytes = seed.slice();
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          expectPiecesToEqualWhole(bytes, cut);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

test('the modified format of 0xa1b2cd34', () => {
  const bytes = new Uint8Array(24 + 24 + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2cd34);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, 65535);
  view.setUint32(20, 0x2400_0001); // FCS of 2 × 16 bits, Ethernet
  view.setUint32(24, 7);
  view.setUint32(28, 8);
  view.setUint32(32, 4);
  view.setUint32(36, 4);
  view.setUint32(40, 1);
  view.setUint8(46, 4); // outgoing
  bytes.set([1, 2, 3, 4], 48);
  const { records, error } = openCapture(bytes);
  expect(error).toBeUndefined();
  expect(records[1]).toMatchObject({ kind: 'interface', linkType: 1, fcsLength: 4 });
  expect(records[2]).toMatchObject({
    seconds: 7,
    nanos: 8000,
    bytes: Uint8Array.of(1, 2, 3, 4),
    direction: 'out',
  });
});

test('law: UTF-8 as the platform has it, both ways', () => {
  const encoder = new TextEncoder();
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(encodeUtf8(text)).toEqual(encoder.encode(text));
      expect(decodeUtf8(encoder.encode(text))).toBe(
        new TextDecoder('utf-8', { ignoreBOM: true }).decode(encoder.encode(text)),
      );
    }),
  );
  expect(decodeUtf8(Uint8Array.of(0x61, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xff, 0x62))).toBe(
    'a\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdb',
  );
  expect(encodeUtf8('€€', 5)).toEqual(encoder.encode('€'));
  expect(encodeUtf8('\ud800x')).toEqual(encoder.encode('\ufffdx'));
});

describe.skipIf(withoutWireshark)('Wireshark', () => {
  test.skipIf(withoutCaptures)(
    'what editcap makes of a sample as pcap, we read the same as the pcapng',
    async () => {
      await inFolder((folder) => {
        const packets = (path: string) =>
          openCapture(read(path))
            .records.filter((r) => r.kind === 'packet')
            .map(({ seconds, nanos, bytes, originalLength }) => ({ seconds, nanos, bytes, originalLength }));
        const sample = captureFiles('samples').find((path) => path.endsWith('http_post.pcapng'))!;
        for (const format of ['pcap', 'nsecpcap', 'modpcap']) {
          const path = join(folder, `x.${format}`);
          run('editcap', ['-F', format, sample, path]);
          expect(packets(path), format).toEqual(packets(sample));
        }
      });
    },
    60_000,
  );

  test.each([
    [true, true],
    [false, false],
  ])(
    'reads what we write (littleEndian %s, nanoseconds %s)',
    async (littleEndian, nanoseconds) => {
      await inFolder((folder) => {
        const path = join(folder, 'x.pcap');
        writeFileSync(path, file({ littleEndian, nanoseconds }).subarray(0, 136));
        const fields = ['frame.time_epoch', 'frame.cap_len', 'frame.len'].flatMap((f) => ['-e', f]);
        expect(run('tshark', ['-r', path, '-T', 'fields', ...fields])).toBe(
          nanoseconds
            ? '1700000000.123456789\t60\t60\n4294967295.999999999\t20\t1514\n'
            : '1700000000.123456000\t60\t60\n4294967295.999999000\t20\t1514\n',
        );
        expect(run('capinfos', [path])).toContain('Number of packets:   2');
      });
    },
    60_000,
  );
});
