// `tapstack wire`: two kernels over a bad network of ours, and a host of ours on one.

import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHost } from '../../src/node/host.ts';
import { createTapWire } from '../../src/node/tap-wire.ts';
import { build, MAIN } from '../build.ts';
import { describeLive, Namespace, until } from './harness.ts';
import { hashOfZeros, peer } from './support/peers.ts';
import { fields } from './support/wireshark.ts';

const A = '10.9.0.1';
const B = '10.9.0.2';

describeLive('the wire', ['ping', 'nc', 'tshark'], () => {
  let red: Namespace;
  let blue: Namespace;
  let folder: string;
  let wires: ChildProcess[];

  beforeEach(() => {
    red = new Namespace();
    blue = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-wire-'));
    wires = [];
  });
  afterEach(() => {
    for (const child of wires) child.kill('SIGKILL');
    red.remove();
    blue.remove();
    rmSync(folder, { recursive: true });
  });

  /** The command, running: what it has said so far, and how to end it. */
  async function start(...args: string[]) {
    await build();
    const ends = ['--netns-a', red.name, '--netns-b', blue.name, '--ip-a', `${A}/24`, '--ip-b', `${B}/24`];
    const child = blue.spawn(process.execPath, [MAIN, 'wire', 'wirea', 'wireb', ...ends, '--json', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    wires.push(child);
    let out = '';
    let err = '';
    child.stdout?.on('data', (chunk) => (out += chunk));
    child.stderr?.on('data', (chunk) => (err += chunk));
    const events = () =>
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    await until(() => events().length > 0 || child.exitCode !== null, 'the wire to be up', 60_000);
    expect(err).toBe('');
    return {
      child,
      events,
      stop: async () => {
        child.kill('SIGINT');
        if (child.exitCode === null) await once(child, 'close');
        expect([child.exitCode, err]).toEqual([0, '']);
        return events().at(-1);
      },
    };
  }

  /** Waits for IPv6's first packets to be over: they would count as frames. */
  const settle = () => sleep(50);

  /** Round-trip times of `count` pings, in milliseconds, and how many were lost. */
  async function ping(count: number, ...args: string[]) {
    const { stdout } = await red.exec('ping', '-c', `${count}`, '-i', '0.02', '-W', '2', ...args, B);
    const times = [...stdout.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1]));
    return { times, least: Math.min(...times), received: times.length };
  }

  it('takes as long as it is told, twice, and no less', async () => {
    const wire = await start('--delay', '25ms');
    const { least, received } = await ping(20);
    expect(received).toBe(20);
    expect(least).toBeGreaterThanOrEqual(50);
    // A millisecond of grain each way, and an idle moment among twenty.
    expect(least).toBeLessThan(60);
    const closing = await wire.stop();
    expect(closing).toMatchObject({ event: 'closed', ab: { lost: 0 }, ba: { lost: 0 } });
    expect(closing.late.most).toBeGreaterThanOrEqual(0);
  });

  it('loses the share that it is told, and the counters say which', async () => {
    const wire = await start('--loss', '10%', '--direction', 'ab', '--seed', '5');
    await settle();
    const { received } = await ping(400, '-i', '0.005');
    const { ab, ba } = await wire.stop();
    expect(ba.lost).toBe(0);
    // 400 at 10 %: outside of 15 to 70 once in many millions; ARP and IPv6 may be among them.
    expect(ab.lost).toBeGreaterThan(15);
    expect(ab.lost).toBeLessThan(70);
    expect(400 - received).toBeLessThanOrEqual(ab.lost);
    expect(400 - received).toBeGreaterThan(ab.lost - 15);
  });

  it.each([['--offload'], ['--no-offload']])(
    '%s: TCP gets through loss and damage, bit for bit',
    async (mode) => {
      const BYTES = 5_000_000;
      const server = peer(
        blue,
        `net.createServer({ allowHalfOpen: true }, (s) => {
         const hash = createHash('sha256');
         s.on('data', (d) => hash.update(d)).on('end', () => s.end(hash.digest('hex')));
       }).listen(9000, () => say('ready'));`,
      );
      await server.says('ready');
      const weather = [
        '--delay',
        '2ms',
        '--loss',
        '1%',
        '--corrupt',
        '0.5%',
        '--duplicate',
        '1%',
        '--reorder',
        '1%',
      ];
      const capture = join(folder, 'wire.pcapng');
      const wire = await start(
        ...weather,
        '--seed',
        '3',
        '--capture',
        capture,
        ...(mode === '--no-offload' ? [mode] : []),
      );
      const { stdout } = await red.exec('sh', '-c', `head -c ${BYTES} /dev/zero | nc -N ${B} 9000`);
      expect(stdout).toBe(hashOfZeros(BYTES));
      const { ab, ba } = await wire.stop();
      for (const mishap of ['lost', 'corrupted', 'duplicated', 'reordered'])
        expect(ab[mishap]).toBeGreaterThan(5);
      expect(ab.frames - ab.lost + ab.duplicated).toBeGreaterThanOrEqual(ab.delivered);
      // Both ends are in the file: what one sent is more than what came out at the other, by what was lost.
      const seen = fields(capture, '', 'frame.interface_name', 'frame.packet_flags_direction');
      const times = (name: string, direction: string) =>
        seen.filter(([n, d]) => n === name && Number(d) === Number(direction)).length;
      expect(times('wirea', '1')).toBe(ab.frames);
      expect(times('wireb', '2')).toBe(ab.delivered);
      expect(times('wireb', '1')).toBe(ba.frames);
    },
  );

  it('carries no more than its rate', async () => {
    const wire = await start('--rate', '20mbit', '--queue', '64kb');
    const server = peer(
      blue,
      `net.createServer((s) => { let n = 0; let first = 0; s.on('data', (d) => { first ||= Date.now(); n += d.length; })
         .on('end', () => say('took', Date.now() - first, n)); }).listen(9000, () => say('ready'));`,
    );
    await server.says('ready');
    await red.exec('sh', '-c', `head -c 2000000 /dev/zero | nc -N ${B} 9000`);
    const [took, bytes] = (await server.says('took')).split(' ').map(Number);
    expect(bytes).toBe(2_000_000);
    // 2 MB at 20 Mbit/s are 0.8 s and the headers; the first of them waited in the queue.
    expect(took).toBeGreaterThan(750);
    await wire.stop();
  });

  it('passes link addresses and any frame as they are', async () => {
    const wire = await start();
    red.run('ping', '-c', '1', '-W', '5', B);
    const mac = blue.run('cat', '/sys/class/net/wireb/address').trim();
    expect(red.run('ip', 'neigh', 'show', B)).toContain(mac);
    await wire.stop();
  });

  it('ends by itself, with a reason, when an interface is deleted', async () => {
    await build();
    const wire = await start();
    blue.run('ip', 'link', 'del', 'wireb');
    await once(wire.child, 'close');
    expect(wire.child.exitCode).toBe(1);
    expect(wire.events().at(-1)).toMatchObject({ event: 'closed' });
  });

  it('as a library: changed while it runs, closed by a signal', async () => {
    const stop = new AbortController();
    const wire = createTapWire({
      a: { name: 'wirea', netns: red.name, addresses: `${A}/24` },
      b: { name: 'wireb', netns: blue.name, addresses: `${B}/24` },
      fine: true,
      signal: stop.signal,
    });
    expect((await ping(5)).received).toBe(5);
    wire.change('both', { delay: 30_000 });
    const { least } = await ping(10);
    expect(least).toBeGreaterThanOrEqual(60);
    wire.change('ab', { loss: 1 });
    expect((await red.exec('ping', '-c', '2', '-i', '0.05', '-W', '0.2', B)).status).toBe(1);
    expect(wire.counters.ab.lost).toBeGreaterThan(0);
    stop.abort();
    await wire.closed;
    expect(red.run('ip', 'link')).not.toContain('wirea');
  });

  it('a host of ours behind a bad network of its own: the kernel’s bytes arrive, ours too', async () => {
    await using host = await createHost({
      tap: 'wirea',
      netns: red.name,
      ipv4: `${B}/24`,
      hostIp: `${A}/24`,
      netem: { delay: 10_000, loss: 0.01, seed: 11 },
    });
    const BYTES = 3_000_000;
    const server = host.net.createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256');
      socket.on('data', (data) => hash.update(data)).on('end', () => socket.end(`${hash.digest('hex')}`));
    });
    await host.listen(server, 9000);
    const { stdout } = await red.exec('sh', '-c', `head -c ${BYTES} /dev/zero | nc -N ${B} 9000`);
    expect(stdout).toBe(hashOfZeros(BYTES));
    expect(host.netem?.counters.in.lost).toBeGreaterThan(5);
    const source = host.net.createServer((socket) => socket.end(Buffer.alloc(BYTES)));
    await host.listen(source, 9001);
    const back = await red.exec('sh', '-c', `nc -d ${B} 9001 | sha256sum`);
    expect(back.stdout).toContain(hashOfZeros(BYTES));
    host.netem?.change('both', { loss: 0, delay: 40_000 });
    expect((await host.ping(A)).rtt).toBeGreaterThanOrEqual(80);
  });
});
