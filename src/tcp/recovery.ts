// Loss recovery: what the peer holds, what is lost, what to send again (RFC 6675 with SACK, RFC 6582 without, RFC 5681).
//
//   SND.UNA        highRxt           lostBelow                        SND.NXT
//      |---- sent again ----|-- to be sent ---|------ in flight ---------|
//            [SACKed]     [SACKed]                 [SACKed]  [SACKed]
//
// All that is needed to answer "how much is in flight" (pipe) and "what is next" are these two marks and the set of SACKed
// ranges; there is no list of segments. A loss detector only moves `lostBelow`.

import * as ranges from './ranges.ts';
import type { Segment } from './segment.ts';
import * as seq from './seq.ts';
import type { Tcb } from './tcb.ts';

/** RFC 5681 3.2, RFC 6675 2: how many duplicate ACKs, or segments above a hole, make it lost. */
const DUP_THRESH = 3;

/** Bytes thought to be in the network (RFC 6675 4, SetPipe; without SACK, RFC 6582's inflation turned around). */
export function pipe(tcb: Tcb): number {
  const { snd, recovery } = tcb;
  const { sacked, lostBelow, highRxt } = recovery;
  const outstanding = seq.sub(snd.nxt, snd.una);
  if (recovery.phase === 'open' && sacked.count === 0) return outstanding;
  const notLost = seq.sub(snd.nxt, lostBelow) - ranges.covered(sacked, lostBelow, snd.nxt);
  const resentTo = seq.min(highRxt, lostBelow);
  const resent = seq.sub(resentTo, snd.una) - ranges.covered(sacked, snd.una, resentTo);
  // Each duplicate ACK without SACK says that one segment left the network; after a timeout they say nothing (RFC 6582 4).
  const departed = tcb.sackOn || recovery.phase !== 'fast' ? 0 : recovery.dupAcks * snd.mss;
  return Math.max(0, notLost + resent - departed);
}

/**
 * Enters the SACK blocks of a segment in the scoreboard. Blocks that lie outside (SND.UNA, SND.NXT] or are turned around are
 * ignored (RFC 2018 4, hostile 76); one below SND.UNA is a D-SACK (RFC 2883) and tells of a duplicate, not of data held.
 * Returns how many bytes are newly known to have arrived.
 */
export function noteSack(tcb: Tcb, seg: Segment): number {
  const { snd, recovery } = tcb;
  const { sack, sackCount } = seg.options;
  let news = 0;
  for (let i = 0; i < sackCount; i++) {
    const left = sack[2 * i]!;
    const right = sack[2 * i + 1]!;
    if (!seq.lt(left, right)) continue;
    if (seq.lt(left, snd.una) || seq.leq(left, seg.ack) || seq.gt(right, snd.nxt)) continue;
    // Edges nearly 2^31 apart pass all of these and yet lie outside: the left edge is data that was sent.
    if (seq.geq(left, snd.nxt)) continue;
    news += ranges.addRange(recovery.sacked, left, right);
  }
  return news;
}

/** RFC 6675 4, IsLost: a hole is lost once three ranges, or more than two segments' bytes, above it have arrived. */
function markLost(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  const { sacked } = recovery;
  let bytes = 0;
  for (let i = sacked.count - 1, above = 1; i >= 0; i--, above++) {
    const left = ranges.leftOf(sacked, i);
    bytes += seq.sub(ranges.rightOf(sacked, i), left);
    if (above < DUP_THRESH && bytes <= (DUP_THRESH - 1) * snd.mss) continue;
    // Everything below this range and not in another is lost; what lies lower has even more above it.
    recovery.lostBelow = seq.max(recovery.lostBelow, left);
    return;
  }
}

/**
 * Takes note of an acceptable ACK: `acked` bytes of progress, `news` bytes newly SACKed, `duplicate` as RFC 5681 2 defines
 * it (for connections without SACK) or an ACK that brought news (with SACK). Moves the phase.
 */
export function onAck(tcb: Tcb, acked: number, news: number, duplicate: boolean): void {
  const { snd, recovery } = tcb;
  if (acked > 0) {
    ranges.removeBelow(recovery.sacked, snd.una);
    recovery.lostBelow = seq.max(recovery.lostBelow, snd.una);
    recovery.highRxt = seq.max(recovery.highRxt, snd.una);
  }
  if (recovery.phase !== 'open' && seq.geq(snd.una, recovery.point)) leave(tcb);
  // RFC 6675 5: "a cumulative acknowledgment … MUST reset DupAcks to zero".
  if (acked > 0 && recovery.phase === 'open') recovery.dupAcks = 0;
  else if (tcb.sackOn ? news > 0 : duplicate) countDuplicate(tcb);

  if (tcb.sackOn) markLost(tcb);
  else if (recovery.phase === 'fast' && acked > 0) partialAck(tcb, acked);

  if (recovery.phase === 'open' && (recovery.dupAcks >= DUP_THRESH || seq.gt(recovery.lostBelow, snd.una))) {
    enterFast(tcb);
  }
}

