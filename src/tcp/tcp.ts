// TCP as a whole: connections by four-tuple, listeners by port, and the round that the stack drives (RFC 9293 3.3, 3.9).
//
//   input(packet)   → arrives.ts     changes state, sets intents
//   timers          → expires.ts     changes state, sets intents
//   open, send, …   → calls.ts       changes state, sets intents
//   flush(now)      → output.ts      carries the intents out: the only place that emits
//   deliver()       → the user's callbacks, after everything else

import type { Address } from '../base/address.ts';
import type { DropCounts } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { IpError, IpOutput, Path, SendOptions } from '../base/ip.ts';
import type { Packet } from '../base/packet.ts';
import { below, type Random } from '../base/random.ts';
import { Roster } from '../base/roster.ts';
import { SlabPool } from '../base/slab.ts';
import { MILLISECOND, MINUTE, type Micros, NEVER, SECOND } from '../base/time.ts';
import type { TimerQueue } from '../base/timers.ts';
import type { Trace } from '../base/trace.ts';
import { createIsn, type Isn } from './isn.ts';
import { createReceivePool, type ReceivePool } from './receive-pool.ts';
import { createSegment, type Segment } from './segment.ts';
import type { SendPools } from './send-buffer.ts';
import { ConnectionTable } from './table.ts';
import {
  CLOSED,
  CONNECTED,
  DRAINED,
  READABLE,
  SOFT_ERROR,
  type State,
  type Tcb,
  type TcpOptions,
  URGENT,
  WRITABLE,
} from './tcb.ts';
import { endTuning } from './tuning.ts';

/** RFC 4022's counters, under its names, and those Linux users look for. */
export interface TcpCounters {
  tcpActiveOpens: number;
  tcpPassiveOpens: number;
  tcpAttemptFails: number;
  tcpEstabResets: number;
  tcpInSegs: number;
  tcpOutSegs: number;
  tcpRetransSegs: number;
  tcpInErrs: number;
  tcpOutRsts: number;
  /** Beyond the MIB. */
  tcpTimeouts: number;
  tcpFastRetransmits: number;
  tcpChallengeAcks: number;
  tcpListenDrops: number;
  tcpKeepAliveProbes: number;
  tcpWindowProbes: number;
  tcpOutOfOrderSegs: number;
}

/** A passive OPEN (RFC 9293 3.9.1.1): the LISTEN state, and the connections it has made that nobody took yet. */
export interface Listener {
  readonly tcp: Tcp;
  /** Local address it is bound to; `undefined` accepts any (MUST-43). */
  readonly local: Address | undefined;
  readonly port: number;
  /** 4 or 6 accepts only that family; `undefined` both. */
  readonly family: 4 | 6 | undefined;
  readonly backlog: number;
  readonly options: TcpOptions;
  /** In SYN-RECEIVED, oldest first. */
  readonly halfOpen: Roster<Tcb>;
  /** ESTABLISHED (or beyond) and waiting for accept. */
  readonly ready: Tcb[];
  acceptable: (listener: Listener) => void;
  closed: boolean;
  /** An `acceptable` call is due. */
  eventful: boolean;
}

/** A reset owed to a segment or connection that has no TCB any more; output.ts sends it (RFC 9293 3.5.2). */
export interface Reset {
  readonly local: Address;
  readonly localPort: number;
  readonly remote: Address;
  readonly remotePort: number;
  readonly seq: number;
  /** Acknowledgment number; -1 for a reset without ACK. */
  readonly ack: number;
  /** TSval and TSecr, when the connection used timestamps: RFC 7323 3.2, they SHOULD be in its RST too. */
  readonly timestamps: readonly [number, number] | undefined;
  readonly note: string;
}

