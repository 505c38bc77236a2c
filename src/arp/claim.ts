// Address conflict detection: probe before use, announce, defend, give up (RFC 5227 2).
//
// ```
//   start ──▶ wait 0–1 s ──▶ 3 probes, 1–2 s apart ──▶ wait 2 s ──▶ ours: announce, again after 2 s ──▶ held
//               │ somebody has it, or probes for it too                │ somebody claims it
//               ▼                                                      ▼
//            refused                             defend once in 10 s; twice in 10 s: lost (unless it is to be kept)
// ```

import type { Mac } from '../base/mac.ts';
import type { InterfaceAddress } from '../base/netif.ts';
import { below, type Random } from '../base/random.ts';
import { type Clock, type Micros, NEVER, SECOND } from '../base/time.ts';
import { Timer, type TimerQueue } from '../base/timers.ts';

/** RFC 5227 1.1. */
export const PROBE_WAIT: Micros = SECOND;
export const PROBE_NUM = 3;
export const PROBE_MIN: Micros = SECOND;
export const PROBE_MAX: Micros = 2 * SECOND;
export const ANNOUNCE_WAIT: Micros = 2 * SECOND;
export const ANNOUNCE_NUM = 2;
export const ANNOUNCE_INTERVAL: Micros = 2 * SECOND;
export const MAX_CONFLICTS = 10;
export const RATE_LIMIT_INTERVAL: Micros = 60 * SECOND;
export const DEFEND_INTERVAL: Micros = 10 * SECOND;

/** How an address is taken. */
export interface ClaimOptions {
  /**
   * Ask first whether somebody has it; it is tentative for 4 to 7 seconds. Deviates: 2.1 has it a MUST, and the default is
   * false, as in Linux: an address that the user wrote down works at once, and is defended all the same.
   */
  probe?: boolean;
  /** Tell the link that it is ours now (RFC 5227 2.3), so that no stale entry points elsewhere. Default true. */
  announce?: boolean;
  /** Never give it up (RFC 5227 2.4 (c)): for routers and servers. Default false. */
  keep?: boolean;
}

/** `refused`: it was taken before we had it. `defended`: we said that it is ours. `lost`: we gave it up. */
export type ConflictOutcome = 'refused' | 'defended' | 'lost' | 'kept';

export interface ClaimNeeds {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly random: Random;
  /** Broadcasts a request for `address` that names no sender (2.1.1), or names ourselves (2.3). */
  probe(address: InterfaceAddress): void;
  announce(address: InterfaceAddress): void;
  /** The address may be used from now on; its state is set here. */
  ready(address: InterfaceAddress): void;
  /** The address, in use until now, is about to be given up (2.4: "before abandoning an address"). */
  losing(address: InterfaceAddress): void;
  /** Another station, `mac`, uses the address. For `refused` and `lost` its state is now `duplicate`. */
  conflict(address: InterfaceAddress, mac: Mac, outcome: ConflictOutcome): void;
}

interface Claim {
  readonly address: InterfaceAddress;
  readonly keep: boolean;
  readonly announces: boolean;
  phase: 'probing' | 'waiting' | 'announcing' | 'held';
  /** Probes or announcements still to be sent. */
  left: number;
  /** When the last conflicting packet came; NEVER before the first. */
  conflictAt: Micros;
  readonly timer: Timer;
}

/** The claims of one interface. */
export class Claims {
  readonly #needs: ClaimNeeds;
  readonly #claims = new Map<InterfaceAddress, Claim>();
  #conflicts = 0;
  #lastAttempt: Micros = -RATE_LIMIT_INTERVAL;

  constructor(needs: ClaimNeeds) {
    this.#needs = needs;
  }

  /** Begins to claim `address`: sets its state to tentative, or to preferred at once when nothing is to be probed. */
  start(
    address: InterfaceAddress,
    { probe = false, announce = true, keep = false }: ClaimOptions = {},
  ): void {
    const claim: Claim = {
      address,
      keep,
      announces: announce,
      phase: 'probing',
      left: PROBE_NUM,
      conflictAt: NEVER,
      timer: new Timer(() => this.#step(claim)),
    };
    this.stop(address);
    this.#claims.set(address, claim);
    if (!probe) {
      this.#own(claim);
      return;
    }
    address.state = 'tentative';
    const { clock, random, timers } = this.#needs;
    let at = clock.now + below(random, PROBE_WAIT + 1);
    // 2.1.1: after MAX_CONFLICTS no more than one new address a minute.
    if (this.#conflicts >= MAX_CONFLICTS) at = Math.max(at, this.#lastAttempt + RATE_LIMIT_INTERVAL);
    this.#lastAttempt = at;
    timers.set(claim.timer, at);
  }

  /** Forgets `address`: it is removed. */
  stop(address: InterfaceAddress): void {
    const claim = this.#claims.get(address);
    if (claim === undefined) return;
    this.#needs.timers.remove(claim.timer);
    this.#claims.delete(address);
  }

  stopAll(): void {
    for (const address of [...this.#claims.keys()]) this.stop(address);
  }

  /** Another station spoke as `address`, or probed for it while we do (2.1.1, 2.4). */
  conflict(address: InterfaceAddress, mac: Mac): void {
    const claim = this.#claims.get(address);
    if (claim === undefined) return;
    this.#conflicts++;
    if (claim.phase === 'probing' || claim.phase === 'waiting') {
      this.#giveUp(claim, mac, 'refused');
      return;
    }
    const { now } = this.#needs.clock;
    const recent = claim.conflictAt !== NEVER && now - claim.conflictAt < DEFEND_INTERVAL;
    if (!recent) {
      // 2.4 (b), (c): record the time, broadcast one announcement, go on.
      claim.conflictAt = now;
      this.#needs.announce(address);
      this.#needs.conflict(address, mac, 'defended');
    } else if (claim.keep) {
      // 2.4 (c): MUST NOT send another. The time stays that of the defence: a flood must not silence us for ever.
      this.#needs.conflict(address, mac, 'kept');
    } else {
      this.#giveUp(claim, mac, 'lost');
    }
  }

  #step(claim: Claim): void {
    const { clock, random, timers } = this.#needs;
    if (claim.phase === 'probing') {
      this.#needs.probe(claim.address);
      claim.left--;
      if (claim.left === 0) claim.phase = 'waiting';
      const spacing = PROBE_MIN + below(random, PROBE_MAX - PROBE_MIN + 1);
      timers.set(claim.timer, clock.now + (claim.left === 0 ? ANNOUNCE_WAIT : spacing));
    } else if (claim.phase === 'waiting') {
      this.#own(claim);
    } else if (claim.phase === 'announcing') {
      this.#announce(claim);
    }
  }

  /** 2.3: the address may be used immediately after the first announcement. */
  #own(claim: Claim): void {
    claim.address.state = 'preferred';
    this.#needs.ready(claim.address);
    claim.phase = claim.announces ? 'announcing' : 'held';
    claim.left = ANNOUNCE_NUM;
    if (claim.announces) this.#announce(claim);
  }

  #announce(claim: Claim): void {
    this.#needs.announce(claim.address);
    claim.left--;
    if (claim.left === 0) claim.phase = 'held';
    else this.#needs.timers.set(claim.timer, this.#needs.clock.now + ANNOUNCE_INTERVAL);
  }

  #giveUp({ address }: Claim, mac: Mac, outcome: ConflictOutcome): void {
    this.stop(address);
    if (outcome === 'lost') this.#needs.losing(address);
    address.state = 'duplicate';
    this.#needs.conflict(address, mac, outcome);
  }
}
