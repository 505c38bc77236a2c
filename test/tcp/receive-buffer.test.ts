import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slab } from '../../src/base/slab.ts';
import {
  ADVANCED,
  COPY_BELOW,
  clear,
  createReceiveBuffer,
  DUPLICATE,
  FILLED,
  insert,
  KEPT,
  OUT_OF_ORDER,
  REFUSED,
  type ReceiveBuffer,
  read,
  readInto,
  sackBlocks,
} from '../../src/tcp/receive-buffer.ts';
import { BLOCK_SIZE, createReceivePool } from '../../src/tcp/receive-pool.ts';
import { add } from '../../src/tcp/seq.ts';

const EDGE = 1 << 20;

function make(nxt = 0, pool = createReceivePool()): ReceiveBuffer {
  return createReceiveBuffer({ nxt, pool });
}

/** A slab whose bytes [3, 3 + length) are `value`, or count up from it. */
function slabOf(length: number, value: number | Uint8Array): Slab {
  const bytes = new Uint8Array(length + 6).fill(0xee);
  if (typeof value === 'number') bytes.fill(value, 3, 3 + length);
  else bytes.set(value.subarray(0, length), 3);
  return new Slab(bytes);
}

function put(
  rb: ReceiveBuffer,
  seq: number,
  length: number,
  value: number | Uint8Array = 1,
  edge?: number,
): number {
  return insert(rb, seq, slabOf(length, value), 3, length, edge ?? add(rb.nxt, EDGE));
}

function readAll(rb: ReceiveBuffer, most = Number.MAX_SAFE_INTEGER): { bytes: number[]; calls: number } {
  const bytes: number[] = [];
  let calls = 0;
  read(rb, most, (slab, offset, length) => {
    bytes.push(...slab.bytes.subarray(offset, offset + length));
    calls++;
  });
  return { bytes, calls };
}

function blocks(rb: ReceiveBuffer, most = 4): [number, number][] {
  const into: number[] = [];
  const n = sackBlocks(rb, into, most);
  return Array.from({ length: n }, (_, i) => [into[2 * i]!, into[2 * i + 1]!]);
}