/** Limits and defaults of one TCP. Times in microseconds. */
export interface TcpConfig {
  readonly defaults: TcpOptions;
  /** TIME-WAIT lasts 2·MSL. Deviates: RFC 9293 3.4.2 takes an MSL of 2 minutes; 30 s is what Linux and BSD live with. */
  readonly msl: Micros;
  /** Connections in TIME-WAIT; the oldest go first beyond it. */
  readonly timeWaitLimit: number;
  /** Half-open connections of one listener; the oldest go first beyond it (hostile 96). */
  readonly halfOpenLimit: number;
  /** Ephemeral ports, both ends included (RFC 6056, with Linux's range). */
  readonly ephemeral: readonly [number, number];
  /** Connections in all: beyond it SYNs are dropped. */
  readonly connectionLimit: number;
  /** Bytes that the buffers of all connections together may grow by beyond what they started with (tuning.ts). */
  readonly tuningLimit: number;
  /** How long the ACK of data in order waits for company (MUST-40: less than half a second); 0: not at all. */
  readonly delayedAck: Micros;
  /** Acknowledge every second segment whatever its size, as the BSDs do, not only every second full-sized one (SHLD-19). */
  readonly countsSmallSegments: boolean;
}

export const DEFAULT_OPTIONS: TcpOptions = {
  noDelay: false,
  // MUST-25: off; MUST-28: no less than two hours.
  keepAlive: { enabled: false, idle: 7200 * SECOND, interval: 75 * SECOND, count: 9 },
  // SHLD-11: R2 of at least 100 s. 15 minutes, about what Linux's 15 retries come to.
  userTimeout: 15 * MINUTE,
  ttl: 64,
  trafficClass: 0,
  sendBufferLimit: 2 << 20,
  receiveBufferLimit: 2 << 20,
  // What a window field scaled by 8 can name: 1 Gbit/s over 100 ms is 12.5 MB, and a little must wait beside what is under way.
  sendBufferMax: 2 * (65_535 << 8),
  receiveBufferMax: 65_535 << 8,
  congestion: 'cubic',
  maxMss: 0,
  timestamps: true,
  windowScaling: true,
  sack: true,
};

export const DEFAULT_CONFIG: TcpConfig = {
  defaults: DEFAULT_OPTIONS,
  msl: 30 * SECOND,
  timeWaitLimit: 16_384,
  halfOpenLimit: 1_024,
  ephemeral: [32_768, 60_999],
  connectionLimit: 262_144,
  tuningLimit: 256 << 20,
  // Linux's TCP_DELACK_MIN.
  delayedAck: 40 * MILLISECOND,
  countsSmallSegments: false,
};

/** The data of one TCP. Functions of this folder work on it; `stack.ts` makes it and drives it. */
export interface Tcp {
  readonly config: TcpConfig;
  readonly ip: IpOutput;
  readonly random: Random;
  readonly timers: TimerQueue;
  readonly trace: Trace;
  readonly isn: Isn;
  /** The time of the current round. */
  now: Micros;
  readonly connections: ConnectionTable;
  count: number;
  /** Bytes granted of `config.tuningLimit`. */
  tuned: number;
  readonly listeners: Map<number, Listener[]>;
  /** In order of entry: the first is the oldest. */
  readonly timeWait: Roster<Tcb>;
  /** Connections that output has to visit; connections and listeners with events to deliver; resets to send. */
  outgoing: Tcb[];
  eventful: Tcb[];
  eventfulListeners: Listener[];
  resets: Reset[];
  readonly pools: SendPools;
  readonly receivePool: ReceivePool;
  readonly counters: TcpCounters;
  readonly drops: DropCounts;
  /** Mixed into the table key, so that nobody outside can aim at one bucket. */
  readonly hashSeed: number;
  /** The one segment being read, and the one set of IP wishes: reused. */
  readonly segment: Segment;
  readonly sendOptions: SendOptions;
  /** The connection found last: a bulk flow asks for it again and again. */
  last: Tcb | undefined;
  /** What a connection's timer calls: expires.ts. */
  readonly expire: (tcb: Tcb, now: Micros) => void;
  /** Watches every transition: for tests and diagnostics. */
  onTransition: ((tcb: Tcb, from: State, to: State) => void) | undefined;
}

