// `tapstack up --demo`: two stacks on a wire in memory. One runs the services, the other uses them, and every frame that
// passes between them is printed as it passes.

import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { maskWord, parseCidr, v4 } from '../base/address.ts';
import { parseMac } from '../base/mac.ts';
import { seededRandom } from '../base/random.ts';
import type { PrintableFrame } from '../inspect/print.ts';
import { type CaptureOptions, capture, type WallTime } from '../link/capture.ts';
import { createPipe } from '../link/pipe.ts';
import type { Host } from '../node/host.ts';
import { bare } from './announce.ts';
import { factsOf } from './facts.ts';
import { FrameTeller } from './frames.ts';
import { EXIT, stopCode } from './io.ts';
import { DEFAULT_HOST_IP, type HostPlan } from './options.ts';
import { milliseconds } from './ping.ts';
import { bytes, plural, type Report } from './report.ts';
import { ServiceSet, type ServiceWishes } from './services/set.ts';
import { ECHO_PORT } from './services/simple.ts';
import { pause } from './wait.ts';

/** What the client says to the echo service. */
const WORDS = 'Was it a car or a cat I saw?';

/** Runs the services on one stack and uses them from another; `stop` ends it early. */
export async function demo(
  plan: HostPlan,
  options: { seed?: number; wishes: ServiceWishes },
  report: Report,
  stop: AbortSignal,
): Promise<number> {
  const wishes: ServiceWishes = { http: 80, ...options.wishes, echo: true };
  const { server, client, tell, finish } = await makeWire(plan, options.seed, report);
  const started = performance.now();
  const services = new ServiceSet(server, wishes);
  try {
    await services.open(() => factsOf(server, services, (performance.now() - started) / 1000));
    const settled = async () => {
      await quiet([server, client], stop);
      tell();
    };
    await converse(client, bare(plan.ip[0]!), wishes.http ?? 80, { report, stop, settled });
  } catch (error) {
    // What a stop cuts short fails in many words, each of them true.
    if (!stop.aborted) throw error;
  } finally {
    await services.close(1000);
    await client.close();
    const { stats } = server.device;
    await server.close();
    tell();
    await finish();
    const total = stats.rxFrames + stats.txFrames;
    const file = plan.capture === undefined || plan.capture === '-' ? '' : `; capture in ${plan.capture}`;
    report.event(
      'closed',
      {
        frames: total,
        bytes: stats.rxBytes + stats.txBytes,
        ...(file === '' ? {} : { capture: plan.capture }),
      },
      `${plural(total, 'frame')}, ${bytes(stats.rxBytes + stats.txBytes)}${file}`,
    );
  }
  return stop.aborted ? stopCode(stop) : EXIT.ok;
}

interface Wire {
  readonly server: Host;
  readonly client: Host;
  /** Prints the frames that have passed. */
  tell(): void;
  /** Completes the capture. */
  finish(): Promise<void>;
}

/** Two hosts, a wire between them, and a recorder on the server's end that prints and, if asked, keeps every frame. */
async function makeWire(plan: HostPlan, seed: number | undefined, report: Report): Promise<Wire> {
  const { createHost } = await import('../node/host.ts');
  const { createPcapngFile } = await import('../node/pcap-file.ts');
  const mac = plan.mac === undefined ? undefined : parseMac(plan.mac);
  const [near, far] = createPipe({
    ...(plan.mtu === undefined ? {} : { mtu: plan.mtu }),
    ...(mac === undefined ? {} : { macA: mac }),
  });
  const file =
    plan.capture === undefined ? undefined : createPcapngFile(plan.capture, { application: 'tapstack' });
  file?.addInterface({ name: 'wire', linkType: 1, mac: near.mac });
  const teller = new FrameTeller(report);
  // Printed between the steps: printing takes longer than the frames do.
  const passed: PrintableFrame[] = [];
  const recorder: CaptureOptions = {
    interfaceId: 0,
    started: false,
    clock: wallTime,
    writer: {
      packet: (id, seconds, nanos, bytes, offset, length, { direction, comment } = {}) => {
        file?.packet(id, seconds, nanos, bytes, offset, length, { direction, comment });
        if (report.quiet) return;
        passed.push({
          seconds,
          nanos,
          bytes: bytes.slice(offset, offset + length),
          originalLength: length,
          linkType: 1,
          direction,
          comments: comment === undefined ? [] : [comment],
        });
      },
      statistics: (...values) => file?.statistics(...values),
    },
  };
  const recording = capture(near, recorder);
  const chance = (salt: number) => (seed === undefined ? {} : { random: seededRandom(seed ^ salt) });
  const server = await createHost({ device: recording, ipv4: plan.ip, name: 'wire', ...chance(0) });
  recorder.trace = server.stack.trace;
  recording.start();
  const client = await createHost({ device: far, ipv4: clientAddress(plan), name: 'client', ...chance(1) });
  return {
    server,
    client,
    tell: () => {
      for (const frame of passed.splice(0)) teller.tell(frame);
    },
    finish: async () => file?.close(),
  };
}

