// Descriptions of header fields, and the tree of fields that a dissection is.
//
// One description serves twice: the dissector reads frames by it, and `layouts.ts` makes a buffer-layout structure of it,
// against which the hand-written getters of the codecs are tested.

import { readV4, readV6 } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';

export type FieldKind = 'dec' | 'hex' | 'flag' | 'mac' | 'ipv4' | 'ipv6' | 'bytes';

/** One field of a fixed header. */
export interface FieldSpec {
  /** Wireshark's display-filter name. */
  readonly name: string;
  readonly label: string;
  readonly kind: FieldKind;
  /** First byte, from the start of the header, and bytes of the word the field lies in. */
  readonly at: number;
  readonly size: number;
  /** Lowest bit and number of bits within that word, when the field is not the whole of it. */
  readonly shift?: number;
  readonly width?: number;
  /** What a unit stands for, when not one: 4 for a length in 32-bit words. */
  readonly scale?: number;
  readonly meanings?: Readonly<Record<number, string>>;
  /** Fields that this one consists of: a word of flags. */
  readonly parts?: readonly FieldSpec[];
}

/** A fixed header: every bit belongs to one field, but for those that the RFC leaves reserved. */
export interface HeaderTable {
  readonly name: string;
  readonly label: string;
  readonly size: number;
  readonly fields: readonly FieldSpec[];
}

type More = Partial<Pick<FieldSpec, 'scale' | 'meanings' | 'parts'>>;

function spec(kind: FieldKind) {
  return (name: string, label: string, at: number, size: number, more: More = {}): FieldSpec => ({
    name,
    label,
    kind,
    at,
    size,
    ...more,
  });
}

/** A whole number, shown in decimal or in hexadecimal. */
export const dec = spec('dec');
export const hex = spec('hex');
export const raw = spec('bytes');

export const mac = (name: string, label: string, at: number) => spec('mac')(name, label, at, 6);
export const ipv4 = (name: string, label: string, at: number) => spec('ipv4')(name, label, at, 4);
export const ipv6 = (name: string, label: string, at: number) => spec('ipv6')(name, label, at, 16);

/** `width` bits of the word of `size` bytes at `at`, the lowest being bit `shift`. */
export function bits(
  name: string,
  label: string,
  [at, size, shift, width]: readonly [at: number, size: number, shift: number, width: number],
  more: More & { readonly kind?: FieldKind } = {},
): FieldSpec {
  return { kind: 'dec', ...more, name, label, at, size, shift, width };
}

/** One bit, shown as set or not. */
export function flag(name: string, label: string, at: number, size: number, shift: number): FieldSpec {
  return { name, label, kind: 'flag', at, size, shift, width: 1 };
}

/** A field's value: a number, an address in text, or bytes. */
export type FieldValue = number | bigint | boolean | string | Uint8Array | undefined;

/** A node of the tree. Layers and groups have children; a leaf has a value. */
export interface Field {
  /** Wireshark's display-filter name, such as `ip.src`. */
  readonly name: string;
  readonly label: string;
  readonly value: FieldValue;
  /** The value as a person reads it; empty for a layer. */
  text: string;
  /** Where it lies in the frame. */
  readonly offset: number;
  length: number;
  readonly children: Field[];
}

/** An unsigned big-endian number of 1 to 6 bytes. */
export function readUnsigned(view: DataView, at: number, size: number): number {
  switch (size) {
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at);
    case 4:
      return view.getUint32(at);
    default: {
      let value = 0;
      for (let i = 0; i < size; i++) value = value * 256 + view.getUint8(at + i);
      return value;
    }
  }
}

/** The value of `field` in the header at `at`; the caller knows that the header is there. */
export function readField(bytes: Uint8Array, view: DataView, at: number, field: FieldSpec): FieldValue {
  const from = at + field.at;
  switch (field.kind) {
    case 'mac':
      return formatMac(bytes, from);
    case 'ipv4':
      return readV4(view, from).toString();
    case 'ipv6':
      return readV6(view, from).toString();
    case 'bytes':
      return bytes.subarray(from, from + field.size);
    default: {
      const word = readUnsigned(view, from, field.size);
      if (field.width === undefined || field.shift === undefined) return word * (field.scale ?? 1);
      // Division, not shifts: a word may have more than 31 bits.
      const value = Math.floor(word / 2 ** field.shift) % 2 ** field.width;
      return field.kind === 'flag' ? value === 1 : value * (field.scale ?? 1);
    }
  }
}

/** The text of a value, as the tree shows it. */
export function textOf(
  value: FieldValue,
  field: Pick<FieldSpec, 'kind' | 'size' | 'width' | 'meanings'>,
): string {
  if (typeof value === 'boolean') return value ? 'Set' : 'Not set';
  if (value instanceof Uint8Array) return hexText(value);
  if (typeof value !== 'number') return String(value);
  const digits = Math.ceil((field.width ?? field.size * 8) / 4);
  const plain = field.kind === 'hex' ? `0x${value.toString(16).padStart(digits, '0')}` : String(value);
  const meaning = field.meanings?.[value];
  return meaning === undefined ? plain : `${meaning} (${plain})`;
}

/** Most bytes of a value that are shown. */
const MOST_SHOWN = 64;

export function hexText(bytes: Uint8Array): string {
  let text = '';
  const count = Math.min(bytes.length, MOST_SHOWN);
  for (let i = 0; i < count; i++) text += bytes[i]!.toString(16).padStart(2, '0');
  return count < bytes.length ? `${text}…` : text;
}