export interface TcpNeeds {
  readonly ip: IpOutput;
  readonly random: Random;
  readonly timers: TimerQueue;
  readonly trace: Trace;
  readonly now: Micros;
  readonly config?: Partial<TcpConfig>;
  readonly expire: (tcb: Tcb, now: Micros) => void;
}

/** Resets waiting for one flush: beyond it they are not owed any more (a flood needs no answer to each). */
const RESET_LIMIT = 1_024;

export function createTcp(needs: TcpNeeds): Tcp {
  return {
    config: { ...DEFAULT_CONFIG, ...needs.config },
    ip: needs.ip,
    random: needs.random,
    timers: needs.timers,
    trace: needs.trace,
    isn: createIsn(needs.random),
    now: needs.now,
    connections: new ConnectionTable(),
    count: 0,
    tuned: 0,
    listeners: new Map(),
    timeWait: new Roster(),
    outgoing: [],
    eventful: [],
    eventfulListeners: [],
    resets: [],
    pools: { small: new SlabPool(4 << 10, 1024), large: new SlabPool(64 << 10, 256) },
    receivePool: createReceivePool(),
    counters: {
      tcpActiveOpens: 0,
      tcpPassiveOpens: 0,
      tcpAttemptFails: 0,
      tcpEstabResets: 0,
      tcpInSegs: 0,
      tcpOutSegs: 0,
      tcpRetransSegs: 0,
      tcpInErrs: 0,
      tcpOutRsts: 0,
      tcpTimeouts: 0,
      tcpFastRetransmits: 0,
      tcpChallengeAcks: 0,
      tcpListenDrops: 0,
      tcpKeepAliveProbes: 0,
      tcpWindowProbes: 0,
      tcpOutOfOrderSegs: 0,
    },
    drops: {},
    hashSeed: needs.random.u32() | 0,
    segment: createSegment(),
    sendOptions: { ttl: 64, trafficClass: 0, dontFragment: true },
    last: undefined,
    expire: needs.expire,
    onTransition: undefined,
  };
}

/** Connections now in ESTABLISHED or CLOSE-WAIT: RFC 4022's tcpCurrEstab. */
export function currentlyEstablished(tcp: Tcp): number {
  let n = 0;
  for (const tcb of allConnections(tcp)) if (tcb.state === 'ESTABLISHED' || tcb.state === 'CLOSE-WAIT') n++;
  return n;
}

export function allConnections(tcp: Tcp): Iterable<Tcb> {
  return tcp.connections.values();
}

// ---- four-tuples

/** Mixes a four-tuple of address words and ports into a signed 32-bit key. */
function mix(
  seed: number,
  l0: number,
  l1: number,
  l3: number,
  r0: number,
  r1: number,
  r2: number,
  r3: number,
  ports: number,
): number {
  let h = seed;
  h = Math.imul(h ^ r3, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15) ^ ports, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13) ^ l3, 0xc2b2ae35);
  if ((r0 | r1) !== 0) {
    h = Math.imul(h ^ (h >>> 15) ^ r2, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 13) ^ r1, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ r0 ^ l0 ^ l1, 0xc2b2ae35);
  }
  return h ^ (h >>> 16);
}

export function hashOf(
  tcp: Tcp,
  local: Address,
  localPort: number,
  remote: Address,
  remotePort: number,
): number {
  const ports = (localPort << 16) | remotePort;
  return mix(tcp.hashSeed, local.w0, local.w1, local.w3, remote.w0, remote.w1, remote.w2, remote.w3, ports);
}

/** The connection that a received packet belongs to. */
export function findForPacket(tcp: Tcp, p: Packet, localPort: number, remotePort: number): Tcb | undefined {
  const { last } = tcp;
  if (last !== undefined && matches(last, p, localPort, remotePort)) return last;
  const ports = (localPort << 16) | remotePort;
  let tcb = tcp.connections.get(mix(tcp.hashSeed, p.d0, p.d1, p.d3, p.s0, p.s1, p.s2, p.s3, ports));
  while (tcb !== undefined && !matches(tcb, p, localPort, remotePort)) tcb = tcb.nextInBucket;
  tcp.last = tcb;
  return tcb;
}

