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

const SKIPPED = /[ \t\r\n\f\v]+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;

/** What tokens look like. The first that fits counts; its group, if it has one, is the text without the quotes. */
const RULES: readonly (readonly [Token['kind'], RegExp])[] = [
  ['code', /%\{([\s\S]*?)\}%/y],
  ['command', /`((?:\\[\s\S]|[^`\\])*)`/y],
  ['string', /"((?:\\[\s\S]|[^"\\])*)"/y],
  // `--name=value` on a line of its own; the value may be quoted.
  ['option', /--([A-Za-z0-9_]+(?:[ \t]*=[ \t]*(?:"(?:\\.|[^"\n])*"|`[^`]*`|[^\s]*))?)/y],
  ['ellipsis', /\.\.\./y],
  ['integer', /0[xX][0-9a-fA-F]+(?![A-Za-z0-9_])/y],
  // An IPv4 address.
  ['word', /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/y],
  // Not the start of an ellipsis: `0...0.2` is 0, then `...`, then 0.2.
  ['float', /-?[0-9]*\.[0-9]+(?![A-Za-z0-9_])/y],
  ['integer', /-?[0-9]+(?![A-Za-z0-9_])/y],
  ['word', /[A-Za-z0-9_]+/y],
];

/** All tokens of `source`, the last of kind `end`. Throws {@link ScriptError} for what never closes. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  const pass = (text: string): void => {
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) line++;
    at += text.length;
  };
  while (at < source.length) {
    SKIPPED.lastIndex = at;
    const skipped = SKIPPED.exec(source);
    if (skipped !== null) {
      pass(skipped[0]);
      continue;
    }
    const [kind, whole, inner] = tokenAt(source, at, line);
    const text = kind === 'string' ? unescapeC(inner) : inner;
    const value = kind === 'integer' || kind === 'float' ? Number(whole) : 0;
    tokens.push({ kind, text, value, line, from: at, to: at + whole.length });
    pass(whole);
  }
  tokens.push({ kind: 'end', text: 'the end of the script', value: 0, line, from: at, to: at });
  return tokens;
}

function tokenAt(source: string, at: number, line: number): [Token['kind'], string, string] {
  for (const [kind, pattern] of RULES) {
    pattern.lastIndex = at;
    const m = pattern.exec(source);
    if (m !== null) return [kind, m[0], m[1] ?? m[0]];
  }
  for (const opening of ['`', '"', '%{', '/*']) {
    if (source.startsWith(opening, at)) throw new ScriptError(`${opening} never closes`, line);
  }
  return ['mark', source[at]!, source[at]!];
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0' };

/** C's escapes: `\n`, `\x41`, `\"`. */
function unescapeC(text: string): string {
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
