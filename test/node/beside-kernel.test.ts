// The same program over node:net and over host.net, node:dgram and host.dgram, each on its own 127.0.0.1: what it sees must
// be the same, word for word. The kernel's sockets are the specification here.

import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { HostDgram } from '../../src/node/dgram.ts';
import type { HostNet } from '../../src/node/net.ts';
import { wire } from './wire.ts';

interface World {
  readonly net: HostNet;
  readonly dgram: HostDgram;
  /** Notes what the program saw. */
  see(...facts: unknown[]): void;
}

const HERE = '127.0.0.1';

/** Ports are chosen by chance: each becomes a letter, in the order of appearance. */
function withoutPorts(text: string): string {
  const seen: string[] = [];
  return text.replace(/\b(?:3[2-9]|[45]\d|6[0-5])\d{3}\b/g, (port) => {
    if (!seen.includes(port)) seen.push(port);
    return `port ${String.fromCharCode(97 + seen.indexOf(port))}`;
  });
}

/** An error with everything that a program can look at. */
function shape(fact: unknown): unknown {
  if (!(fact instanceof Error)) return fact;
  return { ...fact, name: fact.name, message: fact.message };
}

async function run(program: (world: World) => Promise<void>, faces: Pick<World, 'net' | 'dgram'>) {
  const seen: string[] = [];
  const see = (...facts: unknown[]) => void seen.push(JSON.stringify(facts.map(shape)));
  await program({ ...faces, see });
  return withoutPorts(seen.join('\n')).split('\n');
}

function same(what: string, program: (world: World) => Promise<void>): void {
  test(what, async () => {
    const kernels = await run(program, { net, dgram } as unknown as World);
    await using w = await wire();
    const ours = await run(program, w.a);
    expect(ours).toEqual(kernels);
    expect(kernels.join()).not.toBe('');
  });
}

/** Waits for the end of a socket, whatever comes before. */
function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** Notes the events of a connection in their order. */
function watch(socket: net.Socket, { see }: World): net.Socket {
  for (const event of ['connect', 'ready', 'end', 'error', 'close', 'connectionAttemptFailed'])
    socket.on(event, (...values) => see(event, ...values));
  return socket;
}

async function listening(server: net.Server): Promise<number> {
  server.listen(0, HERE);
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

describe('errors of a connection', () => {
  same('nobody listens', async (world) => {
    await closed(watch(world.net.connect(1, HERE), world).resume());
  });

  same('nobody listens, seen from a local port that was asked for', async (world) => {
    const wishes = { port: 1, host: HERE, localAddress: HERE, localPort: 45_679 };
    await closed(watch(world.net.connect(wishes), world));
  });

  same('port 0 is refused as any other, and not before connect has returned', async (world) => {
    const socket = watch(world.net.connect(0, HERE), world);
    world.see('connecting', socket.connecting);
    await closed(socket);
  });

  same('a local address that is not ours', async (world) => {
    const wishes = { port: 1, host: HERE, localAddress: '203.0.113.9' };
    await closed(watch(world.net.connect(wishes), world));
  });

  same('a second connect before the first is done', async (world) => {
    const server = world.net.createServer((peer) => peer.on('error', () => {}));
    const port = await listening(server);
    const socket = watch(world.net.connect(port, HERE), world);
    socket.connect(port, HERE);
    await closed(socket);
    server.close();
  });

  same('four-tuple in use', async (world) => {
    const server = world.net.createServer((peer) => peer.on('error', () => {}).resume());
    const wishes = { port: await listening(server), host: HERE, localPort: 45_681 };
    const first = world.net.connect(wishes);
    await once(first, 'connect');
    await closed(watch(world.net.connect(wishes), world));
    first.resetAndDestroy();
    server.close();
  });

  same('written to after a reset', async (world) => {
    const server = world.net.createServer((peer) => {
      peer.once('data', () => peer.resetAndDestroy());
    });
    const socket = world.net.connect(await listening(server), HERE);
    socket.write('reset me');
    await closed(watch(socket, world));
    socket.write('late', (error) => world.see('written', error));
    await sleep(5);
    server.close();
  });

  same('an address in use, and one that is not ours', async (world) => {
    const server = world.net.createServer();
    const port = await listening(server);
    for (const [wish, address] of [
      [port, HERE],
      [8080, '203.0.113.9'],
    ] as const) {
      const other = world.net.createServer();
      other.listen(wish, address);
      world.see(...(await once(other, 'error')));
    }
    server.close();
  });

  same('a buffer for onread that is empty, or that was taken away', async (world) => {
    const server = world.net.createServer((peer) => peer.on('error', () => {}).write('bytes'));
    const port = await listening(server);
    const onread = { buffer: () => Buffer.alloc(0), callback: () => true };
    await closed(watch(world.net.connect({ port, host: HERE, onread }), world));
    server.close();
  });
});

describe('errors of datagrams', () => {
  const errors = ({ see }: World, socket: dgram.Socket) => socket.on('error', (error) => see('error', error));

  same('an address of the other family', async (world) => {
    const sender = errors(world, world.dgram.createSocket('udp4'));
    sender.send('x', 9, '::1', (error) => world.see('sent', error));
    const binder = errors(world, world.dgram.createSocket('udp4'));
    binder.bind(0, '::1');
    const caller = errors(world, world.dgram.createSocket('udp4'));
    caller.connect(9, '::1');
    await sleep(20);
    for (const socket of [sender, binder, caller]) socket.close();
  });

  same('too long, by one and by much', async (world) => {
    const socket = world.dgram.createSocket('udp4');
    for (const length of [65_508, 100_000]) {
      socket.send(Buffer.alloc(length), 9, HERE, (error) => world.see(length, error));
      await sleep(5);
    }
    socket.close();
  });

  same('nobody there, for a connected socket', async (world) => {
    const gone = world.dgram.createSocket('udp4').bind(0, HERE);
    await once(gone, 'listening');
    const { port } = gone.address();
    gone.close();
    const socket = errors(world, world.dgram.createSocket('udp4'));
    socket.connect(port, HERE);
    await once(socket, 'connect');
    socket.send('x');
    await once(socket, 'error');
    socket.close();
  });

  same('port and address in use; not ours; options before bind', async (world) => {
    const first = world.dgram.createSocket('udp4').bind(0, HERE);
    await once(first, 'listening');
    for (const [port, address] of [
      [first.address().port, HERE],
      [8080, '203.0.113.9'],
    ] as const) {
      const second = world.dgram.createSocket('udp4').bind(port, address);
      world.see(...(await once(second, 'error')));
      second.close();
    }
    const unbound = world.dgram.createSocket('udp4');
    for (const call of [() => unbound.setTTL(5), () => unbound.getRecvBufferSize(), () => unbound.address()])
      expect(() => call()).toThrow(
        expect.toSatisfy((error) => {
          world.see(error);
          return true;
        }),
      );
    first.close();
    unbound.close();
  });
});
