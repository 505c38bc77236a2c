// Passes on packets that are for others: what a router does with a unicast datagram. RFC 1812 5.

import { type Address, v4 } from '../base/address.ts';
import { finish, fold, pseudoHeaderSum, sum } from '../base/checksum.ts';
import type { Verdict } from '../base/drop.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../base/ip.ts';
import { ETHERTYPE_IPV4, type NetInterface } from '../base/netif.ts';
import { type Packet, UNICAST } from '../base/packet.ts';
import { Slab } from '../base/slab.ts';
import type { IpCounters } from './counters.ts';
import {
  decrementTtl,
  dontFragment,
  fragmentOffset,
  HEADER_LENGTH,
  headerLength,
  isFragment,
  MAX_DATAGRAM,
  totalLength,
} from './header.ts';
import type { Icmp } from './icmp.ts';
import {
  DESTINATION_UNREACHABLE,
  FRAGMENTATION_NEEDED,
  HOST_UNREACHABLE,
  NET_UNREACHABLE,
  TIME_EXCEEDED,
  TTL_EXCEEDED,
} from './icmp-header.ts';
import type { Ipv4Needs } from './needs.ts';
import type { Ipv4Output } from './output.ts';

/** The forwarding half of a router. */
export class Forwarder {
  readonly #needs: Ipv4Needs;
  readonly #output: Ipv4Output;
  readonly #icmp: Icmp;
  readonly #counters: IpCounters;

  constructor(needs: Ipv4Needs, output: Ipv4Output, icmp: Icmp, counters: IpCounters) {
    this.#needs = needs;
    this.#output = output;
    this.#icmp = icmp;
    this.#counters = counters;
  }

  /** Sends the unicast datagram in `packet`, which came in by `from` and has been checked, on its way. */
  forward(from: NetInterface, packet: Packet): Verdict {
    // RFC 1812 5.3.4: what came as a link broadcast or multicast is not passed on. RFC 3927 7: nor are link-local addresses.
    if (packet.linkCast !== UNICAST || isLinkLocal(packet.d3) || isLinkLocal(packet.s3)) return 'not for us';
    const destination = packet.destination();
    if (this.#output.isBroadcast(destination)) return 'not for us'; // RFC 2644: directed broadcasts, neither
    const { view, network } = packet;
    const length = totalLength(view, network);
    const end = fragmentOffset(view, network) + length - headerLength(view, network);
    // Ping of death (hostile 21): nobody can put it together, and cut once more its offset would start anew.
    if (end > MAX_DATAGRAM - HEADER_LENGTH) return 'bad fragment';
    if (packet.ttl <= 1) {
      // RFC 1812 5.3.1
      this.#icmp.complain(packet, TIME_EXCEEDED, TTL_EXCEEDED, 0);
      return 'ttl exceeded';
    }
    const route = this.#needs.routes.lookup(destination, undefined, 0);
    if (typeof route === 'string') {
      this.#counters.ipSystemStatsInNoRoutes++;
      const code = route === 'EHOSTUNREACH' ? HOST_UNREACHABLE : NET_UNREACHABLE;
      this.#icmp.complain(packet, DESTINATION_UNREACHABLE, code, 0);
      return 'no route';
    }
    const out = route.interface;
    if (out.loopback || (out === from && packet.s3 === packet.d3)) return 'martian destination';
    if (!out.up || !out.hasRoom()) {
      this.#counters.ipSystemStatsInDiscards++;
      return 'queue full';
    }
    this.#counters.ipSystemStatsInForwDatagrams++;
    const largest = packet.gsoSize === 0 ? length : largestSegment(packet);
    if (largest <= out.mtu) return this.#pass(out, route.nextHop, packet, length);
    // A super-frame stands for segments that were all sent with the sender's idea of the MTU: it learns better.
    if (dontFragment(view, network) || packet.gsoSize !== 0) {
      this.#icmp.complain(packet, DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, out.mtu); // RFC 1191 4
      return 'bad length';
    }
    return this.#cut(out, route.nextHop, packet, length);
  }

  #pass(out: NetInterface, nextHop: Address, packet: Packet, length: number): Verdict {
    const { network, bytes } = packet;
    const ihl = headerLength(packet.view, network);
    const frame = out.frame();
    frame.gsoSize = packet.gsoSize;
    let copied = length;
    if (length > frame.room) {
      // Both headers go into the frame's own bytes, where segmenters look; the rest is sent from where it lies.
      copied = Math.min(length, ihl + TRANSPORT_HEADERS);
      frame.copyIn(bytes, network, copied);
      frame.attach(packet.slab, network + copied, length - copied);
      packet.pinned = true;
    } else {
      frame.copyIn(bytes, network, length);
    }
    decrementTtl(frame.view, frame.head);
    const offset = packet.checksumTrusted ? checksumOffset(packet, length - ihl) : -1;
    if (offset >= 0) {
      frame.checksumStart = frame.head + ihl;
      frame.checksumOffset = offset;
      frame.view.setUint16(frame.checksumStart + offset, pseudoSum(packet, length - ihl));
    }
    const result = out.send(frame, nextHop, ETHERTYPE_IPV4);
    if (result !== 'sent' && result !== 'queued') {
      this.#counters.ipSystemStatsOutDiscards++;
      return 'queue full';
    }
    this.#counters.ipSystemStatsOutForwDatagrams++;
    this.#counters.ipSystemStatsOutTransmits++;
    this.#counters.ipSystemStatsOutOctets += length;
    return undefined;
  }

