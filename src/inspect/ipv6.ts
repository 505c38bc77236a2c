// IPv6 and its extension headers (RFC 8200 3, 4).

import { readV6 } from '../base/address.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { ipv6 as address, bits, dec, type Field, flag, type HeaderTable, hex, hexText } from './field.ts';
import { PROTOCOLS, upper } from './ipv4.ts';

export const IPV6: HeaderTable = {
  name: 'ipv6',
  label: 'Internet Protocol Version 6',
  size: 40,
  fields: [
    bits('ipv6.version', 'Version', [0, 4, 28, 4]),
    bits('ipv6.tclass', 'Traffic Class', [0, 4, 20, 8], {
      kind: 'hex',
      parts: [
        bits('ipv6.tclass.dscp', 'Codepoint', [0, 4, 22, 6]),
        bits('ipv6.tclass.ecn', 'Explicit Congestion Notification', [0, 4, 20, 2]),
      ],
    }),
    bits('ipv6.flow', 'Flow Label', [0, 4, 0, 20], { kind: 'hex' }),
    dec('ipv6.plen', 'Payload Length', 4, 2),
    dec('ipv6.nxt', 'Next Header', 6, 1, { meanings: PROTOCOLS }),
    dec('ipv6.hlim', 'Hop Limit', 7, 1),
    address('ipv6.src', 'Source Address', 8),
    address('ipv6.dst', 'Destination Address', 24),
  ],
};

export const FRAGMENT: HeaderTable = {
  name: 'ipv6.fraghdr',
  label: 'Fragment Header for IPv6',
  size: 8,
  fields: [
    dec('ipv6.fraghdr.nxt', 'Next header', 0, 1, { meanings: PROTOCOLS }),
    hex('ipv6.fraghdr.reserved_octet', 'Reserved octet', 1, 1),
    bits('ipv6.fraghdr.offset', 'Offset', [2, 2, 3, 13]),
    bits('ipv6.fraghdr.reserved_bits', 'Reserved bits', [2, 2, 1, 2]),
    flag('ipv6.fraghdr.more', 'More Fragments', 2, 2, 0),
    hex('ipv6.fraghdr.ident', 'Identification', 4, 4),
  ],
};

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT_HEADER = 44;
const AUTHENTICATION = 51;
const NO_NEXT = 59;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;

/** Extension headers of one packet. RFC 8200 names seven; a chain of empty ones could fill a jumbogram. */
const MOST_EXTENSIONS = 32;

const NAMES: Record<number, readonly [name: string, label: string]> = {
  [HOP_BY_HOP]: ['ipv6.hopopts', 'IPv6 Hop-by-Hop Option'],
  [ROUTING]: ['ipv6.routing', 'Routing Header for IPv6'],
  [DESTINATION_OPTIONS]: ['ipv6.dstopts', 'Destination Options for IPv6'],
  [AUTHENTICATION]: ['ah', 'Authentication Header'],
  [MOBILITY]: ['mipv6', 'Mobility Header'],
};

const OPTION_NAMES: Record<number, string> = {
  0: 'Pad1',
  1: 'PadN',
  5: 'Router Alert',
  194: 'Jumbo',
  38: 'Quick-Start',
  201: 'Home Address',
};

export const ipv6: Dissector = (d, into, at, end) => {
  d.say('IPv6', '');
  const layer = d.header(into, IPV6, at, end);
  if (layer === undefined) return;
  const source = readV6(d.view, at + 8).toString();
  const destination = readV6(d.view, at + 24).toString();
  layer.text = `${source} → ${destination}`;
  d.between(source, destination);
  const version = d.view.getUint8(at) >> 4;
  if (version !== 6) {
    d.malformed(layer, `version ${version}`, at, end);
    return;
  }
  // A payload length of 0 stands for a jumbogram (RFC 2675) or a super-frame: it then means "to the end".
  const payloadLength = d.view.getUint16(at + 4) || end - at - 40;
  const stop = Math.min(end, at + 40 + payloadLength);
  layer.length = stop - at;
  const missing = at + 40 + payloadLength > end;
  if (missing && !d.quoted) {
    d.malformed(layer, `payload length ${payloadLength}, ${end - at - 40} bytes left`, stop, end);
  }
  d.network = {
    family: 6,
    sourceAt: at + 8,
    destinationAt: at + 24,
    source,
    destination,
    protocol: d.view.getUint8(at + 6),
    hopLimit: d.view.getUint8(at + 7),
    whole: !missing,
  };
  chain(d, into, layer, d.view.getUint8(at + 6), at + 40, stop);
};

