// Node's http, https, tls and http2 over our stack, unchanged.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { makeKeys } from './keys.ts';
import { wire } from './wire.ts';

const B = '10.0.0.2';
let keys: { key: Buffer; cert: Buffer };

beforeAll(() => {
  keys = makeKeys('camera.test');
});

async function textOf(stream: AsyncIterable<Buffer | string>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

function respond(request: http.IncomingMessage, response: http.ServerResponse): void {
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
  });
  request.on('end', () => response.end(`${request.method} ${request.url} ${bytes}`));
}

describe('http', () => {
  test('host.listen serves an unmodified http.Server; an agent of the host asks it', async () => {
    await using w = await wire();
    const server = http.createServer(respond);
    await w.b.listen(server, 80);
    expect(server.listening).toBe(true);
    expect(server.address()).toEqual({ address: '0.0.0.0', family: 'IPv4', port: 80 });
    const agent = w.a.httpAgent({ keepAlive: true });
    for (let i = 0; i < 5; i++) {
      const request = http.request({ host: B, path: `/${i}`, method: 'POST', agent });
      request.end(Buffer.alloc(i * 100_000));
      const [response] = await once(request, 'response');
      expect(await textOf(response)).toBe(`POST /${i} ${i * 100_000}`);
      expect(request.reusedSocket).toBe(i > 0);
    }
    agent.destroy();
    server.close();
    await once(server, 'close');
  });

  test('host.listen serves a server of host.net too', async () => {
    await using w = await wire();
    const server = w.b.net.createServer((socket) => socket.pipe(socket));
    await w.b.listen(server, 7, B);
    expect(server.address()).toEqual({ address: B, family: 'IPv4', port: 7 });
    const client = w.a.net.connect(7, B);
    client.end('echo');
    expect(await textOf(client)).toBe('echo');
    server.close();
  });

  test('createConnection is host.net.connect itself', async () => {
    await using w = await wire();
    const server = http.createServer(respond);
    await w.b.listen(server, 8080, B);
    const request = http.get({ host: B, port: 8080, createConnection: w.a.net.connect as never });
    const [response] = await once(request, 'response');
    expect(await textOf(response)).toBe('GET / 0');
    server.close();
  });

  test('a server of host.net can hand its sockets to an http.Server, whose parser then reads in C++', async () => {
    await using w = await wire();
    const web = http.createServer(respond);
    const server = w.b.net.createServer((socket) => web.emit('connection', socket)).listen(80);
    const request = http.request({ host: B, method: 'PUT', agent: w.a.httpAgent() });
    request.end(Buffer.alloc(1 << 20));
    const [response] = await once(request, 'response');
    expect(await textOf(response)).toBe(`PUT / ${1 << 20}`);
    server.close();
  });

  test('pipelined requests and a large streamed response arrive whole', async () => {
    await using w = await wire();
    const payload = randomBytes(8 << 20);
    const server = http.createServer((_request, response) => response.end(payload));
    await w.b.listen(server, 80);
    const socket = w.a.net.connect(80, B);
    socket.write('GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk);
    const all = Buffer.concat(chunks);
    expect(all.length).toBeGreaterThan(2 * payload.length);
    expect(all.indexOf(payload)).toBeGreaterThan(0);
    expect(all.lastIndexOf(payload)).toBeGreaterThan(payload.length);
    server.close();
  });

  test.each([true, false])(
    'an upgrade gives the socket back, bytes and all (host.listen %s)',
    async (direct) => {
      await using w = await wire();
      const web = http.createServer();
      web.on('upgrade', (_request, socket: net.Socket, head: Buffer) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
        socket.write(head);
        socket.pipe(socket);
      });
      let server: net.Server = web;
      if (direct) await w.b.listen(web, 80);
      else server = w.b.net.createServer((socket) => web.emit('connection', socket)).listen(80);
      const request = http.get({
        host: B,
        agent: w.a.httpAgent(),
        headers: { connection: 'upgrade', upgrade: 'echo' },
      });
      const [, socket] = (await once(request, 'upgrade')) as [unknown, net.Socket];
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      for (let i = 0; i < 20; i++) {
        socket.write(`${i},`);
        await sleep(1);
      }
      socket.end();
      await once(socket, 'close');
      expect(text).toBe(Array.from({ length: 20 }, (_, i) => `${i},`).join(''));
      server.close();
    },
  );

  test('a client that goes away in the middle ends the response', async () => {
    await using w = await wire();
    const server = http.createServer((_request, response) => {
      const more = () => response.write(Buffer.alloc(65_536)) && setImmediate(more);
      response.on('drain', more);
      more();
    });
    await w.b.listen(server, 80);
    const request = http.get({ host: B, agent: w.a.httpAgent() });
    const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
    await once(request, 'response');
    const gone = once(response, 'close');
    request.destroy();
    await gone;
    expect(response.writableFinished).toBe(false);
    server.close();
  });

  test('host.listen rejects with EADDRINUSE, and the server can listen elsewhere', async () => {
    await using w = await wire();
    const first = http.createServer(respond);
    const second = http.createServer(respond);
    await w.b.listen(first, 80);
    await expect(w.b.listen(second, 80)).rejects.toMatchObject({ code: 'EADDRINUSE', port: 80 });
    await w.b.listen(second, 81);
    first.close();
    second.close();
  });
});

