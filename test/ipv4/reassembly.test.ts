import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANY_V4 } from '../../src/base/address.ts';
import { makeFrames } from '../../src/base/packet.ts';
import { SECOND } from '../../src/base/time.ts';
import * as ip from '../../src/ipv4/header.ts';
import {
  MAX_BYTES,
  MAX_BYTES_PER_SOURCE,
  MAX_DATAGRAMS,
  MAX_DATAGRAMS_PER_SOURCE,
  MAX_FRAGMENTS,
  REASSEMBLY_TIMEOUT,
} from '../../src/ipv4/reassembly.ts';
import {
  addr,
  answersPing,
  counting,
  datagram,
  echoRequest,
  isSound,
  OURS,
  PEER,
  Recorder,
  TestHost,
} from './harness.ts';

const PROTOCOL = 99;

function receiver(): { host: TestHost; transport: Recorder } {
  const host = new TestHost();
  const transport = new Recorder();
  host.ipv4.register(PROTOCOL, transport);
  return { host, transport };
}

interface Piece {
  offset: number;
  length: number;
  more?: boolean;
  id?: number;
  source?: string;
  fill?: number;
  tos?: number;
  protocol?: number;
}

function fragment({
  offset,
  length,
  more = true,
  id = 7,
  source = PEER,
  fill,
  tos = 0,
  protocol = PROTOCOL,
}: Piece) {
  const whole = counting(offset + length);
  const payload = fill === undefined ? whole.slice(offset) : new Uint8Array(length).fill(fill);
  return datagram({ protocol, id, source, offset, flags: more ? 0x2000 : 0, payload, tos });
}

/** Cuts `payload` as the stack cuts it, at `mtu`. */
function cut(payload: Uint8Array, mtu: number, options: number[] = []): Uint8Array[] {
  const host = new TestHost(`${PEER}/24`);
  host.eth.mtu = mtu;
  if (options.length > 0) {
    const packet = datagram({ protocol: PROTOCOL, options, payload });
    const slab = { bytes: packet, view: new DataView(packet.buffer) } as never;
    host.ipv4.output.fragmenter.send(slab, 0, packet.length, mtu, host.eth, ANY_V4);
    return host.eth.take().map((s) => s.bytes);
  }
  const path = host.ipv4.path(addr(OURS), undefined, 0);
  if (typeof path === 'string') throw new Error(path);
  const frame = makeFrames(1, 70_000)[0]!;
  frame.copyIn(payload, 0, payload.length);
  const result = host.ipv4.send(path, PROTOCOL, frame, { ttl: 64, trafficClass: 0, dontFragment: false });
  expect(result).toBe('sent');
  return host.eth.take().map((s) => s.bytes);
}

