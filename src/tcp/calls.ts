// The user calls: OPEN, SEND, RECEIVE, CLOSE, ABORT, STATUS (RFC 9293 3.9.1, 3.10.1 to 3.10.6).
//
// Calls change state and set intents; nothing is sent before the next flush. None of them blocks.

import type { Address } from '../base/address.ts';
import { pseudoHeaderSum } from '../base/checksum.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Path } from '../base/ip.ts';
import { PROTOCOL_TCP } from '../base/ip.ts';
import { Roster } from '../base/roster.ts';
import type { Slab } from '../base/slab.ts';
import { type Micros, SECOND } from '../base/time.ts';
import { timestampNow } from './acks.ts';
import type { CongestionName } from './congestion.ts';
import { createController } from './controllers.ts';
import { clear as clearReceiveBuffer, createReceiveBuffer, read, readInto } from './receive-buffer.ts';
import { pipe } from './recovery.ts';
import { clear as clearSendBuffer, createSendBuffer, room, write } from './send-buffer.ts';
import * as seq from './seq.ts';
import {
  ackNow,
  arm,
  CLOSED,
  createTcb,
  disarm,
  enter,
  isSynchronized,
  notify,
  READABLE,
  type State,
  type Tcb,
  type TcpOptions,
  type TcpUser,
  touch,
} from './tcb.ts';
import {
  chooseEphemeral,
  choosePort,
  find,
  hashOf,
  insert,
  type Listener,
  oweReset,
  remove,
  type Tcp,
} from './tcp.ts';
import { tuneReceive, tuneSend } from './tuning.ts';
import { sendMss, shouldUpdateWindow } from './window.ts';

/** What an active OPEN is told. */
export interface OpenRequest {
  readonly remote: Address;
  readonly remotePort: number;
  /** Our address; chosen by IP when absent (MUST-44). */
  readonly local?: Address | undefined;
  /** Our port; a random ephemeral one when absent or 0. */
  readonly localPort?: number | undefined;
  readonly interfaceIndex?: number | undefined;
  readonly user: TcpUser;
  readonly options?: Partial<TcpOptions> | undefined;
}

/**
 * Active OPEN (RFC 9293 3.10.1): a connection in SYN-SENT, whose SYN leaves with the next flush. Errors: `EINVAL` port 0,
 * `EADDRNOTAVAIL` address not ours or no free port, `EADDRINUSE` four-tuple taken, `EACCES` broadcast or multicast
 * destination (MUST-46), `ENETUNREACH` and `EHOSTUNREACH` no route.
 */
export function open(tcp: Tcp, request: OpenRequest): Tcb | ErrorCode {
  const { remote, remotePort } = request;
  if (remotePort < 1 || remotePort > 65_535) return 'EINVAL';
  if (remote.isMulticast || remote.isUnspecified || tcp.ip.isBroadcast(remote)) return 'EACCES';
  const path = tcp.ip.path(remote, request.local, request.interfaceIndex ?? remote.zone);
  if (typeof path === 'string') return path;
  const wanted = request.localPort ?? 0;
  const localPort = wanted !== 0 ? wanted : chooseEphemeral(tcp, path.source, remote, remotePort);
  if (localPort === 0) return 'EADDRNOTAVAIL';
  if (!makeWay(tcp, path.source, localPort, remote, remotePort)) return 'EADDRINUSE';
  const tcb = makeConnection(tcp, path, localPort, remote, remotePort, {
    user: request.user,
    listener: undefined,
    options: optionsFor(tcp, request.options),
  });
  enter(tcb, 'SYN-SENT');
  tcp.counters.tcpActiveOpens++;
  tcb.sendSyn = true;
  touch(tcb);
  return tcb;
}

/** The user's wishes over the defaults. Who sets a buffer's limit and no maximum has chosen its size (as with SO_RCVBUF). */
function optionsFor(tcp: Tcp, wishes: Partial<TcpOptions> | undefined): TcpOptions {
  const options = { ...tcp.config.defaults, ...wishes };
  if (wishes?.sendBufferLimit !== undefined) options.sendBufferMax = wishes.sendBufferMax ?? 0;
  if (wishes?.receiveBufferLimit !== undefined) options.receiveBufferMax = wishes.receiveBufferMax ?? 0;
  return options;
}