/** Walks the extension headers and hands on what follows them. */
function chain(d: Dissection, into: Field, layer: Field, first: number, from: number, end: number): void {
  let next = first;
  let at = from;
  for (let count = 0; count < MOST_EXTENSIONS; count++) {
    if (next === NO_NEXT) {
      d.say('IPv6', 'IPv6 no next header');
      d.data(into, at, end);
      return;
    }
    if (next === FRAGMENT_HEADER) {
      const header = d.header(layer, FRAGMENT, at, end);
      if (header === undefined) return;
      next = d.view.getUint8(at);
      if (fragmented(d, into, next, at, end)) return;
      at += 8;
      continue;
    }
    const names = NAMES[next];
    if (names === undefined) break;
    const size = extensionLength(d, next, at, end);
    if (size === undefined) {
      d.malformed(layer, `${names[1]} runs past the packet`, at, end);
      return;
    }
    extension(d, layer, next, names, at, size);
    next = d.view.getUint8(at);
    at += size;
  }
  if (d.network !== undefined) d.network = { ...d.network, protocol: next };
  upper(d, into, next, at, end);
}

/** True when the packet is a later fragment, and what follows is a piece of data. */
function fragmented(d: Dissection, into: Field, next: number, at: number, end: number): boolean {
  const word = d.view.getUint16(at + 2);
  if ((word & 0xfff9) === 0) return false; // an atomic fragment (RFC 6946)
  if (d.network !== undefined) d.network = { ...d.network, whole: false };
  const offset = word & 0xfff8;
  const identification = d.view
    .getUint32(at + 4)
    .toString(16)
    .padStart(8, '0');
  d.say(
    'IPv6',
    `IPv6 fragment (off=${offset} more=${word & 1 ? 'y' : 'n'} ident=0x${identification} nxt=${next})`,
  );
  if (offset === 0) return false;
  d.data(into, at + 8, end);
  return true;
}

function extensionLength(d: Dissection, type: number, at: number, end: number): number | undefined {
  if (end - at < 8) return undefined;
  const octet = d.view.getUint8(at + 1);
  // RFC 4302 2.2: the AH counts 32-bit words, minus 2; all others 8 octets, not counting the first 8.
  const size = type === AUTHENTICATION ? (octet + 2) * 4 : (octet + 1) * 8;
  return at + size <= end ? size : undefined;
}

function extension(
  d: Dissection,
  layer: Field,
  type: number,
  [name, label]: readonly [string, string],
  at: number,
  size: number,
): void {
  const header = d.group(layer, name, label, at, size);
  const next = d.view.getUint8(at);
  d.add(header, `${name}.nxt`, 'Next Header', next, `${PROTOCOLS[next] ?? 'Unknown'} (${next})`, at, 1);
  d.add(header, `${name}.len`, 'Length', d.view.getUint8(at + 1), `${size} bytes`, at + 1, 1);
  if (type === HOP_BY_HOP || type === DESTINATION_OPTIONS) {
    options(d, header, at + 2, at + size);
    return;
  }
  if (type !== ROUTING) return;
  const kind = d.view.getUint8(at + 2);
  const left = d.view.getUint8(at + 3);
  d.add(header, 'ipv6.routing.type', 'Type', kind, String(kind), at + 2, 1);
  d.add(header, 'ipv6.routing.segleft', 'Segments Left', left, String(left), at + 3, 1);
}

function options(d: Dissection, header: Field, from: number, end: number): void {
  let at = from;
  while (at < end) {
    const type = d.view.getUint8(at);
    const label = OPTION_NAMES[type] ?? `Unknown option 0x${type.toString(16)}`;
    // RFC 8200 4.2: Pad1 is one octet, without a length.
    const size = type === 0 ? 1 : at + 1 < end ? 2 + d.view.getUint8(at + 1) : 0;
    if (size === 0 || at + size > end) {
      d.malformed(header, `${label} runs past its header`, at, end);
      return;
    }
    const option = d.group(header, 'ipv6.opt', label, at, size);
    d.add(option, 'ipv6.opt.type', 'Type', type, label, at, 1);
    if (type !== 0) d.add(option, 'ipv6.opt.length', 'Length', size - 2, String(size - 2), at + 1, 1);
    if (type === 5 && size === 4) {
      const alert = d.view.getUint16(at + 2);
      const text = alert === 0 ? 'MLD (0)' : String(alert);
      d.add(option, 'ipv6.opt.router_alert', 'Router Alert', alert, text, at + 2, 2);
    } else if (type === 0xc2 && size === 6) {
      const jumbo = d.view.getUint32(at + 2);
      d.add(option, 'ipv6.opt.jumbo', 'Payload Length', jumbo, String(jumbo), at + 2, 4);
    } else if (type > 1 && size > 2) {
      const value = d.bytes.subarray(at + 2, at + size);
      d.add(option, 'ipv6.opt.unknown', 'Data', value, hexText(value), at + 2, size - 2);
    }
    at += size;
  }
}
