// TCP and its options (RFC 9293 3.1, 3.2; RFC 7323, 2018, 7413, 5482, 2385, 5925, 8684).

import { type Dissection, type Dissector, UNVERIFIED } from './dissection.ts';
import { bits, dec, type Field, flag, type HeaderTable, hex, hexText } from './field.ts';

export const TCP: HeaderTable = {
  name: 'tcp',
  label: 'Transmission Control Protocol',
  size: 20,
  fields: [
    dec('tcp.srcport', 'Source Port', 0, 2),
    dec('tcp.dstport', 'Destination Port', 2, 2),
    dec('tcp.seq_raw', 'Sequence Number (raw)', 4, 4),
    dec('tcp.ack_raw', 'Acknowledgment Number (raw)', 8, 4),
    bits('tcp.hdr_len', 'Header Length', [12, 1, 4, 4], { scale: 4 }),
    bits('tcp.flags', 'Flags', [12, 2, 0, 12], {
      kind: 'hex',
      parts: [
        bits('tcp.flags.res', 'Reserved', [12, 2, 9, 3]),
        flag('tcp.flags.ae', 'Accurate ECN', 12, 2, 8),
        flag('tcp.flags.cwr', 'Congestion Window Reduced', 12, 2, 7),
        flag('tcp.flags.ece', 'ECN-Echo', 12, 2, 6),
        flag('tcp.flags.urg', 'Urgent', 12, 2, 5),
        flag('tcp.flags.ack', 'Acknowledgment', 12, 2, 4),
        flag('tcp.flags.push', 'Push', 12, 2, 3),
        flag('tcp.flags.reset', 'Reset', 12, 2, 2),
        flag('tcp.flags.syn', 'Syn', 12, 2, 1),
        flag('tcp.flags.fin', 'Fin', 12, 2, 0),
      ],
    }),
    dec('tcp.window_size_value', 'Window', 14, 2),
    hex('tcp.checksum', 'Checksum', 16, 2),
    dec('tcp.urgent_pointer', 'Urgent Pointer', 18, 2),
  ],
};

/** The flags in the order in which Wireshark's summary names them. */
const FLAGS: readonly (readonly [bit: number, name: string])[] = [
  [0x01, 'FIN'],
  [0x02, 'SYN'],
  [0x04, 'RST'],
  [0x08, 'PSH'],
  [0x10, 'ACK'],
  [0x20, 'URG'],
  [0x40, 'ECE'],
  [0x80, 'CWR'],
  [0x100, 'AE'],
];

function flagNames(flags: number): string {
  const names = FLAGS.filter(([bit]) => (flags & bit) !== 0);
  return names.length === 0 ? '<None>' : names.map(([, name]) => name).join(', ');
}

export const tcp: Dissector = (d, into, at, end) => {
  d.say('TCP', '');
  if (end - at < 20 && (d.quoted || d.network?.whole === false)) {
    stub(d, into, at, end);
    return;
  }
  const layer = d.header(into, TCP, at, end);
  if (layer === undefined) return;
  const v = d.view;
  const source = v.getUint16(at);
  const destination = v.getUint16(at + 2);
  d.sourcePort = source;
  d.destinationPort = destination;
  const headerLength = (v.getUint8(at + 12) >> 4) * 4;
  const length = Math.max(0, end - at - headerLength);
  const flags = v.getUint16(at + 12) & 0xfff;
  const base = numbers(d, layer, at, flags, length);
  layer.text = `${source} → ${destination} [${flagNames(flags)}]`;
  const whole = d.network?.whole === true && !d.quoted;
  d.judge(layer, 'tcp.checksum', at, end, 6, whole ? undefined : UNVERIFIED);
  if (headerLength < 20) {
    d.malformed(layer, `header length ${headerLength}`, at + 12, end);
    return;
  }
  if (at + headerLength > end) {
    d.malformed(layer, `header of ${headerLength} bytes`, at, end);
    return;
  }
  layer.length = headerLength;
  const said = options(d, layer, at + 20, at + headerLength, base);
  const [seq, ack] = ['tcp.seq', 'tcp.ack'].map(
    (name) => layer.children.find((field) => field.name === name)?.text,
  );
  const acknowledges = (flags & 0x10) !== 0 ? ` Ack=${ack}` : '';
  d.say(
    'TCP',
    `${source} → ${destination} [${flagNames(flags)}] Seq=${seq}${acknowledges} Win=${v.getUint16(at + 14)} Len=${length}${said}`,
  );
  if (length > 0) payload(d, into, at + headerLength, end);
};

