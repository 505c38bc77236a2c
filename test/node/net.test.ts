// host.net: node:net's promises, kept over our TCP. After Node's own test/parallel/test-net-*, in our words.

import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import net from 'node:net';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { allConnections } from '../../src/tcp/tcp.ts';
import { wire } from './wire.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';

type Wire = Awaited<ReturnType<typeof wire>>;

/** A server on b and a client on a, connected; what the server got. */
async function pair(
  { a, b }: Wire,
  serverOptions: net.ServerOpts = {},
  clientOptions: Partial<net.NetConnectOpts> = {},
) {
  const server = b.net.createServer(serverOptions);
  server.listen(0, B);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const accepted = once(server, 'connection');
  const client = a.net.connect({ port, host: B, ...clientOptions } as net.NetConnectOpts);
  await once(client, 'connect');
  const [peer] = (await accepted) as [net.Socket];
  return { server, client, peer, port };
}

/** All bytes until the end. */
async function drain(socket: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function failure(
  socket: net.Socket | net.Server,
): Promise<NodeJS.ErrnoException & { address?: string; port?: number }> {
  const [error] = await once(socket, 'error');
  return error;
}

describe('identity', () => {
  test('sockets and servers are instances of node:net classes', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    expect(client).toBeInstanceOf(net.Socket);
    expect(client).toBeInstanceOf(w.a.net.Socket);
    expect(peer).toBeInstanceOf(net.Socket);
    expect(server).toBeInstanceOf(net.Server);
    client.destroy();
    server.close();
  });

  test('addresses and ports are told as node:net tells them', async () => {
    await using w = await wire();
    const { server, client, peer, port } = await pair(w);
    expect(client.remoteAddress).toBe(B);
    expect(client.remotePort).toBe(port);
    expect(client.remoteFamily).toBe('IPv4');
    expect(client.localAddress).toBe(A);
    expect(client.localPort).toBe(peer.remotePort);
    expect(client.address()).toEqual({ address: A, family: 'IPv4', port: client.localPort });
    expect(peer.remoteAddress).toBe(A);
    expect(peer.localPort).toBe(port);
    expect(server.address()).toEqual({ address: B, family: 'IPv4', port });
    expect(client.pending).toBe(false);
    expect(client.readyState).toBe('open');
    client.destroy();
    expect(client.readyState).toBe('closed');
    server.close();
  });

  test('a new Socket is pending until it connects, and can be used again after it was destroyed', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.end('x')).listen(80);
    await once(server, 'listening');
    const socket = new a.net.Socket();
    expect(socket.pending).toBe(true);
    for (let i = 0; i < 3; i++) {
      socket.connect(80, B);
      expect(socket.connecting).toBe(true);
      await once(socket, 'connect');
      expect(String(await once(socket, 'data'))).toBe('x');
      await once(socket, 'close');
    }
    server.close();
  });

  test('net.client.socket and net.server.socket are published once each', async () => {
    await using w = await wire();
    const seen: string[] = [];
    const note = (_: unknown, name: string | symbol) => seen.push(String(name));
    subscribe('net.client.socket', note);
    subscribe('net.server.socket', note);
    const { server, client } = await pair(w);
    unsubscribe('net.client.socket', note);
    unsubscribe('net.server.socket', note);
    expect(seen.sort()).toEqual(['net.client.socket', 'net.server.socket']);
    client.destroy();
    server.close();
  });

  test("the process's own net is left alone", async () => {
    await using w = await wire();
    const before = Object.getOwnPropertyDescriptors(net);
    const prototypes = [net.Socket, net.Server].map((c) => Reflect.ownKeys(c.prototype).length);
    const { server, client } = await pair(w);
    expect(Object.getOwnPropertyDescriptors(net)).toEqual(before);
    expect([net.Socket, net.Server].map((c) => Reflect.ownKeys(c.prototype).length)).toEqual(prototypes);
    const own = net.createServer((s) => s.end('kernel')).listen(0, '127.0.0.1');
    await once(own, 'listening');
    const socket = net.connect((own.address() as net.AddressInfo).port, '127.0.0.1');
    expect(String(await drain(socket))).toBe('kernel');
    own.close();
    client.destroy();
    server.close();
  });
});

