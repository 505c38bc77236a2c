// IPv4 and its options (RFC 791 3.1, RFC 2113, RFC 1108).

import { readV4 } from '../base/address.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { ipv4 as address, bits, dec, type Field, flag, type HeaderTable, hex, hexText } from './field.ts';

export const PROTOCOLS: Record<number, string> = {
  0: 'IPv6 Hop-by-Hop Option',
  1: 'ICMP',
  2: 'IGMP',
  4: 'IPIP',
  6: 'TCP',
  17: 'UDP',
  41: 'IPv6',
  43: 'Routing Header for IPv6',
  44: 'Fragment Header for IPv6',
  47: 'GRE',
  50: 'ESP',
  51: 'AH',
  58: 'ICMPv6',
  59: 'IPv6 no next header',
  60: 'Destination Options for IPv6',
  89: 'OSPF',
  132: 'SCTP',
};

const ECN: Record<number, string> = { 0: 'Not-ECT', 1: 'ECT(1)', 2: 'ECT(0)', 3: 'CE' };

export const IPV4: HeaderTable = {
  name: 'ip',
  label: 'Internet Protocol Version 4',
  size: 20,
  fields: [
    bits('ip.version', 'Version', [0, 1, 4, 4]),
    bits('ip.hdr_len', 'Header Length', [0, 1, 0, 4], { scale: 4 }),
    hex('ip.dsfield', 'Differentiated Services Field', 1, 1, {
      parts: [
        bits('ip.dsfield.dscp', 'Codepoint', [1, 1, 2, 6]),
        bits('ip.dsfield.ecn', 'Explicit Congestion Notification', [1, 1, 0, 2], { meanings: ECN }),
      ],
    }),
    dec('ip.len', 'Total Length', 2, 2),
    hex('ip.id', 'Identification', 4, 2),
    bits('ip.flags', 'Flags', [6, 1, 5, 3], {
      kind: 'hex',
      parts: [
        flag('ip.flags.rb', 'Reserved bit', 6, 1, 7),
        flag('ip.flags.df', "Don't fragment", 6, 1, 6),
        flag('ip.flags.mf', 'More fragments', 6, 1, 5),
      ],
    }),
    bits('ip.frag_offset', 'Fragment Offset (8 octets)', [6, 2, 0, 13]),
    dec('ip.ttl', 'Time to Live', 8, 1),
    dec('ip.proto', 'Protocol', 9, 1, { meanings: PROTOCOLS }),
    hex('ip.checksum', 'Header Checksum', 10, 2),
    address('ip.src', 'Source Address', 12),
    address('ip.dst', 'Destination Address', 16),
  ],
};

const OPTIONS: Record<number, string> = {
  0: 'End of Options List',
  1: 'No Operation',
  7: 'Record Route',
  68: 'Time Stamp',
  130: 'Security',
  131: 'Loose Source Route',
  136: 'Stream Identifier',
  137: 'Strict Source Route',
  148: 'Router Alert',
};

export const ipv4: Dissector = (d, into, at, end) => {
  d.say('IPv4', '');
  const layer = d.header(into, IPV4, at, end);
  if (layer === undefined) return;
  const source = readV4(d.view, at + 12).toString();
  const destination = readV4(d.view, at + 16).toString();
  layer.text = `${source} → ${destination}`;
  d.between(source, destination);
  const version = d.view.getUint8(at) >> 4;
  const headerLength = (d.view.getUint8(at) & 15) * 4;
  if (version !== 4) {
    d.malformed(layer, `version ${version}`, at, end);
    return;
  }
  if (headerLength < 20) {
    d.malformed(layer, `header length ${headerLength}`, at, end);
    return;
  }
  if (at + headerLength > end) {
    d.malformed(layer, `header of ${headerLength} bytes`, at, end);
    return;
  }
  // A total length of 0 is what a capture sees of a super-frame: it then means "to the end".
  const totalLength = d.view.getUint16(at + 2) || end - at;
  if (totalLength < headerLength) {
    d.malformed(layer, `total length ${totalLength}`, at, end);
    return;
  }
  const stop = Math.min(end, at + totalLength);
  layer.length = stop - at;
  const missing = at + totalLength > end;
  if (missing && !d.quoted)
    d.malformed(layer, `total length ${totalLength}, ${end - at} bytes left`, stop, end);
  d.judge(layer, 'ip.checksum', at, at + headerLength, -1);
  options(d, layer, at + 20, at + headerLength);
  const fragment = d.view.getUint16(at + 6) & 0x3fff;
  const protocol = d.view.getUint8(at + 9);
  d.network = {
    family: 4,
    sourceAt: at + 12,
    destinationAt: at + 16,
    source,
    destination,
    protocol,
    hopLimit: d.view.getUint8(at + 8),
    whole: !missing && fragment === 0,
  };
  const payload = at + headerLength;
  if ((fragment & 0x1fff) !== 0) {
    const offset = (fragment & 0x1fff) * 8;
    d.say(
      'IPv4',
      `Fragmented IP protocol (proto=${PROTOCOLS[protocol] ?? protocol}, off=${offset}, ID=${id(d, at)})`,
    );
    d.data(into, payload, stop);
    return;
  }
  upper(d, into, protocol, payload, stop);
  if (fragment !== 0 && d.protocol === 'IPv4') d.info = `Fragment, ID=${id(d, at)}`;
};

