// Loss recovery: what the peer holds, what is lost, what to send again, and how much (RFC 8985, 6937 and 3042 with SACK; 6582 and 5681
// without).
//
//   SND.UNA                                                         SND.NXT
//      |-- lost --|-- SACKed --|-- sent again --|-- SACKed --|-- in flight --|
//
// Every byte between the two is in one of three sets: SACKed (`recovery.sacked`), lost and not sent again since
// (`flight.lost`), or in the network (the rest: pipe). Sending again takes bytes from the second to the third; a loss detector
// (rack.ts, or three duplicate ACKs) takes them back. The phases say who governs the window.

import type { Micros } from '../base/time.ts';
import { isEcho, isReductionUntold, noteReduced } from './ecn.ts';
import { judgeByDsack, judgeByTimestamp, judgeTimeout, noteResent, startEpisode, startFrto } from './frto.ts';
import { endReduction, isReducing, noteSent as noteReduction, reduceOnAck, startReduction } from './prr.ts';
import {
  beginNews,
  DUP_THRESH,
  detectLoss,
  endDsackRound,
  isProbeDsack,
  loseOnTimeout,
  news,
  noteArrived,
  noteDsack,
  probeRepaired,
  relaxReorderingWindow,
  scheduleProbe,
  wantProbe,
} from './rack.ts';
import * as ranges from './ranges.ts';
import type { Segment } from './segment.ts';
import { dropBelow, flagsOf, giveFlight, LOST, noteAgain, noteNew, setFlags, takeFlight } from './sent.ts';
import * as seq from './seq.ts';
import { arm, disarm, type Tcb, touch } from './tcb.ts';
import { type Trouble, troubleOf } from './trouble.ts';

/** RFC 3042 2: without SACK, two duplicate ACKs let out one segment each beyond the congestion window. */
const LIMITED_TRANSMIT = 2;
/** With more SACKed ranges than this holes are not worth their exact size. */
const CRUMBS = 32;
/** RecoveryPoint follows SND.UNA at this distance at most: further, "before" and "after" would change places. */
const FURTHEST_POINT = 2 ** 30;
/** A SACK that the peer took back is believed taken back after this part of SRTT, or this long (the ACK may just be out of order). */
const RENEGED_AFTER = 10_000;

/** Bytes thought to be in the network (RFC 6675 4, SetPipe; without SACK, RFC 6582's inflation turned around). */
export function pipe(tcb: Tcb): number {
  const { snd, recovery } = tcb;
  const { flight } = recovery;
  const outstanding = seq.sub(snd.nxt, snd.una);
  if (flight === undefined) return outstanding;
  return Math.max(0, outstanding - recovery.sacked.total - flight.lost.total - departed(tcb));
}

/** Each duplicate ACK without SACK says that one segment left the network; after a timeout they say nothing (RFC 6582 4). */
function departed(tcb: Tcb): number {
  const { phase, dupAcks } = tcb.recovery;
  if (tcb.sackOn || dupAcks === 0 || phase === 'timeout') return 0;
  return (phase === 'open' ? Math.min(dupAcks, LIMITED_TRANSMIT) : dupAcks) * tcb.snd.mss;
}

/** Bytes that congestion control lets out now; negative when more than that is under way. */
export function sendBudget(tcb: Tcb): number {
  const { trouble } = tcb.recovery;
  if (trouble !== undefined && (isReducing(trouble) || trouble.frto === 2)) return trouble.budget;
  return tcb.congestion.cwnd - pipe(tcb);
}

// ---- what went out

/** [from, to) went out: for the first time, or again. */
export function recordSent(tcb: Tcb, from: number, to: number, again: boolean): void {
  const { snd, recovery, tcp } = tcb;
  recovery.flight ??= takeFlight(tcp.flights, snd.una);
  const { flight, trouble } = recovery;
  if (again) {
    noteAgain(flight, from, to, snd.una, tcp.now);
    ranges.removeRange(flight.lost, from, to);
  } else {
    noteNew(flight, to, tcp.now);
  }
  if (trouble === undefined) return;
  const bytes = seq.sub(to, from);
  noteReduction(trouble, bytes);
  if (again && recovery.phase !== 'open') noteResent(tcb, trouble, bytes);
}

/** First byte deemed lost and not sent again, or -1. */
export function nextLost(tcb: Tcb): number {
  const { flight, trouble } = tcb.recovery;
  if (flight === undefined || flight.lost.count === 0 || trouble?.frto === 2) return -1;
  return ranges.leftOf(flight.lost, 0);
}

