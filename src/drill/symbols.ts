// The names of C that scripts use, with the numbers of Linux: flags, socket options, errors, states.

import { ERRNO } from '../base/errors.ts';
import { type Expression, Unsupported } from './script.ts';

/** The errors of our own calls, and those that only a kernel's file descriptors have. */
export const ERRORS = {
  ...ERRNO,
  EINTR: 4,
  EBADF: 9,
  EFAULT: 14,
  ENOTSOCK: 88,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EINPROGRESS: 115,
} as const;

export type Errno = keyof typeof ERRORS;

/** Two names of one error. */
const SAME: Readonly<Record<string, Errno>> = { EWOULDBLOCK: 'EAGAIN', ENOTSUP: 'EOPNOTSUPP' };

/** The error's one name; undefined for a name that is not known. */
export function errnoNamed(name: string): Errno | undefined {
  return name in ERRORS ? (name as Errno) : SAME[name];
}

/** The states as tcp_info numbers them. */
export const TCP_STATES = {
  ESTABLISHED: 1,
  'SYN-SENT': 2,
  'SYN-RECEIVED': 3,
  'FIN-WAIT-1': 4,
  'FIN-WAIT-2': 5,
  'TIME-WAIT': 6,
  CLOSED: 7,
  'CLOSE-WAIT': 8,
  'LAST-ACK': 9,
  LISTEN: 10,
  CLOSING: 11,
} as const;

