// Frames in words: one line each in the manner of tshark and tcpdump, or the whole tree. Plain text: colour is the caller's.

import { type Dissected, type DissectOptions, dissect } from './dissect.ts';
import type { Sequences } from './dissection.ts';
import type { Field } from './field.ts';

/** Conversations whose first sequence numbers are remembered. The oldest is forgotten. */
const MOST_CONVERSATIONS = 4096;
const SYN = 0x02;
const ACK = 0x10;

/** Remembers where each direction of each TCP conversation began, so that numbers can be shown from there. */
export class SequenceBook implements Sequences {
  /** First sequence number by direction. */
  readonly #bases = new Map<string, number>();

  relative(from: string, to: string, flags: number, seq: number, ack: number): { seq: number; ack: number } {
    const forth = `${from} ${to}`;
    const back = `${to} ${from}`;
    // A conversation that is met in the middle begins just before the first byte seen, as if its SYN had been there.
    if ((flags & SYN) !== 0) this.#set(forth, seq);
    else if (!this.#bases.has(forth)) this.#set(forth, seq - 1);
    if ((flags & ACK) !== 0 && !this.#bases.has(back)) this.#set(back, ack - 1);
    const other = this.#bases.get(back);
    return {
      seq: (seq - this.#bases.get(forth)!) >>> 0,
      ack: (flags & ACK) === 0 || other === undefined ? ack : (ack - other) >>> 0,
    };
  }

  #set(key: string, base: number): void {
    this.#bases.delete(key);
    this.#bases.set(key, base >>> 0);
    if (this.#bases.size <= MOST_CONVERSATIONS * 2) return;
    for (const oldest of this.#bases.keys()) {
      this.#bases.delete(oldest);
      break;
    }
  }
}

/** A frame to print: a packet record of a capture will do. */
export interface PrintableFrame {
  readonly seconds: number;
  readonly nanos: number;
  readonly bytes: Uint8Array;
  readonly originalLength: number;
  readonly linkType: number;
  readonly direction?: 'in' | 'out' | undefined;
  readonly comments?: readonly string[];
}

/** Prints frames in order: numbers them and counts time from the first. */
export class FramePrinter {
  readonly #sequences = new SequenceBook();
  #number = 0;
  #firstSeconds: number | undefined;
  #firstNanos = 0;

  /**
   * One line: number, seconds since the first frame, source → destination, protocol, length, what it says. Comments follow
   * in parentheses.
   */
  line(frame: PrintableFrame): string {
    return this.#line(frame, this.#dissect(frame));
  }

  /** The line, and below it the tree. */
  tree(frame: PrintableFrame): string {
    const dissected = this.#dissect(frame);
    return `${this.#line(frame, dissected)}\n${formatTree(dissected.tree)}`;
  }

  #dissect(frame: PrintableFrame): Dissected {
    const { originalLength, linkType } = frame;
    const options: DissectOptions = { originalLength, linkType, sequences: this.#sequences };
    return dissect(frame.bytes, options);
  }

  #line(frame: PrintableFrame, dissected: Dissected): string {
    this.#number++;
    const { source, destination, protocol, info } = dissected;
    const arrow = source === '' && destination === '' ? '' : `${source} → ${destination} `;
    const comments =
      frame.comments === undefined || frame.comments.length === 0
        ? ''
        : `  (${frame.comments.map(oneLine).join('; ')})`;
    return `${String(this.#number).padStart(5)} ${this.#time(frame).padStart(12)} ${arrow}${protocol} ${frame.originalLength} ${info}${comments}`.trimEnd();
  }

  /** Seconds since the first frame, to the microsecond, without ever making a float of a time. */
  #time({ seconds, nanos }: PrintableFrame): string {
    if (this.#firstSeconds === undefined) {
      this.#firstSeconds = seconds;
      this.#firstNanos = nanos;
    }
    let whole = seconds - this.#firstSeconds;
    let rest = nanos - this.#firstNanos;
    if (rest < 0) {
      rest += 1_000_000_000;
      whole--;
    }
    const negative = whole < 0;
    if (negative && rest > 0) {
      whole++;
      rest = 1_000_000_000 - rest;
    }
    const micros = String(Math.floor(rest / 1000)).padStart(6, '0');
    return `${negative ? '-' : ''}${Math.abs(whole)}.${micros}`;
  }
}

/** The tree of a dissection, two spaces a level. */
export function formatTree(tree: Field, indent = ''): string {
  const lines: string[] = [];
  const visit = (field: Field, depth: string) => {
    lines.push(`${depth}${field.label}${field.text === '' ? '' : `: ${field.text}`}`);
    for (const child of field.children) visit(child, `${depth}  `);
  };
  for (const layer of tree.children) visit(layer, indent);
  return lines.join('\n');
}

/** Control characters of a comment, made harmless. */
function oneLine(text: string): string {
  let safe = '';
  for (const character of text) {
    const code = character.codePointAt(0)!;
    safe += code < 0x20 || (code >= 0x7f && code < 0xa0) ? ' ' : character;
  }
  return safe;
}