/**
 * Where the hole that starts at `from` ends. A peer that SACKs every other byte is sent whole segments all the same, SACKed bytes
 * among them: nobody shall make us send a thousand segments of one byte for each round trip (hostile 74, CVE-2019-11478).
 */
export function holeEnd(tcb: Tcb, from: number): number {
  const { snd, recovery } = tcb;
  const { lost } = recovery.flight!;
  const end = ranges.rightOf(lost, ranges.find(lost, from));
  if (recovery.sacked.count <= CRUMBS) return end;
  return seq.max(end, seq.min(seq.add(from, snd.mss), snd.nxt));
}

/** The first retransmission of an episode goes whatever the window (RFC 6675 5 (4.3), RFC 5681 3.2 (3)). */
export function mustResend(tcb: Tcb): boolean {
  return tcb.recovery.trouble?.mustResend === true;
}

// ---- what came back

/** An acceptable ACK is looked at: before {@link noteSack}, {@link noteProgress} and {@link onAck}. */
export function beginAck(tcb: Tcb): void {
  beginNews(tcb.recovery.flight);
}

/**
 * Enters the SACK blocks of a segment in the scoreboard. Blocks that lie outside (SND.UNA, SND.NXT] or are turned around are
 * ignored (RFC 2018 4, hostile 76); one below SND.UNA is a D-SACK (RFC 2883) and tells of a duplicate, not of data held.
 * Returns how many bytes are newly known to have arrived.
 */
export function noteSack(tcb: Tcb, seg: Segment): number {
  const { snd } = tcb;
  const { sack, sackCount } = seg.options;
  findDsack(tcb, seg);
  let fresh = 0;
  for (let i = 0; i < sackCount; i++) {
    const left = sack[2 * i]!;
    const right = sack[2 * i + 1]!;
    if (!seq.lt(left, right)) continue;
    if (seq.lt(left, snd.una) || seq.leq(left, seg.ack) || seq.gt(right, snd.nxt)) continue;
    // Edges nearly 2^31 apart pass all of these and yet lie outside: the left edge is data that was sent.
    if (seq.geq(left, snd.nxt)) continue;
    fresh += enterBlock(tcb, left, right);
  }
  return fresh;
}

/** What of a block is new is told to RACK before it enters the scoreboard. */
function enterBlock(tcb: Tcb, left: number, right: number): number {
  const { sacked, flight } = tcb.recovery;
  const had = sacked.total;
  let from = ranges.nextGap(sacked, left);
  if (seq.geq(from, right)) return 0;
  // A scoreboard that is full takes nothing that stands alone (hostile 74): as if the block were lost on the way.
  if (sacked.count === sacked.limit && ranges.addRange(sacked, left, right) === 0) return 0;
  while (seq.lt(from, right) && sacked.total === had) {
    const end = ranges.gapEnd(sacked, from, right);
    noteArrived(tcb, from, end, -1);
    if (flight !== undefined) ranges.removeRange(flight.lost, from, end);
    from = ranges.nextGap(sacked, end);
  }
  ranges.addRange(sacked, left, right);
  return sacked.total - had;
}

/** RFC 2883 4: the first block, when it lies below the ACK or within the second. Older than a window it means nothing. */
function findDsack(tcb: Tcb, seg: Segment): void {
  const { sack, sackCount } = seg.options;
  const left = sack[0]!;
  const right = sack[1]!;
  const { una, maxWnd, nxt } = tcb.snd;
  if (!seq.lt(left, right) || seq.lt(left, seq.add(una, -maxWnd)) || seq.gt(right, nxt)) return;
  const inside = sackCount > 1 && seq.leq(sack[2]!, left) && seq.leq(right, sack[3]!);
  if (!seq.leq(right, seg.ack) && !inside) return;
  news.dsack = true;
  news.dsackLeft = left;
  news.dsackRight = right;
  tcb.tcp.counters.tcpDSACKRecv++;
}

