// get as a command, over Node's own sockets, from the site itself.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GetOptions, get } from '../../src/cli/get.ts';
import type { Facts } from '../../src/cli/services/page.ts';
import { createSite } from '../../src/cli/services/site.ts';
import { makeKeys } from '../node/keys.ts';
import { makeWorld } from './world.ts';

const site = createSite(() => ({ name: 'tapstack' }) as Facts);
let base: string;
let folder: string;

beforeAll(async () => {
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  base = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  folder = await mkdtemp(join(tmpdir(), 'tapstack-get-'));
});
afterAll(async () => {
  site.closeAllConnections();
  site.close();
  await rm(folder, { recursive: true });
});

async function fetch(path: string, options: GetOptions = {}) {
  const world = makeWorld();
  const code = await get({ net }, new URL(path, base), options, world.io, world.io.stop);
  return { code, world };
}

describe('get', () => {
  it('writes the body to stdout, and leaves stdout open', async () => {
    const { code, world } = await fetch('/bytes/300000');
    expect(code).toBe(0);
    expect(world.out().length).toBe(300_000);
    expect(world.io.stdout.writableEnded).toBe(false);
  });

  it('-o writes a file and says how much and how fast', async () => {
    const output = join(folder, 'bytes');
    const { code, world } = await fetch('/bytes/1000000', { output });
    expect(code).toBe(0);
    expect((await readFile(output)).length).toBe(1_000_000);
    expect(world.out().toString()).toMatch(/^200, 1\.0 MB in \d+\.\d{3} s, .*\/s\n$/);
  });

  it('-o --json gives status, bytes and SHA-256', async () => {
    const output = join(folder, 'json');
    const { world } = await fetch('/bytes/1000', { output, json: true });
    const sha256 = createHash('sha256')
      .update(await readFile(output))
      .digest('hex');
    expect(world.events()).toMatchObject([{ event: 'response', status: 200, bytes: 1000, sha256 }]);
  });

  it('-I shows the headers only', async () => {
    const { world } = await fetch('/bytes/5', { head: true });
    expect(world.out().toString()).toMatch(/^HTTP\/1\.1 200 OK\n.*Content-Length: 5\n.*\n\n$/s);
  });

  it('-i shows them before the body, -H sends one', async () => {
    const { world } = await fetch('/bytes/5', { include: true, header: ['Range: bytes=1-2'] });
    const text = world.out().toString('latin1');
    expect(text).toMatch(/^HTTP\/1\.1 206 .*bytes 1-2\/5/s);
    expect(text.split('\n\n')[1]).toBe(String.fromCharCode(1, 2));
  });

  it('-d posts text, a file or stdin', async () => {
    const sha = (text: string) => `${createHash('sha256').update(text).digest('hex')}\n`;
    expect((await fetch('/hash', { data: 'text' })).world.out().toString()).toBe(sha('text'));
    const world = makeWorld();
    world.stdin.end('from stdin');
    await get({ net }, new URL('/hash', base), { data: '@-' }, world.io, world.io.stop);
    expect(world.out().toString()).toBe(sha('from stdin'));
  });

  it('ends with 1 at 400 and above, and still shows the body', async () => {
    const { code, world } = await fetch('/nothing');
    expect(code).toBe(1);
    expect(world.out().toString()).toContain('There is no /nothing here');
    expect(world.err()).toContain('the server answered 404');
  });

  it('a refused connection is an error for the caller to print', async () => {
    const world = makeWorld();
    const url = new URL('http://127.0.0.1:1/');
    await expect(get({ net }, url, {}, world.io, world.io.stop)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });

  it('-m ends it with 124, Ctrl-C with 130', async () => {
    expect((await fetch('/bytes/9007199254740992', { timeout: 0.1, output: '/dev/null' })).code).toBe(124);
    const world = makeWorld();
    setTimeout(() => world.stop(), 50);
    const url = new URL('/bytes/9007199254740992', base);
    expect(await get({ net }, url, { output: '/dev/null' }, world.io, world.io.stop)).toBe(130);
  });

  it('a body that is cut short is a failure', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('short', () => response.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const world = makeWorld();
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await expect(get({ net }, url, {}, world.io, world.io.stop)).rejects.toThrow(/aborted/);
    server.close();
  });

  it('https runs over TLS; -k takes a certificate that nobody vouches for', async () => {
    const server = createTlsServer(makeKeys('127.0.0.1'), (_request, response) => response.end('secret'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const world = makeWorld();
    expect(await get({ net }, url, { insecure: true }, world.io, world.io.stop)).toBe(0);
    expect(world.out().toString()).toBe('secret');
    await expect(get({ net }, url, {}, world.io, world.io.stop)).rejects.toThrow(/self-signed/);
    server.close();
  });

  it('headers from the wire cannot drive the terminal', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 200 \u009b31mred\r\nX: \u0085evil\r\nContent-Length: 0\r\n\r\n', 'latin1');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const world = makeWorld();
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await get({ net }, url, { head: true }, world.io, world.io.stop);
    expect(world.out().toString()).toContain('\\x9b31mred');
    expect(world.out().toString()).not.toMatch(/[\u0080-\u009f]/);
    server.close();
  });
});
