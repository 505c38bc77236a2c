// DNS over UDP and TCP, multicast DNS and LLMNR (RFC 1035 4, RFC 2782, 3596, 6762, 6891).

import { readV4, readV6 } from '../base/address.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { bits, dec, type Field, flag, type HeaderTable, hex, hexText } from './field.ts';
import { printable } from './text.ts';

const TYPES: Record<number, string> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  13: 'HINFO',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  41: 'OPT',
  43: 'DS',
  46: 'RRSIG',
  47: 'NSEC',
  48: 'DNSKEY',
  64: 'SVCB',
  65: 'HTTPS',
  252: 'AXFR',
  255: 'ANY',
};

const OPCODES: Record<number, string> = {
  0: 'Standard query',
  1: 'Inverse query',
  2: 'Server status',
  4: 'Notify',
  5: 'Update',
};
const RCODES: Record<number, string> = {
  0: 'No error',
  1: 'Format error',
  2: 'Server failure',
  3: 'No such name',
  4: 'Not implemented',
  5: 'Refused',
};

export const DNS: HeaderTable = {
  name: 'dns',
  label: 'Domain Name System',
  size: 12,
  fields: [
    hex('dns.id', 'Transaction ID', 0, 2),
    hex('dns.flags', 'Flags', 2, 2, {
      parts: [
        flag('dns.flags.response', 'Response', 2, 2, 15),
        bits('dns.flags.opcode', 'Opcode', [2, 2, 11, 4], { meanings: OPCODES }),
        flag('dns.flags.authoritative', 'Authoritative', 2, 2, 10),
        flag('dns.flags.truncated', 'Truncated', 2, 2, 9),
        flag('dns.flags.recdesired', 'Recursion desired', 2, 2, 8),
        flag('dns.flags.recavail', 'Recursion available', 2, 2, 7),
        flag('dns.flags.z', 'Z', 2, 2, 6),
        flag('dns.flags.authenticated', 'Answer authenticated', 2, 2, 5),
        flag('dns.flags.checkdisable', 'Non-authenticated data', 2, 2, 4),
        bits('dns.flags.rcode', 'Reply code', [2, 2, 0, 4], { meanings: RCODES }),
      ],
    }),
    dec('dns.count.queries', 'Questions', 4, 2),
    dec('dns.count.answers', 'Answer RRs', 6, 2),
    dec('dns.count.auth_rr', 'Authority RRs', 8, 2),
    dec('dns.count.add_rr', 'Additional RRs', 10, 2),
  ],
};

/** Octets of a name on the wire (RFC 1035 2.3.4). */
const MOST_NAME = 255;

/** Dissects a message that starts at `at`; compression pointers count from there. */
function message(d: Dissection, into: Field, at: number, end: number, protocol: string, label: string): void {
  d.say(protocol, '');
  const layer = d.header(
    into,
    { ...DNS, name: protocol === 'DNS' ? 'dns' : protocol.toLowerCase(), label },
    at,
    end,
  );
  if (layer === undefined) return;
  layer.length = end - at;
  const v = d.view;
  const flags = v.getUint16(at + 2);
  const response = (flags & 0x8000) !== 0;
  const opcode = OPCODES[(flags >> 11) & 15] ?? `Opcode ${(flags >> 11) & 15}`;
  const rcode = flags & 15;
  layer.text = response ? 'response' : 'query';
  let info = `${opcode}${response ? ' response' : ''} 0x${v.getUint16(at).toString(16).padStart(4, '0')}`;
  if (response && rcode !== 0) info += ` ${RCODES[rcode] ?? `rcode ${rcode}`}`;
  d.say(protocol, info);
  const reader = new Records(d, at, end);
  let from: number | undefined = at + 12;
  from = reader.questions(layer, v.getUint16(at + 4), from);
  for (const [label, count] of [
    ['Answers', v.getUint16(at + 6)],
    ['Authoritative nameservers', v.getUint16(at + 8)],
    ['Additional records', v.getUint16(at + 10)],
  ] as const) {
    if (from === undefined || count === 0) continue;
    from = reader.records(layer, label, count, from);
  }
  if (!d.quoted && d.info === info) d.info += reader.said;
}

