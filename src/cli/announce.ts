// What `tapstack up` says while it comes up: each thing on a line of its own as it becomes usable, with the command to try it.

import type { HostPlan } from './options.ts';
import { version } from './package.ts';
import type { Report } from './report.ts';
import type { Facts, ServiceFacts } from './services/page.ts';

/** Columns of the kind and of the thing; the command to try follows. */
const KIND = 10;
const THING = 28;

/** Says what is up, in words or as JSON events. */
export class Announcer {
  readonly #plan: HostPlan;
  readonly #report: Report;
  /** What a command must begin with to reach the kernel's side. */
  readonly #prefix: string;

  constructor(plan: HostPlan, report: Report) {
    this.#plan = plan;
    this.#report = report;
    this.#prefix = plan.netns === undefined ? '' : `ip netns exec ${plan.netns} `;
  }

  start({ name, mac, mtu, offload }: Facts['interface']): void {
    const features = offload.length === 0 ? 'no offload' : `offload: ${offload.join(' ')}`;
    this.#say('up', { version: version(), interface: name, mac, mtu, offload }, [
      `tapstack ${version()} on ${name}: ${mac}, MTU ${mtu}, ${features}`,
    ]);
    const { hostIp } = this.#plan;
    if (hostIp !== undefined) {
      this.#say('kernel', { address: hostIp, interface: name }, [`kernel ${hostIp}`]);
    }
    const { capture } = this.#plan;
    if (capture !== undefined && capture !== '-') {
      this.#say('capture', { file: capture }, [`capture ${capture}`, `wireshark ${capture}`]);
    }
  }

  /** An address may be used from now on. */
  address(cidr: string, name: string): void {
    const address = bare(cidr);
    this.#say('address', { address: cidr, interface: name }, [
      `address ${cidr}`,
      `${this.#prefix}ping ${address}`,
    ]);
  }

  /** A service listens. */
  listening(service: ServiceFacts): void {
    const { name, transport, port } = service;
    this.#say('listening', { ...service }, [
      `listening ${name}, ${transport} port ${port}`,
      this.#prefix + tryIt(service, service.address ?? bare(this.#plan.ip[0] ?? '')),
    ]);
  }

  /** Everything that was asked for is under way. */
  ready(): void {
    this.#report.note(this.#report.paint('dim', 'Ctrl-C ends it.'));
  }

  /** `[kind thing…, what to try]` in three columns. */
  #say(
    event: string,
    fields: Record<string, unknown>,
    [what, hint = '']: [what: string, hint?: string],
  ): void {
    const space = what.indexOf(' ');
    const kind = what.slice(0, space).padEnd(KIND);
    const thing = hint === '' ? what.slice(space + 1) : what.slice(space + 1).padEnd(THING);
    const { paint } = this.#report;
    const text = `${paint.call(this.#report, 'green', kind)} ${thing} ${paint.call(this.#report, 'cyan', hint)}`;
    this.#report.event(event, fields, text.trimEnd());
  }
}

/** The command that shows a service at work. */
function tryIt({ name, transport, port }: ServiceFacts, address: string): string {
  if (name === 'http') {
    const host = address.includes(':') ? `[${address}]` : address;
    return `curl http://${host}${port === 80 ? '' : `:${port}`}/`;
  }
  const nc = transport === 'udp' ? 'nc -u' : 'nc';
  return `${nc} ${address} ${port}${name === 'chargen' && transport === 'tcp' ? ' | head' : ''}`;
}

/** An address without its prefix length. */
export function bare(cidr: string): string {
  return cidr.split('/', 1)[0] ?? cidr;
}
