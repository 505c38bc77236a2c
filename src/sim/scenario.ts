// Random scenes: a topology, its weather, and what its hosts do. Everything about a scene comes from the chance of its
// simulation, so the seed says it all.

import { below, type Random, unit } from '../base/random.ts';
import { MILLISECOND, MINUTE, type Micros, SECOND } from '../base/time.ts';
import type { TcpOptions } from '../tcp/tcb.ts';
import { Shower } from './datagrams.ts';
import type { SimHost } from './host.ts';
import type { LinkOptions, SimLink } from './link.ts';
import type { Sim } from './sim.ts';
import { type Part, Talk, type TalkPlan } from './talk.ts';

/**
 * `clear`: delay alone. `bad`: loss, reordering, duplication, damage that only a transport checksum sees, narrow links; all of
 * it such that TCP must get through. `foul`: worse, with partitions and damaged headers; TCP may give up, if it says so.
 */
export type Weather = 'clear' | 'bad' | 'foul';

export interface Scene {
  /** In words, for who reads a failure. */
  readonly title: string;
  readonly weather: Weather;
  /** Hosts that are no routers. */
  readonly hosts: readonly SimHost[];
  readonly talks: readonly Talk[];
  readonly showers: readonly Shower[];
  /** True when frames may be damaged in a way that no checksum of a fragmented datagram is sure to see. */
  readonly damaged: boolean;
}

type Build = (sim: Sim, link: (options?: LinkOptions) => LinkOptions) => SimHost[];

/** Two hosts and a cable between them. */
const pair: Build = (sim, link) => {
  const [a, b] = [sim.host(), sim.host()];
  sim.link(a, b, link());
  return [a, b];
};

/** Two hosts that exchange super-frames and unfinished checksums, as over a TAP. */
const offloaded: Build = (sim) => {
  const [a, b] = [sim.host(), sim.host()];
  sim.link(a, b, { offload: true });
  return [a, b];
};

/** Three to five hosts on a switch. */
const lan: Build = (sim, link) => {
  const hub = sim.switch();
  const hosts = Array.from({ length: 3 + below(sim.random, 3) }, () => sim.host());
  for (const host of hosts) sim.link(host, hub, link());
  return hosts;
};

/** Two switches with a cable between them, and two hosts on each. */
const floors: Build = (sim, link) => {
  const hubs = [sim.switch(), sim.switch()] as const;
  sim.link(hubs[0], hubs[1], link());
  const hosts = [0, 1, 2, 3].map(() => sim.host());
  for (const [i, host] of hosts.entries()) sim.link(host, hubs[i < 2 ? 0 : 1], link());
  return hosts;
};

/** Two hosts and one to three routers between; the middle may be narrow. */
const line: Build = (sim, link) => {
  const a = sim.host();
  const routers = Array.from({ length: 1 + below(sim.random, 3) }, () => sim.router());
  const b = sim.host();
  const chain = [a, ...routers, b];
  for (let i = 1; i < chain.length; i++) {
    const narrow = i > 1 && i < chain.length - 1 && unit(sim.random) < 0.5;
    sim.link(chain[i - 1]!, chain[i]!, link(narrow ? { mtu: 576 + below(sim.random, 900) } : {}));
  }
  return [a, b];
};

/** A router with three hosts, each on a subnet of its own. */
const star: Build = (sim, link) => {
  const router = sim.router();
  const hosts = [sim.host(), sim.host(), sim.host()];
  for (const host of hosts) sim.link(host, router, link(unit(sim.random) < 0.3 ? { mtu: 1_000 } : {}));
  return hosts;
};

/** Two switched networks, and a router that stands in both. */
const office: Build = (sim, link) => {
  const router = sim.router();
  return [sim.switch(), sim.switch()].flatMap((hub) => {
    const hosts = [sim.host(), sim.host()];
    sim.link(hub, router, link());
    for (const host of hosts) sim.link(hub, host, link());
    return hosts;
  });
};

const TOPOLOGIES = { pair, offloaded, lan, floors, line, star, office };

/** Builds a scene in an empty simulation. Nothing has happened in it yet. */
export function makeScene(sim: Sim): Scene {
  const { random } = sim;
  const weather = pick(random, ['clear', 'bad', 'bad', 'bad', 'foul', 'foul'] as const);
  const shape = pick(random, Object.keys(TOPOLOGIES) as (keyof typeof TOPOLOGIES)[]);
  const damaging = weather !== 'clear' && unit(random) < 0.5;
  // One link of all damages frames: what two of them did to the same frame might hide from its checksum.
  let damages = damaging ? 1 + below(random, 3) : 0;
  const hosts = TOPOLOGIES[shape](sim, (options = {}) => ({
    ...options,
    ...weatherOf(random, weather, --damages === 0),
  }));
  if (weather === 'foul') for (const link of sim.links) disturb(sim, link);
  if (weather !== 'clear') for (const host of sim.hosts) starve(sim, host, weather);
  const talks = Array.from({ length: 1 + below(random, 5) }, (_, i) => {
    const [client, server] = two(random, hosts);
    return new Talk(sim, client, server, i, makePlan(random, weather), timeUpTo(random, 2 * SECOND));
  });
  const showers = Array.from({ length: below(random, 3) }, (_, i) => {
    const [from, to] = two(random, hosts);
    const sizes = Array.from({ length: 10 }, () => below(random, unit(random) < 0.5 ? 1_400 : 9_000));
    const plan = {
      count: 10,
      every: timeUpTo(random, 200 * MILLISECOND),
      size: (number: number) => sizes[number]!,
    };
    return new Shower(sim, from, to, 1_000 + i, plan, timeUpTo(random, 2 * SECOND));
  });
  const title = `${shape}, ${weather} weather${damaging ? ' with damage' : ''}, ${talks.length} talks, ${showers.length} showers`;
  return { title, weather, hosts, talks, showers, damaged: damaging };
}

