// The wire in memory and the store its frames rest in: src/link/pipe.ts and src/link/wire.ts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Frame, makeFrames, Packet } from '../../src/base/packet.ts';
import type { Slab } from '../../src/base/slab.ts';
import { FULL_OFFLOAD } from '../../src/link/device.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { FrameStore, type StoredFrame } from '../../src/link/wire.ts';
import { bytesOf, fill, numbered } from './contract.ts';
import { bytesOfFrame, frameOf, noise, same } from './frames.ts';

const one = (bytes: Uint8Array): Frame[] => [fill(makeFrames(1, 4_096)[0]!, bytes)];

describe('pipe', () => {
  test('its ends have the addresses, MTU and features they were given, or sensible ones', () => {
    const [a, b] = createPipe();
    expect([a.mtu, b.mtu, a.name, b.name]).toEqual([1_500, 1_500, 'pipe-a', 'pipe-b']);
    expect(same(a.mac, b.mac)).toBe(false);
    expect((a.mac[0]! & 3) === 2 && (b.mac[0]! & 3) === 2).toBe(true);
    const mac = Uint8Array.of(2, 1, 1, 1, 1, 1);
    const [c, d] = createPipe({ mtu: 9_000, macA: mac, features: FULL_OFFLOAD });
    expect([c.mtu, d.mtu, c.mac, d.features]).toEqual([9_000, 9_000, mac, FULL_OFFLOAD]);
  });

  test('with offload, super-frames and pending checksums cross whole and arrive trusted', () => {
    const [a, b] = createPipe({ features: FULL_OFFLOAD });
    const big = frameOf({ payload: noise(60_000) }, 1_460, 0, 30_001);
    const pending = frameOf({ payload: noise(10) });
    const complete = fill(makeFrames(1)[0]!, numbered(1));
    expect(a.transmit([big, pending, complete], 0, 3)).toBe(3);
    const got: [number, boolean][] = [];
    b.receive((packet) => {
      if (got.length === 0) expect(same(bytesOf(packet), bytesOfFrame(big))).toBe(true);
      got.push([packet.gsoSize, packet.checksumTrusted]);
    }, 64);
    expect(got).toEqual([
      [1_460, true],
      [0, true],
      [0, false],
    ]);
  });

  test('without offload, handing it a super-frame or a pending checksum is a mistake that throws', () => {
    const [a] = createPipe();
    expect(() => a.transmit([frameOf({ payload: noise(10) })], 0, 1)).toThrow(/segment/);
    expect(() => a.transmit([frameOf({ payload: noise(3_000) }, 1_000)], 0, 1)).toThrow(/segment/);
  });

  test('class 1: a frame of any size from one byte up crosses; an empty one is dropped and counted', () => {
    const [a, b] = createPipe();
    for (let length = 1; length <= 20; length++) a.transmit(one(new Uint8Array(length)), 0, 1);
    a.transmit(makeFrames(1), 0, 1);
    const lengths: number[] = [];
    b.receive((packet) => lengths.push(packet.end - packet.start), 64);
    expect(lengths).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(a.stats.txDropped).toBe(1);
  });

  test('a tagged frame may be four bytes longer', () => {
    const [a, b] = createPipe();
    const tagged = numbered(1, 1_518);
    tagged.set([0x81, 0], 12);
    a.transmit(one(tagged), 0, 1);
    a.transmit(one(numbered(1, 1_518)), 0, 1);
    expect(b.receive(() => {}, 64)).toBe(1);
    expect(a.stats.txDropped).toBe(1);
  });

  test('the queue is bounded in bytes as well as in frames', () => {
    const [a, b] = createPipe({ features: FULL_OFFLOAD, queue: 1_000 });
    const big = frameOf({ payload: noise(60_000) }, 1_460);
    let taken = 0;
    while (taken < 1_000 && a.transmit([big], 0, 1) === 1) taken++;
    expect(taken).toBeGreaterThan(60);
    expect(taken).toBeLessThan(80);
    let ready = 0;
    a.onReady = () => ready++;
    b.receive(() => {}, 1);
    expect(ready).toBe(1);
  });

  test('once the peer is closed, frames are lost and counted, and nobody is left waiting', () => {
    const [a, b] = createPipe({ queue: 1 });
    let ready = 0;
    a.onReady = () => ready++;
    expect(a.transmit(one(numbered(1)), 0, 1)).toBe(1);
    expect(a.transmit(one(numbered(2)), 0, 1)).toBe(0);
    b.close();
    expect(ready).toBe(1);
    expect(a.transmit(one(numbered(2)), 0, 1)).toBe(1);
    expect(a.stats.txDropped).toBe(1);
    expect(b.stats.rxDropped).toBe(1);
  });

  test('frames sent from within the sink arrive in the next turn, and spoil nothing', () => {
    const [a, b] = createPipe();
    for (let i = 0; i < 30; i++) a.transmit(one(numbered(i, 700)), 0, 1);
    let n = 0;
    b.receive((packet) => {
      const before = bytesOf(packet);
      b.transmit(one(before), 0, 1);
      a.transmit(one(numbered(100 + n, 900)), 0, 1);
      expect(same(bytesOf(packet), before)).toBe(true);
      n++;
    }, 30);
    expect(n).toBe(30);
    const echoed: Uint8Array[] = [];
    a.receive((packet) => echoed.push(bytesOf(packet)), 64);
    expect(echoed.every((bytes, i) => same(bytes, numbered(i, 700)))).toBe(true);
    expect(b.receive(() => {}, 64)).toBe(30);
  });
});

