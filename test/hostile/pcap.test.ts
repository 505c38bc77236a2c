// Hostile class 138: capture files that lie. The reader gives an error as a value, bounds its memory by what really came, and
// never throws.

import { expect, test } from 'vitest';
import { below, seededRandom } from '../../src/base/random.ts';
import { openCapture, SniffingReader } from '../../src/pcap/open.ts';
import { PcapWriter } from '../../src/pcap/pcap.ts';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import type { CaptureRecord } from '../../src/pcap/record.ts';
import { bytes, concat, viewOf } from './craft.ts';

function pcap(): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PcapWriter((b) => parts.push(b.slice()));
  for (let i = 0; i < 5; i++) writer.packet(1000 + i, i, bytes(60 + i), 0, 60 + i);
  return concat(...parts);
}

function pcapng(): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter((b) => parts.push(b.slice()), {
    application: 'test',
    comment: 'a comment',
  });
  const id = writer.addInterface({ name: 'tap0', linkType: 1 });
  for (let i = 0; i < 5; i++) {
    writer.packet(id, 1000 + i, i, bytes(60 + i), 0, 60 + i, {
      direction: i & 1 ? 'in' : 'out',
      comment: `packet ${i}`,
    });
  }
  writer.statistics(id, 2000, 0, { received: 5 });
  return concat(...parts);
}

/** Packet bytes in the records: never more than the file has. */
function held(records: readonly CaptureRecord[]): number {
  let n = 0;
  for (const record of records) if (record.kind === 'packet') n += record.bytes.length;
  return n;
}

/** Reads a file whole and in pieces: both say the same, and neither makes more of it than it is. */
function survives(file: Uint8Array, random = seededRandom(1)): void {
  const { records } = openCapture(file);
  expect(held(records)).toBeLessThanOrEqual(file.length);
  const reader = new SniffingReader();
  const again: CaptureRecord[] = [];
  for (let at = 0; at < file.length; ) {
    const n = 1 + below(random, 100);
    again.push(...reader.push(file.subarray(at, at + n)));
    at += n;
  }
  reader.finish();
  expect(again.filter((r) => r.kind !== 'error').map((r) => r.kind)).toEqual(records.map((r) => r.kind));
}

const LYING = [0, 1, 3, 4, 7, 8, 11, 12, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff];

for (const [name, make] of [
  ['pcap', pcap],
  ['pcapng', pcapng],
] as const) {
  test(`hostile 138: ${name} with every word replaced by a length that lies`, () => {
    const honest = make();
    expect(openCapture(honest).error).toBeUndefined();
    for (let at = 0; at + 4 <= honest.length; at++) {
      for (const lie of LYING) {
        const file = honest.slice();
        viewOf(file).setUint32(at, lie, true);
        survives(file);
      }
      if (at % 4 === 0) survives(honest.subarray(0, at));
    }
  });

  test(`hostile 138: ${name}, 10,000 times mutated`, () => {
    const honest = make();
    const random = seededRandom(138);
    for (let i = 0; i < 10_000; i++) {
      const file = honest.slice(0, i & 1 ? honest.length : below(random, honest.length));
      for (let k = below(random, 8); k >= 0 && file.length > 0; k--)
        file[below(random, file.length)] = below(random, 256);
      survives(file, random);
    }
  });
}

test('hostile 138: unknown and packed files, empty files, and a captured length of 4 GB', () => {
  expect(openCapture(new Uint8Array(0)).error?.fault).toBe('truncated');
  expect(openCapture(bytes(64, () => 0x42)).error?.fault).toBe('unknown format');
  expect(openCapture(concat(Uint8Array.of(0x1f, 0x8b, 8, 0), bytes(60))).error?.fault).toBe('compressed');
  const file = pcap();
  viewOf(file).setUint32(24 + 8, 0xffff_ffff, file[0] === 0xd4 || file[0] === 0x4d);
  expect(openCapture(file).error?.fault).toBe('bad captured length');
});
