// `tapstack up`: a host of its own on a TAP, with a few services, a capture and a live status line; until Ctrl-C.

import { Command } from 'commander';
import type { Host } from '../node/host.ts';
import { Announcer } from './announce.ts';
import { type Context, examples } from './command.ts';
import { demo } from './demo.ts';
import { cidrText, factsOf } from './facts.ts';
import { EXIT, type Io } from './io.ts';
import { NoTapError, openHost } from './join.ts';
import {
  addHostOptions,
  type HostOptions,
  type HostPlan,
  planHost,
  portNumber,
  wholeNumber,
} from './options.ts';
import { bytes, duration, type OutputOptions, plural, Report } from './report.ts';
import { dropCount, type Facts, openConnections } from './services/page.ts';
import { ServiceSet, type ServiceWishes } from './services/set.ts';
import { RateMeter, statusLine } from './traffic.ts';
import { pause } from './wait.ts';

/** How often the status line is written, and how often the JSON event: a person sees half a second, a log need not. */
const LIVE_MS = 500;
const JSON_MS = 1000;
/** How long peers have to finish their connections after Ctrl-C. */
const GRACE_MS = 2000;

export interface UpOptions extends HostOptions, OutputOptions {
  http?: number | true;
  echo?: boolean;
  discard?: boolean;
  chargen?: boolean;
  demo?: boolean;
  seed?: number;
}

export function upCommand({ io, finish }: Context): Command {
  const command = new Command('up')
    .description('bring a stack up on a TAP and run services on it until Ctrl-C')
    .option('--http [port]', 'a web page about the stack, /bytes/N and /hash (default port: 80)', portNumber)
    .option('--echo', 'echo on port 7, TCP and UDP (RFC 862)')
    .option('--discard', 'discard on port 9, TCP and UDP (RFC 863)')
    .option('--chargen', 'character generator on port 19, TCP and UDP (RFC 864)')
    .option('--demo', 'no TAP: two stacks on a wire in memory, and what they say to each other')
    .option('--seed <n>', 'the chance of the demo', wholeNumber(0, 0xffff_ffff))
    .action(async (options: UpOptions) => finish(await up(options, io)));
  return addHostOptions(command).addHelpText(
    'after',
    `\nWithout a TAP it says why, and runs the demo. A second Ctrl-C ends at once.\n${examples([
      ['sudo tapstack up --http --echo', 'on tap0, as 10.7.0.2; the kernel is 10.7.0.1'],
      ['sudo tapstack up --capture up.pcapng', 'only answer pings, and keep every frame for Wireshark'],
      ['sudo tapstack up --no-offload --http', 'every frame as it would be on a real wire'],
      ['tapstack up --demo --http --capture demo.pcapng', 'without any rights'],
    ])}`,
  );
}

export async function up(options: UpOptions, io: Io): Promise<number> {
  const plan = planHost(options);
  const report = new Report(io, options);
  if (options.demo) return demo(plan, { ...options, wishes: wishesOf(options) }, report, io.stop);
  try {
    return await serve(plan, options, report, io.stop);
  } catch (error) {
    if (!(error instanceof NoTapError)) throw error;
    report.warn(`tapstack: ${error.message}`);
    report.note('So here is the same between two stacks on a wire in memory.\n');
    return demo(plan, { ...options, wishes: wishesOf(options) }, report, io.stop);
  }
}

/** The services that the options ask for. */
export function wishesOf({ http, echo, discard, chargen }: UpOptions): ServiceWishes {
  return {
    ...(http === undefined ? {} : { http: http === true ? 80 : http }),
    echo: echo === true,
    discard: discard === true,
    chargen: chargen === true,
  };
}

async function serve(plan: HostPlan, options: UpOptions, report: Report, stop: AbortSignal): Promise<number> {
  const started = performance.now();
  const host = await openHost(plan);
  const services = new ServiceSet(host, wishesOf(options));
  const facts = () => factsOf(host, services, (performance.now() - started) / 1000);
  const announce = new Announcer(plan, report);
  // The device may go away under us: somebody deletes the interface.
  const gone = new AbortController();
  host.on('error', (error) => gone.abort(error));
  try {
    announce.start(facts().interface);
    await services.open(facts);
    for (const service of services.list) announce.listening(service);
    await watchAddresses(host, services, announce, report);
    announce.ready();
    await watch(facts, report, AbortSignal.any([stop, gone.signal]));
    gone.signal.throwIfAborted();
  } finally {
    report.status('');
    await services.close(GRACE_MS);
    const last = facts();
    // Rejects when the capture could not be completed: the rest is worth telling all the same.
    await host.close().finally(() => summarize(last, services.accepted, plan, report));
  }
  return EXIT.ok;
}

/** Writes the status until `stop`. */
async function watch(facts: () => Facts, report: Report, stop: AbortSignal): Promise<void> {
  const meter = new RateMeter(facts().link, performance.now());
  while (!stop.aborted) {
    await pause(report.json ? JSON_MS : LIVE_MS, stop);
    if (stop.aborted || !(report.json || report.live)) continue;
    const { link, connections, drops, uptime } = facts();
    const rates = meter.look(link, performance.now());
    const dropped = dropCount(drops);
    const open = openConnections(connections);
    report.status(statusLine(rates, open, dropped));
    if (report.json) report.event('status', { uptime, ...link, rates, connections: open, dropped });
  }
}

/** Says each address as it becomes usable, and opens the UDP services on it. Resolves when those of now are open. */
async function watchAddresses(
  host: Host,
  services: ServiceSet,
  announce: Announcer,
  report: Report,
): Promise<void> {
  const told = new Set<string>();
  const look = async () => {
    for (const { address, prefixLength, state } of host.interface.addresses) {
      if (told.has(String(address)) || state === 'tentative' || state === 'duplicate') continue;
      told.add(String(address));
      announce.address(cidrText(address, prefixLength), host.interface.name);
      try {
        for (const service of await services.openUdp(String(address))) announce.listening(service);
      } catch (error) {
        report.warn(`tapstack up: no UDP services on ${address}: ${(error as Error).message}`);
      }
    }
  };
  host.on('address', () => void look());
  host.on('conflict', ({ address, mac }) => {
    report.warn(`tapstack up: ${mac} uses our address ${address} too`);
  });
  await look();
}

function summarize(last: Facts, accepted: number, plan: HostPlan, report: Report): void {
  const { link, drops, uptime } = last;
  const file = plan.capture === undefined || plan.capture === '-' ? '' : `; capture in ${plan.capture}`;
  const dropped = dropCount(drops);
  report.event(
    'closed',
    { uptime, ...link, accepted, dropped, drops, ...(file === '' ? {} : { capture: plan.capture }) },
    `up ${duration(uptime)}: received ${bytes(link.rxBytes)} in ${plural(link.rxFrames, 'frame')}, ` +
      `sent ${bytes(link.txBytes)} in ${plural(link.txFrames, 'frame')}, ` +
      `${plural(accepted, 'connection')}, ${dropped} dropped${reasons(drops)}${file}`,
  );
}

/** ` (bad checksum 3, no socket 1)` */
function reasons(drops: Facts['drops']): string {
  const list = Object.entries(drops).filter(([, n]) => n > 0);
  return list.length === 0 ? '' : ` (${list.map(([reason, n]) => `${reason} ${n}`).join(', ')})`;
}
