// Socket options: setsockopt and getsockopt of the virtual kernel. What the stack does not have is refused by name.

import { MILLISECOND, SECOND } from '../base/time.ts';
import { info, setKeepAlive, setNoDelay } from '../tcp/calls.ts';
import type { CongestionName } from '../tcp/congestion.ts';
import type { TcpOptions } from '../tcp/tcb.ts';
import { done, failed, OK, type Outcome } from './outcome.ts';
import { type Expression, Unsupported } from './script.ts';
import { DatagramSocket, type Socket, TcpSocket } from './socket.ts';
import { ERRORS, numberOf } from './symbols.ts';

/** Options that change nothing a script can see here, whatever their value. */
const HARMLESS = new Set([
  'SO_REUSEADDR',
  'SO_REUSEPORT',
  'SO_PRIORITY',
  'SO_MARK',
  'SO_OOBINLINE',
  'SO_BUSY_POLL',
  'TCP_QUICKACK',
  'TCP_SYNCNT',
  'TCP_LINGER2',
  'IP_MTU_DISCOVER',
  'IP_FREEBIND',
]);

/** Options that must keep their default: the stack has no other behaviour. */
const DEFAULTS_ONLY: Readonly<Record<string, number>> = {
  TCP_CORK: 0,
  TCP_NOPUSH: 0,
  TCP_NOOPT: 0,
  TCP_FASTOPEN: 0,
  TCP_DEFER_ACCEPT: 0,
  SO_ZEROCOPY: 0,
  TCP_INQ: 0,
  TCP_TIMESTAMP: 0,
  TCP_THIN_LINEAR_TIMEOUTS: 0,
  SO_TIMESTAMPING: 0,
  SO_RCVLOWAT: 1,
  IP_RECVERR: 0,
};

/** The least that SO_RCVBUF and SO_SNDBUF come to on Linux (SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF). */
const LEAST_BUFFER: Readonly<Record<string, number>> = { SO_RCVBUF: 2304, SO_SNDBUF: 4608 };

export function setSocketOption(socket: Socket, name: string, value: Expression): Outcome {
  if (name === 'SO_LINGER') return setLinger(socket, value);
  if (name === 'TCP_CONGESTION') return setCongestion(socket, value);
  if (value.kind === 'word' && value.name === 'NULL') return failed('EFAULT');
  const n = numberIn(value);
  if (n === undefined) throw new Unsupported(`${name} of ${value.kind}`);
  if (HARMLESS.has(name)) {
    if (socket instanceof TcpSocket) socket.kept.set(name, n);
    return OK;
  }
  if (name in DEFAULTS_ONLY) {
    if (n !== DEFAULTS_ONLY[name]) throw new Unsupported(`the socket option ${name}`);
    return OK;
  }
  if (socket instanceof DatagramSocket) return setDatagramOption(socket, name, n);
  if (socket instanceof TcpSocket) return setStreamOption(socket, name, n);
  throw new Unsupported(`the socket option ${name}`);
}

function setDatagramOption(socket: DatagramSocket, name: string, n: number): Outcome {
  if (name === 'IP_TTL') socket.udp.ttl = n;
  else if (name === 'IP_TOS') socket.udp.trafficClass = n;
  else if (name === 'SO_BROADCAST') socket.udp.broadcast = n !== 0;
  else throw new Unsupported(`the socket option ${name} of UDP`);
  return OK;
}

/** The settings a stream socket works with now: its connection's, its listener's, or those it will open with. */
function settingsOf(socket: TcpSocket): TcpOptions {
  socket.round();
  return socket.tcb?.options ?? socket.listener?.options ?? socket.options;
}

