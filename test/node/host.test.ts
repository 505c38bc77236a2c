// createHost and what a host does by itself: options, ping, arping, captures, diagnostics, going down.

import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPipe } from '../../src/link/pipe.ts';
import { createHost, type Host, type HostOptions } from '../../src/node/host.ts';
import { readCapture } from '../../src/node/pcap-file.ts';
import { wire } from './wire.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';

describe('options', () => {
  const device = () => createPipe()[0];
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['no device', {}, /^tap, device: give one of the two$/],
    ['two devices', { tap: 'tap0', device: device() }, /^tap, device:/],
    ['no address', { device: device(), ipv4: 'camera' }, /^ipv4: "camera" is no IPv4 address/],
    ['no prefix', { device: device(), ipv4: '10.0.0.1' }, /lacks a prefix length, such as 10\.0\.0\.1\/24$/],
    ['a group', { device: device(), ipv4: '224.0.0.1/24' }, /not the address of one host/],
    ['a subnet', { device: device(), ipv4: '10.0.0.0/24' }, /first or last address of its subnet/],
    ['a broadcast', { device: device(), ipv4: '10.0.0.255/24' }, /first or last address of its subnet/],
    [
      'a far gateway',
      { device: device(), ipv4: '10.0.0.1/24', gateway: '10.1.0.1' },
      /^gateway: .* cannot be reached$/,
    ],
    ['itself as gateway', { device: device(), ipv4: '10.0.0.1/24', gateway: A }, /is our own address$/],
    ['a group MAC', { tap: 'tap0', mac: '01:00:5e:00:00:01' }, /^mac: .* group address/],
    ['no MAC', { tap: 'tap0', mac: 'x' }, /^mac: "x" is no link address/],
    ['a small MTU', { device: device(), mtu: 67 }, /^mtu: 67 .* from 68 \(RFC 791\) to 1500/],
    ['a large MTU', { device: device(), mtu: 9000 }, /^mtu: 9000/],
    ['a TAP option without one', { device: device(), hostIp: '10.0.0.9/24' }, /^hostIp: goes with a TAP/],
  ])('%s is refused in one clear line', async (_name, options, message) => {
    const error = await createHost(options as HostOptions).catch((e) => e);
    expect(error.code).toBe('ERR_INVALID_HOST_OPTION');
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
  });

  test.each(['dhcp'])('ipv4: %s is not there yet and says so', async (ipv4) => {
    await expect(createHost({ device: device(), ipv4 })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_HOST_OPTION',
    });
  });

  test('/31 and /32 have no edges (RFC 3021); MTU 68 is enough to talk', async () => {
    const [x, y] = createPipe();
    const a = await createHost({ device: x, ipv4: '10.0.0.0/31', mtu: 68 });
    const b = await createHost({ device: y, ipv4: '10.0.0.1/31', mtu: 68 });
    const server = b.net.createServer((s) => s.pipe(s)).listen(80);
    const client = a.net.connect(80, '10.0.0.1');
    client.end('x'.repeat(1000));
    let text = '';
    for await (const chunk of client) text += chunk;
    expect(text.length).toBe(1000);
    server.close();
    await Promise.all([a.close(), b.close()]);
  });

  test('an aborted signal opens nothing; a later one closes the host', async () => {
    await expect(createHost({ device: device(), signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
    const controller = new AbortController();
    const host = await createHost({ device: device(), ipv4: '10.0.0.1/24', signal: controller.signal });
    const closed = once(host, 'close');
    controller.abort();
    await closed;
  });
});

describe('questions', () => {
  test('ping answers with time, TTL and size', async () => {
    await using w = await wire();
    const reply = await w.a.ping(B, { size: 1000, ttl: 9 });
    expect(reply).toMatchObject({ bytes: 1000, ttl: 64 });
    expect(reply.rtt).toBeGreaterThan(0);
    expect((await w.a.ping(B, { size: 20_000 })).bytes).toBe(20_000);
    expect((await w.a.ping(A)).bytes).toBe(56);
    expect((await w.a.ping('127.0.0.1')).bytes).toBe(56);
  });

  test('nobody answers: ETIMEDOUT; no way: ENETUNREACH; aborted: AbortError', async () => {
    await using w = await wire();
    await expect(w.a.ping('10.0.0.9', { timeout: 50 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'ping',
    });
    await expect(w.a.ping('10.9.9.9')).rejects.toMatchObject({ code: 'ENETUNREACH' });
    await expect(w.a.ping(B, { size: 70_000 })).rejects.toMatchObject({ code: 'EMSGSIZE' });
    await expect(w.a.ping('camera')).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(w.a.ping('10.0.0.9', { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  test('arping tells who has an address', async () => {
    await using w = await wire();
    const { mac, rtt } = await w.a.arping(B);
    expect(mac).toBe('02:00:00:00:00:0b');
    expect(rtt).toBeGreaterThan(0);
    await expect(w.a.arping('10.0.0.9', { timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('connections and counters show what is there', async () => {
    await using w = await wire();
    const server = w.b.net.createServer().listen(80);
    const udp = w.b.dgram.createSocket('udp4').bind(53);
    const client = w.a.net.connect(80, B);
    await Promise.all([once(client, 'connect'), once(server, 'connection'), once(udp, 'listening')]);
    expect(w.b.connections()).toMatchObject([
      { protocol: 'tcp', localAddress: '0.0.0.0', localPort: 80, state: 'LISTEN' },
      { protocol: 'tcp', localAddress: B, localPort: 80, remoteAddress: A, state: 'ESTABLISHED' },
      { protocol: 'udp', localAddress: '0.0.0.0', localPort: 53 },
    ]);
    const counters = w.a.counters();
    expect(counters.tcp.tcpActiveOpens).toBe(1);
    expect(counters.device.txFrames).toBeGreaterThan(0);
    client.destroy();
    server.close();
    udp.close();
  });

  test('a host talks to itself by its own address and by 127.0.0.1', async () => {
    await using w = await wire();
    const server = w.a.net.createServer((s) => s.end('self')).listen(80);
    for (const host of [A, '127.0.0.1', 'localhost', '0.0.0.0']) {
      const client = w.a.net.connect(80, host);
      expect(String((await once(client, 'data'))[0])).toBe('self');
      client.destroy();
    }
    server.close();
  });
});

describe('events and diagnostics', () => {
  test('address and conflict', async () => {
    const [x, y] = createPipe();
    const a = await createHost({ device: x, ipv4: '10.0.0.1/24' });
    expect((await once(a, 'address'))[0]).toEqual({ address: '10.0.0.1/24', interface: 'pipe-a' });
    const b = await createHost({ device: y, ipv4: '10.0.0.1/24' });
    const [conflict] = await Promise.race([once(a, 'conflict'), once(b, 'conflict')]);
    expect(conflict).toMatchObject({ address: '10.0.0.1' });
    await Promise.all([a.close(), b.close()]);
  });

  test('frames and transitions are published while somebody subscribes', async () => {
    await using w = await wire();
    const seen: Record<string, number> = {};
    const note = (_: unknown, name: string | symbol) => {
      seen[String(name)] = (seen[String(name)] ?? 0) + 1;
    };
    // The refused SYN is the frame that is dropped.
    const names = ['tapstack:frame:drop', 'tapstack:frame:rx', 'tapstack:frame:tx', 'tapstack:tcp:state'];
    for (const name of names) subscribe(name, note);
    await w.a.ping(B);
    const failed = w.a.net.connect(81, B);
    await once(failed, 'error');
    for (const name of names) unsubscribe(name, note);
    const before = { ...seen };
    await w.a.ping(B);
    expect(seen).toEqual(before);
    expect(Object.keys(seen).sort()).toEqual(names);
  });
});

describe('captures', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tapstack-host-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('from the start, and another one in between, each with the stack’s comments', async () => {
    const whole = join(folder, 'whole.pcapng');
    const part = join(folder, 'part.pcapng');
    {
      await using w = await wire({ a: { capture: whole } });
      await w.a.ping(B);
      const capture = w.a.capture(part);
      const server = w.b.net.createServer((s) => s.end('x'.repeat(5000))).listen(80);
      const client = w.a.net.connect(80, B);
      client.resume();
      await once(client, 'close');
      await capture.stop();
      await w.a.ping(B);
      server.close();
    }
    const read = async (file: string) => {
      const packets = [];
      for await (const record of readCapture(file)) if (record.kind === 'packet') packets.push(record);
      return packets;
    };
    const all = await read(whole);
    const some = await read(part);
    expect(some.length).toBeGreaterThan(5);
    expect(all.length).toBeGreaterThanOrEqual(some.length + 4);
    const comments = some.flatMap((packet) => packet.comments ?? []);
    expect(comments.join('\n')).toMatch(/SYN-SENT → ESTABLISHED/);
  });

  test('a file that cannot be made is an error, and the host is closed again', async () => {
    const [device] = createPipe();
    const file = join(folder, 'no', 'such', 'folder.pcapng');
    await expect(createHost({ device, ipv4: '10.0.0.1/24', capture: file })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('going down', () => {
  test('close ends servers and connections in order, and tells the peer', async () => {
    const w = await wire();
    const server = w.b.net.createServer().listen(80);
    const client = w.a.net.connect(80, B);
    const [peer] = (await once(server, 'connection')) as [import('node:net').Socket];
    const udp = w.b.dgram.createSocket('udp4').bind(53);
    await once(udp, 'listening');
    peer.write('last words');
    const closed = Promise.all([once(server, 'close'), once(peer, 'close'), once(udp, 'close')]);
    let text = '';
    client.on('data', (chunk) => {
      text += chunk;
    });
    const ended = once(client, 'end');
    await w.b.close();
    await closed;
    await ended;
    expect(text).toBe('last words');
    await w.a.close();
    await w.a.close();
  });

  test('a peer that does not end is reset after a while', async () => {
    const w = await wire();
    const server = w.a.net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(80);
    const client = w.b.net.connect(80, A);
    const [peer] = (await once(server, 'connection')) as [import('node:net').Socket];
    client.on('error', () => {});
    const gone = once(client, 'close');
    await w.b.close();
    await gone;
    peer.resume();
    expect((await once(peer, 'error'))[0].code).toBe('ECONNRESET');
    await w.a.close();
  });

  test('a closed host opens nothing any more', async () => {
    const w = await wire();
    await w.close();
    const client = w.a.net.connect(80, B);
    expect((await once(client, 'error'))[0]).toMatchObject({ code: 'ENETDOWN' });
    const server = w.a.net.createServer().listen(80);
    expect((await once(server, 'error'))[0]).toMatchObject({ code: 'ENETDOWN' });
    await expect(w.a.ping(B)).rejects.toMatchObject({ code: 'ERR_HOST_CLOSED' });
    expect(() => w.a.capture('x')).toThrow(expect.objectContaining({ code: 'ERR_HOST_CLOSED' }));
  });

  test('questions that wait for an answer end with the host', async () => {
    const w = await wire();
    const questions = Promise.allSettled([
      w.a.ping('10.0.0.9', { timeout: 60_000 }),
      w.a.arping('10.0.0.9', { timeout: 60_000 }),
    ]);
    await w.close();
    const closed = { status: 'rejected', reason: expect.objectContaining({ code: 'ERR_HOST_CLOSED' }) };
    expect(await questions).toEqual([closed, closed]);
  });

  test('two pairs of hosts with the same addresses do not see each other', async () => {
    await using one = await wire();
    await using two = await wire();
    const answer = async (w: { a: Host; b: Host }, text: string) => {
      const server = w.b.net.createServer((s) => s.end(text)).listen(80);
      const client = w.a.net.connect(80, B);
      const [chunk] = await once(client, 'data');
      server.close();
      return String(chunk);
    };
    expect(await Promise.all([answer(one, 'one'), answer(two, 'two')])).toEqual(['one', 'two']);
  });
});

describe('the process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tapstack-process-'));
  const root = fileURLToPath(new URL('../..', import.meta.url));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeAll(() => {
    buildSync({
      entryPoints: [join(root, 'src/node/wire.ts')],
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      outfile: join(folder, 'wire.mjs'),
    });
  });

  /** Runs a program; resolves with its output when it ends by itself, rejects when it does not. */
  async function run(program: string, first = "import { createWire } from './wire.mjs';"): Promise<string> {
    const file = join(folder, `${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(file, `${first}\nimport { once } from 'node:events';\n${program}`);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--pending-deprecation', file], {
      timeout: 8000,
    });
    expect(stderr).toBe('');
    return stdout.trim();
  }

  test('ends when nothing is left to wait for, although two hosts are up', async () => {
    const out = await run(`
      const { a, b } = await createWire();
      const server = b.net.createServer((s) => s.end('hi')).listen(80);
      const client = a.net.connect(80, '10.0.0.2');
      client.on('data', (chunk) => console.log(String(chunk)));
      client.on('close', () => server.close());
    `);
    expect(out).toBe('hi');
  });

  test('an unreferenced server and socket do not keep it running; a referenced one does', async () => {
    const out = await run(`
      const { a, b } = await createWire();
      const server = b.net.createServer((s) => s.unref()).listen(80).unref();
      const udp = b.dgram.createSocket('udp4').bind(53).unref();
      const client = a.net.connect(80, '10.0.0.2');
      await once(client, 'connect');
      setTimeout(() => { console.log('still here'); client.unref(); }, 300).unref();
      process.on('exit', () => console.log('exit'));
    `);
    expect(out).toBe('still here\nexit');
  });

  test('a paused socket waits for nothing', async () => {
    const out = await run(`
      const { a, b } = await createWire();
      const server = b.net.createServer({ pauseOnConnect: true }).listen(80).unref();
      const client = a.net.connect(80, '10.0.0.2');
      await once(client, 'connect');
      client.unref();
      process.on('exit', () => console.log('exit'));
    `);
    expect(out).toBe('exit');
  });

  test('a Node without what the handles stand on gets one clear error', async () => {
    const out = await run(
      `
      process.binding = undefined;
      const error = await import('./wire.mjs').catch((e) => e);
      console.log(error.code, error.message);
    `,
      '',
    );
    expect(out).toMatch(/^ERR_NODE_INTERNALS Node v\d+\.\d+\.\d+ lacks process\.binding, which .*$/);
  });

  test('host.ref keeps it running until unref or close', async () => {
    const out = await run(`
      const { a } = await createWire();
      a.ref();
      setTimeout(() => { console.log('held'); a.close(); }, 200).unref();
    `);
    expect(out).toBe('held');
  });
});

test('nothing of a closed pair is left on the loop', async () => {
  const before = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
  for (let i = 0; i < 20; i++) {
    const w = await wire();
    const server = w.b.net.createServer((s) => s.pipe(s)).listen(80);
    const client = w.a.net.connect(80, B);
    client.write('x');
    await once(client, 'data');
    client.end();
    server.close();
    await w.close();
  }
  await sleep(50);
  const after = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
  expect(after).toBeLessThanOrEqual(before + 1);
});
