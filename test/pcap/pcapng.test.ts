import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress, parseCidr } from '../../src/base/address.ts';
import { openCapture, SniffingReader } from '../../src/pcap/open.ts';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import * as ng from '../../src/pcap/pcapng-format.ts';
import { PcapngReader } from '../../src/pcap/pcapng-reader.ts';
import type { CaptureRecord, PacketRecord } from '../../src/pcap/record.ts';
import { concat, inFolder, read, run, withoutWireshark } from './files.ts';
import { expectPiecesToEqualWhole } from './laws.ts';

const ascii = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const FRAME = Uint8Array.from({ length: 61 }, (_, i) => i);

/** A file with every block that the writer knows. */
function everything(littleEndian: boolean): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes), {
    littleEndian,
    application: 'tapstack',
    hardware: 'none',
    os: 'Linux',
    comment: 'héllo, 世界 🌍',
  });
  const tap = writer.addInterface({
    name: 'tap0',
    description: 'a TAP device',
    mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    ipv4: parseCidr('10.7.0.2/24'),
    ipv6: parseCidr('fe80::1/64'),
    speed: 10_000_000_000,
    filter: 'tcp port 80',
    os: 'Linux 6',
    hardware: 'virtual',
    comment: 'first',
    fcsLength: 0,
  });
  const short = writer.addInterface({ name: 'tap1', snapLength: 20 });
  writer.names([
    { address: parseAddress('10.7.0.2')!, names: ['host.example', 'alias.example'] },
    { address: parseAddress('fe80::1')!, names: ['six.example'] },
  ]);
  writer.packet(tap, 1_700_000_000, 123_456_789, FRAME, 0, 61, {
    direction: 'in',
    comment: 'TCP SYN-SENT → ESTABLISHED',
    dropped: 7,
    queue: 3,
  });
  writer.packet(tap, 1_700_000_000, 999_999_999, FRAME, 1, 60, { direction: 'out' });
  writer.packet(short, 1_700_000_001, 0, FRAME, 0, 61);
  writer.packet(tap, 1_700_000_001, 1, FRAME, 0, 0, { originalLength: 1514 });
  writer.secrets(ng.SECRETS_TLS_KEY_LOG, ascii('# key log\n'));
  writer.journal(ascii('__REALTIME_TIMESTAMP=1\nMESSAGE=hello\n\n'));
  writer.custom(32473, Uint8Array.of(1, 2, 3), false);
  writer.raw(0x0bad_b10c, Uint8Array.of(9, 8, 7, 6));
  writer.statistics(tap, 1_700_000_002, 5, {
    received: 2 ** 40 + 1,
    dropped: 3,
    filterAccepted: 4,
    osDropped: 5,
    delivered: 6,
    start: { seconds: 1_700_000_000, nanos: 1 },
    end: { seconds: 1_700_000_002, nanos: 2 },
    comment: 'done',
  });
  return concat(parts);
}

