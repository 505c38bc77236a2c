// Protocols above TCP and UDP of which a stack's user wants to see the first line: HTTP/1 (RFC 9112), TLS records
// (RFC 8446 5.1) and NTP (RFC 5905 7.3).

import { readV4 } from '../base/address.ts';
import type { Dissection, Dissector } from './dissection.ts';
import { bits, dec, type Field, type HeaderTable, hex, raw } from './field.ts';
import { printable } from './text.ts';

/** Longest first line that is looked for: RFC 9112 3 asks for 8000 octets at least. */
const MOST_LINE = 8192;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];

/** Whether a stream begins like an HTTP/1 message. */
export function likeHttp(bytes: Uint8Array, at: number, end: number): boolean {
  if (startsWith(bytes, at, end, 'HTTP/1.')) return true;
  return METHODS.some((method) => startsWith(bytes, at, end, `${method} `));
}

export const http: Dissector = (d, into, at, end) => {
  if (!likeHttp(d.bytes, at, end)) {
    d.data(into, at, end);
    return;
  }
  let stop = at;
  const most = Math.min(end, at + MOST_LINE);
  while (stop < most && d.bytes[stop] !== 0x0a) stop++;
  const lineEnd = d.bytes[stop - 1] === 0x0d ? stop - 1 : stop;
  const line = printable(d.bytes, at, lineEnd);
  const layer = d.group(into, 'http', 'Hypertext Transfer Protocol', at, end - at);
  layer.text = line;
  d.say('HTTP', line);
  const names = line.startsWith('HTTP/') ? STATUS_LINE : REQUEST_LINE;
  let from = at;
  for (const [i, [name, label]] of names.entries()) {
    // The last word is all the rest: a reason phrase has spaces.
    const space = i === names.length - 1 ? -1 : d.bytes.subarray(from, lineEnd).indexOf(0x20);
    const to = space < 0 ? lineEnd : from + space;
    const text = printable(d.bytes, from, to);
    const value = name === 'http.response.code' && /^\d{3}$/.test(text) ? Number(text) : text;
    d.add(layer, name, label, value, text, from, to - from);
    if (to >= lineEnd) return;
    from = to + 1;
  }
};

const REQUEST_LINE = [
  ['http.request.method', 'Request Method'],
  ['http.request.uri', 'Request URI'],
  ['http.request.version', 'Request Version'],
] as const;
const STATUS_LINE = [
  ['http.response.version', 'Response Version'],
  ['http.response.code', 'Status Code'],
  ['http.response.phrase', 'Response Phrase'],
] as const;

function startsWith(bytes: Uint8Array, at: number, end: number, text: string): boolean {
  if (at + text.length > end) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

const CONTENT_TYPES: Record<number, string> = {
  20: 'Change Cipher Spec',
  21: 'Alert',
  22: 'Handshake',
  23: 'Application Data',
  24: 'Heartbeat',
};

const HANDSHAKES: Record<number, string> = {
  0: 'Hello Request',
  1: 'Client Hello',
  2: 'Server Hello',
  4: 'New Session Ticket',
  8: 'Encrypted Extensions',
  11: 'Certificate',
  12: 'Server Key Exchange',
  13: 'Certificate Request',
  14: 'Server Hello Done',
  15: 'Certificate Verify',
  16: 'Client Key Exchange',
  20: 'Finished',
};

const VERSIONS: Record<number, string> = { 768: 'SSL 3.0', 769: 'TLS 1.0', 770: 'TLS 1.1', 771: 'TLS 1.2' };

const RECORD: HeaderTable = {
  name: 'tls.record',
  label: 'TLS Record Layer',
  size: 5,
  fields: [
    dec('tls.record.content_type', 'Content Type', 0, 1, { meanings: CONTENT_TYPES }),
    hex('tls.record.version', 'Version', 1, 2, { meanings: VERSIONS }),
    dec('tls.record.length', 'Length', 3, 2),
  ],
};

/** Whether a stream begins like a TLS record: a known type, version 3.x, a length that RFC 8446 5.2 allows. */
export function likeTls(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 5) return false;
  const length = bytes[at + 3]! * 256 + bytes[at + 4]!;
  const known = CONTENT_TYPES[bytes[at]!] !== undefined && bytes[at + 1] === 3 && bytes[at + 2]! <= 4;
  return known && length > 0 && length <= 16_384 + 2048;
}

export const tls: Dissector = (d, into, at, end) => {
  if (!likeTls(d.bytes, at, end)) {
    d.data(into, at, end);
    return;
  }
  const layer = d.group(into, 'tls', 'Transport Layer Security', at, end - at);
  const said: string[] = [];
  let from = at;
  while (likeTls(d.bytes, from, end)) {
    const length = d.view.getUint16(from + 3);
    const record = d.header(layer, RECORD, from, end);
    if (record === undefined) break;
    const type = d.view.getUint8(from);
    let name = CONTENT_TYPES[type] ?? String(type);
    const handshake = from + 5 < end && type === 22 ? HANDSHAKES[d.view.getUint8(from + 5)] : undefined;
    if (handshake !== undefined) {
      name = handshake;
      const message = d.view.getUint8(from + 5);
      d.add(
        record,
        'tls.handshake.type',
        'Handshake Type',
        message,
        `${handshake} (${message})`,
        from + 5,
        1,
      );
    }
    record.text = name;
    record.length = Math.min(5 + length, end - from);
    if (said.length < 8) said.push(name);
    from += 5 + length; // a record may go on in the next segment
  }
  d.say('TLS', said.join(', '));
};

