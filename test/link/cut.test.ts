// Cutting super-frames and completing checksums: src/link/cut.ts and src/link/headers.ts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeFrames } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { Cutter, completeChecksum, cutBytes, cutFrame, segmentCount } from '../../src/link/cut.ts';
import { checksumHolds, completeBytes, Headers, readHeaders } from '../../src/link/headers.ts';
import {
  ACK,
  allSame,
  bytesOfFrame,
  CWR,
  ECE,
  FIN,
  type FrameSpec,
  frameOf,
  headerOf,
  joined,
  judge,
  noise,
  PSH,
  SYN,
  same,
  URG,
  wireOf,
} from './frames.ts';

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function cutAll(spec: FrameSpec, gsoSize: number, inline = 0, joint = 0): Uint8Array[] {
  const out: Uint8Array[] = [];
  const frame = frameOf(spec, gsoSize, inline, joint);
  const n = cutFrame(frame, (bytes, at, length, index, count) => {
    expect(index).toBe(out.length);
    expect(count).toBe(Math.ceil(spec.payload.length / gsoSize));
    out.push(bytes.slice(at, at + length));
  });
  expect(n).toBe(out.length);
  return out;
}

const payloads = fc
  .tuple(fc.integer({ min: 1, max: 9_000 }), fc.integer({ min: 1, max: 1_000_000 }))
  .map(([length, seed]) => noise(length, seed));
const specs: fc.Arbitrary<FrameSpec> = fc.record({
  family: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
  payload: payloads,
  seq: fc.nat({ max: 0xffff_ffff }),
  flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR, ACK | ECE),
  id: fc.nat({ max: 0xffff }),
  ipOptions: fc.constantFrom(0, 8, 24),
  tcpOptions: fc.constantFrom(0, 12, 40),
  vlan: fc.boolean(),
});
const layouts = fc.record({
  gsoSize: fc.integer({ min: 40, max: 4_000 }),
  inline: fc.integer({ min: 0, max: 1_400 }),
  joint: fc.integer({ min: 0, max: 9_000 }),
});