describe('bytes', () => {
  test('echo, also when both sides talk at once', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    peer.pipe(peer);
    client.write('one ');
    client.write('two ');
    client.end('three');
    expect(String(await drain(client))).toBe('one two three');
    expect(client.bytesWritten).toBe(13);
    expect(client.bytesRead).toBe(13);
    server.close();
    await once(server, 'close');
  });

  test('50 MB each way arrive whole, with back-pressure on both sides', { timeout: 60_000 }, async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { allowHalfOpen: true }, { allowHalfOpen: true });
    const SIZE = 50 << 20;
    const CHUNK = randomBytes(1 << 20);
    let waits = 0;
    const talk = async (socket: net.Socket) => {
      const hash = createHash('sha1');
      for (let sent = 0; sent < SIZE; sent += CHUNK.length) {
        hash.update(CHUNK);
        if (!socket.write(CHUNK)) {
          waits++;
          await once(socket, 'drain');
        }
      }
      socket.end();
      return hash.digest('hex');
    };
    const hear = async (socket: net.Socket) => {
      const hash = createHash('sha1');
      let bytes = 0;
      for await (const chunk of socket) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      expect(bytes).toBe(SIZE);
      return hash.digest('hex');
    };
    const [s1, s2, r1, r2] = await Promise.all([talk(client), talk(peer), hear(peer), hear(client)]);
    expect(r1).toBe(s1);
    expect(r2).toBe(s2);
    expect(waits).toBeGreaterThan(0);
    server.close();
  });

  test('a reader that pauses stops the writer, and gets everything in the end', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    const SIZE = 32 << 20;
    peer.pause();
    let written = 0;
    client.write(Buffer.alloc(SIZE, 7), () => {
      written = SIZE;
    });
    client.end();
    await sleep(100);
    // Both buffers of TCP are smaller than this: the write cannot be complete.
    expect(written).toBe(0);
    expect(client.writableLength).toBe(SIZE);
    let got = 0;
    for await (const chunk of peer) got += chunk.length;
    expect(got).toBe(SIZE);
    expect(written).toBe(SIZE);
    server.close();
  });

  test.each(['utf8', 'latin1', 'binary', 'ascii', 'ucs2', 'utf16le', 'hex', 'base64', 'base64url'] as const)(
    'strings in %s are written as Buffer.from would make them',
    async (encoding) => {
      await using w = await wire();
      const { server, client, peer } = await pair(w);
      const text =
        { hex: '00ff10', base64: 'aGVsbG8=', base64url: 'aGVsbG8' }[encoding as string] ?? 'héllo wörld €';
      const long = text.repeat(encoding === 'base64' ? 1 : 9000);
      client.setDefaultEncoding(encoding);
      client.write(text, encoding);
      client.cork();
      client.write(text, encoding);
      client.write(Buffer.from('|'));
      client.uncork();
      client.end(long, encoding);
      const expected = Buffer.concat([
        Buffer.from(text, encoding),
        Buffer.from(text, encoding),
        Buffer.from('|'),
        Buffer.from(long, encoding),
      ]);
      expect((await drain(peer)).equals(expected)).toBe(true);
      server.close();
    },
  );

  test('setEncoding joins characters that a segment cut', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    peer.setEncoding('utf8');
    const euro = Buffer.from('€');
    let text = '';
    peer.on('data', (chunk) => {
      text += chunk;
    });
    for (const byte of euro) {
      client.write(Buffer.of(byte));
      await sleep(5);
    }
    client.end();
    await once(peer, 'end');
    expect(text).toBe('€');
    server.close();
  });

  test('what is corked arrives together', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, {}, { noDelay: true } as Partial<net.NetConnectOpts>);
    client.cork();
    for (let i = 0; i < 10; i++) client.write(`${i}`);
    process.nextTick(() => client.uncork());
    const [chunk] = await once(peer, 'data');
    expect(String(chunk)).toBe('0123456789');
    client.destroy();
    server.close();
  });

  test('writes before the connection is there are kept in order', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer().listen(80);
    const client = a.net.connect(80, B);
    client.write('a');
    client.write(Buffer.from('b'));
    client.end('c');
    expect(client.bytesWritten).toBe(3);
    const [peer] = (await once(server, 'connection')) as [net.Socket];
    expect(String(await drain(peer))).toBe('abc');
    server.close();
  });

  test('onread hands bytes into one buffer of the user', async () => {
    await using w = await wire();
    const { a, b } = w;
    const buffer = Buffer.alloc(1000);
    const parts: Buffer[] = [];
    const payload = randomBytes(100_000);
    const server = b.net.createServer((s) => s.end(payload)).listen(80);
    const client = a.net.connect({
      port: 80,
      host: B,
      onread: {
        buffer,
        callback: (n: number, into: Uint8Array) => {
          expect(into).toBe(buffer);
          parts.push(Buffer.from(into.subarray(0, n)));
          return true;
        },
      },
    });
    await once(client, 'end');
    expect(Buffer.concat(parts).equals(payload)).toBe(true);
    expect(parts.every((part) => part.length <= 1000)).toBe(true);
    server.close();
  });

  test('onread takes a fresh buffer each time, and stops when it is told to', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.end(Buffer.alloc(5000, 1))).listen(80);
    let calls = 0;
    const client = a.net.connect({
      port: 80,
      host: B,
      onread: {
        buffer: (() => Buffer.alloc(700)) as unknown as Buffer,
        callback: () => {
          calls++;
          return calls % 2 === 1;
        },
      },
    });
    let ended = false;
    client.on('end', () => {
      ended = true;
    });
    while (!ended) {
      const before = calls;
      await sleep(20);
      // Stopped: no call came by itself, beyond one more.
      expect(calls - before).toBeLessThanOrEqual(2);
      client.resume();
    }
    expect(calls).toBe(Math.ceil(5000 / 700));
    server.close();
  });

  test('received chunks stay what they were: nobody writes over them', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    const kept: Buffer[] = [];
    peer.on('data', (chunk) => kept.push(chunk));
    const payload = randomBytes(3 << 20);
    client.end(payload);
    await once(peer, 'end');
    expect(Buffer.concat(kept).equals(payload)).toBe(true);
    server.close();
  });
});