/** False when the four-tuple is in use. A connection in TIME-WAIT gives way when timestamps keep old segments out (RFC 6191). */
function makeWay(tcp: Tcp, local: Address, localPort: number, remote: Address, remotePort: number): boolean {
  const old = find(tcp, local, localPort, remote, remotePort);
  if (old === undefined) return true;
  if (old.state !== 'TIME-WAIT' || !old.ts.on || tcp.now - old.lastReceived <= SECOND) return false;
  enter(old, 'CLOSED');
  remove(tcp, old);
  return true;
}

/** What differs between an active and a passive open. */
export interface Ownership {
  readonly user: TcpUser | undefined;
  readonly listener: Listener | undefined;
  readonly options: TcpOptions;
  /** The last sequence number of an earlier connection of this four-tuple, if that has just given way. */
  readonly used?: number | undefined;
}

/** How far beyond the last number of the old connection the new one starts: what an unscaled window may still hold. */
const ISS_STEP = 65_536;

/** Makes a TCB with a fresh ISS and puts it in the table. */
export function makeConnection(
  tcp: Tcp,
  path: Path,
  localPort: number,
  remote: Address,
  remotePort: number,
  owner: Ownership,
): Tcb {
  const local = path.source;
  let iss = tcp.isn.isn(tcp.now, local, localPort, remote, remotePort);
  // 3.6.1: "larger than the largest sequence number it used on the previous connection incarnation". Above 250 kB a second a
  // connection uses up numbers faster than the clock of RFC 6528 ticks.
  if (owner.used !== undefined && !seq.gt(iss, owner.used)) iss = seq.add(owner.used, ISS_STEP);
  const tcb = createTcb({
    tcp,
    local,
    localPort,
    remote,
    remotePort,
    hash: hashOf(tcp, local, localPort, remote, remotePort),
    path,
    iss,
    tsOffset: tcp.isn.timestampOffset(local, remote),
    pseudoSum: pseudoHeaderSum(local, remote, PROTOCOL_TCP, 0),
    ...owner,
    sendBuffer: createSendBuffer(tcp.pools, owner.options.sendBufferLimit),
    receiveBuffer: createReceiveBuffer({ nxt: 0, pool: tcp.receivePool }),
    congestion: createController(owner.options.congestion, 536),
    expire: tcp.expire,
  });
  insert(tcp, tcb);
  return tcb;
}

/** What a passive OPEN is told. */
export interface ListenRequest {
  readonly local?: Address | undefined;
  /** 0 chooses one. */
  readonly port: number;
  /** Most connections that wait for accept. */
  readonly backlog: number;
  readonly family?: 4 | 6 | undefined;
  /** Called from deliver while connections wait. */
  readonly acceptable: (listener: Listener) => void;
  readonly options?: Partial<TcpOptions> | undefined;
}

/** Most connections that may wait for accept, whatever the user asks (Linux's somaxconn). */
const BACKLOG_LIMIT = 4_096;

/**
 * Passive OPEN (RFC 9293 3.10.1). Errors: `EADDRINUSE` when a listener has the address and port (MUST-41: existing
 * connections are left alone), `EADDRNOTAVAIL` when the address is not ours, `EINVAL` for a bad port.
 */
export function listen(tcp: Tcp, request: ListenRequest): Listener | ErrorCode {
  const { local, family } = request;
  if (request.port < 0 || request.port > 65_535) return 'EINVAL';
  if (local !== undefined && !tcp.ip.isLocal(local)) return 'EADDRNOTAVAIL';
  const port = request.port === 0 ? choosePort(tcp, () => true) : request.port;
  if (port === 0) return 'EADDRINUSE';
  const others = tcp.listeners.get(port) ?? [];
  if (others.some((other) => collide(other, local, family))) return 'EADDRINUSE';
  const listener: Listener = {
    tcp,
    local,
    port,
    family: local?.family ?? family,
    backlog: Math.min(Math.max(1, request.backlog), BACKLOG_LIMIT),
    options: optionsFor(tcp, request.options),
    halfOpen: new Roster(),
    ready: [],
    acceptable: request.acceptable,
    closed: false,
    eventful: false,
  };
  tcp.listeners.set(port, [...others, listener]);
  return listener;
}

