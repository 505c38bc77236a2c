// What system calls come to.

import type { Micros } from '../base/time.ts';
import type { Errno } from './symbols.ts';

/** What a call returned: a number, -1 with an error; and what it wrote elsewhere than the script says, if it did. */
export interface Outcome {
  readonly value: number;
  readonly errno?: Errno;
  /** Why an output argument is not as the script has it. */
  readonly mismatch?: string | undefined;
}

/**
 * A call under way: tries, and says how it came out, or undefined while it blocks. It is tried again whenever something has
 * happened. `deadline` is when it wants to be tried even if nothing has.
 */
export interface Attempt {
  (): Outcome | undefined;
  deadline?: Micros;
}

export const OK: Outcome = { value: 0 };

export function done(value: number): Outcome {
  return { value };
}

export function failed(errno: Errno): Outcome {
  return { value: -1, errno };
}
