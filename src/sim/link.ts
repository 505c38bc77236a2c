// What joins the hosts of a simulation: cables with their weather, and switches.

import type { Random } from '../base/random.ts';
import { seededRandom } from '../base/random.ts';
import { Cable } from '../link/cable.ts';
import { type Device, FULL_OFFLOAD } from '../link/device.ts';
import type { Impairment, PathCounters } from '../link/impair.ts';
import { type Netem, netem } from '../link/netem.ts';
import { createPipe, ETHERNET_MTU } from '../link/pipe.ts';
import { Switch } from '../link/switch.ts';
import type { Interface } from '../stack/interface.ts';
import type { SimHost } from './host.ts';

/** A subnet of a simulation: 10.x.y.0/24, and the last host number given out. */
export interface Network {
  readonly prefix: string;
  used: number;
}

export interface LinkOptions extends Impairment {
  /** What differs from the first to the second, and back. */
  ab?: Impairment;
  ba?: Impairment;
  /** Largest IP packet, in bytes; 1500. */
  mtu?: number;
  /** Super-frames and pending checksums cross as they are, as over a TAP. Such a cable is perfect: it has no weather and is never cut. */
  offload?: boolean;
  /** Frames that may be under way in each direction before the device is full and its host has to wait; 16384. */
  limit?: number;
}

/** A learning switch: every host that is linked to it is on one subnet. */
export class SimSwitch {
  readonly name: string;
  readonly switch: Switch;
  /** The subnet, once a host or another switch was linked. */
  network: Network | undefined;

  constructor(name: string, random: Random) {
    this.name = name;
    this.switch = new Switch({ random });
  }
}

type Direction = 'both' | 'ab' | 'ba';

/** One link, in the hands of who runs the simulation. */
export class SimLink {
  readonly name: string;
  /** The interfaces at its ends; undefined where a switch is. */
  a: Interface | undefined;
  b: Interface | undefined;
  /** Between two switches, the cable to drive. */
  readonly cable: Cable | undefined;
  readonly #ends: LinkEnds;
  /** Loss as it was before the cut. */
  #uncut: { ab: number; ba: number } | undefined;
  readonly #loss: { ab: number; ba: number };

  constructor(name: string, ends: LinkEnds, loss: { ab: number; ba: number }) {
    this.name = name;
    this.#ends = ends;
    this.cable = ends.cable;
    this.#loss = loss;
  }

  /** True while no frame passes. */
  get isCut(): boolean {
    return this.#uncut !== undefined;
  }

  /** What it did so far to the frames of each direction. Undefined for a perfect cable. */
  counters(direction: 'ab' | 'ba'): Readonly<PathCounters> | undefined {
    return this.#ends.counters(direction);
  }