describe.each([true, false])('what the writer wrote, the reader reads (littleEndian %s)', (littleEndian) => {
  const { records, error } = openCapture(everything(littleEndian));
  const kind = <K extends CaptureRecord['kind']>(k: K) =>
    records.filter((r): r is Extract<CaptureRecord, { kind: K }> => r.kind === k);

  test('without an error', () => expect(error).toBeUndefined());

  test('4.1 section header', () => {
    expect(records[0]).toMatchObject({
      kind: 'section',
      format: 'pcapng',
      littleEndian,
      major: 1,
      minor: 0,
      length: undefined,
      application: 'tapstack',
      hardware: 'none',
      os: 'Linux',
      comments: ['héllo, 世界 🌍'],
    });
  });

  test('4.2 interface description', () => {
    const [tap, short] = kind('interface');
    expect(tap).toMatchObject({
      id: 0,
      linkType: 1,
      snapLength: 0,
      name: 'tap0',
      description: 'a TAP device',
      mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
      speed: 1e10,
      filter: 'tcp port 80',
      os: 'Linux 6',
      hardware: 'virtual',
      fcsLength: 0,
      comments: ['first'],
      resolution: { base: 10, exponent: 9 },
      options: [],
    });
    expect(`${tap!.ipv4[0]!.address} ${tap!.ipv4[0]!.mask}`).toBe('10.7.0.2 255.255.255.0');
    expect(`${tap!.ipv6[0]!.address}/${tap!.ipv6[0]!.prefixLength}`).toBe('fe80::1/64');
    expect(short).toMatchObject({ id: 1, name: 'tap1', snapLength: 20 });
  });

  test('4.3 enhanced packets', () => {
    const [a, b, c, d] = kind('packet');
    expect(a).toMatchObject({
      interfaceId: 0,
      seconds: 1_700_000_000,
      nanos: 123_456_789,
      bytes: FRAME,
      originalLength: 61,
      direction: 'in',
      comments: ['TCP SYN-SENT → ESTABLISHED'],
      dropped: 7,
      queue: 3,
      timed: true,
    });
    expect(b).toMatchObject({ direction: 'out', nanos: 999_999_999, bytes: FRAME.subarray(1), flags: 2 });
    expect(c).toMatchObject({ interfaceId: 1, bytes: FRAME.subarray(0, 20), originalLength: 61 });
    expect(d).toMatchObject({
      bytes: new Uint8Array(0),
      originalLength: 1514,
      comments: [],
      direction: undefined,
    });
  });

  test('4.5 names, 4.6 statistics, 4.7 journal, 4.8 secrets, 4.9 custom, unknown', () => {
    expect(kind('names')[0]!.entries.map((e) => `${e.address} ${e.names}`)).toEqual([
      '10.7.0.2 host.example,alias.example',
      'fe80::1 six.example',
    ]);
    expect(kind('statistics')).toMatchObject([
      {
        interfaceId: 0,
        seconds: 1_700_000_002,
        nanos: 5,
        received: 2 ** 40 + 1,
        dropped: 3,
        filterAccepted: 4,
        osDropped: 5,
        delivered: 6,
        start: { seconds: 1_700_000_000, nanos: 1 },
        end: { seconds: 1_700_000_002, nanos: 2 },
        comments: ['done'],
      },
    ]);
    expect(kind('journal')[0]!.bytes).toEqual(ascii('__REALTIME_TIMESTAMP=1\nMESSAGE=hello\n\n'));
    expect(kind('secrets')[0]).toMatchObject({ type: 0x544c534b, bytes: ascii('# key log\n') });
    expect(kind('custom')[0]).toMatchObject({
      pen: 32473,
      copyable: false,
      bytes: Uint8Array.of(1, 2, 3, 0),
    });
    expect(kind('block')[0]).toMatchObject({ type: 0x0badb10c, bytes: Uint8Array.of(9, 8, 7, 6) });
  });

  test('each record knows its place in the file', () => {
    const bytes = everything(littleEndian);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const record of records) {
      expect(record.offset).toBe(at);
      at += view.getUint32(at + 4, littleEndian);
    }
    expect(at).toBe(bytes.length);
  });
});

test('a caller’s mistake: a packet of an interface that was not added', () => {
  const writer = new PcapngWriter(() => {});
  expect(() => writer.packet(0, 0, 0, FRAME, 0, 1)).toThrow(RangeError);
  expect(() => writer.statistics(0, 0, 0)).toThrow(RangeError);
});

test('a comment longer than an option is cut between characters', () => {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes));
  writer.packet(writer.addInterface(), 0, 0, FRAME, 0, 1, { comment: '€'.repeat(30_000) });
  const packet = openCapture(concat(parts)).records.at(-1) as PacketRecord;
  expect(packet.comments[0]).toBe('€'.repeat(Math.floor(65_535 / 3)));
});