describe('memory', () => {
  /** Tries every way there is to take the memory away; what is left of it. */
  const takeAway = (chunk: Buffer): number => {
    try {
      structuredClone(0, { transfer: [chunk.buffer as ArrayBuffer] });
    } catch {
      // Later Nodes throw, earlier ones copy.
    }
    try {
      (chunk.buffer as ArrayBuffer & { transfer?(): void }).transfer?.();
    } catch {
      // Since Node 22.
    }
    return chunk.length;
  };

  test.each([100, 20_000])('chunks of %i bytes cannot be taken away from other sockets', async (size) => {
    await using w = await wire();
    const server = w.b.net.createServer();
    server.listen(80);
    const lengths: number[] = [];
    let bytes = 0;
    server.on('connection', (peer) => {
      peer.on('data', (chunk) => {
        bytes += chunk.length;
        lengths.push(takeAway(chunk));
      });
    });
    const clients = [1, 2, 3].map(() => w.a.net.connect(80, B));
    for (let round = 0; round < 5; round++) {
      for (const client of clients) client.write(Buffer.alloc(size));
      await sleep(5);
    }
    for (const client of clients) await finished(client.end().resume());
    expect(bytes).toBe(3 * 5 * size);
    expect(lengths).not.toContain(0);
    server.close();
  });

  test('nor can datagrams', async () => {
    await using w = await wire();
    const receiver = w.b.dgram.createSocket('udp4').bind(5000);
    const lengths: number[] = [];
    receiver.on('message', (message) => lengths.push(takeAway(message)));
    const sender = w.a.dgram.createSocket('udp4');
    for (let i = 0; i < 5; i++) {
      for (const size of [10, 20_000]) sender.send(Buffer.alloc(size), 5000, B);
      await sleep(5);
    }
    expect(lengths).toEqual(Array(5).fill([10, 20_000]).flat());
    sender.close();
    receiver.close();
  });
});

