// What live tests share: the rule when to skip, network namespaces of their own, and commands run inside them.

import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';
import { ADDON_PATH } from '../../src/node/addon.ts';

/** Why live tests cannot run here; undefined when they can. */
export function obstacle(tools: readonly string[] = []): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'needs /dev/net/tun (modprobe tun)';
  }
  if (!existsSync(ADDON_PATH)) return 'needs the addon (node scripts/build-native.mjs)';
  const missing = ['ip', ...tools].filter((tool) => !isInstalled(tool));
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`;
}

function isInstalled(tool: string): boolean {
  const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return path.some((directory) => existsSync(join(directory, tool)));
}

/**
 * A `describe` for tests with real traffic: skipped, with the reason in its name, where root, the TUN driver or a tool is
 * missing; a failure instead under `CI=true`, so that nothing is ever skipped unseen.
 */
export function describeLive(name: string, tools: readonly string[], body: () => void): void {
  const reason = obstacle(tools);
  if (reason === undefined) describe(name, body);
  else if (process.env.CI === 'true') throw new Error(`live tests must not be skipped under CI: ${reason}`);
  else describe.skip(`${name} (skipped: ${reason})`, body);
}

/** What a finished command said. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let made = 0;

/** A network namespace of this test's own. Remove it in `afterEach`, or by `using`. */
export class Namespace {
  readonly name = `tapstack-${process.pid}-${++made}`;
  readonly #children = new Set<ChildProcess>();

  constructor() {
    check('ip', ['netns', 'add', this.name]);
    this.run('ip', 'link', 'set', 'lo', 'up');
  }

  /** Runs a command inside and waits. Blocks this thread: only for what needs no answer from us. Throws unless status 0. */
  run(command: string, ...args: string[]): string {
    return check('ip', ['netns', 'exec', this.name, command, ...args]).stdout;
  }

  /** Starts a command inside; it is killed with the namespace at the latest. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Runs a command inside while our event loop goes on; resolves when it ends, whatever its status. */
  exec(command: string, ...args: string[]): Promise<Outcome> {
    return outcomeOf(this.spawn(command, args));
  }

  /** Ends what was started inside and removes the namespace. Twice is harmless. */
  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#children.clear();
    spawnSync('ip', ['netns', 'del', this.name]);
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

/** Collects what a child says until it ends. */
export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}

/** A line of tshark for each frame of a large capture: Node's own limit is a megabyte. */
const MOST_OUTPUT = 256 << 20;

/** Runs a command and throws unless its status is 0. */
export function check(command: string, args: readonly string[]): Outcome {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: MOST_OUTPUT,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: status ${status}: ${stderr || stdout}`);
  return { status, stdout, stderr };
}

/** Waits until `condition` holds, asking every few milliseconds; throws `what` after `patience` milliseconds. */
export async function until(condition: () => boolean, what: string, patience = 10_000): Promise<void> {
  const give = performance.now() + patience;
  while (!condition()) {
    if (performance.now() > give) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
