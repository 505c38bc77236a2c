// Timeouts: user, retransmission, zero window, keep-alive, delayed ACK, time-wait (RFC 9293 3.10.8, 3.8; RFC 6298 5).

import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { abort, destroy, unsentBytes } from './calls.ts';
import { onTimeout } from './recovery.ts';
import { backoff } from './rtt.ts';
import { ackNow, arm, enter, notify, SOFT_ERROR, type Tcb, touch } from './tcb.ts';
import { remove } from './tcp.ts';

/** R1: after this many retransmissions IP is asked for another way (MUST-20, SHLD-10: at least 3). */
const R1 = 3;
/** R2 for a SYN (MUST-23: at least 3 minutes). */
const R2_SYN: Micros = 180 * SECOND;
/** Longest wait between zero-window probes. */
const MOST_PERSIST: Micros = 60 * SECOND;

/** The connection's timer fired: carries out what is due, then waits for the next. */
export function expire(tcb: Tcb, now: Micros): void {
  const { at } = tcb;
  if (at.delayedAck <= now) {
    at.delayedAck = NEVER;
    // SHLD-18, MUST-40
    ackNow(tcb);
  }
  if (at.retransmit <= now) retransmit(tcb, now);
  if (at.persist <= now) persist(tcb, now);
  if (at.keepAlive <= now) keepAlive(tcb, now);
  if (at.pace <= now) {
    at.pace = NEVER;
    touch(tcb);
  }
  if (at.timeWait <= now) endWait(tcb);
  if (tcb.state === 'CLOSED') return;
  const next = Math.min(at.delayedAck, at.retransmit, at.persist, at.keepAlive, at.timeWait, at.pace);
  if (next !== NEVER) tcb.tcp.timers.set(tcb.timer, next);
}

/** RETRANSMISSION TIMEOUT: "send the segment at the front of the retransmission queue again" (RFC 6298 5.4 to 5.7). */
function retransmit(tcb: Tcb, now: Micros): void {
  tcb.at.retransmit = NEVER;
  const opening = tcb.state === 'SYN-SENT' || tcb.state === 'SYN-RECEIVED';
  if (tcb.snd.una === tcb.snd.nxt && !opening) return;
  if (tcb.troubleSince === NEVER) tcb.troubleSince = now - tcb.rtt.rto;
  if (givesUp(tcb, now, opening)) return;
  tcb.retries++;
  tcb.expiredAt = now;
  tcb.stats.timeouts++;
  tcb.tcp.counters.tcpTimeouts++;
  if (tcb.retries === R1) reachR1(tcb);
  // Karn: what is sent again cannot be timed.
  tcb.timedAt = NEVER;
  if (opening) tcb.sendSyn = true;
  else onTimeout(tcb);
  backoff(tcb.rtt);
  arm(tcb, 'retransmit', now + tcb.rtt.rto);
  touch(tcb);
}

/** USER TIMEOUT, R2 (MUST-20, MUST-23): the connection is given up, with the soft error that explains it if there is one. */
function givesUp(tcb: Tcb, now: Micros, opening: boolean): boolean {
  const limit = opening ? R2_SYN : tcb.options.userTimeout;
  const since = now - tcb.troubleSince;
  // A SYN that ICMP keeps calling undeliverable is not tried for three minutes: MUST-56 forbids believing the first one, and
  // RFC 5461 3.1 tells why not to wait for the last.
  const reported = tcb.softError !== undefined && tcb.softError !== 'ETIMEDOUT';
  const hopeless = opening && reported && tcb.retries >= R1;
  if (since < limit && !hopeless) return false;
  destroy(tcb, tcb.softError ?? 'ETIMEDOUT');
  return true;
}

/** R1 (MUST-20): negative advice to IP, which is asked for the way anew; and the user may hear of it (SHLD-9). */
function reachR1(tcb: Tcb): void {
  const path = tcb.tcp.ip.path(tcb.remote, tcb.local, tcb.remote.zone);
  if (typeof path !== 'string') tcb.path = path;
  tcb.softError ??= 'ETIMEDOUT';
  notify(tcb, SOFT_ERROR);
}

/** 3.8.6.1: the window is closed and something waits. Probes back off (SHLD-30) and go on as long as they are answered (MUST-37). */
function persist(tcb: Tcb, now: Micros): void {
  tcb.at.persist = NEVER;
  const waiting = unsentBytes(tcb) > 0 || (tcb.finQueued && !tcb.finSent);
  if (!waiting) return;
  if (tcb.snd.wnd > 0) {
    // 3.8.6.2.1: the override timeout of the sender's silly window avoidance.
    tcb.override = true;
    touch(tcb);
    return;
  }
  if (tcb.troubleSince === NEVER) tcb.troubleSince = now;
  if (now - tcb.troubleSince >= tcb.options.userTimeout) {
    abort(tcb, 'ETIMEDOUT');
    return;
  }
  tcb.probeNow = 'window';
  tcb.probeBackoff = Math.min(tcb.probeBackoff + 1, 12);
  arm(tcb, 'persist', now + persistInterval(tcb));
  touch(tcb);
}

/** SHLD-29: the first probe after one RTO. */
export function persistInterval(tcb: Tcb): Micros {
  return Math.min(tcb.rtt.base * 2 ** tcb.probeBackoff, MOST_PERSIST);
}

/** 3.8.4: only when nothing is outstanding and nothing was heard for the interval (MUST-26); one silence is no death (MUST-29). */
function keepAlive(tcb: Tcb, now: Micros): void {
  tcb.at.keepAlive = NEVER;
  const { enabled, idle, interval, count } = tcb.options.keepAlive;
  if (!enabled) return;
  const due = tcb.lastReceived + idle;
  if (now < due || tcb.snd.una !== tcb.snd.nxt) {
    tcb.probes = 0;
    arm(tcb, 'keepAlive', Math.max(due, now + interval));
    return;
  }
  if (tcb.probes >= count) {
    destroy(tcb, tcb.softError ?? 'ETIMEDOUT');
    return;
  }
  tcb.probes++;
  tcb.probeNow = 'keep-alive';
  arm(tcb, 'keepAlive', now + interval);
  touch(tcb);
}

/** TIME-WAIT TIMEOUT: "delete the TCB, enter the CLOSED state". Also the end of a closed user's wait in FIN-WAIT-2. */
function endWait(tcb: Tcb): void {
  tcb.at.timeWait = NEVER;
  if (tcb.state === 'TIME-WAIT') {
    enter(tcb, 'CLOSED');
    remove(tcb.tcp, tcb);
  } else {
    destroy(tcb, undefined);
  }
}
