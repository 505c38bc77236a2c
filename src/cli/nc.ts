// `tapstack nc HOST PORT`: what stdin says goes to a peer, what the peer says comes out of stdout, over TCP or UDP.

import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { Command, InvalidArgumentError } from 'commander';
import { type Context, examples } from './command.ts';
import { EXIT, type Io, stopCode, UsageError } from './io.ts';
import { type CommandHost, withHost } from './join.ts';
import {
  addHostOptions,
  type HostOptions,
  portNumber,
  refuseCaptureOnStdout,
  seconds,
  unicastAddress,
} from './options.ts';
import { type OutputOptions, Report } from './report.ts';

/** Bytes of stdin that go into one datagram at most: what fits an Ethernet frame without fragments. */
const MOST_DATAGRAM = 1472;

export interface NcOptions extends HostOptions, OutputOptions {
  listen?: boolean;
  udp?: boolean;
  halfClose?: boolean;
  timeout?: number;
  sourcePort?: number;
}

/** Where to connect to, or where to listen. */
export interface NcTarget {
  readonly address?: string;
  readonly port: number;
}

export function ncCommand({ io, finish }: Context): Command {
  const command = new Command('nc')
    .description('join stdin and stdout to a TCP or UDP peer, or wait for one')
    .argument('[address]', 'whom to connect to; with -l, the address to listen on')
    .argument('[port]', 'the port')
    .option('-l, --listen', 'wait for one peer instead of connecting')
    .option('-u, --udp', 'UDP instead of TCP')
    .option('-N, --half-close', 'send FIN at the end of stdin, and go on receiving')
    .option(
      '-w, --timeout <seconds>',
      'give up a connect, or end an idle connection, after so long',
      seconds(0.001, 1e6),
    )
    .option('-p, --source-port <port>', 'our own port', portNumber)
    .action(async (address: string | undefined, port: string | undefined, options: NcOptions) => {
      const target = targetOf(address, port, options);
      refuseCaptureOnStdout(options);
      finish(await withHost(options, io, (host, signal) => nc(host, target, options, io, signal)));
    });
  return addHostOptions(command).addHelpText(
    'after',
    `\nEnds with 0 after an orderly close, 1 after a refusal or reset, 124 when a connect takes longer than -w.\n${examples(
      [
        ['sudo tapstack nc 10.7.0.1 8080', 'talk to a server of the kernel'],
        ['sudo tapstack nc -l 8080 > file', 'wait for one connection and keep what it sends'],
        ['sudo tapstack nc -N 10.7.0.1 7 < file', 'send a file, finish, and read to the end'],
        ['sudo tapstack nc -u -w 2 10.7.0.1 53', 'datagrams, until two seconds of silence'],
      ],
    )}`,
  );
}

/** Reads the two arguments: with `-l` the address may be left out. Throws {@link UsageError}. */
export function targetOf(
  address: string | undefined,
  port: string | undefined,
  options: NcOptions,
): NcTarget {
  if (address === undefined) throw new UsageError('give an address and a port, or -l and a port');
  if (port === undefined) {
    if (!options.listen) throw new UsageError(`give a port after ${address}`);
    return { port: checked(() => portNumber(address), 'port', address) };
  }
  return {
    address: checked(() => unicastAddress(address), 'address', address),
    port: checked(() => portNumber(port), 'port', port),
  };
}

function checked<T>(parse: () => T, what: string, text: string): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof InvalidArgumentError) {
      throw new UsageError(`argument '${text}' is no ${what}. ${error.message}`);
    }
    throw error;
  }
}

/** Joins stdin and stdout to the peer until either end is done or `signal` aborts. */
export async function nc(
  host: Pick<CommandHost, 'net' | 'dgram'>,
  target: NcTarget,
  options: NcOptions,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  if (options.udp) return talkUdp(host, target, options, io, signal);
  const report = new Report(io, options);
  const socket = options.listen
    ? await acceptOne(host, target, report, signal)
    : await dial(host, target, options, report, signal);
  if (socket === undefined) return EXIT.timeout;
  if (socket === 'stopped') return stopCode(signal);
  return talkTcp(socket, options, io, report, signal);
}

async function acceptOne(
  host: Pick<CommandHost, 'net'>,
  { address, port }: NcTarget,
  report: Report,
  signal: AbortSignal,
): Promise<Socket | 'stopped'> {
  const server: Server = host.net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  // One peer only: a second is refused as soon as the first is here.
  server.listen(address === undefined ? { port } : { port, host: address });
  try {
    await once(server, 'listening', { signal });
    report.note(`listening on ${address ?? 'every address'} port ${port}`);
    const [socket] = (await once(server, 'connection', { signal })) as [Socket];
    report.note(`connection from ${socket.remoteAddress} port ${socket.remotePort}`);
    return socket;
  } catch (error) {
    if (signal.aborted) return 'stopped';
    throw error;
  } finally {
    server.close();
  }
}

