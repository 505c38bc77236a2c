// DHCPv6 messages and the options of addresses and prefixes (RFC 8415 8, 9, 21).

import { readV6 } from '../base/address.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { ipv6 as address, dec, type Field, type HeaderTable, hex, hexText, raw } from './field.ts';
import { printable } from './text.ts';

const MESSAGES: Record<number, string> = {
  1: 'Solicit',
  2: 'Advertise',
  3: 'Request',
  4: 'Confirm',
  5: 'Renew',
  6: 'Rebind',
  7: 'Reply',
  8: 'Release',
  9: 'Decline',
  10: 'Reconfigure',
  11: 'Information-request',
  12: 'Relay-forw',
  13: 'Relay-reply',
};

const OPTIONS: Record<number, string> = {
  1: 'Client Identifier',
  2: 'Server Identifier',
  3: 'Identity Association for Non-temporary Address',
  4: 'Identity Association for Temporary Address',
  5: 'IA Address',
  6: 'Option Request',
  7: 'Preference',
  8: 'Elapsed time',
  9: 'Relay Message',
  13: 'Status code',
  14: 'Rapid Commit',
  16: 'Vendor Class',
  23: 'DNS recursive name server',
  24: 'Domain Search List',
  25: 'Identity Association for Prefix Delegation',
  26: 'IA Prefix',
  39: 'Client Fully Qualified Domain Name',
};

const MESSAGE: HeaderTable = {
  name: 'dhcpv6',
  label: 'DHCPv6',
  size: 4,
  fields: [
    dec('dhcpv6.msgtype', 'Message type', 0, 1, { meanings: MESSAGES }),
    hex('dhcpv6.xid', 'Transaction ID', 1, 3),
  ],
};

const RELAY: HeaderTable = {
  name: 'dhcpv6',
  label: 'DHCPv6',
  size: 34,
  fields: [
    dec('dhcpv6.msgtype', 'Message type', 0, 1, { meanings: MESSAGES }),
    dec('dhcpv6.hopcount', 'Hopcount', 1, 1),
    address('dhcpv6.linkaddr', 'Link address', 2),
    address('dhcpv6.peeraddr', 'Peer address', 18),
  ],
};

/** The fixed part of options that carry options. */
const ASSOCIATION: HeaderTable = {
  name: 'dhcpv6.iaid',
  label: 'Identity Association',
  size: 12,
  fields: [
    raw('dhcpv6.iaid', 'IAID', 0, 4),
    dec('dhcpv6.iaid.t1', 'T1', 4, 4),
    dec('dhcpv6.iaid.t2', 'T2', 8, 4),
  ],
};

const ADDRESS: HeaderTable = {
  name: 'dhcpv6.iaaddr',
  label: 'IA Address',
  size: 24,
  fields: [
    address('dhcpv6.iaaddr.ip', 'IPv6 address', 0),
    dec('dhcpv6.iaaddr.pref_lifetime', 'Preferred lifetime', 16, 4),
    dec('dhcpv6.iaaddr.valid_lifetime', 'Valid lifetime', 20, 4),
  ],
};

const PREFIX: HeaderTable = {
  name: 'dhcpv6.iaprefix',
  label: 'IA Prefix',
  size: 25,
  fields: [
    dec('dhcpv6.iaprefix.pref_lifetime', 'Preferred lifetime', 0, 4),
    dec('dhcpv6.iaprefix.valid_lifetime', 'Valid lifetime', 4, 4),
    dec('dhcpv6.iaprefix.pref_len', 'Prefix length', 8, 1),
    address('dhcpv6.iaprefix.pref_addr', 'Prefix address', 9),
  ],
};

/** Options within options: an association holds addresses, which hold a status. */
const MOST_DEPTH = 4;

export const dhcpv6: Dissector = (d, into, at, end) => {
  d.say('DHCPv6', '');
  const type = end > at ? d.view.getUint8(at) : 0;
  const relay = type === 12 || type === 13;
  const table = relay ? RELAY : MESSAGE;
  const layer = d.header(into, table, at, end);
  if (layer === undefined) return;
  layer.length = end - at;
  layer.text = MESSAGES[type] ?? `type ${type}`;
  const id = (d.view.getUint32(at) & 0xff_ffff).toString(16);
  d.say('DHCPv6', relay ? layer.text : `${layer.text} XID: 0x${id}`);
  options(d, layer, at + table.size, end, 0);
};

function options(d: Dissection, into: Field, from: number, end: number, depth: number): void {
  let at = from;
  while (at < end) {
    const code = at + 4 <= end ? d.view.getUint16(at) : -1;
    const length = code < 0 ? 0 : d.view.getUint16(at + 2);
    const label = OPTIONS[code] ?? `Option ${code}`;
    if (code < 0 || at + 4 + length > end) {
      d.malformed(into, `${label} runs past the message`, at, end);
      return;
    }
    const option = d.group(into, 'dhcpv6.option', label, at, 4 + length);
    d.add(option, 'dhcpv6.option.type', 'Option', code, `${label} (${code})`, at, 2);
    d.add(option, 'dhcpv6.option.length', 'Length', length, String(length), at + 2, 2);
    value(d, option, code, at + 4, at + 4 + length, depth);
    at += 4 + length;
  }
}

function value(d: Dissection, option: Field, code: number, at: number, end: number, depth: number): void {
  const inner =
    code === 3 || code === 25 ? ASSOCIATION : code === 5 ? ADDRESS : code === 26 ? PREFIX : undefined;
  if (inner !== undefined) {
    if (!d.fields(option, inner, at, end)) return;
    if (depth < MOST_DEPTH) options(d, option, at + inner.size, end, depth + 1);
    return;
  }
  if (code === 6) {
    for (let i = at; i + 2 <= end; i += 2) {
      const wanted = d.view.getUint16(i);
      const text = `${OPTIONS[wanted] ?? 'Option'} (${wanted})`;
      d.add(option, 'dhcpv6.requested_option_code', 'Requested Option code', wanted, text, i, 2);
    }
  } else if (code === 8 && end - at === 2) {
    const elapsed = d.view.getUint16(at) * 10;
    d.add(option, 'dhcpv6.elapsed_time', 'Elapsed time', elapsed, `${elapsed}ms`, at, 2);
  } else if (code === 13 && end - at >= 2) {
    const status = d.view.getUint16(at);
    d.add(option, 'dhcpv6.status_code', 'Status Code', status, String(status), at, 2);
    const text = printable(d.bytes, at + 2, end);
    d.add(option, 'dhcpv6.status_msg', 'Status Message', text, text, at + 2, end - at - 2);
  } else if (code === 23) {
    for (let i = at; i + 16 <= end; i += 16) {
      const text = readV6(d.view, i).toString();
      d.add(option, 'dhcpv6.dns_server', 'DNS server address', text, text, i, 16);
    }
  } else if ((code === 1 || code === 2) && end > at) {
    const bytes = d.bytes.subarray(at, end);
    d.add(option, 'dhcpv6.duid.bytes', 'DUID', bytes, hexText(bytes), at, end - at);
  } else if (code === 7 && end - at === 1) {
    const preference = d.view.getUint8(at);
    d.add(option, 'dhcpv6.option_preference', 'Pref-value', preference, String(preference), at, 1);
  } else if (end > at) {
    const bytes = d.bytes.subarray(at, end);
    d.add(option, 'dhcpv6.option.value', 'Value', bytes, hexText(bytes), at, end - at);
  }
}
