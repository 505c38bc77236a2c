// SEGMENT ARRIVES, in the order of RFC 9293 3.10.7: by state, and in the synchronized states by eight checks.

import type { Verdict } from '../base/drop.ts';
import { type Packet, UNICAST } from '../base/packet.ts';
import { NEVER, SECOND } from '../base/time.ts';
import { acknowledge, setWindow } from './acks.ts';
import { closeHalf, destroy, makeConnection, ORPHAN_FIN_WAIT_2 } from './calls.ts';
import { challenge } from './challenge.ts';
import { FIN, SYN } from './header.ts';
import { onSynRetransmitted, sample } from './rtt.ts';
import { isAck, isFin, isRst, isSyn, isUrg, parseSegment, type Segment } from './segment.ts';
import * as seq from './seq.ts';
import { ackNow, arm, CONNECTED, disarm, enter, notify, type Tcb, touch, URGENT } from './tcb.ts';
import { findForPacket, findListener, type Listener, oweReset, remove, type Tcp } from './tcp.ts';
import { textAndFin } from './text.ts';
import { enterTimeWait, reopens, restartTimeWait } from './time-wait.ts';
import { DEFAULT_MSS_V4, DEFAULT_MSS_V6, LEAST_MSS, receiveMss, sendMss, windowScaleFor } from './window.ts';

/** RFC 7323 5.5: a TS.Recent older than 24 days says nothing any more. */
const TS_RECENT_LIFE = 24 * 24 * 3600 * SECOND;

/** Takes a packet whose IP header has been consumed. */
export function input(tcp: Tcp, packet: Packet): Verdict {
  const seg = tcp.segment;
  tcp.counters.tcpInSegs++;
  const bad = parseSegment(packet, seg);
  if (bad !== undefined) {
    tcp.counters.tcpInErrs++;
    return bad;
  }
  // MUST-57: nothing sent to a group is for TCP; and no answer to it may be given (RFC 1122 3.2.2, hostile 19, 90).
  if (packet.groupDestination || packet.linkCast !== UNICAST) return 'bad destination';
  const tcb = findForPacket(tcp, packet, seg.destinationPort, seg.sourcePort);
  if (tcb === undefined) {
    const listener = findListener(tcp, packet, seg.destinationPort);
    return listener === undefined ? closed(tcp, seg) : listening(listener, seg);
  }
  tcb.stats.segmentsIn++;
  if (tcb.state === 'SYN-SENT') return synSent(tcb, seg);
  return otherwise(tcb, seg);
}

// ---- 3.10.7.1 CLOSED

/** No connection, no listener: a reset answers anything but a reset (hostile 107). */
function closed(tcp: Tcp, seg: Segment): Verdict {
  if (!isRst(seg)) answerWithReset(tcp, seg, 'RST: no such connection');
  return 'no socket';
}

/** 3.5.2: with an ACK the reset takes its sequence number from there, else it is 0 and acknowledges the segment. */
function answerWithReset(tcp: Tcp, seg: Segment, note: string): void {
  const packet = seg.packet!;
  oweReset(tcp, {
    local: packet.destination(),
    localPort: seg.destinationPort,
    remote: packet.source(),
    remotePort: seg.sourcePort,
    seq: isAck(seg) ? seg.ack : 0,
    ack: isAck(seg) ? -1 : seq.add(seg.seq, seg.len),
    timestamps: undefined,
    note,
  });
}

// ---- 3.10.7.2 LISTEN

/** `used`: the last sequence number of the connection in TIME-WAIT that this SYN follows. */
function listening(listener: Listener, seg: Segment, used?: number): Verdict {
  const { tcp } = listener;
  // First, check for a RST: "should be ignored".
  if (isRst(seg)) return 'reset ignored';
  // Second, check for an ACK: any is bad here.
  if (isAck(seg)) {
    answerWithReset(tcp, seg, 'RST: ACK to a listener');
    return 'bad ack';
  }
  // Third, check for a SYN. A SYN with a FIN has no meaning (RFC 9293 3.10.7.2 "should not be received", hostile 85).
  if (!isSyn(seg) || isFin(seg)) return 'bad flags';
  const packet = seg.packet!;
  const source = packet.source();
  // MUST-63: a source that is no single host's is ignored.
  if (source.isMulticast || source.isUnspecified || tcp.ip.isBroadcast(source)) return 'bad source';
  if (listener.ready.length >= listener.backlog || tcp.count >= tcp.config.connectionLimit) {
    tcp.counters.tcpListenDrops++;
    return 'backlog full';
  }
  const path = tcp.ip.path(source, packet.destination(), source.zone);
  if (typeof path === 'string') return 'no route';
  makeRoom(listener);
  const tcb = makeConnection(tcp, path, listener.port, source, seg.sourcePort, {
    user: undefined,
    listener,
    options: { ...listener.options },
    used,
  });
  listener.halfOpen.add(tcb);
  tcp.counters.tcpPassiveOpens++;
  enter(tcb, 'SYN-RECEIVED');
  takeSyn(tcb, seg);
  tcb.sendSyn = true;
  touch(tcb);
  // "Any other incoming control or data … should be queued": deviates, data in a SYN is not kept; the peer sends it again.
  return undefined;
}

