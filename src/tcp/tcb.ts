// The Transmission Control Block: everything a connection remembers, data only (RFC 9293 3.3.1).
//
// The record is made by one factory, so that every connection has the same shape. What works on it lives in arrives.ts,
// acks.ts, expires.ts, calls.ts, recovery.ts and output.ts.

import type { Address } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Path } from '../base/ip.ts';
import type { Member } from '../base/roster.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { Timer } from '../base/timers.ts';
import type { CongestionController, CongestionName } from './congestion.ts';
import { createDelivery, type Delivery } from './delivery.ts';
import { createRanges, type Ranges } from './ranges.ts';
import type { ReceiveBuffer } from './receive-buffer.ts';
import { createRtt, type Rtt } from './rtt.ts';
import type { SendBuffer } from './send-buffer.ts';
import type { Listener, Tcp } from './tcp.ts';
import { createTuning, type Tuning } from './tuning.ts';

/** The states of RFC 9293 3.3.2. */
export type State =
  | 'CLOSED'
  | 'LISTEN'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT';

/** Send sequence variables (RFC 9293 3.3.1, Table 2), and what goes with them. */
export interface SendVariables {
  /** Oldest unacknowledged sequence number. */
  una: number;
  /** Next sequence number to be sent. */
  nxt: number;
  /** Send window, unscaled to bytes (RFC 7323 2.3), and the largest the peer ever offered (RFC 5961 5.2). */
  wnd: number;
  maxWnd: number;
  /** Sequence and acknowledgment number of the last window update. */
  wl1: number;
  wl2: number;
  /** Shift of the windows that the peer advertises (RFC 7323 2). */
  scale: number;
  /** Eff.snd.MSS: payload bytes of a full segment, options taken off (RFC 9293 3.7.1 MUST-16). */
  mss: number;
  /** The MSS option of the peer; 536 or 1220 when it sent none (MUST-15). */
  peerMss: number;
  /** End of the last segment shorter than the MSS: what Nagle's algorithm watches. */
  small: number;
  /** Urgent pointer, as a sequence number; equal to `una` when nothing is urgent. */
  up: number;
}

/** Receive sequence variables (RFC 9293 3.3.1, Table 3). RCV.NXT itself lives in the receive buffer. */
export interface ReceiveVariables {
  /** Right edge that was advertised last: RCV.NXT + RCV.WND as the peer knows it. It never moves left (SHLD-14). */
  edge: number;
  scale: number;
  /** Largest segment seen: what counts as full-sized for delayed ACKs (RFC 5681 4.2). */
  mss: number;
  /** Urgent pointer as a sequence number, and whether one is outstanding. */
  up: number;
  urgent: boolean;
  /** Bytes that arrived in order and are not yet acknowledged, and the segments they came in. */
  unacked: number;
  unackedSegments: number;
}

/** Timestamps option (RFC 7323 3, 4, 5). */
export interface Timestamps {
  on: boolean;
  /** TS.Recent, and when it was taken (for its 24-day life). */
  recent: number;
  recentAt: Micros;
  /** Last.ACK.sent. */
  lastAckSent: number;
  /** Added to our clock, so that it tells nothing about uptime (RFC 7323 7.1). */
  offset: number;
}

/** What the peer is known to hold, and what is thought lost (RFC 6675 names; recovery.ts works on it). */
export interface Recovery {
  /** `open`: nothing lost. `fast`: fast recovery (RFC 6675, 6582). `timeout`: resending after an RTO (RFC 5681 3.1). */
  phase: 'open' | 'fast' | 'timeout';
  /** RecoveryPoint: SND.NXT when the phase began. */
  point: number;
  /** SACKed ranges above SND.UNA. */
  readonly sacked: Ranges;
  /** Everything in [SND.UNA, lostBelow) that is not SACKed is deemed lost. Never below SND.UNA. */
  lostBelow: number;
  /** HighRxt: everything deemed lost below it has been sent again. Never below SND.UNA. */
  highRxt: number;
  dupAcks: number;
  /** Why the next retransmission happens, for the capture. */
  reason: string;
}

/** Named deadlines; NEVER when off. One {@link Timer} serves them all. */
export interface Deadlines {
  retransmit: Micros;
  persist: Micros;
  delayedAck: Micros;
  keepAlive: Micros;
  timeWait: Micros;
  /** A paced connection may send again. */
  pace: Micros;
}

