// SipHash-c-d: a keyed hash of short inputs that cannot be forged without the key (Aumasson and Bernstein, 2012).
//
// JavaScript has no 64-bit integers that are quick, so each of the four lanes is two signed 32-bit halves, and a 64-bit
// addition carries by hand. SipHash-2-4 for what strangers see (sequence numbers, cookies); 1-3 for tables.

/** Bytes of a key. */
export const SIPHASH_KEY_LENGTH = 16;

/** A hash with its key. Holds scratch state, so it allocates nothing; not re-entrant, and need not be. */
export class SipHash {
  readonly #k0: number;
  readonly #k1: number;
  readonly #k2: number;
  readonly #k3: number;
  readonly #compress: number;
  readonly #finalize: number;
  /** v0 low, v0 high, v1 low, … v3 high. */
  readonly #v = new Int32Array(8);
  /** The upper 32 bits of the last hash, as u32. */
  high = 0;

  /** `key` has 16 bytes. `compress` and `finalize` are c and d: 2 and 4 for SipHash-2-4, 1 and 3 for SipHash-1-3. */
  constructor(key: Uint8Array, compress = 2, finalize = 4) {
    if (key.length !== SIPHASH_KEY_LENGTH) throw new RangeError('a SipHash key has 16 bytes');
    const view = new DataView(key.buffer, key.byteOffset, SIPHASH_KEY_LENGTH);
    this.#k0 = view.getInt32(0, true);
    this.#k1 = view.getInt32(4, true);
    this.#k2 = view.getInt32(8, true);
    this.#k3 = view.getInt32(12, true);
    this.#compress = compress;
    this.#finalize = finalize;
  }

  /** Hashes [at, at + length) of `view`. Returns the lower 32 bits as u32; the upper ones are in {@link high}. */
  hash(view: DataView, at: number, length: number): number {
    const v = this.#v;
    v[0] = this.#k0 ^ 0x70736575; // "somepseudorandomlygeneratedbytes"
    v[1] = this.#k1 ^ 0x736f6d65;
    v[2] = this.#k2 ^ 0x6e646f6d;
    v[3] = this.#k3 ^ 0x646f7261;
    v[4] = this.#k0 ^ 0x6e657261;
    v[5] = this.#k1 ^ 0x6c796765;
    v[6] = this.#k2 ^ 0x79746573;
    v[7] = this.#k3 ^ 0x74656462;
    const whole = at + (length & ~7);
    for (let i = at; i < whole; i += 8) this.#word(view.getInt32(i, true), view.getInt32(i + 4, true));
    // The last word: what is left over, and the length in the top byte.
    let low = 0;
    let high = length << 24;
    for (let i = 0; i < (length & 7); i++) {
      const byte = view.getUint8(whole + i);
      if (i < 4) low |= byte << (8 * i);
      else high |= byte << (8 * i - 32);
    }
    this.#word(low, high);
    v[4]! ^= 0xff;
    rounds(v, this.#finalize);
    this.high = (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0;
    return (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0;
  }

  #word(low: number, high: number): void {
    const v = this.#v;
    v[6]! ^= low;
    v[7]! ^= high;
    rounds(v, this.#compress);
    v[0]! ^= low;
    v[1]! ^= high;
  }
}

/** `n` SipRounds. A 64-bit rotation by r < 32 moves bits across both halves; by 32 it swaps them. */
function rounds(v: Int32Array, n: number): void {
  let a = v[0]!;
  let A = v[1]!;
  let b = v[2]!;
  let B = v[3]!;
  let c = v[4]!;
  let C = v[5]!;
  let d = v[6]!;
  let D = v[7]!;
  for (let i = 0; i < n; i++) {
    let s = (a >>> 0) + (b >>> 0);
    a = s | 0;
    A = (A + B + (s > 0xffff_ffff ? 1 : 0)) | 0;
    let t = (b << 13) | (B >>> 19);
    B = ((B << 13) | (b >>> 19)) ^ A;
    b = t ^ a;
    t = a;
    a = A;
    A = t;

    s = (c >>> 0) + (d >>> 0);
    c = s | 0;
    C = (C + D + (s > 0xffff_ffff ? 1 : 0)) | 0;
    t = (d << 16) | (D >>> 16);
    D = ((D << 16) | (d >>> 16)) ^ C;
    d = t ^ c;

    s = (a >>> 0) + (d >>> 0);
    a = s | 0;
    A = (A + D + (s > 0xffff_ffff ? 1 : 0)) | 0;
    t = (d << 21) | (D >>> 11);
    D = ((D << 21) | (d >>> 11)) ^ A;
    d = t ^ a;

    s = (c >>> 0) + (b >>> 0);
    c = s | 0;
    C = (C + B + (s > 0xffff_ffff ? 1 : 0)) | 0;
    t = (b << 17) | (B >>> 15);
    B = ((B << 17) | (b >>> 15)) ^ C;
    b = t ^ c;
    t = c;
    c = C;
    C = t;
  }
  v[0] = a;
  v[1] = A;
  v[2] = b;
  v[3] = B;
  v[4] = c;
  v[5] = C;
  v[6] = d;
  v[7] = D;
}
