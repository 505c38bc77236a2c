// The Internet checksum: src/base/checksum.ts (RFC 1071).

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { finish, fold, pseudoHeaderSum, sum, sumJoined } from '../../src/base/checksum.ts';

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** RFC 1071 4.1, in its own words: 16 bits at a time, then the carries. */
function oracle(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (bytes.length % 2 === 1) total += bytes.at(-1)! << 8;
  while (total >>> 16 !== 0) total = (total & 0xffff) + (total >>> 16);
  return total;
}

const data = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.uint8Array({ minLength: 100, maxLength: 2_000 }),
  fc.tuple(fc.nat({ max: 5_000 }), fc.constantFrom(0, 255)).map(([n, byte]) => new Uint8Array(n).fill(byte)),
);

describe('RFC 1071', () => {
  const example = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);

  test('3: the example adds up to ddf2, whose complement is 220d', () => {
    expect(fold(sum(view(example), 0, 8))).toBe(0xddf2);
    expect(finish(sum(view(example), 0, 8))).toBe(0x220d);
  });

  test('3: in two halves, one with an odd count, the same', () => {
    const first = sum(view(example), 0, 3);
    expect(fold(sumJoined(view(example), 3, 8, first, 3))).toBe(0xddf2);
  });

  test('1: an odd last byte is padded with zero', () => {
    expect(fold(sum(view(Uint8Array.of(0x12, 0x34, 0x56)), 0, 3))).toBe(0x1234 + 0x5600);
  });

  test('1: to check, sum everything with the checksum in it: all ones', () => {
    fc.assert(
      fc.property(data, (bytes) => {
        const even = new Uint8Array(2 + bytes.length);
        even.set(bytes, 2);
        view(even).setUint16(0, finish(sum(view(even), 0, even.length)));
        expect(finish(sum(view(even), 0, even.length))).toBe(0);
      }),
    );
  });

  test('2 (A): the order of words does not matter', () => {
    fc.assert(
      fc.property(data, data, (a, b) => {
        const evenA = a.subarray(0, a.length & ~1);
        const evenB = b.subarray(0, b.length & ~1);
        expect(fold(sum(view(evenB), 0, evenB.length, sum(view(evenA), 0, evenA.length)))).toBe(
          fold(sum(view(evenA), 0, evenA.length, sum(view(evenB), 0, evenB.length))),
        );
      }),
    );
  });

  test('2 (B): bytes exchanged in every word exchange the bytes of the sum', () => {
    fc.assert(
      fc.property(data, (bytes) => {
        const even = bytes.slice(0, bytes.length & ~1);
        const swapped = even.map((_, i) => even[i ^ 1]!);
        const s = fold(sum(view(even), 0, even.length));
        expect(fold(sum(view(swapped), 0, swapped.length))).toBe(((s << 8) | (s >>> 8)) & 0xffff);
      }),
    );
  });
});

describe('sum', () => {
  test('is that of the plain algorithm for any length at any place, odd or even, in a view of a larger buffer', () => {
    fc.assert(
      fc.property(data, fc.nat({ max: 9 }), fc.nat({ max: 9 }), (bytes, before, inset) => {
        const buffer = new Uint8Array(inset + before + bytes.length + 11).fill(0xa5);
        buffer.set(bytes, inset + before);
        const inner = new DataView(buffer.buffer, inset);
        expect(fold(sum(inner, before, before + bytes.length))).toBe(oracle(bytes));
      }),
      { numRuns: 500 },
    );
  });

  test('is right at every length around the places where the loops change', () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => (i * 89 + 3) & 255);
    for (let from = 0; from < 4; from++) {
      for (let to = from; to <= 300; to++) {
        expect(fold(sum(view(bytes), from, to))).toBe(oracle(bytes.subarray(from, to)));
      }
    }
  });

  test('goes on from an initial sum', () => {
    expect(sum(new DataView(new ArrayBuffer(0)), 0, 0, 42)).toBe(42);
    fc.assert(
      fc.property(data, fc.nat({ max: 0xffff_ffff }), (bytes, initial) => {
        const expected = fold(oracle(bytes) + initial);
        expect(fold(sum(view(bytes), 0, bytes.length, initial))).toBe(expected);
      }),
    );
  });

  test('ranges cut anywhere and joined give the sum of the whole', () => {
    fc.assert(
      fc.property(data, fc.array(fc.nat({ max: 2_000 }), { maxLength: 6 }), (bytes, cuts) => {
        const places = [...cuts.map((c) => Math.min(c, bytes.length)), 0, bytes.length].sort((a, b) => a - b);
        let total = 0;
        for (let i = 0; i + 1 < places.length; i++) {
          // Each range lies somewhere else, at an odd place.
          const piece = new Uint8Array(places[i + 1]! - places[i]! + 1);
          piece.set(bytes.subarray(places[i], places[i + 1]), 1);
          total = sumJoined(view(piece), 1, piece.length, total, places[i]!);
        }
        expect(fold(total)).toBe(oracle(bytes));
      }),
      { numRuns: 500 },
    );
  });

  test('no number of carries is lost in 64 KB of ones', () => {
    const ones = new Uint8Array(65_535).fill(255);
    expect(fold(sum(view(ones), 0, 65_534, 0xffff_ffff))).toBe(0xffff);
    expect(fold(sum(view(ones), 0, 65_535))).toBe(oracle(ones));
  });
});

test('fold is the remainder by 65535, but for all ones, for any sum below 2^53', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (total) => {
      expect(fold(total) % 0xffff).toBe(total % 0xffff);
      expect(fold(total) === 0).toBe(total === 0);
      expect(finish(total)).toBe(0xffff - fold(total));
    }),
  );
});

test('RFC 9293 3.1, RFC 8200 8.1: the pseudo-header is summed as if it lay in memory', () => {
  const words = fc.tuple(fc.nat({ max: 0xffff_ffff }), fc.nat({ max: 0xffff_ffff }));
  fc.assert(
    fc.property(
      words,
      fc.boolean(),
      fc.nat({ max: 255 }),
      fc.nat({ max: 70_000 }),
      ([a, b], six, protocol, length) => {
        const text = (w: number) =>
          six
            ? `fd00::${(w >>> 16).toString(16)}:${(w & 0xffff).toString(16)}`
            : [24, 16, 8, 0].map((s) => (w >>> s) & 255).join('.');
        const size = six ? 16 : 4;
        const bytes = new Uint8Array(2 * size + 8);
        for (const [i, w] of [a, b].entries()) {
          if (six) bytes[i * size] = 0xfd;
          view(bytes).setUint32(i * size + size - 4, w);
        }
        view(bytes).setUint32(2 * size, length);
        view(bytes).setUint32(2 * size + 4, protocol);
        const source = parseAddress(text(a))!;
        const destination = parseAddress(text(b))!;
        expect(fold(pseudoHeaderSum(source, destination, protocol, length))).toBe(oracle(bytes));
      },
    ),
  );
});
