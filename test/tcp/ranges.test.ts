import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addRange,
  clear,
  contains,
  covered,
  createRanges,
  find,
  gapEnd,
  highest,
  isEmpty,
  leftOf,
  nextGap,
  type Ranges,
  removeBelow,
  rightOf,
} from '../../src/tcp/ranges.ts';
import { add } from '../../src/tcp/seq.ts';

/** Bases around which a window wraps, and one where it does not. */
const base = fc.constantFrom(0, 1000, 0x7fff_ff80, 0xffff_ff80, 0xffff_ffff);
const SPAN = 200;

type Step = { kind: 'add'; at: number; length: number } | { kind: 'remove'; at: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('add' as const), at: fc.nat(SPAN), length: fc.nat(30) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), at: fc.nat(SPAN) }) },
);

function edges(r: Ranges): [number, number][] {
  return Array.from({ length: r.count }, (_, i) => [leftOf(r, i), rightOf(r, i)]);
}

describe('ranges of sequence numbers behave as a set of integers', () => {
  test('add, remove, ask: the same as a Set, across the wrap', () => {
    fc.assert(
      fc.property(base, fc.array(step, { maxLength: 40 }), (b, steps) => {
        const r = createRanges(1000);
        const model = new Set<number>();
        for (const s of steps) {
          if (s.kind === 'add') {
            const before = model.size;
            for (let i = 0; i < s.length; i++) model.add(s.at + i);
            expect(addRange(r, add(b, s.at), add(b, s.at + s.length))).toBe(model.size - before);
          } else {
            removeBelow(r, add(b, s.at));
            for (const n of [...model]) if (n < s.at) model.delete(n);
          }
          expect(r.total).toBe(model.size);
          expect(isEmpty(r)).toBe(model.size === 0);
        }
        const sorted = [...model].sort((x, y) => x - y);
        const runs: [number, number][] = [];
        for (const n of sorted) {
          const last = runs[runs.length - 1];
          if (last !== undefined && last[1] === n) last[1]++;
          else runs.push([n, n + 1]);
        }
        expect(edges(r)).toEqual(runs.map(([x, y]) => [add(b, x), add(b, y)]));
        if (runs.length > 0) expect(highest(r)).toBe(add(b, runs[runs.length - 1]![1]));
        for (let n = 0; n <= SPAN + 31; n++) {
          const has = model.has(n);
          expect(contains(r, add(b, n))).toBe(has);
          expect(find(r, add(b, n))).toBe(runs.findIndex(([x, y]) => x <= n && n < y));
          let gap = n;
          while (model.has(gap)) gap++;
          expect(nextGap(r, add(b, n))).toBe(add(b, gap));
          if (!has) {
            let end = n;
            while (!model.has(end) && end < SPAN + 40) end++;
            expect(gapEnd(r, add(b, n), add(b, SPAN + 40))).toBe(add(b, end));
          }
        }
      }),
    );
  });

  test('covered counts what lies within', () => {
    fc.assert(
      fc.property(
        base,
        fc.array(fc.tuple(fc.nat(SPAN), fc.nat(20)), { maxLength: 15 }),
        fc.nat(SPAN),
        fc.nat(SPAN),
        (b, adds, x, y) => {
          const r = createRanges(100);
          const model = new Set<number>();
          for (const [at, length] of adds) {
            addRange(r, add(b, at), add(b, at + length));
            for (let i = 0; i < length; i++) model.add(at + i);
          }
          const expected = [...model].filter((n) => x <= n && n < y).length;
          expect(covered(r, add(b, x), add(b, y))).toBe(expected);
        },
      ),
    );
  });

  test('ranges that touch are one', () => {
    const r = createRanges(4);
    addRange(r, 10, 20);
    addRange(r, 30, 40);
    expect(addRange(r, 20, 30)).toBe(10);
    expect(edges(r)).toEqual([[10, 40]]);
  });

  test('an empty or turned range adds nothing', () => {
    const r = createRanges(4);
    expect(addRange(r, 5, 5)).toBe(0);
    expect(addRange(r, 6, 5)).toBe(0);
    expect(r.count).toBe(0);
  });

  test('a full set refuses one more, still merges and grows those it has (hostile 74, 98)', () => {
    const r = createRanges(3);
    for (const at of [0, 10, 20]) expect(addRange(r, at, at + 5)).toBe(5);
    expect(addRange(r, 30, 35)).toBe(0);
    expect(addRange(r, 7, 8)).toBe(0);
    expect(edges(r)).toEqual([
      [0, 5],
      [10, 15],
      [20, 25],
    ]);
    expect(addRange(r, 5, 12)).toBe(5);
    expect(addRange(r, 30, 35)).toBe(5);
    expect(edges(r)).toEqual([
      [0, 15],
      [20, 25],
      [30, 35],
    ]);
    clear(r);
    expect([r.count, r.total, edges(r).length]).toEqual([0, 0, 0]);
  });
});
