import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as h from '../../src/tcp/header.ts';

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('RFC 9293 3.1, header format', () => {
  test('a SYN,ACK as another stack wrote it', () => {
    const bytes = Uint8Array.from([
      0x00, 0x50, 0xc3, 0x50, 0x01, 0x02, 0x03, 0x04, 0xa1, 0xb2, 0xc3, 0xd4, 0x60, 0x12, 0x72, 0x10, 0xbe,
      0xef, 0x00, 0x07, 0x02, 0x04, 0x05, 0xb4,
    ]);
    const view = new DataView(bytes.buffer);
    expect(h.check(view, 0, 24)).toBeUndefined();
    expect(h.sourcePort(view, 0)).toBe(80);
    expect(h.destinationPort(view, 0)).toBe(50000);
    expect(h.sequenceNumber(view, 0)).toBe(0x01020304);
    expect(h.acknowledgmentNumber(view, 0)).toBe(0xa1b2c3d4);
    expect(h.headerLength(view, 0)).toBe(24);
    expect(h.flags(view, 0)).toBe(h.SYN | h.ACK);
    expect(h.flagNames(h.flags(view, 0))).toBe('SYN,ACK');
    expect(h.window(view, 0)).toBe(0x7210);
    expect(h.checksum(view, 0)).toBe(0xbeef);
    expect(h.urgentPointer(view, 0)).toBe(7);
  });

  test('what the setters write the getters read, and nothing else moves', () => {
    fc.assert(
      fc.property(
        u16,
        u16,
        u32,
        u32,
        fc.integer({ min: 5, max: 15 }),
        fc.nat(255),
        u16,
        u16,
        u16,
        (sp, dp, seq, ack, words, bits, wnd, sum, up) => {
          const view = new DataView(new Uint8Array(24).fill(0xee).buffer);
          h.setSourcePort(view, 2, sp);
          h.setDestinationPort(view, 2, dp);
          h.setSequenceNumber(view, 2, seq);
          h.setAcknowledgmentNumber(view, 2, ack);
          h.setHeaderLength(view, 2, 4 * words);
          h.setFlags(view, 2, bits);
          h.setWindow(view, 2, wnd);
          h.setChecksum(view, 2, sum);
          h.setUrgentPointer(view, 2, up);
          expect([
            h.sourcePort(view, 2),
            h.destinationPort(view, 2),
            h.sequenceNumber(view, 2),
            h.acknowledgmentNumber(view, 2),
            h.headerLength(view, 2),
            h.flags(view, 2),
            h.window(view, 2),
            h.checksum(view, 2),
            h.urgentPointer(view, 2),
          ]).toEqual([sp, dp, seq, ack, 4 * words, bits, wnd, sum, up]);
          expect(view.getUint16(0)).toBe(0xeeee);
          expect(view.getUint16(22)).toBe(0xeeee);
        },
      ),
    );
  });

  test('writeHeader writes what the single setters write', () => {
    fc.assert(
      fc.property(
        u16,
        u16,
        u32,
        u32,
        fc.integer({ min: 5, max: 15 }),
        fc.nat(255),
        u16,
        (sp, dp, seq, ack, words, bits, wnd) => {
          const one = new Uint8Array(20).fill(0xee);
          const two = new Uint8Array(20);
          h.writeHeader(new DataView(one.buffer), 0, sp, dp, seq, ack, 4 * words, bits, wnd);
          const view = new DataView(two.buffer);
          h.setSourcePort(view, 0, sp);
          h.setDestinationPort(view, 0, dp);
          h.setSequenceNumber(view, 0, seq);
          h.setAcknowledgmentNumber(view, 0, ack);
          h.setHeaderLength(view, 0, 4 * words);
          h.setFlags(view, 0, bits);
          h.setWindow(view, 0, wnd);
          expect(one).toEqual(two);
        },
      ),
    );
  });

  test('fewer than 20 bytes are truncated, at every byte (hostile 84)', () => {
    const view = new DataView(new Uint8Array(64).fill(0xff).buffer);
    for (let n = 0; n < 20; n++) expect(h.check(view, 0, n)).toBe('truncated');
    for (let n = 20; n < 60; n++) expect(h.check(view, 0, n)).toBe('bad data offset');
    expect(h.check(view, 0, 60)).toBeUndefined();
  });

  test('a data offset below 5 or past the segment is refused (hostile 68)', () => {
    const view = new DataView(new ArrayBuffer(60));
    for (let words = 0; words <= 15; words++) {
      h.setHeaderLength(view, 0, 4 * words);
      expect(h.check(view, 0, 40)).toBe(words < 5 || words > 10 ? 'bad data offset' : undefined);
    }
  });
});
