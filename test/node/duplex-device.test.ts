// A device over a stream of frames keeps the stream's back-pressure in both directions.

import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { makeFrames, type Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { NEVER } from '../../src/base/time.ts';
import { NO_OFFLOAD } from '../../src/link/device.ts';
import { deviceFromDuplex } from '../../src/node/duplex-device.ts';

/** A stream like tuntap2's: what is written piles up in `written` and is acknowledged by hand. */
class Cable extends Duplex {
  readonly name = 'cable0';
  readonly written: Buffer[] = [];
  acknowledge: (() => void)[] = [];

  constructor(highWaterMark: number) {
    super({ writableHighWaterMark: highWaterMark, readableObjectMode: true });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.written.push(chunk);
    this.acknowledge.push(callback);
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const OPTIONS = { mtu: 1500, mac: '02:00:00:00:00:07' };

function frames(count: number, length: number) {
  const list = makeFrames(count);
  for (const [i, frame] of list.entries()) frame.copyIn(new Uint8Array(length).fill(i + 1), 0, length);
  return list;
}

describe('deviceFromDuplex', () => {
  it('hands each chunk up as one frame, once, with its bytes', async () => {
    const cable = new Cable(1 << 20);
    const device = deviceFromDuplex(cable, OPTIONS);
    let ready = 0;
    device.onReady = () => {
      ready++;
    };
    expect(device).toMatchObject({ name: 'cable0', mtu: 1500, features: NO_OFFLOAD });
    expect(device.nextTimeout()).toBe(NEVER);
    for (let i = 0; i < 5; i++) cable.push(Buffer.alloc(60, i));
    cable.push(Buffer.alloc(13)); // no Ethernet header
    await turn();
    expect(ready).toBe(1);
    const seen: number[][] = [];
    const sink = (packet: Packet) => {
      seen.push([packet.bytes[packet.start] as number, packet.end - packet.start]);
      expect(packet.checksumTrusted).toBe(false);
    };
    expect(device.receive(sink, 3)).toBe(3);
    await turn();
    await turn();
    expect(ready).toBe(2); // two more wait
    expect(device.receive(sink, 100)).toBe(2);
    expect(device.receive(sink, 100)).toBe(0);
    expect(seen).toEqual([0, 1, 2, 3, 4].map((i) => [i, 60]));
    expect(device.stats).toMatchObject({ rxFrames: 5, rxBytes: 300, rxDropped: 1 });
  });

  it('pauses the stream while frames wait, and lets it run again when they are taken', async () => {
    const cable = new Cable(1);
    const device = deviceFromDuplex(cable, OPTIONS);
    let ready = 0;
    device.onReady = () => {
      ready++;
    };
    for (let i = 0; i < 2000; i++) cable.push(Buffer.alloc(60, i));
    await turn();
    expect(cable.isPaused()).toBe(true);
    expect(cable.readableLength).toBeGreaterThan(0);
    let total = 0;
    while (total < 2000) {
      const count = device.receive(() => {}, 300);
      total += count;
      expect(count).toBeLessThanOrEqual(300);
      await turn();
    }
    expect(total).toBe(2000);
    expect(cable.isPaused()).toBe(false);
    expect(device.stats.rxDropped).toBe(0);
    expect(ready).toBeGreaterThan(1);
  });

  it('takes frames until the stream is full, and calls onReady at drain', async () => {
    const cable = new Cable(2500);
    const device = deviceFromDuplex(cable, OPTIONS);
    let ready = 0;
    device.onReady = () => {
      ready++;
    };
    const list = frames(6, 1000);
    expect(device.transmit(list, 0, 6)).toBe(3); // 3000 bytes are more than 2500
    expect(device.transmit(list, 3, 6)).toBe(0);
    while (cable.acknowledge.length > 0) {
      for (const done of cable.acknowledge.splice(0)) done();
      await turn();
    }
    expect(ready).toBe(1);
    expect(device.transmit(list, 3, 6)).toBe(3);
    while (cable.acknowledge.length > 0) {
      for (const done of cable.acknowledge.splice(0)) done();
      await turn();
    }
    expect(cable.written.map((chunk) => [chunk[0], chunk.length])).toEqual(
      [1, 2, 3, 4, 5, 6].map((i) => [i, 1000]),
    );
    expect(device.stats).toMatchObject({ txFrames: 6, txBytes: 6000 });
  });

  it('copies a frame with its ranges, since the frame is reused at once', () => {
    const cable = new Cable(1 << 20);
    const device = deviceFromDuplex(cable, OPTIONS);
    const list = frames(1, 20);
    const frame = list[0]!;
    frame.attach(new Slab(Uint8Array.of(7, 8, 9)), 1, 2);
    expect(device.transmit(list, 0, 1)).toBe(1);
    frame.bytes.fill(0);
    expect([...(cable.written[0] as Buffer)]).toEqual([...new Array(20).fill(1), 8, 9]);
  });

  it('stops in the middle of a batch when it is closed there', async () => {
    const cable = new Cable(1 << 20);
    const device = deviceFromDuplex(cable, OPTIONS);
    for (let i = 0; i < 5; i++) cable.push(Buffer.alloc(60, i));
    await turn();
    expect(device.receive(() => device.close(), 5)).toBe(1);
  });

  it('takes nothing when the stream has failed or the device is closed, and never throws', async () => {
    const cable = new Cable(1 << 20);
    const device = deviceFromDuplex(cable, OPTIONS);
    let ready = 0;
    device.onReady = () => {
      ready++;
    };
    cable.destroy(new Error('unplugged'));
    await turn();
    expect(ready).toBe(1);
    expect(device.failure?.message).toBe('unplugged');
    expect(device.transmit(frames(1, 60), 0, 1)).toBe(0);
    expect(device.receive(() => {}, 9)).toBe(0);
    device.close();
    device.close();
    expect(() => deviceFromDuplex(cable, { mtu: 1500, mac: 'nonsense' })).toThrow(/not a link address/);
  });
});
