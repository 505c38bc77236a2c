// The web site over Node's own sockets: what it answers, what it refuses, and that nothing from the wire becomes markup.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { escapeHtml, type Facts, renderPage } from '../../src/cli/services/page.ts';
import { parseRange, pattern, patternByte } from '../../src/cli/services/pattern.ts';
import { createSite, MOST_BYTES } from '../../src/cli/services/site.ts';
import { readAll } from './sockets.ts';

const EVIL = `<script>alert("1")</script>'&`;

const FACTS: Facts = {
  name: 'tapstack',
  version: '0.1.0',
  uptime: 12.5,
  interface: {
    name: EVIL,
    mac: '02:00:00:00:00:02',
    mtu: 1500,
    offload: ['checksum'],
    addresses: [{ address: '10.7.0.2/24', state: 'preferred' }],
  },
  link: { rxFrames: 1, rxBytes: 60, txFrames: 2, txBytes: 120 },
  services: [{ name: 'http', transport: 'tcp', port: 80 }],
  connections: [{ protocol: 'tcp', local: '10.7.0.2:80', remote: EVIL, state: EVIL }],
  counters: { tcp: { tcpInSegs: 12, tcpInErrs: 0 }, [EVIL]: { [EVIL]: 1 } },
  drops: { 'bad checksum': 3 },
};

let server: Server;
let port: number;

beforeAll(async () => {
  server = createSite(() => FACTS);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function ask(
  path: string,
  options: RequestOptions = {},
  body?: string | Uint8Array,
): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
  const request = httpRequest({ host: '127.0.0.1', port, path, agent: false, ...options });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await readAll(response) };
}

/** Sends raw text, gives all that comes back. */
async function raw(text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(text);
  return (await readAll(socket)).toString('latin1');
}

