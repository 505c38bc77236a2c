// Builds dist/ when it is older than src/, for tests that start the program as a user does. Harmless to call many times.
//
// Its default export is a vitest globalSetup too: name it in vitest.config.ts to build once before any test.

import { execFile } from 'node:child_process';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LOCK = join(ROOT, 'node_modules', '.tapstack-build');
/** A lock that is older was left by a run that was killed. */
const STALE_MS = 120_000;

/** The program to start with node. */
export const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

/** Makes `dist/` as new as `src/`. Two processes never build at once: the second waits and finds it done. */
export async function build(): Promise<void> {
  while (newest(join(ROOT, 'src'), '.ts') > modified(MAIN)) {
    if (await locked()) {
      try {
        await compile();
      } finally {
        rmSync(LOCK, { recursive: true, force: true });
      }
      return;
    }
    await sleep(200);
  }
}

export default build;

async function locked(): Promise<boolean> {
  try {
    await mkdir(LOCK);
    return true;
  } catch {
    if (Date.now() - modified(LOCK) > STALE_MS) rmSync(LOCK, { recursive: true, force: true });
    return false;
  }
}

function compile(): Promise<void> {
  return new Promise((resolve, reject) => {
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const config = ['-p', join(ROOT, 'tsconfig.build.json')];
    execFile(process.execPath, [tsc, ...config], { cwd: ROOT }, (error, stdout) => {
      // tsc writes its output in spite of type errors; `npm run typecheck` is where those count. No output is fatal.
      if (error !== null && modified(MAIN) === 0) reject(new Error(stdout, { cause: error }));
      else resolve();
    });
  });
}

/** When a file or folder was changed, in milliseconds; 0 when it is not there. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The newest change of a file below `folder` whose name ends so. */
function newest(folder: string, end: string): number {
  let last = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) last = Math.max(last, newest(path, end));
    else if (entry.name.endsWith(end)) last = Math.max(last, modified(path));
  }
  return last;
}
