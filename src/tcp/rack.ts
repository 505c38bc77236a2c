// RACK-TLP: a segment is lost when one that was sent later has arrived, and time enough has passed for it to come (RFC 8985).
//
//   sent      ──P1──P2──P3──P4──▶ time
//   arrived             ●            P3 was sent after P1 and P2. RTT and reordering window after P1 was sent, P1 is lost.
//
// It works on the records of sent.ts, by time, so it serves data, retransmissions and probes alike: a retransmission that is lost
// is found like any other segment. And when nothing comes back at all, a probe (TLP) asks for something that does.

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import * as ranges from './ranges.ts';
import type { Segment } from './segment.ts';
import { COARSE, endOf, type Flight, flagsOf, LOST, RESENT, recordAt, setFlags, timeOf } from './sent.ts';
import * as seq from './seq.ts';
import { arm, disarm, type Tcb, timestampAt } from './tcb.ts';
import { type Trouble, troubleOf } from './trouble.ts';

/** RFC 5681 3.2, RFC 6675 2: how many duplicate ACKs, or segments above a hole, make it lost. */
export const DUP_THRESH = 3;
/** RFC 8985 6.2: a widened reordering window is kept for so many recoveries without D-SACK. */
const REO_WND_PERSIST = 16;
/** RFC 8985 6.2 step 1: RACK.min_RTT is the least of the last two stretches of this length. */
const MIN_RTT_STRETCH: Micros = 10 * SECOND;
/** TLP.max_ack_delay: no common stack delays an ACK for longer. */
const MAX_ACK_DELAY: Micros = 200 * MILLISECOND;
/** A probe waits no less, whatever the round trip: a host's loop may be late by that much, and is woken for it. */
const LEAST_PTO: Micros = 10 * MILLISECOND;
/** PTO before the first round trip is known (RFC 8985 7.2). */
const PTO_WITHOUT_RTT: Micros = SECOND;

/** What the ACK at hand has told: one record, begun anew for each. */
export interface News {
  /** RACK.fack before it, and with it. */
  priorFack: number;
  fack: number;
  /** Bytes that arrived and that were sent once, before the last timeout (RFC 5682). */
  original: boolean;
  /** A D-SACK block (RFC 2883): it tells of bytes that arrived twice. */
  dsack: boolean;
  dsackLeft: number;
  dsackRight: number;
  /** When the last of the retransmissions that are found lost was sent; −1 for none. */
  lostResentAt: Micros;
}

export const news: News = {
  priorFack: 0,
  fack: 0,
  original: false,
  dsack: false,
  dsackLeft: 0,
  dsackRight: 0,
  lostResentAt: -1,
};

/** A new ACK is looked at. */
export function beginNews(flight: Flight | undefined): void {
  news.priorFack = news.fack = flight === undefined ? 0 : flight.fack;
  news.original = false;
  news.dsack = false;
  news.lostResentAt = -1;
}

/** RACK_sent_after of 6.2: of two transmissions at one moment the higher in sequence is the later. */
function sentAfter(t1: Micros, seq1: number, t2: Micros, seq2: number): boolean {
  return t1 > t2 || (t1 === t2 && seq.gt(seq1, seq2));
}

/**
 * 6.2 steps 1 to 3: [left, right) has arrived and was not known to have. `tsecr` is the echoed timestamp when it is the answer to
 * just this, −1 otherwise: the ACK of a segment out of order echoes the one before the gap (RFC 7323 4.3).
 */
export function noteArrived(tcb: Tcb, left: number, right: number, tsecr: number): void {
  const { recovery, tcp } = tcb;
  const flight = recovery.flight;
  if (flight === undefined) return;
  const { now } = tcp;
  for (let i = recordAt(flight, left); i < flight.count; i++) {
    const end = seq.min(endOf(flight, i), right);
    const time = timeOf(flight, i);
    const rtt = now - time;
    if ((flagsOf(flight, i) & RESENT) === 0) {
      if (seq.lt(end, news.priorFack)) troubleOf(tcb).reorderingSeen = true;
      news.original = true;
      measure(tcb, flight, rtt);
      advance(flight, time, end);
    } else if (!isAmbiguous(tcb, time, rtt, tsecr)) {
      measure(tcb, flight, rtt);
      advance(flight, time, end);
    }
    if (end === right || seq.geq(end, right)) break;
  }
  news.fack = seq.max(news.fack, right);
}

/** Which of two transmissions arrived? Nobody knows, if the echo is older than the last or it would have come too fast. */
function isAmbiguous(tcb: Tcb, time: Micros, rtt: Micros, tsecr: number): boolean {
  if (tsecr >= 0 && seq.lt(tsecr, timestampAt(tcb, time))) return true;
  return rtt < minRtt(tcb);
}

function measure(tcb: Tcb, flight: Flight, rtt: Micros): void {
  flight.rtt = Math.max(1, rtt);
  const { trouble } = tcb.recovery;
  if (trouble === undefined) return;
  if (tcb.tcp.now - trouble.minRttSince > MIN_RTT_STRETCH) {
    trouble.minRttSince = tcb.tcp.now;
    trouble.minRttBefore = trouble.minRtt;
    trouble.minRtt = flight.rtt;
  } else if (flight.rtt < trouble.minRtt) {
    trouble.minRtt = flight.rtt;
  }
}