describe('closing', () => {
  test('half close: with allowHalfOpen the other half goes on', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { allowHalfOpen: true });
    let question = '';
    peer.on('data', (chunk) => {
      question += chunk;
    });
    client.end('question');
    await once(peer, 'end');
    expect(question).toBe('question');
    expect(peer.writable).toBe(true);
    await sleep(20);
    peer.end('answer');
    expect(String(await drain(client))).toBe('answer');
    server.close();
    await once(server, 'close');
  });

  test('without allowHalfOpen the end of one half ends the other', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    peer.resume();
    client.end();
    await Promise.all([once(client, 'close'), once(peer, 'close')]);
    expect(peer.writableEnded).toBe(true);
    server.close();
  });

  test('writing after the end of the other side is EPIPE', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    client.resume();
    peer.end();
    await once(client, 'end');
    client.write('too late');
    expect((await failure(client)).code).toBe('EPIPE');
    server.close();
  });

  test('resetAndDestroy resets: the other side sees ECONNRESET', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    client.resetAndDestroy();
    const error = await failure(peer);
    expect(error).toMatchObject({ code: 'ECONNRESET', errno: -104, syscall: 'read' });
    expect(client.destroyed).toBe(true);
    server.close();
  });

  test('a reset before the connection is there waits for it', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.on('error', () => {})).listen(80);
    const client = a.net.connect(80, B);
    client.resetAndDestroy();
    expect(client.destroyed).toBe(false);
    await once(client, 'connect');
    expect(await once(client, 'close')).toEqual([false]);
    server.close();
    await once(server, 'close');
  });

  test('destroy with unread data resets (RFC 9293 3.6.1 SHLD-3)', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { pauseOnConnect: true });
    client.write('never read');
    await sleep(20);
    peer.destroy();
    expect((await failure(client)).code).toBe('ECONNRESET');
    server.close();
  });

  test('destroy with everything read is orderly', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    peer.destroy();
    client.resume();
    await once(client, 'end');
    server.close();
  });

  test('destroy(error) tells the error and closes', async () => {
    await using w = await wire();
    const { server, client } = await pair(w);
    const events: unknown[] = [];
    client.on('error', (error) => events.push(error.message));
    client.on('close', (hadError) => events.push(hadError));
    client.destroy(new Error('enough'));
    await sleep(10);
    expect(events).toEqual(['enough', true]);
    server.close();
  });

  test('writes that wait are called back when the socket is destroyed', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { pauseOnConnect: true });
    peer.on('error', () => {});
    const results: unknown[] = [];
    client.on('error', () => {});
    client.write(Buffer.alloc(64 << 20), (error) => results.push(error ?? null));
    client.write('more', (error) => results.push(error ?? null));
    await sleep(10);
    client.destroy();
    await once(client, 'close');
    await turn();
    // As on the kernel: one code up to Node 20, the other from 22 on.
    expect(results).toHaveLength(2);
    expect((results[1] as NodeJS.ErrnoException).code).toMatch(/^(ERR_STREAM_DESTROYED|ECANCELED)$/);
    server.close();
  });

  test('data and end that came before anybody read are kept', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { pauseOnConnect: true });
    client.end('early');
    await sleep(50);
    expect(String(await drain(peer))).toBe('early');
    server.close();
  });

  test('a reset that came before anybody read is told when one does', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { pauseOnConnect: true });
    client.resetAndDestroy();
    await sleep(30);
    const told = failure(peer);
    peer.resume();
    expect((await told).code).toBe('ECONNRESET');
    server.close();
  });

  test('close comes after end, once', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    const order: string[] = [];
    for (const event of ['end', 'finish', 'close'] as const) client.on(event, () => order.push(event));
    client.resume();
    peer.end();
    await once(client, 'close');
    await sleep(10);
    expect(order.at(-1)).toBe('close');
    expect(order.filter((event) => event === 'close')).toHaveLength(1);
    expect(order).toContain('end');
    server.close();
  });
});

