// Options of pcapng blocks, read: code, length, value, padded to 32 bits (draft-ietf-opsawg-pcapng 3.5).

import { OPT_COMMENT, OPT_END } from './pcapng-format.ts';
import { NOTHING, type RawOption } from './record.ts';
import { decodeUtf8 } from './utf8.ts';

/** The options of one block, sorted: comments, and the others by code in order of appearance. */
export class Options {
  static readonly NONE = new Options();

  comments: readonly string[] = NOTHING;
  #list: RawOption[] | undefined;

  /**
   * Reads options in [from, to) of `bytes`; `undefined` when one runs past the end. The end-of-options mark may be missing
   * (3.5: a reader must cope).
   */
  static read(
    bytes: Uint8Array,
    view: DataView,
    from: number,
    to: number,
    littleEndian: boolean,
  ): Options | undefined {
    if (from >= to) return Options.NONE;
    const options = new Options();
    let at = from;
    while (at + 4 <= to) {
      const code = view.getUint16(at, littleEndian);
      const length = view.getUint16(at + 2, littleEndian);
      if (code === OPT_END) return options;
      const end = at + 4 + length;
      if (end > to) return undefined;
      options.#add(code, bytes.subarray(at + 4, end));
      at += 4 + ((length + 3) & ~3);
    }
    return at >= to ? options : undefined;
  }

  #add(code: number, value: Uint8Array): void {
    if (code === OPT_COMMENT) {
      this.comments = [...this.comments, decodeUtf8(value)];
      return;
    }
    this.#list ??= [];
    this.#list.push({ code, value });
  }

  /** The first value of `code` with at least `least` bytes. */
  value(code: number, least = 0): Uint8Array | undefined {
    return this.#list?.find((option) => option.code === code && option.value.length >= least)?.value;
  }

  /** Every value of `code` with at least `least` bytes. */
  values(code: number, least: number): Uint8Array[] {
    return (this.#list ?? [])
      .filter((option) => option.code === code && option.value.length >= least)
      .map((option) => option.value);
  }

  text(code: number): string | undefined {
    const value = this.value(code);
    return value === undefined ? undefined : decodeUtf8(value);
  }

  u8(code: number): number | undefined {
    return this.value(code, 1)?.[0];
  }

  u32(code: number, littleEndian: boolean): number | undefined {
    const value = this.value(code, 4);
    return value === undefined ? undefined : viewOf(value).getUint32(0, littleEndian);
  }

  u64(code: number, littleEndian: boolean): bigint | undefined {
    const value = this.value(code, 8);
    return value === undefined ? undefined : viewOf(value).getBigUint64(0, littleEndian);
  }

  i64(code: number, littleEndian: boolean): bigint | undefined {
    const value = this.value(code, 8);
    return value === undefined ? undefined : viewOf(value).getBigInt64(0, littleEndian);
  }

  /** A 64-bit count as a plain number, exact below 2^53. */
  count(code: number, littleEndian: boolean): number | undefined {
    const value = this.u64(code, littleEndian);
    return value === undefined ? undefined : Number(value);
  }

  /** What is left when the known codes are taken out. */
  except(known: readonly number[]): readonly RawOption[] {
    const rest = this.#list?.filter((option) => !known.includes(option.code));
    return rest === undefined || rest.length === 0 ? NOTHING : rest;
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