function advance(flight: Flight, time: Micros, end: number): void {
  if (!sentAfter(time, end, flight.xmitTs, flight.endSeq)) return;
  flight.xmitTs = time;
  flight.endSeq = end;
}

/** RACK.min_RTT */
function minRtt(tcb: Tcb): Micros {
  const { trouble } = tcb.recovery;
  return trouble === undefined ? tcb.rtt.minRtt : Math.min(trouble.minRtt, trouble.minRttBefore);
}

// ---- the reordering window

/** 6.2 step 4: a D-SACK widens the window, once a round trip. One that tells of our own probe says nothing about the window. */
export function noteDsack(tcb: Tcb, t: Trouble): void {
  const { snd } = tcb;
  t.dsackSeen = true;
  if (t.dsackRound >= 0) return;
  t.dsackRound = snd.nxt;
  t.reoWndMult++;
  t.reoWndPersist = REO_WND_PERSIST;
}

/** "If RACK.dsack_round is not None AND SND.UNA >= RACK.dsack_round" */
export function endDsackRound(t: Trouble, una: number): void {
  if (t.dsackRound >= 0 && seq.geq(una, t.dsackRound)) t.dsackRound = -1;
}

/** "Else if exiting Fast or RTO recovery" */
export function relaxReorderingWindow(t: Trouble): void {
  if (--t.reoWndPersist <= 0) t.reoWndMult = 1;
}

/** RACK_update_reo_wnd, its second half. */
function reorderingWindow(tcb: Tcb): Micros {
  const { recovery, rtt } = tcb;
  const t = recovery.trouble;
  if (t === undefined) return 0;
  if (!t.reorderingSeen && (recovery.phase !== 'open' || segmentsSacked(tcb) >= DUP_THRESH)) return 0;
  const least = minRtt(tcb);
  return least === Number.POSITIVE_INFINITY ? 0 : Math.min((t.reoWndMult * least) / 4, rtt.srtt);
}

/** RACK.segs_sacked, as far as ranges and ACKs tell: segments may be smaller than the MSS. */
function segmentsSacked(tcb: Tcb): number {
  const { sacked, dupAcks } = tcb.recovery;
  return Math.max(Math.ceil(sacked.total / tcb.snd.mss), sacked.count, dupAcks);
}

// ---- what is lost

/**
 * RACK_detect_loss: enters in `flight.lost` what is deemed lost, and arms or disarms the reordering timer. Only records sent
 * before the last one delivered are looked at, so those that were never sent again end the search.
 */
export function detectLoss(tcb: Tcb): void {
  const { snd, recovery, tcp } = tcb;
  const flight = recovery.flight;
  if (flight === undefined) return;
  const window = reorderingWindow(tcb);
  let wait = 0;
  let left = snd.una;
  for (let i = 0; i < flight.count; i++) {
    const end = endOf(flight, i);
    const time = timeOf(flight, i);
    const flags = flagsOf(flight, i);
    if ((flags & COARSE) !== 0) countAbove(tcb, flight, left, end);
    else if (time > flight.xmitTs && (flags & RESENT) === 0) break;
    if ((flags & LOST) === 0 && time <= flight.xmitTs) {
      const to = time < flight.xmitTs ? end : seq.min(end, flight.endSeq);
      if (isMissing(recovery.sacked, left, to)) {
        const remaining = time + flight.rtt + window - tcp.now;
        if (remaining <= 0) lose(tcb, flight, i, left, to);
        else if (remaining > wait) wait = remaining;
      }
    }
    left = end;
  }
  if (wait > 0) {
    flight.waiting = 'reordering';
    arm(tcb, 'loss', tcp.now + Math.ceil(wait));
  } else {
    disarm(tcb, 'loss');
  }
}

/**
 * 6.3, RACK_mark_losses_on_RTO: the first segment is lost, and whatever was sent a round trip and a reordering window ago.
 * With `all` everything is.
 */
export function loseOnTimeout(tcb: Tcb, all: boolean): void {
  const { snd, recovery, rtt, tcp } = tcb;
  const flight = recovery.flight;
  if (flight === undefined) return;
  const since = tcp.now - (flight.rtt === 0 ? rtt.srtt : flight.rtt) - reorderingWindow(tcb);
  let left = snd.una;
  for (let i = 0; i < flight.count; i++) {
    const end = endOf(flight, i);
    if (all || timeOf(flight, i) <= since) lose(tcb, flight, i, left, end);
    else if (i === 0) lose(tcb, flight, i, left, seq.min(end, seq.add(left, snd.mss)));
    left = end;
  }
}

/** Some of [left, to) has not arrived. */
function isMissing(sacked: ranges.Ranges, left: number, to: number): boolean {
  return seq.lt(left, to) && (sacked.count === 0 || seq.lt(ranges.nextGap(sacked, left), to));
}