  #cut(out: NetInterface, nextHop: Address, packet: Packet, length: number): Verdict {
    const { network, bytes } = packet;
    const slab = new Slab(bytes.slice(network, network + length));
    decrementTtl(slab.view, 0);
    if (packet.checksumTrusted) completeChecksum(packet, slab, length);
    const result = this.#output.fragmenter.send(slab, 0, length, out.mtu, out, nextHop);
    if (result !== 'sent' && result !== 'queued') return 'queue full';
    this.#counters.ipSystemStatsOutForwDatagrams++;
    return undefined;
  }
}

/** The most that a TCP header takes: what a super-frame's segmenter has to find in one piece. */
const TRANSPORT_HEADERS = 60;

function isLinkLocal(word: number): boolean {
  return word >>> 16 === 0xa9fe;
}

/** The largest IP packet that will be cut from a super-frame. */
function largestSegment(packet: Packet): number {
  const { view, network } = packet;
  const ihl = headerLength(view, network);
  const transport = network + ihl;
  if (packet.protocol !== PROTOCOL_TCP) return ihl + 8 + packet.gsoSize;
  if (transport + 20 > packet.end) return totalLength(view, network);
  return ihl + ((view.getUint8(transport + 12) >>> 4) << 2) + packet.gsoSize;
}

/**
 * A packet whose checksum need not be checked may not have one: the kernel leaves it to the hardware that never was. Tells how far
 * behind the transport header, of `length` bytes with its payload, the field lies that is to be written anew; -1 for none.
 */
function checksumOffset({ view, network, protocol }: Packet, length: number): number {
  const offset = protocol === PROTOCOL_TCP ? 16 : protocol === PROTOCOL_UDP ? 6 : -1;
  if (offset < 0 || length < offset + 2 || isFragment(view, network)) return -1;
  // UDP without a checksum (RFC 768) stays without.
  const field = network + headerLength(view, network) + offset;
  return protocol === PROTOCOL_UDP && view.getUint16(field) === 0 ? -1 : offset;
}

/** What stands in the field of a pending checksum (see `Frame.checksumStart`). */
function pseudoSum({ s3, d3, protocol }: Packet, length: number): number {
  return fold(pseudoHeaderSum(v4(s3), v4(d3), protocol, length));
}

/** Makes the checksum right in the copy of `packet` that fills `slab`: no driver could, once it is cut. */
function completeChecksum(packet: Packet, slab: Slab, end: number): void {
  const transport = headerLength(slab.view, 0);
  const offset = checksumOffset(packet, end - transport);
  if (offset < 0) return;
  const field = transport + offset;
  slab.view.setUint16(field, pseudoSum(packet, end - transport));
  const value = finish(sum(slab.view, transport, end));
  slab.view.setUint16(field, value === 0 && packet.protocol === PROTOCOL_UDP ? 0xffff : value); // RFC 768
}