describe('refusals', () => {
  test('nobody listens: ECONNREFUSED in the shape of node:net', async () => {
    await using w = await wire();
    const error = await failure(w.a.net.connect(81, B));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: B,
      port: 81,
      message: `connect ECONNREFUSED ${B}:81`,
    });
  });

  test('a port in use: EADDRINUSE as an event', async () => {
    await using w = await wire();
    const first = w.b.net.createServer().listen(80);
    await once(first, 'listening');
    const second = w.b.net.createServer().listen(80);
    expect(await failure(second)).toMatchObject({
      code: 'EADDRINUSE',
      errno: -98,
      syscall: 'listen',
      port: 80,
    });
    expect(second.listening).toBe(false);
    first.close();
    await once(first, 'close');
    second.listen(80);
    await once(second, 'listening');
    second.close();
  });

  test('an address that is not ours: EADDRNOTAVAIL', async () => {
    await using w = await wire();
    expect(await failure(w.b.net.createServer().listen(80, '10.9.9.9'))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      address: '10.9.9.9',
      port: 80,
    });
    const client = w.a.net.connect({ port: 80, host: B, localAddress: '10.9.9.9' });
    expect(await failure(client)).toMatchObject({ code: 'EADDRNOTAVAIL', syscall: 'bind' });
  });

  test('a server that listens already throws ERR_SERVER_ALREADY_LISTEN', async () => {
    await using w = await wire();
    const server = w.b.net.createServer().listen(80);
    expect(() => server.listen(81)).toThrow(expect.objectContaining({ code: 'ERR_SERVER_ALREADY_LISTEN' }));
    server.close();
    expect(() => w.b.net.createServer().listen(70_000)).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_BAD_PORT' }),
    );
  });

  test('a name without a lookup is ENOTFOUND; the process is not asked', async () => {
    await using w = await wire();
    expect(await failure(w.a.net.connect(80, 'example.invalid'))).toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: 'example.invalid',
    });
  });

  test('paths and file descriptors belong to the kernel', async () => {
    await using w = await wire();
    expect(() => w.a.net.connect({ path: '/run/x.sock' })).toThrow(
      expect.objectContaining({ code: 'ERR_NOT_OF_THIS_STACK' }),
    );
    expect(() => w.a.net.createServer().listen('/run/x.sock')).toThrow(
      expect.objectContaining({ code: 'ERR_NOT_OF_THIS_STACK' }),
    );
  });
});

