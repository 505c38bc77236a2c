// IPv4: takes packets on their way up, decides whether they are for us, and owns the parts that do the rest. RFC 791, RFC 1122 3.

import type { Address } from '../base/address.ts';
import type { DropReason, Verdict } from '../base/drop.ts';
import {
  type IpOutput,
  type Path,
  PROTOCOL_ICMP,
  PROTOCOL_IGMP,
  PROTOCOL_UDP,
  type RouteError,
  type SendOptions,
  type Transport,
} from '../base/ip.ts';
import type { NetInterface, SendResult } from '../base/netif.ts';
import { type Frame, Packet, UNICAST } from '../base/packet.ts';
import type { Slab } from '../base/slab.ts';
import { newIcmpCounters, newIgmpCounters, newIpCounters } from './counters.ts';
import { Forwarder } from './forward.ts';
import {
  check,
  destinationWord,
  HEADER_LENGTH,
  headerLength,
  isFragment,
  protocol,
  sourceWord,
  timeToLive,
  totalLength,
  typeOfService,
} from './header.ts';
import { Icmp } from './icmp.ts';
import {
  DESTINATION_UNREACHABLE,
  PARAMETER_PROBLEM,
  PORT_UNREACHABLE,
  PROTOCOL_UNREACHABLE,
  REASSEMBLY_EXCEEDED,
  TIME_EXCEEDED,
} from './icmp-header.ts';
import { Igmp } from './igmp.ts';
import { LocalAddresses } from './local.ts';
import type { Ipv4Needs } from './needs.ts';
import { newScan, scanOptions } from './options.ts';
import { Ipv4Output } from './output.ts';
import type { Ipv4Path } from './path.ts';
import { PathMtuTable } from './pmtu.ts';
import { Reassembly } from './reassembly.ts';

export type { Ipv4Needs, Route, RouteTable } from './needs.ts';

/** The IPv4 of one host. The stack calls `input` with frames of EtherType 0x0800, `flush` and `deliver` once a round. */
export class Ipv4 implements IpOutput {
  readonly counters = newIpCounters();
  readonly output: Ipv4Output;
  readonly icmp: Icmp;
  readonly igmp: Igmp;
  readonly reassembly: Reassembly;
  readonly pathMtus: PathMtuTable;
  readonly #needs: Ipv4Needs;
  readonly #local: LocalAddresses;
  readonly #forwarder: Forwarder;
  readonly #transports = new Array<Transport | undefined>(256).fill(undefined);
  readonly #scan = newScan();
  /** For packets of ours that come back from a neighbour that does not answer. */
  readonly #lost = new Packet();
  // The last pair of addresses found good: a flow asks the table once (hot path).
  #goodSource = 0;
  #goodDestination = 0;
  #goodInterface = -1;
  #goodGeneration = -1;

