import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dissect, findFields } from '../../src/inspect/dissect.ts';
import type { Field } from '../../src/inspect/field.ts';
import { openCapture } from '../../src/pcap/open.ts';
import { captureFiles, read, withoutCaptures } from '../pcap/files.ts';
import {
  address,
  bytes,
  DNS_RESPONSE,
  ether,
  FRAMES,
  icmp4,
  igmp4,
  ip4,
  ip6,
  tcp4,
  u16,
  u32,
  udp4,
} from './frames.ts';

const FAULTS = ['_ws.malformed', '_ws.short'];

function faults(tree: Field): string[] {
  return FAULTS.flatMap((name) => findFields(tree, name)).map((field) => field.text);
}

/** Every node lies within the frame. */
function checkPlaces(field: Field, size: number): void {
  expect(outside(field, size)).toBeUndefined();
}

/** The first node that reaches out of the frame. */
function outside(field: Field, size: number): string | undefined {
  const { offset, length } = field;
  if (offset < 0 || length < 0 || offset + length > size)
    return `${field.name} ${offset} ${length} of ${size}`;
  for (const child of field.children) {
    const found = outside(child, size);
    if (found !== undefined) return found;
  }
  return undefined;
}

function count(field: Field): number {
  return 1 + field.children.reduce((n, child) => n + count(child), 0);
}

describe('every frame of one kind', () => {
  test.each(Object.entries(FRAMES))('%s is read without a fault', (_name, frame) => {
    const { tree, protocol } = dissect(frame);
    expect(faults(tree)).toEqual([]);
    expect(protocol).not.toBe('');
    checkPlaces(tree, frame.length);
  });

  test.each(Object.entries(FRAMES))(
    '%s cut at every byte is marked, and nothing lies outside',
    (_name, frame) => {
      for (let length = 0; length < frame.length; length++) {
        // Once as a packet that is itself too short, once as a capture that kept too little.
        const cut = frame.slice(0, length);
        checkPlaces(dissect(cut).tree, length);
        const short = dissect(cut, { originalLength: frame.length });
        checkPlaces(short.tree, length);
        expect(findFields(short.tree, '_ws.malformed')).toEqual([]);
        if (length < 14) expect(faults(short.tree)).not.toEqual([]);
      }
    },
  );
});

describe.skipIf(withoutCaptures)('every frame of every capture', () => {
  const files = [...captureFiles('samples'), ...captureFiles('pcapng-blocks')];
  test('is read without a fault that is not the capture’s', () => {
    let frames = 0;
    for (const file of files) {
      for (const record of openCapture(read(file)).records) {
        if (record.kind !== 'packet') continue;
        frames++;
        const { tree } = dissect(record.bytes, {
          originalLength: record.originalLength,
          linkType: record.linkType,
        });
        expect(findFields(tree, '_ws.malformed')).toEqual([]);
        if (record.originalLength === record.bytes.length) expect(faults(tree)).toEqual([]);
        checkPlaces(tree, record.bytes.length);
      }
    }
    expect(frames).toBeGreaterThan(250);
  });
});