/** Finds who reads a stream: by the well-known port, else by its first bytes. */
function payload(d: Dissection, into: Field, at: number, end: number): void {
  const { sourcePort, destinationPort, tables } = d;
  const [low, high] =
    sourcePort < destinationPort ? [sourcePort, destinationPort] : [destinationPort, sourcePort];
  const byPort = tables.tcpPorts.get(low) ?? tables.tcpPorts.get(high);
  const byLook = tables.streams.find((stream) => stream.like(d.bytes, at, end))?.read;
  d.enter(byLook ?? byPort, into, at, end);
}

/** The first 8 bytes or more of a segment that an error quotes (RFC 792): ports and sequence number. */
function stub(d: Dissection, into: Field, at: number, end: number): void {
  const layer = d.group(into, TCP.name, TCP.label, at, end - at);
  for (const spec of TCP.fields.slice(0, 2)) if (spec.at + spec.size <= end - at) d.spec(layer, spec, at);
  if (end - at < 8) return;
  const seq = d.view.getUint32(at + 4);
  d.add(layer, 'tcp.seq', 'Sequence Number', seq, String(seq), at + 4, 4);
}

/**
 * Sequence and acknowledgment numbers, relative if a `Sequences` book is kept, and the payload length. Returns what
 * was taken off the acknowledgment number: SACK edges count from there too.
 */
function numbers(d: Dissection, layer: Field, at: number, flags: number, length: number): number {
  let seq = d.view.getUint32(at + 4);
  let ack = d.view.getUint32(at + 8);
  const network = d.network;
  if (d.sequences !== undefined && network !== undefined && !d.quoted) {
    const from = `${network.source} ${d.sourcePort}`;
    const to = `${network.destination} ${d.destinationPort}`;
    ({ seq, ack } = d.sequences.relative(from, to, flags, seq, ack));
  }
  d.add(layer, 'tcp.len', 'TCP Segment Len', length, String(length), at + 12, 1);
  d.add(layer, 'tcp.seq', 'Sequence Number', seq, String(seq), at + 4, 4);
  d.add(layer, 'tcp.ack', 'Acknowledgment Number', ack, String(ack), at + 8, 4);
  return (d.view.getUint32(at + 8) - ack) >>> 0;
}

const KINDS: Record<number, string> = {
  0: 'End of Option List (EOL)',
  1: 'No-Operation (NOP)',
  2: 'Maximum segment size',
  3: 'Window scale',
  4: 'SACK permitted',
  5: 'SACK',
  8: 'Timestamps',
  19: 'TCP MD5 signature',
  28: 'User Timeout Option',
  29: 'TCP Authentication Option',
  30: 'Multipath TCP',
  34: 'TCP Fast Open',
  253: 'RFC3692-style Experiment 1',
  254: 'RFC3692-style Experiment 2',
};

/** Adds the options; returns what the summary says of them. */
function options(d: Dissection, layer: Field, from: number, end: number, base: number): string {
  if (from >= end) return '';
  const all = d.bytes.subarray(from, end);
  const list = d.add(layer, 'tcp.options', 'Options', all, hexText(all), from, end - from);
  let said = '';
  let at = from;
  while (at < end) {
    const kind = d.view.getUint8(at);
    const label = KINDS[kind] ?? `Unknown (${kind})`;
    // RFC 9293 3.1: kinds 0 and 1 are single octets; the length of others counts kind and length.
    const single = kind < 2;
    const length = single ? 1 : at + 1 < end ? d.view.getUint8(at + 1) : 0;
    if (length < (single ? 1 : 2) || at + length > end) {
      d.malformed(list, `${label} of length ${length}`, at, end);
      return said;
    }
    const option = d.group(list, GROUPS[kind] ?? 'tcp.options.unknown', label, at, length);
    d.add(option, 'tcp.option_kind', 'Kind', kind, `${label} (${kind})`, at, 1);
    if (kind === 0) return said;
    if (!single) {
      d.add(option, 'tcp.option_len', 'Length', length, String(length), at + 1, 1);
      said += value(d, option, kind, at, length, base);
    }
    at += length;
  }
  return said;
}