describe('tls', () => {
  test('https over host.listen and an agent of the host, with the certificate checked', async () => {
    await using w = await wire();
    const server = https.createServer(keys, respond);
    await w.b.listen(server, 443);
    const agent = w.a.httpsAgent({ keepAlive: true, ca: keys.cert });
    for (let i = 0; i < 3; i++) {
      const request = https.request({
        host: B,
        servername: 'camera.test',
        path: '/tls',
        method: 'POST',
        agent,
      });
      request.end(Buffer.alloc(3 << 20));
      const [response] = await once(request, 'response');
      expect((response.socket as tls.TLSSocket).authorized).toBe(true);
      expect(await textOf(response)).toBe(`POST /tls ${3 << 20}`);
    }
    agent.destroy();
    server.close();
    await once(server, 'close');
  });

  test('bytes go both ways at once, 10 MB each, and the end is an end', async () => {
    await using w = await wire();
    const server = tls.createServer(keys, (socket) => socket.pipe(socket));
    await w.b.listen(server, 443);
    const socket = tls.connect({ socket: w.a.net.connect(443, B), ca: keys.cert, servername: 'camera.test' });
    await once(socket, 'secureConnect');
    expect(socket.getProtocol()).toBe('TLSv1.3');
    const payload = randomBytes(10 << 20);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.end(payload);
    await once(socket, 'end');
    expect(Buffer.concat(chunks).equals(payload)).toBe(true);
    server.close();
    await once(server, 'close');
  });

  test('a reset under a TLS socket in the middle of a write is one error, then close', async () => {
    await using w = await wire();
    const events: unknown[] = [];
    const server = tls.createServer(keys, (socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => events.push(error.code));
      socket.on('close', () => events.push('close'));
      socket.write(Buffer.alloc(5 << 20), () => events.push('written'));
    });
    await w.b.listen(server, 443);
    const below = w.a.net.connect(443, B);
    const socket = tls.connect({ socket: below, ca: keys.cert, servername: 'camera.test' });
    socket.on('error', () => {});
    socket.once('data', () => below.resetAndDestroy());
    await vi.waitFor(() => expect(events).toContain('close'));
    await sleep(20);
    // Node's order of the callback and the error has changed between versions.
    expect(events.filter((event) => event !== 'written')).toEqual(['ECONNRESET', 'close']);
    server.close();
  });

  test('STARTTLS: a plain connection becomes a secure one', async () => {
    await using w = await wire();
    const server = w.b.net.createServer((plain) => {
      plain.once('data', (line) => {
        expect(String(line)).toBe('STARTTLS\n');
        plain.write('GO\n');
        const secure = new tls.TLSSocket(plain, { isServer: true, ...keys });
        secure.pipe(secure);
      });
    });
    server.listen(25);
    const plain = w.a.net.connect(25, B);
    plain.write('STARTTLS\n');
    const [line] = await once(plain, 'data');
    expect(String(line)).toBe('GO\n');
    const secure = tls.connect({ socket: plain, ca: keys.cert, servername: 'camera.test' });
    await once(secure, 'secureConnect');
    secure.write('hello');
    expect(String((await once(secure, 'data'))[0])).toBe('hello');
    secure.end();
    await once(secure, 'close');
    server.close();
  });

  test('a CONNECT proxy ends TLS on the socket that HTTP gave back', async () => {
    await using w = await wire();
    const proxy = http.createServer();
    proxy.on('connect', (_request, socket: net.Socket) => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      const secure = new tls.TLSSocket(socket, { isServer: true, ...keys });
      secure.pipe(secure);
    });
    await w.b.listen(proxy, 3128);
    const request = http.request({
      host: B,
      port: 3128,
      method: 'CONNECT',
      path: 'camera.test:443',
      agent: w.a.httpAgent(),
    });
    request.end();
    const [, socket] = (await once(request, 'connect')) as [unknown, net.Socket];
    const secure = tls.connect({ socket, ca: keys.cert, servername: 'camera.test' });
    await once(secure, 'secureConnect');
    secure.write('through');
    expect(String((await once(secure, 'data'))[0])).toBe('through');
    secure.destroy();
    proxy.close();
  });

  test('a reset below is an ECONNRESET above', async () => {
    await using w = await wire();
    let raw: net.Socket | undefined;
    const server = tls.createServer(keys);
    server.on('connection', (socket) => {
      raw = socket;
    });
    server.on('tlsClientError', () => {});
    await w.b.listen(server, 443);
    const secure = tls.connect({ socket: w.a.net.connect(443, B), rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    const failed = once(secure, 'error');
    raw?.resetAndDestroy();
    expect((await failed)[0].code).toBe('ECONNRESET');
    server.close();
  });

  test('a wrong certificate is refused', async () => {
    await using w = await wire();
    const server = tls.createServer(keys);
    server.on('tlsClientError', () => {});
    await w.b.listen(server, 443);
    const secure = tls.connect({ socket: w.a.net.connect(443, B), servername: 'camera.test' });
    expect((await once(secure, 'error'))[0].code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    server.close();
  });
});

describe('http2', () => {
  test('in clear, on both sides', async () => {
    await using w = await wire();
    const server = http2.createServer((request, response) => response.end(`h2 ${request.url}`));
    await w.b.listen(server, 80);
    const session = http2.connect(`http://${B}`, { createConnection: () => w.a.net.connect(80, B) });
    const bodies = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const stream = session.request({ ':path': `/${i}` });
        stream.end();
        return textOf(stream);
      }),
    );
    expect(bodies).toEqual(Array.from({ length: 20 }, (_, i) => `h2 /${i}`));
    session.close();
    await once(session, 'close');
    server.close();
  });

  test('over TLS, with a body of 5 MB each way', async () => {
    await using w = await wire();
    const server = http2.createSecureServer(keys);
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    await w.b.listen(server, 443);
    const session = http2.connect('https://camera.test', {
      createConnection: () =>
        tls.connect({
          socket: w.a.net.connect(443, B),
          ca: keys.cert,
          servername: 'camera.test',
          ALPNProtocols: ['h2'],
        }),
    });
    const payload = randomBytes(5 << 20);
    const stream = session.request({ ':method': 'POST' });
    stream.end(payload);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(payload)).toBe(true);
    session.close();
    await once(session, 'close');
    server.close();
  });
});
