// What is under way and since when: a ring of flat records for each flight (RFC 8985 4, 5.2).
//
//   SND.UNA                                                          SND.NXT
//      |----- record 0 -----|-- record 1 --|-------- record 2 --------|
//                          end            end                        end
//
// A record is three numbers: where it ends (it begins where the one before ends), when it was last sent, and flags. What goes
// out at one moment in one piece is one record, however many segments or super-frames it is: ties in time are broken by sequence
// number (RFC 8985 6.2), so nothing is lost by that. SACK does not cut records, only sending again does; which bytes of a record
// have arrived is the scoreboard's to know, and which are lost the set here.
//
// A flight lasts from the first byte sent to the last one acknowledged. It comes from a pool and goes back: an idle connection
// owns none.

import type { Micros } from '../base/time.ts';
import { clear as clearRanges, createRanges, type Ranges } from './ranges.ts';
import * as seq from './seq.ts';

/** Segment.retransmitted. */
export const RESENT = 1;
/** Segment.lost: nothing of the record is in flight. */
export const LOST = 2;
/** The ring was full and its time is that of the last piece: what came before it may be older. */
export const COARSE = 4;

const FIELDS = 3;
const FIRST_RECORDS = 16;
/** Records of one flight: 2048 × 24 bytes. Beyond it times get coarse, later rather than earlier, and nothing is lost too soon. */
const MOST_RECORDS = 2_048;
/**
 * Ranges deemed lost and not yet sent again. They lie between the scoreboard's ranges, cut at most where records end; a range that
 * finds no room is looked at again with the next ACK.
 */
const MOST_LOST = 512;
/** Flights kept for reuse; beyond it, and with rings larger than this, they are left to the collector. */
const POOL_LIMIT = 1_024;
const POOLED_RECORDS = 64;

/** Read freely; change the ring only through the functions here. */
export interface Flight {
  ring: Float64Array;
  /** Records that it has room for, a power of two, less one. */
  mask: number;
  /** Slot of the first record, and how many there are. */
  first: number;
  count: number;
  /** Deemed lost and not sent again since. Disjoint from what is SACKed. */
  readonly lost: Ranges;
  /** RACK.xmit_ts, RACK.end_seq: of what was delivered, the last that was sent; −1 before anything was. */
  xmitTs: Micros;
  endSeq: number;
  /** RACK.rtt */
  rtt: Micros;
  /** RACK.fack: the highest sequence number known to have arrived. */
  fack: number;
  /** What the deadline `at.loss` is for: RACK's reordering timer or TLP's PTO. */
  waiting: 'reordering' | 'probe';
}

/** Takes a flight that starts at `una`. */
export function takeFlight(pool: Flight[], una: number): Flight {
  const f = pool.pop() ?? createFlight();
  f.fack = f.endSeq = una;
  return f;
}

function createFlight(): Flight {
  return {
    ring: new Float64Array(FIRST_RECORDS * FIELDS),
    mask: FIRST_RECORDS - 1,
    first: 0,
    count: 0,
    lost: createRanges(MOST_LOST),
    xmitTs: -1,
    endSeq: 0,
    rtt: 0,
    fack: 0,
    waiting: 'probe',
  };
}

/** Gives a flight back, all of it acknowledged or given up. */
export function giveFlight(pool: Flight[], f: Flight): void {
  if (pool.length >= POOL_LIMIT || f.mask >= POOLED_RECORDS) return;
  f.first = f.count = 0;
  clearRanges(f.lost);
  f.xmitTs = -1;
  f.rtt = 0;
  f.waiting = 'probe';
  pool.push(f);
}

function slot(f: Flight, i: number): number {
  return ((f.first + i) & f.mask) * FIELDS;
}

/** Sequence number after the last of record `i`. */
export function endOf(f: Flight, i: number): number {
  return f.ring[slot(f, i)]!;
}

/** Segment.xmit_ts: when record `i` was last sent. */
export function timeOf(f: Flight, i: number): Micros {
  return f.ring[slot(f, i) + 1]!;
}

/** {@link RESENT} and its like. */
export function flagsOf(f: Flight, i: number): number {
  return f.ring[slot(f, i) + 2]!;
}

export function setFlags(f: Flight, i: number, flags: number): void {
  f.ring[slot(f, i) + 2] = flags;
}

function put(f: Flight, i: number, end: number, time: Micros, flags: number): void {
  const at = slot(f, i);
  f.ring[at] = end;
  f.ring[at + 1] = time;
  f.ring[at + 2] = flags;
}

/** Index of the record that holds `number`; `count` when none does. */
export function recordAt(f: Flight, number: number): number {
  let low = 0;
  let high = f.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (seq.gt(endOf(f, middle), number)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** New data up to `end` goes out. */
export function noteNew(f: Flight, end: number, now: Micros): void {
  const last = f.count - 1;
  if (last >= 0 && timeOf(f, last) === now && flagsOf(f, last) === 0) {
    f.ring[slot(f, last)] = end;
  } else if (hasRoom(f)) {
    put(f, f.count++, end, now, 0);
  } else {
    put(f, last, end, now, (flagsOf(f, last) & ~LOST) | COARSE);
  }
}

/** [from, to) goes out again: cut out of the records that hold it, into one of its own. `una` is where the first record begins. */
export function noteAgain(f: Flight, from: number, to: number, una: number, now: Micros): void {
  let i = recordAt(f, from);
  if (i === f.count) return;
  const left = i === 0 ? una : endOf(f, i - 1);
  if (seq.lt(left, from) && cut(f, i, from)) i++;
  const j = Math.min(recordAt(f, seq.add(to, -1)), f.count - 1);
  if (seq.lt(to, endOf(f, j))) cut(f, j, to);
  put(f, i, endOf(f, j), now, RESENT);
  remove(f, i + 1, j - i);
  // What goes out at one moment, piece after piece, is one record.
  if (i > 0 && timeOf(f, i - 1) === now && flagsOf(f, i - 1) === RESENT) remove(f, i - 1, 1);
}

/** Everything below `una` is acknowledged. */
export function dropBelow(f: Flight, una: number): void {
  while (f.count > 0 && seq.leq(endOf(f, 0), una)) {
    f.first = (f.first + 1) & f.mask;
    f.count--;
  }
}

/** Cuts record `i` at `number`, so that the part from there on is record `i + 1`. False when there is no room. */
function cut(f: Flight, i: number, number: number): boolean {
  if (!hasRoom(f)) return false;
  for (let k = f.count; k > i; k--) copy(f, k - 1, k);
  f.count++;
  f.ring[slot(f, i)] = number;
  return true;
}

/** Takes out `n` records from `i` on. */
function remove(f: Flight, i: number, n: number): void {
  if (n === 0) return;
  for (let k = i + n; k < f.count; k++) copy(f, k, k - n);
  f.count -= n;
}

function copy(f: Flight, from: number, to: number): void {
  const a = slot(f, from);
  put(f, to, f.ring[a]!, f.ring[a + 1]!, f.ring[a + 2]!);
}

/** Makes room for one more record, if there may be one. */
function hasRoom(f: Flight): boolean {
  const size = f.mask + 1;
  if (f.count < size) return true;
  if (size >= MOST_RECORDS) return false;
  const ring = new Float64Array(2 * size * FIELDS);
  for (let i = 0; i < f.count; i++) {
    const at = slot(f, i);
    for (let k = 0; k < FIELDS; k++) ring[i * FIELDS + k] = f.ring[at + k]!;
  }
  f.ring = ring;
  f.mask = 2 * size - 1;
  f.first = 0;
  return true;
}