/** Keeps half-open connections bounded: the oldest, the least likely to be honest, goes (hostile 96). */
function makeRoom(listener: Listener): void {
  if (listener.halfOpen.size < listener.tcp.config.halfOpenLimit) return;
  listener.tcp.counters.tcpListenDrops++;
  destroy(listener.halfOpen.oldest!, 'ECONNABORTED');
}

/** What a SYN tells: IRS, the window, and the options both sides will use. */
function takeSyn(tcb: Tcb, seg: Segment): void {
  const { snd, rcv, options, ts } = tcb;
  const offered = seg.options;
  tcb.irs = seg.seq;
  tcb.receiveBuffer.nxt = seq.add(seg.seq, 1);
  tcb.lastReceived = tcb.tcp.now;
  // MUST-15, and never so small that a peer can make us work for it (hostile 71, 72).
  const assumed = tcb.remote.family === 4 ? DEFAULT_MSS_V4 : DEFAULT_MSS_V6;
  snd.peerMss = offered.mss === 0 ? assumed : Math.max(offered.mss, LEAST_MSS);
  // RFC 7323 2.2: both sides or none.
  if (offered.windowScale >= 0 && options.windowScaling) {
    snd.scale = offered.windowScale;
    rcv.scale = windowScaleFor(options);
  } else {
    snd.scale = 0;
    rcv.scale = 0;
  }
  ts.on = offered.timestamps && options.timestamps;
  if (ts.on) {
    ts.recent = offered.tsval;
    ts.recentAt = tcb.tcp.now;
  }
  tcb.sackOn = offered.sackPermitted && options.sack;
  rcv.mss = Math.min(receiveMss(tcb), DEFAULT_MSS_V4);
  // The window of our SYN is not scaled (RFC 7323 2.2).
  rcv.edge = seq.add(tcb.receiveBuffer.nxt, Math.min(65_535, options.receiveBufferLimit));
  setWindow(tcb, seg.wnd);
  snd.wl1 = seg.seq;
  snd.wl2 = seg.ack;
  sendMss(tcb);
}

// ---- 3.10.7.3 SYN-SENT

function synSent(tcb: Tcb, seg: Segment): Verdict {
  const { snd, tcp } = tcb;
  // First, check the ACK bit.
  if (isAck(seg) && (seq.leq(seg.ack, tcb.iss) || seq.gt(seg.ack, snd.nxt))) {
    if (!isRst(seg)) answerWithReset(tcp, seg, 'RST: acknowledges what was not sent');
    return 'bad ack';
  }
  // Second, check the RST bit: only one that acknowledges our SYN is believed (RFC 5961 3.2).
  if (isRst(seg)) {
    if (!isAck(seg)) return 'reset ignored';
    destroy(tcb, 'ECONNREFUSED');
    return undefined;
  }
  // Fourth, check the SYN bit. (Third is security: RFC 9293 A.1 has it obsolete.)
  if (!isSyn(seg)) return 'not synchronized';
  takeSyn(tcb, seg);
  if (!isAck(seg)) {
    // Simultaneous open (MUST-10, Figure 8): answer with a SYN,ACK.
    enter(tcb, 'SYN-RECEIVED');
    tcb.sendSyn = true;
    touch(tcb);
    return undefined;
  }
  snd.una = seg.ack;
  if (tcb.retries === 0) sampleHandshake(tcb);
  tcb.timedAt = NEVER;
  establish(tcb);
  // "an acknowledgment MUST be sent": now, so that the peer's accept does not wait for our first data.
  ackNow(tcb);
  takeOffSyn(tcb, seg);
  return textAndFin(tcb, seg);
}