/** SND.UNA is about to move to SEG.ACK, with a round trip of `rtt` or 0: what had not arrived before is told to RACK. */
export function noteProgress(tcb: Tcb, seg: Segment, rtt: Micros): void {
  const { snd, recovery } = tcb;
  const { sacked, trouble } = recovery;
  if (trouble !== undefined && rtt > 0) trouble.sampled = true;
  const tsecr = tcb.ts.on && seg.options.timestamps && seg.options.tsecr !== 0 ? seg.options.tsecr : -1;
  if (sacked.count === 0) {
    noteArrived(tcb, snd.una, seg.ack, tsecr);
    return;
  }
  let from = ranges.nextGap(sacked, snd.una);
  while (seq.lt(from, seg.ack)) {
    const end = ranges.gapEnd(sacked, from, seg.ack);
    noteArrived(tcb, from, end, tsecr);
    from = ranges.nextGap(sacked, end);
  }
}

/**
 * True when new acknowledgments may open the window (RFC 5681 3.1): not in fast recovery or while it is being reduced, nor with an
 * echo of congestion (RFC 3168 6.1.2).
 */
export function mayGrow(tcb: Tcb, seg: Segment): boolean {
  const { phase } = tcb.recovery;
  return (phase === 'open' || phase === 'timeout') && !isEcho(tcb, seg);
}

/**
 * Takes note of an acceptable ACK: `acked` bytes of progress, `fresh` bytes newly SACKed, `duplicate` as RFC 5681 2 defines
 * it. Finds losses, moves the phase, and says how much may go out.
 */
export function onAck(tcb: Tcb, seg: Segment, acked: number, fresh: number, duplicate: boolean): void {
  const { snd, recovery } = tcb;
  const { flight } = recovery;
  let delivered = acked + fresh;
  if (flight !== undefined) {
    flight.fack = news.fack;
    if (acked > 0) {
      const had = recovery.sacked.total;
      ranges.removeBelow(recovery.sacked, snd.una);
      ranges.removeBelow(flight.lost, snd.una);
      delivered -= had - recovery.sacked.total;
      dropBelow(flight, snd.una);
      keepPoint(tcb);
    }
  }
  const calm =
    recovery.phase === 'open' && recovery.trouble === undefined && recovery.sacked.count === 0 && !news.dsack;
  if (calm && acked > 0) recovery.dupAcks = 0;
  if (!calm || duplicate || isEcho(tcb, seg)) onTrouble(tcb, seg, acked, fresh, duplicate, delivered);
  if (snd.una === snd.nxt) endFlight(tcb);
  else if (acked > 0) scheduleProbe(tcb);
}

/** An ACK covers less than 2^30, so that this is always in time. */
function keepPoint(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  if (seq.sub(snd.una, recovery.point) > FURTHEST_POINT) recovery.point = seq.add(snd.una, -FURTHEST_POINT);
}

/** All is acknowledged: the records go back, the timer is off. */
function endFlight(tcb: Tcb): void {
  const { recovery, tcp } = tcb;
  if (recovery.flight === undefined) return;
  giveFlight(tcp.flights, recovery.flight);
  recovery.flight = undefined;
  disarm(tcb, 'loss');
}

/** The rest of {@link onAck}, for ACKs that tell of more than progress and connections that are not well. */
function onTrouble(
  tcb: Tcb,
  seg: Segment,
  acked: number,
  fresh: number,
  duplicate: boolean,
  delivered: number,
): void {
  const { snd, recovery } = tcb;
  const t = troubleOf(tcb);
  if (acked > 0) t.lastAcked = acked;
  endDsackRound(t, snd.una);
  // What tells of our own probe tells nothing of reordering.
  const own = isProbeDsack(t);
  if (own) news.dsack = false;
  else if (news.dsack) noteDsack(tcb, t);
  if (probeRepaired(t, seg, own, duplicate)) reduce(tcb, t, 'cwr', t.tlpFlight);
  if (isSpurious(tcb, t, seg, acked, duplicate)) undo(tcb, t);
  if (isEcho(tcb, seg)) onEcho(tcb, t, seg);
  if (recovery.phase !== 'open' && isOver(tcb)) leave(tcb, t);

  // RFC 6675 5: "a cumulative acknowledgment … MUST reset DupAcks to zero".
  if (acked > 0 && (recovery.phase === 'open' || tcb.sackOn)) recovery.dupAcks = 0;
  else if (tcb.sackOn ? fresh > 0 : duplicate) countDuplicate(tcb);
  if (tcb.sackOn) detect(tcb, t);
  else countDuplicates(tcb, t, acked);
  if (acked > 0 && news.lostResentAt < 0) t.conservative = false;
  if (isReducing(t)) {
    const bytes = tcb.sackOn ? delivered : deliveredWithoutSack(tcb, acked, duplicate);
    reduceOnAck(t, bytes, pipe(tcb), tcb.congestion.ssthresh, snd.mss);
  }
}

