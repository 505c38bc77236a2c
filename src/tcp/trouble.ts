// What a connection remembers once something went wrong: made at its first SACK, loss, probe or echo of congestion.
//
// Most connections of a host never see any of these, and own none of it.

import { type Micros, NEVER } from '../base/time.ts';
import type { Tcb } from './tcb.ts';

export interface Trouble {
  // RACK (RFC 8985 5.3)
  reorderingSeen: boolean;
  /** RACK.reo_wnd_mult, RACK.reo_wnd_persist */
  reoWndMult: number;
  reoWndPersist: number;
  /** RACK.dsack_round; −1 for none. */
  dsackRound: number;
  /** RACK.min_RTT: the least of this stretch of time, the least of the one before, and when this one began. */
  minRtt: Micros;
  minRttBefore: Micros;
  minRttSince: Micros;

  // TLP (RFC 8985 5.3)
  /** TLP.end_seq, −1 for none; TLP.is_retrans */
  tlpEnd: number;
  tlpIsRetrans: boolean;
  /** FlightSize when the probe went out. */
  tlpFlight: number;
  /** Output is to send a probe. */
  tlpDue: boolean;
  /** A round trip was measured since the last probe. */
  sampled: boolean;

  // PRR (RFC 6937 3)
  prrDelivered: number;
  prrOut: number;
  /** RecoverFS; 0 when PRR is not at work. */
  recoverFs: number;
  /** sndcnt, less what was sent since: bytes that may go out now. */
  budget: number;
  /** A retransmission was lost since the last ACK with progress: the conservative bound holds. */
  conservative: boolean;

  // This episode of recovery
  /** The first retransmission is still to be sent, whatever the window. */
  mustResend: boolean;
  /** When the last reduction was made: what was sent after it and is lost is a new sign of congestion. */
  reducedAt: Micros;
  /** Bytes sent again and not reported as needless; −1 when it cannot be undone any more. */
  undoBytes: number;
  /** SND.UNA when the episode began: D-SACKs below it are about something else. */
  undoFrom: number;
  /** When the first retransmission went out (RetransmitTS of RFC 3522); NEVER when it is not awaited or was answered. */
  resentAt: Micros;
  /** The episode began with a timeout. */
  afterTimeout: boolean;
  /** Step of F-RTO (RFC 5682): 0 off, 1 an ACK is awaited, 2 the second is. */
  frto: 0 | 1 | 2;
  /** End of the segment that the RTO sent again. */
  frtoEnd: number;
  /** highest_ack less prev_highest_ack (RFC 6582 4.1). */
  lastAcked: number;
  /** A D-SACK was received on this connection (RFC 3522 3.2 (5)). */
  dsackSeen: boolean;
}

/** The trouble of a connection, from now on if it had none. */
export function troubleOf(tcb: Tcb): Trouble {
  const { recovery, rtt, tcp } = tcb;
  recovery.trouble ??= {
    reorderingSeen: false,
    reoWndMult: 1,
    reoWndPersist: 0,
    dsackRound: -1,
    minRtt: rtt.minRtt === 0 ? Number.POSITIVE_INFINITY : rtt.minRtt,
    minRttBefore: Number.POSITIVE_INFINITY,
    minRttSince: tcp.now,
    tlpEnd: -1,
    tlpIsRetrans: false,
    tlpFlight: 0,
    tlpDue: false,
    sampled: true,
    prrDelivered: 0,
    prrOut: 0,
    recoverFs: 0,
    budget: 0,
    conservative: false,
    mustResend: false,
    reducedAt: Number.NEGATIVE_INFINITY,
    undoBytes: -1,
    undoFrom: 0,
    resentAt: NEVER,
    afterTimeout: false,
    frto: 0,
    frtoEnd: 0,
    lastAcked: 0,
    dsackSeen: false,
  };
  return recovery.trouble;
}
