// What a congestion controller answers to (RFC 5681 3, RFC 6928, RFC 3465, RFC 7661, RFC 5033's room for others).
//
// A controller decides how much may be under way (`cwnd`), and if it likes how fast (`pacingRate`). It knows nothing of
// sequence numbers, SACK or timers: recovery.ts decides *what* was lost and tells it *that* something was. All sizes are in
// bytes. `inFlight` is what RFC 6675 calls pipe, before the event at hand, or at a loss FlightSize (RFC 5681 2).

import type { Micros } from '../base/time.ts';
import type { DeliverySample } from './delivery.ts';

/** A controller of one connection. The caller reads `cwnd` after each call; the calls do not allocate. */
export interface CongestionController {
  /** As in TCP_CONGESTION: `newreno`, `cubic`, `bbr`. */
  readonly name: CongestionName;
  /** Congestion window, in bytes, never below one segment. During fast recovery the caller (RFC 6937) may send less or more. */
  readonly cwnd: number;
  /** Slow start threshold, in bytes; Infinity until the first loss (RFC 5681 3.1: arbitrarily high). */
  readonly ssthresh: number;
  /** Bytes a second to spread sending over; 0 asks for no pacing. */
  readonly pacingRate: number;
  /**
   * True for a controller that steers by a model of the path, not by its losses: it wants {@link onDelivery}, and its `cwnd` holds
   * in fast recovery too, so that no other algorithm may take its place there (RFC 6937).
   */
  readonly modelBased: boolean;
  /** SMSS changed: the handshake is done, or the path's MTU is another. */
  setMss(mss: number): void;
  /**
   * The connection is established, before any data is sent. `synLost`: a SYN or SYN-ACK had to be sent again, so the window
   * starts at one segment (RFC 6928 2, RFC 5681 3.1).
   */
  onEstablished(synLost: boolean): void;
  /**
   * `acked` bytes of new data were acknowledged, outside fast recovery. `rtt` is the sample this ACK gave, 0 if none.
   * `limited`: the window, not the user or the peer, held sending back; otherwise cwnd says nothing about the path and must
   * not grow (RFC 7661 4.4, RFC 9438 5.8).
   */
  onAck(acked: number, rtt: Micros, inFlight: number, now: Micros, limited: boolean): void;
  /**
   * An ACK or a SACK, in whatever phase, told of bytes that arrived. Only for {@link modelBased} controllers. `inFlight` is what
   * is left under way. The sample is reused: read it, do not keep it.
   */
  onDelivery(sample: DeliverySample, inFlight: number, now: Micros): void;
  /** Loss was detected by duplicate ACKs or SACK, or the peer echoed congestion (RFC 3168 6.1.2): once a window. */
  onLoss(inFlight: number): void;
  /** Everything that was under way at {@link onLoss} or {@link onTimeout} is acknowledged. */
  onRecoveryExit(inFlight: number): void;
  /** The retransmission timer expired; `again` when it had expired for the same data before (RFC 5681 3.1, equation 4). */
  onTimeout(inFlight: number, again: boolean): void;
  /** The last {@link onLoss} or {@link onTimeout} was no loss after all (RFC 3522, 5682, 2883): what it took is given back. */
  onSpurious(): void;
  /** Sending starts again after `idle` microseconds, more than an RTO, with nothing under way (RFC 7661 4.4, RFC 5681 4.1). */
  onIdle(idle: Micros, now: Micros): void;
}

/** The controllers that there are (controllers.ts makes them). */
export type CongestionName = 'cubic' | 'newreno' | 'bbr';

/** IW (RFC 6928 2): ten segments, but no more than 14600 bytes unless two segments are more. */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14600));
}

/**
 * L: what one ACK may add in slow start, in bytes: four super-frames. Deviates: RFC 3465 2.3 sets it to two segments, RFC 9406
 * to eight, against bursts after a stretch ACK. We send up to 64 KB in one frame, and the peer answers a batch of frames with
 * one ACK: with L of two segments slow start would be slow indeed. Such an ACK lets out what a few super-frames let out anyway.
 * Counting bytes, not ACKs, is what defeats ACK division (hostile 100).
 */
export const SLOW_START_LIMIT = 4 * 65_536;