/** RFC 5681 3.2: as many as segments are outstanding, and no more: a peer could make up any number (hostile 100). */
function countDuplicate(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  const segments = Math.ceil(seq.sub(snd.nxt, snd.una) / snd.mss);
  if (recovery.dupAcks < Math.max(DUP_THRESH, segments)) recovery.dupAcks++;
}

// ---- with SACK

/** RACK looks for losses, and recovery begins with the first. */
function detect(tcb: Tcb, t: Trouble): void {
  const { recovery } = tcb;
  const { flight, sacked } = recovery;
  if (flight === undefined) return;
  if (sacked.count > 0 && ranges.leftOf(sacked, 0) === tcb.snd.una) suspectReneging(tcb);
  if (recovery.phase === 'open' && sacked.count === 0) return;
  detectLoss(tcb);
  onLosses(tcb, t);
}

function onLosses(tcb: Tcb, t: Trouble): void {
  const { recovery } = tcb;
  const lost = recovery.flight!.lost;
  if (news.lostResentAt >= 0) onLostResent(tcb, t);
  if (lost.count === 0 || recovery.phase === 'fast' || recovery.phase === 'timeout') return;
  enterFast(tcb, t);
}

/** RFC 5681 4.3: the loss of a retransmission is a second sign of congestion, and the window is reduced a second time. */
function onLostResent(tcb: Tcb, t: Trouble): void {
  const { recovery, congestion } = tcb;
  t.undoBytes = -1;
  t.conservative = true;
  if (news.lostResentAt < t.reducedAt || recovery.phase !== 'fast') return;
  reduce(tcb, t, 'fast', Math.min(congestion.cwnd, seq.sub(tcb.snd.nxt, tcb.snd.una)));
}

/**
 * The peer acknowledges up to a range that it had SACKed, and not the range: it has thrown it away (RFC 2018 8), or the ACK is an
 * old one. Unless another comes soon, the retransmission timer will clear the scoreboard and send it again.
 */
function suspectReneging(tcb: Tcb): void {
  const { at, rtt, tcp } = tcb;
  const soon = tcp.now + Math.max(RENEGED_AFTER, rtt.srtt / 2);
  if (at.retransmit > soon) arm(tcb, 'retransmit', Math.ceil(soon));
}

/** RACK's reordering timer or the probe timeout came (RFC 8985 6.2, 7.3). */
export function onLossTimer(tcb: Tcb): void {
  const { snd, recovery, congestion, rtt, tcp } = tcb;
  const { flight } = recovery;
  disarm(tcb, 'loss');
  if (flight === undefined) return;
  beginNews(flight);
  if (flight.waiting === 'reordering') {
    const t = troubleOf(tcb);
    flight.waiting = 'probe';
    detectLoss(tcb);
    onLosses(tcb, t);
    if (isReducing(t)) reduceOnAck(t, 0, pipe(tcb), congestion.ssthresh, snd.mss);
  } else {
    wantProbe(tcb);
    // 7.3: "regardless of whether a loss probe was sent, the sender MUST re-arm the RTO timer".
    arm(tcb, 'retransmit', tcp.now + rtt.rto);
  }
  touch(tcb);
}

// ---- without SACK

/** RFC 6582 3.2: three duplicate ACKs begin recovery, partial ACKs find the next hole. */
function countDuplicates(tcb: Tcb, t: Trouble, acked: number): void {
  const { snd, recovery } = tcb;
  const { flight } = recovery;
  if (flight === undefined) return;
  if (recovery.phase === 'fast') {
    if (acked === 0) return;
    // Step 3, partial acknowledgment: of the segments now covered, all but the retransmitted one had already told of their departure.
    recovery.dupAcks = Math.max(0, recovery.dupAcks - Math.max(0, Math.ceil(acked / snd.mss) - 1));
    loseFirst(tcb);
  } else if (recovery.phase !== 'timeout' && recovery.dupAcks >= DUP_THRESH) {
    if (recovery.phase === 'open' && !coversMore(tcb, t)) return;
    loseFirst(tcb);
    enterFast(tcb, t);
  }
}