test('law: any packet comes back as it went in, to the nanosecond, however the file is cut', () => {
  const packet = fc.record({
    seconds: fc.oneof(fc.nat({ max: 2 ** 31 - 1 }), fc.integer({ min: 0, max: 2 ** 34 - 1 })),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
    bytes: fc.uint8Array({ maxLength: 100 }),
    comment: fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }), { nil: undefined }),
    direction: fc.constantFrom('in', 'out', undefined),
    dropped: fc.option(fc.maxSafeNat(), { nil: undefined }),
  });
  fc.assert(
    fc.property(
      fc.array(packet, { maxLength: 8 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 300 }),
      (packets, le, cut) => {
        const parts: Uint8Array[] = [];
        const writer = new PcapngWriter((bytes) => parts.push(bytes), { littleEndian: le });
        const id = writer.addInterface();
        for (const p of packets) writer.packet(id, p.seconds, p.nanos, p.bytes, 0, p.bytes.length, p);
        const file = concat(parts);
        const reader = new PcapngReader();
        const back: CaptureRecord[] = [];
        for (let at = 0; at < file.length; at += cut) back.push(...reader.push(file.slice(at, at + cut)));
        expect(reader.finish()).toBeUndefined();
        expect(
          back
            .filter((r) => r.kind === 'packet')
            .map((r) => ({
              seconds: r.seconds,
              nanos: r.nanos,
              bytes: r.bytes,
              comment: r.comments[0],
              direction: r.direction,
              dropped: r.dropped,
            })),
        ).toEqual(packets);
      },
    ),
    { numRuns: 200 },
  );
});

