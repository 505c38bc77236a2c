// What a command is given of the world: three streams, the environment, and a signal that says "stop".

import type { Readable, Writable } from 'node:stream';

/** A stream that may be a terminal, as `process.stdout` and `process.stderr` may be. */
export type TextSink = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Why a command is asked to stop: a signal's name, or `EPIPE` when nobody reads its output any more. */
export type StopReason = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'EPIPE';

/** The world of one command. Tests hand in their own. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the command should come to an orderly end; `reason` is a {@link StopReason}. */
  readonly stop: AbortSignal;
}

/** Exit codes, as users of network tools expect them. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** There is no TAP to run on: the work was not tried. Test runners read 77 as "skipped". */
  noTap: 77,
  timeout: 124,
  interrupted: 130,
} as const;

/** The exit code of work that a stop cut short: 128 and the signal's number, as a shell says it; 0 when the reader had enough. */
export function stopCode(stop: AbortSignal): number {
  const codes: Record<StopReason, number> = {
    SIGINT: EXIT.interrupted,
    SIGTERM: 143,
    SIGHUP: 129,
    EPIPE: EXIT.ok,
  };
  return codes[stop.reason as StopReason] ?? EXIT.interrupted;
}

/** The caller's mistake: one line that says what is wrong and how to mend it. Ends with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Resolves when `signal` aborts; at once if it already has. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** True when `error` only says that a signal of ours was aborted. */
export function isAbort(error: unknown): boolean {
  const { name, code } = (error ?? {}) as { name?: string; code?: string };
  return name === 'AbortError' || name === 'TimeoutError' || code === 'ABORT_ERR';
}
