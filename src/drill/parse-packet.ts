// Reads the packets of a script: `< [ect0] P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 2 ecr 1>`, UDP and ICMP.

import type { Cursor } from './cursor.ts';
import { FLAG_LETTERS } from './flags.ts';
import type { IcmpSpec, IpSpec, Loose, PacketSpec, TcpOptionSpec, TcpSpec } from './script.ts';

const ECN_NAMES = ['noecn', 'ect0', 'ect1', 'ect01', 'ce'] as const;

export function parsePacket(cursor: Cursor): PacketSpec {
  const { line, from } = cursor.peek();
  const inbound = cursor.next().text === '<';
  const ip = parseIp(cursor);
  const quoted = parseQuoted(cursor);
  const token = cursor.peek();
  const base = { inbound, ip };
  if (token.kind === 'word' && token.text === 'icmp') {
    cursor.next();
    return { ...base, ...parseIcmp(cursor, quoted), text: cursor.textFrom(from) };
  }
  if (token.kind === 'word' && token.text === 'udp') {
    cursor.next();
    const length = parenthesized(cursor);
    return { ...base, protocol: 'udp', length, text: cursor.textFrom(from) };
  }
  const flags = parseFlags(cursor);
  if (flags === undefined) {
    cursor.skipLine(line);
    const text = cursor.textFrom(from);
    return { ...base, protocol: 'unknown', name: token.text, text };
  }
  const rest = parseTcp(cursor);
  return { ...base, protocol: 'tcp', flags, ...rest, text: cursor.textFrom(from) };
}

/** `[ect0]`, `[noecn]`, `(tos 0x10)`, `(class 0x28)`, `(flowlabel 0x1)`, `(ttl 64)`, in any order. */
function parseIp(cursor: Cursor): IpSpec {
  const ip: { -readonly [K in keyof IpSpec]: IpSpec[K] } = {};
  for (;;) {
    const close = cursor.isMark('[') ? ']' : cursor.isMark('(') ? ')' : undefined;
    // `[1:1(0)]` and `[udp (8)]` belong to the ICMP that follows.
    const next = cursor.peek(1);
    if (close === undefined || next.kind === 'integer' || next.text === 'udp') return ip;
    cursor.next();
    while (!cursor.accept(close)) {
      const { text } = cursor.next();
      const ecn = ECN_NAMES.find((name) => name === text);
      if (ecn !== undefined) ip.ecn = ecn;
      else if (text === 'tos' || text === 'class') ip.trafficClass = cursor.integer(`the value of ${text}`);
      else if (text === 'ttl' || text === 'hlim') ip.ttl = cursor.integer(`the value of ${text}`);
      else if (text === 'flowlabel') ip.flowLabel = cursor.integer('a flow label');
      else if (text !== ',') cursor.fail(`unknown IP field ${text}`);
    }
  }
}

/** `S.`, `P.`, `SEW`, `.`, `-`; undefined when this is no TCP packet. */
function parseFlags(cursor: Cursor): number | undefined {
  if (cursor.accept('-')) return 0;
  let bits = 0;
  let any = false;
  for (;;) {
    const token = cursor.peek();
    if (token.kind !== 'word' && !cursor.isMark('.')) break;
    const each = [...token.text].map((c) => FLAG_LETTERS[c]);
    if (each.includes(undefined)) break;
    for (const bit of each) bits |= bit!;
    any = true;
    cursor.next();
  }
  return any ? bits : undefined;
}

function parseTcp(cursor: Cursor): Omit<TcpSpec, 'protocol' | 'inbound' | 'ip' | 'flags' | 'text'> {
  const seq = parseSequence(cursor);
  let ack: Loose | undefined;
  let absoluteAck = false;
  let window: Loose = 'any';
  let urgent: number | undefined;
  for (;;) {
    if (cursor.accept('ack')) {
      ack = parseLoose(cursor, 'an acknowledgment number');
      absoluteAck = cursor.accept('!');
    } else if (cursor.accept('win')) window = parseLoose(cursor, 'a window');
    else if (cursor.accept('urg')) urgent = cursor.integer('an urgent pointer');
    else break;
  }
  return { ...seq, ack, absoluteAck, window, urgent, options: parseOptions(cursor) };
}

