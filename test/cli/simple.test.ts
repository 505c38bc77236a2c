// The simple services over Node's own sockets: RFC 862, 863, 864, and hostile packet 110.

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import {
  chargen,
  chargenDatagrams,
  discard,
  discardDatagrams,
  echo,
  echoDatagrams,
} from '../../src/cli/services/simple.ts';
import { dial, readAll, readAtLeast, serve } from './sockets.ts';

const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const thing of open.splice(0)) thing.close();
});

describe('echo over TCP (RFC 862)', () => {
  it('sends back what comes, and finishes after the peer has', async () => {
    const { server, port } = await serve(echo, true);
    open.push(server);
    const socket = await dial(port, true);
    const sent = Buffer.alloc(300_000, 'tapstack ');
    socket.end(sent);
    expect((await readAll(socket)).equals(sent)).toBe(true);
  });

  it('stops reading from a peer that does not read', async () => {
    let served: { bytesRead: number } | undefined;
    const { server, port } = await serve((socket) => {
      served = socket;
      echo(socket);
    }, true);
    open.push(server);
    const socket = await dial(port);
    socket.pause();
    const block = Buffer.alloc(1 << 20);
    // The peer's sends stop going through once every buffer on the way is full.
    let stalled = false;
    for (let i = 0; i < 64 && !stalled; i++) {
      stalled = !(await Promise.race([
        new Promise<boolean>((resolve) => socket.write(block, () => resolve(true))),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 500)),
      ]));
    }
    expect(stalled).toBe(true);
    expect(served!.bytesRead).toBeLessThan(64 << 20);
    socket.destroy();
  });

  it('survives a peer that resets', async () => {
    const { server, port } = await serve(echo, true);
    open.push(server);
    const rude = await dial(port);
    rude.on('error', () => {});
    rude.write('x');
    await once(rude, 'data');
    rude.resetAndDestroy();
    const next = await dial(port, true);
    next.end('still here');
    expect((await readAll(next)).toString()).toBe('still here');
  });
});

describe('discard over TCP (RFC 863)', () => {
  it('takes everything, answers nothing and finishes after the peer', async () => {
    const { server, port } = await serve(discard);
    open.push(server);
    const socket = await dial(port, true);
    socket.end(Buffer.alloc(1 << 20));
    expect((await readAll(socket)).length).toBe(0);
  });
});

describe('character generator over TCP (RFC 864)', () => {
  it('sends 72 characters of the ring a line, each line starting one further', async () => {
    const { server, port } = await serve(chargen);
    open.push(server);
    const socket = await dial(port);
    const text = (await readAtLeast(socket, 74 * 300)).toString('latin1');
    socket.destroy();
    const lines = text.split('\r\n').slice(0, 300);
    const ring = Array.from({ length: 95 }, (_, i) => String.fromCharCode(0x20 + i)).join('');
    for (const [i, line] of lines.entries()) {
      expect(line).toBe((ring + ring).slice(i % 95, (i % 95) + 72));
    }
  });

  it('holds one block at most for a peer that does not read', async () => {
    let queued = () => Number.NaN;
    const { server, port } = await serve((socket) => {
      queued = () => socket.writableLength;
      chargen(socket);
    });
    open.push(server);
    const socket = await dial(port);
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(queued()).toBeGreaterThan(0);
    expect(queued()).toBeLessThan(128 * 1024);
    socket.destroy();
  });
});

/** Stands for a UDP socket: messages go in by emit, replies are recorded. */
class FakeUdp extends EventEmitter {
  readonly sent: { length: number; port: number; address: string }[] = [];
  queued = 0;
  send(message: Uint8Array, port: number, address: string): void {
    this.sent.push({ length: message.length, port, address });
  }
  getSendQueueSize(): number {
    return this.queued;
  }
  from(port: number, length = 1): void {
    this.emit('message', Buffer.alloc(length), { address: '10.7.0.1', port } as RemoteInfo);
  }
  get socket(): UdpSocket {
    return this as unknown as UdpSocket;
  }
}

describe('the services over UDP', () => {
  it('echo answers with the same datagram (RFC 862)', async () => {
    const server = createSocket('udp4');
    const client = createSocket('udp4');
    open.push(server, client);
    echoDatagrams(server);
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    client.send('hello', server.address().port, '127.0.0.1');
    const [message] = (await once(client, 'message')) as [Buffer];
    expect(message.toString()).toBe('hello');
  });

  it.each([0, 7, 19, 53, 1023])('hostile 110: nothing answers a datagram from port %i', (port) => {
    for (const service of [echoDatagrams, chargenDatagrams]) {
      const udp = new FakeUdp();
      service(udp.socket);
      udp.from(port);
      expect(udp.sent).toEqual([]);
      udp.from(1024);
      expect(udp.sent).toHaveLength(1);
    }
  });

  it('echo drops replies while too many wait', () => {
    const udp = new FakeUdp();
    echoDatagrams(udp.socket);
    udp.queued = 1 << 20;
    udp.from(5000);
    expect(udp.sent).toEqual([]);
  });

  it('chargen answers with 0 to 512 characters, and only so often (RFC 864)', () => {
    const udp = new FakeUdp();
    let now = 0;
    chargenDatagrams(udp.socket, () => now);
    for (let i = 0; i < 1000; i++) udp.from(5000);
    expect(udp.sent.length).toBe(100);
    now += 1_000_000;
    for (let i = 0; i < 1000; i++) udp.from(5000);
    expect(udp.sent.length).toBe(200);
    for (const { length } of udp.sent) expect(length).toBeLessThanOrEqual(512);
    expect(new Set(udp.sent.map((s) => s.length)).size).toBeGreaterThan(10);
  });

  it('discard never answers (RFC 863)', () => {
    const udp = new FakeUdp();
    discardDatagrams(udp.socket);
    udp.from(5000);
    expect(udp.sent).toEqual([]);
  });
});
