// The work of taking one frame apart: the tree as it grows, what outer layers tell inner ones, and the bounds.

import { finish, fold, sum } from '../base/checksum.ts';
import { type Field, type FieldSpec, type FieldValue, type HeaderTable, readField, textOf } from './field.ts';

/** Fields of one frame. A 64 KiB datagram of small options could have more; nobody reads them. */
const MOST_FIELDS = 8192;
/** Layers within layers: tunnels, and packets quoted in errors. */
const MOST_LAYERS = 16;

/** What the IP layer tells the layers above it. */
export interface NetworkLayer {
  readonly family: 4 | 6;
  /** Where source and destination addresses lie in the frame. */
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly hopLimit: number;
  /** The whole payload is here: not a fragment, not cut. Only then a checksum can be judged. */
  readonly whole: boolean;
}

/** Reads the bytes [at, end) as one protocol and adds fields to `into`. Never reads beyond `end`, never throws. */
export type Dissector = (d: Dissection, into: Field, at: number, end: number) => void;

/** Who takes which number: filled by `dissect.ts`, so that the layers need not know each other. */
export interface Tables {
  readonly etherTypes: ReadonlyMap<number, Dissector>;
  readonly protocols: ReadonlyMap<number, Dissector>;
  readonly udpPorts: ReadonlyMap<number, Dissector>;
  readonly tcpPorts: ReadonlyMap<number, Dissector>;
  /** For TCP streams on other ports: whether the first bytes look like it. */
  readonly streams: readonly {
    readonly like: (bytes: Uint8Array, at: number, end: number) => boolean;
    readonly read: Dissector;
  }[];
}

/** Where relative sequence numbers start. See `SequenceBook`. */
export interface Sequences {
  /** The numbers relative to the first seen of their direction. */
  relative(
    from: string,
    to: string,
    flags: number,
    seq: number,
    ack: number,
  ): { readonly seq: number; readonly ack: number };
}

/** One frame being dissected. */
export class Dissection {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly root: Field;
  readonly tables: Tables;
  readonly sequences: Sequences | undefined;
  /** For the one-line summary: the innermost protocol, who to whom, and what. */
  protocol = '';
  source = '';
  destination = '';
  info = '';
  /** The captured bytes are fewer than were on the wire. */
  readonly cut: boolean;
  network: NetworkLayer | undefined;
  sourcePort = 0;
  destinationPort = 0;
  #left = MOST_FIELDS;
  #layers = 0;
  #quoted = 0;

