// Waiting that a signal can cut short.

import { setTimeout as sleep } from 'node:timers/promises';

/** Waits so many milliseconds, or until `signal` aborts. Never throws. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await sleep(ms, undefined, { signal }).catch(() => {});
}
