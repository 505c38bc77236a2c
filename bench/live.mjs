// The live rows: one kernel-side program against one Node program, over our stack on a TAP and over the kernel's on a veth.

import { DISCARD, ECHO, SOURCE } from './ports.mjs';
import { lessIsBetter, median, row } from './report.mjs';
import { World } from './world.mjs';

/** @typedef {import('./world.mjs').Load} Load */
/** @typedef {import('./world.mjs').Answer} Answer */

/**
 * @typedef {'bitsPerSecond' | 'perSecond' | 'medianMicros'} Figure
 *
 * @typedef {object} Task one kind of run, and the rows that are read off it
 * @property {Load} load
 * @property {boolean} offload
 * @property {Record<string, Figure>} rows by name
 */

const GIGA = 1e9;
/** Connections that open and close at a time. */
const CONNECTING = 16;
const FEW_IDLE = 10;
const MANY_IDLE = 10_000;
const LEAK_RUNS = 10;
const LEAK_FROM = 2;

/** @type {Task[]} */
const TASKS = [
  ...[true, false].flatMap((offload) =>
    [1, 8].flatMap((connections) => [
      bulk('in', 'send', DISCARD, connections, offload),
      bulk('out', 'receive', SOURCE, connections, offload),
    ]),
  ),
  trips('TCP', { mode: 'rr', port: ECHO }),
  trips('UDP', { mode: 'udp-rr', port: ECHO }),
  trips('ping', { mode: 'ping' }),
  {
    load: { mode: 'connect', port: ECHO, connections: CONNECTING },
    offload: true,
    rows: { [`connections opened and closed, ${CONNECTING} at a time`]: 'perSecond' },
  },
];

/**
 * @param {string} way
 * @param {string} mode
 * @param {number} port
 * @param {number} connections
 * @param {boolean} offload
 * @returns {Task}
 */
function bulk(way, mode, port, connections, offload) {
  const flows = connections === 1 ? '1 connection' : `${connections} connections`;
  const name = `bulk ${way}, ${offload ? 'with' : 'without'} offload, ${flows}`;
  return { load: { mode, port, connections }, offload, rows: { [name]: 'bitsPerSecond' } };
}

/**
 * The rate says what was done in a second; the median is what a round trip takes when nothing disturbs it.
 *
 * @param {string} name
 * @param {Load} load
 * @returns {Task}
 */
function trips(name, load) {
  const rows = { [`${name} round trips`]: 'perSecond', [`${name} round-trip time, median`]: 'medianMicros' };
  return { load, offload: true, rows: /** @type {Record<string, Figure>} */ (rows) };
}

/**
 * @param {{ dist: string, quick: boolean, wanted: (name: string) => boolean, say: (row: import('./report.mjs').Row) => void }} options
 */
export async function live({ dist, quick, wanted, say }) {
  const plan = quick
    ? { seconds: 0.7, repetitions: 3, idleSeconds: 1, leakSeconds: 0.7 }
    : { seconds: 2, repetitions: 5, idleSeconds: 2, leakSeconds: 2 };
  const world = new World(dist);
  try {
    for (const offload of [true, false]) {
      const tasks = TASKS.filter((task) => task.offload === offload && Object.keys(task.rows).some(wanted));
      if (tasks.length > 0) await compare(world, tasks, plan, wanted, say);
    }
    await idle(world, plan, wanted, say);
    if (wanted(LEAK)) await leak(world, plan, say);
  } finally {
    await world.close();
  }
}

/**
 * Runs each task on both faces in turn, several times; the row has the medians.
 *
 * @param {World} world
 * @param {readonly Task[]} tasks
 * @param {{ seconds: number, repetitions: number }} plan
 * @param {(name: string) => boolean} wanted
 * @param {(row: import('./report.mjs').Row) => void} say
 */
async function compare(world, tasks, { seconds, repetitions }, wanted, say) {
  const offload = tasks[0]?.offload === true;
  const ours = await world.serve('tapstack', offload);
  const theirs = await world.serve('node', offload);
  for (const { load, rows } of tasks) {
    /** @type {[Answer[], Answer[]]} */
    const answers = [[], []];
    for (let i = 0; i < repetitions; i++) {
      answers[0].push(await world.load(ours, { ...load, seconds }));
      answers[1].push(await world.load(theirs, { ...load, seconds }));
    }
    for (const [name, figure] of Object.entries(rows)) {
      const [value, reference] = answers.map((each) => median(each.map((answer) => answer[figure] ?? 0)));
      if (wanted(name)) say(rowOf(name, figure, value ?? 0, reference ?? 0));
    }
  }
  await Promise.all([ours.stop(), theirs.stop()]);
}

/**
 * @param {string} name
 * @param {Figure} figure
 * @param {number} value
 * @param {number} reference
 */
function rowOf(name, figure, value, reference) {
  if (figure === 'bitsPerSecond') return row(name, value / GIGA, 'Gbit/s', reference / GIGA);
  if (figure === 'medianMicros') return row(name, value, lessIsBetter('µs'), reference);
  return row(name, value, '/s', reference);
}

const memoryName = (/** @type {string} */ what, /** @type {number} */ count) =>
  `${what} per idle connection, of ${count.toLocaleString('en-US')}`;
const costName = (/** @type {number} */ count) =>
  `CPU per TCP round trip, ${count.toLocaleString('en-US')} idle connections`;
const timeName = (/** @type {number} */ count) =>
  `time per TCP round trip, ${count.toLocaleString('en-US')} idle connections`;
const COST_GROWTH = 'CPU per packet, 10,000 idle against 10';
const TIME_GROWTH = 'time per packet, 10,000 idle against 10';
const LEAK = 'RSS after 10 bulk runs against after 2';

