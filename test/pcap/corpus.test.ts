import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openCapture, SniffingReader } from '../../src/pcap/open.ts';
import type { CaptureRecord } from '../../src/pcap/record.ts';
import { captureFiles, read, run, withoutCaptures, withoutWireshark } from './files.ts';

/** The name that the corpus gives a block. */
function blockName(record: CaptureRecord): string {
  switch (record.kind) {
    case 'section':
      return 'SHB';
    case 'interface':
      return 'IDB';
    case 'packet':
      return record.timed ? 'EPB' : 'SPB';
    case 'names':
      return 'NRB';
    case 'statistics':
      return 'ISB';
    case 'custom':
      return record.copyable ? 'CB' : 'DCB';
    default:
      return record.kind;
  }
}

describe.skipIf(withoutCaptures)('the pcapng test files of every block type, in both byte orders', () => {
  const files = captureFiles('pcapng-blocks');
  const named = files.map((file) => [file.split('/').slice(-3).join('/'), file] as const);
  test('there are 48', () => expect(files).toHaveLength(48));

  test.each(named)('%s holds the blocks that its description names', (_name, file) => {
    const { records, error } = openCapture(read(file));
    expect(error).toBeUndefined();
    const description = readFileSync(file.replace(/pcapng$/, 'txt'), 'utf8');
    const expected = /Block sequence: (.*)/.exec(description)![1]!.trim().split(', ');
    expect(records.map(blockName)).toEqual(expected);
  });

  test('the two byte orders of a file say the same', () => {
    for (const little of files.filter((file) => file.includes('output_le'))) {
      const [a, b] = [little, little.replace('output_le', 'output_be')].map((file) =>
        openCapture(read(file)).records.map(withoutOrder),
      );
      expect(a, basename(little)).toEqual(b);
    }
  });

  test('pushed byte by byte, a file gives the same records', () => {
    for (const file of files) {
      const bytes = read(file);
      const reader = new SniffingReader();
      const records: CaptureRecord[] = [];
      for (let i = 0; i < bytes.length; i++) records.push(...reader.push(bytes.slice(i, i + 1)));
      expect(reader.finish()).toBeUndefined();
      expect(records).toEqual(openCapture(bytes).records);
    }
  });

  test('what each option says', () => {
    const of = (name: string) =>
      openCapture(read(files.find((file) => file.endsWith(`output_be/${name}.pcapng`))!)).records;
    const [section] = of('basic/test007');
    expect(section).toMatchObject({
      hardware: 'Apple MBP',
      os: 'OS-X 10.10.5',
      application: 'pcap_writer.lua',
      comments: ['test007'],
    });
    const idbs = of('basic/test008').filter((record) => record.kind === 'interface');
    expect(idbs[0]).toMatchObject({
      name: 'eth-_0 foo',
      description: 'silly ethernet interface',
      comments: ['test008, and more\nfoo\r\nbar'],
      fcsLength: 0,
      filter: 'tcp port 23 and host 192.0.2.5',
      os: 'Microsoft Windows for Workgroups 3.11b\npatch 42',
      resolution: { base: 10, exponent: 9 },
      snapLength: 96,
      speed: 1_000_000_000,
      timeOffset: 0,
    });
    expect(idbs[0]!.ipv4.map(({ address, mask }) => `${address} ${mask}`)).toEqual([
      '10.1.2.3 255.255.255.0',
    ]);
    expect(idbs[0]!.ipv6.map(({ address, prefixLength }) => `${address}/${prefixLength}`)).toEqual([
      '2100:db8::1a2b/64',
    ]);
    // Custom and unknown options are handed on as they are, in their order.
    expect(idbs[0]!.options.map(({ code }) => code)).toEqual([2988, 2989, 19372, 19373, 291, 33059]);
    const packets = of('basic/test009').filter((record) => record.kind === 'packet');
    expect(packets).toMatchObject([
      { comments: ['test009-1'], flags: 0, dropped: 0, nanos: 298_858_000, seconds: 1340954905 },
      { comments: ['test009-2'], flags: 0x4800_0000, dropped: 12345, originalLength: 342 },
    ]);
    const names = of('advanced/test100').filter((record) => record.kind === 'names');
    expect(names.map((record) => record.entries.map((e) => `${e.address} ${e.names}`))[3]).toEqual([
      'fc01:dead::beef foo.example.com',
      'fc01:dead::beef foo.example.net',
      '10.1.2.3 foo.example.org',
    ]);
    expect(names.map((record) => record.unknown.map(({ type }) => type))).toEqual([
      [291],
      [],
      [],
      [],
      [291, 33059],
    ]);
    const statistics = of('advanced/test101').filter((record) => record.kind === 'statistics');
    expect(statistics[4]).toMatchObject({
      comments: ['test101 ISB-0'],
      start: { seconds: 1340954905, nanos: 298_858_000 },
      end: { seconds: 1340954905, nanos: 299_858_000 },
      received: 100,
      dropped: 1,
      filterAccepted: 9,
      osDropped: 42,
      delivered: 6,
    });
    const custom = of('basic/test017').filter((record) => record.kind === 'custom');
    expect(custom.map(({ pen, copyable, bytes }) => [pen, copyable, bytes.length])).toEqual([
      [32473, true, 24],
      [32473, false, 60],
      [36724, true, 36],
      [36724, false, 32],
    ]);
  });
});

/** Byte order, and bytes that only their owner can put in order, may differ. */
function withoutOrder(record: CaptureRecord): unknown {
  if (record.kind === 'section') return { ...record, littleEndian: undefined };
  if (record.kind === 'custom') return { ...record, bytes: record.bytes.length };
  return record;
}

describe.skipIf(withoutCaptures || withoutWireshark)('agreement with tshark', () => {
  const files = [...captureFiles('samples'), ...captureFiles('pcapng-blocks')].filter(
    // tshark lists a custom block as a frame of its own.
    (file) => !/test(017|018|102|202)/.test(file),
  );
  const named = files.map((file) => [file.split('/').slice(-3).join('/'), file] as const);
  test.each(named)('%s: times, lengths and interfaces', (_name, file) => {
    const fields = ['frame.time_epoch', 'frame.len', 'frame.cap_len', 'frame.interface_id'];
    const out = run('tshark', ['-r', file, '-T', 'fields', ...fields.flatMap((f) => ['-e', f])]);
    const theirs = out.split('\n').filter((line) => line !== '');
    const ours: string[] = [];
    for (const record of openCapture(read(file)).records) {
      if (record.kind !== 'packet') continue;
      const time = `${record.seconds}.${String(record.nanos).padStart(9, '0')}`;
      ours.push(
        [record.timed ? time : '', record.originalLength, record.bytes.length, record.interfaceId].join('\t'),
      );
    }
    expect(ours).toEqual(theirs);
  });
});
