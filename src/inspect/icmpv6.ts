// ICMPv6: errors, echo, neighbour discovery and its options, multicast listener discovery (RFC 4443, 4861, 2710, 3810, 8106).

import { readV6 } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';
import { type Dissection, type Dissector, UNVERIFIED } from './dissection.ts';
import { ipv6 as address, dec, type Field, flag, type HeaderTable, hex, hexText, raw } from './field.ts';
import { ipv6 } from './ipv6.ts';

const TYPES: Record<number, string> = {
  1: 'Destination Unreachable',
  2: 'Packet Too Big',
  3: 'Time Exceeded',
  4: 'Parameter Problem',
  128: 'Echo (ping) request',
  129: 'Echo (ping) reply',
  130: 'Multicast Listener Query',
  131: 'Multicast Listener Report',
  132: 'Multicast Listener Done',
  133: 'Router Solicitation',
  134: 'Router Advertisement',
  135: 'Neighbor Solicitation',
  136: 'Neighbor Advertisement',
  137: 'Redirect',
  143: 'Multicast Listener Report Message v2',
};

const UNREACHABLE: Record<number, string> = {
  0: 'no route to destination',
  1: 'Administratively prohibited',
  2: 'Beyond scope',
  3: 'Address unreachable',
  4: 'Port unreachable',
  5: 'Source address failed ingress/egress policy',
  6: 'Reject route',
};

export const ICMPV6: HeaderTable = {
  name: 'icmpv6',
  label: 'Internet Control Message Protocol v6',
  size: 4,
  fields: [
    dec('icmpv6.type', 'Type', 0, 1, { meanings: TYPES }),
    dec('icmpv6.code', 'Code', 1, 1),
    hex('icmpv6.checksum', 'Checksum', 2, 2),
  ],
};

/** What follows the first four bytes, by type. */
const BODIES: Record<number, HeaderTable> = {
  1: {
    name: 'icmpv6',
    label: 'Destination Unreachable',
    size: 8,
    fields: [raw('icmpv6.reserved', 'Reserved', 4, 4)],
  },
  2: { name: 'icmpv6', label: 'Packet Too Big', size: 8, fields: [dec('icmpv6.mtu', 'MTU', 4, 4)] },
  3: { name: 'icmpv6', label: 'Time Exceeded', size: 8, fields: [raw('icmpv6.reserved', 'Reserved', 4, 4)] },
  4: {
    name: 'icmpv6',
    label: 'Parameter Problem',
    size: 8,
    fields: [dec('icmpv6.pointer', 'Pointer', 4, 4)],
  },
  128: echoBody(),
  129: echoBody(),
  133: {
    name: 'icmpv6',
    label: 'Router Solicitation',
    size: 8,
    fields: [raw('icmpv6.reserved', 'Reserved', 4, 4)],
  },
  134: {
    name: 'icmpv6',
    label: 'Router Advertisement',
    size: 16,
    fields: [
      dec('icmpv6.nd.ra.cur_hop_limit', 'Cur hop limit', 4, 1),
      hex('icmpv6.nd.ra.flag', 'Flags', 5, 1, {
        parts: [
          flag('icmpv6.nd.ra.flag.m', 'Managed address configuration', 5, 1, 7),
          flag('icmpv6.nd.ra.flag.o', 'Other configuration', 5, 1, 6),
        ],
      }),
      dec('icmpv6.nd.ra.router_lifetime', 'Router lifetime (s)', 6, 2),
      dec('icmpv6.nd.ra.reachable_time', 'Reachable time (ms)', 8, 4),
      dec('icmpv6.nd.ra.retrans_timer', 'Retrans timer (ms)', 12, 4),
    ],
  },
  135: {
    name: 'icmpv6',
    label: 'Neighbor Solicitation',
    size: 24,
    fields: [
      raw('icmpv6.reserved', 'Reserved', 4, 4),
      address('icmpv6.nd.ns.target_address', 'Target Address', 8),
    ],
  },
  136: {
    name: 'icmpv6',
    label: 'Neighbor Advertisement',
    size: 24,
    fields: [
      hex('icmpv6.nd.na.flag', 'Flags', 4, 4, {
        parts: [
          flag('icmpv6.nd.na.flag.r', 'Router', 4, 4, 31),
          flag('icmpv6.nd.na.flag.s', 'Solicited', 4, 4, 30),
          flag('icmpv6.nd.na.flag.o', 'Override', 4, 4, 29),
        ],
      }),
      address('icmpv6.nd.na.target_address', 'Target Address', 8),
    ],
  },
  137: {
    name: 'icmpv6',
    label: 'Redirect',
    size: 40,
    fields: [
      raw('icmpv6.reserved', 'Reserved', 4, 4),
      address('icmpv6.nd.rd.target_address', 'Target Address', 8),
      address('icmpv6.rd.na.destination_address', 'Destination Address', 24),
    ],
  },
};