export interface KeepAlive {
  enabled: boolean;
  idle: Micros;
  interval: Micros;
  count: number;
}

/** Per-connection settings. Times in microseconds, sizes in bytes. */
export interface TcpOptions {
  /** Switches Nagle's algorithm off (MUST-17). */
  noDelay: boolean;
  keepAlive: KeepAlive;
  /** R2 as a time: how long sent data may stay unacknowledged before the connection is given up (MUST-21, RFC 5482). */
  userTimeout: Micros;
  /** TTL or hop limit (MUST-49). */
  ttl: number;
  /** DSCP in the upper six bits (MUST-48). */
  trafficClass: number;
  /** Most bytes that wait for acknowledgment, and that wait to be read: at first. */
  sendBufferLimit: number;
  receiveBufferLimit: number;
  /** What the limits above may grow to where the path is worth it (tuning.ts). No more than the limit: it stays as it is. */
  sendBufferMax: number;
  receiveBufferMax: number;
  /** The congestion controller; fixed once the connection is made. */
  congestion: CongestionName;
  /** Upper limit of both MSS values, 0 for none. */
  maxMss: number;
  /** What our SYN offers and accepts: timestamps and window scaling (RFC 7323), SACK (RFC 2018). */
  timestamps: boolean;
  windowScaling: boolean;
  sack: boolean;
}

/** Who owns a connection. Called only from `deliver`, never from within input, so every call is allowed in it. */
export interface TcpUser {
  /** An active open reached ESTABLISHED. */
  connected(tcb: Tcb): void;
  /** Bytes wait, or the peer's FIN was reached: `tcb.receiveEnded`. */
  readable(tcb: Tcb): void;
  /** There is room again after a `send` that took less than it was given. */
  writable(tcb: Tcb): void;
  /** All that was sent is acknowledged, the FIN too if one was sent. */
  drained(tcb: Tcb): void;
  /** The last call. `undefined`: both sides closed in order. */
  closed(tcb: Tcb, error: ErrorCode | undefined): void;
  /** RFC 9293 3.9.1.8: a soft error was reported; the connection goes on (MUST-47). */
  softError?(tcb: Tcb, error: ErrorCode): void;
  /** RFC 9293 3.8.5: the urgent pointer advanced (MUST-32). */
  urgent?(tcb: Tcb): void;
}

/** Events waiting for `deliver`, as bits of `tcb.events`. */
export const CONNECTED = 1;
export const READABLE = 2;
export const WRITABLE = 4;
export const DRAINED = 8;
export const CLOSED = 16;
export const SOFT_ERROR = 32;
export const URGENT = 64;

export interface Tcb {
  readonly tcp: Tcp;
  /** Set only by `enter`. */
  state: State;
  readonly local: Address;
  readonly localPort: number;
  readonly remote: Address;
  readonly remotePort: number;
  /** Key in the connection table, and the next with the same key. */
  readonly hash: number;
  nextInBucket: Tcb | undefined;
  /** Links of the roster it is in: its listener's half-open connections, or those in TIME-WAIT. */
  roster: Member<Tcb>['roster'];
  older: Tcb | undefined;
  newer: Tcb | undefined;

  path: Path;
  user: TcpUser | undefined;
  /** The listener it came from, while it is not accepted yet (MUST-11: a passive open returns to LISTEN). */
  listener: Listener | undefined;
  options: TcpOptions;

  readonly iss: number;
  irs: number;
  readonly snd: SendVariables;
  readonly rcv: ReceiveVariables;
  readonly ts: Timestamps;
  sackOn: boolean;
  readonly sendBuffer: SendBuffer;
  readonly receiveBuffer: ReceiveBuffer;
  readonly rtt: Rtt;
  readonly congestion: CongestionController;
  readonly recovery: Recovery;
  readonly delivery: Delivery;
  readonly tuning: Tuning;
  /** When a paced connection may send again, to fractions of a microsecond (pacing.ts). */
  pacedTo: number;

  /** The user closed the send half: a FIN follows the last byte. */
  finQueued: boolean;
  finSent: boolean;
  finAcked: boolean;
  /** The peer's FIN was reached in order: no more bytes will come. */
  receiveEnded: boolean;
  /** CLOSE was called: the user reads no more (RFC 9293 3.6.1 MAY-1). */
  readClosed: boolean;