describe('hostile frames', () => {
  test('law: random bytes and mutations of every kind of frame never throw and never grow without bound', () => {
    const seeds = Object.values(FRAMES);
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 5 }),
        fc.nat({ max: 40 }),
        (seed, changes, shorter) => {
          const frame = seed.slice(0, Math.max(0, seed.length - shorter));
          for (const [at, value] of changes) if (frame.length > 0) frame[at % frame.length] = value;
          const { tree, info } = dissect(frame);
          checkPlaces(tree, frame.length);
          expect(count(tree)).toBeLessThan(9000);
          expect(info.length).toBeLessThan(20_000);
        },
      ),
      { numRuns: 4000 },
    );
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(1, 101, 228, 229, 147),
        (frame, linkType) => {
          checkPlaces(dissect(frame, { linkType }).tree, frame.length);
        },
      ),
      { numRuns: 1000 },
    );
  });

  const fault = (frame: Uint8Array) => faults(dissect(frame).tree)[0];

  test.each([
    ['IPv4 version 5', ether(0x0800, ip4({ protocol: 17, version: 5 }, bytes())), 'version 5'],
    [
      'total length below the header',
      ether(0x0800, ip4({ protocol: 17, length: 19 }, bytes())),
      'total length 19',
    ],
    [
      'total length beyond the frame',
      ether(0x0800, ip4({ protocol: 99, length: 400 }, bytes(1))),
      'total length 400',
    ],
    [
      'IPv4 option of length 0',
      ether(0x0800, ip4({ protocol: 1, options: bytes(7, 0, 0, 0) }, bytes())),
      'Record Route of length 0',
    ],
    [
      'IPv4 option of length 1',
      ether(0x0800, ip4({ protocol: 1, options: bytes(7, 1, 0, 0) }, bytes())),
      'Record Route of length 1',
    ],
    [
      'IPv4 option beyond the header',
      ether(0x0800, ip4({ protocol: 1, options: bytes(7, 5, 0, 0) }, bytes())),
      'Record Route of length 5',
    ],
    [
      'IPv6 hop-by-hop beyond the packet',
      ether(0x86dd, ip6(0, bytes(58, 200, 0, 0, 0, 0, 0, 0))),
      'IPv6 Hop-by-Hop Option runs past',
    ],
    [
      'IPv6 option beyond its header',
      ether(0x86dd, ip6(0, bytes(59, 0, 5, 9, 0, 0, 0, 0))),
      'Router Alert runs past',
    ],
    ['UDP length 7', ether(0x0800, ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(7), u16(0)))), 'length 7'],
    [
      'UDP length beyond the packet',
      ether(0x0800, ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(99), u16(0)))),
      'length 99',
    ],
    ['TCP option of length 0', tcp4(2, bytes(), bytes(8, 0, 0, 0)), 'Timestamps of length 0'],
    ['TCP option of length 1', tcp4(2, bytes(), bytes(2, 1, 0, 0)), 'Maximum segment size of length 1'],
    ['TCP option beyond the header', tcp4(2, bytes(), bytes(8, 10, 0, 0)), 'Timestamps of length 10'],
    ['IGMP with 65535 records', igmp4(bytes(0x22, 0, 0, 0, u16(0), u16(65535))), 'Group Record'],
    [
      'IGMP with 65535 sources',
      igmp4(bytes(0x11, 0, 0, 0, u32(0), 0, 0, u16(65535))),
      '65535 source addresses',
    ],
    ['ICMP error without its second word', icmp4(bytes(3, 1, 0, 0)), 'second word'],
  ])('%s', (_name, frame, what) => {
    expect(fault(frame)).toContain(what);
  });

  test('TCP data offset 4, and 15 without the bytes', () => {
    for (const [offset, what] of [
      [4, 'header length 16'],
      [15, 'header of 60 bytes'],
    ] as const) {
      const frame = tcp4(2);
      frame[14 + 20 + 12] = offset << 4;
      expect(fault(frame)).toContain(what);
    }
  });

  test('an ND option of length 0 ends the reading (RFC 4861 4.6)', () => {
    const frame = FRAMES['Neighbor solicitation']!.slice();
    frame[frame.length - 7] = 0;
    expect(fault(frame)).toContain('of 0 bytes');
  });

  const query = (...name: (number | number[] | string)[]) =>
    udp4(5000, 53, bytes(u16(1), u16(0x100), u16(1), u16(0), u16(0), u16(0), ...name));

  test.each([
    ['113 pointer to itself', query([0xc0, 12], u16(1), u16(1)), 'leads forward'],
    ['113 pointer forward', query([0xc0, 14], [1, 0x61, 0], u16(1), u16(1)), 'leads forward'],
    ['113 pointer past the end', query([0xff, 0xff], u16(1), u16(1)), 'leads forward'],
    ['113 pointer into the header', query([1, 0x61, 0xc0, 3], u16(1), u16(1)), 'into the header'],
    ['113 label type 01', query([0x41, 0x61, 0], u16(1), u16(1)), 'unknown type'],
    ['113 label type 10', query([0x81, 0x61, 0], u16(1), u16(1)), 'unknown type'],
    [
      '113 a name of 256 octets',
      query(...Array.from({ length: 4 }, () => [63, ...new Array(63).fill(97)]), [0], u16(1), u16(1)),
      '255 octets',
    ],
    ['114 no terminating zero', query([3, 0x61, 0x62, 0x63]), 'past its end'],
    ['114 a label past the end', query([63, 0x61]), 'past its end'],
    [
      '115 more questions than there are',
      udp4(5000, 53, bytes(u16(1), u16(0), u16(65535), u16(0), u16(0), u16(0))),
      'past its end',
    ],
    [
      '112 record data past the message',
      udp4(
        53,
        5000,
        bytes(
          u16(1),
          u16(0x8000),
          u16(0),
          u16(1),
          u16(0),
          u16(0),
          0,
          u16(1),
          u16(1),
          u32(0),
          u16(5000),
          [1, 2, 3, 4],
        ),
      ),
      'record data of 5000 bytes',
    ],
    [
      '112 a name past its record',
      udp4(
        53,
        5000,
        bytes(
          u16(1),
          u16(0x8000),
          u16(0),
          u16(1),
          u16(0),
          u16(0),
          0,
          u16(2),
          u16(1),
          u32(0),
          u16(2),
          [9, 0x61, 0x62, 0],
        ),
      ),
      'past its end',
    ],
  ])('hostile %s', (_name, frame, what) => {
    expect(fault(frame)).toContain(what);
  });

  test('a long DNS name is read up to 254 octets, and a chain of pointers backwards', () => {
    const { tree } = dissect(udp4(53, 5000, DNS_RESPONSE));
    expect(findFields(tree, 'dns.mx.mail_exchange')[0]!.value).toBe('mail.example.com');
    expect(findFields(tree, 'dns.soa.rname')[0]!.value).toBe('root.example.com');
  });

  test('128 control characters of names and strings never reach a terminal', () => {
    const frame = query([4, 0x1b, 0x5b, 0x32, 0x4a, 0], u16(1), u16(1));
    const { info, tree } = dissect(frame);
    expect(info).toContain('\\x1b[2J');
    expect(findFields(tree, 'dns.qry.name')[0]!.text).not.toContain('\u001b');
    const http = dissect(tcp4(0x18, bytes('GET /\u001b]0;x\u0007 HTTP/1.1\r\n'))).info;
    expect(http).toBe('GET /\\x1b]0;x\\x07 HTTP/1.1');
  });

  test('packets within packets end', () => {
    let packet = ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(8), u16(0)));
    for (let i = 0; i < 60; i++) packet = ip4({ protocol: 4 }, packet);
    const { tree } = dissect(ether(0x0800, packet));
    expect(findFields(tree, 'ip').length).toBeLessThanOrEqual(16);
    expect(faults(tree)).toEqual([]);
  });

  test('a frame of 64 KiB of options has a bounded tree', () => {
    const many = bytes(...Array.from({ length: 16_000 }, () => [12, 1, 0x61]));
    const dhcp = udp4(67, 68, bytes(new Uint8Array(236), u32(0x63825363), many));
    expect(count(dissect(dhcp).tree)).toBeLessThan(9000);
  });

  test('a fault is kept even when the tree is full', () => {
    const many = bytes(...Array.from({ length: 16_000 }, () => [12, 1, 0x61]), 12, 200, 0);
    const dhcp = udp4(67, 68, bytes(new Uint8Array(236), u32(0x63825363), many));
    const { info } = dissect(dhcp);
    expect(info).toContain('Malformed');
  });
});