describe('a super-frame is cut into what it stands for', () => {
  test('payloads joined give the original, and every checksum is right', () => {
    fc.assert(
      fc.property(specs, layouts, (spec, { gsoSize, inline, joint }) => {
        const segments = cutAll(spec, gsoSize, Math.min(inline, spec.payload.length), joint);
        const judged = segments.map(judge);
        for (const j of judged) {
          expect(j.ipChecksumRight).toBe(true);
          expect(j.transportChecksumRight).toBe(true);
        }
        expect(same(joined(judged.map(({ payload }) => payload)), spec.payload)).toBe(true);
        for (const { payload } of judged.slice(0, -1)) expect(payload.length).toBe(gsoSize);
      }),
      { numRuns: 150 },
    );
  });

  test('where the payload lies makes no difference: inline, in ranges, whole', () => {
    fc.assert(
      fc.property(specs, layouts, (spec, { gsoSize, inline, joint }) => {
        const frame = frameOf(spec, gsoSize, Math.min(inline, spec.payload.length), joint);
        const fromFrame: Uint8Array[] = [];
        cutFrame(frame, (bytes, at, length) => fromFrame.push(bytes.slice(at, at + length)));
        const whole = new Uint8Array(frame.length + 7);
        frame.copyTo(whole, 7);
        const fromBytes: Uint8Array[] = [];
        cutBytes(whole, 7, frame.length, gsoSize, (bytes, at, length) =>
          fromBytes.push(bytes.slice(at, at + length)),
        );
        const cutter = new Cutter();
        const [into] = makeFrames(1);
        const asFrames: Uint8Array[] = [];
        expect(cutter.begin(frame)).toBe(true);
        while (cutter.nextFrame(into!.reset())) asFrames.push(bytesOfFrame(into!));
        const completed: Uint8Array[] = [];
        expect(cutter.begin(frame)).toBe(true);
        while (cutter.nextFrame(into!.reset(), true)) {
          completeChecksum(into!);
          completed.push(bytesOfFrame(into!));
        }
        expect(allSame(fromBytes, fromFrame)).toBe(true);
        expect(allSame(asFrames, fromFrame)).toBe(true);
        expect(allSame(completed, fromFrame)).toBe(true);
        expect(segmentCount(viewOf(whole), 7, frame.length, gsoSize)).toBe(fromFrame.length);
      }),
      { numRuns: 100 },
    );
  });

  test('RFC 9293 3.4: sequence numbers go on from segment to segment, and wrap', () => {
    const seqs = cutAll({ payload: noise(3_000), seq: 0xffff_fc00 }, 1_000).map((b) => judge(b).seq);
    expect(seqs).toEqual([0xffff_fc00, 0xffff_ffe8, 0x3d0]);
  });

  test('IPv4 identification goes up by one a segment, and wraps', () => {
    const ids = cutAll({ payload: noise(4_000), id: 0xfffe }, 1_000).map((b) => judge(b).id);
    expect(ids).toEqual([0xfffe, 0xffff, 0, 1]);
  });

  test('FIN and PSH come on the last segment only', () => {
    const flags = cutAll({ payload: noise(2_500), flags: ACK | PSH | FIN }, 1_000).map((b) => judge(b).flags);
    expect(flags).toEqual([ACK, ACK, ACK | PSH | FIN]);
  });

  test('RFC 3168 6.1.2: CWR stays on the first segment only, ECE on all', () => {
    const flags = cutAll({ payload: noise(2_500), flags: ACK | CWR | ECE }, 1_000).map((b) => judge(b).flags);
    expect(flags).toEqual([ACK | CWR | ECE, ACK | ECE, ACK | ECE]);
  });

  test('RFC 9293 3.8.5: the urgent pointer counts from each segment, and ends where the urgent data does', () => {
    const judged = cutAll({ payload: noise(4_000), flags: ACK | URG, urgent: 1_700 }, 1_000).map(judge);
    expect(judged.map(({ flags }) => flags)).toEqual([ACK | URG, ACK | URG, ACK, ACK]);
    expect(judged.map(({ urgent }) => urgent)).toEqual([1_700, 700, 0, 0]);
  });

  test('a payload that is no longer than one segment stays one, checksum completed', () => {
    const spec: FrameSpec = { payload: noise(900), flags: ACK | PSH };
    expect(cutAll(spec, 1_460)).toEqual([wireOf(spec)]);
  });

  test('65,535 bytes of IPv4 and of IPv6 payload are cut whole', () => {
    for (const family of [4, 6] as const) {
      const payload = noise(family === 4 ? 65_495 : 65_515);
      const segments = cutAll({ family, payload }, 1_440).map(judge);
      expect(segments.every((s) => s.transportChecksumRight && s.ipChecksumRight)).toBe(true);
      expect(segments.reduce((n, s) => n + s.payload.length, 0)).toBe(payload.length);
    }
  });

  test('RFC 768: UDP over IPv4 without a checksum stays without', () => {
    const { bytes } = headerOf({ protocol: 'udp', payload: noise(2_000) });
    const whole = new Uint8Array(bytes.length + 2_000);
    whole.set(bytes);
    whole.set(noise(2_000), bytes.length);
    viewOf(whole).setUint16(40, 0);
    const fields: number[] = [];
    cutBytes(whole, 0, whole.length, 1_000, (segment, at) => fields.push(viewOf(segment).getUint16(at + 40)));
    expect(fields).toEqual([0, 0]);
  });

  test('RFC 768: a UDP checksum that comes to zero goes as all ones', () => {
    const spec: FrameSpec = { protocol: 'udp', payload: new Uint8Array(2) };
    // Find the payload whose checksum is zero: what is missing to all ones.
    const rest = viewOf(wireOf(spec)).getUint16(40);
    const payload = Uint8Array.of(rest >>> 8, rest & 255);
    const frame = frameOf({ ...spec, payload });
    completeChecksum(frame);
    expect(viewOf(bytesOfFrame(frame)).getUint16(40)).toBe(0xffff);
    const whole = bytesOfFrame(frameOf({ ...spec, payload }));
    expect(completeBytes(viewOf(whole), 0, whole.length)).toBe(true);
    expect(viewOf(whole).getUint16(40)).toBe(0xffff);
  });

  test('payload is not copied: segments point into the slabs of the super-frame, and let go of them', () => {
    const frame = frameOf({ payload: noise(5_000) }, 1_000, 0, 2_500);
    const { a, b } = frame;
    const cutter = new Cutter();
    expect(cutter.begin(frame)).toBe(true);
    frame.reset();
    expect(a!.refs).toBe(1);
    const frames = makeFrames(5);
    for (const into of frames) expect(cutter.nextFrame(into)).toBe(true);
    expect(frames.map((f) => [f.a === a, f.a === b, f.b === b])).toEqual([
      [true, false, false],
      [true, false, false],
      [true, false, true],
      [false, true, false],
      [false, true, false],
    ]);
    expect([a!.refs, b!.refs]).toEqual([3, 3]);
    for (const into of frames) into.reset();
    expect([a!.refs, b!.refs]).toEqual([0, 0]);
    expect(cutter.nextFrame(frames[0]!)).toBe(false);
  });

  test('a super-frame that is let go half way leaves no slab held', () => {
    const frame = frameOf({ payload: noise(5_000) }, 1_000, 0, 2_500);
    const { a, b } = frame;
    const cutter = new Cutter();
    cutter.begin(frame);
    const [into] = makeFrames(1);
    cutter.nextFrame(into!);
    into!.reset();
    frame.reset();
    cutter.reset();
    expect([a!.refs, b!.refs]).toEqual([0, 0]);
  });
});

