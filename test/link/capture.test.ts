// Recording a device: src/link/capture.ts, with the real pcapng writer and reader.

import { describe, expect, test } from 'vitest';
import { type Frame, makeFrames } from '../../src/base/packet.ts';
import { Trace } from '../../src/base/trace.ts';
import { type CaptureOptions, capture } from '../../src/link/capture.ts';
import { type Device, FULL_OFFLOAD } from '../../src/link/device.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import { openCapture } from '../../src/pcap/open.ts';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import type { PacketRecord, StatisticsRecord } from '../../src/pcap/record.ts';
import { bytesOf, fill, numbered } from './contract.ts';
import { allSame, frameOf, joined, judge, noise, wireOf } from './frames.ts';

interface Setup {
  offload?: boolean;
  options?: Partial<CaptureOptions>;
  wrap?: (device: Device) => Device;
}

function build({ offload = false, options = {}, wrap = (d) => d }: Setup = {}) {
  const [a, b] = createPipe(offload ? { features: FULL_OFFLOAD } : {});
  const blocks: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => blocks.push(bytes));
  const interfaceId = writer.addInterface({ name: 'tap0' });
  const trace = new Trace();
  const time = { seconds: 1_700_000_000, nanos: 0 };
  const device = capture(wrap(a), { writer, interfaceId, trace, clock: () => time, ...options });
  const records = () => {
    const { records: all, error } = openCapture(joined(blocks));
    expect(error).toBeUndefined();
    return all;
  };
  return {
    device,
    far: b,
    trace,
    time,
    packets: () => records().filter((r): r is PacketRecord => r.kind === 'packet'),
    statistics: () => records().filter((r): r is StatisticsRecord => r.kind === 'statistics'),
  };
}

const frame = (bytes: Uint8Array): Frame => fill(makeFrames(1)[0]!, bytes);
const transmit = (device: Device, ...frames: Frame[]) => device.transmit(frames, 0, frames.length);
const comments = (packets: PacketRecord[]) => packets.map(({ comments: all }) => all[0]);

