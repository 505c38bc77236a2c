// `tapstack up` as a child process with its own core, in a namespace: started, understood through its JSON lines, ended.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { build, MAIN } from '../../build.ts';
import { type Namespace, until } from '../harness.ts';

/** The two ends of the link that most tests use. */
export const OURS = '10.7.0.2';
export const THEIRS = '10.7.0.1';
/** The name of the TAP. Each test has a namespace of its own, so it meets no other. */
export const TAP = 'tap0';

/** A line of `--json`. */
interface Event {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** What `up` says when it ends. */
export interface Closing {
  readonly rxFrames: number;
  readonly txFrames: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly accepted: number;
  readonly drops: Record<string, number>;
}

export interface UpWishes {
  readonly mtu?: number;
  readonly offload?: boolean;
  readonly capture?: string;
  /** Instead of `--netns` and `--host-ip`: the kernel's side is set up already. */
  readonly bare?: boolean;
  /** The program, unless it is that of this repository. */
  readonly main?: string;
  /** What stands before `node` on the command line, such as setpriv. */
  readonly prefix?: readonly string[];
}

/** Services of `up`: one line of JSON each. */
const SERVICES = 7;

/** A running `tapstack up` with every service. */
export class Up {
  readonly child: ChildProcess;
  readonly events: Event[] = [];
  /** What it said on stderr: a fault of ours. */
  complaint = '';
  #rest = '';

  private constructor(space: Namespace, wishes: UpWishes) {
    const { mtu, offload = true, capture, bare = false, main = MAIN, prefix = [] } = wishes;
    const args = [main, 'up', '--json', '--tap', TAP, '--ip', `${OURS}/24`];
    if (!bare) args.push('--host-ip', `${THEIRS}/24`);
    if (mtu !== undefined) args.push('--mtu', String(mtu));
    if (!offload) args.push('--no-offload');
    if (capture !== undefined) args.push('--capture', capture);
    args.push('--http', '--echo', '--discard', '--chargen');
    const [command = process.execPath, ...rest] = [...prefix, process.execPath, ...args];
    this.child = space.spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.complaint += text;
    });
  }

  /** Starts it, and waits until every service listens. */
  static async start(space: Namespace, wishes: UpWishes = {}): Promise<Up> {
    await build();
    const up = new Up(space, wishes);
    await until(() => up.all('listening').length === SERVICES || up.ended, 'all services to listen', 60_000);
    if (up.ended) throw new Error(`up ended at once: ${up.complaint}`);
    return up;
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  all(name: string): Event[] {
    return this.events.filter(({ event }) => event === name);
  }

  /** Ctrl-C: waits for the end and gives its last words. Throws when the exit code is not 0 or it complained. */
  async stop(): Promise<Closing> {
    if (!this.ended) {
      // `ip netns exec` and setpriv become the program (execve), so the signal is for it.
      this.child.kill('SIGINT');
      await once(this.child, 'close');
    }
    const closing = this.all('closed')[0];
    if (this.child.exitCode !== 0 || this.complaint !== '' || closing === undefined)
      throw new Error(`up ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.complaint}`);
    return closing as unknown as Closing;
  }

  #hear(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.events.push(JSON.parse(line) as Event);
  }
}