function matches(tcb: Tcb, p: Packet, localPort: number, remotePort: number): boolean {
  const { local, remote } = tcb;
  return (
    tcb.remotePort === remotePort &&
    tcb.localPort === localPort &&
    remote.w3 === p.s3 &&
    local.w3 === p.d3 &&
    remote.w2 === p.s2 &&
    remote.w1 === p.s1 &&
    remote.w0 === p.s0 &&
    local.w2 === p.d2 &&
    local.w1 === p.d1 &&
    local.w0 === p.d0 &&
    // Link-local addresses mean something only with their interface (RFC 4007).
    (remote.zone === 0 || remote.zone === p.interfaceIndex)
  );
}

export function find(
  tcp: Tcp,
  local: Address,
  localPort: number,
  remote: Address,
  remotePort: number,
): Tcb | undefined {
  let tcb = tcp.connections.get(hashOf(tcp, local, localPort, remote, remotePort));
  while (tcb !== undefined) {
    if (
      tcb.localPort === localPort &&
      tcb.remotePort === remotePort &&
      tcb.local.equals(local) &&
      tcb.remote.equals(remote)
    ) {
      return tcb;
    }
    tcb = tcb.nextInBucket;
  }
  return undefined;
}

export function insert(tcp: Tcp, tcb: Tcb): void {
  tcp.connections.insert(tcb);
  tcp.count++;
}

/** Takes a connection out of the table and lets go of everything it held. It is CLOSED: it is no more. */
export function remove(tcp: Tcp, tcb: Tcb): void {
  if (tcp.connections.delete(tcb)) tcp.count--;
  tcp.timers.remove(tcb.timer);
  const { at } = tcb;
  at.retransmit = at.persist = at.delayedAck = at.keepAlive = at.timeWait = at.pace = NEVER;
  endTuning(tcb);
  tcp.timeWait.delete(tcb);
  tcb.listener?.halfOpen.delete(tcb);
  if (tcp.last === tcb) tcp.last = undefined;
}

// ---- listeners and ports

/** The listener for a SYN: one bound to the very address before one bound to any. */
export function findListener(tcp: Tcp, packet: Packet, port: number): Listener | undefined {
  const list = tcp.listeners.get(port);
  if (list === undefined) return undefined;
  const family = (packet.d0 | packet.d1) === 0 && packet.d2 === 0xffff ? 4 : 6;
  let any: Listener | undefined;
  for (const listener of list) {
    if (listener.family !== undefined && listener.family !== family) continue;
    const { local } = listener;
    if (local === undefined) {
      if (any === undefined || listener.family !== undefined) any = listener;
    } else if (
      local.w3 === packet.d3 &&
      local.w2 === packet.d2 &&
      local.w1 === packet.d1 &&
      local.w0 === packet.d0 &&
      (local.zone === 0 || local.zone === packet.interfaceIndex)
    ) {
      return listener;
    }
  }
  return any;
}

/** A local port for an active OPEN: a random one whose four-tuple is free (RFC 6056 3.3.1); 0 when none is. */
export function chooseEphemeral(tcp: Tcp, local: Address, remote: Address, remotePort: number): number {
  return choosePort(tcp, (port) => find(tcp, local, port, remote, remotePort) === undefined);
}

/** A random port that no listener has and that `free` allows; 0 when there is none. */
export function choosePort(tcp: Tcp, free: (port: number) => boolean): number {
  const [first, last] = tcp.config.ephemeral;
  const span = last - first + 1;
  const start = below(tcp.random, span);
  for (let i = 0; i < span; i++) {
    const port = first + ((start + i) % span);
    if (!tcp.listeners.has(port) && free(port)) return port;
  }
  return 0;
}

// ---- errors and resets

/** Owes the peer a reset. It is sent with the next flush. */
export function oweReset(tcp: Tcp, reset: Reset): void {
  if (tcp.resets.length < RESET_LIMIT) tcp.resets.push(reset);
}