const GROUPS: Record<number, string> = {
  0: 'tcp.options.eol',
  1: 'tcp.options.nop',
  2: 'tcp.options.mss',
  3: 'tcp.options.wscale',
  4: 'tcp.options.sack_perm',
  5: 'tcp.options.sack',
  8: 'tcp.options.timestamp',
  19: 'tcp.options.md5',
  28: 'tcp.options.user_to',
  29: 'tcp.options.ao',
  30: 'tcp.options.mptcp',
  34: 'tcp.options.tfo',
  253: 'tcp.options.experimental',
  254: 'tcp.options.experimental',
};

/** The value of one option whose bytes are all here; a length that its kind does not have leaves it as bytes. */
function value(d: Dissection, option: Field, kind: number, at: number, length: number, base: number): string {
  const v = d.view;
  const number = (name: string, label: string, from: number, size: 1 | 2 | 4) => {
    const n = size === 1 ? v.getUint8(from) : size === 2 ? v.getUint16(from) : v.getUint32(from);
    d.add(option, name, label, n, String(n), from, size);
    return n;
  };
  if (kind === 2 && length === 4) return ` MSS=${number('tcp.options.mss_val', 'MSS Value', at + 2, 2)}`;
  if (kind === 3 && length === 3) {
    const shift = number('tcp.options.wscale.shift', 'Shift count', at + 2, 1);
    // RFC 7323 2.3: a shift above 14 counts as 14.
    const multiplier = 2 ** Math.min(shift, 14);
    d.add(option, 'tcp.options.wscale.multiplier', 'Multiplier', multiplier, String(multiplier), at + 2, 1);
    return ` WS=${multiplier}`;
  }
  if (kind === 4 && length === 2) return ' SACK_PERM';
  if (kind === 5 && length > 2 && (length - 2) % 8 === 0) {
    let said = '';
    for (let block = at + 2; block < at + length; block += 8) {
      const left = (v.getUint32(block) - base) >>> 0;
      const right = (v.getUint32(block + 4) - base) >>> 0;
      d.add(option, 'tcp.options.sack_le', 'left edge', left, String(left), block, 4);
      d.add(option, 'tcp.options.sack_re', 'right edge', right, String(right), block + 4, 4);
      said += ` SLE=${left} SRE=${right}`;
    }
    return said;
  }
  if (kind === 8 && length === 10) {
    const tsval = number('tcp.options.timestamp.tsval', 'Timestamp value', at + 2, 4);
    const tsecr = number('tcp.options.timestamp.tsecr', 'Timestamp echo reply', at + 6, 4);
    return ` TSval=${tsval} TSecr=${tsecr}`;
  }
  if (kind === 28 && length === 4) {
    const word = v.getUint16(at + 2);
    const unit = word >> 15 === 1 ? 'minutes' : 'seconds';
    d.add(option, 'tcp.options.user_to_granularity', 'Granularity', word >> 15 === 1, unit, at + 2, 2);
    d.add(
      option,
      'tcp.options.user_to_val',
      'User Timeout',
      word & 0x7fff,
      `${word & 0x7fff} ${unit}`,
      at + 2,
      2,
    );
    return ` USER_TO=${word & 0x7fff} ${unit}`;
  }
  if (length > 2) {
    const name =
      kind === 34
        ? 'tcp.options.tfo.cookie'
        : kind === 19
          ? 'tcp.options.md5.digest'
          : 'tcp.options.unknown.payload';
    const bytes = d.bytes.subarray(at + 2, at + length);
    d.add(
      option,
      name,
      kind === 34 ? 'Fast Open Cookie' : 'Value',
      bytes,
      hexText(bytes),
      at + 2,
      length - 2,
    );
  }
  return kind === 34 ? (length === 2 ? ' TFO=R' : ' TFO=C') : '';
}
