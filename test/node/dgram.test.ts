// host.dgram: node:dgram's promises, kept over our UDP.

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { wire } from './wire.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';
const GROUP = '239.1.2.3';

type Wire = Awaited<ReturnType<typeof wire>>;

async function bound(host: Wire['a'], port = 0, options: Partial<dgram.SocketOptions> = {}) {
  const socket = host.dgram.createSocket({ type: 'udp4', ...options } as dgram.SocketOptions);
  socket.bind(port);
  await once(socket, 'listening');
  return socket;
}

async function receive(socket: dgram.Socket): Promise<[string, dgram.RemoteInfo]> {
  const [message, from] = (await once(socket, 'message')) as [Buffer, dgram.RemoteInfo];
  return [String(message), from];
}

describe('datagrams', () => {
  test('an echo, with who sent it, in instances of node:dgram', async () => {
    await using w = await wire();
    const server = w.b.dgram.createSocket('udp4', (message, from) => {
      server.send(message, from.port, from.address);
    });
    server.bind(7);
    await once(server, 'listening');
    expect(server).toBeInstanceOf(dgram.Socket);
    expect(server).toBeInstanceOf(w.b.dgram.Socket);
    expect(server.address()).toEqual({ address: '0.0.0.0', family: 'IPv4', port: 7 });
    const client = w.a.dgram.createSocket('udp4');
    client.send('hello', 7, B);
    const [text, from] = await receive(client);
    expect(text).toBe('hello');
    expect(from).toEqual({ address: B, family: 'IPv4', port: 7, size: 5 });
    client.close();
    server.close();
  });

  test.each([0, 1, 100, 1472, 1473, 9000, 65_507])(
    '%i bytes arrive whole, in fragments if need be',
    async (size) => {
      await using w = await wire();
      const server = await bound(w.b, 5000);
      const client = await bound(w.a);
      // Forty-five fragments are more than may wait for a link address.
      await w.a.ping(B);
      const payload = randomBytes(size);
      const sent = new Promise((resolve, reject) =>
        client.send(payload, 5000, B, (error, bytes) => (error ? reject(error) : resolve(bytes))),
      );
      const [message] = (await once(server, 'message')) as [Buffer];
      expect(message.equals(payload)).toBe(true);
      expect(await sent).toBe(size);
      client.close();
      server.close();
    },
  );

  test('too large a datagram is EMSGSIZE in the callback', async () => {
    await using w = await wire();
    const client = await bound(w.a);
    const error = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
      client.send(Buffer.alloc(65_508), 5000, B, resolve),
    );
    expect(error).toMatchObject({ code: 'EMSGSIZE', syscall: 'send', address: B, port: 5000 });
    client.close();
  });

  test('lists of buffers, offsets and lengths, strings and typed arrays', async () => {
    await using w = await wire();
    const server = await bound(w.b, 5000);
    const client = await bound(w.a);
    client.send([Buffer.from('a'), 'b', new Uint8Array([99])], 5000, B);
    expect((await receive(server))[0]).toBe('abc');
    client.send(Buffer.from('xhellox'), 1, 5, 5000, B);
    expect((await receive(server))[0]).toBe('hello');
    client.send([], 5000, B);
    expect((await receive(server))[0]).toBe('');
    client.close();
    server.close();
  });

  test('messages stay what they were: nobody writes over them', async () => {
    await using w = await wire();
    const server = await bound(w.b, 5000);
    const client = await bound(w.a);
    const sent = Array.from({ length: 300 }, (_, i) => randomBytes(1 + ((i * 37) % 5000)));
    const got: Buffer[] = [];
    server.on('message', (message) => got.push(message));
    for (const payload of sent) {
      client.send(payload, 5000, B);
      await sleep(0);
    }
    await sleep(50);
    expect(got.length).toBe(sent.length);
    expect(got.every((message, i) => message.equals(sent[i] as Buffer))).toBe(true);
    client.close();
    server.close();
  });

  test('close, dispose and signals end a socket; after that it is not running', async () => {
    await using w = await wire();
    const controller = new AbortController();
    const first = w.a.dgram.createSocket({ type: 'udp4', signal: controller.signal });
    first.bind(1000);
    await once(first, 'listening');
    controller.abort();
    await once(first, 'close');
    expect(() => first.send('x', 1, B)).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' }),
    );
    {
      await using second = w.a.dgram.createSocket('udp4');
      second.bind(1000);
      await once(second, 'listening');
    }
    const aborted = w.a.dgram.createSocket({ type: 'udp4', signal: AbortSignal.abort() });
    await once(aborted, 'close');
    expect(w.a.connections()).toEqual([]);
  });
});

