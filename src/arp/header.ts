// An ARP packet for IPv4 over Ethernet, as read in place (RFC 826).
//
// ```
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |          ar$hrd = 1           |        ar$pro = 0x0800        |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |  ar$hln = 6   |  ar$pln = 4   |             ar$op             |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |               ar$sha: sender hardware address                 |
// +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                               |    ar$spa: sender protocol    |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |            address            |                               |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
// |               ar$tha: target hardware address                 |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |               ar$tpa: target protocol address                 |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ```

import type { Verdict } from '../base/drop.ts';
import { MAC_LENGTH, type Mac } from '../base/mac.ts';
import { ETHERTYPE_IPV4 } from '../base/netif.ts';

export const HRD = 0;
export const PRO = 2;
export const HLN = 4;
export const PLN = 5;
export const OP = 6;
export const SHA = 8;
export const SPA = 14;
export const THA = 18;
export const TPA = 24;
export const PACKET_LENGTH = 28;

export const HARDWARE_ETHERNET = 1;
export const PROTOCOL_LENGTH = 4;
export const REQUEST = 1;
export const REPLY = 2;

/**
 * Whether [at, end) holds an ARP request or reply for IPv4 over Ethernet (hostile 2). After `undefined` no getter here can
 * fail. What follows the 28 bytes is padding, and is not looked at.
 */
export function check(view: DataView, at: number, end: number): Verdict {
  if (end - at < PACKET_LENGTH) return 'truncated';
  if (view.getUint16(at + HRD) !== HARDWARE_ETHERNET || view.getUint16(at + PRO) !== ETHERTYPE_IPV4)
    return 'bad arp';
  // RFC 826 "optionally check": not optional for who reads at fixed offsets.
  if (view.getUint8(at + HLN) !== MAC_LENGTH || view.getUint8(at + PLN) !== PROTOCOL_LENGTH) return 'bad arp';
  const op = view.getUint16(at + OP);
  return op === REQUEST || op === REPLY ? undefined : 'bad arp';
}

export const op = (view: DataView, at: number): number => view.getUint16(at + OP);
/** Sender and target protocol addresses as signed words (see Address). */
export const spa = (view: DataView, at: number): number => view.getInt32(at + SPA);
export const tpa = (view: DataView, at: number): number => view.getInt32(at + TPA);

/** The variable part of a packet; the fixed part is always Ethernet and IPv4. */
export interface ArpFields {
  op: number;
  sha: Mac;
  spa: number;
  tha: Mac;
  tpa: number;
}

/** Writes all 28 bytes at `at`: none is left as it was (hostile 3). */
export function write(bytes: Uint8Array, view: DataView, at: number, fields: ArpFields): void {
  view.setUint16(at + HRD, HARDWARE_ETHERNET);
  view.setUint16(at + PRO, ETHERTYPE_IPV4);
  view.setUint8(at + HLN, MAC_LENGTH);
  view.setUint8(at + PLN, PROTOCOL_LENGTH);
  view.setUint16(at + OP, fields.op);
  bytes.set(fields.sha, at + SHA);
  view.setInt32(at + SPA, fields.spa);
  bytes.set(fields.tha, at + THA);
  view.setInt32(at + TPA, fields.tpa);
}
