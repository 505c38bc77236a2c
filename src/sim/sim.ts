// Many hosts, links, switches and routers in one process, one virtual time, from one seed.
//
//   const sim = new Sim({ seed: 7 });
//   const alice = sim.host({ name: 'alice' });
//   const router = sim.router();
//   const bob = sim.host({ name: 'bob' });
//   sim.link(alice, router, { delay: 10 * MILLISECOND, loss: 0.01 });      // 10.0.0.0/24: alice .1, router .2
//   sim.link(router, bob, { mtu: 1280, rate: 10e6 });                      // 10.0.1.0/24: router .1, bob .2
//   sim.pass(10 * SECOND);
//
// Time goes from one thing that happens to the next: an hour without traffic costs nothing. The same seed and the same calls
// give the same frames, bit for bit.

import { type Random, seededRandom } from '../base/random.ts';
import { type Micros, SECOND } from '../base/time.ts';
import { Timer, TimerQueue } from '../base/timers.ts';
import { capture } from '../link/capture.ts';
import type { Device } from '../link/device.ts';
import type { PcapngWriter } from '../pcap/pcapng.ts';
import type { Interface } from '../stack/interface.ts';
import { SimHost, type SimHostOptions } from './host.ts';
import { type LinkOptions, makeEnds, type Network, SimLink, SimSwitch } from './link.ts';
import { addRoutes, type Place } from './route.ts';

export interface SimOptions {
  /** All chance comes from it; 1. */
  seed?: number;
  /** The time at the start; 1000 s, so that nothing depends on zero. */
  start?: Micros;
  /** Every frame at every host's devices goes here, with the stack's notes; each device is an interface of the file. */
  recorder?: Pick<PcapngWriter, 'addInterface' | 'packet' | 'statistics'>;
}

/** Rounds at one instant after which something is wrong: two stacks answer each other without end. */
const MOST_ROUNDS = 100_000;

export class Sim {
  now: Micros;
  readonly hosts: SimHost[] = [];
  readonly links: SimLink[] = [];
  /** Chance for who uses the simulation. */
  readonly random: Random;
  /** Rounds made so far, over all hosts. */
  rounds = 0;
  readonly #seeds: Random;
  readonly #timers = new TimerQueue();
  readonly #recorder: SimOptions['recorder'];
  readonly #places: Place[] = [];
  #networks = 0;
  #switches = 0;

