// Cuts a packet script into tokens: numbers, words, strings, `commands`, %{ code }%, and single characters.

import { ScriptError } from './script.ts';

export interface Token {
  readonly kind:
    | 'integer'
    | 'float'
    | 'word'
    | 'string'
    | 'command'
    | 'code'
    | 'option'
    | 'ellipsis'
    | 'mark'
    | 'end';
  /** What it says, without its quotes. For a mark, the character. */
  readonly text: string;
  readonly value: number;
  readonly line: number;
  /** Where it lies in the source, so that a packet can be shown as it was written. */
  readonly from: number;
  readonly to: number;
}

const SPACE = /[ \t\r\n\f\v]+/y;
const LINE_COMMENT = /\/\/[^\n]*/y;
const BLOCK_COMMENT = /\/\*[\s\S]*?\*\//y;
const CODE = /%\{([\s\S]*?)\}%/y;
const COMMAND = /`((?:\\[\s\S]|[^`\\])*)`/y;
const STRING = /"((?:\\[\s\S]|[^"\\])*)"/y;
/** `--name=value` on a line of its own; the value may be quoted. */
const OPTION = /--([A-Za-z0-9_]+)(?:[ \t]*=[ \t]*("(?:\\.|[^"\n])*"|`[^`]*`|[^\s]*))?/y;
const HEX = /0[xX][0-9a-fA-F]+(?![A-Za-z0-9_])/y;
/** Not the start of an ellipsis: `0...0.2` is 0, then `...`, then 0.2. */
const FLOAT = /-?[0-9]*\.[0-9]+(?![A-Za-z0-9_])/y;
const IP_V4 = /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/y;
const INTEGER = /-?[0-9]+(?![A-Za-z0-9_])/y;
const WORD = /[A-Za-z0-9_]+/y;
const ELLIPSIS = /\.\.\./y;

/** All tokens of `source`, the last of kind `end`. Throws {@link ScriptError} for what never closes. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  const pass = (text: string): void => {
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) line++;
    at += text.length;
  };
  const take = (kind: Token['kind'], whole: string, text: string, value = 0): void => {
    tokens.push({ kind, text, value, line, from: at, to: at + whole.length });
    pass(whole);
  };
  while (at < source.length) {
    const skipped = match(SPACE) ?? match(LINE_COMMENT) ?? match(BLOCK_COMMENT);
    if (skipped !== null) {
      pass(skipped[0]);
      continue;
    }
    let m = match(CODE);
    if (m !== null) {
      take('code', m[0], m[1]!);
    } else if ((m = match(COMMAND)) !== null) {
      take('command', m[0], m[1]!);
    } else if ((m = match(STRING)) !== null) {
      take('string', m[0], unescape(m[1]!));
    } else if ((m = match(OPTION)) !== null) {
      take('option', m[0], m[0].slice(2));
    } else if ((m = match(ELLIPSIS)) !== null) {
      take('ellipsis', m[0], m[0]);
    } else if ((m = match(HEX)) !== null) {
      take('integer', m[0], m[0], Number.parseInt(m[0], 16));
    } else if ((m = match(IP_V4)) !== null) {
      take('word', m[0], m[0]);
    } else if ((m = match(FLOAT)) !== null) {
      take('float', m[0], m[0], Number(m[0]));
    } else if ((m = match(INTEGER)) !== null) {
      take('integer', m[0], m[0], Number(m[0]));
    } else if ((m = match(WORD)) !== null) {
      take('word', m[0], m[0]);
    } else {
      const c = source[at]!;
      if (c === '`' || c === '"' || source.startsWith('%{', at) || source.startsWith('/*', at)) {
        throw new ScriptError(`${c === '/' || c === '%' ? source.slice(at, at + 2) : c} never closes`, line);
      }
      take('mark', c, c);
    }
  }
  tokens.push({ kind: 'end', text: 'end of the script', value: 0, line, from: at, to: at });
  return tokens;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0' };

/** C's escapes: `\n`, `\x41`, `\"`. */
function unescape(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{1,2}|[\s\S])/g, (_, e: string) =>
    e.length > 1 ? String.fromCharCode(Number.parseInt(e.slice(1), 16)) : (ESCAPES[e] ?? e),
  );
}

/**
 * Carries out `#ifdef NAME`, `#ifndef`, `#else` and `#endif`: lines that do not count become empty, so that numbers of
 * lines stay what they are.
 */
export function preprocess(source: string, defined: (name: string) => boolean): string {
  if (!/^[ \t]*#/m.test(source)) return source;
  const open: { counts: boolean; line: number }[] = [];
  const lines = source.split('\n').map((text, i) => {
    const m = /^[ \t]*#[ \t]*(ifdef|ifndef|else|endif)\b[ \t]*([A-Za-z0-9_]*)/.exec(text);
    if (m === null) return open.every((o) => o.counts) ? text : '';
    const [, word, name = ''] = m;
    if (word === 'ifdef' || word === 'ifndef') {
      open.push({ counts: defined(name) === (word === 'ifdef'), line: i + 1 });
      return '';
    }
    const last = open.at(-1);
    if (last === undefined) throw new ScriptError(`#${word} without #ifdef`, i + 1);
    if (word === 'else') last.counts = !last.counts;
    else open.pop();
    return '';
  });
  if (open.length > 0) throw new ScriptError('#ifdef without #endif', open.at(-1)!.line);
  return lines.join('\n');
}
