// Addresses against ipaddr.js as the oracle: src/base/address.ts (RFC 791, 4291, 5952).

import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, test } from 'vitest';
import {
  Address,
  ANY_V4,
  ANY_V6,
  BROADCAST_V4,
  LOOPBACK_V4,
  LOOPBACK_V6,
  maskWord,
  parseAddress,
  parseCidr,
  readV4,
  readV6,
  subnetBroadcast,
  v4,
  writeAddress,
} from '../../src/base/address.ts';

const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** IPv6 addresses with runs of zeros, which is where the text form is hard. */
const bytes6 = fc
  .array(fc.oneof(fc.constant(0), fc.constantFrom(1, 0xffff, 0x80), fc.integer({ min: 0, max: 0xffff })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => Uint8Array.from(groups.flatMap((g) => [g >>> 8, g & 255])))
  .filter((bytes) => !isMapped(bytes));

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255 && bytes[11] === 255;
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const read = (bytes: Uint8Array) => (bytes.length === 4 ? readV4(view(bytes), 0) : readV6(view(bytes), 0));
const oracle = (bytes: Uint8Array) => ipaddr.fromByteArray([...bytes]);

function written(address: Address): Uint8Array {
  const out = new Uint8Array(address.family === 4 ? 4 : 16);
  writeAddress(view(out), 0, address);
  return out;
}

describe('text', () => {
  test('RFC 5952: the canonical form is that of ipaddr.js, and reads back', () => {
    fc.assert(
      fc.property(fc.oneof(bytes4, bytes6), (bytes) => {
        const address = read(bytes);
        const theirs = oracle(bytes);
        expect(address.toString()).toBe(
          theirs.kind() === 'ipv4' ? theirs.toString() : (theirs as ipaddr.IPv6).toRFC5952String(),
        );
        expect(parseAddress(address.toString())?.equals(address)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('every way of writing an IPv6 address that ipaddr.js knows is read alike', () => {
    fc.assert(
      fc.property(bytes6, (bytes) => {
        const theirs = oracle(bytes) as ipaddr.IPv6;
        const quad = `${theirs.parts
          .slice(0, 6)
          .map((p) => p.toString(16))
          .join(':')}:${bytes.subarray(12).join('.')}`;
        for (const text of [
          theirs.toNormalizedString(),
          theirs.parts.map((p) => p.toString(16).padStart(4, '0')).join(':'),
          theirs.toRFC5952String(),
          quad,
        ]) {
          expect(parseAddress(text)?.equals(read(bytes))).toBe(true);
          expect(parseAddress(text.toUpperCase())?.equals(read(bytes))).toBe(true);
        }
      }),
    );
  });

  test('text with one character changed is read as ipaddr.js reads it, or refused by both', () => {
    const text = fc.oneof(
      bytes6.map((b) => read(b).toString()),
      bytes4.map((b) => read(b).toString()),
    );
    const alphabet = fc.constantFrom(':', '.', '0', '1', 'f', 'g', '%', ' ', '', '::', '256', '00');
    fc.assert(
      fc.property(text, fc.nat(), alphabet, fc.boolean(), (original, where, by, replace) => {
        const at = where % (original.length + 1);
        const changed = original.slice(0, at) + by + original.slice(at + (replace ? 1 : 0));
        const ours = parseAddress(changed);
        // The oracle knows zones by name, and reads the old ::1.2.3.4 (RFC 4291 2.5.5.1) as an IPv4 address.
        if (changed.includes('%') || /^::\d+\./.test(changed)) return;
        // And it takes other than decimal quads at the end of an IPv6 address.
        const quad = changed.slice(changed.lastIndexOf(':') + 1);
        const valid =
          (!changed.includes('.') || ipaddr.IPv4.isValidFourPartDecimal(quad)) && ipaddr.isValid(changed);
        expect(ours !== undefined).toBe(valid);
        if (ours === undefined) return;
        const parsed = ipaddr.parse(changed);
        const plain =
          parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).isIPv4MappedAddress()
            ? (parsed as ipaddr.IPv6).toIPv4Address()
            : parsed;
        expect([...written(ours)]).toEqual(plain.toByteArray());
      }),
      { numRuns: 2_000 },
    );
  });

  test('RFC 6943 3.1.1: only the strict dotted quad is an IPv4 address', () => {
    for (const text of [
      '10.1',
      '0x7f.1.1.1',
      '010.0.0.1',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.256',
      '',
      ' 1.2.3.4',
      '1.2.3.4 ',
      '-1.2.3.4',
      '1..3.4',
    ]) {
      expect(parseAddress(text)).toBeUndefined();
    }
  });

  test('RFC 4007 11: a zone is read and written', () => {
    expect(parseAddress('fe80::1%3')?.zone).toBe(3);
    expect(parseAddress('fe80::1%3')?.toString()).toBe('fe80::1%3');
    for (const text of [
      'fe80::1%',
      'fe80::1%-1',
      'fe80::1%1.5',
      'fe80::1%eth0',
      'fe80::1% 3',
      'fe80::1%0x3',
    ]) {
      expect(parseAddress(text)).toBeUndefined();
    }
  });

  test('RFC 4291 2.5.5.2: a mapped address is the IPv4 address', () => {
    expect(parseAddress('::ffff:10.7.0.2')?.toString()).toBe('10.7.0.2');
    expect(parseAddress('::ffff:a07:2')?.equals(v4(0x0a070002))).toBe(true);
  });
});

describe('bytes', () => {
  test('reading and writing are each the other undone', () => {
    fc.assert(
      fc.property(fc.oneof(bytes4, bytes6), (bytes) => {
        expect([...written(read(bytes))]).toEqual([...bytes]);
        expect(read(bytes).equals(read(bytes))).toBe(true);
      }),
    );
  });

  test('two addresses are equal when their bytes, their families and their zones are', () => {
    fc.assert(
      fc.property(fc.oneof(bytes4, bytes6), fc.nat({ max: 127 }), (bytes, bit) => {
        const other = bytes.slice();
        other[(bit >> 3) % bytes.length]! ^= 1 << (bit & 7);
        expect(read(bytes).equals(read(other))).toBe(false);
      }),
    );
    expect(new Address(0, 0, 0, 1, 1).equals(LOOPBACK_V6)).toBe(false);
    expect(ANY_V4.equals(ANY_V6)).toBe(false);
  });
});

describe('kinds', () => {
  test('unspecified, loopback, multicast, link-local and broadcast are those of ipaddr.js', () => {
    const known = fc.constantFrom(
      ...[
        '0.0.0.0',
        '127.0.0.1',
        '127.255.3.4',
        '224.0.0.251',
        '239.255.255.250',
        '240.0.0.1',
        '255.255.255.255',
      ],
      ...[
        '169.254.1.2',
        '10.0.0.1',
        '::',
        '::1',
        '::2',
        'fe80::1',
        'febf::1',
        'fec0::1',
        'ff02::1',
        'fd00::1',
        '2001:db8::1',
      ],
    );
    const any = fc.oneof(
      bytes4.map(read),
      bytes6.map(read),
      known.map((text) => parseAddress(text)!),
    );
    fc.assert(
      fc.property(any, (address) => {
        const range = ipaddr.parse(address.toString()).range();
        expect(address.isUnspecified).toBe(address.equals(ANY_V4) || address.equals(ANY_V6));
        expect(address.isLoopback).toBe(range === 'loopback');
        expect(address.isMulticast).toBe(range === 'multicast');
        expect(address.isLinkLocal).toBe(range === 'linkLocal');
        expect(address.isLimitedBroadcast).toBe(range === 'broadcast');
      }),
      { numRuns: 500 },
    );
  });

  test('the constants are what they say', () => {
    expect([ANY_V4, BROADCAST_V4, LOOPBACK_V4, ANY_V6, LOOPBACK_V6].map(String)).toEqual([
      '0.0.0.0',
      '255.255.255.255',
      '127.0.0.1',
      '::',
      '::1',
    ]);
  });
});

describe('prefixes', () => {
  const bits = fc.nat({ max: 128 });
  test('an address is in a prefix when ipaddr.js says so', () => {
    const pair = fc.oneof(fc.tuple(bytes4, bytes4), fc.tuple(bytes6, bytes6));
    fc.assert(
      fc.property(pair, bits, fc.nat({ max: 128 }), ([a, b], length, common) => {
        // Make them share a beginning, or no prefix of length would ever match.
        const mixed = b.map((byte, i) => {
          const shared = Math.max(0, Math.min(8, common - i * 8));
          const mask = (0xff00 >> shared) & 0xff;
          return (a[i]! & mask) | (byte & ~mask & 0xff);
        });
        const most = Math.min(length, a.length * 8);
        if (isMapped(mixed)) return;
        expect(read(a).inPrefix(read(mixed), most)).toBe(
          oracle(a).kind() === 'ipv4'
            ? (oracle(a) as ipaddr.IPv4).match(oracle(mixed) as ipaddr.IPv4, most)
            : (oracle(a) as ipaddr.IPv6).match(oracle(mixed) as ipaddr.IPv6, most),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  test('an IPv4 address is in no IPv6 prefix, not even ::/0', () => {
    expect(LOOPBACK_V4.inPrefix(ANY_V6, 0)).toBe(false);
    expect(LOOPBACK_V6.inPrefix(ANY_V4, 0)).toBe(false);
  });

  test('address/length is read, and nothing else is', () => {
    const cidr = (text: string) => {
      const parsed = parseCidr(text);
      return parsed && `${parsed.address}/${parsed.prefixLength}`;
    };
    expect(['10.7.0.2/24', '10.7.0.2', 'fd00::1/64', '::1', '0.0.0.0/0', '::/128'].map(cidr)).toEqual([
      '10.7.0.2/24',
      '10.7.0.2/32',
      'fd00::1/64',
      '::1/128',
      '0.0.0.0/0',
      '::/128',
    ]);
    for (const bad of [
      '10.7.0.2/33',
      '10.7.0.2/',
      '10.7.0.2/-1',
      '10.7.0.2/2a',
      '::/129',
      'x/8',
      '/8',
      '10.7.0.2/24/8',
    ]) {
      expect(parseCidr(bad)).toBeUndefined();
    }
  });

  test('masks and subnet broadcasts are those of ipaddr.js', () => {
    fc.assert(
      fc.property(bytes4, fc.nat({ max: 32 }), (bytes, prefixLength) => {
        const mask = ipaddr.IPv4.subnetMaskFromPrefixLength(prefixLength);
        expect(v4(maskWord(prefixLength)).toString()).toBe(mask.toString());
        const broadcast = subnetBroadcast({ address: read(bytes), prefixLength });
        // RFC 3021: a /31 has no broadcast address, and a /32 is one host.
        expect(broadcast?.toString()).toBe(
          prefixLength >= 31
            ? undefined
            : ipaddr.IPv4.broadcastAddressFromCIDR(`${bytes.join('.')}/${prefixLength}`).toString(),
        );
      }),
    );
    expect(subnetBroadcast({ address: LOOPBACK_V6, prefixLength: 64 })).toBeUndefined();
  });
});
