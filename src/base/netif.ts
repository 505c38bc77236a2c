// What the network layers (ipv4, ipv6) see of an interface, and what an interface sees of its device.

import type { Address } from './address.ts';
import type { Mac } from './mac.ts';
import type { Frame } from './packet.ts';
import type { Micros } from './time.ts';

/** The sending half of a device, as an interface uses it. */
export interface LinkPort {
  readonly mac: Mac;
  /** Largest IP packet of one frame, in bytes (Ethernet payload). */
  readonly mtu: number;
  /**
   * Sends `frames[from]` … `frames[to - 1]` in order and returns how many were taken. A taken frame has left the
   * caller's memory: it may be reset at once. Fewer than asked means the device is full; it will call its `onReady`.
   */
  transmit(frames: readonly Frame[], from: number, to: number): number;
}

/** An address of ours on an interface. RFC 4862 5.5.4 names the states; IPv4 uses tentative (RFC 5227), preferred, duplicate. */
export interface InterfaceAddress {
  readonly address: Address;
  readonly prefixLength: number;
  /** Directed broadcast of the subnet (IPv4, prefix shorter than 31), if any. */
  readonly broadcast: Address | undefined;
  state: 'tentative' | 'optimistic' | 'preferred' | 'deprecated' | 'duplicate';
  /** Deadlines; NEVER when the address does not expire. */
  preferredUntil: Micros;
  validUntil: Micros;
}

/** What became of a packet handed down. `queued`: it waits for a link address. The last four mean it was not sent. */
export type SendResult = 'sent' | 'queued' | 'full' | 'too big' | 'unreachable' | 'down';

/** An interface as the network layers see it. `stack/interface.ts` implements it. */
export interface NetInterface {
  /** 1, 2, 3 …; also the zone of its link-local addresses. */
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly mac: Mac;
  readonly loopback: boolean;
  readonly up: boolean;
  readonly addresses: readonly InterfaceAddress[];
  /** True while at least one more frame fits in the transmit queue. Ask before {@link frame}. */
  hasRoom(): boolean;
  /**
   * An empty frame with headroom. It must be given to {@link send} (or dropped with `frame.reset()`) before the next is
   * asked for: there is one frame under construction at a time.
   */
  frame(): Frame;
  /**
   * Sends an IP packet to `nextHop` on this link: finds its link address (multicast and broadcast are mapped, unicast is
   * asked of the neighbour cache, and the packet may wait there), pushes the link header and queues the frame.
   */
  send(frame: Frame, nextHop: Address, etherType: number): SendResult;
}

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
