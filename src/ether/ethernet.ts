// Ethernet: takes frames meant for us and hands them up by EtherType; frames what goes out (RFC 894, IEEE 802.1Q).

import type { Verdict } from '../base/drop.ts';
import { formatMac, isGroupMac, MAC_LENGTH, type Mac } from '../base/mac.ts';
import { ETHERTYPE_VLAN } from '../base/netif.ts';
import { BROADCAST, type Frame, MULTICAST, type Packet, UNICAST } from '../base/packet.ts';
import * as header from './header.ts';

/** Called with `packet.at` behind the link header; `packet.linkCast` says how the frame was addressed. */
export type EtherHandler = (packet: Packet) => Verdict;

/** Virtual LAN membership (IEEE 802.1Q). */
export interface VlanOptions {
  /** 1 to 4094: the VLAN we belong to. */
  id: number;
  /** Priority of the frames we send, 0 (default) to 7. */
  priority?: number;
  /** Whether frames are sent with the tag. Default true. */
  tagged?: boolean;
  /** What is let in beside our own tag (802.1Q 6.9): `all` (default) takes untagged and priority-tagged frames too. */
  admit?: 'all' | 'tagged';
}

export interface EthernetOptions {
  mac: Mac;
  vlan?: VlanOptions;
  /** Takes unicast and multicast frames for anyone. Default false. */
  promiscuous?: boolean;
}

/** The link layer of one interface. */
export class Ethernet {
  readonly mac: Mac;
  promiscuous: boolean;
  readonly vlan: VlanOptions | undefined;
  /** What {@link output} puts in front of a packet, in bytes. */
  readonly headerLength: number;
  /** Frames with an 802.3 length instead of an EtherType. Nobody speaks IP in them today. */
  lengthFrames = 0;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #tagged: boolean;
  readonly #handlers = new Map<number, EtherHandler>();
  /** How many joins each multicast address has, by its 48 bits as a number. */
  readonly #groups = new Map<number, number>();

