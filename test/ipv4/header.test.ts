import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ip from '../../src/ipv4/header.ts';
import { datagram } from './harness.ts';

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

describe('RFC 791 3.1: the header', () => {
  it('reads back every field that was written', () => {
    const u = (max: number) => fc.integer({ min: 0, max });
    const word = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
    fc.assert(
      fc.property(
        u(255),
        fc.integer({ min: 20, max: 200 }),
        u(65_535),
        u(65_535),
        u(255),
        u(255),
        word,
        word,
        (tos, length, id, flags, ttl, proto, source, destination) => {
          const view = new DataView(new ArrayBuffer(204));
          ip.writeHeader(view, 4, tos, length, id, flags, ttl, proto, source, destination);
          expect(ip.check(view, 4, 204)).toBeUndefined();
          expect(ip.version(view, 4)).toBe(4);
          expect(ip.headerLength(view, 4)).toBe(20);
          expect(ip.typeOfService(view, 4)).toBe(tos);
          expect(ip.totalLength(view, 4)).toBe(length);
          expect(ip.identification(view, 4)).toBe(id);
          expect(ip.flagsOffset(view, 4)).toBe(flags);
          expect(ip.dontFragment(view, 4)).toBe((flags & 0x4000) !== 0);
          expect(ip.moreFragments(view, 4)).toBe((flags & 0x2000) !== 0);
          expect(ip.fragmentOffset(view, 4)).toBe((flags & 0x1fff) * 8);
          expect(ip.isFragment(view, 4)).toBe((flags & 0x3fff) !== 0);
          expect(ip.timeToLive(view, 4)).toBe(ttl);
          expect(ip.protocol(view, 4)).toBe(proto);
          expect(ip.sourceWord(view, 4)).toBe(source);
          expect(ip.destinationWord(view, 4)).toBe(destination);
        },
      ),
    );
  });

  it('is refused when cut anywhere', () => {
    const whole = datagram({ options: [148, 4, 0, 0], payload: new Uint8Array(9) });
    expect(ip.check(viewOf(whole), 0, whole.length)).toBeUndefined();
    for (let n = 0; n < whole.length; n++) {
      expect(ip.check(viewOf(whole), 0, n), `cut at ${n}`).toBe('truncated');
    }
  });

  it('RFC 1122 3.2.1.2: a header with any bit turned is refused', () => {
    const whole = datagram({ options: [1, 1, 1, 0], payload: new Uint8Array(30) });
    for (let bit = 0; bit < 24 * 8; bit++) {
      const bytes = whole.slice();
      bytes[bit >> 3]! ^= 0x80 >> (bit & 7);
      expect(ip.check(viewOf(bytes), 0, bytes.length), `bit ${bit}`).toBeDefined();
    }
  });

  it('after check, no accessor throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const view = viewOf(bytes);
        if (ip.check(view, 0, bytes.length) !== undefined) return;
        ip.destinationWord(view, 0);
        expect(ip.headerLength(view, 0)).toBeLessThanOrEqual(ip.totalLength(view, 0));
        expect(ip.totalLength(view, 0)).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000 },
    );
  });

  it('names what is wrong', () => {
    const cases: [Uint8Array, string][] = [
      [datagram({ ihl: 4 }), 'bad header length'], // hostile 9
      [datagram({ ihl: 15 }), 'bad total length'],
      [datagram({ totalLength: 19 }), 'bad total length'], // hostile 7, 8
      [datagram({ totalLength: 21 }), 'truncated'], // hostile 10
      [datagram({ badChecksum: true }), 'bad checksum'],
    ];
    for (const [bytes, reason] of cases) expect(ip.check(viewOf(bytes), 0, bytes.length)).toBe(reason);
    const six = datagram();
    six[0] = 0x65;
    expect(ip.check(viewOf(six), 0, six.length)).toBe('bad version');
  });

  it('RFC 1624: taking one from the TTL leaves the checksum that a full sum would give', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const header = bytes.slice();
        header[0] = 0x45;
        header[8] = Math.max(1, header[8]!);
        header[2] = 0;
        header[3] = 20;
        const view = viewOf(header);
        ip.refreshChecksum(view, 0);
        const ttl = ip.timeToLive(view, 0);
        ip.decrementTtl(view, 0);
        expect(ip.timeToLive(view, 0)).toBe(ttl - 1);
        expect(ip.check(view, 0, 20)).toBeUndefined();
      }),
    );
  });
});