/** A connected socket, or `undefined` when it took longer than `-w`. */
async function dial(
  host: Pick<CommandHost, 'net'>,
  { address, port }: NcTarget,
  options: NcOptions,
  report: Report,
  signal: AbortSignal,
): Promise<Socket | 'stopped' | undefined> {
  const local = options.sourcePort === undefined ? {} : { localPort: options.sourcePort };
  const socket = host.net.connect({ host: address!, port, allowHalfOpen: true, ...local });
  const limit = options.timeout === undefined ? undefined : AbortSignal.timeout(options.timeout * 1000);
  const any = limit === undefined ? signal : AbortSignal.any([signal, limit]);
  try {
    await once(socket, 'connect', { signal: any });
    return socket;
  } catch (error) {
    socket.on('error', () => {}).destroy();
    if (signal.aborted) return 'stopped';
    if (!limit?.aborted) throw error;
    report.warn(`tapstack nc: no connection to ${address} port ${port} within ${options.timeout} s`);
    return undefined;
  }
}

async function talkTcp(
  socket: Socket,
  options: NcOptions,
  io: Io,
  report: Report,
  signal: AbortSignal,
): Promise<number> {
  const { promise, resolve } = settleable<number>();
  const stop = () => resolve(stopCode(signal));
  signal.addEventListener('abort', stop, { once: true });
  // As in netcat: without -N the end of stdin ends nothing, the peer does.
  io.stdin.pipe(socket, { end: options.halfClose === true });
  socket.pipe(io.stdout, { end: false });
  // The peer has finished. What a file or a program still has to say is sent; a person is not waited for.
  socket.on('end', () => {
    const { stdin } = io;
    if (stdin.readableEnded || stdin.destroyed || (stdin as { isTTY?: boolean }).isTTY) socket.end();
    else stdin.once('end', () => socket.end());
  });
  socket.on('error', (error) => {
    report.warn(`tapstack nc: ${error.message}`);
    resolve(EXIT.failure);
  });
  socket.on('close', () => resolve(EXIT.ok));
  if (options.timeout !== undefined) {
    socket.setTimeout(options.timeout * 1000, () => {
      socket.end();
      resolve(EXIT.ok);
    });
  }
  const code = await promise;
  signal.removeEventListener('abort', stop);
  io.stdin.unpipe(socket);
  io.stdin.pause();
  socket.unpipe(io.stdout);
  if (!socket.destroyed) socket.destroySoon();
  return code;
}

async function talkUdp(
  host: Pick<CommandHost, 'dgram'>,
  target: NcTarget,
  options: NcOptions,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  const report = new Report(io, options);
  const socket = host.dgram.createSocket(target.address?.includes(':') ? 'udp6' : 'udp4');
  const { promise, resolve } = settleable<number>();
  const idle = idleTimer(options.timeout, () => resolve(EXIT.ok));
  const stop = () => resolve(stopCode(signal));
  signal.addEventListener('abort', stop, { once: true });
  socket.on('error', (error) => {
    report.warn(`tapstack nc: ${error.message}`);
    resolve(EXIT.failure);
  });
  socket.on('message', (message, from) => {
    idle.touch();
    if (options.listen && !connected) speakTo(from.port, from.address);
    // A terminal slower than the peer loses datagrams, as UDP may; it does not gather them.
    if (report.hasRoom) io.stdout.write(message);
  });
  let connected = false;
  const speakTo = (port: number, address: string) => {
    connected = true;
    socket.connect(port, address, () => readDatagrams(socket, io, idle.touch));
  };
  if (options.listen) socket.bind(target.port, target.address);
  else {
    socket.bind(options.sourcePort ?? 0);
    await once(socket, 'listening');
    speakTo(target.port, target.address!);
  }
  const code = await promise;
  idle.cancel();
  signal.removeEventListener('abort', stop);
  io.stdin.removeAllListeners('data').pause();
  socket.close();
  return code;
}

/** Sends what stdin says, a chunk a datagram, cut to {@link MOST_DATAGRAM}. Reads on when the last has been taken. */
function readDatagrams(socket: UdpSocket, io: Io, touch: () => void): void {
  io.stdin.on('data', (chunk: Uint8Array) => {
    touch();
    io.stdin.pause();
    let waiting = Math.ceil(chunk.length / MOST_DATAGRAM);
    for (let at = 0; at < chunk.length; at += MOST_DATAGRAM) {
      socket.send(chunk.subarray(at, at + MOST_DATAGRAM), (error) => {
        if (error !== null) socket.emit('error', error);
        if (--waiting === 0) io.stdin.resume();
      });
    }
  });
}

/** Calls `expire` after `seconds` without a {@link touch}; never without seconds. */
function idleTimer(seconds: number | undefined, expire: () => void): { touch(): void; cancel(): void } {
  const timer = seconds === undefined ? undefined : setTimeout(expire, seconds * 1000);
  return { touch: () => void timer?.refresh(), cancel: () => clearTimeout(timer) };
}

function settleable<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((r) => {
    resolve = r;
  });
  return { promise, resolve };
}
