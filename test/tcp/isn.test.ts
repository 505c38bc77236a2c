import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { seededRandom } from '../../src/base/random.ts';
import { createIsn } from '../../src/tcp/isn.ts';
import { sub } from '../../src/tcp/seq.ts';

const A = parseAddress('10.0.0.1')!;
const B = parseAddress('10.0.0.2')!;
const C = parseAddress('2001:db8::1')!;

describe('RFC 6528, ISN = M + F(tuple, secret)', () => {
  test('3: M ticks every 4 microseconds, whatever the tuple', () => {
    const { isn } = createIsn(seededRandom(1));
    fc.assert(
      fc.property(fc.nat(), fc.nat(1_000_000_000), fc.nat(65535), (base, later, port) => {
        const now = base * 4;
        const first = isn(now, A, port, B, 80);
        expect(sub(isn(now + later, A, port, B, 80), first)).toBe(Math.floor(later / 4));
        expect(isn(now, A, port, B, 80)).toBe(first);
      }),
    );
  });

  test('3: it stays a u32 when M is beyond 32 bits', () => {
    const { isn } = createIsn(seededRandom(1));
    const lap = 4 * 2 ** 32;
    expect(isn(1000 * lap + 40, A, 1, B, 2)).toBe(isn(40, A, 1, B, 2));
    for (let i = 0; i < 100; i++) {
      const n = isn(i * lap * 0.37, A, i, B, 80);
      expect(Number.isInteger(n) && n >= 0 && n <= 0xffff_ffff).toBe(true);
    }
  });

  test('3: each part of the tuple, and the secret, changes it (hostile 94)', () => {
    const one = createIsn(seededRandom(1));
    const two = createIsn(seededRandom(2));
    const numbers = [
      one.isn(0, A, 1, B, 2),
      one.isn(0, B, 1, A, 2),
      one.isn(0, A, 2, B, 1),
      one.isn(0, A, 1, C, 2),
      one.isn(0, A, 1, B, 3),
      one.isn(0, A, 3, B, 2),
      two.isn(0, A, 1, B, 2),
    ];
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('3: the numbers of neighbouring ports share nothing (hostile 94)', () => {
    const { isn } = createIsn(seededRandom(3));
    // Of 32 bits, a change of port flips sixteen in the mean; in 1000 trials the mean strays by less than 1.
    let flips = 0;
    for (let port = 0; port < 1000; port++) {
      let x = isn(0, A, port, B, 80) ^ isn(0, A, port + 1, B, 80);
      for (; x !== 0; x &= x - 1) flips++;
    }
    expect(flips / 1000).toBeGreaterThan(15);
    expect(flips / 1000).toBeLessThan(17);
  });
});

describe('RFC 7323 7.1, timestamp offsets', () => {
  test('one a pair of addresses, u32, apart from the ISN', () => {
    const isn = createIsn(seededRandom(1));
    const offset = isn.timestampOffset(A, B);
    expect(isn.timestampOffset(A, B)).toBe(offset);
    expect(Number.isInteger(offset) && offset >= 0 && offset <= 0xffff_ffff).toBe(true);
    expect(isn.timestampOffset(A, C)).not.toBe(offset);
    expect(isn.timestampOffset(B, A)).not.toBe(offset);
    expect(isn.isn(0, A, 0, B, 0)).not.toBe(offset);
  });
});
