// Was it a loss at all? F-RTO (RFC 5682), the Eifel detection (RFC 3522), and D-SACK (RFC 2883 5, RFC 3708).
//
// Three ways to learn that what was sent again had only been late. The echoed timestamp tells with the first ACK; F-RTO, for
// timeouts, with the second, by sending something new in between and seeing whether the old still arrives; a D-SACK for each byte that
// was sent again tells it last of all, a round trip later.

import { NEVER } from '../base/time.ts';
import { news } from './rack.ts';
import type { Segment } from './segment.ts';
import * as seq from './seq.ts';
import { type Tcb, timestampAt } from './tcb.ts';
import type { Trouble } from './trouble.ts';

/** Recovery begins: nothing was sent again yet. */
export function startEpisode(tcb: Tcb, t: Trouble): void {
  t.mustResend = true;
  t.undoBytes = 0;
  t.undoFrom = tcb.snd.una;
  t.resentAt = NEVER;
  t.afterTimeout = false;
  t.frto = 0;
}

/** `bytes` were sent again. */
export function noteResent(tcb: Tcb, t: Trouble, bytes: number): void {
  // RFC 3522 3.2 (2): RetransmitTS is the timestamp of the first retransmission; later ones do not overwrite it.
  if (t.mustResend && t.undoBytes === 0) t.resentAt = tcb.tcp.now;
  t.mustResend = false;
  if (t.undoBytes >= 0) t.undoBytes += bytes;
}

/**
 * RFC 5682 2.1, 3.1 step 1: the RTO expired, and the segment that ends at `end` goes again. Not while another recovery is under
 * way, but when the timer expires again for the same segment.
 */
export function startFrto(t: Trouble, end: number): void {
  t.frto = 1;
  t.frtoEnd = end;
}

/**
 * Steps 2 and 3, on an ACK during the recovery: true when the timeout was spurious. `acked` bytes of progress; `mayBeNew` when
 * there is new data that the peer's window takes.
 */
export function judgeTimeout(
  tcb: Tcb,
  t: Trouble,
  acked: number,
  duplicate: boolean,
  mayBeNew: boolean,
): boolean {
  const { snd, recovery } = tcb;
  if (t.frto === 1) {
    if (acked > 0) {
      // 2a: it covers all that was out, or not even what went again. 2b: two new segments, and the next ACK will tell.
      const inside = seq.lt(snd.una, recovery.point) && seq.geq(snd.una, t.frtoEnd);
      t.frto = inside && mayBeNew ? 2 : 0;
      t.budget = 2 * snd.mss;
    } else if (duplicate && !tcb.sackOn) {
      t.frto = 0;
    }
    return false;
  }
  if (t.frto === 2 && (acked > 0 || duplicate || news.original)) {
    t.frto = 0;
    // 3a: slow start goes on, as if the window were three segments by now: two new ones, and one that is lost.
    t.mustResend = true;
    // 3b: something arrived that was never sent again. With SACK, nothing that was sent after the timeout may have (3.1, 3a).
    return news.original && (tcb.sackOn ? seq.leq(news.fack, recovery.point) : acked > 0);
  }
  return false;
}

/**
 * RFC 3522 3.2 (4) to (6), on the first ACK with progress after the first retransmission: true when it echoes an older
 * timestamp, so that it was the original that arrived.
 */
export function judgeByTimestamp(tcb: Tcb, t: Trouble, seg: Segment): boolean {
  if (t.resentAt === NEVER) return false;
  const sentAt = t.resentAt;
  t.resentAt = NEVER;
  const { options } = seg;
  if (!tcb.ts.on || !options.timestamps || options.tsecr === 0) return false;
  if (!seq.lt(options.tsecr, timestampAt(tcb, sentAt))) return false;
  // (5): a D-SACK here, or an ACK for everything from a peer that never sent one, may be the answer to a duplicate.
  return !news.dsack && (t.dsackSeen || tcb.snd.una !== tcb.snd.nxt);
}

/** RFC 3708 2: true when a D-SACK has told of every byte that was sent again: none of it was needed. */
export function judgeByDsack(t: Trouble): boolean {
  if (!news.dsack || t.undoBytes <= 0 || seq.lt(news.dsackLeft, t.undoFrom)) return false;
  t.undoBytes -= seq.sub(news.dsackRight, news.dsackLeft);
  return t.undoBytes <= 0;
}
