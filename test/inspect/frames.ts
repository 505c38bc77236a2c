// Frames made by hand, one for each kind of packet that the captures lack. Checksums are right unless a test wants otherwise.

import { parseAddress, writeAddress } from '../../src/base/address.ts';
import { finish, sum } from '../../src/base/checksum.ts';
import { parseMac } from '../../src/base/mac.ts';

export const bytes = (...parts: (number | number[] | Uint8Array | string)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) => {
      if (typeof part === 'number') return [part];
      if (typeof part === 'string') return Array.from(part, (c) => c.charCodeAt(0));
      return Array.from(part);
    }),
  );

export const u16 = (n: number): number[] => [(n >> 8) & 255, n & 255];
export const u32 = (n: number): number[] => [...u16(n >>> 16), ...u16(n & 0xffff)];

export function address(text: string): Uint8Array {
  const value = parseAddress(text)!;
  const out = new Uint8Array(value.family === 4 ? 4 : 16);
  writeAddress(new DataView(out.buffer), 0, value);
  return out;
}

export const mac = (text: string): Uint8Array => parseMac(text)!;

const HERE = '02:00:00:00:00:01';
const THERE = '02:00:00:00:00:02';

export function ether(type: number, payload: Uint8Array, to = THERE, from = HERE): Uint8Array {
  return bytes(mac(to), mac(from), u16(type), payload);
}

function put16(into: Uint8Array, at: number, value: number): Uint8Array {
  into[at] = value >> 8;
  into[at + 1] = value & 255;
  return into;
}

const total = (data: Uint8Array): number =>
  sum(new DataView(data.buffer, data.byteOffset, data.length), 0, data.length);

interface Ip4 {
  source?: string;
  destination?: string;
  protocol: number;
  options?: Uint8Array;
  fragment?: number;
  ttl?: number;
  length?: number;
  version?: number;
}

export function ip4(ip: Ip4, payload: Uint8Array): Uint8Array {
  const options = ip.options ?? new Uint8Array(0);
  const size = 20 + options.length;
  const header = bytes(
    ((ip.version ?? 4) << 4) | (size / 4),
    0xb9,
    u16(ip.length ?? size + payload.length),
    u16(0x1234),
    u16(ip.fragment ?? 0x4000),
    ip.ttl ?? 64,
    ip.protocol,
    [0, 0],
    address(ip.source ?? '10.7.0.1'),
    address(ip.destination ?? '10.7.0.2'),
    options,
  );
  return bytes(put16(header, 10, finish(total(header))), payload);
}

export function ip6(
  next: number,
  payload: Uint8Array,
  source = 'fe80::1',
  destination = 'fe80::2',
  hops = 255,
): Uint8Array {
  return bytes(
    0x6a,
    0xb1,
    0x23,
    0x45,
    u16(payload.length),
    next,
    hops,
    address(source),
    address(destination),
    payload,
  );
}

/** Puts a checksum with a pseudo-header at `at` of `data`. */
function withChecksum(
  data: Uint8Array,
  at: number,
  protocol: number,
  source: string,
  destination: string,
): Uint8Array {
  const pseudo = bytes(address(source), address(destination), u32(data.length), u32(protocol));
  return put16(data, at, finish(total(pseudo) + total(put16(data, at, 0))));
}

export function udp4(
  sourcePort: number,
  destinationPort: number,
  payload: Uint8Array,
  ip: Partial<Ip4> = {},
): Uint8Array {
  const data = bytes(u16(sourcePort), u16(destinationPort), u16(8 + payload.length), [0, 0], payload);
  const sealed = withChecksum(data, 6, 17, ip.source ?? '10.7.0.1', ip.destination ?? '10.7.0.2');
  return ether(0x0800, ip4({ ...ip, protocol: 17 }, sealed));
}

export function udp6(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const data = bytes(u16(sourcePort), u16(destinationPort), u16(8 + payload.length), [0, 0], payload);
  return ether(0x86dd, ip6(17, withChecksum(data, 6, 17, 'fe80::1', 'fe80::2')));
}

export function tcp4(
  flags: number,
  payload: Uint8Array = new Uint8Array(0),
  options: Uint8Array = new Uint8Array(0),
  ports: [number, number] = [40000, 80],
): Uint8Array {
  const data = bytes(
    u16(ports[0]),
    u16(ports[1]),
    u32(0xfffffff0),
    u32(flags & 0x10 ? 77 : 0),
    u16(((20 + options.length) / 4) * 0x1000 + flags),
    u16(64240),
    [0, 0],
    u16(flags & 0x20 ? 5 : 0),
    options,
    payload,
  );
  return ether(0x0800, ip4({ protocol: 6 }, withChecksum(data, 16, 6, '10.7.0.1', '10.7.0.2')));
}

