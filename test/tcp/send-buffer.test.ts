import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Frame, makeFrames } from '../../src/base/packet.ts';
import { SlabPool } from '../../src/base/slab.ts';
import {
  ack,
  attachRange,
  clear,
  createSendBuffer,
  room,
  type SendBuffer,
  write,
} from '../../src/tcp/send-buffer.ts';

const pools = (small = 4096, large = 65536) => ({
  small: new SlabPool(small, 64),
  large: new SlabPool(large, 64),
});

const count = (n: number, from = 0) =>
  Uint8Array.from({ length: n }, (_, i) => ((from + i) * 31 + ((from + i) >> 8)) & 0xff);

function frame(): Frame {
  return makeFrames(1)[0]!;
}

/** The payload of a frame that holds nothing else. */
function payload(f: Frame): Uint8Array {
  const bytes = new Uint8Array(f.length);
  f.copyTo(bytes, 0);
  return bytes;
}

function inUse(sb: SendBuffer): number {
  return sb.pools.small.inUse + sb.pools.large.inUse;
}

describe('bytes from the user until the ACK', () => {
  test('write takes what there is room for', () => {
    const sb = createSendBuffer(pools(), 10);
    expect(room(sb)).toBe(10);
    expect(write(sb, count(20), 3, 7)).toBe(7);
    expect(write(sb, count(20), 0, 20)).toBe(3);
    expect(write(sb, count(20), 0, 20)).toBe(0);
    expect([sb.length, room(sb)]).toEqual([10, 0]);
    ack(sb, 4);
    expect([sb.length, room(sb)]).toEqual([6, 4]);
    sb.limit = 2;
    expect(room(sb)).toBe(0);
  });

  test('the bytes are copied: the user may use his memory again', () => {
    const sb = createSendBuffer(pools(), 100_000);
    const mine = count(1000);
    write(sb, mine, 0, 1000);
    mine.fill(0);
    const f = frame();
    expect(attachRange(sb, 0, 1000, f)).toBe(1000);
    expect(payload(f)).toEqual(count(1000));
  });

  test('an empty buffer, before and after, holds no block', () => {
    const sb = createSendBuffer(pools(), 1 << 20);
    expect(inUse(sb)).toBe(0);
    for (let i = 0; i < 5; i++) {
      write(sb, count(100), 0, 100);
      expect(inUse(sb)).toBe(1);
      ack(sb, 100);
      expect(inUse(sb)).toBe(0);
    }
    expect(sb.ring.length).toBe(1);
  });

  test('little goes to a small block, much to large ones', () => {
    const sb = createSendBuffer(pools(), 1 << 20);
    write(sb, count(100), 0, 100);
    expect([sb.pools.small.inUse, sb.pools.large.inUse]).toEqual([1, 0]);
    clear(sb);
    write(sb, count(65536), 0, 65536);
    expect([sb.pools.small.inUse, sb.pools.large.inUse]).toEqual([0, 1]);
    write(sb, count(65536), 0, 65536);
    expect(inUse(sb)).toBe(2);
    clear(sb);
    expect(inUse(sb)).toBe(0);
    // Many small writes end in large blocks too.
    for (let i = 0; i < 1000; i++) write(sb, count(100), 0, 100);
    expect(sb.pools.small.inUse).toBeLessThanOrEqual(2);
    expect(sb.pools.large.inUse).toBe(2);
  });

  test('nothing beyond the end is attached', () => {
    const sb = createSendBuffer(pools(), 1000);
    const f = frame();
    expect(attachRange(sb, 0, 10, f)).toBe(0);
    write(sb, count(20), 0, 20);
    expect(attachRange(sb, 15, 10, f)).toBe(5);
    expect(payload(f)).toEqual(count(5, 15));
    expect(attachRange(sb, 20, 1, frame())).toBe(0);
    expect(attachRange(sb, 21, 1, frame())).toBe(0);
    expect(attachRange(sb, 5, 0, frame())).toBe(0);
  });

  test('few bytes travel in the frame, more stay where they lie', () => {
    const sb = createSendBuffer(pools(), 1 << 20);
    write(sb, count(2000), 0, 2000);
    const small = frame();
    attachRange(sb, 0, 100, small);
    expect(small.a).toBeUndefined();
    const big = frame();
    attachRange(sb, 0, 1460, big);
    expect([big.aLength, big.bLength]).toEqual([1460, 0]);
  });

  test('a range over many blocks: leading bytes inline, then two ranges, in order', () => {
    const sb = createSendBuffer(pools(1000, 1000), 1 << 20);
    write(sb, count(10_000), 0, 10_000);
    const f = frame();
    expect(attachRange(sb, 700, 2500, f)).toBe(2500);
    expect(payload(f)).toEqual(count(2500, 700));
    expect(f.b).toBeDefined();
    const long = frame();
    // Two thousand bytes go nowhere inline beyond the room of a frame: the rest is left for the next one.
    const n = attachRange(sb, 0, 10_000, long);
    expect(n).toBeGreaterThanOrEqual(2000);
    expect(n).toBeLessThan(10_000);
    expect(payload(long)).toEqual(count(n));
    f.reset();
    long.reset();
    clear(sb);
    expect(inUse(sb)).toBe(0);
  });

  test('a super-frame of 64 KB out of bulk writes goes whole, wherever it starts', () => {
    const sb = createSendBuffer(pools(), 1 << 20);
    const bulk = count(65536 * 4);
    for (let i = 0; i < 4; i++) write(sb, bulk, 65536 * i, 65536);
    for (const at of [0, 1, 1460, 65535, 65536, 100_000, 65536 * 3]) {
      const f = frame();
      expect(attachRange(sb, at, 65000, f)).toBe(65000);
      expect(Buffer.compare(payload(f), bulk.subarray(at, at + 65000))).toBe(0);
    }
  });

  test('a block under way outlives its ACK and comes home when the frame is done', () => {
    const sb = createSendBuffer(pools(), 1 << 20);
    write(sb, count(3000), 0, 3000);
    const f = frame();
    attachRange(sb, 1000, 2000, f);
    ack(sb, 3000);
    expect(sb.length).toBe(0);
    expect(sb.pools.small.inUse).toBe(1);
    // Another connection writes meanwhile: it must get other memory.
    const other = createSendBuffer(sb.pools, 1 << 20);
    write(other, new Uint8Array(3000).fill(0xff), 0, 3000);
    expect(payload(f)).toEqual(count(2000, 1000));
    f.reset();
    clear(other);
    expect(sb.pools.small.inUse).toBe(0);
  });

  test('write, send, resend, acknowledge in any order: the stream comes out', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), n: fc.nat(300) }),
      fc.record({ kind: fc.constant('send' as const), n: fc.nat(400), at: fc.nat(1000) }),
      fc.record({ kind: fc.constant('ack' as const), n: fc.nat(300) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const sb = createSendBuffer(pools(16, 128), 1500);
        const flying: Frame[] = [];
        let una = 0;
        let end = 0;
        for (const s of steps) {
          if (s.kind === 'write') {
            const taken = write(sb, count(s.n, end), 0, s.n);
            expect(taken).toBe(Math.min(s.n, 1500 - (end - una)));
            end += taken;
          } else if (s.kind === 'send') {
            const f = frame();
            const at = s.at % (end - una + 1);
            const n = attachRange(sb, at, s.n, f);
            expect(n).toBeLessThanOrEqual(Math.min(s.n, end - una - at));
            if (s.n > 0 && at < end - una) expect(n).toBeGreaterThan(0);
            expect(payload(f)).toEqual(count(n, una + at));
            flying.push(f);
            if (flying.length > 3) flying.shift()!.reset();
          } else {
            const n = Math.min(s.n, end - una);
            ack(sb, n);
            una += n;
          }
          expect(sb.length).toBe(end - una);
        }
        for (const f of flying) f.reset();
        clear(sb);
        expect([inUse(sb), sb.length]).toEqual([0, 0]);
      }),
    );
  });

  test('an ACK for more than there is lets go of what there is', () => {
    const sb = createSendBuffer(pools(), 100);
    write(sb, count(10), 0, 10);
    ack(sb, 11);
    expect([sb.length, inUse(sb)]).toEqual([0, 0]);
    expect(write(sb, count(10), 0, 10)).toBe(10);
  });
});