/** RFC 5681 3.2: as many as segments are outstanding, and no more: a peer could make up any number (hostile 100). */
function countDuplicate(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  const segments = Math.ceil(seq.sub(snd.nxt, snd.una) / snd.mss);
  if (recovery.dupAcks < Math.max(DUP_THRESH, segments)) recovery.dupAcks++;
}

/** RFC 6582 3.2 step 3, partial acknowledgment: the next hole starts right at SND.UNA. */
function partialAck(tcb: Tcb, acked: number): void {
  const { snd, recovery } = tcb;
  // Of the segments now covered, all but the retransmitted one had already told of their departure.
  recovery.dupAcks = Math.max(0, recovery.dupAcks - Math.max(0, Math.ceil(acked / snd.mss) - 1));
  recovery.highRxt = snd.una;
  recovery.lostBelow = seq.min(seq.add(snd.una, snd.mss), snd.nxt);
}

/** RFC 6675 5 step 4: the first segment is lost, the window is halved, recovery lasts until what is out now is in. */
function enterFast(tcb: Tcb): void {
  const { snd, recovery, congestion, tcp } = tcb;
  if (snd.una === snd.nxt) {
    recovery.dupAcks = 0;
    return;
  }
  // RFC 6675 5 (4.2): ssthresh = FlightSize / 2, and that is all that is not acknowledged (RFC 5681 2).
  congestion.onLoss(seq.sub(snd.nxt, snd.una));
  recovery.phase = 'fast';
  recovery.point = snd.nxt;
  recovery.highRxt = snd.una;
  recovery.lostBelow = seq.max(recovery.lostBelow, seq.min(seq.add(snd.una, snd.mss), snd.nxt));
  recovery.reason = 'retransmit: fast';
  tcp.counters.tcpFastRetransmits++;
}

function leave(tcb: Tcb): void {
  const { snd, recovery, congestion } = tcb;
  congestion.onRecoveryExit(pipe(tcb));
  recovery.phase = 'open';
  recovery.dupAcks = 0;
  recovery.lostBelow = snd.una;
  recovery.highRxt = snd.una;
}

/** The retransmission timer expired (RFC 5681 3.1, RFC 6675 5.1): all that is not SACKed is lost, and is sent again slowly. */
export function onTimeout(tcb: Tcb): void {
  const { snd, recovery, congestion } = tcb;
  // A second timeout in a row, or a SACK right at SND.UNA, means that the peer may have thrown SACKed data away (RFC 2018 8).
  if (tcb.retries > 1 || (recovery.sacked.count > 0 && ranges.leftOf(recovery.sacked, 0) === snd.una)) {
    ranges.clear(recovery.sacked);
  }
  congestion.onTimeout(seq.sub(snd.nxt, snd.una), tcb.retries > 1);
  recovery.phase = 'timeout';
  recovery.point = snd.nxt;
  recovery.highRxt = snd.una;
  recovery.lostBelow = snd.nxt;
  recovery.dupAcks = 0;
  recovery.reason = `retransmit: RTO ${tcb.retries}`;
}

/** The path carries less than thought (RFC 1191 6.5): what is out was too big and goes again in smaller pieces. No congestion. */
export function onTooBig(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  recovery.phase = 'timeout';
  recovery.point = snd.nxt;
  recovery.highRxt = snd.una;
  recovery.lostBelow = snd.nxt;
  recovery.reason = 'retransmit: packet too big';
}

/** First byte deemed lost and not sent again, or -1. */
export function nextLost(tcb: Tcb): number {
  const { recovery } = tcb;
  if (recovery.phase === 'open') return -1;
  const from = ranges.nextGap(recovery.sacked, recovery.highRxt);
  return seq.lt(from, recovery.lostBelow) ? from : -1;
}

/** Where the hole that starts at `from` ends: at the next SACKed range or at the end of what is lost. */
export function holeEnd(tcb: Tcb, from: number): number {
  return ranges.gapEnd(tcb.recovery.sacked, from, tcb.recovery.lostBelow);
}