describe('what is recorded', () => {
  test('every frame, both ways, in order, with its direction, as it was', () => {
    const { device, far, packets } = build();
    transmit(far, frame(numbered(0)), frame(numbered(1)));
    device.receive(() => {}, 64);
    transmit(device, frame(numbered(2)));
    transmit(far, frame(numbered(3)));
    device.receive(() => {}, 64);
    expect(packets().map(({ direction }) => direction)).toEqual(['in', 'in', 'out', 'in']);
    expect(
      allSame(
        packets().map(({ bytes }) => bytes),
        [0, 1, 2, 3].map((n) => numbered(n)),
      ),
    ).toBe(true);
    expect(device.recorded).toBe(4);
  });

  test('only what the device took', () => {
    const [a] = createPipe({ queue: 2 });
    const seen: number[] = [];
    const device = capture(a, {
      writer: { packet: (_i, _s, _n, bytes, at) => seen.push(bytes[at + 19]!), statistics: () => {} },
      interfaceId: 0,
      clock: () => ({ seconds: 0, nanos: 0 }),
    });
    expect(transmit(device, frame(numbered(0)), frame(numbered(1)), frame(numbered(2)))).toBe(2);
    expect(seen).toEqual([0, 1]);
  });

  test('with offload, what a cable would have carried: cut, with true checksums', () => {
    const { device, far, packets } = build({ offload: true });
    transmit(device, frameOf({ payload: noise(5_000) }, 1_448, 0, 2_001), frameOf({ payload: noise(9) }));
    transmit(far, frameOf({ family: 6, payload: noise(3_000) }, 1_428), frameOf({ payload: noise(11) }));
    const seen: number[] = [];
    device.receive((packet) => seen.push(packet.gsoSize), 64);
    // The stack and the far end see super-frames; the file does not.
    expect(seen).toEqual([1_428, 0]);
    let crossed = 0;
    far.receive(() => crossed++, 64);
    expect(crossed).toBe(2);
    const judged = packets().map(({ bytes }) => judge(bytes));
    expect(judged.map(({ payload }) => payload.length)).toEqual([
      1_448, 1_448, 1_448, 656, 9, 1_428, 1_428, 144, 11,
    ]);
    expect(judged.every((j) => j.ipChecksumRight && j.transportChecksumRight)).toBe(true);
    expect(allSame([joined(judged.slice(0, 4).map((j) => j.payload))], [noise(5_000)])).toBe(true);
  });

  test('the stack reads the frame itself, not a completed copy', () => {
    const { device, far } = build({ offload: true });
    const pending = frameOf({ payload: noise(50) });
    const before = wireOf({ payload: noise(50) });
    transmit(far, pending);
    device.receive((packet) => {
      expect(packet.checksumTrusted).toBe(true);
      expect(judge(bytesOf(packet)).transportChecksumRight).toBe(false);
      expect(packet.end - packet.start).toBe(before.length);
    }, 1);
  });

  test('the same above segment as below it', () => {
    const above = build({ wrap: segment });
    const below = build();
    for (const device of [above.device, segment(below.device)]) {
      transmit(device, frameOf({ payload: noise(5_000) }, 1_400), frameOf({ payload: noise(50) }));
    }
    expect(above.packets()).toHaveLength(5);
    expect(
      allSame(
        above.packets().map(({ bytes }) => bytes),
        below.packets().map(({ bytes }) => bytes),
      ),
    ).toBe(true);
  });

  test('class 1: frames shorter than a header, and super-frames that cannot be cut, as they are', () => {
    const { device, far, packets } = build({ offload: true });
    for (let length = 1; length < 16; length++) transmit(far, frame(new Uint8Array(length)));
    const odd = frame(noise(100));
    odd.gsoSize = 10;
    transmit(far, odd);
    expect(device.receive(() => {}, 64)).toBe(16);
    expect(packets().map(({ bytes }) => bytes.length)).toEqual([
      ...Array.from({ length: 15 }, (_, i) => i + 1),
      100,
    ]);
  });

  test('a snap length keeps the beginning and says how long the frame was', () => {
    const { device, packets } = build({ options: { snapLength: 64 } });
    transmit(device, frame(numbered(1, 40)), frame(numbered(2, 500)));
    expect(packets().map((p) => [p.bytes.length, p.originalLength])).toEqual([
      [40, 40],
      [64, 500],
    ]);
  });
});

describe('what the stack did', () => {
  test('its notes about a received frame become the comment of that frame', () => {
    const { device, far, trace, packets } = build();
    transmit(far, frame(numbered(0)), frame(numbered(1)), frame(numbered(2)));
    trace.note('a timer: about no frame');
    let n = 0;
    device.receive(() => {
      if (n++ === 1) return;
      trace.note(`frame ${n}`);
      trace.note('dropped: bad checksum');
    }, 64);
    expect(comments(packets())).toEqual([
      'frame 1; dropped: bad checksum',
      undefined,
      'frame 3; dropped: bad checksum',
    ]);
  });

  test('the note of a transmitted frame becomes its comment', () => {
    const { device, packets } = build();
    const sent = frame(numbered(0));
    sent.note = 'retransmission timeout';
    transmit(device, sent, frame(numbered(1)));
    expect(comments(packets())).toEqual(['retransmission timeout', undefined]);
  });

  test('segments of a super-frame say so, once', () => {
    const { device, packets } = build({ offload: true });
    const big = frameOf({ payload: noise(2_500) }, 1_000);
    big.note = 'slow start';
    transmit(device, big);
    expect(comments(packets())).toEqual(['slow start; super-frame of 3 segments', undefined, undefined]);
  });

  test('a frame sent while another is being read is written after it', () => {
    const { device, far, packets, trace } = build();
    transmit(far, frame(numbered(0)));
    device.receive(() => {
      trace.note('echo request');
      transmit(device, frame(numbered(1)));
    }, 1);
    expect(packets().map(({ direction, comments: all }) => [direction, all[0]])).toEqual([
      ['in', 'echo request'],
      ['out', undefined],
    ]);
  });

  test('the trace is on while recording, and then as it was', () => {
    const trace = new Trace();
    const { device } = build({ options: { trace } });
    expect(trace.on).toBe(true);
    device.stop();
    expect(trace.on).toBe(false);
    trace.on = true;
    device.start();
    device.close();
    expect(trace.on).toBe(true);
  });
});

