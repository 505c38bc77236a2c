// The laws every link device keeps (src/link/device.ts), as tests that any device can be put through: in memory and in
// virtual time, or a real one whose frames take their own time.

import { afterEach, describe, expect, test } from 'vitest';
import { type Frame, makeFrames, type Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { NEVER } from '../../src/base/time.ts';
import type { Device } from '../../src/link/device.ts';
import { allSame, same } from './frames.ts';

/** A device with somebody at the other end of its wire. */
export interface Rig {
  readonly device: Device;
  /** The frames that left the device since the last call, in order. */
  drain(): Uint8Array[] | Promise<Uint8Array[]>;
  /** The other end sends one more frame; left out by a device whose frames are all known before. */
  inject?(frame: Uint8Array): void | Promise<void>;
  /** Lets time pass, virtual or real, so that what is under way arrives. */
  pump(): void | Promise<void>;
  /** Closes the other end. */
  close?(): void | Promise<void>;
}

/** Makes a rig whose other end sends `incoming` to the device, in order. */
export type OpenRig = (incoming: readonly Uint8Array[]) => Rig | Promise<Rig>;

export interface Traits {
  /** A frame this device never refuses for want of room (a switch loses it instead): the laws of a full device are left out. */
  neverFull?: boolean;
  /** Frames of others may come and go too: counters may show more than ours. */
  noisy?: boolean;
  /** Frames to offer, at most, before the device must say it is full. */
  capacity?: number;
}

const ETHERTYPE_LOCAL_EXPERIMENTAL = 0x88b5;
/** Marks our frames, so that noise on a real wire is told apart. */
const MARK = 0x7a5e;
const HEADER = 20;

/** Frame number `number` of `length` bytes, at least 20, with contents of its own. */
export function numbered(number: number, length = 60): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x77]);
  view.setUint16(12, ETHERTYPE_LOCAL_EXPERIMENTAL);
  view.setUint16(14, MARK);
  view.setUint32(16, number);
  for (let i = HEADER; i < length; i++) bytes[i] = (number * 31 + i * 7) & 255;
  return bytes;
}

function isOurs(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (
    bytes.length >= HEADER &&
    view.getUint16(12) === ETHERTYPE_LOCAL_EXPERIMENTAL &&
    view.getUint16(14) === MARK
  );
}

/** Puts `bytes` into an empty frame: inline when they fit, else attached. */
export function fill(frame: Frame, bytes: Uint8Array): Frame {
  const inline = Math.min(bytes.length, frame.room);
  frame.copyIn(bytes, 0, inline);
  if (inline < bytes.length) frame.attach(new Slab(bytes), inline, bytes.length - inline);
  return frame;
}

/** The frame a packet shows, copied. */
export function bytesOf(packet: Packet): Uint8Array {
  return packet.bytes.slice(packet.start, packet.end);
}

const ROUNDS = 2_000;

/** Receives until `count` of our frames have come, or nothing more will. */
async function receiveAll(
  rig: Rig,
  count: number,
  limit = 64,
  look: (packet: Packet) => void = () => {},
): Promise<Uint8Array[]> {
  const got: Uint8Array[] = [];
  for (let round = 0; round < ROUNDS && got.length < count; round++) {
    rig.device.receive((packet) => {
      if (!isOurs(bytesOf(packet))) return;
      look(packet);
      got.push(bytesOf(packet));
    }, limit);
    if (got.length < count) await rig.pump();
  }
  return got;
}

/** Transmits all of `frames`, waiting whenever the device is full, and returns what came out. */
async function transmitAll(rig: Rig, frames: readonly Uint8Array[], batch = 16): Promise<Uint8Array[]> {
  const out: Uint8Array[] = [];
  const own = makeFrames(batch);
  let next = 0;
  for (let round = 0; round < ROUNDS && out.length < frames.length; round++) {
    const n = Math.min(batch, frames.length - next);
    for (let i = 0; i < n; i++) fill(own[i]!.reset(), frames[next + i]!);
    const taken = n > 0 ? rig.device.transmit(own, 0, n) : 0;
    // A taken frame has left our memory: what becomes of it now must not matter.
    for (let i = 0; i < taken; i++) {
      own[i]!.bytes.fill(0xee, own[i]!.origin, own[i]!.limit);
      own[i]!.reset();
    }
    next += taken;
    out.push(...(await rig.drain()).filter(isOurs));
    if (out.length < frames.length) await rig.pump();
  }
  return out;
}