describe('the page', () => {
  it('is a whole HTML document that loads nothing from elsewhere', async () => {
    const { status, headers, body } = await ask('/');
    const page = body.toString();
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).toContain('<html lang="en">');
    expect(page).not.toMatch(/(src|href)="(?!data:|\/)/);
    expect(page).not.toMatch(/url\(/);
  });

  it('names its own script in its policy, by hash', async () => {
    const { headers, body } = await ask('/');
    const script = /<script>([\s\S]*?)<\/script>/.exec(body.toString())?.[1] ?? '';
    const hash = createHash('sha256').update(script).digest('base64');
    expect(headers['content-security-policy']).toContain(`'sha256-${hash}'`);
    expect(headers['content-security-policy']).toContain("default-src 'none'");
  });

  it('escapes every value: only its own script is in it', () => {
    const page = renderPage(FACTS);
    expect(page.match(/<script>/g)).toHaveLength(1);
    expect(page).not.toContain('alert("1")');
    expect(page).toContain(escapeHtml(EVIL));
    expect(escapeHtml(EVIL)).not.toMatch(/[<>"']/);
  });

  it('shows no more than a hundred connections', () => {
    const many = Array.from({ length: 5000 }, () => FACTS.connections[0]!);
    const page = renderPage({ ...FACTS, connections: many });
    expect(page).toContain('and 4900 more');
    expect(page.length).toBeLessThan(100_000);
  });

  it('is the same as JSON for programs', async () => {
    const { headers, body } = await ask('/status.json');
    expect(headers['content-type']).toBe('application/json');
    expect(JSON.parse(body.toString())).toEqual(FACTS);
  });
});

describe('/bytes/N', () => {
  it.each([0, 1, 250, 251, 65_536, 1_000_003])('sends exactly %i patterned bytes', async (n) => {
    const { status, headers, body } = await ask(`/bytes/${n}`);
    expect(status).toBe(200);
    expect(headers['content-length']).toBe(String(n));
    expect(body.length).toBe(n);
    expect(body.every((byte, i) => byte === patternByte(i))).toBe(true);
  });

  it('answers HEAD with the length alone, up to 2^53', async () => {
    const { status, headers, body } = await ask(`/bytes/${MOST_BYTES}`, { method: 'HEAD' });
    expect(status).toBe(200);
    expect(headers['content-length']).toBe('9007199254740992');
    expect(body.length).toBe(0);
  });

  it.each(['', 'x', '-1', '1.5', '1e3', '0x10', '9007199254740993', '99999999999999999999', '%20', '1/2'])(
    'refuses "%s" with 400',
    async (n) => {
      expect((await ask(`/bytes/${n}`)).status).toBe(400);
    },
  );

  it('RFC 9110 14.2: sends the range that is asked for', async () => {
    const { status, headers, body } = await ask('/bytes/1000', { headers: { Range: 'bytes=300-399' } });
    expect(status).toBe(206);
    expect(headers['content-range']).toBe('bytes 300-399/1000');
    expect(body.length).toBe(100);
    expect(body[0]).toBe(patternByte(300));
  });

  it('RFC 9110 15.5.17: refuses a range beyond the end with 416', async () => {
    const { status, headers } = await ask('/bytes/1000', { headers: { Range: 'bytes=1000-' } });
    expect(status).toBe(416);
    expect(headers['content-range']).toBe('bytes */1000');
  });

  it('waits for a slow reader: one block at most is in the making', async () => {
    const responses: ServerResponse[] = [];
    server.on('request', (_request, response) => responses.push(response));
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /bytes/9007199254740992 HTTP/1.1\r\nHost: x\r\n\r\n');
    // Readable, and never read: the kernel's buffers fill, then ours.
    await once(socket, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(responses[0]!.writableNeedDrain).toBe(true);
    expect(responses[0]!.writableLength).toBeLessThan(200 * 1024);
    socket.destroy();
    await once(responses[0]!, 'close');
  });
});

describe('parseRange (RFC 9110 14.1.2)', () => {
  it.each([
    ['bytes=0-0', 10, { from: 0, to: 1 }],
    ['bytes=9-', 10, { from: 9, to: 10 }],
    ['bytes=0-100', 10, { from: 0, to: 10 }],
    ['bytes=-3', 10, { from: 7, to: 10 }],
    ['bytes=-30', 10, { from: 0, to: 10 }],
    ['BYTES=1-2', 10, { from: 1, to: 3 }],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=5-4', 10, undefined],
    ['bytes=-', 10, undefined],
    ['bytes=0-1,3-4', 10, undefined],
    ['lines=0-1', 10, undefined],
    ['', 10, undefined],
  ] as const)('%s of %i', (header, size, expected) => {
    expect(parseRange(header, size)).toEqual(expected);
  });

  it('the pattern of a part is the part of the pattern', () => {
    const start = 2 ** 52 + 7;
    const bytes = Buffer.concat([...pattern(start, start + 200_000)]);
    expect(bytes.length).toBe(200_000);
    expect(bytes.every((byte, i) => byte === patternByte(start + i))).toBe(true);
  });
});

describe('/hash', () => {
  it('answers the SHA-256 of the body', async () => {
    const body = Buffer.alloc(3_000_000, 'abc');
    const answer = await ask('/hash', { method: 'POST' }, body);
    expect(answer.body.toString()).toBe(`${createHash('sha256').update(body).digest('hex')}\n`);
  });

  it('of nothing is the SHA-256 of nothing', async () => {
    const answer = await ask('/hash', { method: 'POST' }, '');
    expect(answer.body.toString()).toMatch(/^e3b0c44298fc1c149afbf4c8996fb924/);
  });
});

describe('what is refused', () => {
  it('404 for what is not there, without echoing it as markup', async () => {
    const { status, body } = await ask('/%3Cscript%3E', { headers: { Accept: 'text/html' } });
    expect(status).toBe(404);
    expect(body.toString()).not.toContain('<script>');
    expect((await ask('/status')).status).toBe(404);
  });

  it.each([
    ['POST', '/', 'GET, HEAD'],
    ['DELETE', '/bytes/5', 'GET, HEAD'],
    ['GET', '/hash', 'POST'],
    ['OPTIONS', '/status.json', 'GET, HEAD'],
  ])('405 for %s %s, with Allow (RFC 9110 15.5.6)', async (method, path, allow) => {
    const { status, headers } = await ask(path, { method });
    expect(status).toBe(405);
    expect(headers.allow).toBe(allow);
  });

  it('a refused body is not read to its end: the connection closes (RFC 9112 9.6)', async () => {
    const answer = await raw('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 405 /);
    expect(answer).toMatch(/\r\nConnection: close\r\n/);
  });

  it.each([
    ['a bad escape', 'GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['the asterisk-form', 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['no HTTP at all', '\u0016\u0003\u0001 hello\r\n\r\n', 400],
    ['no Host (RFC 9112 3.2)', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['the absolute-form', 'GET http://x/bytes/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 200],
    ['absolute without path', 'HEAD http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 200],
    ['a query', 'HEAD /?live=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 200],
  ])('%s', async (_name, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });
});