describe('options of connect', () => {
  test('localAddress and localPort', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, {}, { localAddress: A, localPort: 4321 } as object);
    expect(peer.remotePort).toBe(4321);
    expect(client.localPort).toBe(4321);
    client.destroy();
    server.close();
  });

  test('lookup, with one answer and with several', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.end('hi')).listen(80);
    const lookup = (_host: string, options: { all?: boolean }, done: (...values: unknown[]) => void) => {
      if (options.all) setImmediate(done, null, [{ address: B, family: 4 }]);
      else setImmediate(done, null, B, 4);
    };
    for (const more of [{ family: 4 }, {}, { autoSelectFamily: true }, { autoSelectFamily: false }]) {
      const client = a.net.connect({ port: 80, host: 'camera', lookup, ...more } as net.NetConnectOpts);
      const looked = once(client, 'lookup');
      expect(String(await drain(client))).toBe('hi');
      expect(await looked).toEqual([null, B, 4, 'camera']);
    }
    server.close();
  });

  test('autoSelectFamily goes on to the next address, on this stack', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.end('hi')).listen(80, B);
    const lookup = (_host: string, _options: unknown, done: (...values: unknown[]) => void) =>
      done(null, [
        { address: A, family: 4 },
        { address: B, family: 4 },
      ]);
    const client = a.net.connect({
      port: 80,
      host: 'two',
      lookup,
      autoSelectFamily: true,
    } as net.NetConnectOpts);
    expect(String(await drain(client))).toBe('hi');
    expect(client.autoSelectFamilyAttemptedAddresses).toEqual([`${A}:80`, `${B}:80`]);
    server.close();
  });

  test('timeout fires when nothing moves, and not while something does', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, {}, { timeout: 600 } as object);
    let fired = 0;
    client.on('timeout', () => fired++);
    client.resume();
    for (let i = 0; i < 6; i++) {
      peer.write('.');
      await sleep(150);
    }
    expect(fired).toBe(0);
    await once(client, 'timeout');
    client.destroy();
    server.close();
  });

  test('signal aborts a connection that is opening, and an open one', async () => {
    await using w = await wire();
    const opening = new AbortController();
    const client = w.a.net.connect({
      port: 80,
      host: '10.0.0.2',
      signal: opening.signal,
    } as net.NetConnectOpts);
    opening.abort();
    expect((await failure(client)).name).toBe('AbortError');
    const open = new AbortController();
    const { server, client: second } = await pair(w, {}, { signal: open.signal } as object);
    open.abort();
    expect((await failure(second)).code).toBe('ABORT_ERR');
    server.close();
  });

  test('destroy while connecting leaves nothing behind', async () => {
    await using w = await wire();
    const server = w.b.net.createServer().listen(80);
    const client = w.a.net.connect(80, B);
    await turn();
    client.destroy();
    await once(client, 'close');
    server.close();
    await once(server, 'close');
  });

  test('noDelay and keepAlive reach TCP', async () => {
    await using w = await wire();
    const { server, client } = await pair(
      w,
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: 5000 },
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: 7000 } as object,
    );
    const options = [...allConnections(w.a.stack.tcp), ...allConnections(w.b.stack.tcp)].map(
      (tcb) => tcb.options,
    );
    expect(options.map((o) => o.noDelay)).toEqual([true, true]);
    expect(options.map((o) => o.keepAlive.enabled)).toEqual([true, true]);
    expect(options.map((o) => o.keepAlive.idle)).toEqual([7_000_000, 5_000_000]);
    client.setKeepAlive(false);
    expect(options[0]?.keepAlive.enabled).toBe(false);
    client.destroy();
    server.close();
  });
});

