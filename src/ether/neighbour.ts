// The neighbour cache: IP address → link address, for ARP and Neighbor Discovery alike.
//
// One machine serves both (RFC 4861 7.2, 7.3 and Appendix C). RFC 1122 2.3.2.1 leaves the flushing of old ARP entries to
// the implementer and names unicast polls and advice from above as ways; RFC 4861 made those two into this machine:
//
// ```
//               packet to send                answer                  ReachableTime passed
//   (nothing) ────────────────▶ INCOMPLETE ──────────▶ REACHABLE ──────────────────────────▶ STALE
//        ▲                          │                   ▲     ▲                                │ packet sent
//        │ hold-off over            │ 3 unanswered      │     │ advice: TCP makes progress     ▼
//      FAILED ◀─────────────────────┘                   │     └───────────────────────────── DELAY
//        (nothing) ◀── 3 unanswered ── PROBE ───────────┘ answer                               │ 5 s
//                                       ▲──────────────────────────────────────────────────────┘
// ```

import type { Address } from '../base/address.ts';
import { MAC_LENGTH, type Mac, macEquals } from '../base/mac.ts';
import type { Frame } from '../base/packet.ts';
import { type Random, unit } from '../base/random.ts';
import { type Clock, MILLISECOND, MINUTE, type Micros, NEVER, SECOND } from '../base/time.ts';
import { Timer, type TimerQueue } from '../base/timers.ts';
import {
  flatten,
  PENDING_BYTES,
  PENDING_PACKETS,
  PENDING_TOTAL_BYTES,
  type PendingPacket,
} from './pending.ts';

/** RFC 4861 7.3.2, and FAILED: asked for in vain, and not asked for again until the hold-off is over. */
export type NeighbourState = 'INCOMPLETE' | 'REACHABLE' | 'STALE' | 'DELAY' | 'PROBE' | 'FAILED';

/** RFC 4861 10. */
export const MAX_MULTICAST_SOLICIT = 3;
export const MAX_UNICAST_SOLICIT = 3;
export const REACHABLE_TIME: Micros = 30 * SECOND;
/** Also RFC 1122 2.3.2.1: at most one ARP request per second and destination. */
export const RETRANS_TIMER: Micros = SECOND;
export const DELAY_FIRST_PROBE_TIME: Micros = 5 * SECOND;
export const MIN_RANDOM_FACTOR = 0.5;
export const MAX_RANDOM_FACTOR = 1.5;

/** Entries of one interface, as many as Linux keeps (gc_thresh3). Who floods may take those, and no more memory. */
export const MAX_NEIGHBOURS = 1024;
/** How long packets to a neighbour that did not answer fail at once: a burst of them asks only once. */
export const FAILED_HOLD: Micros = SECOND;
/** A neighbour sent to within this time is in use: it is not evicted in favour of a new one (RFC 6583 7.1). */
export const IN_USE: Micros = MINUTE;
/** Unused entries go after this: a MAC address nobody confirmed for so long is worth nothing. */
export const STALE_TIME: Micros = 20 * MINUTE;
/** A confirmed link address stands at least so long against other claims, so that two claimants cannot make it flap. */
export const LOCK_TIME: Micros = SECOND;
/** Advice more often than this changes nothing worth the work. */
const CONFIRM_GRAIN: Micros = 100 * MILLISECOND;

export interface Neighbour {
  readonly address: Address;
  /** Zeros while INCOMPLETE or FAILED. */
  readonly mac: Mac;
  state: NeighbourState;
  /** Set by the user: never expires, never changes. */
  readonly isStatic: boolean;
  /** RFC 4861's IsRouter. */
  isRouter: boolean;
  /** False once it left the cache: who kept a reference looks it up again. */
  live: boolean;
  /** When a packet was last sent to it; -1 before the first. */
  lastUsed: Micros;
  /** When its link address was last confirmed or changed. */
  confirmedAt: Micros;
  /** Requests sent since the machine entered INCOMPLETE or PROBE. */
  solicits: number;
  /** Packets waiting for the link address, oldest first. */
  readonly pending: PendingPacket[];
  pendingBytes: number;
  readonly timer: Timer;
  /** Place among all entries, and the next entry with the same hash. */
  slot: number;
  nextInBucket: Neighbour | undefined;
}