/**
 * What connections cost that only stand there: memory, and their weight on a connection that does something.
 *
 * @param {World} world
 * @param {{ idleSeconds: number, repetitions: number }} plan
 * @param {(name: string) => boolean} wanted
 * @param {(row: import('./report.mjs').Row) => void} say
 */
async function idle(world, { idleSeconds, repetitions }, wanted, say) {
  const memory = [1000, MANY_IDLE].filter(
    (count) => wanted(memoryName('RSS', count)) || wanted(memoryName('heap', count)),
  );
  for (const count of memory) {
    const ours = await footprint(world, 'tapstack', count);
    const theirs = await footprint(world, 'node', count);
    if (wanted(memoryName('RSS', count)))
      say(row(memoryName('RSS', count), ours.rss, lessIsBetter('bytes'), theirs.rss));
    if (wanted(memoryName('heap', count)))
      say(row(memoryName('heap', count), ours.heap, lessIsBetter('bytes'), theirs.heap));
  }
  const names = [costName(FEW_IDLE), costName(MANY_IDLE), timeName(FEW_IDLE), timeName(MANY_IDLE)];
  if (![...names, COST_GROWTH, TIME_GROWTH].some(wanted)) return;
  const ours = await weights(world, 'tapstack', idleSeconds, repetitions);
  const theirs = await weights(world, 'node', idleSeconds, repetitions);
  /** @type {import('./report.mjs').Row[]} */
  const rows = [
    row(costName(FEW_IDLE), ours.few.cpu, lessIsBetter('µs'), theirs.few.cpu),
    row(costName(MANY_IDLE), ours.many.cpu, lessIsBetter('µs'), theirs.many.cpu),
    row(timeName(FEW_IDLE), ours.few.time, lessIsBetter('µs'), theirs.few.time),
    row(timeName(MANY_IDLE), ours.many.time, lessIsBetter('µs'), theirs.many.time),
    // Ours against ours: the reference is what a packet costs us with ten connections.
    row(COST_GROWTH, ours.many.cpu, lessIsBetter('µs'), ours.few.cpu),
    row(TIME_GROWTH, ours.many.time, lessIsBetter('µs'), ours.few.time),
  ];
  for (const each of rows) if (wanted(each.name)) say(each);
}

/**
 * Bytes per idle connection in a fresh server, after garbage collection.
 *
 * @param {World} world
 * @param {import('./world.mjs').Face} face
 * @param {number} count
 */
async function footprint(world, face, count) {
  const server = await world.serve(face, true);
  // A hundred first: what is made once, with the first connection, is not counted as theirs.
  const warm = await world.idle(server, ECHO, 100);
  const before = await server.gauge();
  const end = await world.idle(server, ECHO, count);
  const after = await server.gauge();
  await end();
  await warm();
  await server.stop();
  return {
    rss: (after.memory.rss - before.memory.rss) / count,
    heap: (held(after.memory) - held(before.memory)) / count,
  };
}

/** JavaScript objects, and the memory outside the heap that they keep. */
const held = (/** @type {NodeJS.MemoryUsage} */ { heapUsed, external }) => heapUsed + external;

/**
 * CPU time of the server and elapsed time per round trip, with few and with many idle connections, in turn on two servers of
 * the same kind.
 *
 * @param {World} world
 * @param {import('./world.mjs').Face} face
 * @param {number} seconds
 * @param {number} repetitions
 */
async function weights(world, face, seconds, repetitions) {
  const server = await world.serve(face, true);
  const measure = async (/** @type {number} */ count) => {
    const end = await world.idle(server, DISCARD, count);
    const before = await server.cpu();
    const {
      perSecond = 0,
      count: done = 0,
      seconds: took = 0,
    } = await world.load(server, {
      mode: 'rr',
      port: ECHO,
      seconds,
    });
    const used = (await server.cpu()) - before;
    await end();
    // The warm-up is in the CPU time and not in the count: scale the count.
    return { cpu: used / (done * ((took + 0.3) / took)), time: 1e6 / perSecond };
  };
  await measure(FEW_IDLE);
  /** @type {{ cpu: number, time: number }[]} */
  const few = [];
  /** @type {{ cpu: number, time: number }[]} */
  const many = [];
  for (let i = 0; i < repetitions; i++) {
    few.push(await measure(FEW_IDLE));
    many.push(await measure(MANY_IDLE));
  }
  await server.stop();
  return { few: medians(few), many: medians(many) };
}

/** @param {readonly { cpu: number, time: number }[]} measured */
function medians(measured) {
  return { cpu: median(measured.map(({ cpu }) => cpu)), time: median(measured.map(({ time }) => time)) };
}

/**
 * Has glibc give freed memory back to the kernel. Left alone it keeps some for itself, sometimes 40 MB and sometimes none: that
 * would be measured, and not what the program holds.
 */
const GIVE_BACK = { MALLOC_TRIM_THRESHOLD_: '131072' };

/**
 * Ten bulk runs each way on one server: memory must not grow with what has passed.
 *
 * @param {World} world
 * @param {{ leakSeconds: number }} plan
 * @param {(row: import('./report.mjs').Row) => void} say
 */
async function leak(world, { leakSeconds }, say) {
  const server = await world.serve('tapstack', true, GIVE_BACK);
  let early = 0;
  let late = 0;
  for (let run = 1; run <= LEAK_RUNS; run++) {
    await world.load(server, { mode: 'send', port: DISCARD, seconds: leakSeconds });
    await world.load(server, { mode: 'receive', port: SOURCE, seconds: leakSeconds });
    const { memory } = await server.gauge();
    if (run === LEAK_FROM) early = memory.rss;
    late = memory.rss;
  }
  await server.stop();
  say(row(LEAK, late / 2 ** 20, lessIsBetter('MiB'), early / 2 ** 20));
}
