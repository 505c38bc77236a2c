// DHCP over BOOTP, and its options (RFC 2131 2, RFC 2132).

import { readV4 } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { ipv4 as address, dec, type Field, flag, type HeaderTable, hex, hexText, raw } from './field.ts';
import { printable } from './text.ts';

export const DHCP: HeaderTable = {
  name: 'dhcp',
  label: 'Dynamic Host Configuration Protocol',
  size: 236,
  fields: [
    dec('dhcp.type', 'Message type', 0, 1, { meanings: { 1: 'Boot Request', 2: 'Boot Reply' } }),
    hex('dhcp.hw.type', 'Hardware type', 1, 1),
    dec('dhcp.hw.len', 'Hardware address length', 2, 1),
    dec('dhcp.hops', 'Hops', 3, 1),
    hex('dhcp.id', 'Transaction ID', 4, 4),
    dec('dhcp.secs', 'Seconds elapsed', 8, 2),
    hex('dhcp.flags', 'Bootp flags', 10, 2, { parts: [flag('dhcp.flags.bc', 'Broadcast flag', 10, 2, 15)] }),
    address('dhcp.ip.client', 'Client IP address', 12),
    address('dhcp.ip.your', 'Your (client) IP address', 16),
    address('dhcp.ip.server', 'Next server IP address', 20),
    address('dhcp.ip.relay', 'Relay agent IP address', 24),
    raw('dhcp.hw.addr', 'Client hardware address', 28, 16),
    raw('dhcp.server', 'Server host name', 44, 64),
    raw('dhcp.file', 'Boot file name', 108, 128),
  ],
};

const COOKIE = 0x63825363;

const MESSAGES: Record<number, string> = {
  1: 'Discover',
  2: 'Offer',
  3: 'Request',
  4: 'Decline',
  5: 'ACK',
  6: 'NAK',
  7: 'Release',
  8: 'Inform',
};

/** Options that hold IPv4 addresses: field name and label. */
const ADDRESSES: Record<number, readonly [name: string, label: string]> = {
  1: ['dhcp.option.subnet_mask', 'Subnet Mask'],
  3: ['dhcp.option.router', 'Router'],
  4: ['dhcp.option.time_server', 'Time Server'],
  6: ['dhcp.option.domain_name_server', 'Domain Name Server'],
  28: ['dhcp.option.broadcast_address', 'Broadcast Address'],
  42: ['dhcp.option.ntp_server', 'NTP Server'],
  50: ['dhcp.option.requested_ip_address', 'Requested IP Address'],
  54: ['dhcp.option.dhcp_server_id', 'DHCP Server Identifier'],
};

/** Options that hold one number, and its size. */
const NUMBERS: Record<number, readonly [name: string, label: string, size: 1 | 2 | 4]> = {
  23: ['dhcp.option.default_ip_ttl', 'Default IP TTL', 1],
  26: ['dhcp.option.interface_mtu', 'Interface MTU', 2],
  51: ['dhcp.option.ip_address_lease_time', 'IP Address Lease Time', 4],
  52: ['dhcp.option.option_overload', 'Option Overload', 1],
  57: ['dhcp.option.dhcp_max_message_size', 'Maximum DHCP Message Size', 2],
  58: ['dhcp.option.renewal_time_value', 'Renewal Time Value', 4],
  59: ['dhcp.option.rebinding_time_value', 'Rebinding Time Value', 4],
};

const STRINGS: Record<number, readonly [name: string, label: string]> = {
  12: ['dhcp.option.hostname', 'Host Name'],
  15: ['dhcp.option.domain_name', 'Domain Name'],
  56: ['dhcp.option.message', 'Message'],
  60: ['dhcp.option.vendor_class_id', 'Vendor class identifier'],
  252: ['dhcp.option.private_proxy_autodiscovery', 'Private/Proxy autodiscovery'],
};

const NAMES: Record<number, string> = {
  53: 'DHCP Message Type',
  55: 'Parameter Request List',
  61: 'Client identifier',
  81: 'Client Fully Qualified Domain Name',
  119: 'Domain Search',
  121: 'Classless Static Route',
  255: 'End',
};