/** Hands a payload to the layer of a protocol number. */
export function upper(d: Dissection, into: Field, protocol: number, at: number, end: number): void {
  const dissector = d.tables.protocols.get(protocol);
  if (dissector === undefined) {
    d.say(d.network?.family === 6 ? 'IPv6' : 'IPv4', `${PROTOCOLS[protocol] ?? `protocol ${protocol}`}`);
  }
  d.enter(dissector, into, at, end);
}

function id(d: Dissection, at: number): string {
  return d.view
    .getUint16(at + 4)
    .toString(16)
    .padStart(4, '0');
}

function options(d: Dissection, layer: Field, from: number, to: number): void {
  let at = from;
  while (at < to) {
    const type = d.view.getUint8(at);
    const label = OPTIONS[type] ?? `Option ${type}`;
    // RFC 791 3.1: types 0 and 1 are single octets; all others have a length that counts type and length.
    const single = type < 2;
    const length = single ? 1 : at + 1 < to ? d.view.getUint8(at + 1) : 0;
    if (length < (single ? 1 : 2) || at + length > to) {
      d.malformed(layer, `${label} of length ${length}`, at, to);
      return;
    }
    const option = d.group(layer, 'ip.opt', `IP Option - ${label}`, at, length);
    d.add(option, 'ip.opt.type', 'Type', type, `${label} (${type})`, at, 1);
    if (type === 0) return;
    if (!single) {
      d.add(option, 'ip.opt.len', 'Length', length, String(length), at + 1, 1);
      value(d, option, type, at, length);
    }
    at += length;
  }
}

function value(d: Dissection, option: Field, type: number, at: number, length: number): void {
  const v = d.view;
  if (type === 148 && length === 4) {
    const alert = v.getUint16(at + 2);
    d.add(
      option,
      'ip.opt.ra',
      'Router Alert',
      alert,
      alert === 0 ? 'Router shall examine packet (0)' : String(alert),
      at + 2,
      2,
    );
    return;
  }
  if ((type === 7 || type === 131 || type === 137 || type === 68) && length >= 3) {
    d.add(option, 'ip.opt.ptr', 'Pointer', v.getUint8(at + 2), String(v.getUint8(at + 2)), at + 2, 1);
    if (type === 68) {
      timestamps(d, option, at, length);
      return;
    }
    routes(d, option, type === 7, at, length);
    return;
  }
  if (length > 2) {
    const bytes = d.bytes.subarray(at + 2, at + length);
    d.add(option, 'ip.opt.data', 'Data', bytes, hexText(bytes), at + 2, length - 2);
  }
}

/** Addresses before the pointer were recorded; behind it lie empty slots, or the hops still to be visited. */
function routes(d: Dissection, option: Field, record: boolean, at: number, length: number): void {
  const pointer = at + d.view.getUint8(at + 2) - 1;
  for (let hop = at + 3; hop + 4 <= at + length; hop += 4) {
    const text = readV4(d.view, hop).toString();
    if (hop < pointer) d.add(option, 'ip.rec_rt', 'Recorded Route', text, text, hop, 4);
    else if (record) d.add(option, 'ip.empty_rt', 'Empty Route', text, text, hop, 4);
    else d.add(option, 'ip.src_rt', 'Source Route', text, text, hop, 4);
  }
}

function timestamps(d: Dissection, option: Field, at: number, length: number): void {
  if (length < 4) return;
  const octet = d.view.getUint8(at + 3);
  d.add(option, 'ip.opt.overflow', 'Overflow', octet >> 4, String(octet >> 4), at + 3, 1);
  d.add(option, 'ip.opt.flag', 'Flag', octet & 15, String(octet & 15), at + 3, 1);
  const addresses = (octet & 15) !== 0;
  for (let hop = at + 4; hop + (addresses ? 8 : 4) <= at + length; hop += addresses ? 8 : 4) {
    if (addresses) {
      const text = readV4(d.view, hop).toString();
      d.add(option, 'ip.opt.time_stamp_addr', 'Address', text, text, hop, 4);
    }
    const stamp = d.view.getUint32(hop + (addresses ? 4 : 0));
    d.add(option, 'ip.opt.time_stamp', 'Time stamp', stamp, String(stamp), hop + (addresses ? 4 : 0), 4);
  }
}
