// Plays many seeds of the soak on the built stack: random networks, weather and conversations (docs/simulation.md).
//
//   npm run soak -- [--seeds N] [--from S] [--jobs J] [--capture]
//
// A seed that fails is written to soak-SEED.pcapng, with the command that replays it; the exit code is then 1. With --capture
// every seed is written.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { PcapngWriter } from '../dist/pcap/pcapng.js';
import { soak } from '../dist/sim/soak.js';

/** Seeds that a worker is given at a time. */
const PORTION = 25;

/** Plays `seed` and returns its frames as pcapng. */
function record(seed) {
  const chunks = [];
  const writer = new PcapngWriter((bytes) => chunks.push(bytes.slice()), {
    application: 'tapstack soak',
    comment: `seed ${seed}`,
  });
  soak(seed, writer);
  return Buffer.concat(chunks);
}

if (isMainThread) await main();
else
  parentPort.on('message', (seeds) =>
    parentPort.postMessage(seeds.map((seed) => play(seed, workerData.capture))),
  );

function play(seed, capture) {
  const result = soak(seed);
  // Recording costs more than playing: only what somebody wants to see is played again for it.
  if (capture || result.failures.length > 0) writeFileSync(fileOf(seed), record(seed));
  return result;
}

function fileOf(seed) {
  return `soak-${seed}.pcapng`;
}

async function main() {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      capture: { type: 'boolean', default: false },
    },
  });
  const [count, from, jobs] = [values.seeds, values.from, values.jobs].map(Number);
  if (![count, from, jobs].every(Number.isSafeInteger) || count < 1 || jobs < 1) {
    console.error('soak: --seeds, --from and --jobs are whole numbers');
    process.exit(2);
  }
  const totals = {
    seeds: 0,
    failed: 0,
    talks: 0,
    complete: 0,
    bytes: 0,
    looks: 0,
    retransmissions: 0,
    mishaps: 0,
  };
  let next = from;
  const started = performance.now();
  const work = async () => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { capture: values.capture } });
    while (next < from + count) {
      const seeds = Array.from({ length: Math.min(PORTION, from + count - next) }, (_, i) => next + i);
      next += seeds.length;
      worker.postMessage(seeds);
      const [results] = await once(worker, 'message');
      for (const result of results) add(totals, result);
      status(totals, count);
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: Math.min(jobs, Math.ceil(count / PORTION)) }, work));
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${clear()}${totals.seeds} seeds in ${seconds.toFixed(0)} s: ${totals.complete} of ${totals.talks} conversations complete, the rest told why; ` +
      `${(totals.bytes / 1e6).toFixed(0)} MB, ${totals.mishaps} mishaps, ${totals.retransmissions} retransmissions, ` +
      `${totals.looks} looks at invariants; ${totals.failed} failed`,
  );
  process.exitCode = totals.failed === 0 ? 0 : 1;
}

function add(totals, result) {
  totals.seeds++;
  for (const key of ['talks', 'complete', 'bytes', 'looks', 'retransmissions', 'mishaps'])
    totals[key] += result[key];
  if (result.failures.length === 0) return;
  totals.failed++;
  console.log(`${clear()}seed ${result.seed}: ${result.title}`);
  for (const failure of result.failures) console.log(`    ${failure}`);
  console.log(`    ${fileOf(result.seed)}; again: npm run soak -- --seeds 1 --from ${result.seed}`);
}

function clear() {
  return process.stdout.isTTY ? '\r\u001b[K' : '';
}

function status({ seeds, failed }, count) {
  if (process.stdout.isTTY) process.stdout.write(`${clear()}${seeds} of ${count} seeds, ${failed} failed`);
}