  constructor(bytes: Uint8Array, originalLength: number, tables: Tables, sequences: Sequences | undefined) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.cut = originalLength > bytes.length;
    this.tables = tables;
    this.sequences = sequences;
    this.root = makeField('frame', 'Frame', undefined, '', 0, bytes.length);
    this.root.text = `${originalLength} bytes on wire, ${bytes.length} bytes captured`;
  }

  /** True inside a packet that an error message quotes: it says nothing about this frame. */
  get quoted(): boolean {
    return this.#quoted > 0;
  }

  /** Adds a field. When the frame has had its share of fields, what is added is no longer kept. */
  add(
    into: Field,
    name: string,
    label: string,
    value: FieldValue,
    text: string,
    offset: number,
    length: number,
  ): Field {
    // A lying length may point beyond the frame: the field then lies at its end, and is empty.
    const size = this.bytes.length;
    const from = Math.min(offset, size);
    const field = makeField(name, label, value, text, from, Math.max(0, Math.min(length, size - from)));
    if (this.#left > 0) {
      this.#left--;
      into.children.push(field);
    }
    return field;
  }

  /** Adds a group: a layer, an option, a record. */
  group(into: Field, name: string, label: string, offset: number, length: number, text = ''): Field {
    return this.add(into, name, label, undefined, text, offset, length);
  }

  /** Adds the field that `spec` describes, of the header at `at`, and its parts below it. */
  spec(into: Field, spec: FieldSpec, at: number): Field {
    const value = readField(this.bytes, this.view, at, spec);
    const field = this.add(into, spec.name, spec.label, value, textOf(value, spec), at + spec.at, spec.size);
    if (spec.parts !== undefined) for (const part of spec.parts) this.spec(field, part, at);
    return field;
  }

  /** Adds a layer with all fields of its table. Undefined, and a mark in the tree, when the header does not fit. */
  header(into: Field, table: HeaderTable, at: number, end: number): Field | undefined {
    const layer = this.group(into, table.name, table.label, at, Math.min(table.size, end - at));
    return this.fields(layer, table, at, end) ? layer : undefined;
  }

  /** Adds the fields of a table to a group that is there. False, and a mark, when they do not fit. */
  fields(into: Field, table: HeaderTable, at: number, end: number): boolean {
    if (end - at < table.size) {
      this.malformed(
        into,
        `${table.label}: ${table.size} bytes needed, ${Math.max(0, end - at)} left`,
        at,
        end,
      );
      return false;
    }
    for (const spec of table.fields) this.spec(into, spec, at);
    return true;
  }

  /** Marks bytes that cannot be read: `_ws.short` when the capture was cut, `_ws.malformed` when the packet is wrong. */
  malformed(into: Field, why: string, at: number, end: number): void {
    const short = this.cut && end >= this.bytes.length;
    const name = short ? '_ws.short' : '_ws.malformed';
    const from = Math.min(at, this.bytes.length);
    const label = short ? 'Cut short by the capture' : 'Malformed';
    // Room is always made for it: a frame with a fault must never look like one without.
    into.children.push(makeField(name, label, why, why, from, Math.max(0, end - from)));
    if (!this.quoted && !short) this.info += this.info === '' ? `[Malformed: ${why}]` : ' [Malformed]';
  }

  /** Adds bytes that no dissector reads. */
  data(into: Field, at: number, end: number): void {
    if (end <= at) return;
    const value = this.bytes.subarray(at, end);
    const layer = this.group(into, 'data', 'Data', at, end - at, `${end - at} bytes`);
    this.add(layer, 'data.data', 'Data', value, textOf(value, BYTES), at, end - at);
    this.add(layer, 'data.len', 'Length', end - at, String(end - at), at, end - at);
  }

  /** Calls `dissector` one layer deeper, if there is one and it is not too deep; else the bytes are data. */
  enter(dissector: Dissector | undefined, into: Field, at: number, end: number): void {
    if (dissector === undefined || this.#layers >= MOST_LAYERS) {
      this.data(into, at, end);
      return;
    }
    this.#layers++;
    dissector(this, into, at, end);
    this.#layers--;
  }

  /** The same for a packet that this one quotes: it may end anywhere, and the summary does not follow it. */
  quote(dissector: Dissector | undefined, into: Field, at: number, end: number): void {
    const { network, sourcePort, destinationPort } = this;
    this.#quoted++;
    this.enter(dissector, into, at, end);
    this.#quoted--;
    this.network = network;
    this.sourcePort = sourcePort;
    this.destinationPort = destinationPort;
  }

  /** Sets what the summary line says; inner layers overwrite outer ones, quoted packets nothing. */
  say(protocol: string, info: string): void {
    if (this.quoted) return;
    this.protocol = protocol;
    this.info = info;
  }

  between(source: string, destination: string): void {
    if (this.quoted) return;
    this.source = source;
    this.destination = destination;
  }

  /**
   * Says of the checksum field `name` of `into`, which covers [from, to), whether it is right. `pseudo` is the protocol
   * number of a pseudo-header, -1 without one; `verdict` is forced by who knows that not all of the bytes are here
   * ({@link UNVERIFIED}) or that the sender computed none ({@link ABSENT}).
   */
  judge(into: Field, name: string, from: number, to: number, pseudo: number, verdict?: number): void {
    const index = into.children.findIndex((field) => field.name === name);
    const field = into.children[index];
    if (field === undefined) return;
    let status = verdict ?? BAD;
    if (verdict === undefined) {
      const total = sum(this.view, from, to, pseudo < 0 ? 0 : this.#pseudoSum(pseudo, to - from));
      if (finish(total) === 0) status = GOOD;
      // Taking the stored value out of the sum is adding its complement.
      else field.text += ` [should be ${textOf(finish(total + (~Number(field.value) & 0xffff)), WORD)}]`;
    }
    const text = VERDICTS[status]!;
    into.children.splice(
      index + 1,
      0,
      makeField(`${name}.status`, 'Checksum Status', status, text, field.offset, 2),
    );
  }

  #pseudoSum(protocol: number, length: number): number {
    const network = this.network;
    if (network === undefined) return 0;
    const size = network.family === 4 ? 4 : 16;
    const addresses =
      sum(this.view, network.sourceAt, network.sourceAt + size) +
      sum(this.view, network.destinationAt, network.destinationAt + size);
    return fold(addresses) + protocol + length;
  }
}

/** What is known of a checksum, numbered as Wireshark numbers it. */
const BAD = 0;
const GOOD = 1;
export const UNVERIFIED = 2;
export const ABSENT = 3;
export const ILLEGAL = 4;
const VERDICTS = ['Bad', 'Good', 'Unverified', 'Not present', 'Illegal'];

const WORD = { kind: 'hex', size: 2 } as const;
const BYTES = { kind: 'bytes', size: 0 } as const;

function makeField(
  name: string,
  label: string,
  value: FieldValue,
  text: string,
  offset: number,
  length: number,
): Field {
  return { name, label, value, text, offset, length, children: [] };
}
