// The stack: owns the layers, wires them, and drives them round by round.
//
// Up is a table, down is a call: no lower layer knows an upper one; here handlers are entered under EtherTypes and protocol
// numbers. Nothing here, or below, reads a clock, waits, or draws a number: `now` and `random` are handed in.
//
//   setTime(now)      the time of the round
//   input(i, packet)  one received frame                                     \ change state, and put short answers
//   advance(now)      timers that are due fire                               / (ARP, ICMP) into the transmit rings
//   flush()           what connections have to say follows, and the devices take it
//   deliver()         the application hears what happened, and may call anything: nothing is under way

import type { ConflictOutcome } from '../arp/claim.ts';
import { type Address, LOOPBACK_V4, LOOPBACK_V6 } from '../base/address.ts';
import { countDrop, type DropCounts, type Verdict } from '../base/drop.ts';
import { type IpOutput, PROTOCOL_TCP, PROTOCOL_UDP } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, type InterfaceAddress, type NetInterface } from '../base/netif.ts';
import type { Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import type { Slab } from '../base/slab.ts';
import { tellAll } from '../base/tell.ts';
import type { Clock, Micros } from '../base/time.ts';
import { TimerQueue } from '../base/timers.ts';
import { Trace } from '../base/trace.ts';
import { Ipv4, type Ipv4Needs } from '../ipv4/ipv4.ts';
import { abort, destroy } from '../tcp/calls.ts';
import { flush as flushTcp } from '../tcp/output.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { allConnections, deliver as deliverTcp, type Tcp, type TcpConfig } from '../tcp/tcp.ts';
import { createTcpTransport } from '../tcp/transport.ts';
import { type MulticastService, Udp } from '../udp/udp.ts';
import { type Counters, gather } from './counters.ts';
import { Interface, type InterfaceHost, type InterfaceOptions } from './interface.ts';
import { DualIpOutput } from './ip-output.ts';
import { LOOPBACK_MTU, LoopbackPort } from './loopback.ts';
import { isUsable, RouteTable } from './route.ts';

export interface StackOptions {
  /** Chance. A host that faces a network must give a cryptographic source (RFC 4086). */
  random: Random;
  /** The time at the start, in microseconds of the caller's clock. */
  now: Micros;
  /** Notes for captures. */
  trace?: Trace;
  /** Passes packets for others on (RFC 1812). Default false: a host (RFC 1122 3.3.4.2). */
  forwarding?: boolean;
  tcp?: Partial<TcpConfig>;
}

/** What the application may want to hear of; called from `deliver`. */
export interface StackObserver {
  /** An address came into use, changed its state, or was removed (then it is not in `netif.addresses`). */
  address?(netif: Interface, address: InterfaceAddress): void;
  /** An interface went up or down: see `netif.up`. */
  link?(netif: Interface): void;
  /** Another station, `mac`, uses an address of ours (RFC 5227 2.4). */
  conflict?(netif: Interface, address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void;
}

/** A part of the stack with work in every round. All of them stand in one list. */
interface Duty {
  /** True when `flush` or `deliver` would do something now. */
  readonly pending: boolean;
  flush?(): void;
  deliver(): void;
}

/** IPv4, and IPv6 beside it: what a network layer is to the stack. */
export interface NetworkLayer extends Duty {
  input(from: NetInterface, packet: Packet): Verdict;
  addInterface(netif: NetInterface): void;
  removeInterface(netif: NetInterface): void;
  interfaceUp(netif: NetInterface): void;
  neighbourFailed(slab: Slab, offset: number, length: number): void;
}

/** Rounds, and frames in each, that one flush gives to connections with ourselves before the rest of the world has its turn. */
export const LOOPBACK_ROUNDS = 8;
export const LOOPBACK_BATCH = 64;
/** Events waiting for `deliver`: beyond it a flapping link or a flood of ARP is not told in every detail. */
export const MAX_EVENTS = 256;

type StackEvent =
  | { kind: 'address'; netif: Interface; address: InterfaceAddress }
  | { kind: 'link'; netif: Interface }
  | { kind: 'conflict'; netif: Interface; address: InterfaceAddress; mac: Mac; outcome: ConflictOutcome };

export class Stack implements Ipv4Needs, Clock {
  readonly trace: Trace;
  readonly random: Random;
  readonly timers = new TimerQueue();
  readonly drops: DropCounts = {};
  readonly routes: RouteTable;
  readonly ipv4: Ipv4;
  readonly ip: DualIpOutput;
  readonly tcp: Tcp;
  readonly udp: Udp;
  readonly loopback: Interface;
  /** May be switched while running. */
  forwarding: boolean;
  observer: StackObserver = {};
  readonly #interfaces: Interface[] = [];
  readonly #layers = new Map<number, NetworkLayer>();
  readonly #duties: Duty[];
  readonly #groups: Record<4 | 6, MulticastService | undefined> = { 4: undefined, 6: undefined };
  readonly #loopbackPort = new LoopbackPort();
  readonly #host: InterfaceHost;
  /** Addresses that have routes now. */
  readonly #connected = new Set<InterfaceAddress>();
  readonly #events: StackEvent[] = [];
  #now: Micros;
  #nextIndex = 1;

  constructor({ random, now, trace = new Trace(), forwarding = false, tcp }: StackOptions) {
    this.random = random;
    this.trace = trace;
    this.forwarding = forwarding;
    this.#now = now;
    this.#host = this.#makeHost();
    this.routes = new RouteTable(this.#interfaces);
    this.ipv4 = new Ipv4(this);
    this.ip = new DualIpOutput(this.ipv4);
    const { ip, timers } = this;
    const made = createTcpTransport({ ip, random, timers, trace, now, ...(tcp && { config: tcp }) });
    this.tcp = made.tcp;
    this.ipv4.register(PROTOCOL_TCP, made.transport);
    this.#groups[4] = this.ipv4.igmp;
    this.udp = new Udp({ output: ip, groups: this.#multicast(), random, trace, drops: this.drops });
    this.ipv4.register(PROTOCOL_UDP, this.udp);
    this.#layers.set(ETHERTYPE_IPV4, this.ipv4);
    this.#duties = [this.ipv4, new TcpDuty(this.tcp), this.udp];
    this.loopback = this.#add({ name: 'lo', port: this.#loopbackPort, mtu: LOOPBACK_MTU }, true);
    this.loopback.addAddress({ address: LOOPBACK_V4, prefixLength: 8 });
    this.#events.length = 0;
  }

  // ---- time

  /** The time of the round at hand. */
  get now(): Micros {
    return this.#now;
  }

  /**
   * Tells the time and fires nothing: for what comes before {@link advance} in a round. Frames that wait are received at the
   * time they are read, and an ACK among them still stops the timer that it came to stop. Time never runs backwards.
   */
  setTime(now: Micros): void {
    if (now <= this.#now) return;
    this.#now = now;
    this.tcp.now = now;
  }

  /** Tells the time and fires what is due. */
  advance(now: Micros): void {
    this.setTime(now);
    this.timers.advance(this.#now);
  }

  /** When {@link advance} has something to do, at the latest; NEVER when nothing is planned. */
  nextTimeout(): Micros {
    return this.timers.next();
  }

  // ---- interfaces

  /** All of them, the loopback first. */
  get interfaces(): readonly Interface[] {
    return this.#interfaces;
  }

  /** Adds an interface on a device. Throws RangeError for an impossible MTU or VLAN, NetError for an impossible address. */
  addInterface(options: InterfaceOptions): Interface {
    const netif = this.#add(options, false);
    for (const cidr of options.addresses ?? []) netif.addAddress(cidr);
    return netif;
  }

  /** Ends an interface and all that depends on it: its routes, addresses, groups, neighbours, and connections by it. */
  removeInterface(netif: Interface): void {
    const at = this.#interfaces.indexOf(netif);
    if (at < 0 || netif === this.loopback) throw new RangeError(`cannot remove interface ${netif.name}`);
    for (const tcb of this.#connections((t) => t.path.interface === netif || ownedBy(netif, t))) {
      destroy(tcb, 'ENETDOWN');
    }
    for (const layer of this.#layers.values()) layer.removeInterface(netif);
    for (const address of netif.addresses) this.#connected.delete(address);
    this.#interfaces.splice(at, 1);
    this.routes.removeInterface(netif);
    netif.close();
  }

  #add(options: InterfaceOptions, loopback: boolean): Interface {
    const netif = new Interface(this.#host, this.#nextIndex++, options, loopback);
    this.#interfaces.push(netif);
    for (const [etherType, layer] of this.#layers) this.#attach(netif, etherType, layer);
    this.routes.changed();
    return netif;
  }

  #attach(netif: Interface, etherType: number, layer: NetworkLayer): void {
    netif.ethernet.register(etherType, (packet) => layer.input(netif, packet));
    layer.addInterface(netif);
  }

  // ---- the round

  /** Takes a frame that `netif` received. `packet` may be reused afterwards, its memory too unless `packet.pinned`. */
  input(netif: Interface, packet: Packet): Verdict {
    const verdict = netif.input(packet);
    if (verdict !== undefined) {
      countDrop(this.drops, verdict);
      if (this.trace.on) this.trace.note(`dropped: ${verdict}`);
    }
    return verdict;
  }

  /** True when {@link flush} or {@link deliver} would do something at once. What waits for a full device does not count. */
  get pending(): boolean {
    if (this.#events.length > 0 || this.#loopbackPort.waiting > 0) return true;
    for (const duty of this.#duties) if (duty.pending) return true;
    for (const netif of this.#interfaces) if (netif.canFlush || netif.arp.eventful) return true;
    return false;
  }

  /** Emits: what waited for room, then what every connection has to say, then what we said to ourselves and its answers. */
  flush(): void {
    for (const netif of this.#interfaces) netif.flush();
    for (let round = 0; ; round++) {
      for (const duty of this.#duties) duty.flush?.();
      for (const netif of this.#interfaces) netif.drain();
      if (round === LOOPBACK_ROUNDS || this.#loopbackPort.waiting === 0) return;
      this.#loopbackPort.receive(this.#looped, LOOPBACK_BATCH);
      // The loopback has room again for what was refused.
      this.loopback.flush();
    }
  }

  readonly #looped = (packet: Packet): void => {
    this.input(this.loopback, packet);
  };

  /** Tells the application. Whatever it calls takes effect with the next flush. */
  deliver(): void {
    for (const duty of this.#duties) duty.deliver();
    for (const netif of this.#interfaces) netif.arp.deliver();
    if (this.#events.length > 0) tellAll(this.#events, this.#tell);
  }

  /** Everything that is counted, under MIB names, as a value that stays as it is. */
  counters(): Counters {
    return gather(this);
  }

  // ---- what interfaces report

  #makeHost(): InterfaceHost {
    return {
      clock: this,
      timers: this.timers,
      random: this.random,
      trace: this.trace,
      addressChanged: (netif, address) => this.#addressChanged(netif, address),
      addressLosing: (netif, address) => this.#addressLosing(netif, address),
      addressConflict: (netif, address, mac, outcome) => {
        // RFC 5227 2.4 (c): notifications should be controlled. Claims that we stand up to are told once per defence.
        if (outcome !== 'kept') this.#happened({ kind: 'conflict', netif, address, mac, outcome });
      },
      linkChanged: (netif) => {
        this.routes.changed();
        if (netif.up) for (const layer of this.#layers.values()) layer.interfaceUp(netif);
        this.#happened({ kind: 'link', netif });
      },
      unreachable: (_netif, _neighbour, packets) => {
        for (const { slab, length, etherType } of packets) {
          this.#layers.get(etherType)?.neighbourFailed(slab, 0, length);
        }
      },
    };
  }

  /** Routes follow addresses: the subnet is connected, and the address itself leads back to us. */
  #addressChanged(netif: Interface, address: InterfaceAddress): void {
    const inUse = isUsable(address) && netif.addresses.includes(address);
    if (inUse && !this.#connected.has(address)) {
      this.#connected.add(address);
      this.routes.connect(netif, address, this.loopback ?? netif);
    } else if (!inUse && this.#connected.delete(address)) {
      this.routes.disconnect(netif, address);
    }
    this.routes.changed();
    this.#happened({ kind: 'address', netif, address });
  }

  /** RFC 5227 2.4: before abandoning an address, a host SHOULD actively reset the connections that use it. */
  #addressLosing(netif: Interface, address: InterfaceAddress): void {
    const lost = this.#connections((t) => t.local.equals(address.address) && t.path.interface === netif);
    for (const tcb of lost) abort(tcb, 'ECONNABORTED');
    // Now: a moment later the address is not ours to send from.
    if (lost.length > 0) flushTcp(this.tcp, this.#now);
  }

  #connections(which: (tcb: Tcb) => boolean): Tcb[] {
    return [...allConnections(this.tcp)].filter(which);
  }

  #happened(event: StackEvent): void {
    if (this.#events.length < MAX_EVENTS) this.#events.push(event);
  }

  readonly #tell = (event: StackEvent): void => {
    const { observer } = this;
    if (event.kind === 'address') observer.address?.(event.netif, event.address);
    else if (event.kind === 'link') observer.link?.(event.netif);
    else observer.conflict?.(event.netif, event.address, event.mac, event.outcome);
  };

  // ---- network layers

  /** Puts IPv6 beside IPv4: on every interface there is and will be. `groups` is its MLD. Once, before the first round. */
  addIpv6(layer: NetworkLayer & IpOutput, groups: MulticastService): void {
    this.#layers.set(ETHERTYPE_IPV6, layer);
    this.#duties.unshift(layer);
    this.#groups[6] = groups;
    this.ip.setIpv6(layer);
    for (const netif of this.#interfaces) this.#attach(netif, ETHERTYPE_IPV6, layer);
    this.loopback.addAddress({ address: LOOPBACK_V6, prefixLength: 128 });
  }

  /** IGMP or MLD by the group's family. */
  #multicast(): MulticastService {
    return {
      multicastListen: (socket, index, group, mode, sources) => {
        const service = this.#groups[group.family];
        return service === undefined
          ? 'EAFNOSUPPORT'
          : service.multicastListen(socket, index, group, mode, sources);
      },
    };
  }

  /** Told by IGMP and MLD: opens and shuts the link's filter. */

  groupJoined(netif: NetInterface, group: Address): void {
    (netif as Interface).joinGroup(group);
  }

  groupLeft(netif: NetInterface, group: Address): void {
    (netif as Interface).leaveGroup(group);
  }
}

/** TCP's place in the round. */
class TcpDuty implements Duty {
  readonly #tcp: Tcp;
  /** What was still there after the last flush: it waits for a device, and flushing again would not help. */
  #stuck = 0;

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
  }

  get pending(): boolean {
    const { outgoing, resets, eventful, eventfulListeners } = this.#tcp;
    return (
      outgoing.length + resets.length > this.#stuck || eventful.length > 0 || eventfulListeners.length > 0
    );
  }

  flush(): void {
    const tcp = this.#tcp;
    flushTcp(tcp, tcp.now);
    this.#stuck = tcp.outgoing.length + tcp.resets.length;
  }

  deliver(): void {
    deliverTcp(this.#tcp);
  }
}

function ownedBy(netif: Interface, { local }: Tcb): boolean {
  return netif.addresses.some((a) => a.address.equals(local));
}
