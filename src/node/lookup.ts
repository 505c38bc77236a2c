// Name lookup of a host, in the shape of dns.lookup: literals and `localhost` by itself, other names by whatever it is given.

import { NOTFOUND } from 'node:dns';
import net from 'node:net';

export interface LookupAnswer {
  readonly address: string;
  readonly family: number;
}

export type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address?: string | LookupAnswer[],
  family?: number,
) => void;

export interface LookupOptions {
  readonly family?: number | string | undefined;
  readonly all?: boolean | undefined;
  readonly hints?: number | undefined;
}

/** As `dns.lookup`: `(hostname, options, callback)`. */
export type Lookup = (hostname: string, options: LookupOptions | number, callback: LookupCallback) => void;

/** Finds every address of a name that is neither a literal nor `localhost`. */
export type Resolver = (hostname: string, family: 0 | 4 | 6) => Promise<readonly LookupAnswer[]>;

/** Makes a lookup. Without a resolver every other name is ENOTFOUND: a host has no names of its own and asks nobody. */
export function createLookup(resolver: () => Resolver | undefined, hasIpv6: () => boolean): Lookup {
  return (hostname, given, callback) => {
    const options = typeof given === 'number' ? { family: given } : given;
    const family = familyOf(options.family);
    const answer = (answers: readonly LookupAnswer[]) => {
      const fit = answers.filter((a) => family === 0 || a.family === family);
      const first = fit[0];
      if (first === undefined) process.nextTick(callback, notFound(hostname));
      else if (options.all === true) process.nextTick(callback, null, [...fit]);
      else process.nextTick(callback, null, first.address, first.family);
    };
    const literal = net.isIP(hostname);
    // A literal is itself whatever family was asked for, as in dns.lookup: who uses it says what is wrong with it.
    if (literal !== 0) {
      const itself = { address: hostname, family: literal };
      if (options.all === true) process.nextTick(callback, null, [itself]);
      else process.nextTick(callback, null, hostname, literal);
      return;
    }
    // RFC 6761 6.3: localhost is this host, whatever a server would say.
    if (/^(.+\.)?localhost\.?$/i.test(hostname)) return answer(loopback(hasIpv6()));
    const resolve = resolver();
    if (resolve === undefined) return answer([]);
    resolve(hostname, family).then(answer, (error) => process.nextTick(callback, error));
  };
}

function loopback(ipv6: boolean): LookupAnswer[] {
  const v4 = { address: '127.0.0.1', family: 4 };
  return ipv6 ? [v4, { address: '::1', family: 6 }] : [v4];
}

function familyOf(family: number | string | undefined): 0 | 4 | 6 {
  if (family === 4 || family === 'IPv4') return 4;
  if (family === 6 || family === 'IPv6') return 6;
  return 0;
}

function notFound(hostname: string): NodeJS.ErrnoException {
  const error = new Error(`getaddrinfo ${NOTFOUND} ${hostname}`) as NodeJS.ErrnoException & {
    hostname: string;
  };
  // Node's own number for it: libuv's UV_ENOTFOUND does not exist as an errno of the system.
  error.errno = -3008;
  error.code = NOTFOUND;
  error.syscall = 'getaddrinfo';
  error.hostname = hostname;
  return error;
}