describe('a pending checksum is completed', () => {
  test('wherever the joints of the ranges lie, odd or even', () => {
    fc.assert(
      fc.property(specs, layouts, (spec, { inline, joint }) => {
        const frame = frameOf(spec, 0, Math.min(inline, spec.payload.length), joint);
        completeChecksum(frame);
        expect(frame.checksumStart).toBe(-1);
        expect(same(bytesOfFrame(frame), wireOf(spec))).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test('in bytes, whatever the field held, and with Ethernet padding behind', () => {
    fc.assert(
      fc.property(specs, fc.nat({ max: 46 }), (spec, padding) => {
        const frame = bytesOfFrame(frameOf(spec));
        const whole = new Uint8Array(frame.length + padding).fill(0xaa);
        whole.set(frame);
        expect(completeBytes(viewOf(whole), 0, whole.length)).toBe(true);
        expect(same(whole.subarray(0, frame.length), wireOf(spec))).toBe(true);
        expect(checksumHolds(viewOf(whole), 0, whole.length)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('a fragment, an ICMP message and an ARP packet have none to complete', () => {
    const fragment = wireOf({ payload: noise(100) });
    fragment[20] = 0x20; // more fragments
    const icmp = wireOf({ payload: noise(100) });
    icmp[23] = 1;
    const arp = noise(60);
    viewOf(arp).setUint16(12, 0x0806);
    for (const bytes of [fragment, icmp, arp]) {
      const before = bytes.slice();
      expect(completeBytes(viewOf(bytes), 0, bytes.length)).toBe(false);
      expect(bytes).toEqual(before);
    }
  });
});

describe('hostile frames are left alone', () => {
  test('class 1: every truncation of every kind of frame is refused without a throw', () => {
    const kinds: FrameSpec[] = [
      { payload: noise(40) },
      { payload: noise(40), ipOptions: 8, tcpOptions: 12, vlan: true },
      { payload: noise(40), family: 6, ipOptions: 8 },
      { payload: noise(40), family: 6, protocol: 'udp', vlan: true },
    ];
    for (const spec of kinds) {
      const whole = wireOf(spec);
      for (let length = 0; length < whole.length; length++) {
        const short = whole.slice(0, length);
        expect(readHeaders(viewOf(short), 0, length, length, new Headers())).toBe(false);
        expect(completeBytes(viewOf(short), 0, length)).toBe(false);
        expect(cutBytes(short, 0, length, 10, () => expect.unreachable())).toBe(0);
        expect(segmentCount(viewOf(short), 0, length, 10)).toBe(1);
      }
    }
  });

  test('any bytes at all: no throw, no read beyond the end, no endless walk', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x0800, 0x86dd, 0x8100),
        (bytes, type) => {
          if (bytes.length >= 14) viewOf(bytes).setUint16(12, type);
          const n = cutBytes(bytes, 0, bytes.length, 8, () => {});
          expect(n).toBeLessThanOrEqual(Math.ceil(bytes.length / 8));
          completeBytes(viewOf(bytes), 0, bytes.length);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('class 36: a chain of extension headers is walked eight deep and no further', () => {
    const spec: FrameSpec = { family: 6, payload: noise(200) };
    const plain = wireOf(spec);
    for (const depth of [8, 9]) {
      const chain = new Uint8Array(8 * depth);
      for (let i = 0; i < depth; i++) chain[i * 8] = i === depth - 1 ? 6 : 60;
      const long = new Uint8Array(plain.length + chain.length);
      long.set(plain.subarray(0, 54));
      long.set(chain, 54);
      long.set(plain.subarray(54), 54 + chain.length);
      long[20] = 60;
      viewOf(long).setUint16(18, long.length - 54);
      expect(readHeaders(viewOf(long), 0, long.length, long.length, new Headers())).toBe(depth === 8);
    }
  });

  test('a SYN, a RST and a segment size of nothing are never cut', () => {
    expect(cutFrame(frameOf({ payload: noise(3_000), flags: SYN }, 1_000), () => {})).toBe(0);
    expect(cutFrame(frameOf({ payload: noise(3_000), flags: 0x04 | ACK }, 1_000), () => {})).toBe(0);
    const whole = wireOf({ payload: noise(3_000) });
    expect(cutBytes(whole, 0, whole.length, 0, () => {})).toBe(0);
    expect(cutBytes(whole, 0, whole.length, -1, () => {})).toBe(0);
  });

  test('headers in an attached range are found all the same', () => {
    const spec: FrameSpec = { payload: noise(3_000), flags: ACK | PSH };
    const whole = bytesOfFrame(frameOf(spec));
    const [frame] = makeFrames(1);
    frame!.copyIn(whole, 0, 20);
    frame!.attach(new Slab(whole), 20, whole.length - 20);
    frame!.gsoSize = 1_000;
    const out: Uint8Array[] = [];
    cutFrame(frame!, (bytes, at, length) => out.push(bytes.slice(at, at + length)));
    expect(out).toEqual(cutAll(spec, 1_000));
  });
});
