import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Address, parseAddress } from '../../src/base/address.ts';
import { finish, pseudoHeaderSum, sum } from '../../src/base/checksum.ts';
import { Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { ACK, FIN, PSH, SYN, setChecksum, setUrgentPointer, URG, writeHeader } from '../../src/tcp/header.ts';
import { writeTimestamps } from '../../src/tcp/options.ts';
import { createSegment, isAck, isFin, isRst, isSyn, isUrg, parseSegment } from '../../src/tcp/segment.ts';

const V4: [Address, Address] = [parseAddress('10.7.0.1')!, parseAddress('255.7.0.2')!];
const V6: [Address, Address] = [parseAddress('fe80::1')!, parseAddress('2001:db8::ffff:1')!];
const AT = 37;

/** A packet whose TCP segment starts at an odd place, with timestamps and `data`. */
function build(
  [source, destination]: [Address, Address],
  flags: number,
  data: Uint8Array,
  { sourcePort = 1234, destinationPort = 80 } = {},
): Packet {
  const slab = new Slab(new Uint8Array(AT + 32 + data.length + 3).fill(0xaa));
  const { view } = slab;
  const end = AT + 32 + data.length;
  writeHeader(view, AT, sourcePort, destinationPort, 0xfffffff0, 0x80000001, 32, flags, 0xfff1);
  writeTimestamps(view, AT + 20, 77, 0xf0000000);
  setUrgentPointer(view, AT, 5);
  slab.bytes.set(data, AT + 32);
  setChecksum(view, AT, finish(sum(view, AT, end, pseudoHeaderSum(source, destination, 6, end - AT))));
  const packet = new Packet().set(slab, 0, end);
  packet.at = AT;
  [packet.s0, packet.s1, packet.s2, packet.s3] = [source.w0, source.w1, source.w2, source.w3];
  [packet.d0, packet.d1, packet.d2, packet.d3] = [
    destination.w0,
    destination.w1,
    destination.w2,
    destination.w3,
  ];
  packet.trafficClass = 0xb8 | 3;
  return packet;
}

describe('RFC 9293 3.1, a segment as it arrives', () => {
  test.each([
    ['IPv4', V4],
    ['IPv6', V6],
  ])('%s: every field, and the data in place', (_, pair) => {
    const data = Uint8Array.from([1, 2, 3, 4, 5]);
    const packet = build(pair, ACK | PSH | URG, data);
    const seg = createSegment();
    expect(parseSegment(packet, seg)).toBeUndefined();
    expect(seg).toMatchObject({
      sourcePort: 1234,
      destinationPort: 80,
      seq: 0xfffffff0,
      ack: 0x80000001,
      len: 5,
      dataLength: 5,
      wnd: 0xfff1,
      up: 5,
      flags: ACK | PSH | URG,
      ecn: 3,
      gsoSize: 0,
      dataAt: AT + 32,
    });
    expect(seg.slab).toBe(packet.slab);
    expect(seg.packet).toBe(packet);
    expect(seg.options).toMatchObject({ timestamps: true, tsval: 77, tsecr: 0xf0000000 });
    expect([isSyn(seg), isAck(seg), isFin(seg), isRst(seg), isUrg(seg)]).toEqual([
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  test('SEG.LEN counts SYN and FIN (3.3.1)', () => {
    const seg = createSegment();
    for (const [flags, extra] of [
      [0, 0],
      [SYN, 1],
      [FIN | ACK, 1],
      [SYN | FIN, 2],
    ] as const) {
      for (const n of [0, 1, 7]) {
        expect(parseSegment(build(V4, flags, new Uint8Array(n)), seg)).toBeUndefined();
        expect([seg.dataLength, seg.len]).toEqual([n, n + extra]);
      }
    }
  });

  test('MUST-3: one wrong bit anywhere, addresses too, is a bad checksum (hostile 91)', () => {
    const seg = createSegment();
    const data = Uint8Array.from({ length: 33 }, (_, i) => i);
    fc.assert(
      fc.property(fc.boolean(), fc.nat(65 * 8 - 1), (six, bit) => {
        const packet = build(six ? V6 : V4, ACK, data);
        const at = AT + (bit >> 3);
        packet.bytes[at] = packet.bytes[at]! ^ (1 << (bit & 7));
        const verdict = parseSegment(packet, seg);
        expect(verdict).toBeDefined();
        if (at - AT !== 12) expect(verdict).toBe('bad checksum');
      }),
    );
    const other = build(V4, ACK, data);
    other.d3 ^= 1;
    expect(parseSegment(other, seg)).toBe('bad checksum');
    other.checksumTrusted = true;
    expect(parseSegment(other, seg)).toBeUndefined();
  });

  test('cut at every byte it is refused', () => {
    const seg = createSegment();
    const whole = build(V4, ACK, Uint8Array.from([1, 2, 3, 4]));
    const { end } = whole;
    for (whole.end = AT; whole.end < end; whole.end++) {
      const expected =
        whole.end < AT + 20 ? 'truncated' : whole.end < AT + 32 ? 'bad data offset' : 'bad checksum';
      expect(parseSegment(whole, seg)).toBe(expected);
    }
  });

  test('port 0 is refused, either way (hostile 90)', () => {
    const seg = createSegment();
    expect(parseSegment(build(V4, SYN, new Uint8Array(0), { sourcePort: 0 }), seg)).toBe('bad port');
    expect(parseSegment(build(V4, SYN, new Uint8Array(0), { destinationPort: 0 }), seg)).toBe('bad port');
  });

  test('nothing of the segment before shows through', () => {
    const seg = createSegment();
    parseSegment(build(V4, ACK | URG, new Uint8Array(9)), seg);
    const bare = build(V4, SYN, new Uint8Array(0));
    writeHeader(bare.view, AT, 1, 2, 3, 4, 20, SYN, 6);
    bare.end = AT + 20;
    bare.checksumTrusted = true;
    bare.trafficClass = 0;
    bare.gsoSize = 1400;
    expect(parseSegment(bare, seg)).toBeUndefined();
    expect(seg).toMatchObject({
      seq: 3,
      ack: 4,
      len: 1,
      dataLength: 0,
      wnd: 6,
      up: 0,
      ecn: 0,
      gsoSize: 1400,
    });
    expect(seg.options.timestamps).toBe(false);
  });
});