  constructor({ seed = 1, start = 1_000 * SECOND, recorder }: SimOptions = {}) {
    this.now = start;
    this.#seeds = seededRandom(seed);
    this.random = seededRandom(this.#seeds.u32());
    this.#recorder = recorder;
  }

  // ---- building

  /** A host without links. */
  host(options: SimHostOptions = {}): SimHost {
    const random = seededRandom(this.#seeds.u32());
    const host = new SimHost(this.now, random, { name: `host${this.hosts.length + 1}`, ...options });
    this.hosts.push(host);
    return host;
  }

  /** A host that passes packets on (RFC 1812). */
  router(options: SimHostOptions = {}): SimHost {
    return this.host({ name: `router${this.hosts.length + 1}`, forwarding: true, ...options });
  }

  switch(name = `switch${this.#switches + 1}`): SimSwitch {
    this.#switches++;
    return new SimSwitch(name, seededRandom(this.#seeds.u32()));
  }

  /**
   * Joins two hosts, a host and a switch, or two switches. Every cable between hosts, and every switch, is a subnet of its own,
   * 10.x.y.0/24, whose hosts are numbered as they come; all hosts learn their routes. Link switches with each other
   * before their hosts. Throws RangeError for impossible numbers, and for two switches that have a subnet each.
   */
  link(a: SimHost | SimSwitch, b: SimHost | SimSwitch, options: LinkOptions = {}): SimLink {
    const network = this.#networkOf(a, b);
    const ends = makeEnds(a, b, options, this.#seeds.u32());
    const loss = { ab: options.ab?.loss ?? options.loss ?? 0, ba: options.ba?.loss ?? options.loss ?? 0 };
    const link = new SimLink(`${a.name}-${b.name}`, ends, loss);
    if (a instanceof SimHost) link.a = this.#place(a, ends.a!, network);
    if (b instanceof SimHost) link.b = this.#place(b, ends.b!, network);
    this.links.push(link);
    addRoutes(this.hosts, this.#places);
    return link;
  }

  /** Plugs a device of your own into a host, recorded like the others. Addresses are texts such as `10.0.0.1/24`. */
  attach(host: SimHost, device: Device, ...addresses: string[]): Interface {
    return host.attach(this.#recorded(host, device), ...addresses);
  }

  #networkOf(a: SimHost | SimSwitch, b: SimHost | SimSwitch): Network {
    const [left, right] = [a, b].map((end) => (end instanceof SimSwitch ? end.network : undefined));
    if (left !== undefined && right !== undefined && left !== right) {
      throw new RangeError(`${a.name} and ${b.name} have hosts on two subnets: link switches first`);
    }
    const n = this.#networks;
    const network = left ?? right ?? { prefix: `10.${n >>> 8}.${n & 255}.0/24`, used: 0 };
    if (left === undefined && right === undefined) this.#networks++;
    for (const end of [a, b]) if (end instanceof SimSwitch) end.network = network;
    return network;
  }

  #place(host: SimHost, device: Device, network: Network): Interface {
    const number = ++network.used;
    if (number > 254) throw new RangeError(`${network.prefix} is full`);
    const netif = this.attach(host, device, network.prefix.replace(/0\/24$/, `${number}/24`));
    this.#places.push({ host, netif, network, address: netif.addresses[0]!.address });
    return netif;
  }

  #recorded(host: SimHost, device: Device): Device {
    const writer = this.#recorder;
    if (writer === undefined) return device;
    const name = `${host.name}.${host.links.length}`;
    return capture(device, {
      writer,
      interfaceId: writer.addInterface({ name, linkType: 1, mac: device.mac }),
      trace: host.stack.trace,
      clock: () => {
        const seconds = Math.floor(this.now / SECOND);
        return { seconds, nanos: (this.now - seconds * SECOND) * 1_000 };
      },
    });
  }

  // ---- running

  /** Calls `action` when so much time has passed, before anything else of that moment. Returns how to call it off. */
  after(micros: Micros, action: () => void): () => void {
    const timer = new Timer(action);
    this.#timers.set(timer, this.now + Math.max(0, Math.round(micros)));
    return () => this.#timers.remove(timer);
  }

  /** The same, as something that `host`'s application does: it may make calls on the stack. */
  afterOn(host: SimHost, micros: Micros, action: () => void): () => void {
    return this.after(micros, () => host.act(this.now, action));
  }

  /** When the next thing happens; NEVER when nothing will. */
  next(): Micros {
    let next = this.#timers.next();
    for (const host of this.hosts) next = Math.min(next, host.nextTimeout());
    for (const { cable } of this.links) if (cable !== undefined) next = Math.min(next, cable.nextTimeout());
    return next;
  }

  /** Lets everybody work until nobody has anything to do at this instant. Throws when that does not end. */
  settle(): void {
    this.#timers.advance(this.now);
    for (let rounds = 0; rounds < MOST_ROUNDS; rounds++) {
      let busy = false;
      for (const host of this.hosts) {
        this.rounds++;
        if (host.round(this.now)) busy = true;
      }
      for (const { cable } of this.links) if (cable?.run(this.now)) busy = true;
      if (!busy && !this.hosts.some((host) => host.isCalled)) return;
    }
    throw new Error(`nothing comes to rest at ${this.now} µs`);
  }

  /** Lets time pass up to `until`, and no longer than `wanted` asks for: it is looked at after every step. Returns the time it is then. */
  run(until: Micros, wanted: () => boolean = always): Micros {
    this.settle();
    while (wanted()) {
      const next = this.next();
      if (next > until) {
        this.now = Math.max(this.now, until);
        this.settle();
        break;
      }
      this.now = Math.max(this.now, next);
      this.settle();
    }
    return this.now;
  }

  /** Lets so much time pass. */
  pass(micros: Micros): Micros {
    return this.run(this.now + micros);
  }
}

const always = () => true;