describe('binding', () => {
  test('a port in use is EADDRINUSE; with reuseAddr on both it is not', async () => {
    await using w = await wire();
    const first = await bound(w.b, 5000);
    const second = w.b.dgram.createSocket('udp4');
    second.bind(5000);
    const [error] = await once(second, 'error');
    expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'bind', port: 5000, address: '0.0.0.0' });
    first.close();
    const third = await bound(w.b, 5000, { reuseAddr: true });
    const fourth = await bound(w.b, 5000, { reuseAddr: true });
    third.close();
    fourth.close();
    second.close();
  });

  test('an address that is not ours is EADDRNOTAVAIL', async () => {
    await using w = await wire();
    const socket = w.b.dgram.createSocket('udp4');
    socket.bind(5000, '10.9.9.9');
    expect((await once(socket, 'error'))[0]).toMatchObject({ code: 'EADDRNOTAVAIL', address: '10.9.9.9' });
    socket.close();
  });

  test('forms of bind', async () => {
    await using w = await wire();
    const forms: ((socket: dgram.Socket) => void)[] = [
      (s) => s.bind(),
      (s) => s.bind(4000),
      (s) => s.bind(4000, B),
      (s) => s.bind({ port: 4000, address: B }),
      (s) => s.bind({ port: 4000, exclusive: false }),
    ];
    for (const form of forms) {
      const socket = w.b.dgram.createSocket('udp4');
      form(socket);
      await once(socket, 'listening');
      expect(socket.address().port).toBeGreaterThan(0);
      socket.close();
    }
    await new Promise<void>((listening) => {
      const socket = w.b.dgram.createSocket('udp4');
      socket.bind(4000, B, () => {
        expect(socket.address().address).toBe(B);
        socket.close();
        listening();
      });
    });
  });

  test('before it is bound a socket has no address and takes no options: EBADF', async () => {
    await using w = await wire();
    const socket = w.a.dgram.createSocket('udp4');
    const ebadf = expect.objectContaining({ code: 'EBADF' });
    expect(() => socket.address()).toThrow(ebadf);
    expect(() => socket.setBroadcast(true)).toThrow(ebadf);
    expect(() => socket.setTTL(3)).toThrow(ebadf);
    expect(() => socket.getRecvBufferSize()).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_BUFFER_SIZE' }),
    );
    socket.close();
  });

  test('a name is looked up by the host, never by the process', async () => {
    await using w = await wire();
    const socket = await bound(w.a);
    const error = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
      socket.send('x', 5000, 'example.invalid', resolve),
    );
    expect(error?.code).toBe('ENOTFOUND');
    w.a.resolver = async () => [{ address: B, family: 4 }];
    const server = await bound(w.b, 5000);
    socket.send('x', 5000, 'camera');
    expect((await receive(server))[0]).toBe('x');
    socket.close();
    server.close();
  });
});