/** Enters what has not arrived of [left, to), all or the first part of record `i`, in the set of what is lost. */
function lose(tcb: Tcb, flight: Flight, i: number, left: number, to: number): void {
  const { sacked } = tcb.recovery;
  const flags = flagsOf(flight, i);
  let whole = to === endOf(flight, i);
  let from = ranges.nextGap(sacked, left);
  while (seq.lt(from, to)) {
    const end = ranges.gapEnd(sacked, from, to);
    ranges.addRange(flight.lost, from, end);
    // The set was full: another time.
    if (!ranges.contains(flight.lost, from)) whole = false;
    from = ranges.nextGap(sacked, end);
  }
  if (whole) setFlags(flight, i, flags | LOST);
  if ((flags & RESENT) !== 0 && timeOf(flight, i) > news.lostResentAt) {
    news.lostResentAt = timeOf(flight, i);
    tcb.tcp.counters.tcpLostRetransmits++;
  }
}

/**
 * Without a time to go by there is RFC 6675 4, IsLost: a hole is lost once three ranges, or more than two segments' bytes, above it
 * have arrived. Only for what was never sent again (RFC 8985 9.2 says why).
 */
function countAbove(tcb: Tcb, flight: Flight, left: number, end: number): void {
  const { sacked } = tcb.recovery;
  let bytes = 0;
  for (let i = sacked.count - 1, above = 1; i >= 0; i--, above++) {
    const edge = ranges.leftOf(sacked, i);
    bytes += seq.sub(ranges.rightOf(sacked, i), edge);
    if (above < DUP_THRESH && bytes <= (DUP_THRESH - 1) * tcb.snd.mss) continue;
    const to = seq.min(end, edge);
    const record = recordAt(flight, left);
    if (seq.lt(left, to) && (flagsOf(flight, record) & (RESENT | LOST)) === 0)
      lose(tcb, flight, record, left, to);
    return;
  }
}

// ---- the loss probe

/**
 * 7.2: starts or restarts the PTO, after new data was sent or acknowledged, unless something is SACKed or being recovered: then
 * there are ACKs to go by. Without SACK there is none: "TLP requires RACK" (4).
 */
export function scheduleProbe(tcb: Tcb): void {
  const { snd, recovery, rtt, tcp, at } = tcb;
  const flight = recovery.flight;
  if (!tcb.sackOn || flight === undefined || recovery.phase !== 'open' || recovery.sacked.count > 0) return;
  flight.waiting = 'probe';
  let pto = rtt.measured ? 2 * rtt.srtt : PTO_WITHOUT_RTT;
  // "When the FlightSize is one segment": until two full ones have come, the peer may wait with its ACK (RFC 9293 SHLD-19).
  if (rtt.measured && seq.sub(snd.nxt, snd.una) < 2 * snd.mss) pto += MAX_ACK_DELAY;
  const due = tcp.now + Math.max(LEAST_PTO, Math.round(pto));
  // "if the time at which an RTO would fire … is sooner, then the sender schedules a TLP to be sent at that RTO time"
  arm(tcb, 'loss', Math.min(due, at.retransmit));
}

/** 7.3: with no other probe under way, and a round trip measured since the last one, output is to send one. */
export function wantProbe(tcb: Tcb): void {
  const { recovery } = tcb;
  if (recovery.phase !== 'open' || recovery.sacked.count > 0 || tcb.snd.wnd === 0) return;
  const t = troubleOf(tcb);
  if (t.tlpEnd < 0 && t.sampled) t.tlpDue = true;
}

/** 7.3: a probe went out, with new data or with the last segment once more. The RTO starts again, the PTO does not. */
export function noteProbe(tcb: Tcb, t: Trouble, isRetrans: boolean): void {
  const { snd, tcp } = tcb;
  t.tlpEnd = snd.nxt;
  t.tlpIsRetrans = isRetrans;
  t.tlpFlight = seq.sub(snd.nxt, snd.una);
  t.sampled = false;
  tcp.counters.tcpLossProbes++;
  disarm(tcb, 'loss');
  arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
}

/**
 * 7.4.2, TLP_process_ack: true when the probe has repaired a loss that nobody noticed, and congestion control must hear of it.
 * `own`: the ACK brings a D-SACK for the probe.
 */
export function probeRepaired(t: Trouble, seg: Segment, own: boolean, duplicate: boolean): boolean {
  if (t.tlpEnd < 0 || seq.lt(seg.ack, t.tlpEnd)) return false;
  // Case 1: a D-SACK for the probe: both copies arrived. Case 2: a duplicate ACK without SACK.
  const both = own || (seg.ack === t.tlpEnd && duplicate && seg.options.sackCount === 0);
  const repaired = t.tlpIsRetrans && !both && seq.gt(seg.ack, t.tlpEnd);
  if (!t.tlpIsRetrans || both || repaired) t.tlpEnd = -1;
  return repaired;
}

/** The D-SACK at hand is about our probe. */
export function isProbeDsack(t: Trouble): boolean {
  return news.dsack && t.tlpEnd >= 0 && t.tlpIsRetrans && news.dsackRight === t.tlpEnd;
}
