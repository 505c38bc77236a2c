// The stack's own web site: a page about itself, its state as JSON, bytes to fetch and a place to send bytes to.
//
//   GET  /             what this is, its counters and connections          GET  /status.json   the same for programs
//   GET  /bytes/N      N bytes of a pattern; HEAD and Range work           POST /hash          the SHA-256 of the body
//
// A plain request listener for node:http: it runs over any net.Socket, the kernel's or ours.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Facts, PAGE_SCRIPT, renderPage, renderProblem } from './page.ts';
import { parseRange, pattern } from './pattern.ts';

/** The largest N of `/bytes/N`: beyond it JavaScript cannot count bytes. */
export const MOST_BYTES = 2 ** 53;
/** A connection on which nothing moves for so long is closed, a slow reader's too. */
const IDLE_LIMIT_MS = 60_000;
/** Connections at once: a page for people, not a farm. */
const MOST_CONNECTIONS = 4096;

const TEXT = 'text/plain; charset=utf-8';

/** What the site asks of the program it speaks for. Called for each page, so it is always fresh. */
export type FactsSource = () => Facts;

/** An HTTP server for the site, not yet listening. */
export function createSite(facts: FactsSource): Server {
  const server = createServer({ keepAliveTimeout: 5000 }, siteListener(facts));
  server.setTimeout(IDLE_LIMIT_MS);
  server.maxConnections = MOST_CONNECTIONS;
  return server;
}

/** The site as a request listener. */
export function siteListener(
  facts: FactsSource,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    // A peer that goes away in the middle is no error of ours.
    request.on('error', () => {});
    response.on('error', () => {});
    answer(facts, request, response).catch(() => response.destroy());
  };
}

async function answer(facts: FactsSource, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = pathOf(request.url ?? '');
  if (path === undefined) return problem(request, response, 400, 'The request target is no path.');
  if (path === '/hash') {
    return allow(request, response, ['POST']) ? hash(request, response) : undefined;
  }
  const size = path.startsWith('/bytes/') ? path.slice('/bytes/'.length) : undefined;
  if (size === undefined && path !== '/' && path !== '/status.json') {
    return problem(request, response, 404, `There is no ${path} here.`);
  }
  if (!allow(request, response, ['GET', 'HEAD'])) return;
  if (size !== undefined) return sendBytes(size, request, response);
  if (path === '/') return send(request, response, 200, 'text/html; charset=utf-8', renderPage(facts()));
  const json = `${JSON.stringify(facts(), null, 2)}\n`;
  return send(request, response, 200, 'application/json', json);
}

/** The path of a request target in origin-form or absolute-form (RFC 9112 3.2), decoded; `undefined` when it is neither. */
function pathOf(target: string): string | undefined {
  const local = target.replace(/^https?:\/\/[^/?#]+/i, '');
  const path = local.split(/[?#]/, 1)[0] ?? '';
  if (path === '' && local !== target) return '/';
  if (!path.startsWith('/')) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function allow(request: IncomingMessage, response: ServerResponse, methods: string[]): boolean {
  if (methods.includes(request.method ?? '')) return true;
  response.setHeader('Allow', methods.join(', '));
  problem(request, response, 405, `${request.method} is not possible here; ${methods.join(' or ')} is.`);
  return false;
}

async function sendBytes(text: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // Compared before it is rounded: 2^53 + 1 is a number that only BigInt can tell from 2^53.
  const size = /^\d{1,16}$/.test(text) && BigInt(text) <= MOST_BYTES ? Number(text) : undefined;
  if (size === undefined) {
    return problem(request, response, 400, `/bytes/N wants a whole number from 0 to ${MOST_BYTES}.`);
  }
  // RFC 9110 14.2: Range is defined for GET alone.
  const range = request.method === 'GET' ? parseRange(request.headers.range, size) : undefined;
  if (range === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${size}`);
    return problem(request, response, 416, `The resource has ${size} bytes.`);
  }
  const { from, to } = range ?? { from: 0, to: size };
  if (range !== undefined) response.setHeader('Content-Range', `bytes ${from}-${to - 1}/${size}`);
  response.writeHead(range === undefined ? 200 : 206, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': to - from,
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'no-store',
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  for (const block of pattern(from, to)) {
    if (response.destroyed) return;
    // Wait for room: one block at most waits for a slow reader. `close` also ends the wait.
    if (!response.write(block)) await roomOrGone(response);
  }
  response.end();
}

/** Waits for `drain` or `close`, whichever comes first, and leaves no listener behind. */
async function roomOrGone(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return;
  const controller = new AbortController();
  const { signal } = controller;
  try {
    await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]);
  } finally {
    controller.abort();
  }
}

async function hash(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const digest = createHash('sha256');
  // The body is hashed as it comes and never kept, so its size needs no bound.
  for await (const chunk of request) digest.update(chunk as Uint8Array);
  send(request, response, 200, TEXT, `${digest.digest('hex')}\n`);
}

function problem(request: IncomingMessage, response: ServerResponse, status: number, message: string): void {
  // The body, if there is one, is not wanted: say so and close rather than read it to the end (RFC 9112 9.6).
  if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined) {
    response.setHeader('Connection', 'close');
  }
  if ((request.headers.accept ?? '').includes('text/html')) {
    send(request, response, status, 'text/html; charset=utf-8', renderProblem(status, message));
  } else {
    send(request, response, status, TEXT, `${message}\n`);
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
): void {
  const html = type.startsWith('text/html');
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': new TextEncoder().encode(body).length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    ...(html ? { 'Content-Security-Policy': CONTENT_POLICY } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Nothing is loaded from anywhere, and only the page's own script runs: it is named by its hash. */
const CONTENT_POLICY =
  `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash('sha256').update(PAGE_SCRIPT).digest('base64')}'; ` +
  "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