/** Reads names and records of one message. */
class Records {
  readonly #d: Dissection;
  readonly #start: number;
  readonly #end: number;
  /** What the summary says of the questions and answers. */
  said = '';

  constructor(d: Dissection, start: number, end: number) {
    this.#d = d;
    this.#start = start;
    this.#end = end;
  }

  questions(layer: Field, count: number, from: number): number | undefined {
    if (count === 0) return from;
    const group = this.#d.group(layer, 'dns.queries', 'Queries', from, 0);
    let at = from;
    for (let i = 0; i < count; i++) {
      const name = this.#name(group, at, 'question');
      if (name === undefined) return undefined;
      if (name.next + 4 > this.#end) return this.#fault(group, 'question without type and class', name.next);
      const type = this.#d.view.getUint16(name.next);
      const label = TYPES[type] ?? `type ${type}`;
      const query = this.#d.group(group, 'dns.qry', name.text, at, name.next + 4 - at, label);
      this.#d.add(query, 'dns.qry.name', 'Name', name.text, name.text, at, name.next - at);
      this.#d.add(query, 'dns.qry.type', 'Type', type, `${label} (${type})`, name.next, 2);
      this.#class(query, 'dns.qry.class', name.next + 2);
      if (i < 4) this.said += ` ${label} ${name.text}`;
      at = name.next + 4;
      group.length = at - from;
    }
    return at;
  }

  records(layer: Field, label: string, count: number, from: number): number | undefined {
    const group = this.#d.group(layer, 'dns.records', label, from, 0);
    let at: number | undefined = from;
    for (let i = 0; i < count && at !== undefined; i++) {
      at = this.#record(group, at, label === 'Answers' && i < 8);
      if (at !== undefined) group.length = at - from;
    }
    return at;
  }

  #record(group: Field, at: number, say: boolean): number | undefined {
    const d = this.#d;
    const name = this.#name(group, at, 'record');
    if (name === undefined) return undefined;
    const fixed = name.next;
    if (fixed + 10 > this.#end) return this.#fault(group, 'record without its fixed part', fixed);
    const type = d.view.getUint16(fixed);
    const length = d.view.getUint16(fixed + 8);
    const data = fixed + 10;
    const label = TYPES[type] ?? `type ${type}`;
    const record = d.group(group, 'dns.resp', name.text, at, Math.min(data + length, this.#end) - at, label);
    d.add(record, 'dns.resp.name', 'Name', name.text, name.text, at, fixed - at);
    d.add(record, 'dns.resp.type', 'Type', type, `${label} (${type})`, fixed, 2);
    if (type === 41) this.#options(record, fixed);
    else {
      this.#class(record, 'dns.resp.class', fixed + 2);
      const ttl = d.view.getUint32(fixed + 4);
      d.add(record, 'dns.resp.ttl', 'Time to live', ttl, `${ttl} seconds`, fixed + 4, 4);
    }
    d.add(record, 'dns.resp.len', 'Data length', length, String(length), fixed + 8, 2);
    // Hostile 112: the length may not pass the message.
    if (data + length > this.#end) return this.#fault(record, `record data of ${length} bytes`, data);
    if (say) this.said += ` ${label}`;
    const value = this.#data(record, type, data, length);
    if (value !== undefined) {
      record.text = `${label} ${value}`;
      if (say) this.said += ` ${value}`;
    }
    return data + length;
  }

  /** RFC 6891 6.1.3: class and TTL of an OPT record mean other things. */
  #options(record: Field, fixed: number): void {
    const size = this.#d.view.getUint16(fixed + 2);
    this.#d.add(record, 'dns.rr.udp_payload_size', 'UDP payload size', size, String(size), fixed + 2, 2);
    const version = this.#d.view.getUint8(fixed + 5);
    this.#d.add(record, 'dns.resp.edns0_version', 'EDNS0 version', version, String(version), fixed + 5, 1);
  }

  /** The data of the types that everybody meets, as text for the summary; others stay bytes. */
  #data(record: Field, type: number, at: number, length: number): string | undefined {
    const d = this.#d;
    const text = (name: string, label: string, value: string, from: number, size: number) => {
      d.add(record, name, label, value, value, from, size);
      return value;
    };
    const number = (name: string, label: string, from: number, size: 2 | 4) => {
      const value = size === 2 ? d.view.getUint16(from) : d.view.getUint32(from);
      d.add(record, name, label, value, String(value), from, size);
      return value;
    };
    /** A name inside the data, which may not pass its end. */
    const name = (field: string, label: string, from: number) => {
      const found = this.#name(record, from, label, at + length);
      return found === undefined ? undefined : text(field, label, found.text, from, found.next - from);
    };
    if (type === 1 && length === 4) return text('dns.a', 'Address', readV4(d.view, at).toString(), at, 4);
    if (type === 28 && length === 16)
      return text('dns.aaaa', 'AAAA Address', readV6(d.view, at).toString(), at, 16);
    if (type === 2) return name('dns.ns', 'Name Server', at);
    if (type === 5) return name('dns.cname', 'CNAME', at);
    if (type === 12) return name('dns.ptr.domain_name', 'Domain Name', at);
    if (type === 15 && length > 2) {
      number('dns.mx.preference', 'Preference', at, 2);
      return name('dns.mx.mail_exchange', 'Mail Exchange', at + 2);
    }
    if (type === 33 && length > 6) {
      number('dns.srv.priority', 'Priority', at, 2);
      number('dns.srv.weight', 'Weight', at + 2, 2);
      const port = number('dns.srv.port', 'Port', at + 4, 2);
      const target = name('dns.srv.target', 'Target', at + 6);
      return target === undefined ? undefined : `${port} ${target}`;
    }
    if (type === 6) return this.#authority(record, at, length);
    if (type === 16) return this.#strings(record, at, length);
    if (length > 0) {
      const bytes = d.bytes.subarray(at, at + length);
      d.add(record, 'dns.data', 'Data', bytes, hexText(bytes), at, length);
    }
    return undefined;
  }

  #authority(record: Field, at: number, length: number): string | undefined {
    const d = this.#d;
    const primary = this.#name(record, at, 'primary name server', at + length);
    if (primary === undefined) return undefined;
    d.add(record, 'dns.soa.mname', 'Primary name server', primary.text, primary.text, at, primary.next - at);
    const mailbox = this.#name(record, primary.next, 'responsible mailbox', at + length);
    if (mailbox === undefined) return undefined;
    const from = primary.next;
    d.add(
      record,
      'dns.soa.rname',
      'Responsible mailbox',
      mailbox.text,
      mailbox.text,
      from,
      mailbox.next - from,
    );
    if (mailbox.next + 20 > at + length) {
      this.#fault(record, 'start of authority without its numbers', mailbox.next);
      return undefined;
    }
    for (const [i, [name, label]] of AUTHORITY.entries()) {
      const value = d.view.getUint32(mailbox.next + 4 * i);
      d.add(record, name, label, value, String(value), mailbox.next + 4 * i, 4);
    }
    return primary.text;
  }

  #strings(record: Field, from: number, length: number): string {
    const d = this.#d;
    let said = '';
    for (let at = from; at < from + length; ) {
      const size = d.view.getUint8(at);
      if (at + 1 + size > from + length) {
        this.#fault(record, `a string of ${size} bytes`, at);
        break;
      }
      const text = printable(d.bytes, at + 1, at + 1 + size);
      d.add(record, 'dns.txt.length', 'TXT Length', size, String(size), at, 1);
      d.add(record, 'dns.txt', 'TXT', text, text, at + 1, size);
      if (said.length < 64) said += `${said === '' ? '' : ' '}${text}`;
      at += 1 + size;
    }
    return said;
  }