function echoBody(): HeaderTable {
  return {
    name: 'icmpv6',
    label: 'Echo',
    size: 8,
    fields: [
      hex('icmpv6.echo.identifier', 'Identifier', 4, 2),
      dec('icmpv6.echo.sequence_number', 'Sequence', 6, 2),
    ],
  };
}

/** MLDv1 message, and the beginning of an MLDv2 query (RFC 2710 3, RFC 3810 5.1). */
const LISTENER: HeaderTable = {
  name: 'icmpv6',
  label: 'Multicast Listener Discovery',
  size: 24,
  fields: [
    dec('icmpv6.mld.maximum_response_delay', 'Maximum Response Delay (ms)', 4, 2),
    raw('icmpv6.reserved', 'Reserved', 6, 2),
    address('icmpv6.mld.multicast_address', 'Multicast Address', 8),
  ],
};

const LISTENER_QUERY_V2: HeaderTable = {
  name: 'icmpv6',
  label: 'Multicast Listener Query v2',
  size: 28,
  fields: [
    dec('icmpv6.mld.maximum_response_code', 'Maximum Response Code', 4, 2),
    raw('icmpv6.reserved', 'Reserved', 6, 2),
    address('icmpv6.mld.multicast_address', 'Multicast Address', 8),
    hex('icmpv6.mld.flag', 'Flags', 24, 1, {
      parts: [flag('icmpv6.mld.flag.s', 'Suppress Router-side Processing', 24, 1, 3)],
    }),
    dec('icmpv6.mld.qqi', "QQIC (Querier's Query Interval Code)", 25, 1),
    dec('icmpv6.mld.nb_sources', 'Number of Sources', 26, 2),
  ],
};

export const icmpv6: Dissector = (d, into, at, end) => {
  d.say('ICMPv6', '');
  const layer = d.header(into, ICMPV6, at, end);
  if (layer === undefined) return;
  layer.length = end - at;
  const type = d.view.getUint8(at);
  const code = d.view.getUint8(at + 1);
  const whole = d.network?.family === 6 && d.network.whole && !d.quoted;
  d.judge(layer, 'icmpv6.checksum', at, end, 58, whole ? undefined : UNVERIFIED);
  const name = TYPES[type] ?? `Type ${type}`;
  layer.text = type === 1 && UNREACHABLE[code] !== undefined ? `${name}: ${UNREACHABLE[code]}` : name;
  d.say('ICMPv6', type === 1 ? `${name} (${UNREACHABLE[code] ?? code})` : name);
  if (type === 130) {
    listenerQuery(d, layer, at, end);
    return;
  }
  if (type === 131 || type === 132) {
    d.fields(layer, LISTENER, at, end);
    return;
  }
  if (type === 143) {
    listenerReport(d, layer, at, end);
    return;
  }
  const body = BODIES[type];
  if (body === undefined) {
    d.data(layer, at + 4, end);
    return;
  }
  if (!d.fields(layer, body, at, end)) return;
  if (type < 128) d.quote(ipv6, layer, at + 8, end);
  else if (type < 130) {
    const seq = d.view.getUint16(at + 6);
    const id = d.view
      .getUint16(at + 4)
      .toString(16)
      .padStart(4, '0');
    d.say('ICMPv6', `${name} id=0x${id}, seq=${seq}, hop limit=${d.network?.hopLimit ?? 0}`);
    d.data(layer, at + 8, end);
  } else {
    neighbour(d, type, name, layer);
    options(d, layer, at + body.size, end);
  }
};