function setStreamOption(socket: TcpSocket, name: string, n: number): Outcome {
  const settings = settingsOf(socket);
  switch (name) {
    case 'SO_RCVBUF':
    case 'SO_RCVBUFFORCE':
      if (n <= 0 && !socket.profile.doublesBuffers) return failed('EINVAL');
      settings.receiveBufferLimit = bufferSize(socket, 'SO_RCVBUF', n);
      // What a program has fixed is not tuned any more.
      settings.receiveBufferMax = 0;
      return OK;
    case 'SO_SNDBUF':
    case 'SO_SNDBUFFORCE':
      if (n <= 0 && !socket.profile.doublesBuffers) return failed('EINVAL');
      settings.sendBufferLimit = bufferSize(socket, 'SO_SNDBUF', n);
      settings.sendBufferMax = 0;
      if (socket.tcb !== undefined) socket.tcb.sendBuffer.limit = settings.sendBufferLimit;
      return OK;
    case 'SO_KEEPALIVE':
      return keepAlive(socket, settings, { enabled: n !== 0 });
    case 'TCP_KEEPIDLE':
      return n < 1 ? failed('EINVAL') : keepAlive(socket, settings, { idle: n * SECOND });
    case 'TCP_KEEPINTVL':
      return n < 1 ? failed('EINVAL') : keepAlive(socket, settings, { interval: n * SECOND });
    case 'TCP_KEEPCNT':
      return n < 1 ? failed('EINVAL') : keepAlive(socket, settings, { count: n });
    case 'TCP_KEEPINIT':
      socket.kept.set(name, n);
      return OK;
    case 'TCP_NODELAY':
      if (socket.tcb === undefined) settings.noDelay = n !== 0;
      else setNoDelay(socket.tcb, n !== 0);
      return OK;
    case 'TCP_USER_TIMEOUT':
      settings.userTimeout = n === 0 ? socket.stack.tcp.config.defaults.userTimeout : n * MILLISECOND;
      return OK;
    case 'TCP_MAXSEG':
      if (n < 88 || n > 32_767) return failed('EINVAL');
      settings.maxMss = n;
      return OK;
    case 'IP_TOS':
      // The lower two bits are ECN's, and TCP's own (Linux keeps them out likewise).
      settings.trafficClass = n & 0xfc;
      return OK;
    case 'IP_TTL':
      if (n < 1 || n > 255) return failed('EINVAL');
      settings.ttl = n;
      return OK;
  }
  throw new Unsupported(`the socket option ${name}`);
}

function bufferSize({ profile }: TcpSocket, name: string, n: number): number {
  return profile.doublesBuffers ? Math.max(2 * n, LEAST_BUFFER[name]!) : n;
}

function keepAlive(
  { tcb }: TcpSocket,
  settings: TcpOptions,
  part: Partial<TcpOptions['keepAlive']>,
): Outcome {
  if (tcb === undefined) settings.keepAlive = { ...settings.keepAlive, ...part };
  else setKeepAlive(tcb, part);
  return OK;
}

function setLinger(socket: Socket, value: Expression): Outcome {
  if (value.kind !== 'struct') throw new Unsupported('SO_LINGER without a struct');
  const field = (name: string): number => {
    const found = value.fields.find((f) => f.name === name || f.name === `l_${name}`);
    return found === undefined ? 0 : numberOf(found.value);
  };
  if (socket instanceof TcpSocket) socket.linger = { onoff: field('onoff'), linger: field('linger') };
  return OK;
}

function setCongestion(socket: Socket, value: Expression): Outcome {
  const name = value.kind === 'array' ? value.items[0] : value;
  if (name?.kind !== 'string' || !(socket instanceof TcpSocket)) throw new Unsupported('TCP_CONGESTION');
  const wanted = congestionNamed(name.value);
  // A connection keeps what it was made with.
  if (socket.tcb !== undefined && socket.tcb.congestion.name !== wanted) {
    throw new Unsupported('TCP_CONGESTION on an open connection');
  }
  settingsOf(socket).congestion = wanted;
  return OK;
}

const CONGESTION: Readonly<Record<string, CongestionName>> = {
  cubic: 'cubic',
  bbr: 'bbr',
  reno: 'newreno',
  newreno: 'newreno',
};

/** The controller that a kernel calls so. Throws {@link Unsupported}. */
export function congestionNamed(name: string): CongestionName {
  const found = CONGESTION[name];
  if (found === undefined) throw new Unsupported(`congestion control ${name}`);
  return found;
}

/** `[5]`, `5`, `[ECONNRESET]`; undefined for anything else. */
function numberIn(value: Expression): number | undefined {
  if (value.kind === 'array') return value.items.length === 1 ? numberIn(value.items[0]!) : undefined;
  if (value.kind === 'number' || value.kind === 'word' || value.kind === 'or') return numberOf(value);
  return undefined;
}

/** Linux says reno, FreeBSD newreno. */
function kernelName({ profile }: TcpSocket, name: CongestionName): string {
  return name === 'newreno' && profile.name !== 'freebsd' ? 'reno' : name;
}