/**
 * Step 2: "If the Cumulative Acknowledgment field covers more than recover", and by the heuristic of 4.1 when it does not: duplicate
 * ACKs that answer three segments sent again needlessly come after an ACK for more than four.
 */
function coversMore(tcb: Tcb, t: Trouble): boolean {
  const { snd, recovery, congestion } = tcb;
  if (seq.gt(snd.una, recovery.point)) return true;
  return congestion.cwnd > snd.mss && t.lastAcked <= 4 * snd.mss;
}

function loseFirst(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  ranges.addRange(recovery.flight!.lost, snd.una, seq.min(seq.add(snd.una, snd.mss), snd.nxt));
}

/** RFC 6937 2: without SACK a duplicate ACK stands for one segment, and the ACK that fills the hole for the rest. */
function deliveredWithoutSack(tcb: Tcb, acked: number, duplicate: boolean): number {
  const { snd, recovery } = tcb;
  if (acked === 0) return duplicate ? snd.mss : 0;
  return Math.max(snd.mss, acked - recovery.dupAcks * snd.mss);
}

// ---- phases

/** The window is reduced, once for a window of data, and evenly (PRR). `flight`: what the controller reckons from. */
function reduce(tcb: Tcb, t: Trouble, phase: 'cwr' | 'fast', flight: number): void {
  const { snd, recovery, congestion, tcp } = tcb;
  congestion.onLoss(flight);
  t.reducedAt = tcp.now;
  startReduction(t, congestion, Math.max(seq.sub(snd.nxt, snd.una), 1));
  noteReduced(tcb);
  if (phase === 'fast' || recovery.phase !== 'open') return;
  recovery.phase = 'cwr';
  recovery.point = snd.nxt;
  t.undoBytes = -1;
}

/** RFC 3168 6.1.2: an echo of congestion counts as a loss, "once every window of data". */
function onEcho(tcb: Tcb, t: Trouble, seg: Segment): void {
  const { snd, recovery, tcp } = tcb;
  // While the peer has not seen CWR it goes on echoing what has been heard.
  if (recovery.phase !== 'open' || isReductionUntold(tcb) || seq.leq(seg.ack, recovery.point)) return;
  tcp.counters.tcpEcnReductions++;
  reduce(tcb, t, 'cwr', seq.sub(snd.nxt, snd.una));
  // "the sending TCP MUST reset the retransmit timer on receiving the ECN-Echo packet when the congestion window is one"
  if (snd.una !== snd.nxt) arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
}

/** Something is lost: the window is reduced, recovery lasts until what is out now is in. */
function enterFast(tcb: Tcb, t: Trouble): void {
  const { snd, recovery, tcp } = tcb;
  const first = ranges.leftOf(recovery.flight!.lost, 0);
  // "once in response to a series of dropped and/or CE packets from a single window of data" (RFC 3168 6.1.2)
  if (recovery.phase !== 'cwr' || seq.geq(first, recovery.point)) {
    // RFC 6675 5 (4.2): ssthresh = FlightSize / 2, and that is all that is not acknowledged (RFC 5681 2).
    reduce(tcb, t, 'fast', seq.sub(snd.nxt, snd.una));
  }
  startEpisode(tcb, t);
  if (t.reducedAt !== tcp.now) t.undoBytes = -1;
  // RFC 8985 7.1
  t.tlpEnd = -1;
  recovery.phase = 'fast';
  recovery.point = snd.nxt;
  recovery.reason = 'retransmit: fast';
  tcp.counters.tcpFastRetransmits++;
}

/** RecoveryPoint is reached. A reduction without losses lasts until the first data after it is answered (RFC 3168 6.1.2). */
function isOver(tcb: Tcb): boolean {
  const { snd, recovery } = tcb;
  if (recovery.phase === 'cwr') return seq.gt(snd.una, recovery.point) || snd.una === snd.nxt;
  return seq.geq(snd.una, recovery.point);
}

function leave(tcb: Tcb, t: Trouble): void {
  const { recovery, congestion } = tcb;
  endReduction(t);
  congestion.onRecoveryExit(pipe(tcb));
  if (recovery.phase !== 'cwr') relaxReorderingWindow(t);
  recovery.phase = 'open';
  recovery.dupAcks = 0;
  t.frto = 0;
  t.mustResend = false;
}