function neighbour(d: Dissection, type: number, name: string, layer: Field): void {
  const target = layer.children.find((field) => field.name.endsWith('.target_address'))?.text;
  if (type === 135) d.say('ICMPv6', `${name} for ${target}`);
  else if (type === 136) {
    const set = layer.children
      .find((field) => field.name === 'icmpv6.nd.na.flag')!
      .children.filter((field) => field.value === true)
      .map((field) => field.name.slice(-1));
    d.say(
      'ICMPv6',
      `${name} ${target}${
        set.length > 0
          ? ` (${['r', 's', 'o']
              .filter((f) => set.includes(f))
              .map((f) => ({ r: 'rtr', s: 'sol', o: 'ovr' })[f])
              .join(', ')})`
          : ''
      }`,
    );
  } else if (type === 137) d.say('ICMPv6', `${name} to ${target}`);
}

const OPTIONS: Record<number, string> = {
  1: 'Source link-layer address',
  2: 'Target link-layer address',
  3: 'Prefix information',
  4: 'Redirected header',
  5: 'MTU',
  14: 'Nonce',
  24: 'Route Information',
  25: 'Recursive DNS Server',
  31: 'DNS Search List',
};

const PREFIX: HeaderTable = {
  name: 'icmpv6.opt',
  label: 'Prefix information',
  size: 32,
  fields: [
    dec('icmpv6.opt.prefix.length', 'Prefix Length', 2, 1),
    hex('icmpv6.opt.prefix.flag', 'Flag', 3, 1, {
      parts: [
        flag('icmpv6.opt.prefix.flag.l', 'On-link flag(L)', 3, 1, 7),
        flag('icmpv6.opt.prefix.flag.a', 'Autonomous address-configuration flag(A)', 3, 1, 6),
      ],
    }),
    dec('icmpv6.opt.prefix.valid_lifetime', 'Valid Lifetime', 4, 4),
    dec('icmpv6.opt.prefix.preferred_lifetime', 'Preferred Lifetime', 8, 4),
    address('icmpv6.opt.prefix', 'Prefix', 16),
  ],
};

/** RFC 4861 4.6: type, length in units of 8 octets; a length of 0 ends the reading. */
function options(d: Dissection, layer: Field, from: number, end: number): void {
  let at = from;
  while (at < end) {
    const type = d.view.getUint8(at);
    const label = OPTIONS[type] ?? `Option ${type}`;
    const units = at + 1 < end ? d.view.getUint8(at + 1) : 0;
    const size = units * 8;
    if (size === 0 || at + size > end) {
      d.malformed(layer, `${label} of ${size} bytes`, at, end);
      return;
    }
    const option = d.group(layer, 'icmpv6.opt', `ICMPv6 Option (${label})`, at, size);
    d.add(option, 'icmpv6.opt.type', 'Type', type, `${label} (${type})`, at, 1);
    d.add(option, 'icmpv6.opt.length', 'Length', units, `${units} (${size} bytes)`, at + 1, 1);
    value(d, option, type, at, size);
    at += size;
  }
}

