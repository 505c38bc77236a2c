// IPv4 options: a bounded walk that knows what must be dropped and what may be passed over. RFC 791 3.1, RFC 7126.
//
// An option is one octet (End of List, No Operation), or type, length and data. The type's bits:
//
//   +--------+-----+------+
//   | copied |class|number|     copied: the option goes into every fragment, not only the first
//   +--------+-----+------+
//       1       2     5

import type { DropReason } from '../base/drop.ts';
import { HEADER_LENGTH, headerLength } from './header.ts';

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_RECORD_ROUTE = 7;
export const OPTION_TIMESTAMP = 68;
export const OPTION_SECURITY = 130;
export const OPTION_LSRR = 131;
export const OPTION_STREAM_ID = 136;
export const OPTION_SSRR = 137;
export const OPTION_ROUTER_ALERT = 148;

/** The copied flag (RFC 791 3.1): set means the option belongs in every fragment. */
export const COPIED = 0x80;

/** Router Alert as it is sent: type 148, length 4, value 0 "routers shall examine this packet" (RFC 2113 2.1). */
export const ROUTER_ALERT = 0x9404_0000;
export const ROUTER_ALERT_LENGTH = 4;

/** What a walk over the options found. One object is reused: no packet with options costs an allocation. */
export interface OptionScan {
  /** `undefined` when the datagram may be taken. */
  drop: DropReason | undefined;
  /** For `bad option`: the octet of the header that is wrong, as the pointer of a Parameter Problem counts (RFC 792). */
  pointer: number;
  routerAlert: boolean;
}

export function newScan(): OptionScan {
  return { drop: undefined, pointer: 0, routerAlert: false };
}

/**
 * Walks the options of the header at `at`, which has passed `check`. At most 40 turns, since each consumes an octet.
 *
 * Source routes are dropped (RFC 7126 4.3.5, 4.4.5: they let a stranger choose the way of packets). Unknown options are
 * passed over (RFC 1122 3.2.1.8). Record Route and Timestamp are looked at only for their form: we never write into them,
 * which is what a host that does not support them does.
 */
export function scanOptions(view: DataView, at: number, scan: OptionScan): OptionScan {
  scan.drop = undefined;
  scan.pointer = 0;
  scan.routerAlert = false;
  const end = at + headerLength(view, at);
  let i = at + HEADER_LENGTH;
  while (i < end) {
    const type = view.getUint8(i);
    if (type === OPTION_END) break;
    if (type === OPTION_NOP) {
      i++;
      continue;
    }
    if (i + 1 >= end) return fail(scan, 'bad option', i - at);
    const length = view.getUint8(i + 1);
    if (length < 2 || i + length > end) return fail(scan, 'bad option', i + 1 - at);
    if (type === OPTION_LSRR || type === OPTION_SSRR) return fail(scan, 'source route', i - at);
    if (type === OPTION_ROUTER_ALERT) {
      if (length !== ROUTER_ALERT_LENGTH) return fail(scan, 'bad option', i + 1 - at);
      scan.routerAlert = true;
    } else if (type === OPTION_RECORD_ROUTE || type === OPTION_TIMESTAMP) {
      // Type, length and pointer at least; the pointer counts from 1 and its smallest value is past the fixed part.
      const least = type === OPTION_RECORD_ROUTE ? 4 : 5;
      if (length < least - 1) return fail(scan, 'bad option', i + 1 - at);
      if (view.getUint8(i + 2) < least) return fail(scan, 'bad option', i + 2 - at);
    }
    i += length;
  }
  return scan;
}

function fail(scan: OptionScan, drop: DropReason, pointer: number): OptionScan {
  scan.drop = drop;
  scan.pointer = pointer;
  return scan;
}

/**
 * Copies the options that belong in a later fragment (copied flag set, RFC 791 3.1) from the header at `at` to `target` at
 * `to`, padded with End of List to whole words. Returns how many bytes: 0 to 40. The header has passed `scanOptions`.
 */
export function copyOptionsForFragment(view: DataView, at: number, target: Uint8Array, to: number): number {
  const end = at + headerLength(view, at);
  let i = at + HEADER_LENGTH;
  let out = to;
  while (i < end) {
    const type = view.getUint8(i);
    if (type === OPTION_END) break;
    const length = type === OPTION_NOP ? 1 : view.getUint8(i + 1);
    if ((type & COPIED) !== 0) {
      for (let k = 0; k < length; k++) target[out++] = view.getUint8(i + k);
    }
    i += length;
  }
  while (((out - to) & 3) !== 0) target[out++] = OPTION_END;
  return out - to;
}