/** Frames are damaged from here on: behind all headers that have no better checksum, and behind all of ARP. */
const BEHIND_HEADERS = 42;

function weatherOf(random: Random, weather: Weather, damaging: boolean): LinkOptions {
  const delay = timeUpTo(random, unit(random) < 0.5 ? 5 * MILLISECOND : 80 * MILLISECOND);
  if (weather === 'clear') return { delay };
  const foul = weather === 'foul';
  const some = (chance: number, most: number) => (unit(random) < chance ? most * unit(random) : 0);
  return {
    delay,
    jitter: some(0.5, delay / 2),
    delayDistribution: pick(random, ['uniform', 'normal', 'pareto'] as const),
    loss: some(0.7, foul ? 0.2 : 0.05),
    burstLoss: unit(random) < 0.2 ? { p: 0.01, r: foul ? 0.2 : 0.4 } : undefined,
    duplicate: some(0.4, 0.05),
    reorder: {
      probability: some(0.5, 0.1),
      ...(unit(random) < 0.5 ? { gap: 1 + below(random, 8) } : {}),
      extra: timeUpTo(random, 50 * MILLISECOND),
    },
    corrupt: {
      probability: damaging ? 0.02 * unit(random) : 0,
      from: foul ? pick(random, [0, 14, BEHIND_HEADERS]) : BEHIND_HEADERS,
    },
    ...(unit(random) < 0.15 ? { limit: 1 + below(random, 30) } : {}),
    ...(unit(random) < 0.3
      ? { rate: 1e6 * (1 + below(random, 50)), queue: 4_096 * (2 + below(random, 30)) }
      : {}),
  };
}

/** Partitions: the cable is out for a while, once or twice, or for good. */
function disturb(sim: Sim, link: SimLink): void {
  const { random } = sim;
  // A perfect cable stays.
  if (link.counters('ab') === undefined) return;
  const dice = unit(random);
  if (dice < 0.05) sim.after(timeUpTo(random, 10 * SECOND), () => link.cut());
  else if (dice < 0.4) {
    let at = 0;
    for (let n = 1 + below(random, 2); n > 0; n--) {
      at += timeUpTo(random, 10 * SECOND);
      sim.after(at, () => link.cut());
      at += timeUpTo(random, 40 * SECOND);
      sim.after(at, () => link.mend());
    }
  }
}

/** A host that is not run for a while, and in foul weather an interface that goes down and comes up. */
function starve(sim: Sim, host: SimHost, weather: Weather): void {
  const { random } = sim;
  if (unit(random) < 0.1) {
    const most = weather === 'foul' ? 20 * SECOND : SECOND;
    sim.after(timeUpTo(random, 5 * SECOND), () => host.freeze(sim.now + timeUpTo(random, most)));
  }
  if (weather === 'foul' && unit(random) < 0.1) {
    const { netif } = host.links[below(random, host.links.length)]!;
    const at = timeUpTo(random, 5 * SECOND);
    sim.afterOn(host, at, () => netif.setUp(false));
    sim.afterOn(host, at + timeUpTo(random, 20 * SECOND), () => netif.setUp(true));
  }
}

function makePlan(random: Random, weather: Weather): TalkPlan {
  // Not both: each would wait for the other.
  const waits = below(random, 4);
  return {
    client: { ...makePart(random, weather), last: waits === 0 },
    server: { ...makePart(random, weather), last: waits === 1 },
    ...(unit(random) < 0.15 ? { mutual: timeUpTo(random, 20 * MILLISECOND) } : {}),
    options: {
      // The least that ends every connection whose peer is gone: what a server should set too.
      keepAlive: { enabled: true, idle: MINUTE, interval: 20 * SECOND, count: 6 },
      // Otherwise a quarter of an hour: in bad weather nobody gives up.
      ...(weather === 'foul' ? { userTimeout: 5 * MINUTE } : {}),
      noDelay: unit(random) < 0.5,
      ...pick<Partial<TcpOptions>>(random, [
        {},
        {},
        {},
        { receiveBufferLimit: 2_000 + below(random, 20_000) },
        { sendBufferLimit: 1_000 + below(random, 20_000) },
        { maxMss: 100 + below(random, 1_000) },
      ]),
    },
  };
}

function makePart(random: Random, weather: Weather): Part {
  const bytes = below(random, pick(random, [1, 1_000, 20_000, 100_000, 300_000]));
  const stalls = Array.from({ length: unit(random) < 0.3 ? 1 + below(random, 2) : 0 }, () => {
    const from = timeUpTo(random, 3 * SECOND);
    return [from, from + timeUpTo(random, 20 * SECOND)] as const;
  });
  const violent = weather === 'clear' ? 0 : 0.08;
  return {
    bytes,
    write: 1 + below(random, pick(random, [100, 5_000, 60_000])),
    stalls,
    ...(unit(random) < 0.15
      ? { sips: { bytes: 200 + below(random, 5_000), every: timeUpTo(random, 200 * MILLISECOND) } }
      : {}),
    ...(unit(random) < violent
      ? { violence: { kind: pick(random, ['abort', 'close'] as const), at: timeUpTo(random, 5 * SECOND) } }
      : {}),
  };
}

function timeUpTo(random: Random, most: Micros): Micros {
  return 1 + below(random, Math.max(1, most));
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[below(random, from.length)]!;
}

/** Two different ones. */
function two(random: Random, hosts: readonly SimHost[]): [SimHost, SimHost] {
  const first = below(random, hosts.length);
  const second = (first + 1 + below(random, hosts.length - 1)) % hosts.length;
  return [hosts[first]!, hosts[second]!];
}
