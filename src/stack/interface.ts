// An interface: a link device with addresses, a neighbour cache and a transmit queue (RFC 1122 2, IF-MIB of RFC 2863).
//
//   down   send → neighbour cache → Ethernet header → ring ──flush──▶ device
//   up     device → input → Ethernet filter → by EtherType: ARP here, IP in the stack

import { Arp } from '../arp/arp.ts';
import type { ClaimOptions, ConflictOutcome } from '../arp/claim.ts';
import type { Address, Cidr } from '../base/address.ts';
import type { Verdict } from '../base/drop.ts';
import { BROADCAST_MAC, MAC_LENGTH, type Mac } from '../base/mac.ts';
import {
  ETHERTYPE_ARP,
  type InterfaceAddress,
  type LinkPort,
  type NetInterface,
  type SendResult,
} from '../base/netif.ts';
import { BROADCAST, type Frame, MULTICAST, type Packet, UNICAST } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import type { Clock } from '../base/time.ts';
import type { TimerQueue } from '../base/timers.ts';
import type { Trace } from '../base/trace.ts';
import { Ethernet, groupMac, type VlanOptions } from '../ether/ethernet.ts';
import { MAX_NEIGHBOURS, type Neighbour, NeighbourCache } from '../ether/neighbour.ts';
import { type PendingPacket, restore } from '../ether/pending.ts';
import { AddressBook, type Lifetimes } from './addresses.ts';
import { GroupFilter } from './group-filter.ts';
import { emptyCounters, type InterfaceCounters } from './interface-counters.ts';
import { TransmitRing } from './ring.ts';
import { isUsable } from './route.ts';

/** How a family finds neighbours and takes addresses on a link: ARP for IPv4, Neighbor Discovery for IPv6. */
export interface NeighbourProtocol {
  solicit(neighbour: Neighbour, unicast: boolean): void;
  /** Takes an address into use; sets its state and says `addressReady` when it may be used. */
  claim(address: InterfaceAddress, options: ClaimOptions): void;
  release(address: InterfaceAddress): void;
  close(): void;
}

export interface InterfaceOptions {
  name: string;
  port: LinkPort;
  /** Addresses to begin with. */
  addresses?: readonly Cidr[];
  /** Largest IP packet, in bytes; at most (and by default) what the port can. */
  mtu?: number;
  vlan?: VlanOptions;
  promiscuous?: boolean;
  /** Entries of the neighbour cache. */
  neighbours?: number;
}

export interface AddressOptions extends ClaimOptions, Lifetimes {}

/** What an interface tells the stack that owns it. All of it happens within input, timers or calls: take note only. */
export interface InterfaceHost {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly random: Random;
  readonly trace: Trace;
  /** An address came into use (its state is usable), changed its state, or is gone (it is not in `addresses` any more). */
  addressChanged(netif: Interface, address: InterfaceAddress): void;
  /** An address in use is about to be given up to another station: the last moment to send from it. */
  addressLosing(netif: Interface, address: InterfaceAddress): void;
  addressConflict(netif: Interface, address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void;
  /** Went up or down. */
  linkChanged(netif: Interface): void;
  /** Nobody answered for `neighbour`: these packets of ours are lost. */
  unreachable(netif: Interface, neighbour: Neighbour, packets: readonly PendingPacket[]): void;
}

export class Interface implements NetInterface {
  readonly index: number;
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly loopback: boolean;
  readonly port: LinkPort;
  readonly ethernet: Ethernet;
  readonly neighbours: NeighbourCache;
  readonly arp: Arp;
  readonly counters: InterfaceCounters = emptyCounters();
  readonly #host: InterfaceHost;
  readonly #protocols: Record<4 | 6, NeighbourProtocol | undefined> = { 4: undefined, 6: undefined };
  readonly #book: AddressBook;
  readonly #claims = new Map<InterfaceAddress, ClaimOptions>();
  readonly #ring = new TransmitRing();
  readonly #groups: GroupFilter;
  readonly #groupMac: Mac = new Uint8Array(MAC_LENGTH);
  /** Neighbours whose address is known and whose packets could not all be queued yet. */
  readonly #resolved = new Set<Neighbour>();
  /** The next hop of the last packet, by identity: paths keep theirs, so a flow looks nothing up. */
  #lastHop: Address | undefined;
  #lastNeighbour: Neighbour | undefined;
  #up = true;