function value(d: Dissection, option: Field, type: number, at: number, size: number): void {
  if ((type === 1 || type === 2) && size === 8) {
    const mac = formatMac(d.bytes, at + 2);
    d.add(option, 'icmpv6.opt.linkaddr', 'Link-layer address', mac, mac, at + 2, 6);
    const name = type === 1 ? 'icmpv6.opt.src_linkaddr' : 'icmpv6.opt.target_linkaddr';
    d.add(option, name, 'Link-layer address', mac, mac, at + 2, 6);
    if (type === 1 && !d.quoted && d.info.includes('Solicitation')) d.info += ` from ${mac}`;
    else if (!d.quoted && d.info.startsWith('Neighbor Adv')) d.info += ` is at ${mac}`;
  } else if (type === 3 && size === 32) d.fields(option, PREFIX, at, at + size);
  else if (type === 4 && size > 8) d.quote(ipv6, option, at + 8, at + size);
  else if (type === 5 && size === 8) {
    const mtu = d.view.getUint32(at + 4);
    d.add(option, 'icmpv6.opt.mtu', 'MTU', mtu, String(mtu), at + 4, 4);
  } else if (type === 25 && size >= 24) {
    const lifetime = d.view.getUint32(at + 4);
    d.add(option, 'icmpv6.opt.rdnss.lifetime', 'Lifetime', lifetime, String(lifetime), at + 4, 4);
    for (let server = at + 8; server + 16 <= at + size; server += 16) {
      const text = readV6(d.view, server).toString();
      d.add(option, 'icmpv6.opt.rdnss', 'Recursive DNS Servers', text, text, server, 16);
    }
  } else {
    const bytes = d.bytes.subarray(at + 2, at + size);
    d.add(option, 'icmpv6.opt.data', 'Data', bytes, hexText(bytes), at + 2, size - 2);
  }
}

function listenerQuery(d: Dissection, layer: Field, at: number, end: number): void {
  // RFC 3810 8.1: exactly 24 octets are version 1, 28 or more version 2.
  if (end - at < 28) {
    d.fields(layer, LISTENER, at, end);
    return;
  }
  if (!d.fields(layer, LISTENER_QUERY_V2, at, end)) return;
  addresses(d, layer, 'icmpv6.mld.source_address', d.view.getUint16(at + 26), at + 28, end);
}

const RECORD_TYPES: Record<number, string> = {
  1: 'Include',
  2: 'Exclude',
  3: 'Changed to include',
  4: 'Changed to exclude',
  5: 'Allow new sources',
  6: 'Block old sources',
};

const RECORD: HeaderTable = {
  name: 'icmpv6.mldr.mar',
  label: 'Multicast Address Record',
  size: 20,
  fields: [
    dec('icmpv6.mldr.mar.record_type', 'Record Type', 0, 1, { meanings: RECORD_TYPES }),
    dec('icmpv6.mldr.mar.aux_data_len', 'Aux Data Len', 1, 1),
    dec('icmpv6.mldr.mar.nb_sources', 'Number of Sources', 2, 2),
    address('icmpv6.mldr.mar.multicast_address', 'Multicast Address', 4),
  ],
};

/** RFC 3810 5.2. */
function listenerReport(d: Dissection, layer: Field, at: number, end: number): void {
  if (end - at < 8) {
    d.malformed(layer, 'multicast listener report', at + 4, end);
    return;
  }
  const count = d.view.getUint16(at + 6);
  d.add(layer, 'icmpv6.mldr.nb_mcast_records', 'Number of Records', count, String(count), at + 6, 2);
  let from = at + 8;
  for (let i = 0; i < count; i++) {
    const record = d.header(layer, RECORD, from, end);
    if (record === undefined) return;
    const sources = d.view.getUint16(from + 2);
    const auxiliary = d.view.getUint8(from + 1) * 4;
    record.text = record.children[3]!.text;
    if (!addresses(d, record, 'icmpv6.mldr.mar.source_address', sources, from + 20, end)) return;
    from += 20 + sources * 16 + auxiliary;
    record.length = Math.min(from, end) - record.offset;
  }
}

/** Source addresses in a row. False when they run past the message. */
function addresses(
  d: Dissection,
  into: Field,
  name: string,
  count: number,
  from: number,
  end: number,
): boolean {
  for (let i = 0; i < count; i++) {
    const at = from + 16 * i;
    if (at + 16 > end) {
      d.malformed(into, `${count} source addresses`, at, end);
      return false;
    }
    const text = readV6(d.view, at).toString();
    d.add(into, name, 'Source Address', text, text, at, 16);
  }
  return true;
}
