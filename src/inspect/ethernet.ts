// Ethernet II, 802.3 with LLC, and 802.1Q tags (RFC 894, RFC 1042, IEEE 802.1Q).

import type { Dissection, Dissector } from './dissection.ts';
import { bits, dec, type Field, flag, type HeaderTable, hex, mac } from './field.ts';

export const ETHER_TYPES: Record<number, string> = {
  2048: 'IPv4',
  2054: 'ARP',
  32821: 'RARP',
  33024: '802.1Q Virtual LAN',
  34525: 'IPv6',
  34915: 'PPPoE Discovery',
  34916: 'PPPoE Session',
  34984: '802.1ad Provider Bridge',
  35020: 'LLDP',
};

/** Types up to this are lengths of an 802.3 frame. */
const MOST_LENGTH = 1500;
/** Bytes of a frame without FCS that the sender must pad up to. */
const MIN_FRAME = 60;

export const ETHERNET: HeaderTable = {
  name: 'eth',
  label: 'Ethernet II',
  size: 14,
  fields: [
    mac('eth.dst', 'Destination', 0),
    mac('eth.src', 'Source', 6),
    hex('eth.type', 'Type', 12, 2, { meanings: ETHER_TYPES }),
  ],
};

const ETHERNET_802_3: HeaderTable = {
  name: 'eth',
  label: 'IEEE 802.3 Ethernet',
  size: 14,
  fields: [mac('eth.dst', 'Destination', 0), mac('eth.src', 'Source', 6), dec('eth.len', 'Length', 12, 2)],
};

export const VLAN: HeaderTable = {
  name: 'vlan',
  label: '802.1Q Virtual LAN',
  size: 4,
  fields: [
    bits('vlan.priority', 'Priority', [0, 2, 13, 3]),
    flag('vlan.dei', 'DEI', 0, 2, 12),
    bits('vlan.id', 'ID', [0, 2, 0, 12]),
    hex('vlan.etype', 'Type', 2, 2, { meanings: ETHER_TYPES }),
  ],
};

const LLC: HeaderTable = {
  name: 'llc',
  label: 'Logical-Link Control',
  size: 3,
  fields: [
    hex('llc.dsap', 'DSAP', 0, 1),
    hex('llc.ssap', 'SSAP', 1, 1),
    hex('llc.control', 'Control field', 2, 1),
  ],
};

/** Dissects a frame from its destination address on. */
export function ethernet(d: Dissection, into: Field, at: number, end: number): void {
  const typed = end - at < 14 || d.view.getUint16(at + 12) > MOST_LENGTH;
  d.say('Ethernet', '');
  const layer = d.header(into, typed ? ETHERNET : ETHERNET_802_3, at, end);
  if (layer === undefined) return;
  d.between(layer.children[1]!.text, layer.children[0]!.text);
  if (typed) {
    byType(d, into, d.view.getUint16(at + 12), at + 14, end);
    const used = payloadEnd(d, at + 14, end);
    trailer(d, layer, at, used, end);
    return;
  }
  const used = Math.min(end, at + 14 + d.view.getUint16(at + 12));
  llc(d, into, at + 14, used);
  trailer(d, layer, at, used, end);
}

/** Hands the payload of an EtherType to who reads it. */
export function byType(d: Dissection, into: Field, type: number, at: number, end: number): void {
  const dissector = d.tables.etherTypes.get(type);
  if (dissector === undefined) d.say(`0x${type.toString(16).padStart(4, '0')}`, `${end - at} bytes`);
  d.enter(dissector, into, at, end);
}

export const vlan: Dissector = (d, into, at, end) => {
  const layer = d.header(into, VLAN, at, end);
  if (layer === undefined) return;
  layer.text = `ID ${d.view.getUint16(at) & 0xfff}`;
  const type = d.view.getUint16(at + 2);
  if (type > MOST_LENGTH) byType(d, into, type, at + 4, end);
  else llc(d, into, at + 4, Math.min(end, at + 4 + type));
};

function llc(d: Dissection, into: Field, at: number, end: number): void {
  const layer = d.header(into, LLC, at, end);
  d.say('LLC', `${end - at} bytes`);
  if (layer === undefined) return;
  const snap = d.view.getUint16(at) === 0xaaaa && d.view.getUint8(at + 2) === 3 && end - at >= 8;
  if (!snap) {
    d.data(into, at + 3, end);
    return;
  }
  // RFC 1042: SNAP, an organisation of zeros, then an EtherType.
  const type = d.view.getUint16(at + 6);
  d.add(layer, 'llc.type', 'Type', type, `0x${type.toString(16).padStart(4, '0')}`, at + 6, 2);
  byType(d, into, type, at + 8, end);
}

/** Where the payload ends by its own account: IP and ARP know their length, the frame does not. */
function payloadEnd(d: Dissection, at: number, end: number): number {
  const first = d.root.children.find((layer) => layer.offset >= at && ENDS.has(layer.name));
  return first === undefined ? end : Math.min(end, first.offset + first.length);
}

/** Layers whose node covers header and payload. */
const ENDS = new Set(['ip', 'ipv6', 'arp']);

function trailer(d: Dissection, layer: Field, at: number, used: number, end: number): void {
  if (used >= end) return;
  const padding = end - at <= MIN_FRAME;
  const name = padding ? 'eth.padding' : 'eth.trailer';
  const value = d.bytes.subarray(used, end);
  d.add(layer, name, padding ? 'Padding' : 'Trailer', value, `${end - used} bytes`, used, end - used);
}