describe('RFC 9293 3.10.7.4, seventh: segment text', () => {
  test('in order: RCV.NXT advances, the user reads', () => {
    const rb = make(0xffff_fffe);
    expect(put(rb, 0xffff_fffe, 4, Uint8Array.from([1, 2, 3, 4]))).toBe(ADVANCED);
    expect(rb).toMatchObject({ nxt: 2, readable: 4, outOfOrderBytes: 0 });
    expect(readAll(rb, 3).bytes).toEqual([1, 2, 3]);
    expect(rb.readable).toBe(1);
    expect(readAll(rb).bytes).toEqual([4]);
    expect(rb).toMatchObject({ readable: 0, held: 0 });
  });

  test('what lies outside the window is trimmed, before and after', () => {
    const rb = make(100);
    expect(put(rb, 100, 0)).toBe(0);
    expect(put(rb, 98, 4, Uint8Array.from([1, 2, 3, 4]))).toBe(ADVANCED | DUPLICATE);
    expect(rb.nxt).toBe(102);
    expect(put(rb, 102, 10, Uint8Array.from([5, 6, 7, 8, 9, 9, 9, 9, 9, 9]), 104)).toBe(ADVANCED);
    expect(readAll(rb).bytes).toEqual([3, 4, 5, 6]);
    expect(put(rb, 104, 5, 1, 104)).toBe(0);
    expect(put(rb, 200, 5, 1, 150)).toBe(0);
    expect(rb).toMatchObject({ nxt: 104, held: 0, outOfOrderBytes: 0 });
  });

  test('out of order waits; the gap filled sets it free', () => {
    const rb = make(0);
    expect(put(rb, 2, 2, 3)).toBe(OUT_OF_ORDER);
    expect(rb).toMatchObject({ readable: 0, outOfOrderBytes: 2, nxt: 0 });
    expect(put(rb, 0, 2, 1)).toBe(ADVANCED | FILLED);
    expect(rb).toMatchObject({ readable: 4, outOfOrderBytes: 0, nxt: 4 });
    expect(rb.outOfOrder).toBeUndefined();
    expect(readAll(rb).bytes).toEqual([1, 1, 3, 3]);
  });

  test('RFC 5681 4.2: a segment that fills part of a gap says so', () => {
    const rb = make(0);
    expect(put(rb, 10, 5)).toBe(OUT_OF_ORDER);
    expect(put(rb, 20, 5)).toBe(OUT_OF_ORDER);
    expect(put(rb, 15, 5)).toBe(OUT_OF_ORDER | FILLED);
    expect(put(rb, 0, 3)).toBe(ADVANCED | FILLED);
    expect(put(rb, 25, 5)).toBe(OUT_OF_ORDER | FILLED);
  });

  test('one segment that fills several gaps and overlaps what lies between', () => {
    const rb = make(0);
    put(rb, 3, 2, 30);
    put(rb, 7, 2, 70);
    expect(put(rb, 0, 12, 1)).toBe(ADVANCED | FILLED | DUPLICATE);
    expect(readAll(rb).bytes).toEqual([1, 1, 1, 30, 30, 1, 1, 70, 70, 1, 1, 1]);
    expect(rb).toMatchObject({ nxt: 12, outOfOrderBytes: 0, held: 0 });
  });

  test('any segments of one stream, in any order, give the stream, across the wrap', () => {
    const stream = Uint8Array.from({ length: 300 }, (_, i) => (i * 7 + (i >> 3)) & 0xff);
    const segment = fc.tuple(fc.nat(299), fc.integer({ min: 1, max: 60 }));
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0xffff_ff00, 0x7fff_ff80),
        fc.array(segment, { maxLength: 60 }),
        fc.nat(40),
        (base, segments, chunk) => {
          const rb = make(base);
          const have = new Set<number>();
          const got: number[] = [];
          let nxt = 0;
          for (const [at, length] of segments) {
            const n = Math.min(length, 300 - at);
            const result = put(rb, add(base, at), n, stream.subarray(at), add(base, 300));
            const before = nxt;
            let duplicate = false;
            for (let i = at; i < at + n; i++) {
              if (i < nxt || have.has(i)) duplicate = true;
              have.add(i);
            }
            while (have.has(nxt)) nxt++;
            expect(rb.nxt).toBe(add(base, nxt));
            expect((result & ADVANCED) !== 0).toBe(nxt > before);
            expect((result & DUPLICATE) !== 0).toBe(duplicate);
            expect(result & REFUSED).toBe(0);
            expect(rb.outOfOrderBytes).toBe([...have].filter((i) => i >= nxt).length);
            got.push(...readAll(rb, chunk).bytes);
            expect(rb.readable).toBe(nxt - got.length);
          }
          got.push(...readAll(rb).bytes);
          expect(got).toEqual([...stream.subarray(0, nxt)]);
          expect(rb.readable).toBe(0);
          if (rb.outOfOrder === undefined) expect(rb.held).toBe(0);
          clear(rb);
          expect(rb.held).toBe(0);
        },
      ),
    );
  });

  test('of bytes that overlap, those that came first stay (hostile 105)', () => {
    // Every segment has a value of its own; the oracle keeps the first value of each place.
    const segment = fc.tuple(fc.nat(80), fc.integer({ min: 1, max: 30 }));
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 30 }), (segments) => {
        const rb = make(0);
        const first: number[] = [];
        segments.forEach(([at, length], value) => {
          put(rb, at, length, value + 1);
          for (let i = at; i < at + length; i++) first[i] ??= value + 1;
        });
        const end = Array.from({ length: 120 }, (_, i) => first[i]).indexOf(undefined);
        expect(rb.nxt).toBe(end);
        expect(readAll(rb).bytes).toEqual(first.slice(0, end));
      }),
    );
  });

  test('bytes that are readable never change, whatever comes after', () => {
    const rb = make(0);
    put(rb, 0, 5, 1);
    const views: Uint8Array[] = [];
    read(rb, 3, (slab, offset, length) => views.push(slab.bytes.subarray(offset, offset + length)));
    for (let i = 0; i < 2000; i++) {
      put(rb, rb.nxt, 100, 2);
      put(rb, 0, 90, 9);
      if (i % 3 === 0) readAll(rb);
    }
    expect(views.map((v) => [...v])).toEqual([[1, 1, 1]]);
  });

  test('readInto copies across ranges', () => {
    const rb = make(0);
    put(rb, 0, COPY_BELOW, 1);
    put(rb, COPY_BELOW, 10, 2);
    put(rb, COPY_BELOW + 10, COPY_BELOW, 3);
    const into = new Uint8Array(2 * COPY_BELOW + 20);
    expect(readInto(rb, into, 5, 7)).toBe(7);
    expect(readInto(rb, into, 12, into.length)).toBe(2 * COPY_BELOW + 3);
    expect([into[4], into[5], into[5 + COPY_BELOW], into[15 + COPY_BELOW]]).toEqual([0, 1, 2, 3]);
    expect(rb).toMatchObject({ readable: 0, held: 0 });
  });
});