function sampleHandshake(tcb: Tcb): void {
  if (tcb.timedAt !== NEVER) sample(tcb.rtt, tcb.tcp.now - tcb.timedAt);
  tcb.timedAt = NEVER;
}

/** Both SYNs are acknowledged: ESTABLISHED, timers of the handshake off, what the user queued may go. */
function establish(tcb: Tcb): void {
  const { tcp, options, snd, recovery } = tcb;
  const synLost = tcb.retries > 0;
  enter(tcb, 'ESTABLISHED');
  disarm(tcb, 'retransmit');
  tcb.sendSyn = false;
  tcb.retries = 0;
  tcb.troubleSince = NEVER;
  snd.small = snd.una;
  snd.up = snd.una;
  recovery.point = recovery.lostBelow = recovery.highRxt = snd.una;
  if (synLost) onSynRetransmitted(tcb.rtt);
  tcb.congestion.onEstablished(synLost);
  if (options.keepAlive.enabled) arm(tcb, 'keepAlive', tcp.now + options.keepAlive.idle);
  const { listener } = tcb;
  if (listener === undefined) {
    notify(tcb, CONNECTED);
  } else {
    listener.halfOpen.delete(tcb);
    listener.ready.push(tcb);
    if (!listener.eventful) {
      listener.eventful = true;
      tcp.eventfulListeners.push(listener);
    }
  }
  // A CLOSE that came too early takes effect now (3.10.4).
  if (tcb.finQueued) closeHalf(tcb);
  touch(tcb);
}

// ---- 3.10.7.4 the other states

/** Eight checks in the RFC's order; each says undefined to go on, or why the segment ends here. */
function otherwise(tcb: Tcb, seg: Segment): Verdict {
  if (tcb.state === 'TIME-WAIT' && reopens(tcb, seg)) {
    const listener = findListener(tcb.tcp, seg.packet!, seg.destinationPort);
    if (listener !== undefined) return reopen(tcb, listener, seg);
  }
  const unacceptable = checkSequence(tcb, seg);
  if (unacceptable !== undefined) return unacceptable;
  if (isRst(seg)) return takeReset(tcb, seg);
  // Third, check security: obsolete (RFC 9293 A.1).
  return checkSyn(tcb, seg) ?? checkAck(tcb, seg) ?? checkUrgent(tcb, seg) ?? textAndFin(tcb, seg);
}

/** First, check the sequence number; with timestamps, PAWS before it (RFC 7323 5.3). */
function checkSequence(tcb: Tcb, seg: Segment): Verdict {
  if (tcb.state === 'SYN-RECEIVED' && isSyn(seg) && !isRst(seg) && seg.seq === tcb.irs) {
    if (!isAck(seg)) {
      // The peer's SYN again: our SYN,ACK was lost.
      tcb.sendSyn = true;
      touch(tcb);
      return 'old duplicate';
    }
    takeOffSyn(tcb, seg);
  }
  if (tcb.ts.on && !isRst(seg)) {
    const stale = checkTimestamps(tcb, seg);
    if (stale !== undefined) return stale;
  }
  if (!isAcceptable(tcb, seg)) {
    if (!isRst(seg)) answerUnacceptable(tcb, seg);
    return seq.lt(seg.seq, tcb.receiveBuffer.nxt) ? 'old duplicate' : 'out of window';
  }
  tcb.lastReceived = tcb.tcp.now;
  return undefined;
}

/**
 * R3: the timestamp of a segment that holds the left edge is the one to echo (RFC 7323 4.3). Looked at only once the ACK field
 * has been found good: a blind guess into the window must not raise TS.Recent and so make PAWS refuse the true peer
 * (RFC 5961 5.2 keeps such a segment from everything else too).
 */
function noteTimestamp(tcb: Tcb, seg: Segment): void {
  const { ts } = tcb;
  if (
    ts.on &&
    seg.options.timestamps &&
    (seq.geq(seg.options.tsval, ts.recent) || isRecentOutdated(tcb)) &&
    seq.leq(seg.seq, ts.lastAckSent)
  ) {
    ts.recent = seg.options.tsval;
    ts.recentAt = tcb.tcp.now;
  }
}

