// Reads a packet script: options, events, times, system calls and their arguments. Packets are in parse-packet.ts.

import type { Micros } from '../base/time.ts';
import { Cursor } from './cursor.ts';
import { preprocess, tokenize } from './lexer.ts';
import { parsePacket } from './parse-packet.ts';
import type {
  CallSpec,
  EventBody,
  EventTime,
  Expression,
  FieldSpec,
  Script,
  ScriptEvent,
  ScriptOption,
} from './script.ts';

export interface ParseOptions {
  /** Names that `#ifdef` finds defined. */
  readonly defines?: readonly string[] | undefined;
}

/** Parses a script. Throws ScriptError, which knows its line. */
export function parseScript(text: string, file: string, { defines = [] }: ParseOptions = {}): Script {
  const source = preprocess(text, (name) => defines.includes(name));
  const cursor = new Cursor(source, tokenize(source));
  const options: ScriptOption[] = [];
  const events: ScriptEvent[] = [];
  while (cursor.peek().kind !== 'end') {
    const token = cursor.peek();
    if (token.kind === 'option') {
      cursor.next();
      options.push(parseOption(token.text, token.line));
    } else if (token.kind === 'command') {
      // The init command, and others like it: without a time, when its turn comes.
      cursor.next();
      events.push({ time: AT_ONCE, line: token.line, kind: 'command', command: token.text });
    } else {
      events.push(parseEvent(cursor));
    }
  }
  return { file, options, events };
}

const AT_ONCE: EventTime = { kind: 'relative', at: 0, to: undefined };

function parseOption(text: string, line: number): ScriptOption {
  const m = /^(\w+)[ \t]*(?:=[ \t]*([\s\S]*))?$/.exec(text)!;
  return { name: m[1]!, value: (m[2] ?? '').replace(/^(["`])([\s\S]*)\1$/, '$2'), line };
}

function parseEvent(cursor: Cursor): ScriptEvent {
  const { line } = cursor.peek();
  const time = parseTime(cursor);
  const end = parseEnd(cursor, time);
  return { time, line, ...parseBody(cursor, end) };
}

/** `1.5`, `+.1`, `*`, `0.1~0.2`, `+.1~+.2`. */
function parseTime(cursor: Cursor): EventTime {
  if (cursor.accept('*')) return { kind: 'any', at: 0, to: undefined };
  const kind = cursor.accept('+') ? 'relative' : 'absolute';
  const at = cursor.time();
  if (!cursor.accept('~')) return { kind, at, to: undefined };
  cursor.accept('+');
  return { kind, at, to: cursor.time() };
}

/** `...0.2`: when a blocking call returns. */
function parseEnd(cursor: Cursor, time: EventTime): CallSpec['end'] {
  if (!cursor.acceptEllipsis()) return undefined;
  const relative = cursor.accept('+') || time.kind === 'relative';
  const at: Micros = cursor.time();
  return { at, relative };
}

function parseBody(cursor: Cursor, end: CallSpec['end']): EventBody {
  const token = cursor.peek();
  if (token.kind === 'command') return { kind: 'command', command: cursor.next().text };
  if (token.kind === 'code') return { kind: 'code', code: cursor.next().text.trim() };
  if (cursor.isMark('<') || cursor.isMark('>')) return { kind: 'packet', packet: parsePacket(cursor) };
  if (token.kind === 'word' && cursor.isMark('(', 1)) return { kind: 'call', call: parseCall(cursor, end) };
  return cursor.fail('expected a packet, a system call, `a command` or %{ code }%');
}

function parseCall(cursor: Cursor, end: CallSpec['end']): CallSpec {
  const { from } = cursor.peek();
  const name = cursor.word('the name of a call');
  const args = parseArguments(cursor);
  cursor.expect('=');
  const result = cursor.accept('?') ? ANYTHING : parseExpression(cursor);
  const errno = cursor.peek().kind === 'word' ? cursor.next().text : undefined;
  const text = cursor.textFrom(from);
  skipNote(cursor);
  return { name, args, end, result, errno, text };
}

const ANYTHING: Expression = { kind: 'ellipsis' };

/** `(Operation now in progress)`: for people. */
function skipNote(cursor: Cursor): void {
  if (!cursor.accept('(')) return;
  for (let depth = 1; depth > 0; ) {
    const token = cursor.next();
    if (token.kind === 'end') cursor.fail('the note never closes', token);
    if (token.kind !== 'mark') continue;
    if (token.text === '(') depth++;
    else if (token.text === ')') depth--;
  }
}

function parseArguments(cursor: Cursor): Expression[] {
  cursor.expect('(');
  return parseList(cursor, ')');
}

function parseList(cursor: Cursor, close: string): Expression[] {
  const items: Expression[] = [];
  while (!cursor.accept(close)) {
    items.push(parseExpression(cursor));
    if (cursor.accept(close)) break;
    cursor.expect(',');
  }
  return items;
}

/** One value, or several joined by `|`. No other operator: after a result, `+` and `*` begin the time of the next event. */
export function parseExpression(cursor: Cursor): Expression {
  const first = parseValue(cursor);
  if (!cursor.isMark('|')) return first;
  const terms = [first];
  while (cursor.accept('|')) terms.push(parseValue(cursor));
  return { kind: 'or', terms };
}

function parseValue(cursor: Cursor): Expression {
  const token = cursor.next();
  switch (token.kind) {
    case 'ellipsis':
      return { kind: 'ellipsis' };
    case 'integer':
    case 'float':
      return { kind: 'number', value: token.value };
    case 'string':
      // `"text"...`: it goes on, and the rest does not matter.
      cursor.acceptEllipsis();
      return { kind: 'string', value: token.text };
    case 'word':
      if (cursor.isMark('(')) return { kind: 'call', name: token.text, args: parseArguments(cursor) };
      return { kind: 'word', name: token.text };
    case 'mark':
      if (token.text === '[') return { kind: 'array', items: parseList(cursor, ']') };
      if (token.text === '{') return { kind: 'struct', fields: parseFields(cursor) };
      if (token.text === '(') {
        const inner = parseExpression(cursor);
        cursor.expect(')');
        return inner;
      }
  }
  return cursor.fail('expected a value', token);
}

function parseFields(cursor: Cursor): FieldSpec[] {
  const fields: FieldSpec[] = [];
  while (!cursor.accept('}')) {
    fields.push(parseField(cursor));
    if (cursor.accept('}')) break;
    cursor.expect(',');
  }
  return fields;
}

function parseField(cursor: Cursor): FieldSpec {
  const first = parseExpression(cursor);
  if (!cursor.accept('=')) return { name: undefined, args: [], value: first };
  if (first.kind !== 'word' && first.kind !== 'call') cursor.fail('expected the name of a field');
  const args = first.kind === 'call' ? first.args : [];
  return { name: first.name, args, value: parseExpression(cursor) };
}
