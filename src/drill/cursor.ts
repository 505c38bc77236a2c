// A place in a list of tokens, and what a parser asks of it.

import type { Micros } from '../base/time.ts';
import type { Token } from './lexer.ts';
import { ScriptError } from './script.ts';

export class Cursor {
  readonly source: string;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(source: string, tokens: readonly Token[]) {
    this.source = source;
    this.#tokens = tokens;
  }

  peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)]!;
  }

  next(): Token {
    const token = this.peek();
    if (token.kind !== 'end') this.#at++;
    return token;
  }

  /** True, and past it, when the next token is this mark or word. */
  accept(text: string): boolean {
    const { kind, text: found } = this.peek();
    if ((kind !== 'mark' && kind !== 'word') || found !== text) return false;
    this.#at++;
    return true;
  }

  acceptEllipsis(): boolean {
    if (this.peek().kind !== 'ellipsis') return false;
    this.#at++;
    return true;
  }

  isMark(text: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'mark' && token.text === text;
  }

  expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected ${text}`);
  }

  integer(what: string): number {
    const token = this.next();
    if (token.kind !== 'integer') this.fail(`expected ${what}`, token);
    return token.value;
  }

  word(what: string): string {
    const token = this.next();
    if (token.kind !== 'word') this.fail(`expected ${what}`, token);
    return token.text;
  }

  /** A time in seconds, as microseconds. */
  time(): Micros {
    const token = this.next();
    if (token.kind !== 'integer' && token.kind !== 'float') this.fail('expected a time in seconds', token);
    return Math.round(token.value * 1e6);
  }

  /** The source from `from` to the last token taken, on one line. */
  textFrom(from: number): string {
    const to = this.#at > 0 ? this.#tokens[this.#at - 1]!.to : from;
    return this.source.slice(from, to).replace(/\s+/g, ' ').trim();
  }

  /** Passes everything up to the end of `line`. */
  skipLine(line: number): void {
    while (this.peek().kind !== 'end' && this.peek().line === line) this.#at++;
  }

  fail(message: string, at: Token = this.peek()): never {
    throw new ScriptError(`${message}, found ${at.text}`, at.line);
  }
}