/** The other end: `--host-ip` if there is one, else a neighbour of the first `--ip`. */
function clientAddress({ hostIp, ip }: HostPlan): string {
  if (hostIp !== undefined) return hostIp;
  const { address, prefixLength } = parseCidr(ip[0] ?? '') ?? parseCidr(DEFAULT_HOST_IP)!;
  const hosts = prefixLength >= 31 ? [0, 1] : [1, 2];
  const network = address.w3 & maskWord(prefixLength);
  const free = hosts.map((n) => v4(network | n)).find((candidate) => !candidate.equals(address));
  return `${free}/${prefixLength}`;
}

interface Talk {
  readonly report: Report;
  readonly stop: AbortSignal;
  /** Waits until the last frame of a step has passed, and prints them all. */
  settled(): Promise<void>;
}

/** Pings, fetches the page, and speaks to the echo service. */
async function converse(client: Host, address: string, port: number, { report, stop, settled }: Talk) {
  const step = (command: string) => report.event('step', { command }, report.paint('bold', `$ ${command}`));

  step(`ping -c 1 ${address}`);
  const { rtt, ttl } = await client.ping(address, { signal: stop });
  await settled();
  report.event('reply', { address, ttl, milliseconds: rtt }, `reply after ${milliseconds(rtt)}\n`);

  step(`curl http://${address}${port === 80 ? '' : `:${port}`}/`);
  const { status, body, title } = await fetchPage(client, address, port, stop);
  await settled();
  const fields = { status, bytes: body.length, title };
  report.event('response', fields, `${status}, ${body.length} bytes: ${title}\n`);

  step(`echo '${WORDS}' | nc -N ${address} ${ECHO_PORT}`);
  const answer = await askEcho(client, address, stop);
  await settled();
  report.event('echo', { text: answer }, `${answer}\n`);
}

/** Waits until no connection of these hosts has anything left to say, a second at most. */
async function quiet(hosts: readonly Host[], stop: AbortSignal): Promise<void> {
  const over = performance.now() + 1000;
  const busy = () =>
    hosts.some((host) =>
      host.connections().some(({ state = 'LISTEN' }) => state !== 'LISTEN' && state !== 'TIME-WAIT'),
    );
  while (busy() && performance.now() < over && !stop.aborted) await pause(2, stop);
}

interface Page {
  readonly status: number;
  readonly body: Uint8Array;
  readonly title: string;
}

/** Node's own HTTP client over the client's stack. */
async function fetchPage(client: Host, address: string, port: number, signal: AbortSignal): Promise<Page> {
  const request = httpGet({
    host: address,
    port,
    path: '/',
    headers: { 'User-Agent': 'tapstack', Accept: 'text/html', Connection: 'close' },
    createConnection: () => client.net.connect({ host: address, port }),
    signal,
  });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const body = await readAll(response);
  const title = /<title>(.*?)<\/title>/.exec(body.toString('utf8'))?.[1] ?? '';
  return { status: response.statusCode ?? 0, body, title };
}

async function askEcho(client: Host, address: string, signal: AbortSignal): Promise<string> {
  const socket: Socket = client.net.connect({ host: address, port: ECHO_PORT });
  signal.addEventListener('abort', () => socket.destroy(), { once: true });
  socket.end(`${WORDS}\n`);
  return (await readAll(socket)).toString('utf8').trimEnd();
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The system's clock in the form of captures. */
function wallTime(): WallTime {
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const seconds = Math.floor(micros / 1_000_000);
  return { seconds, nanos: (micros - seconds * 1_000_000) * 1000 };
}