describe('class 138: truncation and lies', () => {
  const file = everything(true);
  const whole = openCapture(file).records;

  test('cut at every byte: whole records before the cut, then one error that names the offset', () => {
    const starts = new Set(whole.map((record) => record.offset).concat(file.length));
    for (let length = 0; length < file.length; length++) {
      const { records, error } = openCapture(file.slice(0, length));
      expect(records).toEqual(whole.slice(0, records.length));
      if (length > 0 && starts.has(length)) {
        expect(error).toBeUndefined();
        continue;
      }
      expect(error?.fault).toBe('truncated');
      expect(error?.message).toContain(`at byte ${error?.offset}`);
      expect(starts.has(error?.offset ?? -1)).toBe(true);
    }
  });

  /** The file with one 32-bit word changed: little-endian. */
  const lie = (at: number, value: number) => {
    const bytes = file.slice();
    new DataView(bytes.buffer).setUint32(at, value, true);
    return openCapture(bytes).error;
  };
  const packetAt = whole.find((record) => record.kind === 'packet')!.offset;
  const PACKET_TOTAL = new DataView(file.buffer).getUint32(packetAt + 4, true);
  const interfaceAt = whole.find((record) => record.kind === 'interface')!.offset;
  const namesAt = whole.find((record) => record.kind === 'names')!.offset;
  const secretsAt = whole.find((record) => record.kind === 'secrets')!.offset;
  const statisticsAt = whole.find((record) => record.kind === 'statistics')!.offset;

  test.each([
    ['block length 0', packetAt + 4, 0, 'bad block length'],
    ['block length 8', packetAt + 4, 8, 'bad block length'],
    ['block length below its fixed part', packetAt + 4, 28, 'bad block length'],
    ['block length no multiple of 4', packetAt + 4, 133, 'bad block length'],
    ['block length 2^32 - 4', packetAt + 4, 0xffff_fffc, 'bad block length'],
    ['block length 4 less than true', packetAt + 4, PACKET_TOTAL - 4, 'lengths disagree'],
    ['block length 16 MiB, which the file has not', packetAt + 4, 16 * 1024 * 1024, 'truncated'],
    ['captured length 2^32 - 1', packetAt + 20, 0xffff_ffff, 'bad captured length'],
    ['captured length above the original', packetAt + 20, 62, 'bad captured length'],
    ['interface not there', packetAt + 8, 2, 'unknown interface'],
    ['interface 2^32 - 1', packetAt + 8, 0xffff_ffff, 'unknown interface'],
    ['interface of statistics', statisticsAt + 8, 2, 'unknown interface'],
    ['option length', interfaceAt + 16, 0xfff0_0001, 'bad option'],
    ['name record length', namesAt + 8, 0xffff_0001, 'bad name record'],
    ['secrets length', secretsAt + 12, 0xffff_ffff, 'bad captured length'],
    ['byte-order magic', 8, 0x1a2b3c4e, 'bad byte order'],
    ['version 2.0', 12, 2, 'unsupported version'],
    ['no section header first', 0, 1, 'unknown format'],
  ])('%s', (_name, at, value, fault) => {
    expect(lie(at, value)?.fault).toBe(fault);
  });

  test('the two lengths of a block disagree', () => {
    const view = new DataView(file.buffer, file.byteOffset);
    const total = view.getUint32(packetAt + 4, true);
    const error = lie(packetAt + total - 4, total + 4);
    expect(error).toMatchObject({ fault: 'lengths disagree', offset: packetAt });
    expect(error?.message).toBe(
      `lengths disagree at byte ${packetAt}: the block says ${total} before and ${total + 4} after its body`,
    );
  });

  test('a claim of 16 MiB costs no memory before the bytes come', () => {
    const head = file.slice(0, packetAt + 12);
    new DataView(head.buffer).setUint32(packetAt + 4, 16 * 1024 * 1024, true);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 64 }, () => {
      const reader = new SniffingReader();
      reader.push(head);
      return reader;
    });
    // 64 × 16 MiB is 1 GiB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    expect(readers.every((reader) => reader.finish()?.fault === 'truncated')).toBe(true);
  });

  test('after an error nothing more comes', () => {
    const reader = new PcapngReader();
    const first = reader.push(Uint8Array.from({ length: 40 }, () => 1));
    expect(first.map((record) => record.kind)).toEqual(['error']);
    expect(reader.push(file)).toEqual([]);
    expect(reader.finish()).toBe(first[0]);
  });

  test('law: no bytes make it throw, and mutations give the same in one piece as in many', () => {
    const seeds = fc.constantFrom(file, everything(false));
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        seeds,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 64 }),
        (seed, changes, cut) => {
          const bytes = seed.slice();
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          expectPiecesToEqualWhole(bytes, cut);
        },
      ),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        openCapture(bytes);
        const reader = new PcapngReader();
        reader.push(bytes);
        reader.finish();
        return true;
      }),
      { numRuns: 1000 },
    );
  });
});