const LEAPS: Record<number, string> = {
  0: 'no warning',
  1: 'last minute of the day has 61 seconds',
  2: 'last minute of the day has 59 seconds',
  3: 'unknown (clock unsynchronized)',
};
const MODES: Record<number, string> = {
  1: 'symmetric active',
  2: 'symmetric passive',
  3: 'client',
  4: 'server',
  5: 'broadcast',
  6: 'control',
  7: 'private',
};

export const NTP: HeaderTable = {
  name: 'ntp',
  label: 'Network Time Protocol',
  size: 48,
  fields: [
    hex('ntp.flags', 'Flags', 0, 1, {
      parts: [
        bits('ntp.flags.li', 'Leap Indicator', [0, 1, 6, 2], { meanings: LEAPS }),
        bits('ntp.flags.vn', 'Version number', [0, 1, 3, 3]),
        bits('ntp.flags.mode', 'Mode', [0, 1, 0, 3], { meanings: MODES }),
      ],
    }),
    dec('ntp.stratum', 'Peer Clock Stratum', 1, 1),
    dec('ntp.ppoll', 'Peer Polling Interval', 2, 1),
    dec('ntp.precision', 'Peer Clock Precision', 3, 1),
    hex('ntp.rootdelay', 'Root Delay', 4, 4),
    hex('ntp.rootdispersion', 'Root Dispersion', 8, 4),
    raw('ntp.refid', 'Reference ID', 12, 4),
    raw('ntp.reftime', 'Reference Timestamp', 16, 8),
    raw('ntp.org', 'Origin Timestamp', 24, 8),
    raw('ntp.rec', 'Receive Timestamp', 32, 8),
    raw('ntp.xmt', 'Transmit Timestamp', 40, 8),
  ],
};

export const ntp: Dissector = (d, into, at, end) => {
  d.say('NTP', '');
  const mode = end > at ? d.view.getUint8(at) & 7 : 0;
  const version = end > at ? (d.view.getUint8(at) >> 3) & 7 : 0;
  if (mode >= 6) {
    // RFC 9327: control messages have another shape.
    d.say('NTP', `NTP Version ${version}, ${MODES[mode]}`);
    d.data(into, at, end);
    return;
  }
  const layer = d.header(into, NTP, at, end);
  if (layer === undefined) return;
  d.say('NTP', `NTP Version ${version}, ${MODES[mode] ?? 'reserved'}`);
  layer.text = MODES[mode] ?? '';
  const stratum = d.view.getUint8(at + 1);
  const refid = layer.children.find((field) => field.name === 'ntp.refid')!;
  // RFC 5905 7.3: four letters at stratum 0 and 1, an IPv4 address (or a hash) above.
  refid.text = stratum < 2 ? printable(d.bytes, at + 12, at + 16) : readV4(d.view, at + 12).toString();
  for (const [i, name] of ['ntp.reftime', 'ntp.org', 'ntp.rec', 'ntp.xmt'].entries())
    stamp(d, layer, name, at + 16 + 8 * i);
};

/** Seconds since 1900 and 2^-32 fractions, in the era that RFC 4330 3 says: without the top bit, from 2036 on. */
function stamp(d: Dissection, layer: Field, name: string, at: number): void {
  const seconds = d.view.getUint32(at);
  const fraction = d.view.getUint32(at + 4);
  const field = layer.children.find((child) => child.name === name);
  if (field === undefined) return;
  if (seconds === 0 && fraction === 0) {
    field.text = 'NULL';
    return;
  }
  const unix = seconds + (seconds >= 0x8000_0000 ? 0 : 0x1_0000_0000) - 2_208_988_800;
  const nanos = String(Math.floor((fraction * 1e9) / 2 ** 32)).padStart(9, '0');
  field.text = `${calendar(unix)}.${nanos} UTC`;
}

/** Seconds since 1970 as a date and a time of day, in the Gregorian calendar. */
function calendar(unix: number): string {
  const days = Math.floor(unix / 86_400);
  // Counted in eras of 400 years from 1 March 0000, so that the leap day is the last of its year.
  const since = days + 719_468;
  const era = Math.floor(since / 146_097);
  const dayOfEra = since - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const march = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * march + 2) / 5) + 1;
  const month = march < 10 ? march + 3 : march - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const second = unix - days * 86_400;
  const two = (n: number) => String(n).padStart(2, '0');
  const clock = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60].map(two).join(':');
  return `${year}-${two(month)}-${two(day)} ${clock}`;
}