  /** Changes the weather. What is left out keeps its value; frames under way keep their fate. */
  change(direction: Direction, impairment: Impairment): void {
    if (impairment.loss !== undefined) {
      if (direction !== 'ba') this.#loss.ab = impairment.loss;
      if (direction !== 'ab') this.#loss.ba = impairment.loss;
    }
    if (this.#uncut !== undefined) this.#uncut = { ...this.#loss };
    this.#ends.change(direction, this.isCut ? { ...impairment, loss: 1 } : impairment);
  }

  /** From now on nothing passes, and nobody is told: a cable pulled out far away. */
  cut(): void {
    if (this.#uncut !== undefined) return;
    this.#uncut = { ...this.#loss };
    this.#ends.change('both', { loss: 1 });
  }

  /** The cable is in again. */
  mend(): void {
    if (this.#uncut === undefined) return;
    const { ab, ba } = this.#uncut;
    this.#uncut = undefined;
    this.#ends.change('ab', { loss: ab });
    this.#ends.change('ba', { loss: ba });
  }
}

/** The devices of a link and how to change its weather. */
interface LinkEnds {
  readonly a: Device | undefined;
  readonly b: Device | undefined;
  readonly cable: Cable | undefined;
  change(direction: Direction, impairment: Impairment): void;
  counters(direction: 'ab' | 'ba'): Readonly<PathCounters> | undefined;
}

/** Makes the devices of a link between hosts, switches, or one of each. `seed` is its chance. */
export function makeEnds(
  a: SimHost | SimSwitch,
  b: SimHost | SimSwitch,
  options: LinkOptions,
  seed: number,
): LinkEnds {
  const random = seededRandom(seed);
  if (a instanceof SimSwitch)
    return b instanceof SimSwitch ? trunk(a, b, options, random) : drop(b, a, options, random, true);
  if (b instanceof SimSwitch) return drop(a, b, options, random, false);
  return options.offload === true ? perfect(a, b, options, random) : pair(a, b, options, random);
}

/** The weather alone. */
function weatherOf({
  ab: _ab,
  ba: _ba,
  mtu: _mtu,
  offload: _o,
  queue: _q,
  ...weather
}: LinkOptions): Impairment {
  return weather;
}

function limitOf({ limit }: LinkOptions): { limit?: number } {
  return limit === undefined ? {} : { limit };
}

function inventMac(random: Random): Uint8Array {
  const word = random.u32();
  const bytes = [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
  return Uint8Array.of(0x02, random.u32() & 255, ...bytes);
}

function pipeOf(options: LinkOptions, random: Random): [Device, Device] {
  return createPipe({
    mtu: options.mtu ?? ETHERNET_MTU,
    macA: inventMac(random),
    macB: inventMac(random),
    ...(options.offload === true ? { features: FULL_OFFLOAD } : {}),
  });
}

function perfect(a: SimHost, b: SimHost, options: LinkOptions, random: Random): LinkEnds {
  const refuse = () => {
    throw new RangeError(`the cable between ${a.name} and ${b.name} has offload: it is perfect`);
  };
  if (Object.keys(weatherOf(options)).length + Object.keys({ ...options.ab, ...options.ba }).length > 0)
    refuse();
  const [left, right] = pipeOf(options, random);
  return { a: left, b: right, cable: undefined, change: refuse, counters: () => undefined };
}

/** Between two hosts: what each sends is impaired on its way out. */
function pair(_a: SimHost, _b: SimHost, options: LinkOptions, random: Random): LinkEnds {
  const [left, right] = pipeOf(options, random);
  const weather = weatherOf(options);
  const wrap = (end: Device, own: Impairment | undefined) =>
    netem(end, {
      ...weather,
      ...own,
      ...limitOf(options),
      direction: 'out',
      random: seededRandom(random.u32()),
    });
  const a = wrap(left, options.ab);
  const b = wrap(right, options.ba);
  return {
    a,
    b,
    cable: undefined,
    change: (direction, impairment) => {
      if (direction !== 'ba') a.change('out', impairment);
      if (direction !== 'ab') b.change('out', impairment);
    },
    counters: (direction) => (direction === 'ab' ? a : b).counters.out,
  };
}

/** Between a host and a switch. `reversed`: the switch is the link's `a`. */
function drop(
  _host: SimHost,
  { switch: hub, name }: SimSwitch,
  options: LinkOptions,
  random: Random,
  reversed: boolean,
): LinkEnds {
  const port = hub.port({ mtu: options.mtu ?? ETHERNET_MTU, mac: inventMac(random), name: `${name}-port` });
  const [out, back] = reversed ? [options.ba, options.ab] : [options.ab, options.ba];
  const device: Netem = netem(port, {
    ...weatherOf(options),
    ...(out === undefined ? {} : { out }),
    ...(back === undefined ? {} : { in: back }),
    ...limitOf(options),
    random,
  });
  const [ab, ba] = reversed ? (['in', 'out'] as const) : (['out', 'in'] as const);
  return {
    a: reversed ? undefined : device,
    b: reversed ? device : undefined,
    cable: undefined,
    change: (direction, impairment) => {
      device.change(direction === 'both' ? 'both' : direction === 'ab' ? ab : ba, impairment);
    },
    counters: (direction) => device.counters[direction === 'ab' ? ab : ba],
  };
}

/** Between two switches. */
function trunk(a: SimSwitch, b: SimSwitch, options: LinkOptions, random: Random): LinkEnds {
  const mtu = options.mtu ?? ETHERNET_MTU;
  const cable = new Cable(
    a.switch.port({ mtu, mac: inventMac(random), name: `${a.name}-trunk` }),
    b.switch.port({ mtu, mac: inventMac(random), name: `${b.name}-trunk` }),
    {
      ...weatherOf(options),
      ...(options.ab === undefined ? {} : { ab: options.ab }),
      ...(options.ba === undefined ? {} : { ba: options.ba }),
      ...limitOf(options),
      random,
    },
  );
  return {
    a: undefined,
    b: undefined,
    cable,
    change: (direction, impairment) => cable.change(direction, impairment),
    counters: (direction) => cable.counters[direction],
  };
}
