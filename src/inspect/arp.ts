// ARP (RFC 826), for IPv4 over Ethernet and, by lengths alone, for anything else.

import type { Dissection, Dissector } from './dissection.ts';
import { ETHER_TYPES } from './ethernet.ts';
import { dec, type Field, type HeaderTable, hex, hexText, ipv4, mac } from './field.ts';

const OPCODES: Record<number, string> = {
  1: 'request',
  2: 'reply',
  3: 'reverse request',
  4: 'reverse reply',
  8: 'inverse request',
  9: 'inverse reply',
};

const FIXED = [
  dec('arp.hw.type', 'Hardware type', 0, 2, { meanings: { 1: 'Ethernet' } }),
  hex('arp.proto.type', 'Protocol type', 2, 2, { meanings: ETHER_TYPES }),
  dec('arp.hw.size', 'Hardware size', 4, 1),
  dec('arp.proto.size', 'Protocol size', 5, 1),
  dec('arp.opcode', 'Opcode', 6, 2, { meanings: OPCODES }),
];

/** The packet of IPv4 over Ethernet. */
export const ARP: HeaderTable = {
  name: 'arp',
  label: 'Address Resolution Protocol',
  size: 28,
  fields: [
    ...FIXED,
    mac('arp.src.hw_mac', 'Sender MAC address', 8),
    ipv4('arp.src.proto_ipv4', 'Sender IP address', 14),
    mac('arp.dst.hw_mac', 'Target MAC address', 18),
    ipv4('arp.dst.proto_ipv4', 'Target IP address', 24),
  ],
};

const ARP_FIXED: HeaderTable = { ...ARP, size: 8, fields: FIXED };

export const arp: Dissector = (d, into, at, end) => {
  d.say('ARP', '');
  const usual = end - at >= 8 && d.view.getUint32(at) === 0x0001_0800 && d.view.getUint16(at + 4) === 0x0604;
  const layer = d.header(into, usual ? ARP : ARP_FIXED, at, end);
  if (layer === undefined) return;
  if (!usual) {
    others(d, layer, at, end);
    return;
  }
  const op = d.view.getUint16(at + 6);
  const [sha, spa, , tpa] = layer.children.slice(5).map((field) => field.text) as [
    string,
    string,
    string,
    string,
  ];
  layer.text = OPCODES[op] ?? `opcode ${op}`;
  if (spa === tpa) {
    d.add(layer, 'arp.isgratuitous', 'Is gratuitous', true, 'True', at, 0);
    if (op === 1) d.say('ARP', `ARP Announcement for ${spa}`);
    else d.say('ARP', `Gratuitous ARP for ${spa} (${OPCODES[op] ?? op})`);
  } else if (spa === '0.0.0.0') d.say('ARP', `Who has ${tpa}? (ARP Probe)`);
  else if (op === 1) d.say('ARP', `Who has ${tpa}? Tell ${spa}`);
  else if (op === 2) d.say('ARP', `${spa} is at ${sha}`);
  else d.say('ARP', `opcode ${op}`);
};

/** Addresses of other lengths, as the packet itself gives them. */
function others(d: Dissection, layer: Field, at: number, end: number): void {
  const hardware = d.view.getUint8(at + 4);
  const protocol = d.view.getUint8(at + 5);
  let from = at + 8;
  layer.length = Math.min(end - at, 8 + 2 * (hardware + protocol));
  for (const [name, label, size] of [
    ['arp.src.hw', 'Sender hardware address', hardware],
    ['arp.src.proto', 'Sender protocol address', protocol],
    ['arp.dst.hw', 'Target hardware address', hardware],
    ['arp.dst.proto', 'Target protocol address', protocol],
  ] as const) {
    if (from + size > end) {
      d.malformed(layer, `${label} of ${size} bytes`, from, end);
      return;
    }
    const value = d.bytes.subarray(from, from + size);
    if (size > 0) d.add(layer, name, label, value, hexText(value), from, size);
    from += size;
  }
}