describe('FrameStore', () => {
  test('law: a frame at rest, and a pinned slab for ever, never change, whatever comes and goes', () => {
    const steps = fc.array(
      fc.record({
        length: fc.integer({ min: 1, max: 6_000 }),
        hand: fc.integer({ min: 0, max: 3 }),
        pin: fc.boolean(),
      }),
      { maxLength: 120 },
    );
    fc.assert(
      fc.property(steps, (all) => {
        const store = new FrameStore();
        const packet = new Packet();
        const waiting: { stored: StoredFrame; bytes: Uint8Array }[] = [];
        const pinned: { slab: Slab; offset: number; bytes: Uint8Array }[] = [];
        all.forEach(({ length, hand, pin }, i) => {
          const bytes = noise(length, i + 1);
          waiting.push({ stored: store.keepBytes(bytes, 0, length), bytes });
          for (const { stored, bytes: expected } of waiting.splice(0, hand)) {
            store.hand(stored, packet, (p) => {
              expect(same(p.bytes.subarray(p.start, p.end), expected)).toBe(true);
              p.pinned = pin;
              if (pin) pinned.push({ slab: p.slab, offset: p.start, bytes: expected });
            });
          }
        });
        for (const { slab, offset, bytes } of pinned) {
          expect(same(slab.bytes.subarray(offset, offset + bytes.length), bytes)).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('memory is used again when nothing is pinned', () => {
    const store = new FrameStore();
    const packet = new Packet();
    const slabs = new Set<Slab>();
    for (let i = 0; i < 10_000; i++) {
      const stored = store.keepBytes(numbered(i, 1_400), 0, 1_400);
      slabs.add(stored.slab);
      store.hand(stored, packet, () => {});
    }
    expect(slabs.size).toBe(1);
  });

  test('and in turn when frames wait: as many blocks as the queue needs, no more', () => {
    const store = new FrameStore();
    const slabs = new Set<Slab>();
    const waiting: StoredFrame[] = [];
    for (let i = 0; i < 5_000; i++) {
      const stored = store.keepBytes(numbered(i, 1_400), 0, 1_400);
      slabs.add(stored.slab);
      waiting.push(stored);
      if (waiting.length > 40) store.drop(waiting.shift()!);
    }
    expect(slabs.size).toBeLessThanOrEqual(6);
  });
});
