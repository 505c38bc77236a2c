import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { add, between, geq, gt, leq, lt, max, min, sub } from '../../src/tcp/seq.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const near = fc.integer({ min: -0x7fff_ffff, max: 0x7fff_ffff });
const TOP = 0xffff_ffff;

describe('RFC 9293 3.4, sequence numbers modulo 2^32', () => {
  test('after the highest number comes 0', () => {
    expect(add(TOP, 1)).toBe(0);
    expect(add(0, -1)).toBe(TOP);
    expect(lt(TOP, 0)).toBe(true);
    expect(gt(0, TOP)).toBe(true);
    expect(sub(0, TOP)).toBe(1);
    expect(sub(TOP, 0)).toBe(-1);
  });

  test('for numbers less than 2^31 apart, order is the order of distance', () => {
    fc.assert(
      fc.property(u32, near, (a, n) => {
        const b = add(a, n);
        expect(sub(b, a)).toBe(n);
        expect(lt(a, b)).toBe(n > 0);
        expect(leq(a, b)).toBe(n >= 0);
        expect(gt(a, b)).toBe(n < 0);
        expect(geq(a, b)).toBe(n <= 0);
        expect(max(a, b)).toBe(n > 0 ? b : a);
        expect(min(a, b)).toBe(n > 0 ? a : b);
      }),
    );
  });

  test('add gives a u32 and undoes itself', () => {
    fc.assert(
      fc.property(u32, near, (a, n) => {
        const b = add(a, n);
        expect(b).toBe(Number((BigInt(a) + BigInt(n) + (1n << 33n)) % (1n << 32n)));
        expect(add(b, -n)).toBe(a);
      }),
    );
  });

  test('between holds exactly for low, low + 1 … high, wherever they wrap', () => {
    fc.assert(
      fc.property(u32, u32, u32, (low, span, step) => {
        const high = add(low, span);
        expect(between(low, add(low, step), high)).toBe(step <= span);
      }),
    );
    expect(between(TOP, 0, 1)).toBe(true);
    expect(between(TOP, 2, 1)).toBe(false);
    expect(between(5, 5, 5)).toBe(true);
    expect(between(5, 4, 5)).toBe(false);
  });
});
