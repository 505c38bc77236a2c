// nc as a command, over Node's own sockets.

import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/cli/io.ts';
import { type NcOptions, nc, targetOf } from '../../src/cli/nc.ts';
import { echo } from '../../src/cli/services/simple.ts';
import { dial, readAll, serve } from './sockets.ts';
import { makeWorld } from './world.ts';

const host = { net, dgram };
const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const thing of open.splice(0)) thing.close();
});

/** Waits until `look` gives something. */
async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const seen = look();
    if (seen !== undefined) return seen;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const { server, port } = await serve(() => {});
  server.close();
  await once(server, 'close');
  return port;
}

describe('nc over TCP', () => {
  it('-N finishes after stdin, and reads to the end', async () => {
    const { server, port } = await serve(echo, true);
    open.push(server);
    const world = makeWorld();
    const text = Buffer.alloc(500_000, 'line\n');
    world.stdin.end(text);
    const options: NcOptions = { halfClose: true };
    const code = await nc(host, { address: '127.0.0.1', port }, options, world.io, world.io.stop);
    expect(code).toBe(0);
    expect(world.out().equals(text)).toBe(true);
  });

  it('without -N the end of stdin ends nothing; the peer does', async () => {
    let peer: net.Socket | undefined;
    const { server, port } = await serve((socket) => {
      peer = socket;
    }, true);
    open.push(server);
    const world = makeWorld();
    const done = nc(host, { address: '127.0.0.1', port }, {}, world.io, world.io.stop);
    world.stdin.end('question');
    const there = await until(() => peer);
    await once(there, 'data');
    expect(there.readableEnded).toBe(false);
    there.end('answer');
    expect(await done).toBe(0);
    expect(world.out().toString()).toBe('answer');
  });

  it('a file is sent to its end even if the peer has finished before', async () => {
    let got: Promise<Buffer> | undefined;
    const { server, port } = await serve((socket) => {
      socket.end('early');
      got = readAll(socket);
    }, true);
    open.push(server);
    const world = makeWorld();
    const done = nc(host, { address: '127.0.0.1', port }, {}, world.io, world.io.stop);
    await until(() => (world.out().toString() === 'early' ? true : undefined));
    world.stdin.end('late');
    expect(await done).toBe(0);
    expect((await got)?.toString()).toBe('late');
  });

  it('a refused connection is an error for the caller to print', async () => {
    const port = await freePort();
    const world = makeWorld();
    await expect(nc(host, { address: '127.0.0.1', port }, {}, world.io, world.io.stop)).rejects.toMatchObject(
      {
        code: 'ECONNREFUSED',
      },
    );
  });

  it('a reset ends it with 1', async () => {
    const { server, port } = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
    open.push(server);
    const world = makeWorld();
    world.stdin.write('x');
    expect(await nc(host, { address: '127.0.0.1', port }, {}, world.io, world.io.stop)).toBe(1);
    expect(world.err()).toContain('ECONNRESET');
  });

  it('-l takes one connection and joins it to stdin and stdout', async () => {
    const port = await freePort();
    const world = makeWorld();
    const done = nc(host, { port }, { listen: true, halfClose: true }, world.io, world.io.stop);
    await until(() => (world.err().includes('listening') ? true : undefined));
    const socket = await dial(port, true);
    socket.end('from the peer');
    world.stdin.end('from stdin');
    expect((await readAll(socket)).toString()).toBe('from stdin');
    expect(await done).toBe(0);
    expect(world.out().toString()).toBe('from the peer');
  });

  it('-w ends an idle connection with 0', async () => {
    const { server, port } = await serve(() => {}, false);
    open.push(server);
    const world = makeWorld();
    const options: NcOptions = { timeout: 0.05 };
    expect(await nc(host, { address: '127.0.0.1', port }, options, world.io, world.io.stop)).toBe(0);
  });

  it('Ctrl-C ends it with 130, connected or listening', async () => {
    const { server, port } = await serve(() => {});
    open.push(server);
    for (const options of [{}, { listen: true }] satisfies NcOptions[]) {
      const world = makeWorld();
      const target = options.listen ? { port: await freePort() } : { address: '127.0.0.1', port };
      const done = nc(host, target, options, world.io, world.io.stop);
      setTimeout(() => world.stop(), 50);
      expect(await done).toBe(130);
    }
  });
});

describe('nc over UDP', () => {
  it('a chunk of stdin is a datagram; -w ends it after silence', async () => {
    const server = dgram.createSocket('udp4');
    open.push(server);
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    server.on('message', (message, from) => server.send(`<${message}>`, from.port, from.address));
    const world = makeWorld();
    world.stdin.write('hello');
    const target = { address: '127.0.0.1', port: server.address().port };
    const code = await nc(host, target, { udp: true, timeout: 0.3 }, world.io, world.io.stop);
    expect(code).toBe(0);
    expect(world.out().toString()).toBe('<hello>');
  });

  it('-l answers the first peer', async () => {
    const port = await freePort();
    const world = makeWorld();
    const options: NcOptions = { udp: true, listen: true, timeout: 0.5 };
    const done = nc(host, { address: '127.0.0.1', port }, options, world.io, world.io.stop);
    const peer = dgram.createSocket('udp4');
    open.push(peer);
    world.stdin.write('answer');
    const again = setInterval(() => peer.send('question', port, '127.0.0.1'), 20);
    const [message] = (await once(peer, 'message')) as [Buffer];
    clearInterval(again);
    expect(message.toString()).toBe('answer');
    expect(await done).toBe(0);
    expect(world.out().toString()).toMatch(/^(question)+$/);
  });

  it('a refusal (ICMP port unreachable) ends it with 1', async () => {
    const world = makeWorld();
    const target = { address: '127.0.0.1', port: await freePort() };
    world.stdin.write('anybody?');
    expect(await nc(host, target, { udp: true, timeout: 5 }, world.io, world.io.stop)).toBe(1);
    expect(world.err()).toContain('ECONNREFUSED');
  });
});

describe('the two arguments', () => {
  it.each([
    ['10.7.0.1', '80', {}, { address: '10.7.0.1', port: 80 }],
    ['8080', undefined, { listen: true }, { port: 8080 }],
    ['10.7.0.2', '8080', { listen: true }, { address: '10.7.0.2', port: 8080 }],
    ['fe80::1', '1', {}, { address: 'fe80::1', port: 1 }],
  ] as const)('%s %s', (address, port, options, target) => {
    expect(targetOf(address, port, options)).toEqual(target);
  });

  it.each([
    [undefined, undefined, {}, /give an address and a port/],
    ['10.7.0.1', undefined, {}, /give a port after 10\.7\.0\.1/],
    ['10.7.0.1', '0', {}, /'0' is no port\. Give a whole number from 1 to 65535/],
    ['10.7.0.1', 'http', {}, /'http' is no port/],
    ['localhost', '80', {}, /'localhost' is no address\. .*names are not looked up/],
    ['10.7.0.1', undefined, { listen: true }, /'10\.7\.0\.1' is no port/],
  ] as const)('%s %s is refused', (address, port, options, words) => {
    expect(() => targetOf(address, port, options)).toThrow(UsageError);
    expect(() => targetOf(address, port, options)).toThrow(words);
  });
});
