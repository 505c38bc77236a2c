import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SipHash } from '../../src/base/siphash.ts';

const MASK = (1n << 64n) - 1n;
const rotate = (x: bigint, n: bigint) => ((x << n) | (x >> (64n - n))) & MASK;

/** The paper's pseudo-code in 64-bit integers: the oracle. */
function oracle(key: Uint8Array, data: Uint8Array, c: number, d: number): bigint {
  const word = (bytes: Uint8Array, at: number) =>
    Array.from({ length: 8 }, (_, i) => BigInt(bytes[at + i] ?? 0) << BigInt(8 * i)).reduce(
      (a, b) => a | b,
      0n,
    );
  const k0 = word(key, 0);
  const k1 = word(key, 8);
  let [v0, v1, v2, v3] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ] as [bigint, bigint, bigint, bigint];
  const round = (n: number) => {
    for (let i = 0; i < n; i++) {
      v0 = (v0 + v1) & MASK;
      v2 = (v2 + v3) & MASK;
      v1 = rotate(v1, 13n) ^ v0;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = rotate(v0, 32n);
      v2 = (v2 + v1) & MASK;
      v0 = (v0 + v3) & MASK;
      v1 = rotate(v1, 17n) ^ v2;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = rotate(v2, 32n);
    }
  };
  const whole = data.length & ~7;
  for (let at = 0; at < whole; at += 8) {
    const m = word(data, at);
    v3 ^= m;
    round(c);
    v0 ^= m;
  }
  const last = word(data.slice(whole), 0) | (BigInt(data.length & 0xff) << 56n);
  v3 ^= last;
  round(c);
  v0 ^= last;
  v2 ^= 0xffn;
  round(d);
  return v0 ^ v1 ^ v2 ^ v3;
}

function hash64(hash: SipHash, data: Uint8Array): bigint {
  const padded = new Uint8Array(3 + data.length);
  padded.set(data, 3);
  const low = hash.hash(new DataView(padded.buffer), 3, data.length);
  return (BigInt(hash.high) << 32n) | BigInt(low);
}

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i);
const count = (n: number) => Uint8Array.from({ length: n }, (_, i) => i);

describe('SipHash', () => {
  test('the vector of the paper: key 00…0f, message 00…0e', () => {
    expect(hash64(new SipHash(KEY), count(15))).toBe(0xa129ca6149be45e5n);
    expect(oracle(KEY, count(15), 2, 4)).toBe(0xa129ca6149be45e5n);
  });

  test('the first vectors of the reference program', () => {
    const hash = new SipHash(KEY);
    expect(hash64(hash, count(0))).toBe(0x726fdb47dd0e0e31n);
    expect(hash64(hash, count(1))).toBe(0x74f839c593dc67fdn);
  });

  test('messages 0 to 63 bytes long, SipHash-2-4 and 1-3, as 64-bit arithmetic has it', () => {
    const strong = new SipHash(KEY);
    const quick = new SipHash(KEY, 1, 3);
    for (let n = 0; n < 64; n++) {
      expect(hash64(strong, count(n))).toBe(oracle(KEY, count(n), 2, 4));
      expect(hash64(quick, count(n))).toBe(oracle(KEY, count(n), 1, 3));
    }
  });

  test('any key, any message', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.uint8Array({ maxLength: 100 }),
        (key, data) => {
          expect(hash64(new SipHash(key), data)).toBe(oracle(key, data, 2, 4));
        },
      ),
    );
  });

  test('a key has 16 bytes', () => {
    expect(() => new SipHash(new Uint8Array(15))).toThrow(RangeError);
  });
});