  constructor({ mac, vlan, promiscuous = false }: EthernetOptions) {
    if (mac.length !== MAC_LENGTH || isGroupMac(mac))
      throw new RangeError(`not a station address: ${formatMac(mac)}`);
    if (vlan !== undefined && !(vlan.id > header.PRIORITY_VLAN && vlan.id < header.RESERVED_VLAN)) {
      throw new RangeError(`not a VLAN id: ${vlan.id}`);
    }
    this.mac = mac;
    this.vlan = vlan;
    this.promiscuous = promiscuous;
    const view = new DataView(mac.buffer, mac.byteOffset, MAC_LENGTH);
    this.#macHigh = header.destinationHigh(view, 0);
    this.#macLow = header.destinationLow(view, 0);
    this.#tagged = vlan !== undefined && (vlan.tagged ?? true);
    this.headerLength = header.HEADER_LENGTH + (this.#tagged ? header.TAG_LENGTH : 0);
  }

  /** Names who takes frames of `etherType`. One handler each. */
  register(etherType: number, handler: EtherHandler): void {
    this.#handlers.set(etherType, handler);
  }

  /** Lets frames for the multicast address `group` in. Counted: each join wants its {@link leave}. */
  join(group: Mac): void {
    const key = groupKey(group);
    this.#groups.set(key, (this.#groups.get(key) ?? 0) + 1);
  }

  leave(group: Mac): void {
    const key = groupKey(group);
    const joins = this.#groups.get(key) ?? 0;
    if (joins > 1) this.#groups.set(key, joins - 1);
    else this.#groups.delete(key);
  }

  /** Reads the link header at `packet.start` and hands the packet up. Allocates nothing for a unicast frame. */
  input(packet: Packet): Verdict {
    const { view, start } = packet;
    const bad = header.check(view, start, packet.end);
    if (bad !== undefined) return bad;
    if (header.fromGroup(view, start)) return 'bad link source';
    if (!this.#accepts(packet)) return 'not for us';

    let type = header.outerType(view, start);
    let length = header.HEADER_LENGTH;
    if (type === ETHERTYPE_VLAN) {
      if (!this.#admits(header.vlanId(view, start))) return 'unknown vlan';
      type = header.taggedType(view, start);
      length += header.TAG_LENGTH;
    } else if (this.vlan?.admit === 'tagged') {
      return 'unknown vlan';
    }
    if (type < header.MIN_ETHERTYPE) {
      // Deviates: RFC 1122 2.3.3 SHOULD receive RFC 1042 encapsulation. No host sends IP that way on Ethernet any more.
      this.lengthFrames++;
      return 'unknown ethertype';
    }
    const handler = this.#handlers.get(type);
    if (handler === undefined) return 'unknown ethertype';
    packet.at = start + length;
    return handler(packet);
  }

  /** Destination filter. Sets `packet.linkCast`. */
  #accepts(packet: Packet): boolean {
    const { view, start } = packet;
    const high = header.destinationHigh(view, start);
    const low = header.destinationLow(view, start);
    if (low === this.#macLow && high === this.#macHigh) {
      packet.linkCast = UNICAST;
      return true;
    }
    if (!header.toGroup(view, start)) {
      packet.linkCast = UNICAST;
      return this.promiscuous;
    }
    if (low === -1 && high === 0xffff) {
      packet.linkCast = BROADCAST;
      return true;
    }
    packet.linkCast = MULTICAST;
    return this.promiscuous || this.#groups.has(high * 0x1_0000_0000 + (low >>> 0));
  }

  /** A tag of our VLAN, or one that only carries a priority (802.1Q 6.9). */
  #admits(vid: number): boolean {
    if (vid === this.vlan?.id) return true;
    return vid === header.PRIORITY_VLAN && this.vlan?.admit !== 'tagged';
  }

  /** Pushes the link header in front of `frame` and pads a short frame with zeros. */
  output(frame: Frame, destination: Mac, etherType: number): void {
    const at = frame.push(this.headerLength);
    header.setMac(frame.bytes, at + header.DESTINATION, destination);
    header.setMac(frame.bytes, at + header.SOURCE, this.mac);
    if (this.#tagged) header.setTag(frame.view, at, this.vlan!.priority ?? 0, this.vlan!.id, etherType);
    else header.setType(frame.view, at, etherType);
    if (frame.tail - at < header.MIN_FRAME && frame.length < header.MIN_FRAME) pad(frame);
  }
}

/** Lengthens a short frame to the least Ethernet carries. With zeros: what lay there before is nobody's business. */
function pad(frame: Frame): void {
  // Padding comes after the payload, so attached payload (a few bytes) is drawn in first.
  if (frame.a !== undefined) inline(frame);
  const { bytes } = frame;
  // A loop: for the six bytes behind a bare ACK a call of `fill` costs more than the bytes.
  for (let at = frame.put(header.MIN_FRAME - frame.length); at < frame.tail; at++) bytes[at] = 0;
}

function inline(frame: Frame): void {
  const { a, b } = frame;
  if (a !== undefined) frame.copyIn(a.bytes, frame.aOffset, frame.aLength);
  if (b !== undefined) frame.copyIn(b.bytes, frame.bOffset, frame.bLength);
  frame.a = frame.b = undefined;
  frame.aOffset = frame.aLength = frame.bOffset = frame.bLength = 0;
  a?.release();
  b?.release();
}

function groupKey(group: Mac): number {
  let key = 0;
  for (let i = 0; i < MAC_LENGTH; i++) key = key * 256 + group[i]!;
  return key;
}

/** The multicast link address of an IP group: RFC 1112 6.4 for IPv4 (23 bits), RFC 2464 7 for IPv6 (32 bits). */
export function groupMac(family: 4 | 6, lastWord: number, into: Mac = new Uint8Array(MAC_LENGTH)): Mac {
  if (family === 4) {
    into[0] = 0x01;
    into[1] = 0x00;
    into[2] = 0x5e;
    into[3] = (lastWord >>> 16) & 0x7f;
  } else {
    into[0] = 0x33;
    into[1] = 0x33;
    into[2] = lastWord >>> 24;
    into[3] = (lastWord >>> 16) & 0xff;
  }
  into[4] = (lastWord >>> 8) & 0xff;
  into[5] = lastWord & 0xff;
  return into;
}
