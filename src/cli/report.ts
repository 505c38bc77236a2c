// How a command speaks: lines for people, or one JSON object a line for programs; a live status line on a terminal.

import { styleText } from 'node:util';
import type { Io, TextSink } from './io.ts';

/** The options every command has. */
export interface OutputOptions {
  json?: boolean;
  quiet?: boolean;
  /** False with `--no-color`. */
  color?: boolean;
  /** The capture file of a command that has one; `-` is stdout, and lines then go to stderr. */
  capture?: string;
}

type Style = Parameters<typeof styleText>[0];

/** Goes to the start of the line and clears it. */
const CLEAR_LINE = '\r\u001b[K';

/**
 * What came from the wire or a file may hold control characters: a terminal must never obey them. Shows each as `\xNN`, and
 * other invisible or direction-changing characters as `\u{NN}`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => {
    const point = c.codePointAt(0) ?? 0;
    return point < 0x100 ? `\\x${point.toString(16).padStart(2, '0')}` : `\\u{${point.toString(16)}}`;
  });
}

/** The voice of one command. Results go to stdout, diagnostics and the status line to stderr. */
export class Report {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly #out: TextSink;
  readonly #err: TextSink;
  readonly #colorOut: boolean;
  readonly #colorErr: boolean;
  #status = '';

  constructor(io: Io, options: OutputOptions) {
    this.json = options.json === true;
    this.quiet = options.quiet === true;
    this.#out = options.capture === '-' ? io.stderr : io.stdout;
    this.#err = io.stderr;
    this.#colorOut = wantsColor(io, this.#out, options);
    this.#colorErr = wantsColor(io, io.stderr, options);
  }

  /** True when a live status line makes sense: a person watches, and has not asked for quiet or JSON. */
  get live(): boolean {
    return this.#err.isTTY === true && !this.quiet && !this.json;
  }

  /** True while stdout takes as much as it is given. When false, await {@link drained}. */
  get hasRoom(): boolean {
    return !this.#out.writableNeedDrain;
  }

  /** Waits until stdout has room again, or is gone. */
  drained(): Promise<void> {
    const out = this.#out;
    if (!out.writableNeedDrain || out.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        for (const event of ['drain', 'close', 'error']) out.off(event, done);
        resolve();
      };
      for (const event of ['drain', 'close', 'error']) out.on(event, done);
    });
  }

  /** Something happened: `text` for people (nothing if undefined, or under `--quiet`), or the event as one JSON line. */
  event(event: string, fields: Record<string, unknown>, text?: string): void {
    if (this.json) this.#write(this.#out, `${JSON.stringify({ event, ...fields })}\n`);
    else if (text !== undefined && !this.quiet) this.line(text);
  }

  /** A result, on stdout, even under `--quiet`. */
  line(text: string): void {
    this.#write(this.#out, `${text}\n`);
  }

  /** A remark for people, on stderr; silent under `--quiet` and `--json`. */
  note(text: string): void {
    if (!this.quiet && !this.json) this.#write(this.#err, `${text}\n`);
  }

  /** A remark that must be seen, on stderr. */
  warn(text: string): void {
    this.#write(this.#err, `${this.#paint('yellow', text, this.#colorErr)}\n`);
  }

  /** Replaces the live status line; the empty string takes it away. */
  status(text: string): void {
    if (!this.live) return;
    // A terminal that does not know its width says 0.
    const columns = this.#err.columns || 80;
    const next = text.length < columns ? text : text.slice(0, Math.max(0, columns - 1));
    if (next === this.#status) return;
    this.#status = next;
    this.#err.write(CLEAR_LINE + this.#paint('dim', next, this.#colorErr));
  }

  /** Colours `text` for stdout. */
  paint(style: Style, text: string): string {
    return this.#paint(style, text, this.#colorOut);
  }

  #paint(style: Style, text: string, color: boolean): string {
    return color && text !== '' ? styleText(style, text, { validateStream: false }) : text;
  }

  #write(to: TextSink, text: string): void {
    if (to.destroyed || to.writableEnded) return;
    if (this.#status === '') {
      to.write(text);
      return;
    }
    // Take the status line away, write, and put it back below.
    this.#err.write(CLEAR_LINE);
    to.write(text);
    this.#err.write(this.#paint('dim', this.#status, this.#colorErr));
  }
}

/** `--no-color`, NO_COLOR, FORCE_COLOR, then whether a terminal reads it (no-color.org, force-color.org). */
function wantsColor(io: Io, sink: TextSink, options: OutputOptions): boolean {
  if (options.color === false || options.json === true) return false;
  if ((io.env.NO_COLOR ?? '') !== '') return false;
  const force = io.env.FORCE_COLOR;
  if (force !== undefined) return force !== '0' && force !== 'false';
  return sink.isTTY === true && io.env.TERM !== 'dumb';
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Bytes for people: `1.5 MB`, in steps of a thousand. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A count for people: `950`, `12.3k`, `4.5M`. */
export function count(n: number): string {
  if (n < 999.5) return `${Math.round(n)}`;
  if (n < 999_950) return `${(n / 1000).toFixed(1)}k`;
  return `${(n / 1e6).toFixed(1)}M`;
}

/** Seconds for people: `4.2 s`, `3 min 10 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const s = Math.floor(seconds);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** `1 frame`, `2 frames`. */
export function plural(n: number, word: string): string {
  return `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
}
