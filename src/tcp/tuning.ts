// Buffers that fit the path: the receive window grows with what the application takes in a round trip (Fisk and Feng, "Dynamic
// Right-Sizing in TCP", 2001; as Linux has it), the send buffer with the congestion window (Semke, Mahdavi and Mathis, 1998).
//
// Nobody has to know the bandwidth-delay product: a connection starts with `receiveBufferLimit` and `sendBufferLimit` and may grow
// to `receiveBufferMax` and `sendBufferMax`. What all connections grew by together stays below the stack's `tuningLimit`.

import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Segment } from './segment.ts';
import * as seq from './seq.ts';
import type { Tcb } from './tcb.ts';

/** State of one connection. */
export interface Tuning {
  /** Round trip as the receiving side sees it, 0 while unknown; and the echo it was measured from last. */
  rtt: Micros;
  echo: number;
  /** The measurement under way: since when and how many bytes, what the user took in it; and the most that it took in one. */
  since: Micros;
  arrived: number;
  taken: number;
  most: number;
  /** What this connection grew by: goes back to the stack's budget when it ends. */
  granted: number;
}

export function createTuning(): Tuning {
  return { rtt: 0, echo: 0, since: 0, arrived: 0, taken: 0, most: 0, granted: 0 };
}

/** Segments on top of what a round trip's worth needs. */
const SPARE_SEGMENTS = 16;
/** Timestamps tick once a millisecond: nothing shorter can be measured. */
const TICK: Micros = MILLISECOND;
/**
 * Below this the limits stay. They let several Gbit/s through as they are; and on so short a path it is our own buffer that makes
 * round trips long: a larger one would be filled, make them longer, and move the bytes out of the processor's caches.
 */
const LEAST_RTT: Micros = 2 * MILLISECOND;

/**
 * A data segment echoes a timestamp of ours (RFC 7323 4.1): the time since is a round trip, or longer if the peer had nothing to
 * send, so the least is believed. `clock` is our timestamp clock now.
 */
export function noteEcho(tcb: Tcb, seg: Segment, clock: number): void {
  const { tuning } = tcb;
  const { tsecr } = seg.options;
  if (!seg.options.timestamps || tsecr === tuning.echo) return;
  tuning.echo = tsecr;
  const rtt = Math.max(TICK, seq.sub(clock, tsecr) * MILLISECOND);
  if (tuning.rtt === 0 || rtt < tuning.rtt) tuning.rtt = rtt;
}

/** The user took `n` bytes. Once a round trip the window is made large enough for twice what it took in the last one. */
export function tuneReceive(tcb: Tcb, n: number): void {
  const { tuning, options, tcp } = tcb;
  if (options.receiveBufferLimit >= options.receiveBufferMax) return;
  tuning.taken += n;
  const round = leastRtt(tcb);
  const elapsed = tcp.now - tuning.since;
  if (round < LEAST_RTT || elapsed < round) return;
  // A gap that is filled sets free at once what came in several round trips: no more than came in this one counts.
  const arrived = tcb.stats.bytesIn + tcb.receiveBuffer.outOfOrderBytes;
  const taken = (Math.min(tuning.taken, arrived - tuning.arrived) * round) / elapsed;
  const { most } = tuning;
  tuning.since = tcp.now;
  tuning.arrived = arrived;
  tuning.taken = 0;
  if (taken <= most) return;
  tuning.most = taken;
  // Twice, because a sender in slow start sends twice as much in the next round trip; and if it is already growing, by as much
  // again, since the window that we offer now holds for the round trip after that.
  const growing = most > 0 ? Math.min(taken / most, 2) : 2;
  const wanted = Math.ceil(2 * taken * growing) + SPARE_SEGMENTS * tcb.rcv.mss;
  const limit = Math.min(wanted, options.receiveBufferMax);
  options.receiveBufferLimit += grant(tcb, limit - options.receiveBufferLimit);
}

/** The least round trip that this end has seen, as a sender (the handshake's, if nothing else) or as a receiver; 0 if none. */
function leastRtt({ rtt, tuning }: Tcb): Micros {
  if (rtt.minRtt === 0 || tuning.rtt === 0) return Math.max(rtt.minRtt, tuning.rtt);
  return Math.min(rtt.minRtt, tuning.rtt);
}

/** The user wants to send more than the buffer takes: two congestion windows, one under way and one that waits, must fit. */
export function tuneSend(tcb: Tcb): void {
  const { options, sendBuffer, congestion } = tcb;
  const limit = Math.min(2 * congestion.cwnd, options.sendBufferMax);
  if (limit <= options.sendBufferLimit || leastRtt(tcb) < LEAST_RTT) return;
  options.sendBufferLimit += grant(tcb, limit - options.sendBufferLimit);
  sendBuffer.limit = options.sendBufferLimit;
}

/** As much of `wanted` bytes as the stack has left to give. */
function grant(tcb: Tcb, wanted: number): number {
  if (wanted <= 0) return 0;
  const { tcp, tuning } = tcb;
  const given = Math.min(wanted, tcp.config.tuningLimit - tcp.tuned);
  if (given <= 0) return 0;
  tcp.tuned += given;
  tuning.granted += given;
  return given;
}

/** The connection is over: what it grew by may go to others. */
export function endTuning(tcb: Tcb): void {
  tcb.tcp.tuned -= tcb.tuning.granted;
  tcb.tuning.granted = 0;
}
