// The records of a pcapng Name Resolution Block: addresses and their names (draft-ietf-opsawg-pcapng 4.5).

import { readV4, readV6 } from '../base/address.ts';
import * as ng from './pcapng-format.ts';
import { viewOf } from './pcapng-options.ts';
import type { NamesRecord } from './record.ts';
import { decodeUtf8 } from './utf8.ts';

type Entry = NamesRecord['entries'][number];

/** What a list of records held, and where the options after it start; or where a record runs past the block. */
export type NameList =
  | {
      readonly entries: Entry[];
      readonly unknown: { type: number; value: Uint8Array }[];
      readonly end: number;
    }
  | { readonly fault: number };

/** Reads records in [from, to): type, length, value padded to 32 bits, until one of type 0, which may be missing. */
export function readNames(
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  littleEndian: boolean,
): NameList {
  const entries: Entry[] = [];
  const unknown: { type: number; value: Uint8Array }[] = [];
  let at = from;
  while (at < to) {
    if (at + 4 > to) return { fault: at };
    const type = view.getUint16(at, littleEndian);
    const length = view.getUint16(at + 2, littleEndian);
    if (at + 4 + length > to) return { fault: at };
    const value = bytes.subarray(at + 4, at + 4 + length);
    at += 4 + ((length + 3) & ~3);
    if (type === ng.NRB_END) break;
    const size = NAME_ADDRESS[type];
    if (size === undefined || length < size) unknown.push({ type, value });
    else entries.push({ address: nameAddress(type, value), names: nameList(value.subarray(size)) });
  }
  return { entries, unknown, end: at };
}

/** Bytes of the address in front of the names, by record type. */
const NAME_ADDRESS: Record<number, number> = {
  [ng.NRB_IPV4]: 4,
  [ng.NRB_IPV6]: 16,
  [ng.NRB_EUI48]: 6,
  [ng.NRB_EUI64]: 8,
};

function nameAddress(type: number, value: Uint8Array) {
  if (type === ng.NRB_IPV4) return readV4(viewOf(value), 0);
  if (type === ng.NRB_IPV6) return readV6(viewOf(value), 0);
  return value.subarray(0, NAME_ADDRESS[type]);
}

/** Zero-terminated names, one after the other; the last zero may be missing. */
function nameList(bytes: Uint8Array): string[] {
  const names = decodeUtf8(bytes).split('\0');
  if (names.at(-1) === '') names.pop();
  return names;
}
