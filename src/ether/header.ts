// The Ethernet II header as read in place (RFC 894), with the 802.1Q tag that may stand in it.
//
// ```
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                      Destination address                      |
// +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                               |                               |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
// |                         Source address                        |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | [ Tag type = 0x8100           | PCP |D|       VLAN id       ] |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |           EtherType           |  payload, at least 46 bytes …
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// ```

import type { Verdict } from '../base/drop.ts';
import { ETHERTYPE_VLAN } from '../base/netif.ts';

export const DESTINATION = 0;
export const SOURCE = 6;
export const TYPE = 12;
export const HEADER_LENGTH = 14;
/** Bytes an 802.1Q tag adds between the source address and the EtherType. */
export const TAG_LENGTH = 4;
export const TCI = 14;
export const TAGGED_TYPE = 16;

/** Shortest frame on the wire without its checksum (IEEE 802.3 4.2.3.3): shorter ones are padded. */
export const MIN_FRAME = 60;
/** Values below this in the type field are 802.3 lengths, or nothing at all (RFC 894; IEEE 802.3 3.2.6). */
export const MIN_ETHERTYPE = 0x0600;
/** Reverse ARP (RFC 903). Never registered: an answer nobody asked for must not configure an address. */
export const ETHERTYPE_RARP = 0x8035;
/** The VLAN id of a frame that carries only a priority (IEEE 802.1Q 9.6). */
export const PRIORITY_VLAN = 0;
/** Reserved by IEEE 802.1Q 9.6: never on the wire. */
export const RESERVED_VLAN = 0xfff;

/** Whether the header, and the tag if there is one, lies within [at, end). After `undefined` no getter here can fail. */
export function check(view: DataView, at: number, end: number): Verdict {
  if (end - at < HEADER_LENGTH) return 'truncated';
  if (view.getUint16(at + TYPE) === ETHERTYPE_VLAN && end - at < HEADER_LENGTH + TAG_LENGTH)
    return 'truncated';
  return undefined;
}

/** The first two bytes of the destination. With {@link destinationLow} it is compared as two integers. */
export const destinationHigh = (view: DataView, at: number): number => view.getUint16(at + DESTINATION);
/** The last four bytes of the destination, signed. */
export const destinationLow = (view: DataView, at: number): number => view.getInt32(at + DESTINATION + 2);
/** True when the group bit of the destination is set: multicast or broadcast. */
export const toGroup = (view: DataView, at: number): boolean => (view.getUint8(at + DESTINATION) & 1) !== 0;
/** True when the group bit of the source is set, which no station may send (IEEE 802.3 3.2.5). */
export const fromGroup = (view: DataView, at: number): boolean => (view.getUint8(at + SOURCE) & 1) !== 0;

/** The field after the source address: EtherType, tag type or 802.3 length. */
export const outerType = (view: DataView, at: number): number => view.getUint16(at + TYPE);
/** The EtherType after an 802.1Q tag; only when {@link outerType} is ETHERTYPE_VLAN. */
export const taggedType = (view: DataView, at: number): number => view.getUint16(at + TAGGED_TYPE);
/** The VLAN id of an 802.1Q tag. */
export const vlanId = (view: DataView, at: number): number => view.getUint16(at + TCI) & 0xfff;
/** The priority code point of an 802.1Q tag, 0 to 7. */
export const priority = (view: DataView, at: number): number => view.getUint8(at + TCI) >>> 5;

/** Copies a link address into the header: `field` is {@link DESTINATION} or {@link SOURCE}. */
export function setMac(bytes: Uint8Array, at: number, mac: Uint8Array): void {
  bytes[at] = mac[0]!;
  bytes[at + 1] = mac[1]!;
  bytes[at + 2] = mac[2]!;
  bytes[at + 3] = mac[3]!;
  bytes[at + 4] = mac[4]!;
  bytes[at + 5] = mac[5]!;
}

export const setType = (view: DataView, at: number, etherType: number): void =>
  view.setUint16(at + TYPE, etherType);

/** Writes tag type, priority and VLAN id, and the EtherType behind them. */
export function setTag(view: DataView, at: number, pcp: number, vid: number, etherType: number): void {
  view.setUint16(at + TYPE, ETHERTYPE_VLAN);
  view.setUint16(at + TCI, (pcp << 13) | vid);
  view.setUint16(at + TAGGED_TYPE, etherType);
}