/** What the cache asks of the interface that owns it. */
export interface NeighbourNeeds {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly random: Random;
  /** Sends a request for the link address: to all, or (`unicast`) to the address known so far. */
  solicit(neighbour: Neighbour, unicast: boolean): void;
  /** The address is known: take the pending packets with {@link NeighbourCache.takePending} as the link has room. */
  resolved(neighbour: Neighbour): void;
  /** Nobody answered. The packets that waited, if any, are lost and their senders want to know. */
  unreachable(neighbour: Neighbour, packets: readonly PendingPacket[]): void;
}

export interface NeighbourTimes {
  /** RFC 4861 6.3.2: ReachableTime is drawn around it. */
  baseReachableTime: Micros;
  retransTimer: Micros;
}

/** RFC 4861 4.4: what an answer says beside the address. */
export interface Advertised {
  solicited: boolean;
  override: boolean;
  router?: boolean;
}

export class NeighbourCache {
  /** Times per family: Router Advertisements change those of IPv6 (RFC 4861 6.3.4). */
  readonly times: Record<4 | 6, NeighbourTimes> = {
    4: { baseReachableTime: REACHABLE_TIME, retransTimer: RETRANS_TIMER },
    6: { baseReachableTime: REACHABLE_TIME, retransTimer: RETRANS_TIMER },
  };
  /** Packets thrown out of a queue, or never let in. */
  discards = 0;
  /** Entries thrown out to make room, and entries refused because all were in use. */
  evictions = 0;
  refusals = 0;
  readonly #needs: NeighbourNeeds;
  readonly #limit: number;
  readonly #seed: number;
  readonly #buckets = new Map<number, Neighbour>();
  readonly #entries: Neighbour[] = [];
  /** Where the search for a victim goes on: each entry gets one round before it is looked at again. */
  #hand = 0;
  #pendingBytes = 0;

