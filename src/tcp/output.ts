// The only place that emits: SYNs, data, FINs, ACKs, probes and resets, as windows and timers allow (RFC 9293 3.8, 3.10).
//
// Order of one connection in one flush: what was lost, then what is new, then a probe, then a bare ACK if nothing has carried
// it. Data goes out in super-frames: one header, up to 64 KB, cut into segments of `snd.mss` by the driver (or link/segment).

import { fold, pseudoHeaderSum } from '../base/checksum.ts';
import { type Path, PROTOCOL_TCP } from '../base/ip.ts';
import type { Frame } from '../base/packet.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { timestampNow } from './acks.ts';
import { unsentBytes } from './calls.ts';
import { noteLimited, noteResent, noteSent } from './delivery.ts';
import { persistInterval } from './expires.ts';
import { ACK, CHECKSUM_AT, FIN, PSH, RST, SYN, writeHeader } from './header.ts';
import {
  sackLength,
  TIMESTAMPS_LENGTH,
  writeMss,
  writeNop,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
import { pacedAllowance, spendPace } from './pacing.ts';
import { sackBlocks } from './receive-buffer.ts';
import { holeEnd, nextLost, pipe } from './recovery.ts';
import { attachRange } from './send-buffer.ts';
import * as seq from './seq.ts';
import { arm, disarm, type Tcb, touch } from './tcb.ts';
import { type Reset, refreshPath, type Tcp } from './tcp.ts';
import {
  advertise,
  MOST_PAYLOAD,
  receiveMss,
  sendMss,
  TCP_HEADER,
  usableWindow,
  windowScaleFor,
} from './window.ts';

/** Override timeout of the sender's silly window avoidance: "should be in the range 0.1 - 1.0 seconds" (3.8.6.2.1). */
const OVERRIDE: Micros = 200 * MILLISECOND;

/** Emits all that the connections have to say. A connection whose interface is full stays on the list. */
export function flush(tcp: Tcp, now: Micros): void {
  tcp.now = now;
  if (tcp.resets.length > 0) sendResets(tcp);
  const { outgoing } = tcp;
  if (outgoing.length === 0) return;
  tcp.outgoing = [];
  for (const tcb of outgoing) {
    tcb.dirty = false;
    if (tcb.state !== 'CLOSED') output(tcb);
  }
}

function output(tcb: Tcb): void {
  if (!refreshPath(tcb).interface.hasRoom()) {
    touch(tcb);
    return;
  }
  if (tcb.sendSyn) {
    sendSyn(tcb);
    return;
  }
  if (tcb.state === 'SYN-SENT') return;
  if (tcb.state !== 'SYN-RECEIVED' && tcb.state !== 'TIME-WAIT') {
    if (tcb.recovery.phase !== 'open') sendAgain(tcb);
    sendNew(tcb);
    if (tcb.probeNow !== 'none') sendProbe(tcb);
  }
  if (tcb.ackNow) {
    if (tcb.path.interface.hasRoom()) emit(tcb, tcb.snd.nxt, ACK, 0, 0, undefined);
    else touch(tcb);
  }
}

// ---- what is lost

/** Sends again what recovery.ts deems lost, as far as the congestion window allows; the first piece always (RFC 6675 5 (4.3)). */
function sendAgain(tcb: Tcb): void {
  const { snd, recovery, congestion, path } = tcb;
  const mss = sendMss(tcb);
  for (let from = nextLost(tcb); from >= 0; from = nextLost(tcb)) {
    if (!path.interface.hasRoom()) {
      touch(tcb);
      return;
    }
    const first = recovery.highRxt === snd.una && from === snd.una;
    let budget = congestion.cwnd - pipe(tcb);
    if (budget < mss) {
      if (!first) return;
      budget = mss;
    }
    budget = Math.min(budget, pacedAllowance(tcb, mss));
    if (budget === 0) return;
    // SHLD-16: inside the peer's window; with a window of zero one segment probes it (MAY-7).
    const inWindow = Math.max(seq.sub(seq.add(snd.una, snd.wnd), from), first ? mss : 0);
    if (inWindow <= 0) return;
    const hole = seq.sub(holeEnd(tcb, from), from);
    const sent = resend(
      tcb,
      from,
      Math.min(hole, wholeSegments(Math.min(budget, inWindow, MOST_PAYLOAD), mss)),
    );
    recovery.highRxt = seq.add(from, sent);
    spendPace(tcb, sent);
    noteResent(tcb.delivery, tcb.sackOn ? recovery.highRxt : snd.nxt);
  }
}

/** Sends `length` sequence numbers from `from` again, the FIN among them if it lies there. Returns how many went. */
function resend(tcb: Tcb, from: number, length: number): number {
  const { snd, recovery, tcp } = tcb;
  const offset = seq.sub(from, snd.una);
  const data = Math.min(length, tcb.sendBuffer.length - offset);
  // Karn: a segment that is sent again is not timed.
  if (seq.lt(from, tcb.timedSeq)) tcb.timedAt = NEVER;
  tcb.stats.retransmissions++;
  tcp.counters.tcpRetransSegs += Math.max(1, Math.ceil(data / snd.mss));
  const fin = length > data ? FIN : 0;
  const psh = data > 0 && offset + data === tcb.sendBuffer.length ? PSH : 0;
  const sent = emit(tcb, from, ACK | psh | fin, offset, data, recovery.reason);
  if (tcb.at.retransmit === NEVER) arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
  return sent === data ? length : sent;
}

// ---- what is new

/** Sends new data and the FIN: at most what the peer's window and the congestion window take, in segments worth sending. */
function sendNew(tcb: Tcb): void {
  const { snd, congestion, tcp, path } = tcb;
  const finDue = tcb.finQueued && !tcb.finSent;
  let unsent = unsentBytes(tcb);
  if (unsent === 0 && !finDue) {
    const outstanding = seq.sub(snd.nxt, snd.una);
    if (outstanding < congestion.cwnd - snd.mss) noteLimited(tcb.delivery, outstanding);
    return;
  }
  const mss = sendMss(tcb);
  let inFlight = pipe(tcb);
  // RFC 7661 4.4: after an idle time nobody knows whether the path still carries the window.
  if (snd.una === snd.nxt && tcp.now - tcb.lastSent > tcb.rtt.rto) {
    congestion.onIdle(tcp.now - tcb.lastSent, tcp.now);
  }
  while (unsent > 0 || (finDue && !tcb.finSent)) {
    if (!path.interface.hasRoom()) {
      touch(tcb);
      break;
    }
    const usable = usableWindow(tcb);
    const allowed = congestion.cwnd - inFlight;
    let length = segmentLength(tcb, unsent, usable, allowed, mss);
    if (length < 0) {
      if (usable < mss && allowed >= mss) noteLimited(tcb.delivery, inFlight);
      break;
    }
    const paced = pacedAllowance(tcb, mss);
    if (paced === 0) break;
    if (length > paced) length = wholeSegments(paced, mss);
    const fin = finDue && length === unsent && usable > length;
    if (length === 0 && !fin) break;
    // MUST-61: PSH on the last of the buffered data.
    const psh = length > 0 && length === unsent ? PSH : 0;
    const flags = ACK | psh | (fin ? FIN : 0);
    const sent = emit(tcb, snd.nxt, flags, seq.sub(snd.nxt, snd.una), length, undefined);
    const whole = sent === length;
    snd.nxt = seq.add(snd.nxt, sent + (fin && whole ? 1 : 0));
    if (fin && whole) tcb.finSent = true;
    tcb.probed = false;
    if (tcb.timedAt === NEVER) {
      tcb.timedAt = tcp.now;
      tcb.timedSeq = snd.nxt;
    }
    if (sent % mss !== 0) snd.small = snd.nxt;
    noteSent(tcb.delivery, snd.nxt, inFlight, congestion.cwnd, tcp.now);
    spendPace(tcb, sent);
    tcb.override = false;
    unsent -= sent;
    inFlight += sent;
    if (tcb.at.retransmit === NEVER) arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
  }
  waitForWindow(tcb, unsent, finDue);
}

/**
 * How many bytes to send now; 0 may still carry a FIN; -1 to wait. Nagle (SHLD-7) and the sender's silly window avoidance
 * (MUST-38, 3.8.6.2.1): a full segment; or all there is, when nothing small is under way or Nagle is off; or half the largest
 * window ever; or the override timeout.
 */
function segmentLength(tcb: Tcb, unsent: number, usable: number, allowed: number, mss: number): number {
  const { snd } = tcb;
  if (usable <= 0) return -1;
  const most = Math.min(usable, allowed, MOST_PAYLOAD);
  if (allowed < Math.min(mss, unsent)) {
    // Congestion control counts in whole segments: crumbs wait for the next ACK.
    return -1;
  }
  if (unsent <= most) {
    if (unsent % mss === 0 || maySendSmall(tcb)) return unsent;
    // Whole segments now, the rest when Nagle lets it go.
    return unsent > mss ? wholeSegments(unsent, mss) : -1;
  }
  if (most >= mss) return wholeSegments(most, mss);
  return most >= snd.maxWnd / 2 || tcb.override ? most : -1;
}

/**
 * Deviates from the letter of Nagle's algorithm as RFC 9293 3.7.4 allows: a small segment waits only for another *small* one
 * that is under way (Minshall), so that the tail of a large write does not wait for the ACK of its full segments.
 */
function maySendSmall(tcb: Tcb): boolean {
  const { snd } = tcb;
  return tcb.options.noDelay || tcb.finQueued || tcb.override || !seq.gt(snd.small, snd.una);
}

function wholeSegments(bytes: number, mss: number): number {
  return bytes > mss ? bytes - (bytes % mss) : bytes;
}

/** Something waits and nothing is under way that could bring a window: the persist timer will look again (3.8.6.1). */
function waitForWindow(tcb: Tcb, unsent: number, finDue: boolean): void {
  const { snd, tcp } = tcb;
  const waiting = unsent > 0 || (finDue && !tcb.finSent);
  if (!waiting || snd.una !== snd.nxt) {
    disarm(tcb, 'persist');
    return;
  }
  if (tcb.at.persist !== NEVER || tcb.dirty) return;
  if (usableWindow(tcb) <= 0) {
    tcb.probeBackoff = 0;
    arm(tcb, 'persist', tcp.now + persistInterval(tcb));
  } else {
    arm(tcb, 'persist', tcp.now + OVERRIDE);
  }
}

// ---- probes

/** A zero-window probe carries one octet of new data, or the FIN (3.8.6.1); a keep-alive the sequence number before SND.NXT (3.8.4). */
function sendProbe(tcb: Tcb): void {
  const { snd, tcp, path } = tcb;
  if (!path.interface.hasRoom()) {
    touch(tcb);
    return;
  }
  const kind = tcb.probeNow;
  tcb.probeNow = 'none';
  if (kind === 'keep-alive') {
    tcp.counters.tcpKeepAliveProbes++;
    // SHLD-12: no data.
    emit(tcb, seq.add(snd.nxt, -1), ACK, 0, 0, 'keep-alive probe');
    return;
  }
  // With something in flight its retransmission is the probe.
  if (snd.wnd > 0 || snd.nxt !== snd.una) return;
  tcp.counters.tcpWindowProbes++;
  const octet = tcb.sendBuffer.length > 0 ? 1 : 0;
  const fin = octet === 0 && tcb.finQueued ? FIN : 0;
  emit(tcb, snd.una, ACK | fin | (octet === 1 ? PSH : 0), 0, octet, 'zero-window probe');
  // SND.NXT stays until the peer takes the octet: a bare ACK from beyond its closed window would be refused, and with it the news
  // of our own window (3.10.7.4: with RCV.WND zero only SEG.SEQ = RCV.NXT is acceptable).
  tcb.probed = true;
}

// ---- SYN

/** `<SEQ=ISS><CTL=SYN>` or `<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>`, with MSS (SHLD-5), SACK, timestamps and window scale. */
function sendSyn(tcb: Tcb): void {
  const { snd, rcv, ts, tcp, options } = tcb;
  tcb.sendSyn = false;
  const active = tcb.state === 'SYN-SENT';
  const frame = tcb.path.interface.frame();
  const { view } = frame;
  const at = frame.put(TCP_HEADER);
  let to = writeMss(view, frame.tail, receiveMss(tcb));
  const sack = active ? options.sack : tcb.sackOn;
  if (active ? options.timestamps : ts.on) {
    to = sack ? writeSackPermitted(view, to) : writeNop(view, writeNop(view, to));
    // SACK-permitted fills the two bytes that the NOPs of the usual form would.
    to = writeTimestampsBare(view, to, timestampNow(tcb), ts.recent);
  } else if (sack) {
    to = writeNop(view, writeNop(view, writeSackPermitted(view, to)));
  }
  if (active ? options.windowScaling : rcv.scale > 0 || snd.scale > 0) {
    to = writeWindowScale(view, writeNop(view, to), active ? windowScaleFor(options) : rcv.scale);
  }
  frame.tail = to;
  const window = Math.min(65_535, options.receiveBufferLimit);
  const flags = active ? SYN : SYN | ACK;
  const ack = active ? 0 : tcb.receiveBuffer.nxt;
  writeHeader(view, at, tcb.localPort, tcb.remotePort, tcb.iss, ack, to - at, flags, window);
  if (tcp.trace.on && tcb.retries > 0) frame.note = `retransmit: SYN ${tcb.retries}`;
  if (tcb.timedAt === NEVER && tcb.retries === 0) tcb.timedAt = tcp.now;
  if (tcb.retries > 0) {
    tcb.timedAt = NEVER;
    tcp.counters.tcpRetransSegs++;
    tcb.stats.retransmissions++;
  }
  snd.nxt = seq.add(tcb.iss, 1);
  ts.lastAckSent = ack;
  tcb.ackNow = false;
  submit(tcb, frame, at, to - at);
  if (tcb.at.retransmit === NEVER) arm(tcb, 'retransmit', tcp.now + tcb.rtt.rto);
}

/** Kind 8, length 10, without the NOPs. */
function writeTimestampsBare(view: DataView, at: number, tsval: number, tsecr: number): number {
  view.setUint16(at, 0x080a);
  view.setUint32(at + 2, tsval);
  view.setUint32(at + 6, tsecr);
  return at + 10;
}

// ---- one segment

/** The SACK blocks of the segment being built: reused. */
const blocks: number[] = [0, 0, 0, 0, 0, 0, 0, 0];

/**
 * Builds and sends one segment (or super-frame) with up to `length` bytes of the send buffer from `offset`; returns how many
 * it carries. Every segment carries the ACK, so whatever was owed is paid.
 */
function emit(
  tcb: Tcb,
  sequence: number,
  flags: number,
  offset: number,
  length: number,
  note: string | undefined,
): number {
  const { snd, ts, tcp, receiveBuffer } = tcb;
  const frame = tcb.path.interface.frame();
  const { view } = frame;
  const window = advertise(tcb);
  const at = frame.put(TCP_HEADER);
  if (ts.on) writeTimestamps(view, frame.put(TIMESTAMPS_LENGTH), timestampNow(tcb), ts.recent);
  // RFC 2018 3: SACK rides on bare ACKs; on data it would eat into the MSS that was reckoned without it.
  if (tcb.sackOn && length === 0) putSack(tcb, frame);
  const headerLength = frame.tail - at;
  const sent = length > 0 ? attachRange(tcb.sendBuffer, offset, length, frame) : 0;
  // A FIN or PSH belongs to the end: not to a piece.
  const bits = sent < length ? flags & ~(FIN | PSH) : flags;
  writeHeader(
    view,
    at,
    tcb.localPort,
    tcb.remotePort,
    sequence,
    receiveBuffer.nxt,
    headerLength,
    bits,
    window,
  );
  if (sent > snd.mss) frame.gsoSize = snd.mss;
  if (tcp.trace.on && note !== undefined) frame.note = note;
  ts.lastAckSent = receiveBuffer.nxt;
  // With a gap before data that waits, the ACK that is owed must be a bare one: only those count as duplicates (RFC 5681 2) and
  // carry SACK.
  if (length === 0 || receiveBuffer.outOfOrder === undefined) tcb.ackNow = false;
  tcb.rcv.unacked = 0;
  tcb.rcv.unackedSegments = 0;
  disarm(tcb, 'delayedAck');
  if (length > 0 || (bits & FIN) !== 0) tcb.lastSent = tcp.now;
  tcb.stats.bytesOut += sent;
  submit(tcb, frame, at, headerLength + sent);
  return sent;
}

function putSack(tcb: Tcb, frame: Frame): void {
  if (tcb.receiveBuffer.outOfOrder === undefined && !hasDuplicate(tcb)) return;
  const most = tcb.ts.on ? 3 : 4;
  const count = sackBlocks(tcb.receiveBuffer, blocks, most);
  if (count > 0) writeSack(frame.view, frame.put(sackLength(count)), blocks, count);
}

function hasDuplicate(tcb: Tcb): boolean {
  return tcb.receiveBuffer.duplicateLeft !== tcb.receiveBuffer.duplicateRight;
}

/** Leaves the partial checksum and hands the segment to IP. `length` counts header and payload. */
function submit(tcb: Tcb, frame: Frame, at: number, length: number): void {
  const { tcp, options, path } = tcb;
  // The pseudo-header's sum, folded and not complemented; whoever cuts or sends the frame completes it (MUST-2).
  frame.view.setUint16(at + CHECKSUM_AT, fold(tcb.pseudoSum + length));
  frame.checksumStart = at;
  frame.checksumOffset = CHECKSUM_AT;
  const wishes = tcp.sendOptions;
  wishes.ttl = options.ttl;
  wishes.trafficClass = options.trafficClass;
  // RFC 1191 2: DF on every segment is what discovers the path's MTU.
  wishes.dontFragment = true;
  tcb.stats.segmentsOut++;
  tcp.counters.tcpOutSegs++;
  tcp.ip.send(path, PROTOCOL_TCP, frame, wishes);
}

// ---- resets

/** Resets of connections that are no more. Those for which there is no room now wait. */
function sendResets(tcp: Tcp): void {
  const { resets } = tcp;
  tcp.resets = [];
  for (const reset of resets) {
    const path = tcp.ip.path(reset.remote, reset.local, reset.remote.zone);
    if (typeof path === 'string') continue;
    if (path.interface.hasRoom()) sendReset(tcp, path, reset);
    else tcp.resets.push(reset);
  }
}

function sendReset(tcp: Tcp, path: Path, reset: Reset): void {
  const frame = path.interface.frame();
  const { view } = frame;
  const at = frame.put(TCP_HEADER);
  const { timestamps } = reset;
  if (timestamps !== undefined) {
    writeTimestamps(view, frame.put(TIMESTAMPS_LENGTH), timestamps[0], timestamps[1]);
  }
  const length = frame.tail - at;
  const flags = reset.ack < 0 ? RST : RST | ACK;
  const ack = Math.max(0, reset.ack);
  writeHeader(view, at, reset.localPort, reset.remotePort, reset.seq, ack, length, flags, 0);
  view.setUint16(at + CHECKSUM_AT, fold(pseudoHeaderSum(reset.local, reset.remote, PROTOCOL_TCP, length)));
  frame.checksumStart = at;
  frame.checksumOffset = CHECKSUM_AT;
  if (tcp.trace.on) frame.note = reset.note;
  tcp.counters.tcpOutRsts++;
  tcp.counters.tcpOutSegs++;
  const wishes = tcp.sendOptions;
  wishes.ttl = 64;
  wishes.trafficClass = 0;
  wishes.dontFragment = true;
  tcp.ip.send(path, PROTOCOL_TCP, frame, wishes);
}
