// ICMP for IPv4 (RFC 792, 950, 1191, 1256, 4884).

import { readV4 } from '../base/address.ts';
import { type Dissection, type Dissector, UNVERIFIED } from './dissection.ts';
import { dec, type Field, type HeaderTable, hex } from './field.ts';
import { ipv4 } from './ipv4.ts';

const TYPES: Record<number, string> = {
  0: 'Echo (ping) reply',
  3: 'Destination unreachable',
  4: 'Source quench',
  5: 'Redirect',
  8: 'Echo (ping) request',
  9: 'Router advertisement',
  10: 'Router solicitation',
  11: 'Time-to-live exceeded',
  12: 'Parameter problem',
  13: 'Timestamp request',
  14: 'Timestamp reply',
  15: 'Information request',
  16: 'Information reply',
  17: 'Address mask request',
  18: 'Address mask reply',
};

const CODES: Record<number, Record<number, string>> = {
  3: {
    0: 'Network unreachable',
    1: 'Host unreachable',
    2: 'Protocol unreachable',
    3: 'Port unreachable',
    4: 'Fragmentation needed',
    5: 'Source route failed',
    9: 'Network administratively prohibited',
    10: 'Host administratively prohibited',
    13: 'Communication administratively filtered',
  },
  5: { 0: 'Redirect for network', 1: 'Redirect for host' },
  11: { 0: 'Time to live exceeded in transit', 1: 'Fragment reassembly time exceeded' },
};

export const ICMP: HeaderTable = {
  name: 'icmp',
  label: 'Internet Control Message Protocol',
  size: 4,
  fields: [
    dec('icmp.type', 'Type', 0, 1, { meanings: TYPES }),
    dec('icmp.code', 'Code', 1, 1),
    hex('icmp.checksum', 'Checksum', 2, 2),
  ],
};

/** The rest of an echo, timestamp or mask message. */
export const ICMP_ECHO: HeaderTable = {
  name: 'icmp',
  label: 'Internet Control Message Protocol',
  size: 8,
  fields: [...ICMP.fields, dec('icmp.ident', 'Identifier', 4, 2), dec('icmp.seq', 'Sequence Number', 6, 2)],
};

/** Messages with an identifier and a sequence number. */
const QUERIES = new Set([0, 8, 13, 14, 15, 16, 17, 18]);

export const icmp: Dissector = (d, into, at, end) => {
  d.say('ICMP', '');
  const type = end > at ? d.view.getUint8(at) : -1;
  const layer = d.header(into, QUERIES.has(type) ? ICMP_ECHO : ICMP, at, end);
  if (layer === undefined) return;
  layer.length = end - at;
  const code = d.view.getUint8(at + 1);
  const whole = d.network?.whole === true && !d.quoted;
  d.judge(layer, 'icmp.checksum', at, end, -1, whole ? undefined : UNVERIFIED);
  const name = TYPES[type] ?? `Type ${type}`;
  const detail = CODES[type]?.[code];
  layer.text = detail === undefined ? name : `${name}: ${detail}`;
  d.say('ICMP', detail === undefined ? name : `${name} (${detail})`);
  if (QUERIES.has(type)) query(d, layer, type, name, at, end);
  else if (type === 3 || type === 4 || type === 5 || type === 11 || type === 12) {
    error(d, layer, type, code, at, end);
  } else if (type === 9) routers(d, layer, at, end);
  else d.data(layer, at + 4, end);
};

function query(d: Dissection, layer: Field, type: number, name: string, at: number, end: number): void {
  const ident = d.view.getUint16(at + 4);
  const seq = d.view.getUint16(at + 6);
  const little = d.view.getUint16(at + 6, true);
  d.say(
    'ICMP',
    `${name.padEnd(19)}  id=0x${ident.toString(16).padStart(4, '0')}, seq=${seq}/${little}, ttl=${d.network?.hopLimit ?? 0}`,
  );
  if (type === 0 || type === 8) {
    d.data(layer, at + 8, end);
    return;
  }
  if (type >= 17) {
    if (end - at < 12) {
      d.malformed(layer, 'address mask', at + 8, end);
      return;
    }
    const mask = readV4(d.view, at + 8).toString();
    d.add(layer, 'icmp.address_mask', 'Address Mask', mask, mask, at + 8, 4);
    return;
  }
  if (type >= 15) return;
  for (const [i, [field, label]] of STAMPS.entries()) {
    const from = at + 8 + 4 * i;
    if (from + 4 > end) {
      d.malformed(layer, label, from, end);
      return;
    }
    const stamp = d.view.getUint32(from);
    d.add(layer, field, label, stamp, String(stamp), from, 4);
  }
}

const STAMPS = [
  ['icmp.originate_timestamp', 'Originate Timestamp'],
  ['icmp.receive_timestamp', 'Receive Timestamp'],
  ['icmp.transmit_timestamp', 'Transmit Timestamp'],
] as const;

function error(d: Dissection, layer: Field, type: number, code: number, at: number, end: number): void {
  if (end - at < 8) {
    d.malformed(layer, 'error without its second word', at + 4, end);
    return;
  }
  if (type === 5) {
    const gateway = readV4(d.view, at + 4).toString();
    d.add(layer, 'icmp.redir_gw', 'Gateway Address', gateway, gateway, at + 4, 4);
  } else if (type === 12) {
    const pointer = d.view.getUint8(at + 4);
    d.add(layer, 'icmp.pointer', 'Pointer', pointer, String(pointer), at + 4, 1);
  } else if (type === 3 && code === 4) {
    const mtu = d.view.getUint16(at + 6); // RFC 1191 4
    d.add(layer, 'icmp.mtu', 'MTU of next hop', mtu, String(mtu), at + 6, 2);
  }
  let stop = end;
  if (type !== 4 && type !== 5) {
    // RFC 4884 4.1: where the quoted datagram ends, in 32-bit words; 0 for messages without extensions.
    const words = d.view.getUint8(at + 5);
    if (words > 0) {
      d.add(layer, 'icmp.length', 'Length of original datagram', words * 4, String(words * 4), at + 5, 1);
      stop = Math.min(end, at + 8 + words * 4);
    }
  }
  if (stop > at + 8) d.quote(ipv4, layer, at + 8, stop);
}

/** RFC 1256 3: a router advertisement. */
function routers(d: Dissection, layer: Field, at: number, end: number): void {
  if (end - at < 8) {
    d.malformed(layer, 'router advertisement', at + 4, end);
    return;
  }
  const count = d.view.getUint8(at + 4);
  const words = d.view.getUint8(at + 5);
  d.add(layer, 'icmp.num_addrs', 'Number of addresses', count, String(count), at + 4, 1);
  d.add(layer, 'icmp.addr_entry_size', 'Address entry size', words, String(words), at + 5, 1);
  const lifetime = d.view.getUint16(at + 6);
  d.add(layer, 'icmp.lifetime', 'Lifetime', lifetime, `${lifetime} seconds`, at + 6, 2);
  if (words < 2) return;
  for (let i = 0, from = at + 8; i < count; i++, from += words * 4) {
    if (from + words * 4 > end) {
      d.malformed(layer, `${count} router addresses`, from, end);
      return;
    }
    const router = readV4(d.view, from).toString();
    d.add(layer, 'icmp.router_address', 'Router address', router, router, from, 4);
  }
}