/** Leaves of a segment what follows its SYN: in a simultaneous open the ACK is the news (Figure 8), else data or a FIN may be. */
function takeOffSyn(tcb: Tcb, seg: Segment): void {
  seg.flags &= ~SYN;
  seg.seq = seq.add(seg.seq, 1);
  seg.len -= 1;
  // The window of a SYN is never scaled (RFC 7323 2.2), that of what is left of it is.
  seg.wnd >>>= tcb.snd.scale;
}

function checkTimestamps(tcb: Tcb, seg: Segment): Verdict {
  // RFC 7323 3.2: "MUST be present in every non-RST segment … SHOULD silently drop" (hostile 87). A SYN gets its challenge all the
  // same: the peer may have forgotten us, and opens anew without timestamps (RFC 5961 4.2).
  if (!seg.options.timestamps) return isSyn(seg) ? undefined : 'paws';
  if (seq.geq(seg.options.tsval, tcb.ts.recent) || isRecentOutdated(tcb)) return undefined;
  // R1: an old segment of this or an earlier connection. "Send an acknowledgment in reply … and drop the segment."
  answerUnacceptable(tcb, seg);
  return 'paws';
}

/** RFC 7323 5.5: after so long a silence TS.Recent keeps nobody out; the first acceptable segment brings a new one. */
function isRecentOutdated(tcb: Tcb): boolean {
  return tcb.tcp.now - tcb.ts.recentAt > TS_RECENT_LIFE;
}

/** 3.4: the four cases of the acceptability test, in one: the segment must touch [RCV.NXT, RCV.NXT + RCV.WND). */
function isAcceptable(tcb: Tcb, seg: Segment): boolean {
  const { nxt } = tcb.receiveBuffer;
  const wnd = seq.sub(tcb.rcv.edge, nxt);
  if (seg.len === 0) {
    return wnd === 0 ? seg.seq === nxt : seq.geq(seg.seq, nxt) && seq.lt(seg.seq, tcb.rcv.edge);
  }
  const last = seq.add(seg.seq, seg.len - 1);
  // With a window of zero nothing that takes space is acceptable, but its ACK, RST and URG are still looked at (MUST-66).
  if (wnd === 0) return seg.seq === nxt && leaveText(tcb, seg);
  return seq.lt(seg.seq, tcb.rcv.edge) && seq.geq(last, nxt);
}

/** MUST-66: with RCV.WND zero, "special allowance should be made to accept valid ACKs, URGs, and RSTs". The text is left
 * where it is, and the probe is answered. */
function leaveText(tcb: Tcb, seg: Segment): boolean {
  if (!isRst(seg)) ackNow(tcb);
  seg.len = 0;
  seg.dataLength = 0;
  seg.flags &= ~FIN;
  return true;
}

/**
 * "an acknowledgment should be sent in reply": `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`. A repeated FIN in TIME-WAIT restarts
 * the 2·MSL (eighth check). Segments without data are answered sparingly: two hosts that disagree must not ACK for ever.
 */
function answerUnacceptable(tcb: Tcb, seg: Segment): void {
  if (tcb.state === 'TIME-WAIT' && isFin(seg)) restartTimeWait(tcb);
  if (seg.dataLength > 0) {
    noteDuplicate(tcb, seg);
    ackNow(tcb);
  } else {
    challenge(tcb, 'ACK: segment outside the window');
  }
}

/** A whole segment that we have: its range goes out as a D-SACK (RFC 2883 4). */
function noteDuplicate(tcb: Tcb, seg: Segment): void {
  const rb = tcb.receiveBuffer;
  if (!tcb.sackOn || !seq.lt(seg.seq, rb.nxt)) return;
  const right = seq.add(seg.seq, seg.dataLength);
  if (seq.leq(right, rb.nxt)) {
    rb.duplicateLeft = seg.seq;
    rb.duplicateRight = right;
  }
}

/** Second, check the RST bit, as RFC 5961 3.2 has it: exactly RCV.NXT, or it gets a challenge (hostile 92). */
function takeReset(tcb: Tcb, seg: Segment): Verdict {
  if (seg.seq !== tcb.receiveBuffer.nxt) {
    challenge(tcb, 'challenge ACK: RST inside the window');
    return 'reset ignored';
  }
  switch (tcb.state) {
    case 'SYN-RECEIVED':
      // MUST-11: a passive open goes back to LISTEN, and nobody is told; an active one was refused.
      destroy(tcb, 'ECONNREFUSED');
      return undefined;
    case 'TIME-WAIT':
      // RFC 1337 F1: a RST in TIME-WAIT is ignored, else an old duplicate could end the wait (hostile 101).
      return 'reset ignored';
    case 'CLOSING':
    case 'LAST-ACK':
      destroy(tcb, undefined);
      return undefined;
    default:
      destroy(tcb, 'ECONNRESET');
      return undefined;
  }
}

