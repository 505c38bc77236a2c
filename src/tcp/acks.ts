// Step five of SEGMENT ARRIVES: what an acknowledgment acknowledges (RFC 9293 3.10.7.4, RFC 5961 5, RFC 6298, RFC 5681).

import type { Verdict } from '../base/drop.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { challenge } from './challenge.ts';
import { sample as delivery, noteArrived } from './delivery.ts';
import * as ranges from './ranges.ts';
import { noteSack, onAck, pipe } from './recovery.ts';
import { sample } from './rtt.ts';
import { isFin, isSyn, type Segment } from './segment.ts';
import { ack as releaseSent } from './send-buffer.ts';
import * as seq from './seq.ts';
import { arm, DRAINED, disarm, notify, type Tcb, touch, WRITABLE } from './tcb.ts';
import { noteEcho } from './tuning.ts';

/** Takes the ACK field of a segment in a synchronized state. A verdict ends the processing of the segment. */
export function acknowledge(tcb: Tcb, seg: Segment): Verdict {
  const { snd } = tcb;
  if (tcb.probed && seg.ack === seq.add(snd.nxt, 1)) countProbe(tcb);
  // RFC 5961 5.2: SND.UNA − MAX.SND.WND ≤ SEG.ACK ≤ SND.NXT, else an ACK and drop (hostile 93, 99).
  if (seq.gt(seg.ack, snd.nxt)) {
    challenge(tcb, 'challenge ACK: acknowledges what was not sent');
    return 'bad ack';
  }
  if (seq.lt(seg.ack, seq.add(snd.una, -snd.maxWnd))) {
    challenge(tcb, 'challenge ACK: too old');
    return 'bad ack';
  }
  const before = snd.wnd;
  const acked = seq.sub(seg.ack, snd.una);
  const news = tcb.sackOn && seg.options.sackCount > 0 ? noteSack(tcb, seg) : 0;
  // 3.10.7.4: "If SND.UNA =< SEG.ACK =< SND.NXT, the send window should be updated."
  if (acked >= 0) updateWindow(tcb, seg);
  if (seg.dataLength > 0 && tcb.ts.on && seg.options.tsecr !== tcb.tuning.echo) {
    noteEcho(tcb, seg, timestampNow(tcb));
  }
  tcb.probes = 0;
  // MUST-37: while the peer answers at all, a window of zero is no trouble.
  // (But when its user closed, nobody is left to end the wait: R2 does, RFC 6429 3, hostile 97.)
  if (acked > 0 || (snd.wnd === 0 && !tcb.readClosed)) {
    tcb.retries = 0;
    tcb.troubleSince = NEVER;
  }
  if (acked > 0 || news > 0) noteDelivery(tcb, seg, Math.max(0, acked), news);
  if (acked > 0) advance(tcb, seg, acked);
  // RFC 5681 2: data outstanding, no data in the segment, same acknowledgment, same window.
  const duplicate =
    acked === 0 && snd.nxt !== snd.una && seg.len === 0 && snd.wnd === before && !isSyn(seg) && !isFin(seg);
  if (acked > 0 || news > 0 || duplicate) {
    onAck(tcb, Math.max(0, acked), news, duplicate);
    if (tcb.congestion.modelBased && (acked > 0 || news > 0)) tellModel(tcb);
    touch(tcb);
  } else if (snd.wnd > before) {
    touch(tcb);
  }
  return undefined;
}

/** Counts what an ACK says has arrived, before SND.UNA moves: what SACK told of is not counted again. Fills `delivery`. */
function noteDelivery(tcb: Tcb, seg: Segment, acked: number, news: number): void {
  const { snd, recovery, rtt, tcp } = tcb;
  const { sacked } = recovery;
  const known = acked > 0 && sacked.count > 0 ? ranges.covered(sacked, snd.una, seg.ack) : 0;
  const upTo = news > 0 ? ranges.rightOf(sacked, sacked.count - 1) : seg.ack;
  noteArrived(tcb.delivery, acked + news - known, upTo, rtt.minRtt, tcp.now);
}

/** Hands a model-based controller what {@link noteDelivery} found, now that recovery.ts has said what is lost. */
function tellModel(tcb: Tcb): void {
  const inFlight = pipe(tcb);
  delivery.lost = tcb.stats.bytesOut - delivery.delivered - inFlight;
  tcb.congestion.onDelivery(delivery, inFlight, tcb.tcp.now);
}

/** The peer took the octet, or the FIN, that probed its closed window: now it counts as sent. */
function countProbe(tcb: Tcb): void {
  tcb.probed = false;
  tcb.snd.nxt = seq.add(tcb.snd.nxt, 1);
  if (tcb.sendBuffer.length === 0) tcb.finSent = true;
}

