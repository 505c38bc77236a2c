// `tapstack ping ADDRESS`: echo requests from a stack of its own, reported as ping(8) reports them.

import { Command } from 'commander';
import { type Context, examples } from './command.ts';
import { EXIT, type Io } from './io.ts';
import { type CommandHost, withHost } from './join.ts';
import { addHostOptions, anyDestination, type HostOptions, seconds, wholeNumber } from './options.ts';
import { type OutputOptions, Report } from './report.ts';
import { pause } from './wait.ts';

/** The most an echo request can carry: an IPv4 packet without its headers (RFC 791, RFC 792). */
const MOST_PAYLOAD = 65_507;

export interface PingOptions extends HostOptions, OutputOptions {
  count: number;
  interval: number;
  timeout: number;
  size: number;
  ttl?: number;
}

export function pingCommand({ io, finish }: Context): Command {
  const command = new Command('ping')
    .description('send ICMP echo requests and show the replies')
    .argument('<address>', 'whom to ask', anyDestination)
    .option('-c, --count <n>', 'how many requests; 0 goes on until Ctrl-C', wholeNumber(0, 1e9), 4)
    .option('-i, --interval <seconds>', 'from one request to the next', seconds(0, 3600), 1)
    .option('-W, --timeout <seconds>', 'how long to wait for each reply', seconds(0.001, 3600), 1)
    .option('-s, --size <bytes>', 'payload of each request', wholeNumber(0, MOST_PAYLOAD), 56)
    .option('-t, --ttl <hops>', 'time to live of the requests', wholeNumber(1, 255))
    .action(async (address: string, options: PingOptions) => {
      finish(await withHost(options, io, (host, signal) => ping(host, address, options, io, signal)));
    });
  return addHostOptions(command).addHelpText(
    'after',
    `\nEnds with 0 after a reply, 1 without one, 2 when the request makes no sense, 77 without a TAP.\n${examples(
      [
        ['sudo tapstack ping 10.7.0.1', "ping the kernel's side of a new TAP"],
        ['sudo tapstack ping -c 100 -i 0 -q 10.7.0.1', 'a hundred in a row, only the summary'],
        ['sudo tapstack ping -s 4000 10.7.0.1', 'large ones, which travel in fragments'],
      ],
    )}`,
  );
}

/** Pings until the count is reached or `signal` aborts; 0 if anything came back, else 1. */
export async function ping(
  host: Pick<CommandHost, 'ping'>,
  address: string,
  options: PingOptions,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  const report = new Report(io, options);
  const rtts: number[] = [];
  let sent = 0;
  report.event('start', { address, size: options.size }, `PING ${address}: ${options.size} data bytes`);
  while (!signal.aborted && (options.count === 0 || sent < options.count)) {
    const started = performance.now();
    const sequence = ++sent;
    const rtt = await askOnce(host, address, options, sequence, report, signal);
    if (rtt !== undefined) rtts.push(rtt);
    else if (signal.aborted) sent--;
    if (options.count !== 0 && sent >= options.count) break;
    await pause(options.interval * 1000 - (performance.now() - started), signal);
  }
  summarize(address, sent, rtts, report);
  return rtts.length > 0 ? EXIT.ok : EXIT.failure;
}

async function askOnce(
  host: Pick<CommandHost, 'ping'>,
  address: string,
  { size, timeout, ttl }: PingOptions,
  sequence: number,
  report: Report,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const wishes = { size, timeout: timeout * 1000, signal, ...(ttl === undefined ? {} : { ttl }) };
    const reply = await host.ping(address, wishes);
    const fields = { sequence, bytes: reply.bytes, ttl: reply.ttl, milliseconds: reply.rtt };
    const text = `${reply.bytes} bytes from ${address}: seq=${sequence} ttl=${reply.ttl} time=${milliseconds(reply.rtt)}`;
    report.event('reply', fields, text);
    return reply.rtt;
  } catch (error) {
    if (signal.aborted) return undefined;
    const code = (error as { code?: string }).code ?? 'ERROR';
    report.event('none', { sequence, code }, `seq=${sequence}: ${reason(error as Error, code, timeout)}`);
    return undefined;
  }
}

function reason(error: Error, code: string, timeout: number): string {
  if (code === 'ETIMEDOUT') return `no reply within ${timeout} s`;
  if (code === 'EHOSTUNREACH') return 'host unreachable: nobody answers to that address on the link';
  if (code === 'ENETUNREACH') return 'network unreachable: no route leads there; --gateway names one';
  return error.message;
}

function summarize(address: string, sent: number, rtts: number[], report: Report): void {
  const received = rtts.length;
  const loss = sent === 0 ? 0 : (100 * (sent - received)) / sent;
  const lost = `${Number.isInteger(loss) ? loss : loss.toFixed(1)}% lost`;
  const { least, mean, most } = spread(rtts);
  const times =
    received === 0
      ? ''
      : `, time min/mean/max ${milliseconds(least)}/${milliseconds(mean)}/${milliseconds(most)}`;
  const fields = { address, sent, received, loss, ...(received === 0 ? {} : { least, mean, most }) };
  // The summary is what --quiet leaves.
  if (report.json) report.event('summary', fields);
  else report.line(`${address}: ${sent} sent, ${received} received, ${lost}${times}`);
}

/** Smallest, mean and largest; NaN of nothing. */
export function spread(values: readonly number[]): { least: number; mean: number; most: number } {
  let least = Number.NaN;
  let most = Number.NaN;
  let sum = 0;
  for (const value of values) {
    sum += value;
    if (!(value >= least)) least = value;
    if (!(value <= most)) most = value;
  }
  return { least, mean: sum / values.length, most };
}

/** `0.123 ms`. */
export function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(3) : ms < 100 ? ms.toFixed(2) : ms.toFixed(1)} ms`;
}
