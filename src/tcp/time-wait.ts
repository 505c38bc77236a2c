// TIME-WAIT: how a connection enters it, how long it stays, and which SYN may take its place (RFC 9293 3.6.1, RFC 6191).

import { clear as clearReceiveBuffer } from './receive-buffer.ts';
import { isAck, isFin, isRst, isSyn, type Segment } from './segment.ts';
import * as seq from './seq.ts';
import { arm, CLOSED, disarm, enter, notify, type Tcb } from './tcb.ts';
import { remove } from './tcp.ts';

/** "start the time-wait timer, turn off the other timers." The oldest leave early when there are too many. */
export function enterTimeWait(tcb: Tcb): void {
  const { tcp } = tcb;
  enter(tcb, 'TIME-WAIT');
  disarm(tcb, 'retransmit');
  disarm(tcb, 'persist');
  disarm(tcb, 'keepAlive');
  if (tcb.readClosed) clearReceiveBuffer(tcb.receiveBuffer);
  restartTimeWait(tcb);
  tcp.timeWait.add(tcb);
  notify(tcb, CLOSED);
  if (tcp.timeWait.size <= tcp.config.timeWaitLimit) return;
  const oldest = tcp.timeWait.oldest!;
  enter(oldest, 'CLOSED');
  remove(tcp, oldest);
}

/** 2·MSL from now (MUST-13), also when the peer's FIN comes again. */
export function restartTimeWait(tcb: Tcb): void {
  arm(tcb, 'timeWait', tcb.tcp.now + 2 * tcb.tcp.config.msl);
}

/** MAY-2: a new SYN may reopen the connection if no old segment can be taken for one of its own (RFC 6191, RFC 1122 4.2.2.13). */
export function reopens(tcb: Tcb, seg: Segment): boolean {
  if (!isSyn(seg) || isAck(seg) || isRst(seg) || isFin(seg)) return false;
  const { ts } = tcb;
  if (ts.on && seg.options.timestamps && seg.options.tsval !== ts.recent) {
    return seq.gt(seg.options.tsval, ts.recent);
  }
  return seq.gt(seg.seq, tcb.receiveBuffer.nxt);
}
