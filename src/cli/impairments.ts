// What a bad network may be told to be on a command line: `20ms`, `1%`, `100mbit`, `256kb`, as people write them for tc.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { MICROSECOND, MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import type { BurstLoss, Distribution, Impairment } from '../link/impair.ts';
import { wholeNumber } from './options.ts';

/** The options that {@link addImpairmentOptions} adds. */
export interface ImpairmentOptions {
  delay?: Micros;
  jitter?: Micros;
  distribution?: Distribution;
  loss?: number;
  burstLoss?: BurstLoss;
  duplicate?: number;
  reorder?: number;
  reorderGap?: number;
  corrupt?: number;
  rate?: number;
  queue?: number;
  seed?: number;
}

/** Later frames that overtake one that is held back, unless said otherwise. */
const DEFAULT_GAP = 3;

export function addImpairmentOptions(command: Command): Command {
  return command
    .option('--delay <time>', 'how long every frame takes, each way, as 20ms', duration)
    .option('--jitter <time>', 'how far the delay varies; frames stay in order', duration)
    .addOption(
      new Option('--distribution <shape>', 'how the jitter is spread (default: uniform)').choices([
        'uniform',
        'normal',
        'pareto',
      ]),
    )
    .option('--loss <share>', 'frames that are lost, as 1% or 0.01', share)
    .option('--burst-loss <p,r>', 'losses in bursts: how likely one begins, and ends, at each frame', burst)
    .option('--duplicate <share>', 'frames that come twice', share)
    .option('--reorder <share>', `frames that later ones overtake`, share)
    .option('--reorder-gap <n>', `how many overtake (default: ${DEFAULT_GAP})`, wholeNumber(1, 1_000))
    .option('--corrupt <share>', 'frames in which one bit is flipped', share)
    .option('--rate <rate>', 'what the wire carries, each way, as 100mbit', rate)
    .option('--queue <bytes>', 'what may wait for it, as 256kb; more is lost (default: 256kb)', size)
    .option('--seed <n>', 'the chance, to have the same again (default: 0)', wholeNumber(0, 0xffff_ffff));
}

/** The same as `netem` and `Cable` take it. */
export function impairmentOf(options: ImpairmentOptions): Impairment {
  const { delay, jitter, distribution, loss, burstLoss, duplicate, corrupt, rate, queue } = options;
  const given = {
    delay,
    jitter,
    delayDistribution: distribution,
    loss,
    burstLoss,
    duplicate,
    corrupt,
    rate,
    queue,
  };
  const impairment = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  if (options.reorder === undefined) return impairment;
  return { ...impairment, reorder: { probability: options.reorder, gap: options.reorderGap ?? DEFAULT_GAP } };
}

const TIMES: Readonly<Record<string, Micros>> = {
  us: MICROSECOND,
  µs: MICROSECOND,
  ms: MILLISECOND,
  s: SECOND,
};

/** Microseconds from `20ms`, `1.5s`, `300us`. */
export function duration(text: string): Micros {
  const [number, unit] = split(text);
  const scale = TIMES[unit];
  if (number === undefined || scale === undefined)
    throw new InvalidArgumentError('Give a time with its unit, as 20ms, 1.5s or 300us.');
  return Math.round(number * scale);
}

/** 0 to 1 from `1%` or `0.01`. */
export function share(text: string): number {
  const [number, unit] = split(text);
  const value =
    number === undefined ? Number.NaN : unit === '%' ? number / 100 : unit === '' ? number : Number.NaN;
  if (!(value >= 0 && value <= 1))
    throw new InvalidArgumentError('Give a share from 0% to 100%, or from 0 to 1.');
  return value;
}

function burst(text: string): BurstLoss {
  const parts = text.split(',');
  if (parts.length !== 2) throw new InvalidArgumentError('Give two shares, as 1%,25%.');
  const [p, r] = parts.map(share) as [number, number];
  return { p, r };
}

const RATES: Readonly<Record<string, number>> = { '': 1, bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** Bit/s from `100mbit`. */
export function rate(text: string): number {
  const [number, unit] = split(text.toLowerCase().replace(/(ps|\/s)$/, ''));
  const scale = RATES[unit];
  if (number === undefined || scale === undefined || number === 0) {
    throw new InvalidArgumentError('Give bits a second, as 100mbit, 64kbit or 1gbit.');
  }
  return number * scale;
}

const SIZES: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1024, mb: 1024 * 1024 };

/** Bytes from `256kb`. */
export function size(text: string): number {
  const [number, unit] = split(text.toLowerCase());
  const scale = SIZES[unit];
  if (number === undefined || scale === undefined)
    throw new InvalidArgumentError('Give bytes, as 65536, 256kb or 4mb.');
  return Math.round(number * scale);
}

/** A number and what stands behind it. */
function split(text: string): [number | undefined, string] {
  const parts = /^(\d+\.?\d*|\.\d+)([a-zµ%]*)$/.exec(text);
  return parts === null ? [undefined, ''] : [Number(parts[1]), parts[2]!];
}