  constructor(needs: Ipv4Needs) {
    this.#needs = needs;
    this.#local = new LocalAddresses(needs);
    this.pathMtus = new PathMtuTable(needs);
    this.output = new Ipv4Output(needs, this.#local, this.pathMtus, this.counters);
    this.icmp = new Icmp(needs, this.output, this.#local, this.pathMtus, this.#transports, newIcmpCounters());
    this.igmp = new Igmp(needs, this.output, newIgmpCounters());
    this.#forwarder = new Forwarder(needs, this.output, this.icmp, this.counters);
    this.reassembly = new Reassembly(needs, this.counters, (first) =>
      this.icmp.complain(first, TIME_EXCEEDED, REASSEMBLY_EXCEEDED, 0),
    );
    this.register(PROTOCOL_ICMP, this.icmp);
    this.register(PROTOCOL_IGMP, this.igmp);
  }

  /** Packets of `number` go to `transport` from now on, and so do errors about them. */
  register(number: number, transport: Transport): void {
    this.#transports[number] = transport;
  }

  /** Call for each interface that comes and goes, and when a link comes up: group memberships hang on it. */
  addInterface(netif: NetInterface): void {
    this.igmp.addInterface(netif);
  }

  removeInterface(netif: NetInterface): void {
    this.igmp.removeInterface(netif);
  }

  interfaceUp(netif: NetInterface): void {
    this.igmp.interfaceUp(netif);
  }

  // IpOutput, as the transports see it.

  path(destination: Address, source: Address | undefined, interfaceIndex: number): Ipv4Path | RouteError {
    return this.output.path(destination, source, interfaceIndex);
  }

  send(path: Path, number: number, frame: Frame, options: SendOptions): SendResult {
    return this.output.send(path, number, frame, options);
  }

  isLocal(address: Address): boolean {
    return this.output.isLocal(address);
  }

  isBroadcast(address: Address): boolean {
    return this.output.isBroadcast(address);
  }

  /** True when `flush` or `deliver` has something to do now. */
  get pending(): boolean {
    return this.output.fragmenter.pending || this.icmp.echo.pending;
  }

  /** Sends fragments that waited for room. */
  flush(): void {
    this.output.fragmenter.flush();
  }

  /** Hands echo replies and errors to those who asked. */
  deliver(): void {
    this.icmp.deliver();
  }

  /**
   * The neighbour cache gave up on a packet we handed down: `length` bytes at `offset` of `slab`, IPv4 header first. The
   * transport that sent it is told "host unreachable" (RFC 1122 2.4); one that we forwarded is answered with ICMP.
   */
  neighbourFailed(slab: Slab, offset: number, length: number): void {
    const packet = this.#lost.set(slab, offset, length);
    packet.network = offset;
    packet.s0 = packet.s1 = packet.d0 = packet.d1 = 0;
    packet.s2 = packet.d2 = 0xffff;
    if (length >= HEADER_LENGTH) this.icmp.unreachable(packet);
  }

  /**
   * Takes the packet at `packet.at`, which came in by `from`. Everything is checked before anything is believed, in the
   * order in which fields depend on each other. Allocates nothing for a whole unicast datagram to a transport.
   */
  input(from: NetInterface, packet: Packet): Verdict {
    const { view, at } = packet;
    const { counters } = this;
    counters.ipSystemStatsInReceives++;
    const wrong = check(view, at, packet.end);
    if (wrong !== undefined) {
      if (wrong === 'truncated') counters.ipSystemStatsInTruncatedPkts++;
      else counters.ipSystemStatsInHdrErrors++;
      return wrong;
    }
    const length = totalLength(view, at);
    counters.ipSystemStatsInOctets += length;
    packet.network = at;
    packet.end = at + length; // what follows is the link's padding
    packet.s0 = packet.s1 = packet.d0 = packet.d1 = 0;
    packet.s2 = packet.d2 = 0xffff;
    const source = sourceWord(view, at);
    const destination = destinationWord(view, at);
    packet.s3 = source;
    packet.d3 = destination;
    packet.ttl = timeToLive(view, at);
    packet.trafficClass = typeOfService(view, at);
    packet.protocol = protocol(view, at);

    let ours = true;
    if (
      source !== this.#goodSource ||
      destination !== this.#goodDestination ||
      from.index !== this.#goodInterface ||
      this.#needs.routes.generation !== this.#goodGeneration ||
      packet.linkCast !== UNICAST
    ) {
      const verdict = this.#checkAddresses(from, packet, source, destination);
      if (verdict === 'not for us' && this.#needs.forwarding && !packet.groupDestination) ours = false;
      else if (verdict !== undefined) {
        if (!packet.groupDestination) counters.ipSystemStatsInAddrErrors++;
        return verdict;
      }
    }
    if (headerLength(view, at) > HEADER_LENGTH) {
      const verdict = this.#checkOptions(packet);
      if (verdict !== undefined) return verdict;
    }
    if (!ours) return this.#forwarder.forward(from, packet);
    if (isFragment(view, at)) {
      const whole = this.reassembly.add(packet);
      if (whole === undefined || typeof whole === 'string') return whole;
      const { trace } = this.#needs;
      if (trace.on) trace.note(`IPv4 reassembled ${whole.end} bytes`);
      return this.#deliverUp(whole);
    }
    packet.at = at + headerLength(view, at);
    return this.#deliverUp(packet);
  }

  /** RFC 1122 3.2.1.8: what the options ask of us, which is to be dropped or to be left alone. */
  #checkOptions(packet: Packet): Verdict {
    const { drop, pointer } = scanOptions(packet.view, packet.network, this.#scan);
    if (drop === undefined) return undefined;
    this.counters.ipSystemStatsInHdrErrors++;
    // RFC 1122 3.2.2.5 SHOULD. Source routes get no answer (RFC 7126 4.3.5): it would help to map us.
    if (drop === 'bad option') this.icmp.complain(packet, PARAMETER_PROBLEM, 0, pointer << 24);
    return drop;
  }

  /** To the transport; tells the sender if there is none (RFC 1122 3.2.2.1). */
  #deliverUp(packet: Packet): Verdict {
    const transport = this.#transports[packet.protocol];
    if (transport === undefined) {
      this.counters.ipSystemStatsInUnknownProtos++;
      this.icmp.complain(packet, DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, 0);
      return 'unknown protocol';
    }
    this.counters.ipSystemStatsInDelivers++;
    const verdict = transport.input(packet);
    // TCP answers a closed port itself; UDP has no way to (RFC 1122 4.1.3.1).
    if (verdict === 'no socket' && packet.protocol === PROTOCOL_UDP) {
      this.icmp.complain(packet, DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0);
    }
    return verdict;
  }

  /** RFC 1122 3.2.1.3: is the source one that a packet can have, and are we its destination? */
  #checkAddresses(
    from: NetInterface,
    packet: Packet,
    source: number,
    destination: number,
  ): DropReason | undefined {
    const multicast = destination >>> 28 === 0xe;
    const broadcast = !multicast && this.#local.isBroadcast(destination, from.index);
    packet.groupDestination = multicast || broadcast;
    if (!this.#isPossibleSource(from, source, packet.groupDestination)) return 'martian source';
    if (destination >>> 24 === 0 || (destination >>> 24 === 127 && !from.loopback)) {
      return 'martian destination'; // (a), (b), (g)
    }
    if (multicast) {
      this.counters.ipSystemStatsInMcastPkts++;
      const wanted =
        packet.protocol === PROTOCOL_IGMP
          ? this.igmp.isMember(from.index, destination)
          : this.igmp.accepts(from.index, destination, source);
      return wanted ? undefined : 'not for us';
    }
    if (broadcast) {
      this.counters.ipSystemStatsInBcastPkts++;
      return undefined;
    }
    if (destination >>> 28 === 0xf) return 'martian destination'; // class E
    if (!this.#local.isOwn(destination)) return 'not for us';
    // RFC 1122 3.3.6: a unicast datagram in a link broadcast SHOULD be discarded; multicast frames carry none, either.
    if (packet.linkCast !== UNICAST) return 'martian destination';
    this.#goodSource = source;
    this.#goodDestination = destination;
    this.#goodInterface = from.index;
    this.#goodGeneration = this.#needs.routes.generation;
    return undefined;
  }

  #isPossibleSource(from: NetInterface, source: number, group: boolean): boolean {
    const first = source >>> 24;
    // (a): a host that does not know its address asks everyone: DHCP, and IGMP reports (RFC 3376 4.2.13).
    if (first === 0) return source === 0 && group;
    if (first >= 224) return false; // (c), class D, class E
    if (from.loopback) return true;
    if (first === 127) return false; // (g)
    if (this.#local.isBroadcast(source, 0)) return false; // (d), (e)
    return !this.#local.isOwn(source); // LAND, CVE-1999-0016
  }
}