describe('timestamps', () => {
  /** One packet with raw ticks on an interface with the given options. */
  function packetAt(high: number, low: number, ...options: [code: number, value: number[]][]): PacketRecord {
    const parts: Uint8Array[] = [];
    const writer = new PcapngWriter((bytes) => parts.push(bytes));
    const list = options.flatMap(([code, value]) => [
      code,
      0,
      value.length,
      0,
      ...value,
      ...new Array((4 - (value.length % 4)) % 4).fill(0),
    ]);
    writer.raw(1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, ...list));
    const body = new Uint8Array(20);
    const view = new DataView(body.buffer);
    view.setUint32(4, high, true);
    view.setUint32(8, low, true);
    writer.raw(6, body);
    return openCapture(concat(parts)).records.at(-1) as PacketRecord;
  }

  test('microseconds when if_tsresol is absent', () => {
    // 1 700 000 000 123 456 µs
    const ticks = 1_700_000_000_123_456n;
    expect(packetAt(Number(ticks >> 32n), Number(ticks & 0xffff_ffffn))).toMatchObject({
      seconds: 1_700_000_000,
      nanos: 123_456_000,
    });
  });

  test('law: every resolution, against whole numbers of any size', () => {
    const offset = fc.constantFrom(0n, 3600n, -3600n);
    const octet = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        octet,
        offset,
        (ticks, resolution, seconds) => {
          const shift = Array.from(new Uint8Array(new BigInt64Array([seconds]).buffer));
          const packet = packetAt(
            Number(ticks >> 32n),
            Number(ticks & 0xffff_ffffn),
            [ng.IF_TSRESOL, [resolution]],
            [ng.IF_TSOFFSET, shift],
          );
          const perSecond = (resolution & 128 ? 2n : 10n) ** BigInt(resolution & 127);
          const whole = ticks / perSecond;
          expect(packet.seconds).toBe(Number(whole) + Number(seconds));
          expect(packet.nanos).toBe(Number(((ticks % perSecond) * 1_000_000_000n) / perSecond));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

test('4.3 the obsolete Packet Block', () => {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => parts.push(bytes));
  writer.addInterface();
  for (const drops of [5, 0xffff]) {
    const body = new Uint8Array(24);
    const view = new DataView(body.buffer);
    view.setUint16(2, drops, true);
    view.setUint32(8, 2_000_000_001, true); // nanoseconds, as the interface has it
    view.setUint32(12, 3, true);
    view.setUint32(16, 60, true);
    body.set([7, 8, 9], 20);
    writer.raw(ng.PACKET, body);
  }
  const [first, second] = openCapture(concat(parts)).records.slice(-2);
  expect(first).toMatchObject({
    kind: 'packet',
    seconds: 2,
    nanos: 1,
    bytes: Uint8Array.of(7, 8, 9),
    originalLength: 60,
    dropped: 5,
  });
  expect(second).toMatchObject({ dropped: undefined });
});

describe.skipIf(withoutWireshark)('Wireshark reads what the writer writes', () => {
  test.each([true, false])(
    'capinfos, tshark and editcap (littleEndian %s)',
    async (littleEndian) => {
      await inFolder((folder) => {
        const path = join(folder, 'all.pcapng');
        writeFileSync(path, everything(littleEndian));
        const info = run('capinfos', [path]);
        expect(info).toContain('Capture comment:     héllo, 世界 🌍');
        expect(info).toContain('Name = tap0');
        expect(info).toContain('Speed = 10000000000');
        expect(info).toContain('Filter string = tcp port 80');
        expect(info).toContain('Time precision = nanoseconds (9)');
        expect(info).toContain('Number of stat entries = 1');
        expect(info).toMatch(/resolved IPv4 addresses in file: 2/);
        expect(info).toMatch(/decryption secrets in file: 1/);
        const fields = [
          'frame.time_epoch',
          'frame.comment',
          'frame.interface_name',
          'frame.packet_flags_direction',
          'frame.drop_count',
          'frame.cap_len',
          'frame.len',
        ];
        const args = ['-r', path, '-Y', 'frame.cap_len', '-T', 'fields', ...fields.flatMap((f) => ['-e', f])];
        expect(run('tshark', args).split('\n').slice(0, 4)).toEqual([
          '1700000000.123456789\tTCP SYN-SENT → ESTABLISHED\ttap0\t0x00000001\t7\t61\t61',
          '1700000000.999999999\t\ttap0\t0x00000002\t\t60\t60',
          '1700000001.000000000\t\ttap1\t\t\t20\t61',
          '1700000001.000000001\t\ttap0\t\t\t0\t1514',
        ]);
        const copy = join(folder, 'copy.pcapng');
        run('editcap', [path, copy]);
        const packets = (file: Uint8Array) =>
          openCapture(file)
            .records.filter((r) => r.kind === 'packet')
            .map(({ seconds, nanos, bytes, comments, direction }) => ({
              seconds,
              nanos,
              bytes,
              comments,
              direction,
            }));
        expect(packets(read(copy))).toEqual(packets(everything(littleEndian)));
      });
    },
    60_000,
  );
});
