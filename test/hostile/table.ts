// One row of the table: a class of hostile packets, what becomes of them, and that nothing else does.

import { expect, test } from 'vitest';
import type { DropReason } from '../../src/base/drop.ts';
import type { Random } from '../../src/base/random.ts';
import { type Tally, Victim, type VictimOptions } from './victim.ts';

/** Frames of one flood. */
export const FLOOD = 10_000;

export interface HostileClass {
  /** Variant `i`: one frame or several in a row. */
  variant(v: Victim, i: number, random: Random): Uint8Array | readonly Uint8Array[];
  /** Every verdict there may be; each must occur. `taken` is for what looks honest. */
  verdicts: readonly (DropReason | 'taken')[];
  /** Kinds of answers that may be given; none by default. */
  answers?: readonly string[];
  count?: number;
  options?: VictimOptions;
  before?(v: Victim): void;
  /** Looks at the stack after the flood, before life goes on. */
  after?(v: Victim, tally: Tally): void;
}

/** Runs the flood, then proves that everything still works. `id` as in the table of docs/hostile.md. */
export function hostile(id: number, name: string, row: HostileClass): void {
  test(`hostile ${id}: ${name}`, () => {
    const v = new Victim(row.options);
    row.before?.(v);
    const tally = v.flood(row.count ?? FLOOD, (i, random) => row.variant(v, i, random));
    const verdicts = [...tally.verdicts.keys()].sort();
    expect(verdicts).toEqual([...row.verdicts].sort());
    const unexpected = [...tally.answers].filter(([kind]) => !row.answers?.includes(kind));
    expect(unexpected).toEqual([]);
    row.after?.(v, tally);
    v.alive();
  });
}