describe('checksums', () => {
  const status = (frame: Uint8Array, name: string) =>
    findFields(dissect(frame).tree, `${name}.status`)[0]?.value;

  test('good, bad, not present, illegal, and unverified for a fragment', () => {
    expect(status(FRAMES['TCP SYN']!, 'tcp.checksum')).toBe(1);
    expect(status(FRAMES['UDP with a bad checksum']!, 'udp.checksum')).toBe(0);
    expect(status(FRAMES['UDP without checksum']!, 'udp.checksum')).toBe(3);
    expect(status(FRAMES['IPv6 routing and options']!, 'udp.checksum')).toBe(4);
    expect(status(FRAMES['IPv4 first fragment']!, 'udp.checksum')).toBe(2);
  });

  test('what a bad one should be', () => {
    const frame = FRAMES['TCP SYN']!.slice();
    const at = 14 + 20 + 16;
    const right = (frame[at]! << 8) | frame[at + 1]!;
    frame[at] = frame[at]! ^ 0x55;
    const { tree } = dissect(frame);
    expect(findFields(tree, 'tcp.checksum')[0]!.text).toContain(
      `[should be 0x${right.toString(16).padStart(4, '0')}]`,
    );
  });
});

test('ARP of other hardware is read by its own lengths', () => {
  const frame = ether(
    0x0806,
    bytes(u16(6), u16(0x0800), 3, 4, u16(1), [1, 2, 3], address('10.0.0.1'), [4, 5, 6], address('10.0.0.2')),
  );
  const { tree } = dissect(frame);
  expect(findFields(tree, 'arp.src.hw')[0]!.value).toEqual(Uint8Array.of(1, 2, 3));
  expect(findFields(tree, 'arp.dst.proto')[0]!.text).toBe('0a000002');
  const long = ether(0x0806, bytes(u16(6), u16(0x0800), 255, 255, u16(1), new Uint8Array(20)));
  expect(faults(dissect(long).tree)).toEqual(['Sender hardware address of 255 bytes']);
});

test('padding and trailers are told from payload', () => {
  const frame = bytes(FRAMES['ARP request']!, new Uint8Array(18));
  const { tree } = dissect(frame);
  expect(findFields(tree, 'eth.padding')[0]).toMatchObject({ offset: 42, length: 18 });
  expect(findFields(tree, 'data')).toEqual([]);
});

test('raw IP and unknown link types', () => {
  const packet = ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(8), u16(0)));
  for (const linkType of [101, 228]) expect(dissect(packet, { linkType }).protocol).toBe('UDP');
  expect(dissect(ip6(58, bytes()), { linkType: 229 }).protocol).toBe('ICMPv6');
  expect(dissect(packet, { linkType: 147 })).toMatchObject({ protocol: 'Data' });
});

test('law: NTP times are the calendar of the platform, in both eras (RFC 4330 3)', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seconds) => {
      const ntp = bytes(
        0x24,
        1,
        0,
        0,
        u32(0),
        u32(0),
        'GPS\0',
        new Uint8Array(24),
        u32(seconds),
        u32(0x8000_0000),
      );
      const field = findFields(dissect(udp4(123, 123, ntp)).tree, 'ntp.xmt')[0]!;
      const unix = seconds + (seconds >= 2 ** 31 ? 0 : 2 ** 32) - 2_208_988_800;
      const expected = new Date(unix * 1000).toISOString().slice(0, 19).replace('T', ' ');
      expect(field.text).toBe(`${expected}.500000000 UTC`);
    }),
  );
});
