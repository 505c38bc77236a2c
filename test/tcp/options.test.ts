import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createOptions,
  type Options,
  pad,
  parseOptions,
  sackLength,
  writeFastOpen,
  writeMss,
  writeNop,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from '../../src/tcp/options.ts';

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

/** Parses `bytes` where they end exactly at the end of the memory, so that any step too far throws. */
function parse(bytes: readonly number[] | Uint8Array, syn: boolean, into = createOptions()): Options {
  const memory = new Uint8Array(8 + bytes.length).fill(0xff);
  memory.set(bytes, 8);
  parseOptions(new DataView(memory.buffer), 8, memory.length, syn, into);
  return into;
}

const NOTHING = createOptions();

describe('RFC 9293 3.1 and 3.2, options', () => {
  test('no options say nothing', () => {
    expect(parse([], true)).toEqual(NOTHING);
    expect(parse([], false)).toEqual(NOTHING);
  });

  test('a SYN of Linux: MSS, SACK permitted, timestamps, window scale', () => {
    const o = parse([2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 1, 3, 3, 7], true);
    expect(o).toMatchObject({
      mss: 1460,
      sackPermitted: true,
      timestamps: true,
      tsval: 0xdeadbeef,
      tsecr: 0,
      windowScale: 7,
    });
  });

  test('everything written is read back, in any order', () => {
    const blocks = fc.array(u32, { minLength: 0, maxLength: 6 });
    fc.assert(
      fc.property(
        u16,
        fc.nat(14),
        u32,
        u32,
        blocks,
        fc.boolean(),
        (mss, shift, tsval, tsecr, edges, first) => {
          const view = new DataView(new Uint8Array(80).fill(0xff).buffer);
          const count = edges.length >> 1;
          let at = 4;
          if (first) at = writeTimestamps(view, at, tsval, tsecr);
          at = writeMss(view, at, mss);
          at = writeWindowScale(view, at, shift);
          at = writeSackPermitted(view, at);
          if (!first) at = writeTimestamps(view, at, tsval, tsecr);
          at = pad(view, writeNop(view, at), 4);
          expect((at - 4) % 4).toBe(0);
          const o = createOptions();
          parseOptions(view, 4, at, true, o);
          expect(o).toMatchObject({
            mss,
            windowScale: shift,
            sackPermitted: true,
            timestamps: true,
            tsval,
            tsecr,
          });

          const end = pad(view, writeSack(view, writeTimestamps(view, 4, tsval, tsecr), edges, count), 4);
          expect(end - 4).toBe(12 + sackLength(count));
          parseOptions(view, 4, end, false, o);
          expect(o).toMatchObject({ mss: 0, timestamps: true, tsval, tsecr, sackCount: count });
          expect(o.sack.slice(0, 2 * count)).toEqual(edges.slice(0, 2 * count));
        },
      ),
    );
  });

  test('MUST-5: timestamps and SACK in any segment; MUST-6: unknown kinds are stepped over', () => {
    const o = parse(
      [253, 6, 1, 2, 3, 4, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 5, 10, 0, 0, 0, 1, 0, 0, 0, 5],
      false,
    );
    expect(o).toMatchObject({ timestamps: true, tsval: 9, tsecr: 8, sackCount: 1 });
    expect(o.sack.slice(0, 2)).toEqual([1, 5]);
  });

  test('MUST-64: an option may start at any byte', () => {
    for (let n = 0; n < 8; n++) {
      expect(parse([...new Array<number>(n).fill(1), 2, 4, 0x05, 0xb4], true).mss).toBe(1460);
    }
  });

  test('MUST-69: the list is padded with zeros to 32 bits', () => {
    for (let n = 0; n < 4; n++) {
      const bytes = new Uint8Array(12).fill(0xff);
      const end = pad(new DataView(bytes.buffer), 3 + n, 3);
      expect(end).toBe(n === 0 ? 3 : 7);
      expect([...bytes.slice(3 + n, end)].every((b) => b === 0)).toBe(true);
      expect(bytes[end]).toBe(0xff);
    }
  });

  test('RFC 7323 2.3: a shift count above 14 is taken as 14 (hostile 86)', () => {
    for (let shift = 0; shift < 256; shift++) {
      expect(parse([3, 3, shift], true).windowScale).toBe(Math.min(shift, 14));
    }
  });

  test('an MSS of 0 says nothing (hostile 71)', () => {
    expect(parse([2, 4, 0, 0], true).mss).toBe(0);
    expect(parse([2, 4, 0, 0, 2, 4, 2, 0], true).mss).toBe(512);
  });

  test('MSS, window scale, SACK permitted and Fast Open count only in a SYN (hostile 88)', () => {
    const bytes = [2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 34, 6, 1, 2, 3, 4];
    expect(parse(bytes, false)).toEqual(NOTHING);
    expect(parse(bytes, true)).toMatchObject({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      fastOpen: true,
    });
  });

  test('a SYN carries no SACK blocks', () => {
    expect(parse([5, 10, 0, 0, 0, 1, 0, 0, 0, 2], true).sackCount).toBe(0);
  });

  test('of two options of one kind the first counts (hostile 88)', () => {
    const syn = parse([2, 4, 1, 0, 2, 4, 2, 0, 3, 3, 1, 3, 3, 2, 34, 2, 34, 6, 1, 2, 3, 4], true);
    expect(syn).toMatchObject({ mss: 0x100, windowScale: 1, fastOpen: true, fastOpenLength: 0 });
    const ts = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4];
    expect(parse(ts, false)).toMatchObject({ tsval: 1, tsecr: 2 });
    expect(parse([1, 1, ...ts], false)).toMatchObject({ tsval: 1, tsecr: 2 });
    const sack = [5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4];
    expect(parse(sack, false).sack.slice(0, 2)).toEqual([1, 2]);
  });

  test('MUST-7: a length of 0 or 1, or past the end, stops the reading (hostile 69, 70)', () => {
    for (const kind of [2, 3, 4, 5, 8, 34, 77, 255]) {
      for (const length of [0, 1, 9, 255]) {
        expect(parse([kind, length, 2, 4, 5, 0xb4], true)).toEqual(NOTHING);
      }
      expect(parse([kind], true)).toEqual(NOTHING);
      expect(parse([1, kind], false)).toEqual(NOTHING);
    }
  });

  test('an option whose length is not its kind’s is ignored, what follows is read (hostile 75)', () => {
    const mss = [2, 4, 5, 0xb4];
    for (const [kind, right] of [
      [3, [3]],
      [4, [2]],
      [8, [10]],
      [34, [2, 6, 8, 10, 12, 14, 16, 18]],
    ] as const) {
      for (let length = 2; length <= 30; length++) {
        const bytes = [kind, length, ...new Array<number>(length - 2).fill(1), ...mss];
        const o = parse(bytes, true);
        expect(o.mss).toBe(1460);
        const seen = o.windowScale >= 0 || o.sackPermitted || o.timestamps || o.fastOpen;
        expect(seen).toBe((right as readonly number[]).includes(length));
      }
    }
    for (let length = 2; length <= 38; length++) {
      const o = parse([5, length, ...new Array<number>(length - 2).fill(1)], false);
      expect(o.sackCount).toBe([10, 18, 26, 34].includes(length) ? (length - 2) / 8 : 0);
    }
    expect(parse([2, 3, 9, ...mss], true).mss).toBe(1460);
  });

  test('nothing after the end of the list is read, nor its padding (hostile 89)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 39 }), fc.boolean(), (rest, syn) => {
        expect(parse([0, ...rest], syn)).toEqual(NOTHING);
      }),
    );
  });

  test('any bytes at all: it ends, stays inside, keeps every bound (hostile 89)', () => {
    const kind = fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 34, 253);
    const soup = fc.array(fc.oneof(kind, fc.nat(255), fc.nat(20)), { maxLength: 40 });
    fc.assert(
      fc.property(soup, fc.boolean(), (bytes, syn) => {
        const o = parse(bytes, syn);
        expect(o.windowScale).toBeGreaterThanOrEqual(-1);
        expect(o.windowScale).toBeLessThanOrEqual(14);
        expect(o.sackCount).toBeLessThanOrEqual(4);
        expect(o.sack.length).toBe(8);
        expect(o.fastOpenAt + o.fastOpenLength).toBeLessThanOrEqual(8 + bytes.length);
        // The same bytes with the same record give the same answer: nothing is left over.
        expect(parse(bytes, syn, parse([2, 4, 9, 9, 3, 3, 9, 4, 2, 34, 2], true))).toEqual({
          ...o,
          sack: expect.anything(),
        });
      }),
      { numRuns: 500 },
    );
  });

  test('cut at every byte, an option list never yields more than it did whole', () => {
    const whole = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 5, 0xb4, 4, 2, 3, 3, 7];
    for (let n = 0; n <= whole.length; n++) {
      const o = parse(whole.slice(0, n), true);
      expect(o.timestamps).toBe(n >= 12);
      expect(o.mss).toBe(n >= 16 ? 1460 : 0);
      expect(o.sackPermitted).toBe(n >= 18);
      expect(o.windowScale).toBe(n >= 21 ? 7 : -1);
    }
  });

  test('RFC 7413 2: Fast Open, a request or a cookie of 4 to 16 bytes', () => {
    const cookie = Uint8Array.from([9, 8, 7, 6, 5, 4, 3, 2]);
    const view = new DataView(new ArrayBuffer(20));
    const o = createOptions();
    parseOptions(view, 0, writeFastOpen(view, 0, cookie, 0, 0), true, o);
    expect(o).toMatchObject({ fastOpen: true, fastOpenLength: 0 });
    parseOptions(view, 4, writeFastOpen(view, 4, cookie, 2, 6), true, o);
    expect(o).toMatchObject({ fastOpen: true, fastOpenAt: 6, fastOpenLength: 6 });
    expect([...new Uint8Array(view.buffer, o.fastOpenAt, 6)]).toEqual([7, 6, 5, 4, 3, 2]);
  });
});
