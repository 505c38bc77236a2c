// segment(device): src/link/segment.ts.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Frame, makeFrames } from '../../src/base/packet.ts';
import { type Device, type DeviceFeatures, FULL_OFFLOAD, NO_OFFLOAD } from '../../src/link/device.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import { bytesOf } from './contract.ts';
import { ACK, type FrameSpec, frameOf, joined, judge, noise, PSH, same, wireOf } from './frames.ts';

interface Received {
  bytes: Uint8Array;
  gsoSize: number;
  trusted: boolean;
}

function drain(device: Device, limit = Number.POSITIVE_INFINITY): Received[] {
  const out: Received[] = [];
  device.receive(
    (packet) =>
      out.push({ bytes: bytesOf(packet), gsoSize: packet.gsoSize, trusted: packet.checksumTrusted }),
    limit,
  );
  return out;
}

test('a device with full offload is returned as it is', () => {
  const [a] = createPipe({ features: FULL_OFFLOAD });
  expect(segment(a)).toBe(a);
});

test('it offers everything, and passes on what a device is, has counted and waits for', () => {
  const [a] = createPipe({ mtu: 1_280 });
  const device = segment(a);
  expect(device.features).toEqual(FULL_OFFLOAD);
  expect([device.name, device.mac, device.mtu, device.stats]).toEqual([a.name, a.mac, 1_280, a.stats]);
});

