// A small world for one command: streams that remember, no terminal, a signal the test holds.

import { PassThrough } from 'node:stream';
import type { Io, StopReason } from '../../src/cli/io.ts';

export interface World {
  readonly io: Io;
  readonly stdin: PassThrough;
  /** What was written so far. */
  out(): Buffer;
  err(): string;
  /** stdout read as one JSON object a line. */
  events(): Record<string, unknown>[];
  stop(reason?: StopReason): void;
}

export function makeWorld(env: Record<string, string> = {}, tty = false): World {
  const stdin = new PassThrough();
  const controller = new AbortController();
  const [stdout, outChunks] = remembering(tty);
  const [stderr, errChunks] = remembering(tty);
  const out = () => Buffer.concat(outChunks);
  return {
    io: { stdin, stdout, stderr, env, stop: controller.signal },
    stdin,
    out,
    err: () => Buffer.concat(errChunks).toString(),
    events: () =>
      out()
        .toString()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    stop: (reason = 'SIGINT') => controller.abort(reason),
  };
}

function remembering(tty: boolean): [PassThrough & { isTTY?: boolean; columns?: number }, Buffer[]] {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return [tty ? Object.assign(stream, { isTTY: true, columns: 60 }) : stream, chunks];
}
