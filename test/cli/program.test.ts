// The command line as a whole: help, refusals in one line, exit codes, the demo, and the built program under a shell.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { version } from '../../src/cli/package.ts';
import { run } from '../../src/cli/program.ts';
import { build, MAIN } from '../build.ts';
import { makeWorld, type World } from './world.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tapstack-program-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function tapstack(...argv: string[]): Promise<{ code: number; world: World; out: string }> {
  const world = makeWorld();
  const code = await run(argv, world.io);
  return { code, world, out: world.out().toString() };
}

const NAMES = COMMANDS.map((make) => make({ io: makeWorld().io, finish: () => {} }).name());

describe('help and version', () => {
  it('--help names every command and ends with 0', async () => {
    const { code, out, world } = await tapstack('--help');
    expect(code).toBe(0);
    expect(world.err()).toBe('');
    for (const name of NAMES) expect(out).toMatch(new RegExp(`^  ${name} `, 'm'));
  });

  it.each(NAMES)('%s --help has examples and ends with 0', async (name) => {
    const { code, out } = await tapstack(name, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^Usage: tapstack ${name} `));
    expect(out).toMatch(/^Examples:$/m);
    expect((await tapstack('help', name)).out).toBe(out);
  });

  it('--version', async () => {
    expect(await tapstack('--version')).toMatchObject({ code: 0, out: `${version()}\n` });
    expect(version()).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('without a command: the help on stderr, and 2', async () => {
    const { code, out, world } = await tapstack();
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(world.err()).toContain('Usage: tapstack');
  });
});

describe('what makes no sense ends with 2 and one line on stderr', () => {
  it.each([
    [['upp'], /unknown command 'upp'.*Did you mean up/],
    [['up', '--htpp'], /unknown option '--htpp'.*Did you mean --http/],
    [['up', '--http', '0'], /--http.*'0' is invalid\. Give a whole number from 1 to 65535/],
    [['up', 'more'], /too many arguments/],
    [['up', '--ip'], /--ip.*argument missing/],
    [['up', '--ip', 'fe80::1/64'], /--ip.*IPv6 is not there yet/],
    [['up', '--host-ip', '10.7.0.1/24'], /^tapstack up: --host-ip is the kernel's address/],
    [['ping'], /missing required argument 'address'/],
    [['ping', 'localhost'], /'localhost' is invalid.*names are not looked up/],
    [['ping', '-s', '65508', '10.7.0.1'], /from 0 to 65507/],
    [['arping', '224.0.0.1'], /not the address of one host/],
    [['nc', '10.7.0.1'], /^tapstack nc: give a port after 10\.7\.0\.1/],
    [['nc', '--capture', '-', '10.7.0.1', '7'], /--capture - would mix/],
    [['get', 'ftp://10.7.0.1/'], /Give a URL, as http/],
    [['get', 'http://example.org/'], /names are not looked up/],
    [['get', '-H', 'no colon', 'http://10.7.0.1/'], /Give "Name: value"/],
    [['get', '--json', 'http://10.7.0.1/'], /--json needs -o/],
    [['dissect'], /missing required argument 'file'; see 'tapstack dissect --help'\n$/],
    [['up', '--mtu', '5'], /Give a whole number from 576 to 65535; see 'tapstack up --help'\n$/],
    [['--no-such'], /unknown option '--no-such'; see 'tapstack --help'\n$/],
  ])('%j', async (argv, words) => {
    const { code, out, world } = await tapstack(...argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(world.err()).toMatch(words);
    expect(world.err().split('\n')).toHaveLength(2);
    expect(world.err()).toMatch(/^tapstack/);
  });
});

describe('the demo', () => {
  it('pings, fetches its own page by HTTP and hears its echo, and ends with 0', async () => {
    const { code, out, world } = await tapstack('up', '--demo');
    expect(world.err()).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('Echo (ping) reply');
    expect(out).toMatch(/TCP CLOSED → SYN-RECEIVED/);
    expect(out).toMatch(/200, \d+ bytes: tapstack on 10\.7\.0\.2/);
    expect(out).toContain('\nWas it a car or a cat I saw?\n');
    expect(out).toMatch(/\d+ frames, .* kB\n$/);
    expect(out).not.toMatch(/Malformed|Retransmission/);
  });

  it('--json tells the same as events', async () => {
    const { world } = await tapstack('up', '--demo', '--json', '--http', '8080', '--ip', '192.168.1.1/30');
    const events = world.events();
    expect(events.filter((e) => e.event === 'step').map((e) => e.command)).toEqual([
      'ping -c 1 192.168.1.1',
      'curl http://192.168.1.1:8080/',
      "echo 'Was it a car or a cat I saw?' | nc -N 192.168.1.1 7",
    ]);
    expect(events.find((e) => e.event === 'response')).toMatchObject({ status: 200 });
    expect(events.at(-1)).toMatchObject({
      event: 'closed',
      frames: events.filter((e) => e.event === 'frame').length,
    });
  });

  it('--quiet prints nothing; the capture is whole, and dissect prints it', async () => {
    const file = join(folder, 'demo.pcapng');
    expect(await tapstack('up', '--demo', '--quiet', '--capture', file)).toMatchObject({ code: 0, out: '' });
    const lines = await tapstack('dissect', file);
    expect(lines.code).toBe(0);
    expect(lines.out).toMatch(/^ {4}1 +0\.000000 .* ARP /);
    expect(lines.out).toContain('GET / HTTP/1.1');
    const { world } = await tapstack('dissect', '--json', '-V', '-c', '2', file);
    expect(world.events()).toHaveLength(2);
    expect(world.events()[0]).toMatchObject({
      event: 'frame',
      number: 1,
      protocol: 'ARP',
      layers: expect.any(Array),
    });
    expect((await tapstack('dissect', '-V', '-c', '1', file)).out).toMatch(/^Ethernet/m);
  });

  it('a reader that goes away ends it without a word, whatever it was doing', async () => {
    for (let lines = 1; lines < 25; lines += 2) {
      const world = makeWorld();
      const { write } = world.io.stdout;
      let left = lines;
      world.io.stdout.write = ((...values: Parameters<typeof write>) => {
        if (--left === 0) setImmediate(() => world.stop('EPIPE'));
        return write.apply(world.io.stdout, values);
      }) as typeof write;
      expect(await run(['up', '--demo'], world.io)).toBe(0);
      expect(world.err()).toBe('');
    }
  });

  it('--seed decides the chance: the identifier of the echo request', async () => {
    const identifier = async (seed: string) => {
      const { out } = await tapstack('up', '--demo', '--seed', seed);
      return /request +id=(0x[0-9a-f]+)/.exec(out)?.[1];
    };
    const first = await identifier('7');
    expect(first).toBeDefined();
    expect(await identifier('7')).toBe(first);
    expect(await identifier('8')).not.toBe(first);
  });
});

describe('dissect', () => {
  it('ends with 1 for what is no capture, a cut one, and nothing at all', async () => {
    const file = join(folder, 'none');
    writeFileSync(file, 'this is no capture');
    const bad = await tapstack('dissect', file);
    expect(bad.code).toBe(1);
    expect(bad.world.err()).toMatch(/^tapstack dissect: .*none: .*pcap/);
    const absent = await tapstack('dissect', join(folder, 'absent'));
    expect(absent.code).toBe(1);
    expect(absent.world.err()).toMatch(/^tapstack dissect: ENOENT/);
  });
});

describe('the built program', () => {
  beforeAll(() => build(), 120_000);

  it('runs, and refuses with 2', () => {
    expect(spawnSync(process.execPath, [MAIN, '--version'], { encoding: 'utf8' }).stdout).toBe(
      `${version()}\n`,
    );
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'up', '--nonsense'], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^tapstack: unknown option '--nonsense'/);
  });

  it('a reader that goes away ends it without a word', () => {
    const file = join(folder, 'pipe.pcapng');
    spawnSync(process.execPath, [MAIN, 'up', '--demo', '--quiet', '--capture', file]);
    const line = `"$0" "$1" dissect -V "$2" | head -1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', line, process.execPath, MAIN, file], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toHaveLength(2);
    expect(stdout).toMatch(/\n0\n$/);
  });

  it('a full disk behind stdout is one line and 1', () => {
    for (const words of ['up --demo', '--help']) {
      const line = `"$0" "$1" ${words} > /dev/full`;
      const { stderr, status } = spawnSync('bash', ['-c', line, process.execPath, MAIN], {
        encoding: 'utf8',
      });
      expect(stderr).toMatch(/^tapstack: stdout: ENOSPC.*\n$/);
      expect(status).toBe(1);
    }
  });

  it('writes a capture to stdout, and its words to stderr', () => {
    const demo = spawnSync(process.execPath, [MAIN, 'up', '--demo', '--capture', '-']);
    expect(demo.status).toBe(0);
    expect(demo.stdout.readUInt32BE(0)).toBe(0x0a0d0d0a);
    expect(demo.stderr.toString()).toContain('Echo (ping) reply');
    const dissect = spawnSync(process.execPath, [MAIN, 'dissect', '-'], {
      input: demo.stdout,
      encoding: 'utf8',
    });
    expect(dissect.status).toBe(0);
    expect(dissect.stdout).toContain('Echo (ping) reply');
  });

  it('a signal ends the wait for a stdin that never ends, with 128 and its number', async () => {
    const child = spawn(process.execPath, [MAIN, 'dissect', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    setTimeout(() => child.kill('SIGTERM'), 500);
    expect(await ended).toBe(143);
  });
});
