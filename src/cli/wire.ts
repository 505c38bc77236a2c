// `tapstack wire TAP TAP`: a cable between two TAPs, as bad a network as one asks for; until Ctrl-C.

import { Command, Option } from 'commander';
import type { PathCounters } from '../link/impair.ts';
import type { TapWire, TapWireOptions } from '../node/tap-wire.ts';
import { type Context, examples } from './command.ts';
import { addImpairmentOptions, type ImpairmentOptions, impairmentOf } from './impairments.ts';
import { EXIT, type Io, UsageError } from './io.ts';
import { isNoTap, NoTapError } from './join.ts';
import {
  addOutputOptions,
  hostCidr,
  interfaceName,
  LEAST_MTU,
  MOST_MTU,
  namespaceName,
  wholeNumber,
} from './options.ts';
import { bytes, count, type OutputOptions, plural, Report } from './report.ts';
import { pause } from './wait.ts';

/** How often the status line is written, and how often the JSON event. */
const LIVE_MS = 500;
const JSON_MS = 1000;

export interface WireOptions extends ImpairmentOptions, OutputOptions {
  netnsA?: string;
  netnsB?: string;
  ipA?: string;
  ipB?: string;
  mtu?: number;
  direction?: 'both' | 'ab' | 'ba';
  fine?: boolean;
  /** False with `--no-offload`. */
  offload?: boolean;
}

export function wireCommand({ io, finish }: Context): Command {
  const command = new Command('wire')
    .description('join two TAPs by a cable with delay, loss and whatever else a bad network does')
    .argument('<tap-a>', 'one TAP, made if it is not there', interfaceName)
    .argument('<tap-b>', 'the other', interfaceName)
    .action(async (a: string, b: string, options: WireOptions) => finish(await wire(a, b, options, io)));
  addImpairmentOptions(command)
    .addOption(
      new Option('--direction <way>', 'which way the above is for (default: both)').choices([
        'both',
        'ab',
        'ba',
      ]),
    )
    .option('--netns-a <name>', 'the network namespace of the first TAP', namespaceName)
    .option('--netns-b <name>', 'the network namespace of the second', namespaceName)
    .option('--ip-a <cidr>', "an address for the kernel's side of the first TAP", hostCidr)
    .option('--ip-b <cidr>', "an address for the kernel's side of the second", hostCidr)
    .option('--mtu <bytes>', 'the MTU of both', wholeNumber(LEAST_MTU, MOST_MTU))
    .option('--fine', 'delays right to some microseconds instead of a millisecond, for a whole core')
    .option('--no-offload', 'take frames one by one from the kernels, not as super-frames that are cut here')
    .option('--capture <file>', 'write both ends to a pcapng file: what was sent, and what came out');
  return addOutputOptions(command).addHelpText(
    'after',
    `\nFrames pass unchanged, link addresses too. None leaves early; Node's timers make them up to a millisecond late.\n${examples(
      [
        [
          'sudo tapstack wire tapa tapb --netns-a red --netns-b blue --ip-a 10.9.0.1/24 --ip-b 10.9.0.2/24 --delay 20ms --loss 1%',
          'two namespaces, 40 ms apart',
        ],
        ['sudo tapstack wire tapa tapb --rate 10mbit --queue 64kb', 'a narrow link with a short queue'],
        [
          'sudo tapstack wire tapa tapb --burst-loss 1%,25% --seed 7',
          'bursts of four losses, the same every time',
        ],
      ],
    )}`,
  );
}

export async function wire(a: string, b: string, options: WireOptions, io: Io): Promise<number> {
  if (a === b && options.netnsA === options.netnsB) throw new UsageError(`a cable has two ends; ${a} is one`);
  if (options.capture === '-')
    throw new UsageError('--capture - would mix with the report on stdout; give a file');
  const report = new Report(io, options);
  const opened = await openWire(a, b, options);
  const started = performance.now();
  report.event(
    'up',
    {
      a: endOf(opened.a),
      b: endOf(opened.b),
      mtu: opened.a.mtu,
      seed: options.seed ?? 0,
      ...impairmentOf(options),
    },
    `${opened.a.name} and ${opened.b.name} are joined${weatherText(options)}; Ctrl-C ends it`,
  );
  try {
    await Promise.race([watch(opened, started, report, io.stop), opened.closed]);
  } finally {
    report.status('');
    await opened.close();
    const { counters, late } = opened;
    const uptime = (performance.now() - started) / 1000;
    report.event(
      'closed',
      { uptime, ...factsOf(opened), ...(options.capture === undefined ? {} : { capture: options.capture }) },
      `${line(`${a} → ${b}`, counters.ab)}\n${line(`${b} → ${a}`, counters.ba)}` +
        (late.batches === 0
          ? ''
          : `\nframes left ${ms(late.total / late.batches)} late on average, ${ms(late.most)} at most`),
    );
  }
  return EXIT.ok;
}

