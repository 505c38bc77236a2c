// One seed of the soak: a random scene is played to its end, and everything that TCP and the stack promise is looked at.

import { HOUR, MINUTE } from '../base/time.ts';
import { leftovers } from './leftovers.ts';
import { makeScene, type Scene } from './scenario.ts';
import { Sim, type SimOptions } from './sim.ts';
import type { Talker } from './talk.ts';
import { Watch } from './watch.ts';

/** What became of a seed. */
export interface SoakResult {
  readonly seed: number;
  readonly title: string;
  /** What was wrong; empty when all went well. */
  readonly failures: readonly string[];
  readonly talks: number;
  /** Talks in which every byte arrived and both sides ended in order. */
  readonly complete: number;
  readonly bytes: number;
  /** Looks at a connection's invariants. */
  readonly looks: number;
  readonly retransmissions: number;
  /** Frames that the weather lost, damaged, reordered or repeated. */
  readonly mishaps: number;
}

/** Every conversation is over by then: a scene is disturbed for two minutes, and gives up after five. */
const MOST_TIME = 2 * HOUR;
/** Neighbours are forgotten after twenty minutes. */
const QUIET = 40 * MINUTE;

/** Plays the scene of `seed`. Never throws: an exception of the stack is a failure like another. */
export function soak(seed: number, recorder?: SimOptions['recorder']): SoakResult {
  const sim = new Sim({ seed, ...(recorder === undefined ? {} : { recorder }) });
  const failures: string[] = [];
  let scene: Scene | undefined;
  let watches: Watch[] = [];
  try {
    scene = makeScene(sim);
    watches = sim.hosts.map((host) => new Watch(host, failures));
    play(sim, scene, watches, failures);
  } catch (error) {
    failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return { seed, title: scene?.title ?? 'no scene', failures, ...sums(sim, scene, watches) };
}

function play(sim: Sim, scene: Scene, watches: readonly Watch[], failures: string[]): void {
  const { talks, showers } = scene;
  const isOver = () => talks.every((talk) => talk.isOver) && failures.length < MOST_FAILURES;
  sim.run(sim.now + MOST_TIME, () => !isOver() && failures.length < MOST_FAILURES);
  for (const talk of talks) {
    if (!talk.isOver) failures.push(`${talk.client.who}: never ended`);
    failures.push(...talk.complaints());
    if (scene.weather !== 'foul' && !isForced(talk) && !talk.isComplete && !wasUnreachable(talk)) {
      const ends = [talk.client, talk.server].map((t) => `${t.error ?? 'in order'}, ${t.received} received`);
      failures.push(`${talk.client.who}: not complete in ${scene.weather} weather: ${ends.join('; ')}`);
    }
    talk.finish();
  }
  for (const shower of showers) {
    if (shower.damaged > 0 && !scene.damaged)
      failures.push(`${shower.damaged} damaged datagrams were delivered`);
    shower.finish();
  }
  sim.pass(QUIET);
  for (const [i, host] of sim.hosts.entries()) failures.push(...leftovers(host, watches[i]!.seen));
}

/** Beyond so many there is nothing to learn. */
const MOST_FAILURES = 20;

/** One of its sides ended it by force. */
function isForced({ client, server }: Scene['talks'][number]): boolean {
  return client.wasViolent || server.wasViolent;
}

/** Three ARP requests in a row were lost: then a host is unreachable (RFC 1122 3.2.2.1), and the user was told so. */
function wasUnreachable({ client, server, isMutual }: Scene['talks'][number]): boolean {
  const never = (talker: Talker) => talker.tcb === undefined || talker.received === 0;
  if (isMutual) return never(client) && never(server);
  return client.error === 'EHOSTUNREACH' && never(server) && never(client);
}

function sums(sim: Sim, scene: Scene | undefined, watches: readonly Watch[]) {
  const talks = scene?.talks ?? [];
  let mishaps = 0;
  for (const link of sim.links) {
    for (const direction of ['ab', 'ba'] as const) {
      const c = link.counters(direction);
      if (c !== undefined) mishaps += c.lost + c.overflowed + c.corrupted + c.reordered + c.duplicated;
    }
  }
  return {
    talks: talks.length,
    complete: talks.filter((talk) => talk.isComplete).length,
    bytes: talks.reduce((n, { client, server }) => n + client.received + server.received, 0),
    looks: watches.reduce((n, watch) => n + watch.looks, 0),
    retransmissions: sim.hosts.reduce((n, { stack }) => n + stack.tcp.counters.tcpRetransSegs, 0),
    mishaps,
  };
}