describe('RFC 791 3.2, RFC 815: reassembly', () => {
  it('fragmentation and reassembly are the identity, in any order and with any duplicates', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.constantFrom(300, 552, 576, 1006, 1500),
        fc.infiniteStream(fc.integer({ min: 0, max: 0x7fff_ffff })),
        fc.boolean(),
        (length, mtu, chance, withOptions) => {
          const payload = counting(length);
          const pieces = cut(payload, mtu, withOptions ? [148, 4, 0, 0, 7, 3, 4, 0] : []);
          expect(pieces.every(isSound)).toBe(true);
          expect(pieces.every((p) => p.length <= mtu)).toBe(true);
          const random = () => chance.next().value as number;
          const order = pieces.map((p) => p);
          for (let i = order.length - 1; i > 0; i--) {
            const k = random() % (i + 1);
            [order[i], order[k]] = [order[k]!, order[i]!];
          }
          const { host, transport } = receiver();
          for (const [i, piece] of order.entries()) {
            expect(host.receive(piece)).toBeUndefined();
            // A duplicate of anything but what completes it.
            if (i < order.length - 1) expect(host.receive(order[random() % (i + 1)]!)).toBeUndefined();
          }
          expect(transport.packets).toHaveLength(1);
          expect(transport.packets[0]!.payload).toEqual(payload);
          expect(host.ipv4.reassembly.size).toBe(0);
          expect(host.ipv4.reassembly.bytes).toBe(0);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('copies only options with the copied flag into later fragments', () => {
    const pieces = cut(counting(1000), 400, [148, 4, 0, 0, 7, 3, 4, 0]);
    expect([...pieces[0]!.slice(20, 28)]).toEqual([148, 4, 0, 0, 7, 3, 4, 0]);
    for (const piece of pieces.slice(1)) {
      expect(piece[0]).toBe(0x46);
      expect([...piece.slice(20, 24)]).toEqual([148, 4, 0, 0]);
    }
  });

  it('gives the whole datagram a header that is right again', () => {
    const { host, transport } = receiver();
    host.receive(fragment({ offset: 16, length: 5, more: false }));
    host.receive(fragment({ offset: 0, length: 16 }));
    const { packet } = transport.packets[0]!;
    expect(ip.check(packet.view, packet.network, packet.end)).toBeUndefined();
    expect(ip.isFragment(packet.view, packet.network)).toBe(false);
    expect(ip.totalLength(packet.view, packet.network)).toBe(41);
  });

  it('keeps datagrams apart by source, destination, protocol and identification', () => {
    const { host, transport } = receiver();
    host.receive(fragment({ offset: 0, length: 8, id: 1, fill: 1 }));
    host.receive(fragment({ offset: 0, length: 8, id: 2, fill: 2 }));
    host.receive(fragment({ offset: 0, length: 8, id: 1, source: '10.7.0.9', fill: 3 }));
    host.receive(fragment({ offset: 8, length: 8, id: 2, fill: 2, more: false }));
    expect(transport.packets).toHaveLength(1);
    expect(transport.packets[0]!.payload).toEqual(new Uint8Array(16).fill(2));
    expect(host.ipv4.reassembly.size).toBe(2);
  });

  it('RFC 3168 5.3: CE in one piece marks all; CE mixed with Not-ECT is dropped', () => {
    const { host, transport } = receiver();
    host.receive(fragment({ offset: 0, length: 8, tos: 2 }));
    host.receive(fragment({ offset: 8, length: 8, tos: 3, more: false }));
    expect(transport.packets[0]!.packet.trafficClass & 3).toBe(3);
    host.receive(fragment({ offset: 0, length: 8, tos: 0, id: 8 }));
    expect(host.receive(fragment({ offset: 8, length: 8, tos: 3, id: 8, more: false }))).toBe('bad fragment');
    expect(transport.packets).toHaveLength(1);
  });

  it('a ping of 65000 bytes comes back whole', () => {
    const host = new TestHost();
    const request = echoRequest(5, 6, counting(65_000));
    const body = request.slice(20);
    for (let offset = 0; offset < body.length; offset += 1480) {
      const payload = body.slice(offset, offset + 1480);
      const flags = offset + 1480 < body.length ? 0x2000 : 0;
      expect(host.receive(datagram({ protocol: 1, id: 3, offset, flags, payload }))).toBeUndefined();
    }
    const replies = host.eth.take();
    expect(replies).toHaveLength(Math.ceil(body.length / 1480));
    const other = new TestHost(`${PEER}/24`);
    const back = new Recorder();
    other.ipv4.register(1, back);
    for (const { bytes } of replies) other.receive(bytes);
    expect(back.packets[0]!.payload.slice(8)).toEqual(counting(65_000));
  });
});

describe('RFC 1122 3.3.2: time', () => {
  it('gives up after thirty seconds from the first fragment, and says so if fragment zero was there', () => {
    const { host, transport } = receiver();
    host.receive(fragment({ offset: 0, length: 800 }));
    host.round(REASSEMBLY_TIMEOUT - SECOND);
    host.receive(fragment({ offset: 800, length: 8 }));
    expect(host.ipv4.reassembly.size).toBe(1);
    host.round(SECOND);
    expect(host.ipv4.reassembly.size).toBe(0);
    expect(host.ipv4.reassembly.bytes).toBe(0);
    const [sent] = host.eth.take();
    expect([sent!.bytes[20], sent!.bytes[21]]).toEqual([11, 1]);
    expect(isSound(sent!.bytes)).toBe(true);
    expect(sent!.bytes.slice(28, 48)).toEqual(fragment({ offset: 0, length: 800 }).slice(0, 20));
    expect(host.ipv4.counters.ipSystemStatsReasmFails).toBe(1);
    expect(transport.packets).toHaveLength(0);
  });

  it('says nothing when fragment zero never came', () => {
    const { host } = receiver();
    host.receive(fragment({ offset: 8, length: 8 }));
    host.round(REASSEMBLY_TIMEOUT);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.reassembly.size).toBe(0);
    expect(host.timers.armed).toBe(0);
  });

  it('each datagram has its own deadline', () => {
    const { host } = receiver();
    host.receive(fragment({ offset: 8, length: 8, id: 1 }));
    host.round(10 * SECOND);
    host.receive(fragment({ offset: 8, length: 8, id: 2 }));
    host.round(20 * SECOND);
    expect(host.ipv4.reassembly.size).toBe(1);
    host.round(10 * SECOND);
    expect(host.ipv4.reassembly.size).toBe(0);
  });
});

describe('hostile fragments', () => {
  function works(host: TestHost, transport: Recorder): void {
    transport.packets = [];
    host.receive(fragment({ offset: 0, length: 64, id: 4242, source: '10.7.0.88' }));
    host.receive(fragment({ offset: 64, length: 3, id: 4242, source: '10.7.0.88', more: false }));
    expect(transport.packets.map((p) => p.payload)).toEqual([counting(67)]);
    expect(answersPing(host)).toBe(true);
  }

  it('hostile 21 (ping of death): what ends beyond 65535 takes the datagram with it', () => {
    const { host, transport } = receiver();
    host.receive(fragment({ offset: 0, length: 1480 }));
    expect(
      host.receive(datagram({ protocol: PROTOCOL, id: 7, offset: 65_528, payload: counting(400) })),
    ).toBe('bad fragment');
    expect(host.ipv4.reassembly.bytes).toBeLessThan(1000);
    expect(host.receive(fragment({ offset: 1480, length: 8, more: false }))).toBe('overlapping fragment');
    works(host, transport);
  });

  it('hostile 21: a header with options cannot push a legal payload over the edge', () => {
    const { host, transport } = receiver();
    const options = [148, 4, 0, 0];
    for (let offset = 0; offset < 65_512; offset += 1448) {
      const length = Math.min(1448, 65_512 - offset);
      host.receive(
        datagram({
          protocol: PROTOCOL,
          id: 7,
          offset,
          flags: 0x2000,
          options,
          payload: new Uint8Array(length),
        }),
      );
    }
    expect(host.receive(datagram({ protocol: PROTOCOL, id: 7, offset: 65_512, payload: counting(3) }))).toBe(
      'bad fragment',
    );
    expect(transport.packets).toHaveLength(0);
    works(host, transport);
  });

  it('hostile 22 (teardrop), 105: overlaps spoil the datagram, whatever comes later', () => {
    const overlaps: [Piece, Piece][] = [
      [
        { offset: 0, length: 64 },
        { offset: 56, length: 64 },
      ],
      [
        { offset: 0, length: 64 },
        { offset: 8, length: 4, more: false },
      ],
      [
        { offset: 64, length: 64 },
        { offset: 8, length: 64 },
      ],
      [
        { offset: 64, length: 8 },
        { offset: 0, length: 256 },
      ],
      [
        { offset: 0, length: 64 },
        { offset: 0, length: 72 },
      ],
      [
        { offset: 0, length: 64 },
        { offset: 0, length: 64, fill: 1 },
      ],
      [
        { offset: 8, length: 8 },
        { offset: 8, length: 8, more: false },
      ],
    ];
    for (const [first, second] of overlaps) {
      const { host, transport } = receiver();
      expect(host.receive(fragment(first))).toBeUndefined();
      expect(host.receive(fragment(second))).toBe('overlapping fragment');
      for (let offset = 0; offset < 320; offset += 64) {
        host.receive(fragment({ offset, length: 64, more: offset < 256 }));
      }
      expect(transport.packets).toHaveLength(0);
      works(host, transport);
    }
  });

  it('hostile 24: the end is told once, and nothing lies beyond it', () => {
    const contradictions: [Piece, Piece][] = [
      [
        { offset: 64, length: 8, more: false },
        { offset: 128, length: 8, more: false },
      ],
      [
        { offset: 64, length: 8, more: false },
        { offset: 128, length: 8 },
      ],
      [
        { offset: 128, length: 8 },
        { offset: 64, length: 8, more: false },
      ],
    ];
    for (const [first, second] of contradictions) {
      const { host, transport } = receiver();
      host.receive(fragment(first));
      expect(host.receive(fragment(second))).toBe('bad fragment');
      works(host, transport);
    }
  });

  it('hostile 23 (FragmentSmack): datagrams, bytes and pieces have bounds, in all and for each source', () => {
    const { host, transport } = receiver();
    for (let id = 0; id < 2000; id++) host.receive(fragment({ offset: 8, length: 8, id }));
    expect(host.ipv4.reassembly.size).toBe(MAX_DATAGRAMS_PER_SOURCE);
    for (let i = 0; i < 2000; i++) {
      host.receive(fragment({ offset: 8, length: 8, id: i, source: `10.7.${1 + (i >> 8)}.${i & 255}` }));
    }
    expect(host.ipv4.reassembly.size).toBeLessThanOrEqual(MAX_DATAGRAMS);
    works(host, transport);
  });

  it('hostile 23: one source holds at most its share of bytes', () => {
    const { host, transport } = receiver();
    for (let i = 0; i < 1500; i++) {
      host.receive(fragment({ offset: 1480 * (1 + (i % 40)), length: 1480, id: i % 50 }));
    }
    expect(host.ipv4.reassembly.bytes).toBeLessThanOrEqual(MAX_BYTES_PER_SOURCE);
    for (let i = 0; i < 6000; i++) {
      host.receive(
        fragment({ offset: 1480 * (1 + (i % 40)), length: 1480, id: i % 20, source: `10.7.3.${i % 200}` }),
      );
    }
    expect(host.ipv4.reassembly.bytes).toBeLessThanOrEqual(MAX_BYTES);
    works(host, transport);
  });

  it('hostile 23: a datagram has at most so many pieces', () => {
    const { host, transport } = receiver();
    for (let i = 0; i < MAX_FRAGMENTS; i++) {
      expect(host.receive(fragment({ offset: 16 * i, length: 8 }))).toBeUndefined();
    }
    expect(host.receive(fragment({ offset: 16 * MAX_FRAGMENTS, length: 8 }))).toBe('fragment limit');
    works(host, transport);
  });

  it('hostile 25: duplicates are harmless', () => {
    const { host, transport } = receiver();
    for (let i = 0; i < 5; i++) expect(host.receive(fragment({ offset: 0, length: 64 }))).toBeUndefined();
    for (let i = 0; i < 5; i++) expect(host.receive(fragment({ offset: 64, length: 64 }))).toBeUndefined();
    expect(host.receive(fragment({ offset: 128, length: 1, more: false }))).toBeUndefined();
    expect(transport.packets).toHaveLength(1);
    works(host, transport);
  });

  it('hostile 27 (its IPv4 kin): empty and odd pieces are dropped', () => {
    const { host, transport } = receiver();
    expect(host.receive(fragment({ offset: 0, length: 0 }))).toBe('bad fragment');
    expect(host.receive(fragment({ offset: 64, length: 0, more: false }))).toBe('bad fragment');
    expect(host.receive(fragment({ offset: 0, length: 13 }))).toBe('bad fragment');
    expect(host.ipv4.reassembly.size).toBe(0);
    works(host, transport);
  });

  it('hostile 34 (RFC 1858, RFC 3128): tiny first fragments and offset 1 of TCP', () => {
    const { host, transport } = receiver();
    const tcp = new Recorder();
    host.ipv4.register(6, tcp);
    expect(host.receive(fragment({ offset: 0, length: 8, protocol: 6 }))).toBe('bad fragment');
    expect(host.receive(fragment({ offset: 0, length: 16, protocol: 6 }))).toBe('bad fragment');
    expect(host.receive(fragment({ offset: 8, length: 40, protocol: 6, more: false }))).toBe('bad fragment');
    expect(host.receive(fragment({ offset: 0, length: 24, protocol: 6 }))).toBeUndefined();
    expect(host.receive(fragment({ offset: 24, length: 40, protocol: 6, more: false }))).toBeUndefined();
    expect(tcp.packets[0]!.payload).toEqual(counting(64));
    works(host, transport);
  });
});