async function openWire(a: string, b: string, options: WireOptions): Promise<TapWire> {
  const { createTapWire } = await import('../node/tap-wire.ts');
  const end = (
    name: string,
    netns: string | undefined,
    addresses: string | undefined,
  ): TapWireOptions['a'] => ({
    name,
    ...(netns === undefined ? {} : { netns }),
    ...(addresses === undefined ? {} : { addresses }),
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    ...(options.offload === undefined ? {} : { offload: options.offload }),
  });
  const { direction = 'both' } = options;
  const impairment = impairmentOf(options);
  try {
    return createTapWire({
      a: end(a, options.netnsA, options.ipA),
      b: end(b, options.netnsB, options.ipB),
      seed: options.seed ?? 0,
      ...(direction === 'both' ? impairment : { [direction]: impairment }),
      ...(options.fine === undefined ? {} : { fine: options.fine }),
      ...(options.capture === undefined ? {} : { capture: options.capture }),
    });
  } catch (error) {
    if (isNoTap(error)) throw new NoTapError((error as Error).message, { cause: error });
    throw error;
  }
}

/** Writes the status until `stop`. */
async function watch(wire: TapWire, started: number, report: Report, stop: AbortSignal): Promise<void> {
  let before = { ab: { ...wire.counters.ab }, ba: { ...wire.counters.ba } };
  let at = started;
  while (!stop.aborted) {
    await pause(report.json ? JSON_MS : LIVE_MS, stop);
    if (stop.aborted || !(report.json || report.live)) continue;
    const time = performance.now();
    const seconds = (time - at) / 1000;
    const { ab, ba } = wire.counters;
    const rates = { ab: (ab.bytes - before.ab.bytes) / seconds, ba: (ba.bytes - before.ba.bytes) / seconds };
    before = { ab: { ...ab }, ba: { ...ba } };
    at = time;
    const lost = ab.lost + ba.lost + ab.overflowed + ba.overflowed;
    report.status(
      `→ ${bytes(rates.ab)}/s · ← ${bytes(rates.ba)}/s · ${count(wire.held)} on their way · ` +
        `${count(ab.frames + ba.frames)} frames · ${count(lost)} lost`,
    );
    if (report.json) report.event('status', { uptime: (time - started) / 1000, rates, ...factsOf(wire) });
  }
}

function factsOf({ counters, late, held }: TapWire) {
  const mean = late.batches === 0 ? 0 : late.total / late.batches;
  return { ab: { ...counters.ab }, ba: { ...counters.ba }, held, late: { mean, most: late.most } };
}

function endOf({ name, kernel }: TapWire['a']) {
  return { name, addresses: kernel.addresses };
}

/** `tapa → tapb: 950 frames, 1.2 MB; lost 9, duplicated 2` */
function line(name: string, counters: Readonly<PathCounters>): string {
  const { frames, bytes: total, lost, overflowed, duplicated, reordered, corrupted } = counters;
  const mishaps = Object.entries({ lost, overflowed, duplicated, reordered, corrupted }).filter(
    ([, n]) => n > 0,
  );
  const list = mishaps.map(([what, n]) => `${what} ${n}`).join(', ');
  return `${name}: ${plural(frames, 'frame')}, ${bytes(total)}${list === '' ? '' : `; ${list}`}`;
}

function weatherText(options: WireOptions): string {
  const words: string[] = [];
  if (options.delay !== undefined) words.push(`${ms(options.delay)} of delay`);
  if (options.loss !== undefined) words.push(`${+(options.loss * 100).toPrecision(3)} % loss`);
  if (options.rate !== undefined) words.push(`${+(options.rate / 1e6).toPrecision(3)} Mbit/s`);
  return words.length === 0 ? '' : ` with ${words.join(', ')}`;
}

function ms(micros: number): string {
  return `${+(micros / 1000).toPrecision(3)} ms`;
}
