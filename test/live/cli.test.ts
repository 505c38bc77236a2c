// The program as a user starts it, on a real TAP: up with every service, the tools of the system against it, and Ctrl-C.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { build, MAIN } from '../build.ts';
import { describeLive, Namespace, until } from './harness.ts';

/** One run of the program, with what it has said so far. */
class Program {
  readonly child: ChildProcess;
  out = '';
  err = '';

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (chunk) => (this.out += chunk));
    this.child.stderr?.on('data', (chunk) => (this.err += chunk));
  }

  /** Waits until stdout has `words`. */
  async says(words: string | RegExp): Promise<void> {
    const seen = () => (typeof words === 'string' ? this.out.includes(words) : words.test(this.out));
    while (!seen()) {
      if (this.child.exitCode !== null) throw new Error(`ended with ${this.child.exitCode}: ${this.err}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The exit code. */
  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }
}

describeLive('the program on a TAP', ['ping', 'curl', 'nc', 'ss', 'tshark'], () => {
  let space: Namespace;
  let folder: string;
  const running: Program[] = [];
  /** Options of a TAP of this test's own: in the namespace, so the names meet nobody else's. */
  const link = () => [
    '--netns',
    space.name,
    '--tap',
    'tscli0',
    '--ip',
    '10.7.0.2/24',
    '--host-ip',
    '10.7.0.1/24',
  ];
  const start = (...args: string[]) => {
    const program = new Program(args);
    running.push(program);
    return program;
  };

  /** Waits until the kernel listens on a port in the namespace. */
  const listens = (port: number) =>
    until(() => space.run('ss', '-ltn').includes(`:${port} `), `the kernel listens on ${port}`, 30_000);

  beforeAll(() => build(), 120_000);
  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-cli-'));
  });
  afterEach(async () => {
    for (const program of running.splice(0)) {
      program.child.kill('SIGKILL');
      await program.ended();
    }
    space.remove();
    rmSync(folder, { recursive: true });
  });
  afterAll(() => {
    expect(existsSync('/sys/class/net/tscli0')).toBe(false);
  });

  it('up answers ping, curl and nc; Ctrl-C completes the capture and ends with 0', async () => {
    const file = join(folder, 'up.pcapng');
    const up = start('up', ...link(), '--http', '--echo', '--discard', '--chargen', '--capture', file);
    await up.says('address');
    await up.says('chargen, udp');

    expect(space.run('ping', '-c', '3', '-i', '0.01', '10.7.0.2')).toContain('3 received');
    expect(space.run('curl', '-sS', 'http://10.7.0.2/')).toContain('<h1>tapstack</h1>');
    const size = '30000000';
    expect(
      space.run('curl', '-sS', '-o', '/dev/null', '-w', '%{size_download}', `http://10.7.0.2/bytes/${size}`),
    ).toBe(size);
    const posted = space.run('curl', '-sS', '--data-binary', `@${MAIN}`, 'http://10.7.0.2/hash');
    const { stdout } = spawnSync('sha256sum', [MAIN], { encoding: 'utf8' });
    expect(posted.trim()).toBe(stdout.split(' ')[0]);
    expect(space.run('sh', '-c', 'echo hello | nc -N -w 30 10.7.0.2 7')).toBe('hello\n');
    expect(space.run('sh', '-c', 'echo datagram | nc -u -w 1 10.7.0.2 7')).toBe('datagram\n');
    expect(space.run('sh', '-c', 'nc -w 30 10.7.0.2 19 < /dev/null | head -c 74')).toMatch(/^ !"#\$%&/);
    const status = JSON.parse(space.run('curl', '-sS', 'http://10.7.0.2/status.json'));
    expect(status).toMatchObject({
      name: 'tapstack',
      interface: { addresses: [{ address: '10.7.0.2/24' }] },
    });

    up.child.kill('SIGINT');
    expect(await up.ended()).toBe(0);
    expect(up.out).toMatch(/up .*: received .* frames, sent .*connection.*capture in/);
    expect(up.err).toBe('Ctrl-C ends it.\n');
    const bad = spawnSync(
      'tshark',
      [
        '-r',
        file,
        '-o',
        'tcp.check_checksum:TRUE',
        '-o',
        'ip.check_checksum:TRUE',
        '-Y',
        '_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0',
      ],
      { encoding: 'utf8' },
    );
    expect(bad.status).toBe(0);
    expect(bad.stdout).toBe('');
  }, 60_000);

  it('ping, arping, nc and get reach the kernel', async () => {
    const server = space.spawn('sh', ['-c', 'echo from the kernel | nc -l -N 8080'], {
      stdio: 'ignore',
    });
    const ping = start('ping', ...link(), '-c', '2', '-i', '0', '10.7.0.1', '--json');
    expect(await ping.ended()).toBe(0);
    expect(JSON.parse(ping.out.trim().split('\n').at(-1) ?? '')).toMatchObject({ sent: 2, received: 2 });

    const arping = start('arping', ...link(), '-c', '1', '10.7.0.1');
    expect(await arping.ended()).toBe(0);
    expect(arping.out).toMatch(/^10\.7\.0\.1 is at ([0-9a-f]{2}:){5}[0-9a-f]{2}, time=/);

    await listens(8080);
    const nc = start('nc', ...link(), '-w', '30', '10.7.0.1', '8080');
    nc.child.stdin?.end();
    expect(await nc.ended()).toBe(0);
    expect(nc.out).toBe('from the kernel\n');
    server.kill();

    const http = space.spawn(process.execPath, [
      '-e',
      "require('http').createServer((q, s) => s.end('kernel ' + q.url)).listen(8000)",
    ]);
    await listens(8000);
    const get = start('get', ...link(), 'http://10.7.0.1:8000/path');
    expect(await get.ended()).toBe(0);
    expect(get.out).toBe('kernel /path');
    http.kill();
  }, 60_000);

  it('ping ends with 1 when nobody is there, nc says what happened', async () => {
    const ping = start('ping', ...link(), '-c', '1', '-W', '0.2', '10.7.0.99');
    expect(await ping.ended()).toBe(1);
    const nc = start('nc', ...link(), '10.7.0.1', '1');
    nc.child.stdin?.end();
    expect(await nc.ended()).toBe(1);
    expect(nc.err).toMatch(/^tapstack nc: connect ECONNREFUSED 10\.7\.0\.1:1\n$/);
  });

  it('a large body crosses whole, both ways', async () => {
    const up = start('up', ...link(), '--http', '--json');
    await up.says('"address"');
    const sum = space.run('sh', '-c', 'curl -sS http://10.7.0.2/bytes/50000000 | sha256sum').split(' ')[0];
    const expected = createHash('sha256');
    const block = Buffer.from(Array.from({ length: 251 * 1000 }, (_, i) => i % 251));
    for (let left = 50_000_000; left > 0; left -= block.length) expected.update(block.subarray(0, left));
    expect(sum).toBe(expected.digest('hex'));
    const back = space.run(
      'sh',
      '-c',
      'head -c 50000000 /dev/zero | curl -sS --data-binary @- -H Expect: http://10.7.0.2/hash',
    );
    expect(back.trim()).toBe(createHash('sha256').update(Buffer.alloc(50_000_000)).digest('hex'));
    up.child.kill('SIGTERM');
    expect(await up.ended()).toBe(0);
    expect(JSON.parse(up.out.trim().split('\n').at(-1) ?? '')).toMatchObject({
      event: 'closed',
      accepted: 2,
    });
  }, 60_000);
});
