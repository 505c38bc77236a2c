// The addresses of one interface: their states and lifetimes (RFC 4862 5.5.4 for both families, RFC 5227 for IPv4).

import { Address, type Cidr, subnetBroadcast } from '../base/address.ts';
import { NetError } from '../base/errors.ts';
import type { InterfaceAddress } from '../base/netif.ts';
import { type Clock, type Micros, NEVER } from '../base/time.ts';
import { Timer, type TimerQueue } from '../base/timers.ts';

/** Addresses of one interface: every packet in and every choice of a source walks them. */
export const MAX_ADDRESSES = 256;

export interface Lifetimes {
  /** Until then it is chosen for new connections. Default: for ever. */
  preferredUntil?: Micros;
  /** Then it is removed. Default: never. */
  validUntil?: Micros;
}

export interface AddressBookNeeds {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  /** The preferred lifetime is over: the state is now `deprecated`. */
  deprecated(address: InterfaceAddress): void;
  /** The valid lifetime is over. Removal is left to who is told. */
  expired(address: InterfaceAddress): void;
}

/** The list, and the clockwork that ages it. States other than `deprecated` are set by who claims the address. */
export class AddressBook {
  readonly list: InterfaceAddress[] = [];
  readonly #needs: AddressBookNeeds;
  readonly #timers = new Map<InterfaceAddress, Timer>();

  constructor(needs: AddressBookNeeds) {
    this.#needs = needs;
  }

  find(address: Address): InterfaceAddress | undefined {
    return this.list.find((a) => a.address.equals(address));
  }

  /**
   * Adds an address, tentative. Throws NetError EEXIST when it is there already, EINVAL when it cannot be a host's: a group,
   * a broadcast, the unspecified address, or a subnet's own number (RFC 1122 3.2.1.3), and ENOMEM when there are too many.
   */
  add({ address, prefixLength }: Cidr, zone: number, lifetimes: Lifetimes): InterfaceAddress {
    const own = address.family === 6 && address.isLinkLocal ? zoned(address, zone) : address;
    const where = { address: String(own) };
    if (this.find(own) !== undefined) throw new NetError('EEXIST', 'addAddress', where);
    if (!canBeHost({ address, prefixLength })) throw new NetError('EINVAL', 'addAddress', where);
    if (this.list.length >= MAX_ADDRESSES) throw new NetError('ENOMEM', 'addAddress', where);
    const added: InterfaceAddress = {
      address: own,
      prefixLength,
      broadcast: subnetBroadcast({ address, prefixLength }),
      state: 'tentative',
      preferredUntil: NEVER,
      validUntil: NEVER,
    };
    this.list.push(added);
    this.setLifetimes(added, lifetimes);
    return added;
  }

  remove(address: InterfaceAddress): boolean {
    const at = this.list.indexOf(address);
    if (at < 0) return false;
    this.list.splice(at, 1);
    const timer = this.#timers.get(address);
    if (timer !== undefined) this.#needs.timers.remove(timer);
    this.#timers.delete(address);
    return true;
  }

  /** Sets both lifetimes anew, as a renewed lease or a Router Advertisement does. */
  setLifetimes(address: InterfaceAddress, { preferredUntil = NEVER, validUntil = NEVER }: Lifetimes): void {
    address.preferredUntil = Math.min(preferredUntil, validUntil);
    address.validUntil = validUntil;
    if (address.state === 'deprecated' && preferredUntil > this.#needs.clock.now) address.state = 'preferred';
    this.#arm(address);
  }

  /** The address was just taken into use, again perhaps: its preferred lifetime may be over by now. */
  settle(address: InterfaceAddress): void {
    if (address.preferredUntil <= this.#needs.clock.now) address.state = 'deprecated';
  }

  #arm(address: InterfaceAddress): void {
    const { preferredUntil, validUntil } = address;
    const next = address.state === 'deprecated' ? validUntil : preferredUntil;
    let timer = this.#timers.get(address);
    if (timer === undefined) {
      if (next === NEVER) return;
      timer = new Timer((now) => this.#age(address, now));
      this.#timers.set(address, timer);
    }
    this.#needs.timers.set(timer, next);
  }

  #age(address: InterfaceAddress, now: Micros): void {
    if (now >= address.validUntil) {
      this.#needs.expired(address);
      return;
    }
    // Whatever is being probed or was lost does not become usable by growing old.
    if (address.state === 'preferred' || address.state === 'optimistic') address.state = 'deprecated';
    this.#needs.timers.set(this.#timers.get(address)!, address.validUntil);
    this.#needs.deprecated(address);
  }
}

function zoned({ w0, w1, w2, w3 }: Address, zone: number): Address {
  return new Address(w0, w1, w2, w3, zone);
}

function canBeHost({ address, prefixLength }: Cidr): boolean {
  if (address.isMulticast || address.isUnspecified || address.isLimitedBroadcast) return false;
  if (address.family === 6 || prefixLength >= 31) return true;
  const hostBits = address.w3 & ~(prefixLength === 0 ? 0 : -1 << (32 - prefixLength));
  return hostBits !== 0 && !address.equals(subnetBroadcast({ address, prefixLength })!);
}
