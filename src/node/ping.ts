// One question, one answer, as promises: ICMP echo (RFC 792) and ARP (RFC 826) for host.ping and host.arping.

import type { Arp } from '../arp/arp.ts';
import { type Address, parseAddress } from '../base/address.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { IpError } from '../base/ip.ts';
import { formatMac } from '../base/mac.ts';
import type { Echo } from '../ipv4/echo.ts';
import { now } from './clock.ts';
import { AbortError } from './errors.ts';
import type { Loop } from './loop.ts';

export interface PingOptions {
  /** Bytes of data; 56, as ping sends. */
  readonly size?: number;
  /** Milliseconds to wait; 1000. */
  readonly timeout?: number;
  readonly ttl?: number;
  readonly sequence?: number;
  readonly signal?: AbortSignal;
}

export interface PingReply {
  /** Round trip in milliseconds. */
  readonly rtt: number;
  /** TTL that the answer arrived with. */
  readonly ttl: number;
  /** Bytes of data that came back. */
  readonly bytes: number;
}

export interface ArpingOptions {
  /** Milliseconds to wait; 1000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

export interface ArpingReply {
  /** Who has the address, as `02:00:00:00:00:01`. */
  readonly mac: string;
  readonly rtt: number;
}

/** Questions that have no answer yet, and how to end each: for a host that goes down. */
export type Questions = Set<(error: Error) => void>;

const TIMEOUT_MS = 1000;
const PING_SIZE = 56;
/** RFC 791: 65535 less the IP header and ICMP's. */
const PING_MOST = 65_507;
/** A question that found the link full is asked again after so many milliseconds. */
const RETRY_MS = 10;

/** A wait that ends by answer, error, time or signal, whichever comes first, and tidies up once. */
function wait<T>(
  what: {
    syscall: string;
    address: string;
    timeout: number;
    signal: AbortSignal | undefined;
    loop: Loop;
    questions: Questions;
  },
  begin: (done: (value: T) => void, fail: (error: Error) => void) => () => void,
): Promise<T> {
  const { syscall, address, timeout, signal, loop, questions } = what;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new AbortError(signal.reason));
      return;
    }
    let tidy: (() => void) | undefined;
    let over = false;
    const finish = () => {
      over = true;
      questions.delete(fail);
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      loop.touch();
      tidy?.();
    };
    const fail = (error: Error) => {
      if (over) return;
      finish();
      reject(error);
    };
    const done = (value: T) => {
      if (over) return;
      finish();
      resolve(value);
    };
    const aborted = () => fail(new AbortError(signal?.reason));
    const timer = setTimeout(() => fail(new NetError('ETIMEDOUT', syscall, { address })), timeout);
    signal?.addEventListener('abort', aborted, { once: true });
    questions.add(fail);
    loop.touch();
    tidy = begin(done, fail);
    if (over) tidy();
  });
}

function parse(address: string, syscall: string): Address {
  const parsed = parseAddress(address);
  if (parsed === undefined || parsed.family !== 4) throw new NetError('EINVAL', syscall, { address });
  return parsed;
}

/** Asks `address` for an echo. Rejects with NetError (ETIMEDOUT, EHOSTUNREACH, EMSGSIZE …) or AbortError. */
export async function ping(
  echo: Echo,
  loop: Loop,
  address: string,
  options: PingOptions,
  questions: Questions,
): Promise<PingReply> {
  const { size = PING_SIZE, timeout = TIMEOUT_MS, ttl, sequence = 1, signal } = options;
  const destination = parse(address, 'ping');
  if (!Number.isInteger(size) || size < 0 || size > PING_MOST)
    throw new NetError('EMSGSIZE', 'ping', { address });
  const data = new Uint8Array(size);
  for (let i = 0; i < size; i++) data[i] = i;
  return wait({ syscall: 'ping', address, timeout, signal, loop, questions }, (done, fail) => {
    let sentAt = 0;
    let retry: NodeJS.Timeout | undefined;
    const client = echo.open({
      reply: ({ ttl, data, receivedAt }) =>
        done({ rtt: Math.max(0, receivedAt - sentAt) / 1000, ttl, bytes: data.length }),
      error: ({ kind }) => fail(new NetError(codeOf(kind), 'ping', { address })),
    });
    if (client === undefined) {
      fail(new NetError('ENOBUFS', 'ping', { address }));
      return () => {};
    }
    const ask = () => {
      loop.touch();
      sentAt = now();
      const result = echo.send(client, destination, sequence, data, ttl === undefined ? {} : { ttl });
      if (result === 'full') retry = setTimeout(ask, RETRY_MS);
      else if (result !== 'sent' && result !== 'queued')
        fail(new NetError(codeOfSend(result), 'ping', { address }));
    };
    ask();
    return () => {
      clearTimeout(retry);
      echo.close(client);
    };
  });
}

/** Asks who has `address`. Rejects with NetError (ETIMEDOUT) or AbortError. */
export async function arping(
  arp: Arp,
  loop: Loop,
  address: string,
  options: ArpingOptions,
  questions: Questions,
): Promise<ArpingReply> {
  const { timeout = TIMEOUT_MS, signal } = options;
  const target = parse(address, 'arping');
  return wait({ syscall: 'arping', address, timeout, signal, loop, questions }, (done) => {
    let sentAt = 0;
    let retry: NodeJS.Timeout | undefined;
    const question = arp.ask(target, ({ mac, at }) =>
      done({ mac: formatMac(mac), rtt: Math.max(0, at - sentAt) / 1000 }),
    );
    const ask = () => {
      loop.touch();
      sentAt = now();
      if (!question.send()) retry = setTimeout(ask, RETRY_MS);
    };
    ask();
    return () => {
      clearTimeout(retry);
      question.close();
    };
  });
}

function codeOf(kind: IpError['kind']): ErrorCode {
  switch (kind) {
    case 'net unreachable':
      return 'ENETUNREACH';
    case 'packet too big':
      return 'EMSGSIZE';
    case 'prohibited':
      return 'EACCES';
    case 'protocol unreachable':
      return 'ENOPROTOOPT';
    default:
      return 'EHOSTUNREACH';
  }
}

function codeOfSend(result: string): ErrorCode {
  switch (result) {
    case 'too big':
      return 'EMSGSIZE';
    case 'down':
      return 'ENETDOWN';
    case 'unreachable':
      return 'EHOSTUNREACH';
    default:
      return result as ErrorCode;
  }
}