/** `1:1001(1000)`, `0:0(0)!`, `...(0)`. */
function parseSequence(cursor: Cursor): { seq: Loose; length: number; absoluteSeq: boolean } {
  let seq: Loose = 'any';
  if (!cursor.acceptEllipsis() && !cursor.accept('*')) {
    seq = cursor.integer('a sequence number') >>> 0;
    cursor.expect(':');
    cursor.integer('the end of the sequence range');
  }
  const length = parenthesized(cursor);
  return { seq, length, absoluteSeq: cursor.accept('!') };
}

function parenthesized(cursor: Cursor): number {
  cursor.expect('(');
  const n = cursor.integer('a length');
  cursor.expect(')');
  return n;
}

function parseLoose(cursor: Cursor, what: string): Loose {
  return cursor.accept('*') || cursor.acceptEllipsis() ? 'any' : cursor.integer(what) >>> 0;
}

function parseOptions(cursor: Cursor): TcpSpec['options'] {
  if (!cursor.accept('<')) return [];
  if (cursor.acceptEllipsis()) {
    cursor.expect('>');
    return 'any';
  }
  const list: TcpOptionSpec[] = [];
  while (!cursor.accept('>')) {
    list.push(parseOption(cursor));
    if (cursor.accept('>')) break;
    cursor.expect(',');
  }
  return list;
}

function parseOption(cursor: Cursor): TcpOptionSpec {
  const { from } = cursor.peek();
  const name = cursor.word('a TCP option');
  switch (name) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind: name };
    case 'mss':
    case 'wscale':
      return { kind: name, value: parseLoose(cursor, `the value of ${name}`) };
    case 'sack':
      return { kind: 'sack', blocks: parseBlocks(cursor) };
    case 'TS': {
      cursor.expect('val');
      const val = parseLoose(cursor, 'a timestamp');
      cursor.expect('ecr');
      return { kind: 'ts', val, ecr: parseLoose(cursor, 'an echoed timestamp') };
    }
    case 'FO':
    case 'FOEXP': {
      const { kind, text } = cursor.peek();
      const cookie = kind === 'word' || kind === 'integer' ? text : '';
      if (cookie !== '') cursor.next();
      return { kind: 'fo', cookie, experimental: name === 'FOEXP' };
    }
  }
  while (!cursor.isMark(',') && !cursor.isMark('>') && cursor.peek().kind !== 'end') cursor.next();
  return { kind: 'unknown', text: cursor.textFrom(from) };
}

function parseBlocks(cursor: Cursor): [number, number][] {
  const blocks: [number, number][] = [];
  while (cursor.peek().kind === 'integer') {
    const left = cursor.next().value >>> 0;
    cursor.expect(':');
    blocks.push([left, cursor.integer('the right edge of a SACK block') >>> 0]);
  }
  return blocks;
}

/** `unreachable frag_needed mtu 1200 [1:1461(1460)]`, `time_exceeded …`, `echo_request id 1`. */
function parseIcmp(cursor: Cursor, before: IcmpSpec['quoted']): Omit<IcmpSpec, 'inbound' | 'ip' | 'text'> {
  const type = cursor.word('an ICMP type');
  const { kind, text } = cursor.peek();
  const hasCode = kind === 'word' && text !== 'mtu' && text !== 'id';
  const code = hasCode ? cursor.next().text : '';
  let mtu: number | undefined;
  let id: number | undefined;
  for (;;) {
    if (cursor.accept('mtu')) mtu = cursor.integer('an MTU');
    else if (cursor.accept('id')) id = cursor.integer('an identifier');
    else break;
  }
  const quoted = before ?? parseQuoted(cursor);
  return { protocol: 'icmp', type, code, mtu, id, quoted };
}

function parseQuoted(cursor: Cursor): IcmpSpec['quoted'] {
  if (!cursor.accept('[')) return undefined;
  let quoted: IcmpSpec['quoted'];
  if (cursor.accept('udp')) {
    quoted = { protocol: 'udp', length: parenthesized(cursor) };
  } else {
    const { seq, length, absoluteSeq: absolute } = parseSequence(cursor);
    quoted = { protocol: 'tcp', seq: seq === 'any' ? 0 : seq, length, absolute };
  }
  cursor.expect(']');
  return quoted;
}