export function icmp4(message: Uint8Array, ip: Partial<Ip4> = {}): Uint8Array {
  return ether(0x0800, ip4({ ...ip, protocol: 1 }, put16(message, 2, finish(total(put16(message, 2, 0))))));
}

export function igmp4(message: Uint8Array): Uint8Array {
  const options = bytes(148, 4, 0, 0);
  const sealed = put16(message, 2, finish(total(put16(message, 2, 0))));
  return ether(0x0800, ip4({ protocol: 2, options, ttl: 1, destination: '224.0.0.22' }, sealed));
}

export function icmp6(message: Uint8Array, hopByHop = false): Uint8Array {
  const sealed = withChecksum(message, 2, 58, 'fe80::1', 'fe80::2');
  if (!hopByHop) return ether(0x86dd, ip6(58, sealed));
  return ether(0x86dd, ip6(0, bytes(58, 0, 5, 2, 0, 0, 1, 0, sealed)));
}

const name = (text: string): number[] =>
  text.split('.').flatMap((l) => [l.length, ...Array.from(l, (c) => c.charCodeAt(0))]);
const record = (type: number, data: Uint8Array): Uint8Array =>
  bytes([0xc0, 12], u16(type), u16(1), u32(300), u16(data.length), data);

export const DNS_RESPONSE = bytes(
  u16(0xbeef),
  u16(0x8580),
  u16(1),
  u16(7),
  u16(1),
  u16(1),
  [...name('example.com'), 0],
  u16(255),
  u16(1),
  record(1, address('192.0.2.1')),
  record(28, address('2001:db8::1')),
  record(5, bytes(name('www'), [0xc0, 12])),
  record(15, bytes(u16(10), name('mail'), [0xc0, 12])),
  record(2, bytes(name('ns'), [0xc0, 12])),
  record(33, bytes(u16(1), u16(2), u16(443), name('srv'), [0xc0, 12])),
  record(16, bytes(5, 'hello', 3, 'a=b')),
  record(6, bytes(name('ns'), [0xc0, 12], name('root'), [0xc0, 12], u32(1), u32(2), u32(3), u32(4), u32(5))),
  [0],
  u16(41),
  u16(1232),
  u32(0),
  u16(0),
);

const DHCP_ACK = bytes(
  [2, 1, 6, 0],
  u32(0x3903f326),
  u16(7),
  u16(0x8000),
  address('0.0.0.0'),
  address('10.7.0.9'),
  address('10.7.0.1'),
  address('0.0.0.0'),
  mac(HERE),
  new Uint8Array(10 + 64 + 128),
  u32(0x63825363),
  [53, 1, 5],
  [54, 4, 10, 7, 0, 1],
  [51, 4, ...u32(3600)],
  [58, 4, ...u32(1800)],
  [59, 4, ...u32(3150)],
  [1, 4, 255, 255, 255, 0],
  [3, 4, 10, 7, 0, 1],
  [6, 8, 10, 7, 0, 1, 10, 7, 0, 53],
  [12, 3, 0x63, 0x61, 0x6d],
  [61, 7, 1, ...mac(HERE)],
  [255],
);

const DHCPV6_REPLY = bytes(
  7,
  [0x12, 0x34, 0x56],
  [0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1],
  [0, 3, 0, 40],
  u32(0xabcd),
  u32(1000),
  u32(2000),
  [0, 5, 0, 24],
  address('2001:db8::9'),
  u32(3000),
  u32(4000),
  [0, 23, 0, 16],
  address('2001:db8::53'),
);

const NTP_REPLY = bytes(
  0x24,
  2,
  6,
  0xec,
  u32(0x100),
  u32(0x200),
  address('192.0.2.7'),
  ...[1, 2, 3, 4].map((n) => [...u32(0xe8000000 + n), ...u32(0x80000000)]),
);

const ARP = (op: number, spa: string, tpa: string) =>
  ether(0x0806, bytes(u16(1), u16(0x0800), 6, 4, u16(op), mac(HERE), address(spa), mac(THERE), address(tpa)));

