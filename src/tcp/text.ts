// Seventh and eighth check of SEGMENT ARRIVES: the segment's text into the receive buffer, its ACK, and the FIN (RFC 9293 3.10.7.4).

import type { Verdict } from '../base/drop.ts';
import { NEVER } from '../base/time.ts';
import { destroy, resetPeer } from './calls.ts';
import {
  ADVANCED,
  DUPLICATE,
  dataEnd,
  FILLED,
  insert as insertBytes,
  KEPT,
  OUT_OF_ORDER,
} from './receive-buffer.ts';
import { isFin, type Segment } from './segment.ts';
import * as seq from './seq.ts';
import { ackNow, arm, enter, notify, READABLE, type Tcb } from './tcb.ts';
import { enterTimeWait, restartTimeWait } from './time-wait.ts';

/** Seventh, process the segment text; eighth, check the FIN bit. */
export function textAndFin(tcb: Tcb, seg: Segment): Verdict {
  // "This should not occur since a FIN has been received from the remote side. Ignore the segment text."
  const { state } = tcb;
  if (state === 'CLOSED') return undefined;
  if (state !== 'ESTABLISHED' && state !== 'FIN-WAIT-1' && state !== 'FIN-WAIT-2') {
    if (state === 'TIME-WAIT' && isFin(seg)) restartTimeWait(tcb);
    if (seg.len > 0) ackNow(tcb);
    return undefined;
  }
  if (seg.dataLength > 0) {
    if (tcb.readClosed && seq.gt(seq.add(seg.seq, seg.dataLength), tcb.receiveBuffer.nxt)) {
      // SHLD-3: the user closed and will never read this; the peer must learn that it is lost. (Data that came before does no
      // harm when it comes again, with a FIN behind it, say.)
      resetPeer(tcb, 'RST: data after close');
      destroy(tcb, 'ECONNRESET');
      return 'closed';
    }
    takeText(tcb, seg);
  }
  if (isFin(seg)) noteFin(tcb, seg);
  if (tcb.finAt >= 0 && tcb.receiveBuffer.nxt === tcb.finAt) takeFin(tcb);
  return undefined;
}

/** Data into the receive buffer; decides how soon it is acknowledged. */
function takeText(tcb: Tcb, seg: Segment): void {
  const { rcv, receiveBuffer: rb, tcp } = tcb;
  const before = rb.nxt;
  const had = rb.readable;
  // Nothing after a FIN is part of the stream (hostile 104).
  const edge = tcb.finAt >= 0 ? seq.min(rcv.edge, tcb.finAt) : rcv.edge;
  const what = insertBytes(rb, seg.seq, seg.slab, seg.dataAt, seg.dataLength, edge);
  if ((what & KEPT) !== 0) seg.packet!.pinned = true;
  const size = seg.gsoSize > 0 ? seg.gsoSize : seg.dataLength;
  if (size > rcv.mss) rcv.mss = size;
  if ((what & ADVANCED) !== 0) {
    const fresh = seq.sub(rb.nxt, before);
    tcb.stats.bytesIn += fresh;
    rcv.unacked += fresh;
    rcv.unackedSegments++;
    if (rcv.urgent && seq.geq(rb.nxt, rcv.up)) rcv.urgent = false;
    if (had === 0 || rb.readable > had) notify(tcb, READABLE);
  }
  if ((what & (OUT_OF_ORDER | FILLED | DUPLICATE)) !== 0) {
    // RFC 5681 4.2: out-of-order data, and what fills a gap, is acknowledged at once; and what came twice, so that the D-SACK
    // tells the sender while it can still undo what it took for a loss (RFC 2883 4).
    if ((what & OUT_OF_ORDER) !== 0) tcp.counters.tcpOutOfOrderSegs++;
    ackNow(tcb);
  } else if ((what & ADVANCED) === 0 || isAckDue(tcb)) {
    ackNow(tcb);
  } else if (tcb.at.delayedAck === NEVER) {
    // SHLD-18
    arm(tcb, 'delayedAck', tcp.now + tcp.config.delayedAck);
  }
}

/** SHLD-19: at least every second full-sized segment. Some acknowledge every second one whatever its size, some every one. */
function isAckDue({ rcv, tcp: { config } }: Tcb): boolean {
  if (rcv.unacked >= 2 * rcv.mss || config.delayedAck === 0) return true;
  return config.countsSmallSegments && rcv.unackedSegments >= 2;
}

/** Remembers where the stream ends. A FIN that contradicts an earlier one, or data that is held, is ignored (hostile 104). */
function noteFin(tcb: Tcb, seg: Segment): void {
  const at = seq.add(seg.seq, seg.dataLength);
  if (tcb.finAt < 0 && seq.geq(at, dataEnd(tcb.receiveBuffer))) tcb.finAt = at;
  if (tcb.receiveBuffer.nxt !== tcb.finAt) ackNow(tcb);
}

/** The FIN is reached: RCV.NXT passes over it, the user is told, the state moves on. */
function takeFin(tcb: Tcb): void {
  const rb = tcb.receiveBuffer;
  rb.nxt = seq.add(rb.nxt, 1);
  tcb.finAt = -1;
  tcb.receiveEnded = true;
  if (seq.lt(tcb.rcv.edge, rb.nxt)) tcb.rcv.edge = rb.nxt;
  ackNow(tcb);
  notify(tcb, READABLE);
  switch (tcb.state) {
    case 'ESTABLISHED':
      enter(tcb, 'CLOSE-WAIT');
      return;
    case 'FIN-WAIT-1':
      // Had our FIN been acknowledged by this segment, the fifth check would have made it FIN-WAIT-2.
      enter(tcb, 'CLOSING');
      return;
    case 'FIN-WAIT-2':
      enterTimeWait(tcb);
  }
}