describe('connected', () => {
  test('connect, send without a destination, remoteAddress, disconnect', async () => {
    await using w = await wire();
    const server = await bound(w.b, 5000);
    const client = w.a.dgram.createSocket('udp4');
    client.connect(5000, B);
    await once(client, 'connect');
    expect(client.remoteAddress()).toEqual({ address: B, family: 'IPv4', port: 5000 });
    client.send('connected');
    const [text, from] = await receive(server);
    expect(text).toBe('connected');
    expect(from.address).toBe(A);
    expect(() => client.send('x', 0, 1, 5000, B)).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_IS_CONNECTED' }),
    );
    client.disconnect();
    expect(() => client.remoteAddress()).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' }),
    );
    client.close();
    server.close();
  });

  test('hears only its peer', async () => {
    await using w = await wire();
    const client = w.a.dgram.createSocket('udp4');
    client.bind(6000);
    client.connect(5000, B);
    await once(client, 'connect');
    const peer = await bound(w.b, 5000);
    const stranger = await bound(w.b, 5001);
    const heard: string[] = [];
    client.on('message', (message) => heard.push(String(message)));
    stranger.send('stranger', 6000, A);
    peer.send('peer', 6000, A);
    await sleep(30);
    expect(heard).toEqual(['peer']);
    for (const socket of [client, peer, stranger]) socket.close();
  });

  test('nobody there: ECONNREFUSED as an error event (RFC 1122 4.1.3.3)', async () => {
    await using w = await wire();
    const client = w.a.dgram.createSocket('udp4');
    client.connect(9, B);
    await once(client, 'connect');
    client.send('anybody?');
    expect((await once(client, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED', syscall: 'recvmsg' });
    client.close();
  });
});

describe('broadcast and multicast', () => {
  test('a broadcast needs setBroadcast', async () => {
    await using w = await wire();
    const server = await bound(w.b, 5000);
    const client = await bound(w.a);
    const error = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
      client.send('x', 5000, '10.0.0.255', resolve),
    );
    expect(error?.code).toBe('EACCES');
    client.setBroadcast(true);
    client.send('to all', 5000, '10.0.0.255');
    expect((await receive(server))[0]).toBe('to all');
    client.send('to everybody', 5000, '255.255.255.255');
    expect((await receive(server))[0]).toBe('to everybody');
    client.close();
    server.close();
  });

  test('members of a group hear it on both hosts, others do not', async () => {
    await using w = await wire();
    const sender = await bound(w.a, 5000, { reuseAddr: true });
    const member = await bound(w.b, 5000);
    const heard: string[] = [];
    member.on('message', (message) => heard.push(String(message)));
    sender.send('one', 5000, GROUP);
    await sleep(30);
    member.addMembership(GROUP);
    sender.addMembership(GROUP, A);
    sender.setMulticastTTL(4);
    sender.setMulticastLoopback(true);
    sender.send('two', 5000, GROUP);
    expect((await receive(sender))[0]).toBe('two');
    await sleep(30);
    member.dropMembership(GROUP);
    sender.send('three', 5000, GROUP);
    await sleep(30);
    expect(heard).toEqual(['two']);
    expect(() => member.dropMembership(GROUP)).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
    expect(() => member.addMembership('10.1.1.1')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    sender.close();
    member.close();
  });

  test('a source-specific member hears that source alone (RFC 3678)', async () => {
    await using w = await wire();
    const member = await bound(w.b, 5000);
    const sender = await bound(w.a);
    const heard: string[] = [];
    member.on('message', (message) => heard.push(String(message)));
    member.addSourceSpecificMembership('10.0.0.77', GROUP);
    sender.send('not from 77', 5000, GROUP);
    await sleep(30);
    expect(heard).toEqual([]);
    member.addSourceSpecificMembership(A, GROUP, B);
    sender.send('from a', 5000, GROUP);
    expect((await receive(member))[0]).toBe('from a');
    member.dropSourceSpecificMembership(A, GROUP, B);
    sender.send('again', 5000, GROUP);
    await sleep(30);
    expect(heard).toEqual(['from a']);
    sender.close();
    member.close();
  });

  test('addMembership on a fresh socket binds it', async () => {
    await using w = await wire();
    const socket = w.a.dgram.createSocket('udp4');
    socket.addMembership(GROUP);
    socket.setMulticastInterface(A);
    expect(() => socket.setMulticastInterface('10.9.9.9')).toThrow(
      expect.objectContaining({ code: 'EADDRNOTAVAIL' }),
    );
    socket.close();
  });
});

describe('options', () => {
  test('buffer sizes and queues', async () => {
    await using w = await wire();
    const socket = await bound(w.a, 0, { recvBufferSize: 50_000, sendBufferSize: 60_000 });
    expect(socket.getRecvBufferSize()).toBe(50_000);
    expect(socket.getSendBufferSize()).toBe(60_000);
    socket.setRecvBufferSize(70_000);
    expect(socket.getRecvBufferSize()).toBe(70_000);
    expect(socket.getSendQueueSize()).toBe(0);
    expect(socket.getSendQueueCount()).toBe(0);
    expect(socket.setTTL(5)).toBe(5);
    expect(() => socket.setTTL(256)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    socket.close();
  });

  test('a burst that the link cannot take at once is queued, and every callback comes', async () => {
    await using w = await wire();
    const client = await bound(w.a);
    const server = await bound(w.b, 5000);
    let heard = 0;
    server.on('message', () => heard++);
    client.send('first', 5000, B);
    await sleep(20);
    const results = await Promise.all(
      Array.from(
        { length: 3000 },
        () =>
          new Promise((resolve) =>
            client.send(Buffer.alloc(1000), 5000, B, (error: NodeJS.ErrnoException | null) =>
              resolve(error?.code ?? 'sent'),
            ),
          ),
      ),
    );
    const sent = results.filter((result) => result === 'sent').length;
    expect(sent).toBeGreaterThan(1500);
    expect(results.every((result) => result === 'sent' || result === 'ENOBUFS')).toBe(true);
    expect(client.getSendQueueCount()).toBe(0);
    // What the receiver had no room for is lost, and counted.
    await vi.waitFor(() => expect(heard + w.b.counters().udp.udpRcvbufErrors).toBe(sent + 1), 10_000);
    client.close();
    server.close();
  });
});