  // Intents: set by arrives, expires and calls; carried out by output alone.
  sendSyn: boolean;
  ackNow: boolean;
  /** A zero-window probe, a keep-alive probe or a retransmission of the first segment is due. */
  probeNow: 'none' | 'window' | 'keep-alive';
  /** The octet (or the FIN) at SND.UNA = SND.NXT was sent beyond a window of zero. SND.NXT counts it once it is acknowledged. */
  probed: boolean;
  /** Doublings of the interval between zero-window probes (SHLD-30). */
  probeBackoff: number;
  /** Where the peer's FIN lies, once it was seen ahead of missing data; -1 before. */
  finAt: number;
  /** Override timeout of the silly window avoidance expired: send what there is (RFC 9293 3.8.6.2.1). */
  override: boolean;
  /** True while in the list of connections that `flush` visits. */
  dirty: boolean;

  events: number;
  error: ErrorCode | undefined;
  softError: ErrorCode | undefined;
  /** The last `send` took less than it was given. */
  wantsRoom: boolean;

  readonly timer: Timer;
  readonly at: Deadlines;
  /** Retransmissions in a row without progress; keep-alive probes in a row without an answer. */
  retries: number;
  probes: number;
  /** When the oldest unacknowledged data was first seen overdue (for R2); NEVER when all is well. */
  troubleSince: Micros;
  /** When the retransmission timer last expired. */
  expiredAt: Micros;
  lastReceived: Micros;
  lastSent: Micros;
  /** The one segment being timed when timestamps cannot (RFC 6298 3, Karn): its end, and when it went out; NEVER if none. */
  timedSeq: number;
  timedAt: Micros;
  /** RFC 5961 7: challenge ACKs sent in the current second. */
  challenges: number;
  challengesSince: Micros;
  /** Sum of the addresses and protocol of the pseudo-header. */
  readonly pseudoSum: number;

  readonly stats: ConnectionStats;
}

export interface ConnectionStats {
  segmentsIn: number;
  segmentsOut: number;
  bytesIn: number;
  bytesOut: number;
  bytesAcked: number;
  retransmissions: number;
  timeouts: number;
}

/** What the factory is told; the rest starts at the values of RFC 9293 3.10.1. */
export interface TcbSeed {
  readonly tcp: Tcp;
  readonly local: Address;
  readonly localPort: number;
  readonly remote: Address;
  readonly remotePort: number;
  readonly hash: number;
  readonly path: Path;
  readonly iss: number;
  readonly tsOffset: number;
  readonly pseudoSum: number;
  readonly options: TcpOptions;
  readonly user: TcpUser | undefined;
  readonly listener: Listener | undefined;
  readonly sendBuffer: SendBuffer;
  readonly receiveBuffer: ReceiveBuffer;
  readonly congestion: CongestionController;
  readonly expire: (tcb: Tcb, now: Micros) => void;
}

/** Most SACKed ranges remembered of one peer: bounds memory and search (hostile 74). */
const SCOREBOARD_RANGES = 256;

/** A connection in CLOSED, with SND.UNA = SND.NXT = ISS. */
export function createTcb(seed: TcbSeed): Tcb {
  const { iss } = seed;
  const tcb: Tcb = {
    tcp: seed.tcp,
    state: 'CLOSED',
    local: seed.local,
    localPort: seed.localPort,
    remote: seed.remote,
    remotePort: seed.remotePort,
    hash: seed.hash,
    nextInBucket: undefined,
    roster: undefined,
    older: undefined,
    newer: undefined,
    path: seed.path,
    user: seed.user,
    listener: seed.listener,
    options: seed.options,
    iss,
    irs: 0,
    snd: {
      una: iss,
      nxt: iss,
      wnd: 0,
      maxWnd: 0,
      wl1: 0,
      wl2: 0,
      scale: 0,
      mss: 536,
      peerMss: 536,
      small: iss,
      up: iss,
    },
    rcv: { edge: 0, scale: 0, mss: 536, up: 0, urgent: false, unacked: 0, unackedSegments: 0 },
    ts: { on: false, recent: 0, recentAt: 0, lastAckSent: 0, offset: seed.tsOffset },
    sackOn: false,
    sendBuffer: seed.sendBuffer,
    receiveBuffer: seed.receiveBuffer,
    rtt: createRtt(),
    congestion: seed.congestion,
    recovery: {
      phase: 'open',
      point: iss,
      sacked: createRanges(SCOREBOARD_RANGES),
      lostBelow: iss,
      highRxt: iss,
      dupAcks: 0,
      reason: '',
    },
    delivery: createDelivery(iss),
    tuning: createTuning(),
    pacedTo: 0,
    finQueued: false,
    finSent: false,
    finAcked: false,
    receiveEnded: false,
    readClosed: false,
    sendSyn: false,
    ackNow: false,
    probeNow: 'none',
    probed: false,
    probeBackoff: 0,
    finAt: -1,
    override: false,
    dirty: false,
    events: 0,
    error: undefined,
    softError: undefined,
    wantsRoom: false,
    timer: new Timer((now) => seed.expire(tcb, now)),
    at: {
      retransmit: NEVER,
      persist: NEVER,
      delayedAck: NEVER,
      keepAlive: NEVER,
      timeWait: NEVER,
      pace: NEVER,
    },
    retries: 0,
    probes: 0,
    troubleSince: NEVER,
    expiredAt: Number.NEGATIVE_INFINITY,
    lastReceived: seed.tcp.now,
    lastSent: seed.tcp.now,
    timedSeq: iss,
    timedAt: NEVER,
    challenges: 0,
    challengesSince: Number.NEGATIVE_INFINITY,
    pseudoSum: seed.pseudoSum,
    stats: {
      segmentsIn: 0,
      segmentsOut: 0,
      bytesIn: 0,
      bytesOut: 0,
      bytesAcked: 0,
      retransmissions: 0,
      timeouts: 0,
    },
  };
  return tcb;
}