function collide(other: Listener, local: Address | undefined, family: 4 | 6 | undefined): boolean {
  const wanted = local?.family ?? family;
  if (other.family !== undefined && wanted !== undefined && other.family !== wanted) return false;
  return other.local === undefined || local === undefined || other.local.equals(local);
}

/** The next connection that waits, without a user yet: set `tcb.user`. `undefined` when none does. */
export function accept(listener: Listener): Tcb | undefined {
  const tcb = listener.ready.shift();
  if (tcb === undefined) return undefined;
  tcb.listener = undefined;
  // What happened before anybody listened is told again.
  if (tcb.receiveBuffer.readable > 0 || tcb.receiveEnded) notify(tcb, READABLE);
  return tcb;
}

/** Stops listening. Connections that nobody accepted are reset; accepted ones are not touched. */
export function unlisten(listener: Listener): void {
  if (listener.closed) return;
  listener.closed = true;
  const { tcp, port } = listener;
  const rest = (tcp.listeners.get(port) ?? []).filter((other) => other !== listener);
  if (rest.length === 0) tcp.listeners.delete(port);
  else tcp.listeners.set(port, rest);
  for (const tcb of [...listener.halfOpen, ...listener.ready]) abort(tcb);
  listener.ready.length = 0;
}

/**
 * SEND (3.10.2): copies bytes into the send buffer and returns how many it took, 0 to `length`. When it takes less, the user
 * is told `writable` later. A connection that is not open yet keeps them until it is. Takes nothing once the send half
 * is closed.
 */
export function send(tcb: Tcb, bytes: Uint8Array, offset: number, length: number): number {
  if (offset < 0 || length < 0 || offset + length > bytes.length) {
    throw new RangeError(`[${offset}, +${length}) is not within ${bytes.length} bytes`);
  }
  if (!mayStillSend(tcb)) return 0;
  if (length > room(tcb.sendBuffer)) tuneSend(tcb);
  const taken = write(tcb.sendBuffer, bytes, offset, length);
  if (taken < length) tcb.wantsRoom = true;
  if (taken > 0) touch(tcb);
  return taken;
}

/** True while SEND is allowed: opening, ESTABLISHED or CLOSE-WAIT, and no CLOSE yet. */
export function mayStillSend(tcb: Tcb): boolean {
  if (tcb.finQueued) return false;
  const { state } = tcb;
  return (
    state === 'ESTABLISHED' || state === 'CLOSE-WAIT' || state === 'SYN-SENT' || state === 'SYN-RECEIVED'
  );
}

/**
 * RECEIVE (3.10.3): hands at most `most` bytes to `sink`, in ranges that are the caller's for ever, and consumes them.
 * Returns how many. 0 with `tcb.receiveEnded` is the end of the stream.
 */
export function receive(
  tcb: Tcb,
  most: number,
  sink: (slab: Slab, offset: number, length: number) => void,
): number {
  const n = read(tcb.receiveBuffer, most, sink);
  if (n > 0) taken(tcb, n);
  return n;
}

/** RECEIVE into the caller's memory. Returns how many bytes were copied. */
export function receiveInto(tcb: Tcb, into: Uint8Array, offset: number, length: number): number {
  const n = readInto(tcb.receiveBuffer, into, offset, length);
  if (n > 0) taken(tcb, n);
  return n;
}

/** The user took `n` bytes: the window may open, and be worth an ACK. */
function taken(tcb: Tcb, n: number): void {
  tuneReceive(tcb, n);
  if (shouldUpdateWindow(tcb)) ackNow(tcb);
}

/** CLOSE of the send half (3.10.4): a FIN follows what is queued. Receiving goes on. */
export function shutdown(tcb: Tcb): void {
  if (tcb.finQueued) return;
  switch (tcb.state) {
    case 'SYN-SENT':
    case 'SYN-RECEIVED':
      // "queue for processing after entering ESTABLISHED state": arrives.ts calls closeHalf then.
      tcb.finQueued = true;
      return;
    case 'ESTABLISHED':
    case 'CLOSE-WAIT':
      tcb.finQueued = true;
      closeHalf(tcb);
      return;
  }
}

