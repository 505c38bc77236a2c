// How fast the network delivers: delivery-rate samples as in draft-cheng-iccrg-delivery-rate-estimation, and the round trips that
// come with them.
//
//        mark: "at `sentAt`, when `delivered` bytes had arrived, the last at `deliveredAt`"
//   ──────●──────────●──────────●─────────▶ SND.NXT
//         └─ its end is acknowledged or SACKed: what arrived since ÷ the time since = a sample
//
// The draft keeps these numbers with each packet. Here a few marks are spread over the window, in a ring of numbers that grows
// to a fixed size: a sample every 1/64 of a window is as good as one for each packet, and costs no allocation.

import type { Micros } from '../base/time.ts';
import * as seq from './seq.ts';

/** Marks of one connection: at first, and at most. A power of two. */
const FIRST_MARKS = 4;
const MOST_MARKS = 128;
/** The window is spread over so many marks, half of what there is room for: super-frames end where they end. */
const SPREAD = 64;
/** Numbers in a mark: end, sentAt, delivered, deliveredAt, firstSentAt, appLimited. */
const FIELDS = 6;

/** What an ACK told. Times in microseconds, rates in bytes a second. */
export interface DeliverySample {
  /** Bytes that this ACK or SACK newly told of, and all of the connection's up to now. */
  newly: number;
  delivered: number;
  /** Bytes sent that neither arrived nor are under way, up to now. Only for model-based controllers. */
  lost: number;
  /** `delivered` when the data that this is a sample of was sent; −1 when this ACK gave no sample. */
  priorDelivered: number;
  /** 0 when this ACK gave no sample. */
  rate: number;
  /** The application, or the peer's window, held sending back: the path may be faster. */
  appLimited: boolean;
  /** Time since the newest data that it tells of was sent; 0 when unknown, or when Karn's rule forbids. */
  rtt: Micros;
}

export interface Delivery {
  /** C.delivered, C.delivered_time, C.first_sent_time of the draft. */
  delivered: number;
  deliveredAt: Micros;
  firstSentAt: Micros;
  /** C.app_limited: everything sent until this many bytes are delivered is app-limited; 0 when nothing is. */
  limitedUntil: number;
  /** The last good rate: one that was not app-limited, or higher than the one before (as TCP_INFO shows it). */
  rate: number;
  rateLimited: boolean;
  /** What was sent before this was sent again, and gives no round trip (Karn). */
  resentTo: number;
  marks: Float64Array;
  first: number;
  count: number;
  /** End of the newest mark. */
  lastEnd: number;
}

const NO_MARKS = new Float64Array(0);

export function createDelivery(iss: number): Delivery {
  return {
    delivered: 0,
    deliveredAt: 0,
    firstSentAt: 0,
    limitedUntil: 0,
    rate: 0,
    rateLimited: false,
    resentTo: iss,
    marks: NO_MARKS,
    first: 0,
    count: 0,
    lastEnd: iss,
  };
}

/** The one sample, used again for every ACK. */
export const sample: DeliverySample = {
  newly: 0,
  delivered: 0,
  lost: 0,
  priorDelivered: -1,
  rate: 0,
  appLimited: false,
  rtt: 0,
};

/** New data up to `end` was sent, with `inFlight` bytes under way before it and a window of `cwnd`. */
export function noteSent(d: Delivery, end: number, inFlight: number, cwnd: number, now: Micros): void {
  if (inFlight === 0) {
    d.firstSentAt = d.deliveredAt = now;
    d.first = d.count = 0;
  }
  if (d.count > 0 && seq.sub(end, d.lastEnd) < cwnd / SPREAD) return;
  if (d.count * FIELDS === d.marks.length && !grow(d)) return;
  const { marks } = d;
  const at = slot(d, d.count++);
  d.lastEnd = end;
  marks[at] = end;
  marks[at + 1] = now;
  marks[at + 2] = d.delivered;
  marks[at + 3] = d.deliveredAt;
  marks[at + 4] = d.firstSentAt;
  marks[at + 5] = d.limitedUntil > 0 ? 1 : 0;
}

function slot(d: Delivery, i: number): number {
  return ((d.first + i) & (d.marks.length / FIELDS - 1)) * FIELDS;
}

/** Doubles the ring; false when it is as large as it gets. */
function grow(d: Delivery): boolean {
  const size = d.marks.length / FIELDS;
  if (size >= MOST_MARKS) return false;
  const marks = new Float64Array(Math.max(FIRST_MARKS, 2 * size) * FIELDS);
  for (let i = 0; i < d.count; i++) {
    const at = slot(d, i);
    marks.set(d.marks.subarray(at, at + FIELDS), i * FIELDS);
  }
  d.marks = marks;
  d.first = 0;
  return true;
}

/** Something below `end` was sent again: until more is sent, ACKs do not tell which of the two arrived (Karn). */
export function noteResent(d: Delivery, end: number): void {
  d.resentTo = seq.max(d.resentTo, end);
}

/** There is nothing more to send for now, or the peer's window is full, though the congestion window has room. */
export function noteLimited(d: Delivery, inFlight: number): void {
  d.limitedUntil = Math.max(1, d.delivered + inFlight);
}

/**
 * An ACK or SACK told that `newly` bytes arrived, the highest of them before `upTo`. Fills in and returns {@link sample}.
 * `minRtt`: shorter intervals cannot be true (3.3 of the draft) and give no sample.
 */
export function noteArrived(
  d: Delivery,
  newly: number,
  upTo: number,
  minRtt: Micros,
  now: Micros,
): DeliverySample {
  d.delivered += newly;
  d.deliveredAt = now;
  if (d.limitedUntil > 0 && d.delivered > d.limitedUntil) d.limitedUntil = 0;
  sample.newly = newly;
  sample.delivered = d.delivered;
  sample.priorDelivered = -1;
  sample.rate = 0;
  sample.rtt = 0;
  let newest = -1;
  while (d.count > 0 && seq.leq(d.marks[slot(d, 0)]!, upTo)) {
    newest = slot(d, 0);
    d.first = (d.first + 1) & (d.marks.length / FIELDS - 1);
    d.count--;
  }
  if (newest >= 0) measure(d, newest, minRtt, now);
  if (seq.lt(d.resentTo, upTo)) d.resentTo = upTo;
  return sample;
}

function measure(d: Delivery, at: number, minRtt: Micros, now: Micros): void {
  const { marks } = d;
  const sentAt = marks[at + 1]!;
  const delivered = marks[at + 2]!;
  // Sending and ACKs may both be bunched; the longer of the two intervals is the honest one (3.2.4 of the draft).
  const interval = Math.max(sentAt - marks[at + 4]!, now - marks[at + 3]!);
  d.firstSentAt = sentAt;
  sample.priorDelivered = delivered;
  sample.appLimited = marks[at + 5] === 1;
  if (seq.gt(marks[at]!, d.resentTo)) sample.rtt = Math.max(1, now - sentAt);
  if (interval <= 0 || interval < minRtt) return;
  sample.rate = ((d.delivered - delivered) * 1e6) / interval;
  if (!sample.appLimited || sample.rate >= d.rate) {
    d.rate = sample.rate;
    d.rateLimited = sample.appLimited;
  }
}