describe('memory', () => {
  test('a large payload stays where it is, a small one is copied out (hostile 98)', () => {
    const rb = make(0);
    const slab = slabOf(COPY_BELOW, 7);
    expect(insert(rb, 0, slab, 3, COPY_BELOW, EDGE) & KEPT).toBe(KEPT);
    const small = slabOf(COPY_BELOW - 1, 8);
    expect(insert(rb, rb.nxt, small, 3, COPY_BELOW - 1, EDGE) & KEPT).toBe(0);
    const seen: Slab[] = [];
    read(rb, Infinity, (s) => seen.push(s));
    expect(seen[0]).toBe(slab);
    expect(seen[1]).not.toBe(small);
    expect(insert(rb, rb.nxt + 10, slab, 3, COPY_BELOW, EDGE) & KEPT).toBe(KEPT);
  });

  test('a large payload of which only a few bytes are new is copied', () => {
    const rb = make(10_000);
    expect(insert(rb, 10_000 - COPY_BELOW, slabOf(COPY_BELOW + 5, 1), 3, COPY_BELOW + 5, EDGE)).toBe(
      ADVANCED | DUPLICATE,
    );
  });

  test('small segments of one connection come up as one range', () => {
    const rb = make(0);
    for (let i = 0; i < 20; i++) put(rb, rb.nxt, 1448, i);
    const { bytes, calls } = readAll(rb);
    expect(bytes.length).toBe(20 * 1448);
    expect(calls).toBe(1);
  });

  test('small segments after a gap come up as one range too', () => {
    const rb = make(0);
    for (let i = 1; i < 20; i++) put(rb, 1000 * i, 1000, i);
    put(rb, 0, 1000, 0);
    const { bytes, calls } = readAll(rb);
    expect(bytes.length).toBe(20_000);
    expect(calls).toBe(2);
  });

  test('connections that take turns do not chop each other up', () => {
    const pool = createReceivePool();
    const one = make(0, pool);
    const two = make(0, pool);
    for (let i = 0; i < 1000; i++) {
      put(one, one.nxt, 10, i & 0xff);
      put(two, two.nxt, 10, i & 0xff);
    }
    const a = readAll(one);
    expect(a.calls).toBeLessThan(20);
    expect(a.bytes).toEqual(Array.from({ length: 10_000 }, (_, i) => Math.floor(i / 10) & 0xff));
    expect(readAll(two).bytes).toEqual(a.bytes);
  });

  test('one byte of each of many connections shares one block', () => {
    const pool = createReceivePool();
    const slabs = new Set<Slab>();
    for (let i = 0; i < 10_000; i++) {
      const rb = make(0, pool);
      put(rb, 0, 1, i & 0xff);
      read(rb, 1, (slab) => slabs.add(slab));
      expect(rb).toMatchObject({
        first: undefined,
        last: undefined,
        spare: undefined,
        outOfOrder: undefined,
      });
    }
    expect(slabs.size).toBe(1);
    expect([...slabs][0]!.bytes.length).toBe(BLOCK_SIZE);
  });

  test('memory set aside is at most what waits to be read', () => {
    const pool = createReceivePool();
    const rb = make(0, pool);
    const other = make(0, pool);
    for (let i = 0; i < 500; i++) {
      put(rb, rb.nxt, 50, 1);
      put(other, other.nxt, 1, 1);
      expect(rb.spareEnd - rb.spareAt).toBeLessThanOrEqual(rb.readable);
    }
  });

  test('single bytes with holes between them are bounded (hostile 98), in-order data is not refused', () => {
    const rb = make(0);
    let refused = 0;
    for (let i = 0; i < 5000; i++) if ((put(rb, 2 * i + 1, 1, 5) & REFUSED) !== 0) refused++;
    expect(refused).toBe(5000 - 1024);
    expect(rb.outOfOrderBytes).toBe(1024);
    expect(rb.held).toBeLessThan(1024 * 100);
    expect(put(rb, 0, 10_000, 1) & ADVANCED).toBe(ADVANCED);
    expect(rb).toMatchObject({ nxt: 10_000, outOfOrderBytes: 0 });
  });

  test('pieces in backward order are bounded (hostile 98)', () => {
    const rb = make(0);
    let refused = 0;
    for (let i = 6000; i > 0; i--) if ((put(rb, i, 1, i & 0xff) & REFUSED) !== 0) refused++;
    expect(refused).toBe(6000 - 4096);
    expect(blocks(rb)).toEqual([[6001 - 4096, 6001]]);
    put(rb, 0, 6001 - 4096, 9);
    expect(rb.nxt).toBe(6001);
    expect(readAll(rb).bytes.slice(-4096)).toEqual(
      Array.from({ length: 4096 }, (_, i) => (6001 - 4096 + i) & 0xff),
    );
  });

  test('clear forgets what waits and keeps RCV.NXT', () => {
    const rb = make(0);
    put(rb, 0, 5);
    put(rb, 10, COPY_BELOW);
    clear(rb);
    expect(rb).toMatchObject({ nxt: 5, readable: 0, outOfOrderBytes: 0, held: 0, outOfOrder: undefined });
    expect(readAll(rb).bytes).toEqual([]);
    expect(put(rb, 5, 1)).toBe(ADVANCED);
  });
});

