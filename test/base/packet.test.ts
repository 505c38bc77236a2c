// Slabs, frames and packets: src/base/slab.ts and src/base/packet.ts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { FRAME_SIZE, type Frame, HEADROOM, makeFrames, Packet, UNICAST } from '../../src/base/packet.ts';
import { NO_TOKEN, Slab, SlabPool } from '../../src/base/slab.ts';

describe('Slab', () => {
  test('its view shows its bytes, in a larger buffer too', () => {
    const buffer = new Uint8Array(32);
    const slab = new Slab(buffer.subarray(8, 24));
    slab.view.setUint16(0, 0x1234);
    expect([...buffer.subarray(8, 10)]).toEqual([0x12, 0x34]);
    expect([slab.view.byteLength, slab.token, slab.refs]).toEqual([16, NO_TOKEN, 0]);
  });

  test('one that belongs to no pool is counted all the same', () => {
    const slab = new Slab(new Uint8Array(1));
    expect(slab.hold()).toBe(slab);
    slab.release();
    expect(slab.refs).toBe(0);
  });
});

describe('SlabPool', () => {
  test('law: a slab is used again only after everyone let go, and never by two', () => {
    const acts = fc.array(fc.tuple(fc.constantFrom('take', 'hold', 'release'), fc.nat()), { maxLength: 200 });
    fc.assert(
      fc.property(acts, fc.nat({ max: 4 }), (all, most) => {
        const pool = new SlabPool(64, most);
        const held = new Map<Slab, number>();
        for (const [act, n] of all) {
          const slab = [...held.keys()][n % Math.max(1, held.size)];
          if (act === 'take') {
            const taken = pool.take();
            expect(held.has(taken)).toBe(false);
            expect(taken.bytes.length).toBe(64);
            held.set(taken, 1);
          } else if (slab !== undefined && act === 'hold') {
            slab.hold();
            held.set(slab, held.get(slab)! + 1);
          } else if (slab !== undefined) {
            slab.release();
            const refs = held.get(slab)! - 1;
            if (refs === 0) held.delete(slab);
            else held.set(slab, refs);
          }
          for (const [s, refs] of held) expect(s.refs).toBe(refs);
          expect(pool.inUse).toBe(held.size);
        }
      }),
    );
  });

  test('keeps no more than it was told to', () => {
    const pool = new SlabPool(16, 2);
    const first = [pool.take(), pool.take(), pool.take()];
    for (const slab of first) slab.release();
    const second = [pool.take(), pool.take(), pool.take()];
    expect(second.filter((slab) => first.includes(slab))).toHaveLength(2);
  });
});

describe('Frame', () => {
  const whole = (frame: Frame) => {
    const out = new Uint8Array(frame.length + 3);
    expect(frame.copyTo(out, 3)).toBe(out.length);
    return [...out.subarray(3)];
  };

  test('headers go outward, payload inward, ranges behind, in the order they were attached', () => {
    const [frame] = makeFrames(1) as [Frame];
    const slab = new Slab(Uint8Array.of(9, 8, 7, 6, 5));
    frame.bytes[frame.put(1)] = 3;
    frame.copyIn(Uint8Array.of(0, 4, 5, 0), 1, 2);
    frame.attach(slab, 0, 2);
    frame.attach(slab, 0, 0);
    frame.attach(slab, 3, 2);
    frame.bytes[frame.push(1)] = 2;
    frame.bytes[frame.push(1)] = 1;
    expect(whole(frame)).toEqual([1, 2, 3, 4, 5, 9, 8, 6, 5]);
    expect(frame.length).toBe(9);
    expect(frame.room).toBe(FRAME_SIZE - HEADROOM - 3);
  });

  test('an attached slab is held until the frame is reset, once for each range', () => {
    const [frame] = makeFrames(1) as [Frame];
    const slab = new Slab(new Uint8Array(8));
    frame.attach(slab, 0, 4);
    frame.attach(slab, 4, 4);
    expect(slab.refs).toBe(2);
    frame.reset();
    frame.reset();
    expect(slab.refs).toBe(0);
    expect(frame.length).toBe(0);
  });

  test('reset forgets everything', () => {
    const [frame, fresh] = makeFrames(2) as [Frame, Frame];
    frame.put(10);
    frame.push(4);
    frame.attach(new Slab(new Uint8Array(8)), 1, 3);
    frame.gsoSize = 1;
    frame.checksumStart = 2;
    frame.checksumOffset = 3;
    frame.note = 'x';
    frame.reset();
    const state = (f: Frame) => [
      f.head - f.origin,
      f.tail - f.origin,
      f.a,
      f.aOffset,
      f.aLength,
      f.b,
      f.bOffset,
      f.bLength,
      f.gsoSize,
      f.checksumStart,
      f.checksumOffset,
      f.note,
    ];
    expect(state(frame)).toEqual(state(fresh));
  });

  test('frames made together share one slab and no byte of it', () => {
    const frames = makeFrames(5, 256);
    expect(new Set(frames.map(({ slab }) => slab)).size).toBe(1);
    for (const frame of frames) {
      frame.put(frame.room);
      frame.push(frame.head - frame.origin);
      expect(frame.length).toBe(256);
      expect(frame.bytes.subarray(frame.head, frame.tail).every((b) => b === 0)).toBe(true);
      frame.bytes.fill(1, frame.head, frame.tail);
    }
  });

  test('the headroom holds the longest headers: tagged Ethernet, IPv6, a fragment header and a full TCP header', () => {
    expect(HEADROOM).toBeGreaterThanOrEqual(18 + 40 + 8 + 60);
    expect(FRAME_SIZE - HEADROOM).toBeGreaterThanOrEqual(1_500);
  });
});

describe('Packet', () => {
  test('set points it at a frame and forgets the one before', () => {
    const packet = new Packet();
    const slab = new Slab(new Uint8Array(100));
    packet.pinned = packet.checksumTrusted = packet.groupDestination = true;
    packet.gsoSize = 9;
    packet.linkCast = 2;
    expect(packet.set(slab, 10, 60)).toBe(packet);
    expect([packet.start, packet.at, packet.end]).toEqual([10, 10, 70]);
    expect([packet.bytes, packet.view]).toEqual([slab.bytes, slab.view]);
    expect([
      packet.pinned,
      packet.checksumTrusted,
      packet.groupDestination,
      packet.gsoSize,
      packet.linkCast,
    ]).toEqual([false, false, false, 0, UNICAST]);
  });

  test('RFC 4007: link-local addresses get the zone of their interface, others none', () => {
    const packet = new Packet();
    packet.interfaceIndex = 7;
    const put = (text: string) => {
      const { w0, w1, w2, w3 } = parseAddress(text)!;
      [packet.s0, packet.s1, packet.s2, packet.s3] = [w0, w1, w2, w3];
      [packet.d0, packet.d1, packet.d2, packet.d3] = [w0, w1, w2, w3];
      return [packet.source().toString(), packet.destination().toString()];
    };
    expect(put('fe80::1')).toEqual(['fe80::1%7', 'fe80::1%7']);
    expect(put('ff02::1')).toEqual(['ff02::1%7', 'ff02::1%7']);
    for (const text of ['2001:db8::1', 'ff05::2', '10.7.0.2', '169.254.1.1', '::1'])
      expect(put(text)).toEqual([text, text]);
  });
});