/** getsockopt: 0, and in `mismatch` what the option is if the script has it otherwise. */
export function getSocketOption(socket: Socket, name: string, expected: Expression): Outcome {
  if (name === 'SO_LINGER' && socket instanceof TcpSocket) return compareLinger(socket, expected);
  const value = readOption(socket, name);
  if (expected.kind === 'ellipsis') return OK;
  const wanted = expected.kind === 'array' ? expected.items[0] : expected;
  if (wanted === undefined || wanted.kind === 'ellipsis') return OK;
  if (typeof value === 'string') {
    const same = wanted.kind === 'string' && wanted.value === value;
    return same ? OK : { ...OK, mismatch: `${name} is "${value}"` };
  }
  const number = numberIn(wanted);
  if (number === undefined) throw new Unsupported(`${name} compared with ${wanted.kind}`);
  return number === value
    ? OK
    : { ...OK, mismatch: `${name} is ${show(name, value)}, not ${show(name, number)}` };
}

function show(name: string, value: number): string {
  if (name !== 'SO_ERROR' || value === 0) return String(value);
  return Object.entries(ERRORS).find(([, n]) => n === value)?.[0] ?? String(value);
}

function compareLinger({ linger }: TcpSocket, expected: Expression): Outcome {
  if (expected.kind !== 'struct') return OK;
  for (const { name, value } of expected.fields) {
    const actual = name === 'onoff' ? linger.onoff : linger.linger;
    if (numberOf(value) !== actual) return { ...OK, mismatch: `SO_LINGER's ${name} is ${actual}` };
  }
  return OK;
}

function readOption(socket: Socket, name: string): number | string {
  if (name === 'SO_ERROR') {
    const { error } = socket;
    socket.error = undefined;
    return error === undefined ? 0 : ERRORS[error];
  }
  if (name === 'SO_TYPE') return socket.kind === 'tcp' ? 1 : 2;
  if (!(socket instanceof TcpSocket)) throw new Unsupported(`getsockopt ${name} of UDP`);
  const kept = socket.kept.get(name);
  if (kept !== undefined) return kept;
  const settings = settingsOf(socket);
  const { keepAlive } = settings;
  switch (name) {
    case 'SO_RCVBUF':
      return settings.receiveBufferLimit;
    case 'SO_SNDBUF':
      return settings.sendBufferLimit;
    case 'SO_KEEPALIVE':
      return keepAlive.enabled ? 1 : 0;
    case 'SO_ACCEPTCONN':
      return socket.listener === undefined ? 0 : 1;
    case 'TCP_KEEPIDLE':
      return keepAlive.idle / SECOND;
    case 'TCP_KEEPINTVL':
      return keepAlive.interval / SECOND;
    case 'TCP_KEEPCNT':
      return keepAlive.count;
    case 'TCP_NODELAY':
      return settings.noDelay ? 1 : 0;
    case 'TCP_USER_TIMEOUT': {
      const isDefault = settings.userTimeout === socket.stack.tcp.config.defaults.userTimeout;
      return isDefault ? 0 : settings.userTimeout / MILLISECOND;
    }
    case 'TCP_MAXSEG':
      return socket.tcb === undefined ? settings.maxMss || 536 : info(socket.tcb).mss;
    case 'TCP_CONGESTION':
      return kernelName(socket, settings.congestion);
    case 'IP_TOS':
      return settings.trafficClass;
    case 'IP_TTL':
      return settings.ttl;
  }
  if (HARMLESS.has(name)) return 0;
  if (name in DEFAULTS_ONLY) return DEFAULTS_ONLY[name]!;
  throw new Unsupported(`getsockopt ${name}`);
}

/** ioctl: how much waits, in either direction. */
export function control(socket: Socket, request: string, expected: Expression | undefined): Outcome {
  if (request === 'FIONBIO') {
    const n = expected === undefined ? undefined : numberIn(expected);
    if (n === undefined) return failed('EINVAL');
    socket.nonBlocking = n !== 0;
    return OK;
  }
  const value = amount(socket, request);
  const wanted = expected === undefined ? undefined : numberIn(expected);
  if (wanted === undefined || wanted === value) return done(0);
  return { ...OK, mismatch: `${request} is ${value}, not ${wanted}` };
}

function amount(socket: Socket, request: string): number {
  switch (request) {
    case 'FIONREAD':
    case 'SIOCINQ':
      return socket.unread();
    case 'SIOCOUTQ':
    case 'TIOCOUTQ':
    case 'FIONWRITE':
      return socket.unsent();
    case 'SIOCOUTQNSD':
      return socket instanceof TcpSocket && socket.tcb !== undefined ? info(socket.tcb).unsent : 0;
  }
  throw new Unsupported(`ioctl ${request}`);
}
