// The Address Resolution Protocol on one interface: answers, asks, and learns with care (RFC 826, RFC 1122 2.3.2).
//
// Whom to believe: who asks us tells us who he is (RFC 826); who answers is believed if we asked; everybody else may only
// correct an entry that exists. Nobody may tell us who we are (RFC 5227; claim.ts).

import { type Address, v4 } from '../base/address.ts';
import type { Verdict } from '../base/drop.ts';
import { BROADCAST_MAC, formatMac, isGroupMac, MAC_LENGTH, type Mac, macEquals } from '../base/mac.ts';
import { ETHERTYPE_ARP, type InterfaceAddress } from '../base/netif.ts';
import type { Frame, Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import { tellAll } from '../base/tell.ts';
import type { Clock, Micros } from '../base/time.ts';
import type { TimerQueue } from '../base/timers.ts';
import type { Trace } from '../base/trace.ts';
import type { Neighbour, NeighbourCache } from '../ether/neighbour.ts';
import { type ClaimOptions, Claims, type ConflictOutcome } from './claim.ts';
import * as header from './header.ts';

/** What ARP asks of the interface it serves. */
export interface ArpLink {
  readonly mac: Mac;
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbours: NeighbourCache;
  hasRoom(): boolean;
  frame(): Frame;
  /** Pushes the link header and queues the frame. */
  sendTo(frame: Frame, destination: Mac, etherType: number): void;
  /** An address has passed its probes, or was taken without: it may be used. */
  addressReady(address: InterfaceAddress): void;
  /** An address in use is about to be given up. */
  addressLosing(address: InterfaceAddress): void;
  /** Another station uses an address of ours. For `refused` and `lost` its state is now `duplicate`. */
  addressConflict(address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void;
}

export interface ArpNeeds {
  readonly link: ArpLink;
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly random: Random;
  readonly trace: Trace;
}

/** An answer to {@link Arp.ask}. */
export interface ArpReply {
  readonly address: Address;
  readonly mac: Mac;
  /** When it came. Several stations may answer: that is what one asks for. */
  readonly at: Micros;
}

/** A question that stays open until it is closed: for `arping`. */
export interface ArpQuestion {
  readonly target: Address;
  /** Asks (again). False when the transmit queue is full. */
  send(): boolean;
  close(): void;
}

interface OpenQuestion extends ArpQuestion {
  readonly reply: (reply: ArpReply) => void;
}

/** An answer on its way to who asked. */
interface Answer {
  readonly question: OpenQuestion;
  readonly reply: ArpReply;
}

export interface ArpCounters {
  arpInRequests: number;
  arpInReplies: number;
  arpInErrors: number;
  arpInConflicts: number;
  arpOutRequests: number;
  arpOutReplies: number;
  arpOutProbes: number;
  arpOutAnnouncements: number;
  /** Packets not sent because the transmit queue was full. */
  arpOutDiscards: number;
}

/** Answers waiting for {@link Arp.deliver}: beyond it a flood of them is dropped. */
export const MAX_UNDELIVERED = 64;
/** Sender addresses that no host may have: 0/8 (but 0.0.0.0, a probe), 127/8, 224/4 and above (RFC 1122 3.2.1.3). */
const isImpossible = (word: number): boolean =>
  (word >>> 24 === 0 && word !== 0) || word >>> 24 === 127 || word >>> 28 >= 0xe;
const NO_MAC: Mac = new Uint8Array(MAC_LENGTH);

export class Arp {
  readonly counters: ArpCounters = {
    arpInRequests: 0,
    arpInReplies: 0,
    arpInErrors: 0,
    arpInConflicts: 0,
    arpOutRequests: 0,
    arpOutReplies: 0,
    arpOutProbes: 0,
    arpOutAnnouncements: 0,
    arpOutDiscards: 0,
  };
  readonly #needs: ArpNeeds;
  readonly #link: ArpLink;
  readonly #claims: Claims;
  readonly #questions = new Set<OpenQuestion>();
  readonly #undelivered: Answer[] = [];

  constructor(needs: ArpNeeds) {
    this.#needs = needs;
    this.#link = needs.link;
    const { clock, timers, random } = needs;
    this.#claims = new Claims({
      clock,
      timers,
      random,
      probe: ({ address }) => {
        if (this.#send(header.REQUEST, 0, NO_MAC, address.w3, BROADCAST_MAC)) this.counters.arpOutProbes++;
      },
      announce: ({ address }) => {
        if (this.#send(header.REQUEST, address.w3, NO_MAC, address.w3, BROADCAST_MAC)) {
          this.counters.arpOutAnnouncements++;
        }
      },
      ready: (address) => this.#link.addressReady(address),
      losing: (address) => this.#link.addressLosing(address),
      conflict: (address, mac, outcome) => this.#conflict(address, mac, outcome),
    });
  }

  // ---- our own addresses

  /** Takes an IPv4 address into use, as `options` say (RFC 5227). Sets its state. */
  claim(address: InterfaceAddress, options?: ClaimOptions): void {
    this.#claims.start(address, options);
  }

  /** The address is removed. */
  release(address: InterfaceAddress): void {
    this.#claims.stop(address);
  }

  /** Ends everything: timers, claims, questions. */
  close(): void {
    this.#claims.stopAll();
    this.#questions.clear();
  }

  // ---- asking

  /** Asks for the link address of `neighbour`: of all, or (RFC 1122 2.3.2.1 (2)) of the station last known to have it. */
  solicit({ address, mac }: Neighbour, unicast: boolean): void {
    this.#request(address, unicast ? mac : BROADCAST_MAC);
  }

  /**
   * Opens a question for `target`; `reply` is called from {@link deliver} for each answer, until the question is closed.
   * Nothing is learned from the answers.
   */
  ask(target: Address, reply: (reply: ArpReply) => void): ArpQuestion {
    const question: OpenQuestion = {
      target,
      reply,
      send: () => this.#request(target, BROADCAST_MAC),
      close: () => this.#questions.delete(question),
    };
    this.#questions.add(question);
    return question;
  }

  /** True while {@link deliver} has something to do. */
  get eventful(): boolean {
    return this.#undelivered.length > 0;
  }

  /** Hands answers to those who asked. */
  deliver(): void {
    if (this.#undelivered.length > 0) tellAll(this.#undelivered, this.#tell);
  }

  readonly #tell = ({ question, reply }: Answer): void => {
    if (this.#questions.has(question)) question.reply(reply);
  };

  // ---- packet reception

  /** Reads an ARP packet at `packet.at` (RFC 826 "Packet Reception", with RFC 5227's test before it). */
  input(packet: Packet): Verdict {
    const { bytes, view, at } = packet;
    const bad = header.check(view, at, packet.end) ?? this.#checkSender(bytes, view, at);
    if (bad !== undefined) {
      this.counters.arpInErrors++;
      return bad;
    }
    const isRequest = header.op(view, at) === header.REQUEST;
    if (isRequest) this.counters.arpInRequests++;
    else this.counters.arpInReplies++;

    // RFC 5227 2.1.1, 2.4 NOTE: a hub may echo our own packets; they are no conflict.
    if (macEquals(bytes, at + header.SHA, this.#link.mac, 0)) return 'not for us';
    const contested = this.#contested(isRequest, header.spa(view, at), header.tpa(view, at));
    if (contested !== undefined) {
      this.counters.arpInConflicts++;
      this.#claims.conflict(contested, bytes.slice(at + header.SHA, at + header.SHA + MAC_LENGTH));
      // Never learned (hostile 4).
      return 'arp conflict';
    }
    return isRequest ? this.#requested(bytes, view, at) : this.#replied(bytes, view, at);
  }

  /** RFC 1812 3.3.2: no belief in a station address that is a group's; nor in a host that cannot be. */
  #checkSender(bytes: Uint8Array, view: DataView, at: number): Verdict {
    if (isGroupMac(bytes, at + header.SHA)) return 'bad arp';
    const word = header.spa(view, at);
    if (isImpossible(word)) return 'bad arp';
    for (const { broadcast } of this.#link.addresses) if (broadcast?.w3 === word) return 'bad arp';
    return undefined;
  }

  /** The address of ours that the sender claims (2.4), or probes for while we do (2.1.1). */
  #contested(isRequest: boolean, spa: number, tpa: number): InterfaceAddress | undefined {
    if (spa !== 0) return this.#own(spa);
    const probed = isRequest ? this.#own(tpa) : undefined;
    return probed?.state === 'tentative' ? probed : undefined;
  }

  #requested(bytes: Uint8Array, view: DataView, at: number): Verdict {
    const spa = header.spa(view, at);
    const target = this.#own(header.tpa(view, at));
    const answers = target !== undefined && target.state !== 'tentative';
    // RFC 826: merge if known; add if we are the target. A probe (sender 0.0.0.0) says nothing to learn.
    if (spa !== 0) this.#learn(spa, bytes, at + header.SHA, answers && this.#isOnLink(spa));
    if (!answers) return spa === header.tpa(view, at) ? undefined : 'not for us';
    const sha = bytes.slice(at + header.SHA, at + header.SHA + MAC_LENGTH);
    // RFC 5227 2.5: probes are answered like any request.
    if (this.#send(header.REPLY, target.address.w3, sha, spa, sha)) this.counters.arpOutReplies++;
    return undefined;
  }

  #replied(bytes: Uint8Array, view: DataView, at: number): Verdict {
    const spa = header.spa(view, at);
    if (spa === 0) return 'bad arp';
    const address = v4(spa);
    this.#answer(address, bytes, at + header.SHA);
    const { neighbours } = this.#link;
    const known = neighbours.lookup(address);
    // Hostile 5: no entry is made from an answer that nobody asked for.
    if (known === undefined) return undefined;
    const asked = known.solicits > 0;
    const moved = neighbours.advertise(
      address,
      bytes,
      { solicited: asked, override: asked },
      at + header.SHA,
    );
    if (moved) this.#noteLearned(address, bytes, at + header.SHA);
    return undefined;
  }

  #learn(spa: number, bytes: Uint8Array, shaAt: number, create: boolean): void {
    const address = v4(spa);
    if (this.#link.neighbours.learn(address, bytes, create, shaAt)) this.#noteLearned(address, bytes, shaAt);
  }

  #noteLearned(address: Address, bytes: Uint8Array, shaAt: number): void {
    const { trace } = this.#needs;
    if (trace.on) trace.note(`ARP ${address} is at ${formatMac(bytes, shaAt)}`);
  }

  #answer(address: Address, bytes: Uint8Array, shaAt: number): void {
    if (this.#questions.size === 0) return;
    for (const question of this.#questions) {
      if (!question.target.equals(address) || this.#undelivered.length >= MAX_UNDELIVERED) continue;
      const reply = { address, mac: bytes.slice(shaAt, shaAt + MAC_LENGTH), at: this.#needs.clock.now };
      this.#undelivered.push({ question, reply });
    }
  }

  #conflict(address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void {
    const { trace } = this.#needs;
    if (trace.on) trace.note(`ARP conflict: ${address.address} is used by ${formatMac(mac)} (${outcome})`);
    this.#link.addressConflict(address, mac, outcome);
  }

  // ---- packet generation

  /** False when the transmit queue is full: who asks asks again. */
  #request(target: Address, destination: Mac): boolean {
    const sent = this.#send(header.REQUEST, this.#senderFor(target), NO_MAC, target.w3, destination);
    if (sent) this.counters.arpOutRequests++;
    return sent;
  }

  #send(op: number, spa: number, tha: Mac, tpa: number, destination: Mac): boolean {
    const link = this.#link;
    if (!link.hasRoom()) {
      this.counters.arpOutDiscards++;
      return false;
    }
    const frame = link.frame();
    const at = frame.put(header.PACKET_LENGTH);
    header.write(frame.bytes, frame.view, at, { op, sha: link.mac, spa, tha, tpa });
    link.sendTo(frame, destination, ETHERTYPE_ARP);
    return true;
  }

  /** An address of ours in the subnet of `target`, else our first; 0 when we have none, which makes it a probe. */
  #senderFor(target: Address): number {
    let first = 0;
    for (const { address, prefixLength, state } of this.#link.addresses) {
      if (address.family !== 4 || state === 'tentative' || state === 'duplicate') continue;
      if (target.inPrefix(address, prefixLength)) return address.w3;
      if (first === 0) first = address.w3;
    }
    return first;
  }

  /** An address of this interface that is ours, or about to be. */
  #own(word: number): InterfaceAddress | undefined {
    for (const a of this.#link.addresses) {
      if (a.address.w3 === word && a.address.family === 4 && a.state !== 'duplicate') return a;
    }
    return undefined;
  }

  #isOnLink(word: number): boolean {
    const address = v4(word);
    return this.#link.addresses.some(
      (a) => a.address.family === 4 && a.state !== 'duplicate' && address.inPrefix(a.address, a.prefixLength),
    );
  }
}