/** Puts the device made by `open` through the contract. */
export function describeDeviceContract(name: string, open: OpenRig, traits: Traits = {}): void {
  describe(`${name} keeps the device contract`, () => {
    const opened: Rig[] = [];
    const start = async (incoming: readonly Uint8Array[] = []): Promise<Rig> => {
      const rig = await open(incoming);
      opened.push(rig);
      return rig;
    };
    const atLeastOrEqual = (actual: number, expected: number) =>
      traits.noisy === true ? expect(actual).toBeGreaterThanOrEqual(expected) : expect(actual).toBe(expected);

    afterEach(async () => {
      for (const rig of opened.splice(0)) {
        rig.device.close();
        await rig.close?.();
      }
    });

    test('frames arrive in order, one for one, unchanged', async () => {
      const frames = Array.from({ length: 60 }, (_, i) => numbered(i, HEADER + ((i * 97) % 1_400)));
      const rig = await start(frames);
      expect(allSame(await receiveAll(rig, frames.length), frames)).toBe(true);
    });

    test('frames leave in order, one for one, unchanged, and may be reset once taken', async () => {
      const frames = Array.from({ length: 60 }, (_, i) => numbered(i, HEADER + ((i * 89) % 1_400)));
      const rig = await start();
      expect(allSame(await transmitAll(rig, frames), frames)).toBe(true);
    });

    test('receive hands on at most `limit` frames and says how many', async () => {
      const frames = Array.from({ length: 12 }, (_, i) => numbered(i));
      const rig = await start(frames);
      expect(rig.device.receive(() => expect.unreachable('a frame beyond the limit'), 0)).toBe(0);
      let ours = 0;
      for (let round = 0; round < ROUNDS && ours < frames.length; round++) {
        let calls = 0;
        const n = rig.device.receive((packet) => {
          calls++;
          if (isOurs(bytesOf(packet))) ours++;
        }, 5);
        expect(n).toBe(calls);
        expect(n).toBeLessThanOrEqual(5);
        if (n === 0) await rig.pump();
      }
      expect(ours).toBe(frames.length);
    });

    test('a received packet starts at its frame and carries no mark of the one before', async () => {
      const rig = await start([numbered(0), numbered(1)]);
      await receiveAll(rig, 2, 64, (packet) => {
        expect(packet.at).toBe(packet.start);
        expect(packet.pinned).toBe(false);
        expect(packet.gsoSize).toBe(0);
        packet.at = packet.end;
        packet.pinned = true;
      });
    });

    test('a pinned slab is never written again', async () => {
      const frames = Array.from({ length: 300 }, (_, i) => numbered(i, 40 + (i % 900)));
      const rig = await start(frames);
      const kept: { slab: Slab; offset: number; bytes: Uint8Array }[] = [];
      let seen = 0;
      const got = await receiveAll(rig, frames.length, 7, (packet) => {
        if (seen++ % 3 !== 0) return;
        packet.pinned = true;
        kept.push({ slab: packet.slab, offset: packet.start, bytes: bytesOf(packet) });
      });
      await transmitAll(rig, frames.slice(0, 50));
      expect(allSame(got, frames)).toBe(true);
      for (const { slab, offset, bytes } of kept) {
        expect(same(slab.bytes.subarray(offset, offset + bytes.length), bytes)).toBe(true);
      }
      expect(kept).toHaveLength(100);
    });

    test('attached ranges leave in order behind the inline bytes, and are let go', async () => {
      const rig = await start();
      const whole = numbered(1, 500);
      const slab = new Slab(whole);
      const [frame] = makeFrames(1) as [Frame];
      frame.copyIn(whole, 0, 33);
      frame.attach(slab, 33, 100);
      frame.attach(slab, 133, 367);
      expect(rig.device.transmit([frame], 0, 1)).toBe(1);
      frame.reset();
      const out: Uint8Array[] = [];
      for (let round = 0; round < ROUNDS && out.length === 0; round++) {
        out.push(...(await rig.drain()).filter(isOurs));
        if (out.length === 0) await rig.pump();
      }
      expect(out).toEqual([whole]);
      expect(slab.refs).toBe(0);
    });

    test('transmit sends `from` to `to` and nothing else', async () => {
      const rig = await start();
      const frames = makeFrames(4);
      for (let i = 0; i < 4; i++) fill(frames[i]!, numbered(i));
      expect(rig.device.transmit(frames, 1, 1)).toBe(0);
      expect(rig.device.transmit(frames, 1, 3)).toBe(2);
      const out: Uint8Array[] = [];
      for (let round = 0; round < 20 || (out.length < 2 && round < ROUNDS); round++) {
        out.push(...(await rig.drain()).filter(isOurs));
        await rig.pump();
      }
      expect(out).toEqual([numbered(1), numbered(2)]);
    });

    test('the smallest and the largest frame pass both ways', async () => {
      const mtu = 1_500;
      const frames = [numbered(1, HEADER), numbered(2, mtu + 14), numbered(3, HEADER)];
      const rig = await start(frames);
      expect(rig.device.mtu).toBe(mtu);
      expect(await receiveAll(rig, 3)).toEqual(frames);
      expect(allSame(await transmitAll(rig, frames), frames)).toBe(true);
    });

    test('a frame larger than the MTU is taken, not sent, and counted', async () => {
      const rig = await start();
      const before = rig.device.stats.txDropped;
      const frames = makeFrames(2, 4_096);
      fill(frames[0]!, numbered(1, rig.device.mtu + 15));
      fill(frames[1]!, numbered(2));
      expect(rig.device.transmit(frames, 0, 2)).toBe(2);
      const out: Uint8Array[] = [];
      for (let round = 0; round < ROUNDS && out.length === 0; round++) {
        out.push(...(await rig.drain()).filter(isOurs));
        if (out.length === 0) await rig.pump();
      }
      expect(out).toEqual([numbered(2)]);
      expect(rig.device.stats.txDropped - before).toBe(1);
    });

    test('stats count frames and bytes of both ways', async () => {
      const frames = [numbered(1, 100), numbered(2, 200), numbered(3, 300)];
      const rig = await start(frames);
      await receiveAll(rig, 3);
      await transmitAll(rig, frames.slice(0, 2));
      const { stats } = rig.device;
      atLeastOrEqual(stats.rxFrames, 3);
      atLeastOrEqual(stats.rxBytes, 600);
      atLeastOrEqual(stats.txFrames, 2);
      atLeastOrEqual(stats.txBytes, 300);
      expect(stats.txDropped).toBe(0);
    });

    test.skipIf(traits.neverFull)(
      'a full device takes less, keeps order, and calls onReady when there is room',
      async () => {
        const rig = await start();
        const frames = makeFrames(8);
        let ready = 0;
        rig.device.onReady = () => {
          ready++;
        };
        const most = traits.capacity ?? 100_000;
        let sent = 0;
        let taken = 8;
        while (taken === 8 && sent < most) {
          for (let i = 0; i < 8; i++) fill(frames[i]!.reset(), numbered(sent + i));
          taken = rig.device.transmit(frames, 0, 8);
          sent += taken;
        }
        expect(taken).toBeLessThan(8);
        ready = 0;
        const out: Uint8Array[] = [];
        for (let round = 0; round < ROUNDS && (ready === 0 || out.length < sent); round++) {
          out.push(...(await rig.drain()).filter(isOurs));
          await rig.pump();
        }
        expect(ready).toBeGreaterThan(0);
        expect(
          allSame(
            out,
            Array.from({ length: sent }, (_, i) => numbered(i)),
          ),
        ).toBe(true);
        expect(rig.device.transmit(frames, taken, taken + 1)).toBe(1);
        expect(rig.device.stats.txDropped).toBe(0);
      },
    );

    test('onReady is called when a frame comes', async (context) => {
      const rig = await start();
      if (rig.inject === undefined) return context.skip('it goes by the clock');
      let ready = 0;
      rig.device.onReady = () => {
        ready++;
      };
      await rig.inject(numbered(0));
      for (let round = 0; round < ROUNDS && ready === 0; round++) await rig.pump();
      expect(ready).toBeGreaterThan(0);
      expect(await receiveAll(rig, 1)).toEqual([numbered(0)]);
    });

    test('nextTimeout is honest: told only the times it asks for, a device hands on everything', async () => {
      const frames = Array.from({ length: 20 }, (_, i) => numbered(i));
      const rig = await start(frames);
      const { device } = rig;
      let got = 0;
      let now = 0;
      for (let round = 0; round < ROUNDS && got < frames.length; round++) {
        const next = device.nextTimeout();
        // Nothing to wait for in its own time: then it waits for the world.
        if (next === NEVER) await rig.pump();
        else {
          now = Math.max(now, next);
          device.advance(now);
        }
        device.receive((packet) => {
          if (isOurs(bytesOf(packet))) got++;
        }, 4);
      }
      expect(got).toBe(frames.length);
      expect(device.nextTimeout()).toBe(NEVER);
    });

    test('a closed device takes nothing, hands on nothing, and is quiet; closing twice is harmless', async () => {
      const rig = await start([numbered(0), numbered(1)]);
      const { device } = rig;
      await rig.pump();
      let ready = 0;
      device.onReady = () => {
        ready++;
      };
      device.close();
      device.close();
      ready = 0;
      const [frame] = makeFrames(1) as [Frame];
      expect(device.transmit([fill(frame, numbered(9))], 0, 1)).toBe(0);
      expect(device.receive(() => expect.unreachable('a frame from a closed device'), 64)).toBe(0);
      await rig.pump();
      device.advance(1e12);
      expect(device.receive(() => expect.unreachable('a frame from a closed device'), 64)).toBe(0);
      expect(device.nextTimeout()).toBe(NEVER);
      expect(ready).toBe(0);
    });

    test('a device may be closed from within its own sink', async () => {
      const rig = await start([numbered(0), numbered(1), numbered(2)]);
      let seen = 0;
      for (let round = 0; round < ROUNDS && seen === 0; round++) {
        rig.device.receive((packet) => {
          if (!isOurs(bytesOf(packet))) return;
          seen++;
          rig.device.close();
        }, 64);
        if (seen === 0) await rig.pump();
      }
      expect(seen).toBe(1);
    });
  });
}
