// Where the tests find captures and tools, and when they may do without.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CI = process.env.CI === 'true';

/** The folder of captures beside the repository. */
export const CAPTURES = fileURLToPath(new URL('../../../shared/captures', import.meta.url));
/** Skipping is honest on a bare machine, never in CI. */
export const withoutCaptures = !CI && !existsSync(CAPTURES);
export const withoutWireshark = !CI && !runs('tshark');

function runs(tool: string): boolean {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Every file with `extension` under `folder` of the captures, as paths. */
export function captureFiles(folder: string, extension = '.pcapng'): string[] {
  const root = join(CAPTURES, folder);
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(extension))
    .sort()
    .map((name) => join(root, name));
}

export function read(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

/** Runs a tool of Wireshark and gives its standard output. Its chatter on standard error is dropped. */
export function run(tool: string, args: readonly string[]): string {
  return execFileSync(tool, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

/** A folder that is gone when `use` is done. */
export async function inFolder<T>(use: (path: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'pcap-test-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