  constructor(host: InterfaceHost, index: number, options: InterfaceOptions, loopback = false) {
    const { name, port, vlan, mtu = port.mtu } = options;
    if (!(mtu >= 68 && mtu <= port.mtu)) throw new RangeError(`MTU ${mtu} is not within 68 and ${port.mtu}`);
    this.#host = host;
    this.index = index;
    this.name = name;
    this.port = port;
    this.mac = port.mac;
    this.mtu = mtu;
    this.loopback = loopback;
    const { clock, timers, random, trace } = host;
    this.ethernet = new Ethernet({
      mac: port.mac,
      promiscuous: loopback || (options.promiscuous ?? false),
      ...(vlan === undefined ? {} : { vlan }),
    });
    this.#groups = new GroupFilter(this.ethernet);
    this.neighbours = new NeighbourCache(
      {
        clock,
        timers,
        random,
        solicit: (n, unicast) => this.#protocols[n.address.family]?.solicit(n, unicast),
        resolved: (n) => {
          this.#resolved.add(n);
          this.#sendResolved();
        },
        unreachable: (n, packets) => host.unreachable(this, n, packets),
      },
      options.neighbours ?? MAX_NEIGHBOURS,
    );
    this.#book = new AddressBook({
      clock,
      timers,
      deprecated: (a) => host.addressChanged(this, a),
      expired: (a) => this.removeAddress(a.address),
    });
    this.arp = new Arp({ link: this, clock, timers, random, trace });
    if (loopback) return;
    this.#protocols[4] = this.arp;
    this.ethernet.register(ETHERTYPE_ARP, (packet) => this.arp.input(packet));
  }

  /** Sets who finds neighbours and claims addresses for a family: Neighbor Discovery registers here. */
  setProtocol(family: 4 | 6, protocol: NeighbourProtocol): void {
    this.#protocols[family] = protocol;
  }

  // ---- up and down

  get up(): boolean {
    return this.#up;
  }

  /** Takes the interface up or down. Down, it forgets its neighbours and what waits; up, it claims its addresses anew. */
  setUp(up: boolean): void {
    if (up === this.#up) return;
    this.#up = up;
    if (up) {
      // RFC 5227 2.1: also when the link becomes active.
      for (const address of this.addresses) {
        const was = isUsable(address);
        this.#claim(address);
        // Being probed again: until that is over it is not ours to use.
        if (was && !isUsable(address)) this.#host.addressChanged(this, address);
      }
    } else {
      for (const address of this.addresses) this.#protocols[address.address.family]?.release(address);
      this.counters.ifOutDiscards += this.#ring.clear();
      this.neighbours.clear();
      this.#resolved.clear();
    }
    this.#host.linkChanged(this);
  }

  // ---- addresses

  get addresses(): readonly InterfaceAddress[] {
    return this.#book.list;
  }

  /**
   * Adds an address. Without `probe` it works at once; with it, it is tentative until nobody objected (RFC 5227 2.1).
   * Throws NetError EEXIST, EINVAL or ENOMEM; see {@link AddressBook.add}.
   */
  addAddress(cidr: Cidr, options: AddressOptions = {}): InterfaceAddress {
    const address = this.#book.add(cidr, this.index, options);
    this.#claims.set(address, options);
    if (this.#up) this.#claim(address);
    return address;
  }

  /** Removes an address at once. False when it is not ours. */
  removeAddress(address: Address): boolean {
    const found = this.#book.find(address);
    if (found === undefined) return false;
    this.#protocols[found.address.family]?.release(found);
    this.#claims.delete(found);
    this.#book.remove(found);
    this.#host.addressChanged(this, found);
    return true;
  }

  /** Renews the lifetimes of an address of ours; false when it is not. */
  setLifetimes(address: Address, lifetimes: Lifetimes): boolean {
    const found = this.#book.find(address);
    if (found === undefined) return false;
    this.#book.setLifetimes(found, lifetimes);
    this.#host.addressChanged(this, found);
    return true;
  }

  /** Told by {@link NeighbourProtocol}s. */
  addressReady(address: InterfaceAddress): void {
    this.#book.settle(address);
    this.#host.addressChanged(this, address);
  }

  addressLosing(address: InterfaceAddress): void {
    this.#host.addressLosing(this, address);
  }

  addressConflict(address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void {
    if (!isUsable(address)) this.#host.addressChanged(this, address);
    this.#host.addressConflict(this, address, mac, outcome);
  }

  #claim(address: InterfaceAddress): void {
    const protocol = this.#protocols[address.address.family];
    if (protocol !== undefined) {
      protocol.claim(address, this.#claims.get(address) ?? {});
      return;
    }
    address.state = 'preferred';
    this.addressReady(address);
  }

  // ---- multicast groups

  /**
   * Lets frames for `group` in; IGMP and MLD call it for what sockets want, and tell the routers. Counted: each join wants its
   * {@link leaveGroup}. Throws RangeError for an address that is no group.
   */
  joinGroup(group: Address): void {
    this.#groups.join(group);
  }

  leaveGroup(group: Address): void {
    this.#groups.leave(group);
  }

  get groups(): Address[] {
    return this.#groups.list();
  }

  // ---- up

  /** Takes a received frame. Changes state only: whatever it calls for is queued. */
  input(packet: Packet): Verdict {
    const { counters } = this;
    if (!this.#up) {
      counters.ifInDiscards++;
      return 'interface down';
    }
    counters.ifInOctets += packet.end - packet.start;
    packet.interfaceIndex = this.index;
    const verdict = this.ethernet.input(packet);
    // Handed up, whatever became of it there.
    if (packet.at > packet.start) {
      if (packet.linkCast === UNICAST) counters.ifInUcastPkts++;
      else if (packet.linkCast === MULTICAST) counters.ifInMulticastPkts++;
      else counters.ifInBroadcastPkts++;
    } else if (verdict === 'unknown ethertype') counters.ifInUnknownProtos++;
    else if (verdict === 'unknown vlan') counters.ifInDiscards++;
    else if (verdict !== 'not for us') counters.ifInErrors++;
    return verdict;
  }

  // ---- down

  /** True while a frame fits. A full ring is offered to the device first, so that one burst may be longer than the ring. */
  hasRoom(): boolean {
    if (!this.#ring.isFull) return true;
    this.#ring.drain(this.port);
    return !this.#ring.isFull;
  }

  frame(): Frame {
    return this.#ring.frame();
  }

  send(frame: Frame, nextHop: Address, etherType: number): SendResult {
    if (!this.#up) return this.#refuse(frame, 'down');
    if (frame.gsoSize === 0 && frame.length > this.mtu) return this.#refuse(frame, 'too big');
    const neighbour = this.#neighbour(nextHop);
    if (neighbour !== undefined && this.neighbours.use(neighbour)) {
      this.counters.ifOutUcastPkts++;
      this.#queue(frame, neighbour.mac, etherType);
      return 'sent';
    }
    if (nextHop.isMulticast) {
      this.sendTo(frame, groupMac(nextHop.family, nextHop.w3, this.#groupMac), etherType, MULTICAST);
    } else if (this.loopback) {
      this.sendTo(frame, this.mac, etherType, UNICAST);
    } else if (this.#isBroadcast(nextHop)) {
      this.sendTo(frame, BROADCAST_MAC, etherType, BROADCAST);
    } else {
      return this.#wait(frame, nextHop, etherType);
    }
    return 'sent';
  }

  /** Sends a packet to a link address. */
  sendTo(
    frame: Frame,
    destination: Mac,
    etherType: number,
    cast = destination === BROADCAST_MAC ? BROADCAST : UNICAST,
  ): void {
    if (cast === UNICAST) this.counters.ifOutUcastPkts++;
    else if (cast === MULTICAST) this.counters.ifOutMulticastPkts++;
    else this.counters.ifOutBroadcastPkts++;
    this.#queue(frame, destination, etherType);
  }

  /** Advice from above: the peer behind `nextHop` acknowledges what we send (RFC 4861 7.3.1). Cheap: call it per ACK. */
  confirm(nextHop: Address): void {
    const neighbour = this.#neighbour(nextHop);
    if (neighbour !== undefined) this.neighbours.confirm(neighbour);
  }

  /** A new round: hands what waits to the device, which may have been full before. Returns how many frames went. */
  flush(): number {
    this.#ring.unblock();
    return this.drain();
  }

  /** Hands what waits to the device, unless it was found full in this round. Returns how many frames went. */
  drain(): number {
    let sent = this.#ring.drain(this.port);
    while (this.#resolved.size > 0 && !this.#ring.isFull) {
      this.#sendResolved();
      const more = this.#ring.drain(this.port);
      sent += more;
      if (more === 0) break;
    }
    return sent;
  }

  /** Frames that wait for the device. */
  get waiting(): number {
    return this.#ring.waiting;
  }

  /** True when frames wait and the device, when last asked, had room: a flush would do something. */
  get canFlush(): boolean {
    return (this.#ring.waiting > 0 || this.#resolved.size > 0) && !this.#ring.blocked;
  }

  /** Ends everything: timers, claims, neighbours, frames. The stack has taken it out of its tables. */
  close(): void {
    this.#up = false;
    this.#ring.clear();
    this.#resolved.clear();
    this.neighbours.clear(true);
    for (const protocol of Object.values(this.#protocols)) protocol?.close();
    for (const address of [...this.addresses]) this.#book.remove(address);
  }

  #neighbour(nextHop: Address): Neighbour | undefined {
    if (nextHop === this.#lastHop && this.#lastNeighbour?.live === true) return this.#lastNeighbour;
    const neighbour = this.neighbours.lookup(nextHop);
    this.#lastHop = nextHop;
    this.#lastNeighbour = neighbour;
    return neighbour;
  }

  #isBroadcast(nextHop: Address): boolean {
    if (nextHop.isLimitedBroadcast) return true;
    for (const { broadcast } of this.addresses) if (broadcast?.equals(nextHop) === true) return true;
    return false;
  }

  #queue(frame: Frame, destination: Mac, etherType: number): void {
    this.ethernet.output(frame, destination, etherType);
    this.#takeNote(frame);
    this.counters.ifOutOctets += frame.length;
    this.#ring.commit();
  }

  #takeNote(frame: Frame): void {
    const { trace } = this.#host;
    if (trace.on) frame.note ??= trace.take();
  }

  #wait(frame: Frame, nextHop: Address, etherType: number): SendResult {
    // Its note belongs to this frame, not to the request that will go out before it.
    this.#takeNote(frame);
    if (this.neighbours.enqueue(nextHop, frame, etherType)) return 'queued';
    this.counters.ifOutDiscards++;
    return 'unreachable';
  }

  #refuse(frame: Frame, result: SendResult): SendResult {
    this.counters.ifOutDiscards++;
    frame.reset();
    return result;
  }

  /** Sends what waited for link addresses that are known now, as far as the ring has room. */
  #sendResolved(): void {
    for (const neighbour of this.#resolved) {
      while (this.hasRoom()) {
        const packet = this.neighbours.takePending(neighbour);
        if (packet === undefined) {
          this.#resolved.delete(neighbour);
          break;
        }
        const frame = this.frame();
        restore(packet, frame);
        this.counters.ifOutUcastPkts++;
        this.#queue(frame, neighbour.mac, packet.etherType);
      }
    }
  }
}