/** Moves on after the FIN was queued: FIN-WAIT-1 or LAST-ACK. The FIN itself waits for the data before it. */
export function closeHalf(tcb: Tcb): void {
  enter(tcb, tcb.state === 'CLOSE-WAIT' ? 'LAST-ACK' : 'FIN-WAIT-1');
  touch(tcb);
}

/**
 * CLOSE of both halves (3.10.4): the user reads no more. Unread data, now or later, makes it a reset (3.6.1 SHLD-3), so
 * that the peer learns that its data was lost.
 */
export function close(tcb: Tcb): void {
  tcb.readClosed = true;
  if (tcb.state === 'SYN-SENT') {
    destroy(tcb, undefined);
    return;
  }
  if (tcb.receiveBuffer.readable > 0 && tcb.state !== 'TIME-WAIT') {
    abort(tcb);
    return;
  }
  shutdown(tcb);
  if (tcb.state === 'FIN-WAIT-2') arm(tcb, 'timeWait', tcb.tcp.now + ORPHAN_FIN_WAIT_2);
}

/**
 * How long a closed connection waits for the peer's FIN. Deviates: RFC 9293 would wait for ever; a peer that died in
 * CLOSE-WAIT would then hold our memory for ever. Linux's tcp_fin_timeout.
 */
export const ORPHAN_FIN_WAIT_2: Micros = 60 * SECOND;

/** ABORT (3.10.5): throws queued data away, resets the peer where it knows of us, and ends the connection. */
export function abort(tcb: Tcb, error: ErrorCode | undefined = undefined): void {
  switch (tcb.state) {
    case 'SYN-RECEIVED':
    case 'ESTABLISHED':
    case 'FIN-WAIT-1':
    case 'FIN-WAIT-2':
    case 'CLOSE-WAIT':
    case 'CLOSING':
    case 'LAST-ACK':
      resetPeer(tcb, 'RST: abort');
  }
  // Nothing can be read any more: what arrived is let go of with the rest.
  tcb.readClosed = true;
  destroy(tcb, error);
}

/** Owes the peer `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>`. */
export function resetPeer(tcb: Tcb, note: string): void {
  oweReset(tcb.tcp, {
    local: tcb.local,
    localPort: tcb.localPort,
    remote: tcb.remote,
    remotePort: tcb.remotePort,
    seq: tcb.snd.nxt,
    ack: tcb.receiveBuffer.nxt,
    timestamps: tcb.ts.on ? [timestampNow(tcb), tcb.ts.recent] : undefined,
    note,
  });
}

/** Ends a connection at once: CLOSED, out of the table, buffers freed, the user told. */
export function destroy(tcb: Tcb, error: ErrorCode | undefined): void {
  if (tcb.state === 'CLOSED') return;
  const { counters } = tcb.tcp;
  // RFC 4022: transitions straight to CLOSED from an opening or an open state.
  if (tcb.state === 'SYN-SENT' || tcb.state === 'SYN-RECEIVED') counters.tcpAttemptFails++;
  else if (tcb.state === 'ESTABLISHED' || tcb.state === 'CLOSE-WAIT') counters.tcpEstabResets++;
  enter(tcb, 'CLOSED');
  tcb.error = error;
  remove(tcb.tcp, tcb);
  clearSendBuffer(tcb.sendBuffer);
  // Bytes that arrived before an orderly end may still be read; after an error they are gone (3.10.7.4, "flushed").
  if (error !== undefined || tcb.readClosed) flushReceived(tcb);
  if (tcb.listener !== undefined) forgetUnaccepted(tcb.listener, tcb);
  else notify(tcb, CLOSED);
}

/** Throws away what nobody has read. A FIN behind it is not reached any more: the user must not take what it has for the whole. */
function flushReceived(tcb: Tcb): void {
  if (tcb.receiveBuffer.readable > 0) tcb.receiveEnded = false;
  clearReceiveBuffer(tcb.receiveBuffer);
}

