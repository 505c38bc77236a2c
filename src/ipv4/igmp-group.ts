// The state of one group on one interface, and the records that tell it: the set arithmetic of RFC 3376 3.2, 5.1 and 5.2.

import type { Address } from '../base/address.ts';
import { Timer } from '../base/timers.ts';
import {
  ALLOW_NEW_SOURCES,
  BLOCK_OLD_SOURCES,
  CHANGE_TO_EXCLUDE_MODE,
  CHANGE_TO_INCLUDE_MODE,
  MODE_IS_EXCLUDE,
  MODE_IS_INCLUDE,
  type RecordType,
} from './igmp-header.ts';

export type FilterMode = 'include' | 'exclude';

/** A filter mode and its source list, as address words. INCLUDE {} wants nothing. */
export interface Filter {
  readonly mode: FilterMode;
  readonly sources: ReadonlySet<number>;
}

const NOTHING: Filter = { mode: 'include', sources: new Set() };

/** One group of one interface. */
export interface Group {
  readonly address: Address;
  /** What each socket wants. */
  readonly sockets: Map<object, Filter>;
  /** The merged reception state. */
  state: Filter;
  /** State-Change Reports still to be sent with a Filter-Mode-Change record. */
  modeChanges: number;
  /** Reports still to be sent for each source that was allowed or blocked. */
  readonly sourceChanges: Map<number, number>;
  /** Sources of Group-and-Source-Specific Queries to answer; empty: the whole state. */
  readonly queried: Set<number>;
  /** Version 2: ours was the last report heard, so the Leave is ours, too. */
  lastReporter: boolean;
  /** Answers a query about this group. */
  readonly response: Timer;
  /** Repeats a State-Change Report. */
  readonly change: Timer;
}

export function newGroup(address: Address, answer: () => void, repeat: () => void): Group {
  return {
    address,
    sockets: new Map(),
    state: NOTHING,
    modeChanges: 0,
    sourceChanges: new Map(),
    queried: new Set(),
    lastReporter: false,
    response: new Timer(answer),
    change: new Timer(repeat),
  };
}

/** A group record to be sent. */
export interface GroupRecord {
  readonly type: RecordType;
  readonly group: number;
  readonly sources: readonly number[];
}

/**
 * RFC 3376 3.2. With an EXCLUDE among them: EXCLUDE, the intersection of all excluded lists minus every included source.
 * Else INCLUDE, the union.
 */
export function merge(filters: Iterable<Filter>): Filter {
  let excluded: Set<number> | undefined;
  const included = new Set<number>();
  for (const { mode, sources } of filters) {
    if (mode === 'include') {
      for (const source of sources) included.add(source);
    } else if (excluded === undefined) {
      excluded = new Set(sources);
    } else {
      for (const source of excluded) if (!sources.has(source)) excluded.delete(source);
    }
  }
  if (excluded === undefined) return { mode: 'include', sources: included };
  for (const source of included) excluded.delete(source);
  return { mode: 'exclude', sources: excluded };
}

/**
 * RFC 3376 5.1: notes the difference between `before` and the state of `group` as `robustness` reports to be sent. Returns
 * false when nothing changed.
 */
export function addChange(group: Group, before: Filter, robustness: number): boolean {
  const after = group.state;
  if (before.mode !== after.mode) {
    group.modeChanges = robustness;
    return true;
  }
  let changed = false;
  for (const source of difference(before.sources, after.sources)) {
    group.sourceChanges.set(source, robustness);
    changed = true;
  }
  for (const source of difference(after.sources, before.sources)) {
    group.sourceChanges.set(source, robustness);
    changed = true;
  }
  return changed;
}

/** The records of the State-Change Report that is due now, counted as sent. */
export function changeRecords(group: Group): GroupRecord[] {
  const { state } = group;
  if (group.modeChanges > 0) {
    group.modeChanges--;
    // A source-list change in the same period is told by the same records.
    countDown(group.sourceChanges);
    const type = state.mode === 'include' ? CHANGE_TO_INCLUDE_MODE : CHANGE_TO_EXCLUDE_MODE;
    return [record(type, group, state.sources)];
  }
  const allow: number[] = [];
  const block: number[] = [];
  for (const source of group.sourceChanges.keys()) {
    const wanted = state.sources.has(source) === (state.mode === 'include');
    (wanted ? allow : block).push(source);
  }
  countDown(group.sourceChanges);
  const records: GroupRecord[] = [];
  if (allow.length > 0) records.push(record(ALLOW_NEW_SOURCES, group, allow));
  if (block.length > 0) records.push(record(BLOCK_OLD_SOURCES, group, block));
  return records;
}

/** RFC 3376 5.2, answer to a General or Group-Specific Query; `undefined` when there is no state to tell. */
export function currentRecord(group: Group): GroupRecord | undefined {
  const { mode, sources } = group.state;
  if (mode === 'include' && sources.size === 0) return undefined;
  return record(mode === 'include' ? MODE_IS_INCLUDE : MODE_IS_EXCLUDE, group, sources);
}

/** RFC 3376 5.2, answer to a Group-and-Source-Specific Query: of the sources asked for, those we want. */
export function queriedRecord(group: Group): GroupRecord | undefined {
  const { mode, sources } = group.state;
  const wanted = [...group.queried].filter((source) => sources.has(source) === (mode === 'include'));
  return wanted.length === 0 ? undefined : record(MODE_IS_INCLUDE, group, wanted);
}

function record(type: RecordType, group: Group, sources: Iterable<number>): GroupRecord {
  return { type, group: group.address.w3, sources: [...sources] };
}

function* difference(a: ReadonlySet<number>, b: ReadonlySet<number>): Generator<number> {
  for (const source of a) if (!b.has(source)) yield source;
}

function countDown(counts: Map<number, number>): void {
  for (const [source, left] of counts) {
    if (left <= 1) counts.delete(source);
    else counts.set(source, left - 1);
  }
}
