// Explicit congestion notification: a router marks instead of dropping, and the peer tells (RFC 3168 6.1).
//
//   sender   ── data, ECT(0) ──▶ router: CE ──▶  receiver
//            ◀───────── ACK, ECE … ACK, ECE ───            until
//            ── data, CWR ─────────────────────▶           the window has been reduced

import { CWR, ECE, SYN } from './header.ts';
import { CE, isSyn, type Segment } from './segment.ts';
import type { Tcb } from './tcb.ts';

/** Every SYN that we sent was an ECN-setup SYN. */
const ASKED = 1;
/** Both sides will. */
const AGREED = 2;
/** CE was seen: ECE on every ACK until CWR comes. */
const ECHOING = 4;
/** The window was reduced: CWR on the next new data. */
const REDUCED = 8;

/** The codepoint of data that is sent for the first time. "When only one ECT codepoint is needed … ECT(0) SHOULD be used." */
const ECT0 = 2;
/** SYNs that ask for ECN before one that does not, for paths that drop them (6.1.1.1). */
const ASK_TIMES = 2;

/** 6.1.1: the flags of our SYN: "an ECN-setup SYN packet" has ECE and CWR. */
export function synFlags(tcb: Tcb): number {
  if (!tcb.options.ecn || tcb.retries >= ASK_TIMES) {
    tcb.ecn = 0;
    return SYN;
  }
  tcb.ecn |= ASKED;
  return SYN | ECE | CWR;
}

/** 6.1.1: "an ECN-setup SYN-ACK packet" has ECE alone. */
export function synAckFlags(tcb: Tcb): number {
  return isAgreed(tcb) ? SYN | ECE : SYN;
}

/**
 * A SYN without ACK: to a listener, again, or crossing ours. Only if it asks, and none before it or of ours did not (6.1.1).
 */
export function takeSyn(tcb: Tcb, seg: Segment, first: boolean): void {
  const asks = (seg.flags & (ECE | CWR)) === (ECE | CWR);
  const willing = first ? tcb.state !== 'SYN-SENT' || (tcb.ecn & ASKED) !== 0 : isAgreed(tcb);
  tcb.ecn = asks && willing ? AGREED : 0;
}

/** A SYN,ACK: with ECE and without CWR. Both set are our own flags thrown back by a faulty peer (6.1.1.2). */
export function takeSynAck(tcb: Tcb, seg: Segment): void {
  const agrees = (seg.flags & (ECE | CWR)) === ECE;
  tcb.ecn = agrees && (tcb.ecn & ASKED) !== 0 ? AGREED : 0;
}

export function isAgreed(tcb: Tcb): boolean {
  return (tcb.ecn & AGREED) !== 0;
}

// ---- the receiver (6.1.3)

/**
 * A segment with data that is inside the window: CWR ends the echo, CE begins it. Outside the window CE says nothing: anybody could
 * send that (6.1.5).
 */
export function takeMark(tcb: Tcb, seg: Segment): void {
  if (tcb.ecn === 0 || !isAgreed(tcb) || seg.dataLength === 0 || isSyn(seg)) return;
  if ((seg.flags & CWR) !== 0) tcb.ecn &= ~ECHOING;
  if (seg.ecn === CE) tcb.ecn |= ECHOING;
}

/** ECE, on every ACK that we send while it is due. */
export function echo(tcb: Tcb): number {
  return (tcb.ecn & ECHOING) !== 0 ? ECE : 0;
}

// ---- the sender (6.1.2)

/** The peer echoes congestion. */
export function isEcho(tcb: Tcb, seg: Segment): boolean {
  return tcb.ecn !== 0 && isAgreed(tcb) && (seg.flags & (ECE | SYN)) === ECE;
}

/** "When an ECN-Capable TCP sender reduces its congestion window for any reason": the peer will be told. */
export function noteReduced(tcb: Tcb): void {
  if (isAgreed(tcb)) tcb.ecn |= REDUCED;
}

/** True while the peer has not been told of the last reduction yet. */
export function isReductionUntold(tcb: Tcb): boolean {
  return (tcb.ecn & REDUCED) !== 0;
}

/** The flags of a segment of new data: CWR on the first after a reduction. */
export function dataFlags(tcb: Tcb): number {
  if ((tcb.ecn & REDUCED) === 0) return 0;
  tcb.ecn &= ~REDUCED;
  return CWR;
}

/**
 * The ECN field of a segment of ours. ECT is for new data alone: not for what is sent again, nor probes, nor bare ACKs, nor SYNs
 * (6.1.1, 6.1.4 to 6.1.6).
 */
export function codepoint(tcb: Tcb, isNewData: boolean): number {
  return isNewData && isAgreed(tcb) ? ECT0 : 0;
}