/** A connection that ended before accept leaves the queue: the user never hears of it. */
function forgetUnaccepted({ ready }: Listener, tcb: Tcb): void {
  const at = ready.indexOf(tcb);
  if (at >= 0) ready.splice(at, 1);
}

/** Switches Nagle's algorithm (SHLD-7, MUST-17). Switching it off sends what it held back. */
export function setNoDelay(tcb: Tcb, on: boolean): void {
  tcb.options.noDelay = on;
  if (on) touch(tcb);
}

/** Sets keep-alive (3.8.4, MUST-24, MUST-27). Times in microseconds. */
export function setKeepAlive(tcb: Tcb, keepAlive: Partial<TcpOptions['keepAlive']>): void {
  tcb.options.keepAlive = { ...tcb.options.keepAlive, ...keepAlive };
  const { enabled, idle } = tcb.options.keepAlive;
  // An opening connection begins when it is ESTABLISHED; one in TIME-WAIT has nothing left to keep alive.
  if (enabled && isSynchronized(tcb) && tcb.state !== 'TIME-WAIT') arm(tcb, 'keepAlive', tcb.tcp.now + idle);
  else disarm(tcb, 'keepAlive');
}

/** STATUS (3.10.6), shaped after Linux's TCP_INFO. Times in microseconds, sizes in bytes. */
export interface TcpInfo {
  state: State;
  srtt: Micros;
  rttvar: Micros;
  rto: Micros;
  cwnd: number;
  ssthresh: number;
  inFlight: number;
  unacked: number;
  unsent: number;
  readable: number;
  sendWindow: number;
  receiveWindow: number;
  mss: number;
  pmtu: number;
  retransmissions: number;
  timeouts: number;
  bytesAcked: number;
  bytesReceived: number;
  phase: 'open' | 'fast' | 'timeout';
  /** Name of the controller. */
  congestion: CongestionName;
  /** Bytes known to have arrived, SACKed ones too; how many a second lately; and whether the application held that back. */
  delivered: number;
  deliveryRate: number;
  deliveryLimited: boolean;
  /** Bytes a second that sending is spread over; 0 for no pacing. */
  pacingRate: number;
  sendBufferLimit: number;
  receiveBufferLimit: number;
}

export function info(tcb: Tcb): TcpInfo {
  const { snd, rcv, rtt, congestion, delivery, stats } = tcb;
  return {
    state: tcb.state,
    srtt: rtt.srtt,
    rttvar: rtt.rttvar,
    rto: rtt.rto,
    cwnd: congestion.cwnd,
    ssthresh: congestion.ssthresh,
    inFlight: pipe(tcb),
    unacked: seq.sub(snd.nxt, snd.una),
    unsent: unsentBytes(tcb),
    readable: tcb.receiveBuffer.readable,
    sendWindow: snd.wnd,
    receiveWindow: seq.sub(rcv.edge, tcb.receiveBuffer.nxt),
    mss: sendMss(tcb),
    pmtu: tcb.path.mtu,
    retransmissions: stats.retransmissions,
    timeouts: stats.timeouts,
    bytesAcked: stats.bytesAcked,
    bytesReceived: stats.bytesIn,
    phase: tcb.recovery.phase,
    congestion: congestion.name,
    delivered: delivery.delivered,
    deliveryRate: delivery.rate,
    deliveryLimited: delivery.rateLimited,
    pacingRate: congestion.pacingRate,
    sendBufferLimit: tcb.options.sendBufferLimit,
    receiveBufferLimit: tcb.options.receiveBufferLimit,
  };
}

/** Bytes queued and never sent. */
export function unsentBytes(tcb: Tcb): number {
  const sent = seq.sub(tcb.snd.nxt, tcb.snd.una) - (tcb.finSent && !tcb.finAcked ? 1 : 0);
  return Math.max(0, tcb.sendBuffer.length - Math.max(0, sent));
}

/** Bytes queued and not yet acknowledged. */
export function unackedBytes(tcb: Tcb): number {
  return tcb.sendBuffer.length;
}

/** Bytes that `receive` would hand over now. */
export function readableBytes(tcb: Tcb): number {
  return tcb.receiveBuffer.readable;
}
