// Goodput over a bad network: 20 ms there and back, and a share of the frames lost each way.
//
//   load ──► kernel TCP ── TAP ── [ netem ] our stack ──► server.mjs --face tapstack
//   load ──► kernel TCP ── TAP ── [ tapstack wire ] ── TAP ── kernel TCP ──► server.mjs --face node
//
// Both go through the same code that delays and loses. The kernel steers by CUBIC, our stack by what it has as its default.

import { DISCARD, SOURCE } from './ports.mjs';
import { median, row } from './report.mjs';
import { World } from './world.mjs';

/** One way, in microseconds. */
const DELAY = 10_000;
const LOSSES = [0, 0.001, 0.01, 0.03];
const MEGA = 1e6;

const WAYS = /** @type {const} */ ([
  { way: 'in', mode: 'send', port: DISCARD },
  { way: 'out', mode: 'receive', port: SOURCE },
]);

/** @param {string} way @param {number} loss */
const nameOf = (way, loss) => `wire of 20 ms, ${+(loss * 100).toPrecision(3)} % loss, bulk ${way}`;

/**
 * @param {{ dist: string, quick: boolean, wanted: (name: string) => boolean, say: (row: import('./report.mjs').Row) => void }} options
 */
export async function wire({ dist, quick, wanted, say }) {
  const losses = LOSSES.filter((loss) => WAYS.some(({ way }) => wanted(nameOf(way, loss))));
  if (losses.length === 0) return;
  const world = new World(dist);
  try {
    for (const loss of losses) {
      await compare(
        world,
        loss,
        quick ? { seconds: 4, repetitions: 3 } : { seconds: 10, repetitions: 5 },
        wanted,
        say,
      );
    }
  } finally {
    await world.close();
  }
}

/**
 * The same loads over both, in turn; the row has the medians.
 *
 * @param {World} world
 * @param {number} loss
 * @param {{ seconds: number, repetitions: number }} plan
 * @param {(name: string) => boolean} wanted
 * @param {(row: import('./report.mjs').Row) => void} say
 */
async function compare(world, loss, { seconds, repetitions }, wanted, say) {
  const seed = 1 + Math.round(loss * 1e4);
  const unplug = await world.wire(['--delay', `${DELAY}us`, '--loss', `${loss}`, '--seed', `${seed}`]);
  const ours = await world.serve('tapstack', true, {}, { weather: { delay: DELAY, loss, seed } });
  const theirs = await world.serve('node', true, {}, { wired: true });
  for (const { way, mode, port } of WAYS) {
    const name = nameOf(way, loss);
    if (!wanted(name)) continue;
    /** @type {[number[], number[]]} */
    const rates = [[], []];
    for (let i = 0; i < repetitions; i++) {
      for (const [which, server] of [ours, theirs].entries()) {
        const { bitsPerSecond = 0 } = await world.load(server, { mode, port, seconds });
        rates[which]?.push(bitsPerSecond / MEGA);
      }
    }
    say(row(name, median(rates[0]), 'Mbit/s', median(rates[1])));
  }
  await Promise.all([ours.stop(), theirs.stop()]);
  await unplug();
}