/** Fourth, check the SYN bit. */
function checkSyn(tcb: Tcb, seg: Segment): Verdict {
  if (!isSyn(seg)) return undefined;
  if (tcb.state === 'SYN-RECEIVED' && tcb.listener !== undefined) {
    // "If the connection was initiated with a passive OPEN, then return this connection to the LISTEN state."
    destroy(tcb, 'ECONNRESET');
    return 'bad flags';
  }
  // RFC 5961 4.2: whatever its sequence number, a challenge; only a peer that forgot us will answer with a RST.
  challenge(tcb, 'challenge ACK: SYN on an open connection');
  return 'bad flags';
}

/** Fifth, check the ACK field. */
function checkAck(tcb: Tcb, seg: Segment): Verdict {
  if (!isAck(seg)) return 'bad flags';
  if (tcb.state === 'SYN-RECEIVED') {
    const bad = acknowledgeSyn(tcb, seg);
    if (bad !== undefined) return bad;
  }
  const verdict = acknowledge(tcb, seg);
  if (verdict !== undefined) return verdict;
  noteTimestamp(tcb, seg);
  if (tcb.finAcked) afterFinAcked(tcb);
  return undefined;
}

function acknowledgeSyn(tcb: Tcb, seg: Segment): Verdict {
  const { snd, tcp } = tcb;
  // "If SND.UNA < SEG.ACK ≤ SND.NXT, then enter ESTABLISHED"; otherwise a reset.
  if (!seq.lt(snd.una, seg.ack) || !seq.leq(seg.ack, snd.nxt)) {
    answerWithReset(tcp, seg, 'RST: acknowledges what was not sent');
    return 'bad ack';
  }
  const { listener } = tcb;
  if (listener !== undefined && listener.ready.length >= listener.backlog) {
    // The queue is full: as if the ACK were lost. Our SYN,ACK goes again, and so will the ACK.
    tcp.counters.tcpListenDrops++;
    return 'backlog full';
  }
  if (tcb.retries === 0) sampleHandshake(tcb);
  tcb.timedAt = NEVER;
  // The SYN is one sequence number that no buffer holds.
  snd.una = seq.add(tcb.iss, 1);
  setWindow(tcb, seg.wnd * 2 ** snd.scale);
  snd.wl1 = seg.seq;
  snd.wl2 = seg.ack;
  establish(tcb);
  return undefined;
}

/** Our FIN is acknowledged: the states that waited for that move on. */
function afterFinAcked(tcb: Tcb): void {
  switch (tcb.state) {
    case 'FIN-WAIT-1':
      enter(tcb, 'FIN-WAIT-2');
      if (tcb.readClosed) arm(tcb, 'timeWait', tcb.tcp.now + ORPHAN_FIN_WAIT_2);
      return;
    case 'CLOSING':
      enterTimeWait(tcb);
      return;
    case 'LAST-ACK':
      destroy(tcb, undefined);
  }
}

/** Sixth, check the URG bit: RCV.UP moves only forward, and only as far as data can (hostile 79 to 83). */
function checkUrgent(tcb: Tcb, seg: Segment): Verdict {
  if (!isUrg(seg)) return undefined;
  const { state, rcv } = tcb;
  if (state !== 'ESTABLISHED' && state !== 'FIN-WAIT-1' && state !== 'FIN-WAIT-2') return undefined;
  // MUST-62: SEG.UP points to the octet after the urgent data.
  const up = seq.add(seg.seq, seg.up);
  if (seq.leq(up, tcb.receiveBuffer.nxt) || (rcv.urgent && seq.leq(up, rcv.up))) return undefined;
  rcv.up = up;
  rcv.urgent = true;
  notify(tcb, URGENT);
  return undefined;
}

/** A new SYN takes the place of a connection in TIME-WAIT; its ISS lies above all that the old one used. */
function reopen(tcb: Tcb, listener: Listener, seg: Segment): Verdict {
  enter(tcb, 'CLOSED');
  remove(tcb.tcp, tcb);
  return listening(listener, seg, tcb.snd.nxt);
}
