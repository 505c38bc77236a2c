// Errors of use, shaped as Node shapes them.

/** The error numbers of Linux that our calls report. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EPIPE: 32,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  ECANCELED: 125,
  EPROTO: 71,
  ENOPROTOOPT: 92,
} as const;

export type ErrorCode = keyof typeof ERRNO;

/** A failed call: `code`, negative `errno`, `syscall` and where it applies `address` and `port`, as in `node:net`. */
export class NetError extends Error {
  readonly code: ErrorCode;
  readonly errno: number;
  readonly syscall: string;
  // Declared only, so that an error without them has no such property: Node's have none, and print none.
  declare readonly address?: string;
  declare readonly port?: number;

  constructor(code: ErrorCode, syscall: string, where: { address?: string; port?: number } = {}) {
    const place =
      where.address === undefined
        ? ''
        : ` ${where.address}${where.port === undefined ? '' : `:${where.port}`}`;
    super(`${syscall} ${code}${place}`);
    this.name = 'NetError';
    this.code = code;
    this.errno = -ERRNO[code];
    this.syscall = syscall;
    if (where.address !== undefined) this.address = where.address;
    if (where.port !== undefined) this.port = where.port;
  }
}
