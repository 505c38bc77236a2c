// Chance is handed in: a host gives unpredictable bits, a simulation gives a seed.

/** A source of random bits. A host that faces a network must give a cryptographic one (RFC 4086). */
export interface Random {
  /** 32 random bits as an unsigned integer. */
  u32(): number;
}

/** A whole number in [0, bound), without bias. `bound` is at most 2^32. */
export function below(random: Random, bound: number): number {
  const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
  for (;;) {
    const r = random.u32();
    if (r < limit) return r % bound;
  }
}

/** A real number in [0, 1) with 32 bits of grain. */
export function unit(random: Random): number {
  return random.u32() / 0x1_0000_0000;
}

export function fillRandom(random: Random, bytes: Uint8Array): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.u32() >>> 24;
  return bytes;
}

/**
 * xoshiro128** by Blackman and Vigna (public domain), seeded by splitmix32: the same seed gives the same bits for
 * ever. For tests and simulations only: it is predictable.
 */
export function seededRandom(seed: number): Random {
  let s = seed >>> 0;
  const split = () => {
    s = (s + 0x9e3779b9) >>> 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let a = split();
  let b = split();
  let c = split();
  let d = split();
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  return {
    u32() {
      const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
      const t = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= t;
      d = rotate(d, 11);
      return result;
    },
  };
}