/** The transitions of RFC 9293 3.3.2 (Figure 5), and those that its text adds. A test walks this table. */
export const TRANSITIONS: Readonly<Record<State, readonly State[]>> = {
  CLOSED: ['SYN-SENT', 'SYN-RECEIVED'],
  // Our listeners are not connections: a SYN makes a new TCB that starts in SYN-RECEIVED.
  LISTEN: [],
  'SYN-SENT': ['ESTABLISHED', 'SYN-RECEIVED', 'CLOSED'],
  'SYN-RECEIVED': ['ESTABLISHED', 'FIN-WAIT-1', 'CLOSE-WAIT', 'CLOSED'],
  ESTABLISHED: ['FIN-WAIT-1', 'CLOSE-WAIT', 'CLOSED'],
  'FIN-WAIT-1': ['FIN-WAIT-2', 'CLOSING', 'TIME-WAIT', 'CLOSED'],
  'FIN-WAIT-2': ['TIME-WAIT', 'CLOSED'],
  'CLOSE-WAIT': ['LAST-ACK', 'CLOSED'],
  CLOSING: ['TIME-WAIT', 'CLOSED'],
  'LAST-ACK': ['CLOSED'],
  'TIME-WAIT': ['CLOSED'],
};

/** The only way a connection changes its state. */
export function enter(tcb: Tcb, state: State): void {
  const { trace } = tcb.tcp;
  if (trace.on) trace.note(`TCP ${tcb.state} → ${state}`);
  tcb.tcp.onTransition?.(tcb, tcb.state, state);
  tcb.state = state;
}

/** True from ESTABLISHED on: both sides know the other's sequence numbers (RFC 9293 3.3.2). */
export function isSynchronized(tcb: Tcb): boolean {
  const { state } = tcb;
  return state !== 'SYN-SENT' && state !== 'SYN-RECEIVED' && state !== 'CLOSED' && state !== 'LISTEN';
}

/** Sets a deadline. Later ones cost nothing: the timer fires early and looks again. */
export function arm(tcb: Tcb, which: keyof Deadlines, at: Micros): void {
  tcb.at[which] = at;
  if (at < tcb.timer.deadline) tcb.tcp.timers.set(tcb.timer, at);
}

/** Turns a deadline off. */
export function disarm(tcb: Tcb, which: keyof Deadlines): void {
  tcb.at[which] = NEVER;
}

/** Notes an event for the user; `deliver` calls it. */
export function notify(tcb: Tcb, event: number): void {
  if (tcb.events === 0) tcb.tcp.eventful.push(tcb);
  tcb.events |= event;
}

/** Puts the connection on the list that `flush` visits. */
export function touch(tcb: Tcb): void {
  if (tcb.dirty) return;
  tcb.dirty = true;
  tcb.tcp.outgoing.push(tcb);
}

/** Asks for an ACK with the next flush (MUST-58, MUST-59: one for all that arrived together). */
export function ackNow(tcb: Tcb): void {
  tcb.ackNow = true;
  touch(tcb);
}