  constructor(needs: NeighbourNeeds, limit = MAX_NEIGHBOURS) {
    this.#needs = needs;
    this.#limit = limit;
    this.#seed = needs.random.u32() | 0;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** All entries, in no order. */
  get entries(): readonly Neighbour[] {
    return this.#entries;
  }

  /** The entry of `address`, or undefined. Allocates nothing. */
  lookup(address: Address): Neighbour | undefined {
    let n = this.#buckets.get(this.#hash(address));
    while (n !== undefined && !n.address.equals(address)) n = n.nextInBucket;
    return n;
  }

  /**
   * A packet is about to be sent to `neighbour` (RFC 4861 7.3.3). True when its link address may be used at once; else give
   * the frame to {@link enqueue}.
   */
  use(neighbour: Neighbour): boolean {
    neighbour.lastUsed = this.#needs.clock.now;
    switch (neighbour.state) {
      case 'STALE':
        neighbour.state = 'DELAY';
        this.#arm(neighbour, DELAY_FIRST_PROBE_TIME);
        break;
      case 'INCOMPLETE':
      case 'FAILED':
        return false;
    }
    // Packets that waited go first.
    return neighbour.pending.length === 0;
  }

  /**
   * Keeps a copy of the packet in `frame` until `address` is resolved, asking for it if nobody has yet, and resets the
   * frame. False when it is lost: the neighbour failed lately, or the cache is full of neighbours in use.
   */
  enqueue(address: Address, frame: Frame, etherType: number): boolean {
    const known = this.lookup(address);
    const neighbour = known ?? this.#create(address, 'INCOMPLETE', false);
    if (neighbour === undefined || neighbour.state === 'FAILED') {
      frame.reset();
      return false;
    }
    neighbour.lastUsed = this.#needs.clock.now;
    const packet = flatten(frame, etherType);
    frame.reset();
    this.#keep(neighbour, packet);
    if (known === undefined) this.#solicit(neighbour, false);
    return true;
  }

  /** Asks for `address` without a packet that waits for it. */
  resolve(address: Address): Neighbour | undefined {
    const known = this.lookup(address);
    if (known !== undefined) return known;
    const neighbour = this.#create(address, 'INCOMPLETE', false);
    if (neighbour !== undefined) this.#solicit(neighbour, false);
    return neighbour;
  }

  /** The oldest packet that waited for `neighbour`, which is resolved; undefined when there is none left. */
  takePending(neighbour: Neighbour): PendingPacket | undefined {
    const packet = neighbour.pending.shift();
    if (packet !== undefined) this.#account(neighbour, -packet.length);
    return packet;
  }

  /**
   * The neighbour spoke of itself without being asked: an ARP request (RFC 826), or NS, RS, RA, Redirect (RFC 4861 7.2.3,
   * Appendix C). Its address is taken as STALE: that it speaks does not prove that it hears us. Without `create` only an
   * existing entry is updated. True when the link address is new.
   */
  learn(address: Address, mac: Mac, create: boolean, at = 0): boolean {
    const known = this.lookup(address);
    const neighbour = known ?? (create ? this.#create(address, 'STALE', false) : undefined);
    if (neighbour === undefined || neighbour.isStatic) return false;
    const same = known !== undefined && hasAddress(known) && macEquals(known.mac, 0, mac, at);
    if (same) return false;
    if (known !== undefined && hasAddress(known) && this.#isLocked(known)) return false;
    this.#record(neighbour, mac, at);
    this.#becomeStale(neighbour);
    return true;
  }

  /**
   * An answer about `address` (an ARP reply, or a Neighbor Advertisement: RFC 4861 7.2.5). Never makes an entry: who was not
   * asked is not believed (hostile 5). `mac` undefined when the answer carried none. True when the link address changed.
   */
  advertise(
    address: Address,
    mac: Mac | undefined,
    { solicited, override, router }: Advertised,
    at = 0,
  ): boolean {
    const neighbour = this.lookup(address);
    if (neighbour === undefined || neighbour.isStatic) return false;
    if (!hasAddress(neighbour)) {
      // FAILED: a late answer is an answer.
      if (mac === undefined) return false;
      if (router !== undefined) neighbour.isRouter = router;
      this.#record(neighbour, mac, at);
      if (solicited) this.#becomeReachable(neighbour);
      else this.#becomeStale(neighbour);
      return true;
    }
    const differs = mac !== undefined && !macEquals(neighbour.mac, 0, mac, at);
    if (differs && !override) {
      // 7.2.5 I: somebody else claims the address. Keep ours, but make sure of it when it is next used.
      if (neighbour.state === 'REACHABLE') this.#becomeStale(neighbour);
      return false;
    }
    // 7.2.5 II.
    if (router !== undefined) neighbour.isRouter = router;
    if (differs && mac !== undefined) this.#record(neighbour, mac, at);
    if (solicited) this.#becomeReachable(neighbour);
    else if (differs) this.#becomeStale(neighbour);
    return differs;
  }

  /** Advice from above (RFC 4861 7.3.1): the peer acknowledged new data, so the neighbour forwards what we send. */
  confirm(neighbour: Neighbour): void {
    if (!hasAddress(neighbour) || neighbour.isStatic) return;
    if (neighbour.state === 'REACHABLE' && this.#needs.clock.now - neighbour.confirmedAt < CONFIRM_GRAIN)
      return;
    this.#becomeReachable(neighbour);
  }

  /** Pins `address` to `mac` until {@link remove}. Throws RangeError when the cache is full of neighbours in use. */
  addStatic(address: Address, mac: Mac): Neighbour {
    const old = this.lookup(address);
    const pending = old === undefined ? [] : old.pending.splice(0);
    if (old !== undefined) this.#delete(old);
    const neighbour = this.#create(address, 'REACHABLE', true);
    if (neighbour === undefined) throw new RangeError('the neighbour cache is full');
    this.#record(neighbour, mac, 0);
    for (const packet of pending) this.#keep(neighbour, packet);
    if (pending.length > 0) this.#needs.resolved(neighbour);
    return neighbour;
  }

  /** Forgets `address`; packets that waited for it are discarded. False when it was not known. */
  remove(address: Address): boolean {
    const neighbour = this.lookup(address);
    if (neighbour === undefined) return false;
    this.#delete(neighbour);
    return true;
  }

  /** Forgets everything learned and all packets, for a link that went down or changed; with `all`, the static entries too. */
  clear(all = false): void {
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const neighbour = this.#entries[i]!;
      if (all || !neighbour.isStatic) this.#delete(neighbour);
      else this.#discardPending(neighbour);
    }
  }

  // ---- the machine

  /** The entry's one timer went off; what that means depends on its state. */
  #expire(neighbour: Neighbour): void {
    switch (neighbour.state) {
      case 'INCOMPLETE':
        if (neighbour.solicits < MAX_MULTICAST_SOLICIT) this.#solicit(neighbour, false);
        else this.#fail(neighbour);
        break;
      case 'REACHABLE':
        this.#becomeStale(neighbour);
        break;
      case 'DELAY':
        neighbour.state = 'PROBE';
        neighbour.solicits = 0;
        this.#solicit(neighbour, true);
        break;
      case 'PROBE':
        if (neighbour.solicits < MAX_UNICAST_SOLICIT) this.#solicit(neighbour, true);
        // 7.3.3: the next packet asks everybody again.
        else this.#delete(neighbour);
        break;
      case 'STALE':
      case 'FAILED':
        this.#delete(neighbour);
        break;
    }
  }

  #solicit(neighbour: Neighbour, unicast: boolean): void {
    neighbour.solicits++;
    this.#arm(neighbour, this.times[neighbour.address.family].retransTimer);
    this.#needs.solicit(neighbour, unicast);
  }

  #fail(neighbour: Neighbour): void {
    const lost = neighbour.pending.splice(0);
    this.#account(neighbour, -neighbour.pendingBytes);
    neighbour.state = 'FAILED';
    this.#arm(neighbour, FAILED_HOLD);
    this.#needs.unreachable(neighbour, lost);
  }

