// The cable between two devices (src/link/cable.ts).

import { describe, expect, it } from 'vitest';
import { makeFrames, type Packet } from '../../src/base/packet.ts';
import { MILLISECOND, type Micros, NEVER } from '../../src/base/time.ts';
import { Cable, type CableOptions } from '../../src/link/cable.ts';
import { type Device, FULL_OFFLOAD } from '../../src/link/device.ts';
import { createPipe, type PipeOptions } from '../../src/link/pipe.ts';
import { Sim } from '../../src/sim/sim.ts';
import { Talk } from '../../src/sim/talk.ts';

/** A cable between two pipes, and what stands at their far ends. */
function lay(options: CableOptions = {}, pipes: PipeOptions = {}) {
  const [left, a] = createPipe(pipes);
  const [b, right] = createPipe(pipes);
  const cable = new Cable(a, b, options);
  return { left, right, a, b, cable };
}

const frames = makeFrames(64);

/** Sends frames that carry these numbers; gives how many were taken. */
function send(device: Device, ...numbers: number[]): number {
  numbers.forEach((number, i) => {
    const frame = frames[i]!.reset();
    const at = frame.put(60);
    frame.bytes.fill(0, at, at + 60);
    frame.view.setUint16(at + 12, 0x88b5);
    frame.view.setUint32(at + 14, number);
  });
  return device.transmit(frames, 0, numbers.length);
}

function heard(device: Device): number[] {
  const numbers: number[] = [];
  device.receive((packet: Packet) => numbers.push(packet.view.getUint32(packet.start + 14)), 1_000);
  return numbers;
}

/** Runs the cable until `until`, and gives when frames came out on the right. */
function watch(cable: Cable, right: Device, until: Micros): [at: Micros, numbers: number[]][] {
  const seen: [Micros, number[]][] = [];
  for (let now = 0; now <= until; ) {
    while (cable.run(now));
    const numbers = heard(right);
    if (numbers.length > 0) seen.push([now, numbers]);
    const next = cable.nextTimeout();
    if (next > until) break;
    now = Math.max(now + 1, next);
  }
  return seen;
}

describe('a cable', () => {
  it('without weather passes every frame at once, as it is, both ways', () => {
    const { left, right, cable } = lay();
    let ready = 0;
    cable.onReady = () => ready++;
    send(left, 1, 2, 3);
    send(right, 9);
    expect(ready).toBe(2);
    expect(cable.run(0)).toBe(false);
    expect([heard(right), heard(left)]).toEqual([[1, 2, 3], [9]]);
    expect(cable.nextTimeout()).toBe(NEVER);
    expect(cable.counters.ab).toMatchObject({ frames: 3, delivered: 3 });
  });

  it('delays each direction as it is told, and says when it wants to be run', () => {
    const { left, right, cable } = lay({ delay: 20 * MILLISECOND, ba: { delay: 5 * MILLISECOND } });
    send(left, 1);
    send(right, 2);
    cable.run(0);
    expect([cable.nextTimeout(), cable.held]).toEqual([5 * MILLISECOND, 2]);
    cable.run(5 * MILLISECOND);
    expect(heard(left)).toEqual([2]);
    cable.run(20 * MILLISECOND - 1);
    expect(heard(right)).toEqual([]);
    cable.run(20 * MILLISECOND);
    expect(heard(right)).toEqual([1]);
  });

  it('loses the same frames for the same seed, and others for another', () => {
    const run = (seed: number) => {
      const { left, right, cable } = lay({ loss: 0.3, duplicate: 0.1, seed });
      send(left, ...Array.from({ length: 64 }, (_, i) => i));
      return watch(cable, right, 0);
    };
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
    expect(run(7)[0]?.[1].length).toBeLessThan(64);
  });

  it('changes while it runs', () => {
    const { left, right, cable } = lay({ loss: 1 });
    send(left, 1);
    cable.run(0);
    cable.change('ab', { loss: 0 });
    send(left, 2);
    send(right, 3);
    cable.run(1);
    expect([heard(right), heard(left)]).toEqual([[2], []]);
  });

  it('waits for a device that is full, in order, and takes no more than its limit meanwhile', () => {
    const { left, right, cable } = lay({ limit: 100 }, { queue: 4 });
    const sent: number[] = [];
    let number = 0;
    for (let i = 0; i < 1_000; i++) {
      const n = send(left, number, number + 1, number + 2);
      for (let k = 0; k < n; k++) sent.push(number++);
      cable.run(i);
    }
    // Four in each pipe, a batch of sixty-four, and a hundred on the way at the most.
    expect(sent.length).toBeLessThanOrEqual(4 + 4 + 64 + 100);
    expect(cable.nextTimeout()).toBe(NEVER);
    const got: number[] = [];
    for (let i = 0; i < 1_000; i++) {
      got.push(...heard(right));
      cable.run(1_000 + i);
    }
    expect(got).toEqual(sent);
  });

  it('cuts and completes what devices with offload hand it', () => {
    // Hosts on one side exchange super-frames with the cable; those on the other side check every checksum.
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    const [mine, inner] = createPipe({ features: FULL_OFFLOAD });
    const [outer, theirs] = createPipe();
    sim.attach(a, mine, '10.0.0.1/24');
    const far = sim.attach(b, theirs, '10.0.0.2/24');
    const cable = new Cable(inner, outer, { delay: MILLISECOND });
    let largest = 0;
    b.onFrame = (packet) => {
      largest = Math.max(largest, packet.end - packet.start);
    };
    const part = { bytes: 300_000, write: 50_000, stalls: [] };
    const talk = new Talk(sim, a, b, 0, { client: part, server: part, options: {} }, 0);
    const tick = () => {
      cable.run(sim.now);
      sim.after(100, tick);
    };
    tick();
    sim.run(sim.now + 2_000 * MILLISECOND, () => !talk.server.ended || !talk.client.ended);
    expect(talk.complaints().filter((text) => !text.includes('told of the end'))).toEqual([]);
    expect([talk.client.received, talk.server.received]).toEqual([300_000, 300_000]);
    expect(largest).toBe(1514);
    expect(far.counters).toBeDefined();
    expect(b.stack.drops).toEqual({});
  });

  it('closes both devices, and is quiet afterwards', () => {
    const { left, right, a, cable } = lay({ delay: MILLISECOND });
    send(left, 1);
    cable.run(0);
    cable.close();
    cable.close();
    expect([cable.run(MILLISECOND), cable.nextTimeout(), cable.held]).toEqual([false, NEVER, 0]);
    expect([heard(right), a.transmit(frames, 0, 1)]).toEqual([[], 0]);
  });

  it('refuses impossible numbers', () => {
    expect(() => lay({ loss: 1.5 })).toThrow(RangeError);
    expect(() => lay({ ab: { delay: -1 } })).toThrow(RangeError);
  });
});
