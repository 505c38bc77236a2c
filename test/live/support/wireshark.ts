// What Wireshark says of a capture: its checksums, its experts, its opinion of every TCP conversation, its header.

import { check } from '../harness.ts';

/**
 * Every checksum is checked. HTTP is left alone: it is Node's, and putting a body of many megabytes together takes Wireshark
 * time that grows with its square.
 */
const PREFERENCES = [
  ...['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]),
  ...['-o', 'tcp.desegment_tcp_streams:FALSE', '--disable-protocol', 'http'],
];

/** PI_SEVERITY_MASK values of Wireshark's epan/expert.h, as the field shows them. */
const NOTE = 0x400000;
const WARN = 0x600000;

/** PROTO_CHECKSUM_E_BAD of epan/proto.h. */
const BAD = '0';
/** ICMP types that quote a packet: unreachable, source quench, redirect, time exceeded, parameter problem. */
const QUOTING = new Set(['3', '4', '5', '11', '12']);

/** A frame that Wireshark remarks on. */
export interface Remark {
  readonly frame: number;
  readonly ours: boolean;
  readonly severity: 'note' | 'warn' | 'error';
  readonly message: string;
}

/** What Wireshark found wrong or odd. */
export interface Opinion {
  readonly frames: number;
  /** Frames of either side that are malformed or whose checksum is wrong. */
  readonly broken: string[];
  readonly remarks: Remark[];
}

/** Rows of the wanted fields of the frames that match; all occurrences of a field are joined by `|`. */
export function fields(file: string, filter: string, ...names: string[]): string[][] {
  const { stdout } = check('tshark', [
    '-n',
    '-r',
    file,
    ...PREFERENCES,
    '-Y',
    filter,
    '-T',
    'fields',
    '-E',
    'aggregator=|',
    ...names.flatMap((name) => ['-e', name]),
  ]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

/** Reads a whole capture once. `mac` is our link address, which says whose frame a remark is about. */
export function opinionOf(file: string, mac: string): Opinion {
  const rows = fields(
    file,
    'frame',
    'eth.src',
    'ip.checksum.status',
    'tcp.checksum.status',
    'udp.checksum.status',
    'igmp.checksum.status',
    'icmp.checksum.status',
    'icmp.type',
    '_ws.expert.severity',
    '_ws.expert.message',
  );
  const broken: string[] = [];
  const remarks: Remark[] = [];
  rows.forEach(([source = '', ...rest], index) => {
    const frame = index + 1;
    const [ip = '', tcp = '', udp = '', igmp = '', icmp = '', type = '', severities = '', messages = ''] =
      rest;
    // What an ICMP error quotes is as the router had it: cut, and with a checksum that hardware was to complete.
    const quotes = QUOTING.has(type);
    const statuses = [ip.split('|')[0], quotes ? '' : tcp, quotes ? '' : udp, igmp, icmp];
    if (statuses.includes(BAD)) broken.push(`${frame}: checksum`);
    if (messages.includes('Malformed')) broken.push(`${frame}: ${messages}`);
    const texts = messages.split('|');
    severities.split('|').forEach((text, i) => {
      const level = severityOf(text);
      if (level < NOTE) return;
      const severity = level > WARN ? 'error' : level === WARN ? 'warn' : 'note';
      remarks.push({ frame, ours: source === mac, severity, message: texts[i] ?? messages });
    });
  });
  return { frames: rows.length, broken, remarks };
}

function severityOf(text: string): number {
  return text === '' ? 0 : Number(text);
}

/** Our answer (RFC 2883) to what the kernel sent twice, as it does to probe for a loss when we are slow (RFC 8985 7). */
const DUPLICATE_SACK = /D-SACK/;

/**
 * What in an opinion speaks against us: anything broken on either side (a capture completes the kernel's checksums, too), and
 * every warning or error about our frames but the allowed ones.
 */
export function complaints({ broken, remarks }: Opinion, allowed: readonly RegExp[] = []): string[] {
  const fine = [...allowed, DUPLICATE_SACK];
  const against = remarks
    .filter(({ ours, severity }) => ours && severity !== 'note')
    .filter(({ message }) => !fine.some((pattern) => pattern.test(message)))
    .map(({ frame, severity, message }) => `${frame}: ${severity}: ${message}`);
  return [...broken, ...against];
}

/** How many of our frames Wireshark says this of. */
export function countOurs({ remarks }: Opinion, pattern: RegExp): number {
  return remarks.filter(({ ours, message }) => ours && pattern.test(message)).length;
}

/** How many of theirs. */
export function countTheirs({ remarks }: Opinion, pattern: RegExp): number {
  return remarks.filter(({ ours, message }) => !ours && pattern.test(message)).length;
}

/** What capinfos says of the file, name and value. */
export function capinfos(file: string): Map<string, string> {
  const { stdout } = check('capinfos', ['-M', file]);
  const facts = new Map<string, string>();
  for (const line of stdout.split('\n')) {
    const match = /^\s*([^:=]+?)\s*[:=]\s*(.*)$/.exec(line);
    if (match !== null) facts.set(match[1] ?? '', match[2] ?? '');
  }
  return facts;
}

/**
 * The frames by which we closed a window for longer than a moment, with their streams. One round takes many frames before the
 * application reads any: a window that closes and opens again before the peer says another word was never closed to it.
 */
export function closedWindows(file: string, ours: string): { frame: number; stream: string }[] {
  const closed: { frame: number; stream: string }[] = [];
  const waiting = new Map<string, number>();
  for (const [number, stream = '', source, zero] of fields(
    file,
    'tcp',
    'frame.number',
    'tcp.stream',
    'ip.src',
    'tcp.analysis.zero_window',
  )) {
    const frame = waiting.get(stream);
    waiting.delete(stream);
    if (frame !== undefined && source !== ours) closed.push({ frame, stream });
    if (source === ours && zero !== undefined && zero !== '') waiting.set(stream, Number(number));
  }
  return closed;
}
