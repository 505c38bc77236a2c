// Frames on their way to the reader: a line, a tree or a JSON object each.

import { dissect } from '../inspect/dissect.ts';
import type { Field } from '../inspect/field.ts';
import { FramePrinter, type PrintableFrame, SequenceBook } from '../inspect/print.ts';
import type { Report } from './report.ts';

/** A field for JSON: bytes as hex, numbers that JSON cannot hold as text. */
interface JsonField {
  readonly name: string;
  readonly label: string;
  readonly value?: number | string | boolean;
  readonly text?: string;
  readonly offset: number;
  readonly length: number;
  readonly fields?: JsonField[];
}

/** Says frames in order, numbered from 1. */
export class FrameTeller {
  readonly #report: Report;
  readonly #verbose: boolean;
  readonly #printer = new FramePrinter();
  readonly #sequences = new SequenceBook();
  /** Frames said so far. */
  count = 0;

  /** `verbose` gives the whole tree of each frame. */
  constructor(report: Report, verbose = false) {
    this.#report = report;
    this.#verbose = verbose;
  }

  /** Says one frame. Reads `frame.bytes` and keeps nothing of them. */
  tell(frame: PrintableFrame): void {
    this.count++;
    if (this.#report.json) this.#report.event('frame', this.#fields(frame));
    else if (this.#verbose) this.#report.line(this.#paint(`${this.#printer.tree(frame)}\n`));
    else this.#report.line(this.#paint(this.#printer.line(frame)));
  }

  #fields(frame: PrintableFrame): Record<string, unknown> {
    const { bytes, originalLength, linkType, seconds, nanos, direction, comments } = frame;
    const dissected = dissect(bytes, { originalLength, linkType, sequences: this.#sequences });
    const { tree, protocol, source, destination, info } = dissected;
    return {
      number: this.count,
      // As text: a float holds no nanoseconds since 1970.
      time: `${seconds}.${String(nanos).padStart(9, '0')}`,
      ...(direction === undefined ? {} : { direction }),
      length: originalLength,
      captured: bytes.length,
      source,
      destination,
      protocol,
      info,
      ...(comments === undefined || comments.length === 0 ? {} : { comments }),
      ...(this.#verbose ? { layers: tree.children.map(jsonOf) } : {}),
    };
  }

  /** Faults stand out, comments step back. */
  #paint(text: string): string {
    const report = this.#report;
    if (text.includes('[Malformed')) return report.paint('red', text);
    const comment = text.lastIndexOf('  (');
    if (this.#verbose || comment < 0 || !text.endsWith(')')) return text;
    return text.slice(0, comment) + report.paint('dim', text.slice(comment));
  }
}

function jsonOf({ name, label, value, text, offset, length, children }: Field): JsonField {
  return {
    name,
    label,
    ...(value === undefined ? {} : { value: plain(value) }),
    ...(text === '' ? {} : { text }),
    offset,
    length,
    ...(children.length === 0 ? {} : { fields: children.map(jsonOf) }),
  };
}

function plain(value: NonNullable<Field['value']>): number | string | boolean {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'bigint' ? value.toString() : value;
}
