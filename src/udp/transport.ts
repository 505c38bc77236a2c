// The receiving half of UDP: checks datagrams, finds their sockets, queues them; and takes errors. RFC 768, RFC 1122 4.1, RFC 8200 8.1.

import type { Address } from '../base/address.ts';
import { fold, sum } from '../base/checksum.ts';
import { countDrop, type DropCounts, type Verdict } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import { type IpError, type IpOutput, type Path, PROTOCOL_UDP, type Transport } from '../base/ip.ts';
import type { Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import type { Slab } from '../base/slab.ts';
import type { Trace } from '../base/trace.ts';
import { type Arrival, hearsGroup, PortTable } from './demux.ts';
import { groupKey, type MulticastService, membershipOf, passes } from './groups.ts';
import { check, destinationPort, sourcePort, UDP_HEADER_LENGTH, udpChecksum, udpLength } from './header.ts';
import { Receiver } from './receive.ts';
import type { UdpSocket } from './socket.ts';

/** What UDP needs of the stack. */
export interface UdpNeeds {
  /** IP of both families. */
  readonly output: IpOutput;
  /** IGMP and MLD by the group's family. */
  readonly groups: MulticastService;
  readonly random: Random;
  readonly trace: Trace;
  /** Drops that no verdict carries: a full socket among several that hear a multicast. */
  readonly drops: DropCounts;
}

/** The UDP of one host. Register it for protocol 17 with both families. */
export class Udp implements Transport {
  /** `udp` group of RFC 4113, and two that Linux has. */
  readonly counters = {
    udpInDatagrams: 0,
    udpNoPorts: 0,
    udpInErrors: 0,
    udpOutDatagrams: 0,
    udpInCsumErrors: 0,
    udpRcvbufErrors: 0,
  };
  readonly needs: UdpNeeds;
  readonly ports: PortTable;
  readonly receiver = new Receiver();
  /** Groups by "interface/address" and how many sockets joined: what a looped multicast is asked against. */
  readonly joined = new Map<string, number>();
  readonly #arrival: Arrival = {
    s0: 0,
    s1: 0,
    s2: 0,
    s3: 0,
    d0: 0,
    d1: 0,
    d2: 0,
    d3: 0,
    sourcePort: 0,
    destinationPort: 0,
    interfaceIndex: 0,
  };

  constructor(needs: UdpNeeds) {
    this.needs = needs;
    this.ports = new PortTable(needs.random);
  }

  /** True when `deliver` has something to do. */
  get pending(): boolean {
    return this.receiver.pending;
  }

  /** Calls socket users. Only here are they called. */
  deliver(): void {
    this.receiver.deliver();
  }

  input(packet: Packet): Verdict {
    const { view, at } = packet;
    const superFrame = packet.gsoSize > 0;
    const wrong = this.#check(packet, superFrame);
    if (wrong !== undefined) {
      this.counters.udpInErrors++;
      return wrong;
    }
    const arrival = this.#arrival;
    arrival.s0 = packet.s0;
    arrival.s1 = packet.s1;
    arrival.s2 = packet.s2;
    arrival.s3 = packet.s3;
    arrival.d0 = packet.d0;
    arrival.d1 = packet.d1;
    arrival.d2 = packet.d2;
    arrival.d3 = packet.d3;
    arrival.sourcePort = sourcePort(view, at);
    arrival.destinationPort = destinationPort(view, at);
    arrival.interfaceIndex = packet.interfaceIndex;
    const from = at + UDP_HEADER_LENGTH;
    const end = superFrame ? packet.end : at + udpLength(view, at);
    if (!superFrame) return this.#accept(packet, arrival, from, end - from);
    // A super-frame stands for datagrams of gsoSize bytes each, the last perhaps shorter.
    let verdict: Verdict;
    for (let offset = from; offset < end; offset += packet.gsoSize) {
      const one = this.#accept(packet, arrival, offset, Math.min(packet.gsoSize, end - offset));
      if (one !== undefined && verdict !== undefined) countDrop(this.needs.drops, one);
      verdict ??= one;
      if (one === 'no socket') break;
    }
    return verdict;
  }

  /** RFC 1122 4.1.3.3: errors go to the application; as in Linux, only to one that is connected to whom it concerns. */
  error(error: IpError): void {
    const { view, at } = error;
    const socket = this.ports.findConnected(
      error.source,
      sourcePort(view, at),
      error.destination,
      destinationPort(view, at),
    );
    if (socket === undefined) return;
    socket.pendingError = codeOf(error.kind);
    this.receiver.wake(socket);
  }

  /** A Path MTU is believed only when some socket on that port sends with DF at all. */
  plausible(error: IpError): boolean {
    const port = sourcePort(error.view, error.at);
    for (const socket of this.ports.on(port)) {
      if (socket.dontFragment && socket.speaks(error.destination.family)) return true;
    }
    return false;
  }

  /** Own members hear what was sent to a group, and all what was broadcast, without a word on the wire. */
  loop(socket: UdpSocket, path: Path, port: number, bytes: Uint8Array, offset: number, length: number): void {
    const { source, destination } = path;
    const arrival: Arrival = {
      s0: source.w0,
      s1: source.w1,
      s2: source.w2,
      s3: source.w3,
      d0: destination.w0,
      d1: destination.w1,
      d2: destination.w2,
      d3: destination.w3,
      sourcePort: socket.localPort,
      destinationPort: port,
      interfaceIndex: path.interface.index,
    };
    if (destination.isMulticast && !this.joined.has(groupKey(destination, path.interface.index))) return;
    const ttl = destination.isMulticast ? socket.multicastTtl : socket.ttl;
    let range: { slab: Slab; offset: number } | undefined;
    for (const other of this.ports.on(port)) {
      if (!this.#hears(other, arrival, source, destination)) continue;
      range ??= { ...this.receiver.copy(bytes, offset, length) };
      this.#enqueue(other, arrival, range, length, ttl, socket.trafficClass);
    }
  }

  /** Lengths, ports and checksum, in the order in which they may be read. */
  #check(packet: Packet, superFrame: boolean): Verdict {
    const { view, at, end } = packet;
    if (end - at < UDP_HEADER_LENGTH) return 'truncated';
    if (!superFrame) {
      const wrong = check(view, at, end);
      if (wrong !== undefined) return wrong;
    }
    if (destinationPort(view, at) === 0) return 'bad port';
    if (packet.checksumTrusted) return undefined;
    const given = udpChecksum(view, at);
    const v4 = (packet.d0 | packet.d1) === 0 && packet.d2 === 0xffff;
    if (given === 0) {
      // RFC 768: the sender made none. RFC 8200 8.1: over IPv6 it must.
      if (v4) return undefined;
      this.counters.udpInCsumErrors++;
      return 'bad checksum';
    }
    const length = superFrame ? end - at : udpLength(view, at);
    if (fold(sum(view, at, at + length, pseudoSum(packet, length))) === 0xffff) return undefined;
    this.counters.udpInCsumErrors++;
    return 'bad checksum';
  }

  #accept(packet: Packet, arrival: Arrival, offset: number, length: number): Verdict {
    if (packet.groupDestination) return this.#acceptGroup(packet, arrival, offset, length);
    const socket = this.ports.find(arrival);
    if (socket === undefined) {
      this.counters.udpNoPorts++;
      return 'no socket'; // IP answers with Port Unreachable (RFC 1122 4.1.3.1)
    }
    const range = this.receiver.keep(packet, offset, length);
    return this.#enqueue(socket, arrival, range, length, packet.ttl, packet.trafficClass);
  }

  /** Broadcast and multicast: to every socket that hears it (RFC 1122 4.1.3.5, RFC 3376 3.1). */
  #acceptGroup(packet: Packet, arrival: Arrival, offset: number, length: number): Verdict {
    const destination = packet.destination();
    const source = packet.source();
    let heard = 0;
    let verdict: Verdict;
    let range: { slab: Slab; offset: number } | undefined;
    for (const socket of this.ports.on(arrival.destinationPort)) {
      if (!this.#hears(socket, arrival, source, destination)) continue;
      range ??= { ...this.receiver.keep(packet, offset, length) };
      const one = this.#enqueue(socket, arrival, range, length, packet.ttl, packet.trafficClass);
      if (one !== undefined && heard > 0) countDrop(this.needs.drops, one);
      heard++;
      verdict = heard === 1 ? one : undefined;
    }
    if (heard > 0) return verdict;
    this.counters.udpNoPorts++;
    return 'no socket';
  }

  #hears(socket: UdpSocket, arrival: Arrival, source: Address, destination: Address): boolean {
    if (!hearsGroup(socket, arrival)) return false;
    if (!destination.isMulticast) return true;
    const membership = membershipOf(socket, destination, arrival.interfaceIndex);
    return membership === undefined ? socket.multicastAll : passes(membership, source);
  }

  #enqueue(
    socket: UdpSocket,
    arrival: Arrival,
    range: { slab: Slab; offset: number },
    length: number,
    ttl: number,
    trafficClass: number,
  ): Verdict {
    if (!this.receiver.enqueue(socket, arrival, range, length, ttl, trafficClass)) {
      this.counters.udpRcvbufErrors++;
      this.counters.udpInErrors++;
      return 'queue full';
    }
    this.counters.udpInDatagrams++;
    return undefined;
  }
}

/** As Linux's `icmp_err_convert` has it. */
function codeOf(kind: IpError['kind']): ErrorCode {
  switch (kind) {
    case 'port unreachable':
      return 'ECONNREFUSED';
    case 'protocol unreachable':
      return 'ENOPROTOOPT';
    case 'net unreachable':
      return 'ENETUNREACH';
    case 'packet too big':
      return 'EMSGSIZE';
    case 'parameter problem':
      return 'EPROTO';
    default:
      return 'EHOSTUNREACH';
  }
}

/** The pseudo-header's sum from a packet's words (RFC 768, RFC 8200 8.1), without making addresses. */
function pseudoSum(p: Packet, length: number): number {
  const low = half(p.s3) + half(p.d3) + PROTOCOL_UDP + (length >>> 16) + (length & 0xffff);
  // The mapped form's third word, 0xffff twice, counts for nothing in one's complement (RFC 1071 1).
  return low + half(p.s0) + half(p.s1) + half(p.s2) + half(p.d0) + half(p.d1) + half(p.d2);
}

function half(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}