describe('RFC 2018, generating SACK blocks', () => {
  test('3: nothing out of order, nothing to say', () => {
    const rb = make(0);
    put(rb, 0, 100);
    expect(blocks(rb)).toEqual([]);
  });

  test('4: the first block holds the segment that came last, then the most recent before it', () => {
    const rb = make(5000);
    for (const at of [5500, 6500, 7500, 8500, 9500]) put(rb, at, 500);
    expect(blocks(rb)).toEqual([
      [9500, 10000],
      [8500, 9000],
      [7500, 8000],
      [6500, 7000],
    ]);
    put(rb, 6000, 100);
    expect(blocks(rb, 3)).toEqual([
      [5500, 6100],
      [9500, 10000],
      [8500, 9000],
    ]);
    put(rb, 6100, 400);
    expect(blocks(rb, 3)).toEqual([
      [5500, 7000],
      [9500, 10000],
      [8500, 9000],
    ]);
  });

  test('8, case 2: the first segment of eight is lost', () => {
    const rb = make(5000);
    for (let at = 5500; at < 9000; at += 500) {
      put(rb, at, 500);
      expect(blocks(rb)).toEqual([[5500, at + 500]]);
    }
  });

  test('8, case 3: every other segment is lost', () => {
    const rb = make(5000);
    put(rb, 5000, 500);
    put(rb, 6000, 500);
    put(rb, 7000, 500);
    put(rb, 8000, 500);
    expect(blocks(rb, 3)).toEqual([
      [8000, 8500],
      [7000, 7500],
      [6000, 6500],
    ]);
    put(rb, 6500, 500);
    expect(blocks(rb, 3)).toEqual([
      [6000, 7500],
      [8000, 8500],
    ]);
    put(rb, 5500, 500);
    expect(rb.nxt).toBe(7500);
    expect(blocks(rb, 3)).toEqual([[8000, 8500]]);
  });

  test('blocks are disjoint, above RCV.NXT, and hold what came, whatever came', () => {
    const segment = fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(fc.constantFrom(0, 0xffff_ff00), fc.array(segment, { maxLength: 50 }), (base, segments) => {
        const rb = make(base);
        const have = new Set<number>();
        let nxt = 0;
        for (const [at, length] of segments) {
          put(rb, add(base, at), length);
          for (let i = at; i < at + length; i++) have.add(i);
          while (have.has(nxt)) nxt++;
          rb.duplicateLeft = rb.duplicateRight; // looked at below
          const list = blocks(rb).map(([x, y]) => [(x - base) >>> 0, (y - base) >>> 0] as const);
          const runs = new Set<number>();
          for (const i of have) if (i > nxt && !have.has(i - 1)) runs.add(i);
          expect(list.length).toBe(Math.min(4, runs.size));
          expect(new Set(list.map(([x]) => x)).size).toBe(list.length);
          for (const [x, y] of list) {
            expect(runs.has(x)).toBe(true);
            for (let i = x; i < y; i++) expect(have.has(i)).toBe(true);
            expect(have.has(y)).toBe(false);
          }
          if (at >= nxt) expect(list[0]![0] <= at && at + length <= list[0]![1]).toBe(true);
        }
      }),
    );
  });
});

describe('RFC 2883, reporting duplicates', () => {
  test('4: a whole duplicate below RCV.NXT is the first block, once', () => {
    const rb = make(3000);
    put(rb, 3000, 1000);
    put(rb, 4500, 500);
    expect(put(rb, 3000, 500)).toBe(DUPLICATE);
    expect(blocks(rb)).toEqual([
      [3000, 3500],
      [4500, 5000],
    ]);
    expect(blocks(rb)).toEqual([[4500, 5000]]);
  });

  test('4.1.3: a duplicate above RCV.NXT is followed by the block it lies in', () => {
    const rb = make(4000);
    put(rb, 5000, 500);
    put(rb, 6000, 500);
    put(rb, 5500, 500);
    put(rb, 8000, 500);
    expect(put(rb, 5000, 500)).toBe(DUPLICATE);
    expect(blocks(rb)).toEqual([
      [5000, 5500],
      [5000, 6500],
      [8000, 8500],
    ]);
  });

  test('4.2: of a partial duplicate only the contiguous part that came twice', () => {
    const rb = make(500);
    put(rb, 500, 500);
    expect(put(rb, 500, 1000)).toBe(ADVANCED | DUPLICATE);
    expect(blocks(rb)).toEqual([[500, 1000]]);
    put(rb, 2000, 100);
    put(rb, 2200, 100);
    expect(put(rb, 1900, 500)).toBe(OUT_OF_ORDER | FILLED | DUPLICATE);
    expect(blocks(rb)[0]).toEqual([2000, 2100]);
  });
});
