// What a bad network may be told on the command line, and what is refused.

import { Command, InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import {
  addImpairmentOptions,
  duration,
  type ImpairmentOptions,
  impairmentOf,
  rate,
  share,
  size,
} from '../../src/cli/impairments.ts';
import { run } from '../../src/cli/program.ts';
import { makeWorld } from './world.ts';

describe('numbers with units', () => {
  it.each([
    [duration, '20ms', 20_000],
    [duration, '1.5s', 1_500_000],
    [duration, '300us', 300],
    [share, '1%', 0.01],
    [share, '0.25', 0.25],
    [share, '100%', 1],
    [rate, '100mbit', 1e8],
    [rate, '1Gbit/s', 1e9],
    [rate, '64kbps', Number.NaN],
    [rate, '64kbitps', 64_000],
    [size, '256kb', 262_144],
    [size, '1000', 1_000],
  ] as const)('%o of %s', (parse, text, value) => {
    if (Number.isNaN(value)) expect(() => parse(text)).toThrow(InvalidArgumentError);
    else expect(parse(text)).toBe(value);
  });

  it.each([
    [duration, '20'],
    [duration, '-1ms'],
    [duration, '1m'],
    [share, '101%'],
    [share, '1.5'],
    [share, ''],
    [rate, '0'],
    [rate, 'fast'],
    [size, '1gb'],
  ] as const)('%o refuses %s', (parse, text) => {
    expect(() => parse(text)).toThrow(InvalidArgumentError);
  });
});

function parse(...argv: string[]) {
  const command = addImpairmentOptions(new Command('x').exitOverride());
  command.parse(argv, { from: 'user' });
  return impairmentOf(command.opts<ImpairmentOptions>());
}

describe('the options', () => {
  it('without any: a good network', () => {
    expect(parse()).toEqual({});
  });

  it('all of them', () => {
    expect(
      parse(
        ...[
          '--delay',
          '20ms',
          '--jitter',
          '1ms',
          '--distribution',
          'pareto',
          '--loss',
          '1%',
          '--burst-loss',
          '1%,25%',
        ],
        ...[
          '--duplicate',
          '2%',
          '--reorder',
          '3%',
          '--corrupt',
          '0.5%',
          '--rate',
          '10mbit',
          '--queue',
          '64kb',
        ],
      ),
    ).toEqual({
      delay: 20_000,
      jitter: 1_000,
      delayDistribution: 'pareto',
      loss: 0.01,
      burstLoss: { p: 0.01, r: 0.25 },
      duplicate: 0.02,
      reorder: { probability: 0.03, gap: 3 },
      corrupt: 0.005,
      rate: 1e7,
      queue: 65_536,
    });
  });
});

describe('wire', () => {
  const refuse = async (...argv: string[]) => {
    const { io, err } = makeWorld();
    return [await run(['wire', ...argv], io), err()];
  };

  it('says in one line what makes no sense', async () => {
    expect(await refuse('tapa')).toEqual([2, expect.stringContaining("missing required argument 'tap-b'")]);
    expect(await refuse('tapa', 'tapa')).toEqual([2, expect.stringContaining('a cable has two ends')]);
    expect(await refuse('tapa', 'a/b')).toEqual([2, expect.stringContaining('Give 1 to 15 characters')]);
    expect(await refuse('tapa', 'tapb', '--loss', 'much')).toEqual([
      2,
      expect.stringContaining('Give a share'),
    ]);
    expect(await refuse('tapa', 'tapb', '--capture', '-')).toEqual([
      2,
      expect.stringContaining('give a file'),
    ]);
  });
});