export const dhcp: Dissector = (d, into, at, end) => {
  d.say('BOOTP', '');
  const layer = d.header(into, DHCP, at, end);
  if (layer === undefined) return;
  layer.length = end - at;
  if (d.view.getUint8(at + 1) === 1 && d.view.getUint8(at + 2) === 6) {
    const mac = formatMac(d.bytes, at + 28);
    d.add(layer, 'dhcp.hw.mac_addr', 'Client MAC address', mac, mac, at + 28, 6);
  }
  const id = d.view.getUint32(at + 4).toString(16);
  d.say('BOOTP', `${d.view.getUint8(at) === 1 ? 'Boot Request' : 'Boot Reply'} - Transaction ID 0x${id}`);
  if (end - at < 240 || d.view.getUint32(at + 236) !== COOKIE) {
    d.data(layer, at + 236, end);
    return;
  }
  d.add(layer, 'dhcp.cookie', 'Magic cookie', 'DHCP', 'DHCP', at + 236, 4);
  d.say('DHCP', d.info);
  options(d, layer, at + 240, end);
  const message = layer.children
    .find((option) => option.children[0]?.value === 53)
    ?.children.find((field) => field.name === 'dhcp.option.dhcp');
  if (message === undefined) return;
  const name = MESSAGES[Number(message.value)] ?? `type ${message.value}`;
  layer.text = name;
  if (!d.info.includes('Malformed')) d.say('DHCP', `DHCP ${name.padEnd(8)} - Transaction ID 0x${id}`);
};

/** RFC 2132 2: one-octet codes, 0 pads and 255 ends, all others have a length. Hostile 125. */
function options(d: Dissection, layer: Field, from: number, end: number): void {
  let at = from;
  while (at < end) {
    const code = d.view.getUint8(at);
    if (code === 0) {
      at++;
      continue;
    }
    const label =
      NAMES[code] ?? ADDRESSES[code]?.[1] ?? NUMBERS[code]?.[1] ?? STRINGS[code]?.[1] ?? `Option ${code}`;
    const option = d.group(layer, 'dhcp.option', `Option: (${code}) ${label}`, at, 1);
    d.add(option, 'dhcp.option.type', 'Option', code, `${label} (${code})`, at, 1);
    if (code === 255) return;
    const length = at + 1 < end ? d.view.getUint8(at + 1) : -1;
    if (length < 0 || at + 2 + length > end) {
      d.malformed(option, `${label} runs past the message`, at, end);
      return;
    }
    option.length = 2 + length;
    d.add(option, 'dhcp.option.length', 'Length', length, String(length), at + 1, 1);
    value(d, option, code, at + 2, length);
    at += 2 + length;
  }
}

function value(d: Dissection, option: Field, code: number, at: number, length: number): void {
  const v = d.view;
  const addresses = ADDRESSES[code];
  const number = NUMBERS[code];
  const string = STRINGS[code];
  if (code === 53 && length === 1) {
    const type = v.getUint8(at);
    d.add(option, 'dhcp.option.dhcp', 'DHCP', type, `${MESSAGES[type] ?? 'Unknown'} (${type})`, at, 1);
  } else if (code === 55) {
    for (let i = at; i < at + length; i++) {
      const item = v.getUint8(i);
      d.add(option, 'dhcp.option.request_list_item', 'Parameter Request List Item', item, String(item), i, 1);
    }
  } else if (code === 61 && length === 7 && v.getUint8(at) === 1) {
    const mac = formatMac(d.bytes, at + 1);
    d.add(option, 'dhcp.hw.type', 'Hardware type', 1, 'Ethernet (0x01)', at, 1);
    d.add(option, 'dhcp.hw.mac_addr', 'Client MAC address', mac, mac, at + 1, 6);
  } else if (addresses !== undefined && length >= 4 && length % 4 === 0) {
    for (let i = at; i < at + length; i += 4) {
      const text = readV4(v, i).toString();
      d.add(option, addresses[0], addresses[1], text, text, i, 4);
    }
  } else if (number !== undefined && length === number[2]) {
    const n = length === 1 ? v.getUint8(at) : length === 2 ? v.getUint16(at) : v.getUint32(at);
    d.add(option, number[0], number[1], n, String(n), at, length);
  } else if (string !== undefined) {
    const text = printable(d.bytes, at, at + length);
    d.add(option, string[0], string[1], text, text, at, length);
  } else if (length > 0) {
    const bytes = d.bytes.subarray(at, at + length);
    d.add(option, 'dhcp.option.value', 'Value', bytes, hexText(bytes), at, length);
  }
}