const QUOTED = ip4(
  { protocol: 17, source: '10.7.0.2', destination: '10.7.0.1' },
  bytes(u16(5000), u16(6000), u16(100), u16(0)),
);
const REDIRECTED = ip6(6, bytes(u16(1000), u16(2000), u32(1)), 'fe80::2', 'fe80::1');

/** One of each, by name. */
export const FRAMES: Record<string, Uint8Array> = {
  'ARP request': ARP(1, '10.7.0.1', '10.7.0.2'),
  'ARP reply': ARP(2, '10.7.0.1', '10.7.0.2'),
  'ARP probe': ARP(1, '0.0.0.0', '10.7.0.2'),
  'ARP announcement': ARP(1, '10.7.0.2', '10.7.0.2'),
  VLAN: bytes(
    mac(THERE),
    mac(HERE),
    [0x81, 0, 0x70, 0x2a],
    [8, 0],
    ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(8), u16(0))),
  ),
  'IPv4 options': ether(
    0x0800,
    ip4(
      { protocol: 17, options: bytes([7, 11, 8], address('10.9.8.7'), u32(0), [68, 8, 5, 0, 0, 0, 0, 9], 0) },
      bytes(u16(1), u16(2), u16(8), u16(0)),
    ),
  ),
  'IPv4 source route': ether(
    0x0800,
    ip4({ protocol: 17, options: bytes([131, 7, 4, 10, 0, 0, 1, 0]) }, bytes(u16(1), u16(2), u16(8), u16(0))),
  ),
  'IPv4 later fragment': ether(0x0800, ip4({ protocol: 17, fragment: 0x2005 }, new Uint8Array(32))),
  'IPv4 first fragment': ether(
    0x0800,
    ip4({ protocol: 17, fragment: 0x2000 }, bytes(u16(1), u16(2), u16(99), u16(7), new Uint8Array(24))),
  ),
  'ICMP echo': icmp4(bytes(8, 0, 0, 0, u16(77), u16(3), new Uint8Array(32))),
  'ICMP reply': icmp4(bytes(0, 0, 0, 0, u16(77), u16(3), new Uint8Array(31))),
  'ICMP port unreachable': icmp4(bytes(3, 3, 0, 0, u32(0), QUOTED)),
  'ICMP fragmentation needed': icmp4(bytes(3, 4, 0, 0, u16(0), u16(1400), QUOTED)),
  'ICMP redirect': icmp4(bytes(5, 1, 0, 0, address('10.7.0.254'), QUOTED)),
  'ICMP time exceeded': icmp4(bytes(11, 0, 0, 0, u32(0), QUOTED)),
  'ICMP parameter problem': icmp4(bytes(12, 0, 0, 0, [20, 0, 0, 0], QUOTED)),
  'ICMP timestamp': icmp4(bytes(13, 0, 0, 0, u16(1), u16(2), u32(1000), u32(0), u32(0))),
  'ICMP mask': icmp4(bytes(18, 0, 0, 0, u16(1), u16(2), address('255.255.255.0'))),
  'IGMPv1 report': igmp4(bytes(0x12, 0, 0, 0, address('239.1.2.3'))),
  'IGMPv2 query': igmp4(bytes(0x11, 100, 0, 0, address('0.0.0.0'))),
  'IGMPv2 report': igmp4(bytes(0x16, 0, 0, 0, address('239.1.2.3'))),
  'IGMPv2 leave': igmp4(bytes(0x17, 0, 0, 0, address('239.1.2.3'))),
  'IGMPv3 query': igmp4(
    bytes(0x11, 10, 0, 0, address('239.1.2.3'), 10, 125, u16(2), address('192.0.2.1'), address('192.0.2.2')),
  ),
  'IGMPv3 report': igmp4(
    bytes(
      0x22,
      0,
      0,
      0,
      u16(0),
      u16(2),
      4,
      0,
      u16(0),
      address('239.1.2.3'),
      1,
      0,
      u16(1),
      address('239.1.2.4'),
      address('192.0.2.1'),
    ),
  ),
  'IPv6 fragment': ether(0x86dd, ip6(44, bytes(17, 0, u16(0x0b9), u32(0xcafe), new Uint8Array(16)))),
  'IPv6 atomic fragment': ether(0x86dd, ip6(44, bytes(59, 0, u16(0), u32(0xcafe)))),
  'IPv6 routing and options': ether(
    0x86dd,
    ip6(60, bytes(43, 0, 1, 4, 0, 0, 0, 0, 17, 2, 2, 1, new Uint8Array(20), u16(1), u16(2), u16(8), u16(0))),
  ),
  'ICMPv6 echo': icmp6(bytes(128, 0, 0, 0, u16(77), u16(3), new Uint8Array(16))),
  'ICMPv6 too big': icmp6(bytes(2, 0, 0, 0, u32(1280), REDIRECTED)),
  'ICMPv6 unreachable': icmp6(bytes(1, 4, 0, 0, u32(0), REDIRECTED)),
  'Router solicitation': icmp6(bytes(133, 0, 0, 0, u32(0), [1, 1], mac(HERE))),
  'Router advertisement': icmp6(
    bytes(
      [134, 0, 0, 0, 64, 0xc0],
      u16(1800),
      u32(30000),
      u32(1000),
      [1, 1],
      mac(HERE),
      [5, 1, 0, 0],
      u32(1500),
      [3, 4, 64, 0xc0],
      u32(86400),
      u32(14400),
      u32(0),
      address('2001:db8::'),
      [25, 3, 0, 0],
      u32(600),
      address('2001:db8::53'),
    ),
  ),
  'Neighbor solicitation': icmp6(bytes(135, 0, 0, 0, u32(0), address('fe80::2'), [1, 1], mac(HERE))),
  'Neighbor advertisement': icmp6(
    bytes(136, 0, 0, 0, [0x60, 0, 0, 0], address('fe80::1'), [2, 1], mac(HERE)),
  ),
  Redirect: icmp6(
    bytes(137, 0, 0, 0, u32(0), address('fe80::3'), address('2001:db8::7'), [2, 1], mac(THERE)),
  ),
  'MLDv1 query': icmp6(bytes(130, 0, 0, 0, u16(10000), u16(0), address('::')), true),
  'MLDv1 report': icmp6(bytes(131, 0, 0, 0, u16(0), u16(0), address('ff02::fb')), true),
  'MLDv2 report': icmp6(
    bytes(143, 0, 0, 0, u16(0), u16(1), 4, 0, u16(1), address('ff02::fb'), address('fe80::9')),
    true,
  ),
  DNS: udp4(53, 33333, DNS_RESPONSE),
  mDNS: udp4(5353, 5353, DNS_RESPONSE),
  DHCP: udp4(67, 68, DHCP_ACK),
  DHCPv6: udp6(547, 546, DHCPV6_REPLY),
  NTP: udp4(123, 45678, NTP_REPLY),
  'UDP without checksum': ether(
    0x0800,
    ip4({ protocol: 17 }, bytes(u16(9), u16(10), u16(12), u16(0), 'data')),
  ),
  'UDP with a bad checksum': ether(
    0x0800,
    ip4({ protocol: 17 }, bytes(u16(9), u16(10), u16(12), u16(1), 'data')),
  ),
  'TCP SYN': tcp4(0x2, bytes(), bytes([2, 4], u16(1460), 4, 2, [8, 10], u32(123), u32(0), 1, [3, 3, 7])),
  'TCP SACK': tcp4(
    0x10,
    bytes(),
    bytes(1, 1, [8, 10], u32(124), u32(9), 1, 1, [5, 18], u32(100), u32(200), u32(300), u32(400)),
  ),
  'TCP urgent': tcp4(0x38, bytes('hello')),
  'TCP fast open and user timeout': tcp4(
    0xc2,
    bytes(),
    bytes([34, 10], new Uint8Array(8).fill(7), 1, 1, [28, 4], u16(0x8005)),
  ),
  'TCP RST': tcp4(0x14),
  'HTTP request': tcp4(0x18, bytes('GET /index.html?x=1 HTTP/1.1\r\nHost: a\r\n\r\n')),
  'HTTP response': tcp4(
    0x18,
    bytes('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'),
    bytes(),
    [80, 40000],
  ),
  TLS: tcp4(0x18, bytes(20, 3, 3, u16(1), 1, 23, 3, 3, u16(4), u32(1)), bytes(), [40000, 443]),
  '802.3': bytes(mac('01:80:c2:00:00:00'), mac(HERE), u16(7), 0x42, 0x42, 3, 0, 0, 0, 0, new Uint8Array(39)),
  '4in6': ether(0x86dd, ip6(4, ip4({ protocol: 17 }, bytes(u16(1), u16(2), u16(8), u16(0))))),
};