const NUMBERS: Readonly<Record<string, number>> = {
  ...ERRORS,
  EWOULDBLOCK: ERRORS.EAGAIN,
  ENOTSUP: ERRORS.EOPNOTSUPP,
  NULL: 0,
  AF_INET: 2,
  PF_INET: 2,
  AF_INET6: 10,
  PF_INET6: 10,
  INADDR_ANY: 0,
  INADDR_LOOPBACK: 0x7f000001,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  IPPROTO_IP: 0,
  IPPROTO_ICMP: 1,
  IPPROTO_TCP: 6,
  IPPROTO_UDP: 17,
  IPPROTO_IPV6: 41,
  IPPROTO_MPTCP: 262,
  SOL_IP: 0,
  SOL_SOCKET: 1,
  SOL_TCP: 6,
  SOL_UDP: 17,
  SOL_IPV6: 41,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_ERROR: 4,
  SO_BROADCAST: 6,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_KEEPALIVE: 9,
  SO_OOBINLINE: 10,
  SO_PRIORITY: 12,
  SO_LINGER: 13,
  SO_REUSEPORT: 15,
  SO_RCVLOWAT: 18,
  SO_SNDLOWAT: 19,
  SO_RCVTIMEO: 20,
  SO_SNDTIMEO: 21,
  SO_ACCEPTCONN: 30,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SO_MARK: 36,
  SO_TIMESTAMPING: 37,
  SO_PROTOCOL: 38,
  SO_DOMAIN: 39,
  SO_BUSY_POLL: 46,
  SO_MAX_PACING_RATE: 47,
  SO_ZEROCOPY: 60,
  IP_TOS: 1,
  IP_TTL: 2,
  IP_MTU_DISCOVER: 10,
  IP_RECVERR: 11,
  IP_MTU: 14,
  IP_PMTUDISC_DONT: 0,
  IP_PMTUDISC_WANT: 1,
  IP_PMTUDISC_DO: 2,
  IP_PMTUDISC_PROBE: 3,
  IPV6_UNICAST_HOPS: 16,
  IPV6_MTU_DISCOVER: 23,
  IPV6_RECVERR: 25,
  IPV6_V6ONLY: 26,
  IPV6_TCLASS: 67,
  IPTOS_LOWDELAY: 0x10,
  IPTOS_THROUGHPUT: 0x08,
  IPTOS_RELIABILITY: 0x04,
  IPTOS_MINCOST: 0x02,
  TCP_NODELAY: 1,
  TCP_MAXSEG: 2,
  TCP_CORK: 3,
  TCP_NOPUSH: 3,
  TCP_KEEPIDLE: 4,
  TCP_KEEPINTVL: 5,
  TCP_KEEPCNT: 6,
  TCP_SYNCNT: 7,
  TCP_LINGER2: 8,
  TCP_DEFER_ACCEPT: 9,
  TCP_WINDOW_CLAMP: 10,
  TCP_INFO: 11,
  TCP_QUICKACK: 12,
  TCP_CONGESTION: 13,
  TCP_MD5SIG: 14,
  TCP_THIN_LINEAR_TIMEOUTS: 16,
  TCP_USER_TIMEOUT: 18,
  TCP_FASTOPEN: 23,
  TCP_TIMESTAMP: 24,
  TCP_NOTSENT_LOWAT: 25,
  TCP_SAVED_SYN: 28,
  TCP_SAVE_SYN: 27,
  TCP_FASTOPEN_CONNECT: 30,
  TCP_FASTOPEN_KEY: 33,
  TCP_FASTOPEN_NO_COOKIE: 34,
  TCP_ZEROCOPY_RECEIVE: 35,
  TCP_INQ: 36,
  TCP_CM_INQ: 36,
  TCP_TX_DELAY: 37,
  // FreeBSD's, with numbers that Linux has no use for.
  TCP_NOOPT: 0x10008,
  TCP_KEEPINIT: 0x10080,
  F_GETFL: 3,
  F_SETFL: 4,
  F_GETFD: 1,
  F_SETFD: 2,
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_NONBLOCK: 0o4000,
  FD_CLOEXEC: 1,
  SHUT_RD: 0,
  SHUT_WR: 1,
  SHUT_RDWR: 2,
  MSG_OOB: 1,
  MSG_PEEK: 2,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_EOR: 0x80,
  MSG_WAITALL: 0x100,
  MSG_ERRQUEUE: 0x2000,
  MSG_NOSIGNAL: 0x4000,
  MSG_MORE: 0x8000,
  MSG_ZEROCOPY: 0x4000000,
  MSG_FASTOPEN: 0x20000000,
  POLLIN: 1,
  POLLPRI: 2,
  POLLOUT: 4,
  POLLERR: 8,
  POLLHUP: 16,
  POLLNVAL: 32,
  POLLRDNORM: 64,
  POLLWRNORM: 256,
  POLLRDHUP: 0x2000,
  EPOLLIN: 1,
  EPOLLPRI: 2,
  EPOLLOUT: 4,
  EPOLLERR: 8,
  EPOLLHUP: 16,
  EPOLLRDNORM: 64,
  EPOLLWRNORM: 256,
  EPOLLRDHUP: 0x2000,
  EPOLLONESHOT: 0x40000000,
  EPOLLET: 0x80000000,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLL_CTL_MOD: 3,
  FIONREAD: 0x541b,
  SIOCINQ: 0x541b,
  SIOCOUTQ: 0x5411,
  TIOCOUTQ: 0x5411,
  FIONWRITE: 0x5411,
  SIOCOUTQNSD: 0x894b,
  FIONBIO: 0x5421,
};

/** The number behind a name. Throws {@link Unsupported} when it is not known. */
export function numberNamed(name: string): number {
  const value = NUMBERS[name];
  if (value !== undefined) return value;
  const dscp = /^IPTOS_DSCP_(?:CS([0-7])|AF([1-4])([1-3])|(EF))$/.exec(name);
  if (dscp === null) throw new Unsupported(`the name ${name}`);
  const [, cs, af, drop, ef] = dscp;
  if (ef !== undefined) return 0xb8;
  return cs !== undefined ? Number(cs) << 5 : (Number(af) << 5) | (Number(drop) << 3);
}

/** Evaluates an expression that stands for a number. */
export function numberOf(e: Expression): number {
  switch (e.kind) {
    case 'number':
      return e.value;
    case 'word':
      return numberNamed(e.name);
    case 'or': {
      let bits = 0;
      for (const term of e.terms) bits |= numberOf(term);
      return bits >>> 0;
    }
    case 'call':
      if (e.name === 'htons' && e.args.length === 1) return numberOf(e.args[0]!);
  }
  throw new Unsupported(`a ${e.kind} where a number belongs`);
}