/** The retransmission timer expired (RFC 5681 3.1, RFC 8985 6.3): what was out for too long is lost, and is sent again slowly. */
export function onTimeout(tcb: Tcb): void {
  const { snd, recovery, congestion, tcp } = tcb;
  const { sacked } = recovery;
  const t = troubleOf(tcb);
  const again = tcb.retries > 1;
  beginNews(recovery.flight);
  // A second timeout in a row, or a SACK right at SND.UNA, means that the peer may have thrown SACKed data away (RFC 2018 8).
  const reneged = sacked.count > 0 && ranges.leftOf(sacked, 0) === snd.una;
  if (again || reneged) ranges.clear(sacked);
  congestion.onTimeout(seq.sub(snd.nxt, snd.una), again);
  // RFC 3522 3.2: "MUST NOT be reinitiated … upon subsequent timeouts for the same segment".
  const fresh = recovery.phase === 'open' || recovery.phase === 'cwr';
  if (!again) startEpisode(tcb, t);
  t.mustResend = true;
  t.afterTimeout = true;
  if (!again && !fresh) t.undoBytes = -1;
  t.tlpEnd = -1;
  t.tlpDue = false;
  t.reducedAt = tcp.now;
  endReduction(t);
  noteReduced(tcb);
  // RFC 5682 2.1 step 1: not while another recovery is under way, but when the timer expires again for the same segment.
  if ((fresh || again) && !reneged) startFrto(t, seq.min(seq.add(snd.una, snd.mss), snd.nxt));
  recovery.phase = 'timeout';
  recovery.point = snd.nxt;
  recovery.dupAcks = 0;
  recovery.reason = `retransmit: RTO ${tcb.retries}`;
  loseOnTimeout(tcb, !tcb.sackOn);
  disarm(tcb, 'loss');
}

/** The path carries less than thought (RFC 1191 6.5): what is out was too big and goes again in smaller pieces. No congestion. */
export function onTooBig(tcb: Tcb): void {
  const { snd, recovery } = tcb;
  const t = troubleOf(tcb);
  startEpisode(tcb, t);
  t.undoBytes = -1;
  endReduction(t);
  recovery.phase = 'timeout';
  recovery.point = snd.nxt;
  recovery.reason = 'retransmit: packet too big';
  loseOnTimeout(tcb, true);
  disarm(tcb, 'loss');
}

/** The window opened: what was sent again while it was closed has been refused, and goes once more. */
export function loseAgain(tcb: Tcb): void {
  troubleOf(tcb).mustResend = true;
  loseOnTimeout(tcb, true);
}

// ---- what was no loss

function isSpurious(tcb: Tcb, t: Trouble, seg: Segment, acked: number, duplicate: boolean): boolean {
  const { snd, recovery } = tcb;
  const { phase } = recovery;
  if (judgeByDsack(t)) return true;
  if (phase !== 'fast' && phase !== 'timeout') return false;
  if (acked > 0 && judgeByTimestamp(tcb, t, seg)) return true;
  if (t.frto === 0) return false;
  const unsent = tcb.sendBuffer.length - seq.sub(snd.nxt, snd.una);
  const window = seq.sub(seq.add(snd.una, snd.wnd), snd.nxt);
  return judgeTimeout(tcb, t, acked, duplicate, unsent > 0 && window >= Math.min(unsent, snd.mss));
}

/**
 * Nothing was lost: the window is given back, and what was deemed lost is under way as before (RFC 5682 4, RFC 3522 3.2 (6)). What
 * was taken for a loss was reordering, or a path that takes longer than the RTO knew.
 */
function undo(tcb: Tcb, t: Trouble): void {
  const { recovery, congestion, tcp } = tcb;
  const { flight, phase } = recovery;
  congestion.onSpurious();
  t.undoBytes = -1;
  if (t.afterTimeout) tcp.counters.tcpSpuriousTimeouts++;
  else tcp.counters.tcpSpuriousRecoveries++;
  // After a timeout the backed-off RTO stays until there is a sample (Karn): it was too short before.
  if (!t.afterTimeout) t.reorderingSeen = true;
  if (phase !== 'fast' && phase !== 'timeout') return;
  leave(tcb, t);
  // RFC 5682 2.1 (3b): "set the value of the recover variable to SND.UNA".
  recovery.point = seq.add(tcb.snd.una, -1);
  if (flight === undefined) return;
  ranges.clear(flight.lost);
  for (let i = 0; i < flight.count; i++) setFlags(flight, i, flagsOf(flight, i) & ~LOST);
}
