// Challenge ACKs: the answer to segments that only a confused or a blind sender would send (RFC 5961 3.2, 4.2, 5.2, 7).

import { below } from '../base/random.ts';
import { SECOND } from '../base/time.ts';
import { ackNow, type Tcb } from './tcb.ts';

/**
 * RFC 5961 7 asks for a limit and suggests ten in five seconds. A limit shared by all connections can be watched from
 * outside (CVE-2016-5696, hostile 67), so ours is kept by each connection and its size is random.
 */
const LEAST_PER_SECOND = 5;
const SPREAD = 10;

/** Asks for a challenge ACK, if this connection has not sent too many of late. */
export function challenge(tcb: Tcb, note: string): void {
  const { tcp } = tcb;
  if (tcp.now - tcb.challengesSince >= SECOND) {
    tcb.challengesSince = tcp.now;
    tcb.challenges = LEAST_PER_SECOND + below(tcp.random, SPREAD);
  }
  if (tcb.challenges === 0) return;
  tcb.challenges--;
  tcp.counters.tcpChallengeAcks++;
  if (tcp.trace.on) tcp.trace.note(note);
  ackNow(tcb);
}