/** The connection whose packet an ICMP error quotes (MUST-54), or undefined. */
export function findForError(tcp: Tcp, error: IpError): Tcb | undefined {
  if (error.end - error.at < 8) return undefined;
  const localPort = error.view.getUint16(error.at);
  const remotePort = error.view.getUint16(error.at + 2);
  return find(tcp, error.source, localPort, error.destination, remotePort);
}

// ---- deliver

/** Calls the users whose connections have news. Users may call anything from here. */
export function deliver(tcp: Tcp): void {
  const { eventful, eventfulListeners } = tcp;
  if (eventful.length > 0) {
    tcp.eventful = [];
    let i = 0;
    try {
      for (; i < eventful.length; i++) {
        const tcb = eventful[i]!;
        deliverTo(tcb);
        // Raised meanwhile, by another callback.
        if (tcb.events !== 0) tcp.eventful.push(tcb);
      }
    } finally {
      // A user's callback threw: what is left, of its own events too, comes in the next round.
      if (i < eventful.length) tcp.eventful = [...eventful.slice(i), ...tcp.eventful];
    }
  }
  if (eventfulListeners.length > 0) {
    tcp.eventfulListeners = [];
    let i = 0;
    try {
      while (i < eventfulListeners.length) offer(eventfulListeners[i++]!);
    } finally {
      tcp.eventfulListeners.push(...eventfulListeners.slice(i));
    }
  }
}

function offer(listener: Listener): void {
  listener.eventful = false;
  if (!listener.closed && listener.ready.length > 0) listener.acceptable(listener);
}

function deliverTo(tcb: Tcb): void {
  if (take(tcb, CONNECTED)) tcb.user?.connected(tcb);
  if (take(tcb, SOFT_ERROR) && tcb.softError !== undefined) tcb.user?.softError?.(tcb, tcb.softError);
  if (take(tcb, URGENT)) tcb.user?.urgent?.(tcb);
  if (take(tcb, READABLE)) tcb.user?.readable(tcb);
  if (take(tcb, WRITABLE)) tcb.user?.writable(tcb);
  if (take(tcb, DRAINED)) tcb.user?.drained(tcb);
  if (take(tcb, CLOSED)) {
    const { user } = tcb;
    tcb.user = undefined;
    user?.closed(tcb, tcb.error);
  }
}

/** True when `event` is due; it is not any more. One at a time: a callback that throws takes no other event with it. */
function take(tcb: Tcb, event: number): boolean {
  const due = (tcb.events & event) !== 0;
  tcb.events &= ~event;
  return due;
}

/** The error that a failed send or open reports for an IP error's kind (RFC 1122 4.2.3.9, Linux's icmp_err_convert). */
export function errnoOf(kind: IpError['kind']): ErrorCode {
  switch (kind) {
    case 'net unreachable':
      return 'ENETUNREACH';
    case 'port unreachable':
      return 'ECONNREFUSED';
    case 'protocol unreachable':
      return 'ENOPROTOOPT';
    case 'packet too big':
      return 'EMSGSIZE';
    case 'prohibited':
      return 'EACCES';
    case 'parameter problem':
      return 'EPROTO';
    default:
      return 'EHOSTUNREACH';
  }
}

/** True while `flush` or `deliver` has something to do. */
export function isPending(tcp: Tcp): boolean {
  return (
    tcp.outgoing.length > 0 ||
    tcp.resets.length > 0 ||
    tcp.eventful.length > 0 ||
    tcp.eventfulListeners.length > 0
  );
}

/** Asks IP anew for the way to the peer when the old answer went stale; keeps the old one when there is none now. */
export function refreshPath(tcb: Tcb): Path {
  if (!tcb.path.stale) return tcb.path;
  // MUST-45: the source address stays what it was.
  const path = tcb.tcp.ip.path(tcb.remote, tcb.local, tcb.remote.zone);
  if (typeof path !== 'string') tcb.path = path;
  return tcb.path;
}
