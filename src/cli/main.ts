#!/usr/bin/env node
// The bin `tapstack`: gives a command the process's streams and signals, and ends with its exit code.

import { EXIT, type Io, type StopReason } from './io.ts';
import { run } from './program.ts';

const stop = new AbortController();

function ask(reason: StopReason): void {
  // A second Ctrl-C is from somebody who will not wait.
  if (stop.signal.aborted && reason === 'SIGINT') process.exit(EXIT.interrupted);
  stop.abort(reason);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal));

// `tapstack dissect … | head`: nobody reads any more. That is the end of the work and no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return ask('EPIPE');
    // A full disk behind `> file`. There is nobody to tell when stderr is what failed.
    if (stream === process.stdout) process.stderr.write(`tapstack: stdout: ${error.message}\n`);
    process.exit(EXIT.failure);
  });
}

const io: Io = {
  // A getter: looking at stdin opens it.
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  stop: stop.signal,
};

const code = await run(process.argv.slice(2), io);
// What the last write ran into is told in the next turn.
setImmediate(() => process.exit(code));
