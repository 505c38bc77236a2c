// `tapstack arping ADDRESS`: asks on the link who has an address (RFC 826), and shows who answers.

import { Command } from 'commander';
import { type Context, examples } from './command.ts';
import { EXIT, type Io } from './io.ts';
import { type CommandHost, withHost } from './join.ts';
import { addHostOptions, type HostOptions, seconds, unicastAddress, wholeNumber } from './options.ts';
import { milliseconds } from './ping.ts';
import { type OutputOptions, Report } from './report.ts';
import { pause } from './wait.ts';

export interface ArpingOptions extends HostOptions, OutputOptions {
  count: number;
  interval: number;
  timeout: number;
}

export function arpingCommand({ io, finish }: Context): Command {
  const command = new Command('arping')
    .description('ask on the link who has an IPv4 address')
    .argument('<address>', 'whose link address to ask for', unicastAddress)
    .option('-c, --count <n>', 'how many requests; 0 goes on until Ctrl-C', wholeNumber(0, 1e9), 3)
    .option('-i, --interval <seconds>', 'from one request to the next', seconds(0, 3600), 1)
    .option('-W, --timeout <seconds>', 'how long to wait for each reply', seconds(0.001, 3600), 1)
    .action(async (address: string, options: ArpingOptions) => {
      finish(await withHost(options, io, (host, signal) => arping(host, address, options, io, signal)));
    });
  return addHostOptions(command).addHelpText(
    'after',
    `\nEnds with 0 after a reply, 1 without one, 2 when the request makes no sense, 77 without a TAP.\n${examples(
      [['sudo tapstack arping 10.7.0.1', "the link address of the kernel's side"]],
    )}`,
  );
}

/** Asks until the count is reached or `signal` aborts; 0 if anybody answered, else 1. */
export async function arping(
  host: Pick<CommandHost, 'arping'>,
  address: string,
  options: ArpingOptions,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  const report = new Report(io, options);
  const holders = new Set<string>();
  let sent = 0;
  let received = 0;
  while (!signal.aborted && (options.count === 0 || sent < options.count)) {
    const started = performance.now();
    sent++;
    try {
      const { mac, rtt } = await host.arping(address, { timeout: options.timeout * 1000, signal });
      received++;
      holders.add(mac);
      report.event(
        'reply',
        { address, mac, milliseconds: rtt },
        `${address} is at ${mac}, time=${milliseconds(rtt)}`,
      );
    } catch (error) {
      if (signal.aborted) {
        sent--;
        break;
      }
      const { code, message } = error as { code?: string; message: string };
      const text = code === 'ETIMEDOUT' ? `no reply within ${options.timeout} s` : message;
      report.event('none', { address, code: code ?? 'ERROR' }, `${address}: ${text}`);
    }
    if (options.count !== 0 && sent >= options.count) break;
    await pause(options.interval * 1000 - (performance.now() - started), signal);
  }
  const shared = holders.size > 1 ? `; ${holders.size} stations claim it` : '';
  if (report.json) report.event('summary', { address, sent, received, holders: [...holders] });
  else report.line(`${address}: ${sent} sent, ${received} received${shared}`);
  return received > 0 ? EXIT.ok : EXIT.failure;
}