  #class(into: Field, name: string, at: number): void {
    const word = this.#d.view.getUint16(at);
    const text = word === 1 ? 'IN (0x0001)' : `0x${word.toString(16).padStart(4, '0')}`;
    this.#d.add(into, name, 'Class', word, text, at, 2);
  }

  #fault(into: Field, why: string, at: number): undefined {
    this.#d.malformed(into, why, at, this.#end);
    return undefined;
  }

  /**
   * The name at `at` and where what follows it starts. Hostile 113: a pointer must lie before the place it was read from,
   * and before every earlier pointer's target, so that no chain of them can loop; names end at 255 octets. Hostile 114: a
   * name must end within its message, or its record's data.
   */
  #name(
    into: Field,
    at: number,
    what: string,
    limit: number = this.#end,
  ): { text: string; next: number } | undefined {
    const v = this.#d.view;
    let text = '';
    let octets = 0;
    let next = -1;
    let stop = limit;
    let lowest = at;
    let from = at;
    for (;;) {
      if (from >= stop) return this.#fault(into, `${what}: a name runs past its end`, at);
      const size = v.getUint8(from);
      if (size === 0) {
        if (next < 0) next = from + 1;
        return { text: text === '' ? '<Root>' : text, next };
      }
      if (size >= 0xc0) {
        if (from + 2 > stop) return this.#fault(into, `${what}: half a compression pointer`, at);
        const target = this.#start + (v.getUint16(from) & 0x3fff);
        if (next < 0) next = from + 2;
        if (target < this.#start + DNS.size) {
          return this.#fault(into, `${what}: a compression pointer into the header`, at);
        }
        if (target >= lowest)
          return this.#fault(into, `${what}: a compression pointer that leads forward`, at);
        lowest = target;
        from = target;
        stop = this.#end;
        continue;
      }
      if (size > 63) return this.#fault(into, `${what}: a label of unknown type`, at);
      if (from + 1 + size > stop) return this.#fault(into, `${what}: a label runs past its end`, at);
      octets += 1 + size;
      if (octets >= MOST_NAME) return this.#fault(into, `${what}: a name of more than 255 octets`, at);
      text += `${text === '' ? '' : '.'}${printable(this.#d.bytes, from + 1, from + 1 + size)}`;
      from += 1 + size;
    }
  }
}

const AUTHORITY = [
  ['dns.soa.serial_number', 'Serial Number'],
  ['dns.soa.refresh_interval', 'Refresh Interval'],
  ['dns.soa.retry_interval', 'Retry Interval'],
  ['dns.soa.expire_limit', 'Expire limit'],
  ['dns.soa.minimum_ttl', 'Minimum TTL'],
] as const;

export const dns: Dissector = (d, into, at, end) => message(d, into, at, end, 'DNS', 'Domain Name System');
export const mdns: Dissector = (d, into, at, end) =>
  message(d, into, at, end, 'MDNS', 'Multicast Domain Name System');
export const llmnr: Dissector = (d, into, at, end) =>
  message(d, into, at, end, 'LLMNR', 'Link-local Multicast Name Resolution');

/** RFC 1035 4.2.2: over TCP a two-byte length stands before each message. Only what this segment holds whole is read. */
export const dnsOverTcp: Dissector = (d, into, at, end) => {
  let from = at;
  while (from + 2 <= end) {
    const length = d.view.getUint16(from);
    if (length < 12 || from + 2 + length > end) break;
    message(d, into, from + 2, from + 2 + length, 'DNS', 'Domain Name System');
    from += 2 + length;
  }
  d.data(into, from, end);
};
