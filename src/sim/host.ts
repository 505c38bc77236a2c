// One host of a simulation: a stack, its devices, and the round that a host's run loop would make.

import { type Address, type Cidr, parseCidr } from '../base/address.ts';
import type { Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import type { Micros } from '../base/time.ts';
import type { Device } from '../link/device.ts';
import { segment } from '../link/segment.ts';
import type { Interface } from '../stack/interface.ts';
import { Stack, type StackOptions } from '../stack/stack.ts';

/** Frames taken from a device in one round: few enough that timers and other hosts get their turn in between. */
const RECEIVE_BATCH = 64;

export interface SimHostOptions extends Partial<Omit<StackOptions, 'now'>> {
  name?: string;
}

/** A device and the interface on it. */
export interface Attached {
  readonly device: Device;
  readonly netif: Interface;
}

export class SimHost {
  readonly name: string;
  readonly stack: Stack;
  readonly links: Attached[] = [];
  /** Sees each frame before the stack does. */
  onFrame: ((packet: Packet, netif: Interface) => void) | undefined;
  /** Called after every round: what must hold at each step is looked at here. */
  afterRound: ((host: SimHost) => void) | undefined;
  /** One of its devices has frames or room since the last round. */
  #called = false;
  /** When it will be run again; 0 when it is not frozen. */
  #frozenUntil: Micros = 0;

  constructor(now: Micros, random: Random, { name = 'host', ...options }: SimHostOptions = {}) {
    this.name = name;
    this.stack = new Stack({ random, now, ...options });
  }

  /** Plugs a device in. Addresses are texts such as `10.0.0.1/24`; throws RangeError for one that is none. */
  attach(device: Device, ...addresses: string[]): Interface {
    const port = segment(device);
    const netif = this.stack.addInterface({ name: device.name, port, addresses: addresses.map(cidrOf) });
    this.links.push({ device: port, netif });
    port.onReady = () => {
      this.#called = true;
    };
    return netif;
  }

  /** The first address that was given to it. Throws when it has none. */
  get address(): Address {
    const first = this.links[0]?.netif.addresses[0];
    if (first === undefined) throw new RangeError(`${this.name} has no address`);
    return first.address;
  }

  /** Does what an application does outside of callbacks, at the time of now. What it asked for happens in the next round. */
  act<T>(now: Micros, action: (stack: Stack) => T): T {
    this.stack.setTime(now);
    return action(this.stack);
  }

  /**
   * Does nothing before `until`, as a process that is stopped or starved: its timers come late, its devices fill up. What it
   * has on its own cables waits too.
   */
  freeze(until: Micros): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, until);
  }

  /** True when a device called since the last round: there is something to do at this very moment. */
  get isCalled(): boolean {
    return this.#called && this.#frozenUntil === 0;
  }

  /** One round of the run loop. True when something happened: there may be more to do at this very moment. */
  round(now: Micros): boolean {
    if (now < this.#frozenUntil) return false;
    this.#frozenUntil = 0;
    this.#called = false;
    const { stack } = this;
    stack.setTime(now);
    let received = 0;
    for (const { device, netif } of this.links) {
      device.advance(now);
      received += device.receive((packet) => {
        this.onFrame?.(packet, netif);
        stack.input(netif, packet);
      }, RECEIVE_BATCH);
    }
    stack.advance(now);
    const busy = received > 0 || stack.pending;
    stack.flush();
    stack.deliver();
    this.afterRound?.(this);
    return busy;
  }

  /** When a round will have something to do. */
  nextTimeout(): Micros {
    // What came meanwhile is looked at when it wakes up.
    if (this.#frozenUntil > 0) return this.#frozenUntil;
    let next = this.stack.nextTimeout();
    for (const { device } of this.links) next = Math.min(next, device.nextTimeout());
    return next;
  }
}

function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new RangeError(`"${text}" is not an address such as 10.0.0.1/24`);
  return cidr;
}
