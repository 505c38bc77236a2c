// Playing captures: src/link/replay.ts.

import { expect, test } from 'vitest';
import { makeFrames } from '../../src/base/packet.ts';
import { NEVER } from '../../src/base/time.ts';
import { type ReplayOptions, replay, type TimedFrame } from '../../src/link/replay.ts';
import { segment } from '../../src/link/segment.ts';
import { fill, numbered } from './contract.ts';
import { frameOf, judge, noise } from './frames.ts';

const at = (...times: number[]): TimedFrame[] => times.map((t, i) => ({ at: t, bytes: numbered(i) }));

/** Plays to the end by the device's own clock; [time, number] of each frame. */
function play(options: ReplayOptions, start = 0, most = 100): [number, number][] {
  const device = replay(options);
  const got: [number, number][] = [];
  let now = start;
  device.advance(now);
  for (let i = 0; i < most && !(device.nextTimeout() === NEVER); i++) {
    now = Math.max(now, device.nextTimeout());
    device.advance(now);
    device.receive((p) => got.push([now, p.view.getUint32(p.start + 16)]), 1);
  }
  return got;
}

test('frames come at their times, counted from the first advance', () => {
  expect(play({ frames: at(1e15, 1e15 + 10, 1e15 + 2_000) }, 500)).toEqual([
    [500, 0],
    [510, 1],
    [2_500, 2],
  ]);
});

test('an origin keeps the silence before the first frame', () => {
  expect(play({ frames: at(1_000, 1_500), origin: 400 })).toEqual([
    [600, 0],
    [1_100, 1],
  ]);
});

test('no frame comes before its time', () => {
  const device = replay({ frames: at(0, 100) });
  expect(device.receive(() => {}, 64)).toBe(0);
  device.advance(0);
  expect(device.receive(() => {}, 64)).toBe(1);
  device.advance(99);
  expect(device.receive(() => {}, 64)).toBe(0);
  expect(device.nextTimeout()).toBe(100);
  device.advance(100);
  expect(device.receive(() => {}, 64)).toBe(1);
  expect(device.done).toBe(true);
});

test('speed divides the times; Infinity plays all at once, in order', () => {
  expect(play({ frames: at(0, 100, 1_001), speed: 2 }).map(([t]) => t)).toEqual([0, 50, 501]);
  expect(play({ frames: at(0, 100, 1_000), speed: Number.POSITIVE_INFINITY })).toEqual([
    [0, 0],
    [0, 1],
    [0, 2],
  ]);
  for (const speed of [0, -1, Number.NaN]) expect(() => replay({ frames: [], speed })).toThrow(RangeError);
});

test('a timestamp that goes back does not reorder', () => {
  expect(play({ frames: at(0, 500, 100, 600) })).toEqual([
    [0, 0],
    [500, 1],
    [500, 2],
    [600, 3],
  ]);
});

test('a loop begins again where the round before it ended', () => {
  expect(play({ frames: at(7_000, 7_100), loop: 3 }).map(([t]) => t)).toEqual([0, 100, 100, 200, 200, 300]);
  expect(play({ frames: at(0, 10), loop: true }, 0, 50)).toHaveLength(50);
});

test('an iterable that can be read once is played once, and an empty one not at all', () => {
  function* once() {
    yield* at(0, 10);
  }
  expect(play({ frames: once(), loop: true })).toHaveLength(2);
  expect(play({ frames: [], loop: true })).toEqual([]);
  const empty = replay({ frames: [] });
  empty.advance(0);
  expect([empty.done, empty.nextTimeout()]).toEqual([true, NEVER]);
});

test('frames are read as they come due, and the reader is told when nobody wants more', () => {
  let read = 0;
  let ended = false;
  function* lazy() {
    try {
      for (;;) yield { at: read * 1_000, bytes: numbered(read++) };
    } finally {
      ended = true;
    }
  }
  const device = replay({ frames: lazy() });
  device.advance(0);
  device.receive(() => {}, 64);
  device.advance(3_000);
  device.receive(() => {}, 64);
  expect(read).toBe(5);
  device.close();
  expect(ended).toBe(true);
});

test('class 1: frames of any length are played as they are, empty ones too', () => {
  const device = replay({ frames: [0, 1, 13, 14, 70_000].map((n) => ({ at: 0, bytes: new Uint8Array(n) })) });
  device.advance(0);
  const lengths: number[] = [];
  device.receive((packet) => lengths.push(packet.end - packet.start), 64);
  expect(lengths).toEqual([0, 1, 13, 14, 70_000]);
});

test('the frames given are not written to, whatever the stack does with what it gets', () => {
  const frames = at(0);
  const device = replay({ frames });
  device.advance(0);
  device.receive((packet) => packet.bytes.fill(0), 1);
  expect(frames[0]!.bytes).toEqual(numbered(0));
});

test('answers are kept with their times, or given to a taker', () => {
  const kept = replay({ frames: [] });
  const taken: TimedFrame[] = [];
  const given = replay({ frames: [], onTransmit: (frame) => taken.push(frame) });
  for (const device of [kept, given]) {
    const [frame] = makeFrames(1);
    device.advance(40);
    device.transmit([fill(frame!, numbered(1))], 0, 1);
    frame!.bytes.fill(0);
  }
  expect(kept.transmitted).toEqual([{ at: 40, bytes: numbered(1) }]);
  expect(taken).toEqual(kept.transmitted);
  expect(given.transmitted).toEqual([]);
});

test('a flood of answers is kept up to a bound, and the rest counted', () => {
  const device = replay({ frames: [], mtu: 65_000 });
  const [frame] = makeFrames(1, 66_000);
  fill(frame!, numbered(1, 64_000));
  for (let i = 0; i < 1_100; i++) expect(device.transmit([frame!], 0, 1)).toBe(1);
  expect(device.transmitted.length).toBe(Math.floor((64 * 1_024 * 1_024) / 64_000));
  expect(device.stats.txDropped).toBe(1_100 - device.transmitted.length);
});

test('worn under segment, answers are complete and wire-sized', () => {
  const device = replay({ frames: [] });
  segment(device).transmit([frameOf({ payload: noise(3_000) }, 1_460)], 0, 1);
  expect(device.transmitted.map(({ bytes }) => judge(bytes).transportChecksumRight)).toEqual([
    true,
    true,
    true,
  ]);
});