test('super-frames and ordinary frames leave complete and in order, whatever room the device has', () => {
  const specs: fc.Arbitrary<FrameSpec> = fc.record({
    family: fc.constantFrom<4 | 6>(4, 6),
    protocol: fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
    payload: fc.integer({ min: 1, max: 12_000 }).map((n) => noise(n, n)),
  });
  fc.assert(
    fc.property(
      fc.array(specs, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 4_000 }),
      (all, queue, take, joint) => {
        const [a, b] = createPipe({ queue });
        const device = segment(a);
        let ready = true;
        device.onReady = () => {
          ready = true;
        };
        const frames = all.map((spec) => frameOf(spec, spec.payload.length > 1_400 ? 1_400 : 0, 0, joint));
        const slabs = frames.flatMap((frame) => (frame.a === undefined ? [] : [frame.a]));
        const got: Received[] = [];
        let sent = 0;
        for (let round = 0; round < 1_000 && (sent < frames.length || ready); round++) {
          if (ready && sent < frames.length) {
            ready = false;
            const taken = device.transmit(frames, sent, frames.length);
            for (let i = sent; i < sent + taken; i++) frames[i]!.reset();
            sent += taken;
            // Everything taken: nobody will call us back for what is left inside but the device's own turns.
            if (sent === frames.length) ready = true;
          }
          const some = drain(b, take);
          got.push(...some);
          device.receive(() => {}, 1);
          if (sent === frames.length && some.length === 0) break;
        }
        const judged = got.map(({ bytes }) => judge(bytes));
        expect(judged.every((j) => j.ipChecksumRight && j.transportChecksumRight)).toBe(true);
        expect(
          same(joined(judged.map(({ payload }) => payload)), joined(all.map(({ payload }) => payload))),
        ).toBe(true);
        expect(got.every(({ bytes }) => bytes.length <= 1_514)).toBe(true);
        expect(slabs.every(({ refs }) => refs === 0)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});

test('half a super-frame waits, nothing overtakes it, and nothing else is taken meanwhile', () => {
  const [a, b] = createPipe({ queue: 4 });
  const device = segment(a);
  const big = frameOf({ payload: noise(10_000) }, 1_000);
  const small = frameOf({ payload: noise(10), seq: 77 });
  expect(device.transmit([big, small], 0, 2)).toBe(1);
  expect(device.transmit([small], 0, 1)).toBe(0);
  let ready = 0;
  device.onReady = () => ready++;
  const got = drain(b, 3);
  expect(ready).toBe(1);
  expect(device.transmit([small], 0, 1)).toBe(0);
  got.push(...drain(b));
  device.advance(0);
  got.push(...drain(b));
  expect(device.transmit([small], 0, 1)).toBe(1);
  got.push(...drain(b));
  expect(got).toHaveLength(11);
  expect(judge(got[10]!.bytes).seq).toBe(77);
});

test.each<[string, DeviceFeatures, number, boolean]>([
  ['nothing', NO_OFFLOAD, 3, false],
  ['checksums', { ...NO_OFFLOAD, checksum: true }, 3, true],
  ['checksums and TSO for IPv6', { ...NO_OFFLOAD, checksum: true, tso6: true }, 3, true],
  ['checksums and TSO for IPv4', { ...NO_OFFLOAD, checksum: true, tso4: true }, 1, true],
  ['TSO for IPv4 without checksums, which is worth nothing', { ...NO_OFFLOAD, tso4: true }, 3, false],
])('a device that can do %s gets a TCP super-frame in so many parts', (_what, features, parts, trusted) => {
  const [a, b] = createPipe({ features });
  expect(segment(a).transmit([frameOf({ payload: noise(3_000) }, 1_000)], 0, 1)).toBe(1);
  const got = drain(b);
  expect(got).toHaveLength(parts);
  expect(got[0]!.trusted).toBe(trusted);
  expect(got[0]!.gsoSize).toBe(parts === 1 ? 1_000 : 0);
});

test('a pending checksum passes untouched to a device that completes it', () => {
  const [a, b] = createPipe({ features: { ...NO_OFFLOAD, checksum: true } });
  const frame = frameOf({ payload: noise(100) });
  segment(a).transmit([frame], 0, 1);
  expect(frame.checksumStart).toBeGreaterThan(0);
  expect(drain(b)[0]!.trusted).toBe(true);
});

test('UDP super-frames are cut into datagrams unless the device does it', () => {
  const spec: FrameSpec = { protocol: 'udp', payload: noise(2_500) };
  const [a, b] = createPipe();
  segment(a).transmit([frameOf(spec, 1_000)], 0, 1);
  expect(drain(b).map(({ bytes }) => judge(bytes).payload.length)).toEqual([1_000, 1_000, 500]);
  const [c, d] = createPipe({ features: { ...NO_OFFLOAD, checksum: true, uso: true } });
  segment(c).transmit([frameOf(spec, 1_000)], 0, 1);
  expect(drain(d)).toHaveLength(1);
});

test('a super-frame that cannot be cut is taken and counted as dropped', () => {
  const [a, b] = createPipe();
  const device = segment(a);
  const [bad, good] = makeFrames(2) as [Frame, Frame];
  bad.copyIn(noise(80), 0, 80);
  bad.gsoSize = 10;
  const bytes = wireOf({ payload: noise(20) });
  good.copyIn(bytes, 0, bytes.length);
  expect(device.transmit([bad, good], 0, 2)).toBe(2);
  expect(device.stats.txDropped).toBe(1);
  expect(drain(b).map((r) => r.bytes)).toEqual([bytes]);
});

test('the note of a super-frame goes down with its first segment', () => {
  const notes: (string | undefined)[] = [];
  const [a] = createPipe();
  const spy: Device = Object.assign(Object.create(a) as Device, {
    transmit(frames: readonly Frame[], from: number, to: number): number {
      for (let i = from; i < to; i++) notes.push(frames[i]!.note);
      return to - from;
    },
  });
  const frame = frameOf({ payload: noise(2_500), flags: ACK | PSH }, 1_000);
  frame.note = 'fast retransmit';
  segment(spy).transmit([frame], 0, 1);
  expect(notes).toEqual(['fast retransmit', undefined, undefined]);
});

test('closing counts what was still waiting, and lets go of the payload', () => {
  const [a, b] = createPipe({ queue: 2 });
  const device = segment(a);
  const frame = frameOf({ payload: noise(10_000) }, 1_000);
  const { a: slab } = frame;
  const { b: other } = frame;
  device.transmit([frame], 0, 1);
  frame.reset();
  device.close();
  device.close();
  expect(device.stats.txDropped).toBe(8);
  expect(drain(b)).toHaveLength(2);
  expect([slab?.refs ?? 0, other?.refs ?? 0]).toEqual([0, 0]);
  expect(device.transmit([frame], 0, 1)).toBe(0);
});