describe('server', () => {
  test('forms of listen', async () => {
    await using w = await wire();
    const forms: ((server: net.Server) => void)[] = [
      (s) => s.listen(),
      (s) => s.listen(0),
      (s) => s.listen(0, B),
      (s) => s.listen(0, B, 10),
      (s) => s.listen(0, 10),
      (s) => s.listen({ port: 0, host: B, backlog: 5 }),
      (s) => s.listen({ port: 0 }),
      (s) => s.listen(0, 'localhost'),
    ];
    for (const form of forms) {
      const server = w.b.net.createServer();
      form(server);
      await once(server, 'listening');
      expect((server.address() as net.AddressInfo).port).toBeGreaterThan(0);
      server.close();
      await once(server, 'close');
      expect(server.address()).toBe(null);
    }
    await new Promise<void>((listening) => {
      const server = w.b.net.createServer().listen(0, () => {
        server.close();
        listening();
      });
    });
  });

  test('host.listen takes a server of host.net, of any host, as well as one of node:net', async () => {
    await using w = await wire();
    for (const make of [w.b.net.createServer, w.a.net.createServer, net.createServer]) {
      const server = make((socket: net.Socket) => socket.end('hi'));
      await w.b.listen(server, 80, B);
      expect(server.address()).toEqual({ address: B, family: 'IPv4', port: 80 });
      expect(String(await drain(w.a.net.connect(80, B)))).toBe('hi');
      server.close();
      await once(server, 'close');
    }
  });

  test('maxConnections drops what is too much and says so', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer().listen(80);
    server.maxConnections = 1;
    const first = a.net.connect(80, B);
    await once(server, 'connection');
    const dropped = once(server, 'drop');
    const second = a.net.connect(80, B);
    second.on('error', () => {});
    const [facts] = await dropped;
    expect(facts).toMatchObject({ localAddress: B, localPort: 80, remoteAddress: A, remoteFamily: 'IPv4' });
    await once(second.resume(), 'close');
    expect(await connections(server)).toBe(1);
    first.destroy();
    server.close();
    await once(server, 'close');
  });

  test('close waits for connections and takes no new ones', async () => {
    await using w = await wire();
    const { server, client, port } = await pair(w);
    let closed = false;
    server.close(() => {
      closed = true;
    });
    expect((await failure(w.a.net.connect(port, B))).code).toBe('ECONNREFUSED');
    expect(closed).toBe(false);
    client.end();
    await once(server, 'close');
    expect(closed).toBe(true);
  });

  test('signal closes it; async dispose too', async () => {
    await using w = await wire();
    const controller = new AbortController();
    const server = w.b.net.createServer().listen({ port: 80, signal: controller.signal });
    await once(server, 'listening');
    controller.abort();
    await once(server, 'close');
    {
      await using second = w.b.net.createServer().listen(80);
      await once(second, 'listening');
    }
    const third = w.b.net.createServer().listen(80);
    await once(third, 'listening');
    third.close();
  });

  test('async iteration of connections and of chunks', async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer().listen(80);
    const client = a.net.connect(80, B);
    client.end('abc');
    const [socket] = (await once(server, 'connection')) as [net.Socket];
    let text = '';
    for await (const chunk of socket) text += chunk;
    expect(text).toBe('abc');
    server.close();
  });

  test('1,000 connections at once, each served and none left', { timeout: 60_000 }, async () => {
    await using w = await wire();
    const { a, b } = w;
    const server = b.net.createServer((s) => s.pipe(s)).listen(80);
    await once(server, 'listening');
    const clients = Array.from({ length: 1000 }, () => a.net.connect(80, B));
    await Promise.all(
      clients.map(async (client, i) => {
        client.end(`client ${i}`);
        expect(String(await drain(client))).toBe(`client ${i}`);
      }),
    );
    server.close();
    await once(server, 'close');
    // The last ACKs are still under way.
    await vi.waitFor(() => {
      const left = [...a.connections(), ...b.connections()].filter(({ state }) => state !== 'TIME-WAIT');
      expect(left).toEqual([]);
    }, 20_000);
  });
});

describe('the loop', () => {
  test('an error that a listener throws is an uncaughtException and hurts nobody else', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w);
    const second = await pair(w);
    const caught: unknown[] = [];
    const before = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => caught.push(error));
    try {
      peer.on('data', () => {
        throw new Error('listener');
      });
      client.write('x');
      second.client.write('y');
      const [chunk] = await once(second.peer, 'data');
      expect(String(chunk)).toBe('y');
      client.write('x');
      await sleep(20);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of before) process.on('uncaughtException', listener);
    }
    expect(caught.map((error) => (error as Error).message)).toEqual(['listener', 'listener']);
    client.destroy();
    second.client.destroy();
    server.close();
    second.server.close();
  });

  test('callbacks run in the async context in which the socket was made', async () => {
    await using w = await wire();
    const { a, b } = w;
    const store = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const server = b.net.createServer((s) => s.pipe(s)).listen(80);
    const make = (name: string) =>
      store.run(name, async () => {
        const client = a.net.connect(80, B);
        client.on('data', () => seen.push(store.getStore()));
        client.on('connect', () => seen.push(store.getStore()));
        client.write('x');
        await once(client, 'data');
        client.destroy();
      });
    await Promise.all([make('one'), make('two')]);
    expect(seen.sort()).toEqual(['one', 'one', 'two', 'two']);
    server.close();
  });

  test('pipeline and finished work as with any stream', async () => {
    await using w = await wire();
    const { server, client, peer } = await pair(w, { allowHalfOpen: true });
    const echoed = pipeline(peer, peer);
    client.end('pipeline');
    expect(String(await drain(client))).toBe('pipeline');
    await echoed;
    await finished(client);
    server.close();
  });
});

function connections(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );
}