describe('time', () => {
  test('is that of the clock, and never goes back when the clock does', () => {
    const { device, time, packets } = build();
    const stamps: [number, number][] = [
      [1_700_000_001, 5],
      [1_700_000_001, 7],
      [1_700_000_000, 999_999_999],
      [1_700_000_001, 6],
      [1_700_000_002, 0],
    ];
    stamps.forEach(([seconds, nanos], i) => {
      time.seconds = seconds;
      time.nanos = nanos;
      transmit(device, frame(numbered(i)));
    });
    expect(packets().map(({ seconds, nanos }) => [seconds, nanos])).toEqual([
      [1_700_000_001, 5],
      [1_700_000_001, 7],
      [1_700_000_001, 7],
      [1_700_000_001, 7],
      [1_700_000_002, 0],
    ]);
  });
});

describe('start, stop, close', () => {
  test('recording stops and goes on while traffic never does', () => {
    const { device, packets } = build({ options: { started: false } });
    const send = (n: number) => expect(transmit(device, frame(numbered(n)))).toBe(1);
    send(0);
    device.start();
    device.start();
    send(1);
    device.stop();
    device.stop();
    send(2);
    device.start();
    send(3);
    expect(packets().map(({ bytes }) => bytes[19])).toEqual([1, 3]);
    expect(device.stats.txFrames).toBe(4);
  });

  test('it may stop from within the sink: the frame at hand is the last', () => {
    const { device, far, packets } = build();
    transmit(far, frame(numbered(0)), frame(numbered(1)), frame(numbered(2)));
    let n = 0;
    device.receive(() => {
      if (++n === 2) device.stop();
    }, 64);
    expect(n).toBe(3);
    expect(packets()).toHaveLength(2);
  });

  test('stopping writes what was received and dropped since it began, and from when to when', () => {
    const { device, far, time, statistics } = build({ options: { started: false } });
    transmit(far, frame(numbered(0)));
    device.receive(() => {}, 64);
    device.start();
    transmit(far, frame(numbered(1)), frame(numbered(2)));
    device.receive(() => {}, 64);
    device.stats.rxDropped += 5;
    time.seconds += 10;
    device.close();
    device.close();
    const [only, ...more] = statistics();
    expect(more).toEqual([]);
    expect([only!.received, only!.dropped]).toEqual([7, 5]);
    expect(only!.start).toEqual({ seconds: 1_700_000_000, nanos: 0 });
    expect(only!.end).toEqual({ seconds: 1_700_000_010, nanos: 0 });
  });

  test('a writer that fails ends the recording, not the traffic', () => {
    const full = new Error('no space left on device');
    const { device, far, trace } = build({
      options: {
        writer: {
          packet() {
            throw full;
          },
          statistics() {
            throw full;
          },
        },
      },
    });
    transmit(far, frame(numbered(0)), frame(numbered(1)));
    expect(device.receive(() => {}, 64)).toBe(2);
    expect(transmit(device, frame(numbered(2)))).toBe(1);
    expect([device.recording, device.failure, trace.on]).toEqual([false, full, false]);
    device.start();
    device.stop();
    expect(device.failure).toBe(full);
  });

  test('a closed capture cannot be started', () => {
    const { device } = build();
    device.close();
    device.start();
    expect(device.recording).toBe(false);
  });
});
