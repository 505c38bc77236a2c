// What options may say, what the plan makes of them, and that a refusal names the flag and the mend.

import { Command, CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/cli/io.ts';
import { addHostOptions, type HostOptions, planHost, seconds, wholeNumber } from '../../src/cli/options.ts';

function parse(...argv: string[]): HostOptions {
  const command = addHostOptions(new Command('x').exitOverride().configureOutput({ outputError: () => {} }));
  command.parse(argv, { from: 'user' });
  return command.opts();
}

describe('the options of a host', () => {
  it('without any, one plan for all commands', () => {
    expect(planHost(parse())).toMatchObject({
      tap: 'tap0',
      ip: ['10.7.0.2/24'],
      hostIp: '10.7.0.1/24',
      offload: true,
    });
  });

  it('take what they are given', () => {
    const options = parse(
      ...['--tap', 'tap9', '--ip', '10.9.0.2/24', '--ip', '10.9.1.2/16', '--host-ip', '10.9.0.1/24'],
      ...['--gateway', '10.9.0.1', '--mtu', '9000', '--mac', '02-00-00-00-00-0A', '--no-offload'],
      ...['--capture', 'x.pcapng', '--netns', 'blue', '--json', '-q', '--no-color'],
    );
    expect(planHost(options)).toEqual({
      tap: 'tap9',
      ip: ['10.9.0.2/24', '10.9.1.2/16'],
      hostIp: '10.9.0.1/24',
      gateway: '10.9.0.1',
      mtu: 9000,
      mac: '02:00:00:00:00:0a',
      offload: false,
      capture: 'x.pcapng',
      netns: 'blue',
      json: true,
      quiet: true,
      color: false,
    });
  });

  it("leave the kernel's side alone when only --ip is given", () => {
    expect(planHost(parse('--ip', '10.9.0.2/24')).hostIp).toBeUndefined();
  });

  it.each([
    ['--ip', '10.7.0.2', /--ip .*'10\.7\.0\.2'.*prefix length, as 10\.7\.0\.2\/24/],
    ['--ip', '10.7.0.2/33', /prefix length/],
    ['--ip', '10.7.0/24', /prefix length/],
    ['--ip', '10.7.0.0/24', /not the address of one host/],
    ['--ip', '10.7.0.255/24', /not the address of one host/],
    ['--ip', '224.0.0.1/24', /not the address of one host/],
    ['--ip', '127.0.0.1/8', /not the address of one host/],
    ['--ip', '0.0.0.0/0', /not the address of one host/],
    ['--host-ip', 'tap0', /--host-ip/],
    ['--gateway', '10.7.0.256', /--gateway .*Give an address/],
    ['--gateway', '255.255.255.255', /not the address of one host/],
    ['--mtu', '575', /--mtu .*'575'.*from 576 to 65535/],
    ['--mtu', '1e3', /from 576 to 65535/],
    ['--mtu', '-1', /./],
    ['--mac', '01:00:5e:00:00:01', /--mac .*group address/],
    ['--mac', '00:00:00:00:00:00', /all zero/],
    ['--mac', '02:00:00:00:00', /six bytes/],
    ['--tap', 'a-name-of-sixteen', /--tap .*1 to 15 characters/],
    ['--tap', 'a/b', /--tap/],
    ['--tap', '', /--tap/],
    ['--netns', '../x', /--netns/],
    ['--bogus', '1', /--bogus/],
  ])('%s %s is refused by name', (flag, value, words) => {
    expect(() => parse(flag, value)).toThrow(CommanderError);
    expect(() => parse(flag, value)).toThrow(words);
  });

  it.each([
    [['--host-ip', '10.7.0.1/24'], /--host-ip.*add the stack's own/],
    [['--ip', '10.7.0.2/24', '--host-ip', '10.7.0.2/24'], /both 10\.7\.0\.2/],
    [['--ip', '10.7.0.2/24', '--host-ip', '10.8.0.1/24'], /lies in no network/],
    [['--gateway', '10.9.0.1'], /--gateway 10\.9\.0\.1 lies in no network/],
    [['--gateway', '10.7.0.2'], /is the stack itself/],
  ])('%s make no sense together', (argv, words) => {
    expect(() => planHost(parse(...argv))).toThrow(UsageError);
    expect(() => planHost(parse(...argv))).toThrow(words);
  });

  it('the same --ip twice is refused', () => {
    expect(() => parse('--ip', '10.7.0.2/24', '--ip', '10.7.0.2/24')).toThrow(/given twice/);
  });
});

describe('numbers', () => {
  it.each(['', ' 1', '1 ', '+1', '-1', '0x1', '1e1', '1.0', '11', '00000000000000001'])(
    '"%s" is refused',
    (text) => {
      expect(() => wholeNumber(0, 10)(text)).toThrow();
    },
  );
  it('whole numbers and seconds', () => {
    expect(wholeNumber(0, 10)('10')).toBe(10);
    expect(seconds(0, 10)('.5')).toBe(0.5);
    expect(seconds(0, 10)('2')).toBe(2);
    for (const text of ['', '.', '1e1', '-1', '11', 'Infinity']) expect(() => seconds(0, 10)(text)).toThrow();
  });
});