/** SND.UNA moves to SEG.ACK: samples the round trip, grows the window, frees the bytes, tends the timer. */
function advance(tcb: Tcb, seg: Segment, acked: number): void {
  const { snd, congestion, tcp } = tcb;
  const flight = pipe(tcb);
  const rtt = takeSample(tcb, seg);
  snd.una = seg.ack;
  if (seq.lt(snd.small, snd.una)) snd.small = snd.una;
  let bytes = acked;
  if (tcb.finSent && !tcb.finAcked && seg.ack === snd.nxt) {
    tcb.finAcked = true;
    bytes -= 1;
  }
  releaseSent(tcb.sendBuffer, bytes);
  tcb.stats.bytesAcked += bytes;
  // RFC 5681 3.1: the window grows in slow start and congestion avoidance, and while resending after a timeout; in fast
  // recovery it stands still.
  if (tcb.recovery.phase !== 'fast') {
    // RFC 7661 4.3: the window is validated, and may grow, while more than half of it is in use.
    congestion.onAck(bytes, rtt || delivery.rtt, flight, tcp.now, flight * 2 > congestion.cwnd);
  }
  // RFC 6298 5.2, 5.3
  if (snd.una === snd.nxt) disarm(tcb, 'retransmit');
  else arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
  // RFC 4861 7.3.1: forward progress says that the next hop is there.
  tcp.ip.confirm?.(tcb.path);
  // What ICMP said before explains no failure of now.
  tcb.softError = undefined;
  tellUser(tcb);
}

/**
 * RFC 6298 4 with Karn's rule: a timed segment that was never resent; failing that, the echoed timestamp (RFC 7323 4.1).
 * Returns the sample in microseconds, 0 for none.
 */
function takeSample(tcb: Tcb, seg: Segment): Micros {
  const { rtt, snd, tcp } = tcb;
  if (tcb.timedAt !== NEVER) {
    if (!seq.geq(seg.ack, tcb.timedSeq)) return 0;
    const elapsed = Math.max(1, tcp.now - tcb.timedAt);
    tcb.timedAt = NEVER;
    sample(rtt, elapsed);
    return elapsed;
  }
  const { options } = seg;
  if (tcb.ts.on && options.timestamps && options.tsecr !== 0) {
    const elapsed = seq.sub(timestampNow(tcb), options.tsecr);
    if (elapsed >= 0 && elapsed < MOST_ELAPSED && !isAmbiguous(tcb, elapsed)) {
      const micros = Math.max(1, elapsed) * 1000;
      sample(rtt, micros, Math.ceil(pipe(tcb) / (2 * snd.mss)));
      return micros;
    }
  }
  // Without a sample the backed-off RTO stays (RFC 6298 5, Karn): a path that became longer than the RTO is learnt by the next
  // segment, which then has time to be answered before it is sent again.
  return 0;
}

/**
 * True when, after a timeout, the echo is of a segment sent before it. Was its ACK late, or lost, and this is the answer to what
 * was sent again? A receiver echoes the old timestamp to an old duplicate (RFC 7323 5.3 R2, R3), so nobody knows (RFC 3522 3.2);
 * believed, a few lost ACKs would make an RTO of two minutes.
 */
function isAmbiguous(tcb: Tcb, elapsed: number): boolean {
  const sentAt = tcb.tcp.now - elapsed * 1000;
  return tcb.recovery.phase === 'timeout' && sentAt < tcb.expiredAt - MILLISECOND;
}

/** An echoed timestamp older than this is nonsense (ms). */
const MOST_ELAPSED = 600_000;

/** TSval: our clock in milliseconds with the connection's offset (RFC 7323 5.4, 7.1). */
export function timestampNow(tcb: Tcb): number {
  return (Math.floor(tcb.tcp.now / 1000) + tcb.ts.offset) >>> 0;
}

/** "the send window should be updated": only from segments newer than the last that did (3.10.7.4). */
function updateWindow(tcb: Tcb, seg: Segment): void {
  const { snd } = tcb;
  if (seq.lt(snd.wl1, seg.seq) || (snd.wl1 === seg.seq && seq.leq(snd.wl2, seg.ack))) {
    // The window of a SYN is never scaled (RFC 7323 2.2).
    setWindow(tcb, isSyn(seg) ? seg.wnd : seg.wnd * 2 ** snd.scale);
    snd.wl1 = seg.seq;
    snd.wl2 = seg.ack;
  }
}

/** Takes a new send window; one that opens ends probing. */
export function setWindow(tcb: Tcb, wnd: number): void {
  const { snd } = tcb;
  if (snd.wnd === 0 && wnd > 0) reopen(tcb);
  snd.wnd = wnd;
  if (wnd > snd.maxWnd) snd.maxWnd = wnd;
}

/** The window opened: no more probes; and what went again into a window of zero was refused, so it goes once more. */
function reopen(tcb: Tcb): void {
  const { recovery, snd } = tcb;
  disarm(tcb, 'persist');
  if (recovery.phase === 'timeout') recovery.highRxt = snd.una;
  touch(tcb);
}

/** Room in the send buffer, or nothing left to acknowledge. A third of the buffer must be free, as in Linux: no crumbs. */
function tellUser(tcb: Tcb): void {
  const { sendBuffer, options } = tcb;
  if (tcb.wantsRoom && sendBuffer.length <= (options.sendBufferLimit * 2) / 3) {
    tcb.wantsRoom = false;
    notify(tcb, WRITABLE);
  }
  if (sendBuffer.length === 0 && (!tcb.finQueued || tcb.finAcked)) notify(tcb, DRAINED);
}