  #becomeReachable(neighbour: Neighbour): void {
    const { now } = this.#needs.clock;
    const { baseReachableTime } = this.times[neighbour.address.family];
    // 6.3.2: uniformly distributed around the base, so that a link's hosts do not probe in step.
    const factor = MIN_RANDOM_FACTOR + unit(this.#needs.random) * (MAX_RANDOM_FACTOR - MIN_RANDOM_FACTOR);
    neighbour.state = 'REACHABLE';
    neighbour.confirmedAt = now;
    neighbour.solicits = 0;
    this.#arm(neighbour, Math.round(baseReachableTime * factor));
    if (neighbour.pending.length > 0) this.#needs.resolved(neighbour);
  }

  #becomeStale(neighbour: Neighbour): void {
    neighbour.state = 'STALE';
    neighbour.solicits = 0;
    this.#arm(neighbour, STALE_TIME);
    if (neighbour.pending.length > 0) {
      // The packets that waited are packets sent: 7.3.3 goes on to DELAY.
      this.use(neighbour);
      this.#needs.resolved(neighbour);
    }
  }

  #record(neighbour: Neighbour, mac: Mac, at: number): void {
    for (let i = 0; i < MAC_LENGTH; i++) neighbour.mac[i] = mac[at + i]!;
    neighbour.confirmedAt = this.#needs.clock.now;
  }

  #isLocked({ confirmedAt }: Neighbour): boolean {
    return this.#needs.clock.now - confirmedAt < LOCK_TIME;
  }

  #arm(neighbour: Neighbour, after: Micros): void {
    this.#needs.timers.set(neighbour.timer, neighbour.isStatic ? NEVER : this.#needs.clock.now + after);
  }

  // ---- packets that wait

  /** RFC 4861 7.2.2: when the queue is full, the new packet takes the place of the oldest. */
  #keep(neighbour: Neighbour, packet: PendingPacket): void {
    const { pending } = neighbour;
    while (
      pending.length > 0 &&
      (pending.length >= PENDING_PACKETS || neighbour.pendingBytes + packet.length > PENDING_BYTES)
    ) {
      this.#account(neighbour, -pending.shift()!.length);
      this.discards++;
    }
    if (this.#pendingBytes + packet.length > PENDING_TOTAL_BYTES) {
      this.discards++;
      return;
    }
    pending.push(packet);
    this.#account(neighbour, packet.length);
  }

  #discardPending(neighbour: Neighbour): void {
    this.discards += neighbour.pending.length;
    this.#account(neighbour, -neighbour.pendingBytes);
    neighbour.pending.length = 0;
  }

  #account(neighbour: Neighbour, bytes: number): void {
    neighbour.pendingBytes += bytes;
    this.#pendingBytes += bytes;
  }

  // ---- the table

  #hash(address: Address): number {
    let h = this.#seed ^ address.w3;
    if (address.family === 6) {
      h = Math.imul(h ^ address.w2, 0x9e3779b1);
      h = Math.imul(h ^ (h >>> 15) ^ address.w1, 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13) ^ address.w0, 0xc2b2ae35);
      h ^= h >>> 16;
    }
    return h;
  }

  #create(address: Address, state: NeighbourState, isStatic: boolean): Neighbour | undefined {
    const full = this.#entries.length >= this.#limit;
    if (full && !this.#evict()) {
      this.refusals++;
      return undefined;
    }
    const hash = this.#hash(address);
    const neighbour: Neighbour = {
      address,
      mac: new Uint8Array(MAC_LENGTH),
      state,
      isStatic,
      isRouter: false,
      live: true,
      lastUsed: -1,
      confirmedAt: 0,
      solicits: 0,
      pending: [],
      pendingBytes: 0,
      timer: new Timer(() => this.#expire(neighbour)),
      slot: this.#entries.length,
      nextInBucket: this.#buckets.get(hash),
    };
    this.#entries.push(neighbour);
    this.#buckets.set(hash, neighbour);
    if (full) this.#passHand(neighbour);
    return neighbour;
  }

  /** Throws out one entry that nobody uses, going round from where the last search stopped. */
  #evict(): boolean {
    const entries = this.#entries;
    for (let looked = 0; looked < entries.length; looked++) {
      if (this.#hand >= entries.length) this.#hand = 0;
      const neighbour = entries[this.#hand]!;
      if (this.#isEvictable(neighbour)) {
        this.#delete(neighbour);
        this.evictions++;
        return true;
      }
      this.#hand++;
    }
    return false;
  }

  /** Puts a newcomer where the hand stands and moves the hand on: it gets a full round before it may be thrown out. */
  #passHand(neighbour: Neighbour): void {
    const there = this.#entries[this.#hand]!;
    this.#entries[neighbour.slot] = there;
    there.slot = neighbour.slot;
    this.#entries[this.#hand] = neighbour;
    neighbour.slot = this.#hand;
    this.#hand++;
  }

  /** Never what is in use: reachable, being probed, or sent to within the last minute. */
  #isEvictable({ state, isStatic, lastUsed }: Neighbour): boolean {
    if (isStatic) return false;
    if (state === 'FAILED' || state === 'INCOMPLETE') return true;
    return state === 'STALE' && (lastUsed < 0 || this.#needs.clock.now - lastUsed > IN_USE);
  }

  #delete(neighbour: Neighbour): void {
    this.#discardPending(neighbour);
    neighbour.live = false;
    this.#needs.timers.remove(neighbour.timer);

    const hash = this.#hash(neighbour.address);
    let at = this.#buckets.get(hash);
    if (at === neighbour) {
      if (neighbour.nextInBucket === undefined) this.#buckets.delete(hash);
      else this.#buckets.set(hash, neighbour.nextInBucket);
    } else {
      while (at !== undefined && at.nextInBucket !== neighbour) at = at.nextInBucket;
      if (at !== undefined) at.nextInBucket = neighbour.nextInBucket;
    }
    const last = this.#entries.pop()!;
    if (last !== neighbour) {
      this.#entries[neighbour.slot] = last;
      last.slot = neighbour.slot;
    }
  }
}

/** True when there is a link address to send to. */
export function hasAddress({ state }: Neighbour): boolean {
  return state !== 'INCOMPLETE' && state !== 'FAILED';
}
