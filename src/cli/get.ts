// `tapstack get URL`: fetches a resource over our own TCP by node:http, or over TLS on top of it by node:https.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connect as tlsConnect } from 'node:tls';
import { Command, InvalidArgumentError } from 'commander';
import { type Context, examples } from './command.ts';
import { EXIT, type Io, stopCode, UsageError } from './io.ts';
import { type CommandHost, withHost } from './join.ts';
import {
  addHostOptions,
  type HostOptions,
  refuseCaptureOnStdout,
  seconds,
  unicastAddress,
} from './options.ts';
import { bytes, type OutputOptions, printable, Report } from './report.ts';

export interface GetOptions extends HostOptions, OutputOptions {
  output?: string;
  head?: boolean;
  include?: boolean;
  header?: string[];
  data?: string;
  insecure?: boolean;
  timeout?: number;
}

export function getCommand({ io, finish }: Context): Command {
  const command = new Command('get')
    .description('fetch a URL over the stack')
    .argument('<url>', 'http:// or https://, with an address as its host', urlArgument)
    .option('-o, --output <file>', 'write the body to a file instead of stdout; the figures go to stdout')
    .option('-I, --head', 'ask for the headers only, and show them')
    .option('-i, --include', 'show the headers before the body')
    .option('-H, --header <line>', 'send a header, as "Range: bytes=0-99"; repeatable', headerArgument)
    .option('-d, --data <text>', 'POST this text; @FILE posts a file, @- stdin')
    .option('-k, --insecure', 'accept a certificate that nobody vouches for')
    .option('-m, --timeout <seconds>', 'give up after so long', seconds(0.001, 1e6))
    .action(async (url: URL, options: GetOptions) => {
      if (options.json && options.output === undefined && !options.head) {
        throw new UsageError('--json needs -o FILE (or -I): the body would mix with it');
      }
      refuseCaptureOnStdout(options);
      finish(await withHost(options, io, (host, signal) => get(host, url, options, io, signal)));
    });
  return addHostOptions(command).addHelpText(
    'after',
    `\nEnds with 0 after an answer below 400, 1 after another or none, 124 after -m, 77 without a TAP.\n${examples(
      [
        ['sudo tapstack get http://10.7.0.1:8000/', 'from a server of the kernel'],
        ['sudo tapstack get -I http://10.7.0.1:8000/', 'the headers only'],
        ['sudo tapstack get -o file http://10.7.0.1:8000/file', 'to a file, with the rate'],
      ],
    )}`,
  );
}

function urlArgument(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new InvalidArgumentError('Give a URL, as http://10.7.0.1/.');
  }
  unicastAddress(hostOf(url));
  return url;
}

function headerArgument(line: string, before: string[] | undefined): string[] {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*$/.test(line)) {
    throw new InvalidArgumentError('Give "Name: value".');
  }
  return [...(before ?? []), line];
}

/** The host of a URL without the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** Fetches, writes the body, and says what came. */
export async function get(
  host: Pick<CommandHost, 'net'>,
  url: URL,
  options: GetOptions,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  const report = new Report(io, options);
  const limit = options.timeout === undefined ? undefined : AbortSignal.timeout(options.timeout * 1000);
  const any = limit === undefined ? signal : AbortSignal.any([signal, limit]);
  try {
    return await fetchInto(host, url, options, io, report, any);
  } catch (error) {
    if (signal.aborted) return stopCode(signal);
    if (!limit?.aborted) throw error;
    report.warn(`tapstack get: not done within ${options.timeout} s`);
    return EXIT.timeout;
  } finally {
    report.status('');
  }
}

async function fetchInto(
  host: Pick<CommandHost, 'net'>,
  url: URL,
  options: GetOptions,
  io: Io,
  report: Report,
  signal: AbortSignal,
): Promise<number> {
  const started = performance.now();
  const response = await ask(host, url, options, io, signal);
  const status = response.statusCode ?? 0;
  if (!report.json && (options.head || options.include)) showHead(response, report);
  const meter = new Meter((total) => report.status(`${url.pathname}: ${bytes(total)}`));
  const to = options.output === undefined ? keepOpen(io.stdout) : createWriteStream(options.output);
  await pipeline(response, meter, to, { signal });
  const spent = (performance.now() - started) / 1000;
  report.status('');
  if (report.json) {
    report.event('response', {
      status,
      headers: response.headers,
      bytes: meter.total,
      seconds: spent,
      sha256: meter.digest(),
    });
  } else if (options.output !== undefined) {
    const rate = bytes(meter.total / spent);
    report.event('response', {}, `${status}, ${bytes(meter.total)} in ${spent.toFixed(3)} s, ${rate}/s`);
  }
  if (status >= 400) report.warn(`tapstack get: the server answered ${status}`);
  return status < 400 ? EXIT.ok : EXIT.failure;
}

async function ask(
  host: Pick<CommandHost, 'net'>,
  url: URL,
  options: GetOptions,
  io: Io,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const body = options.data === undefined ? undefined : await bodyOf(options.data, io);
  const secure = url.protocol === 'https:';
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  const createConnection = (): Socket => {
    const socket = host.net.connect({ host: hostOf(url), port });
    return secure ? tlsConnect({ socket, rejectUnauthorized: options.insecure !== true }) : socket;
  };
  const request = (secure ? httpsRequest : httpRequest)({
    host: hostOf(url),
    port,
    path: url.pathname + url.search,
    method: options.head ? 'HEAD' : body === undefined ? 'GET' : 'POST',
    headers: headersOf(options.header ?? [], url, body),
    createConnection,
    signal,
  } satisfies RequestOptions);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  // Errors from now on end the response too; the request must not end the process with them.
  request.on('error', () => {});
  return response;
}

function headersOf(lines: readonly string[], url: URL, body: Uint8Array | undefined): Record<string, string> {
  const headers: Record<string, string> = {
    'User-Agent': 'tapstack',
    Accept: '*/*',
    Connection: 'close',
    ...(body === undefined ? {} : { 'Content-Length': String(body.length) }),
    Host: url.host,
  };
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon)] = line.slice(colon + 1).trim();
  }
  return headers;
}

async function bodyOf(data: string, io: Io): Promise<Uint8Array> {
  if (!data.startsWith('@')) return new TextEncoder().encode(data);
  if (data !== '@-') return readFile(data.slice(1));
  const chunks: Uint8Array[] = [];
  for await (const chunk of io.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

function showHead(response: IncomingMessage, report: Report): void {
  report.line(
    printable(`HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage}`.trim()),
  );
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    report.line(printable(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`));
  }
  report.line('');
}

/** Counts and hashes what passes. */
class Meter extends Transform {
  total = 0;
  readonly #hash = createHash('sha256');
  readonly #moved: (total: number) => void;
  #told = 0;

  constructor(moved: (total: number) => void) {
    super();
    this.#moved = moved;
  }

  override _transform(chunk: Uint8Array, _encoding: string, done: (e: null, c: Uint8Array) => void): void {
    this.total += chunk.length;
    this.#hash.update(chunk);
    const now = performance.now();
    if (now - this.#told > 200) {
      this.#told = now;
      this.#moved(this.total);
    }
    done(null, chunk);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

/** Writes to `stream` and leaves it open at the end. */
function keepOpen(stream: Writable): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      if (stream.destroyed) done();
      else stream.write(chunk, () => done());
    },
  });
}
