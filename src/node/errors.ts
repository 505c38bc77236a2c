// Errors of the Node face, shaped as Node shapes its own: a `code` that starts with ERR_ and one clear line.

import { ERRNO, type ErrorCode } from '../base/errors.ts';

/** The codes that only this face throws. */
export type HostErrorCode =
  | 'ERR_INVALID_HOST_OPTION'
  | 'ERR_UNSUPPORTED_HOST_OPTION'
  | 'ERR_HOST_CLOSED'
  | 'ERR_NODE_INTERNALS'
  | 'ERR_NOT_OF_THIS_STACK';

export class HostError extends Error {
  readonly code: HostErrorCode;

  constructor(code: HostErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HostError';
    this.code = code;
  }
}

/** What Node throws when a signal aborts a wait. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';

  constructor(cause?: unknown) {
    super('The operation was aborted', cause === undefined ? undefined : { cause });
    this.name = 'AbortError';
  }
}

/** The negative number that libuv gives for an error, which is what a handle returns. */
export function errnoOf(code: ErrorCode): number {
  return -ERRNO[code];
}

/**
 * Throws `error` where nobody catches it, as Node does with an error that a listener throws: the process sees an
 * `uncaughtException`. The caller goes on.
 */
export function surface(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
