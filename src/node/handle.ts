// What the handles of TCP and UDP share: the ground they stand on, the async context of their callbacks, and the rule by
// which a handle keeps the process alive.

import { AsyncResource } from 'node:async_hooks';
import { type Address, parseAddress } from '../base/address.ts';
import type { Member, Roster } from '../base/roster.ts';
import type { Tcp } from '../tcp/tcp.ts';
import type { Udp } from '../udp/udp.ts';
import { surface } from './errors.ts';
import type { Loop } from './loop.ts';

/** The stack as a handle sees it. */
export interface Ground {
  readonly tcp: Tcp;
  readonly udp: Udp;
  readonly loop: Loop;
  /** Index of the interface with this address, 0 when no interface has it. */
  interfaceOf(address: Address): number;
  /** Whether an interface has an IPv6 address: `listen` without an address then serves both families. */
  hasIpv6(): boolean;
  /** Handles in use: what `host.close()` has to close. */
  readonly open: Roster<Closable>;
  /** The host is down: nothing can be opened any more. */
  closed: boolean;
}

/** What a host that goes down asks of a handle: to end in order, and later to end at once. */
export interface Closable extends Member<Closable> {
  closeSoon(): void;
  destroy(): void;
}

/** A TCP handle as its reading and its writing half see it. */
export interface StreamOwner {
  readonly loop: Loop;
  readonly context: Context;
  readonly closing: boolean;
  readonly connecting: boolean;
  /** 0, or the negative errno of what the connection died of. */
  failure(): number;
  /** The negative errno for a write that comes too late. */
  brokenPipe(): number;
  /** What keeps the process alive may have changed. */
  changed(): void;
}

/** The shape that Node's `getsockname` and `getpeername` fill in. */
export interface SockName {
  address?: string;
  family?: string;
  port?: number;
}

export function fillName(out: SockName, address: Address, port: number): 0 {
  out.address = address.toString();
  out.family = address.family === 4 ? 'IPv4' : 'IPv6';
  out.port = port;
  return 0;
}

/** Parses what Node hands down: an IP literal, maybe with a zone. */
export function toAddress(text: string): Address | undefined {
  return parseAddress(text);
}

/**
 * Calls into the application as Node does for its own handles: in the async context in which the handle was made, and
 * with an error that a listener throws becoming an `uncaughtException` that stops neither the loop nor other sockets.
 */
export class Context {
  #resource: AsyncResource;
  readonly #type: string;

  constructor(type: string) {
    this.#type = type;
    this.#resource = new AsyncResource(type, { requireManualDestroy: true });
  }

  get asyncId(): number {
    return this.#resource.asyncId();
  }

  /** A kept-alive connection starts to serve another request: from now on that one's context counts. */
  reset(): void {
    this.#resource.emitDestroy();
    this.#resource = new AsyncResource(this.#type, { requireManualDestroy: true });
  }

  /** Runs `call` with up to five values. Returns what it returned, `undefined` after an error. */
  run<A extends unknown[], R>(call: (...values: A) => R, self: unknown, ...values: A): R | undefined {
    try {
      return this.#resource.runInAsyncScope(call, self, ...values);
    } catch (error) {
      surface(error);
      return undefined;
    }
  }

  destroy(): void {
    this.#resource.emitDestroy();
  }
}

/** Keeps the process alive while its handle is both referenced and active. */
export class Anchor {
  readonly #loop: Loop;
  #referenced = true;
  #active = false;
  #held = false;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  get referenced(): boolean {
    return this.#referenced;
  }

  ref(): void {
    this.#referenced = true;
    this.#update();
  }

  unref(): void {
    this.#referenced = false;
    this.#update();
  }

  /** Says whether the handle waits for anything: reading, listening, or a request that is not done. */
  set active(active: boolean) {
    if (active === this.#active) return;
    this.#active = active;
    this.#update();
  }

  #update(): void {
    const hold = this.#active && this.#referenced;
    if (hold === this.#held) return;
    this.#held = hold;
    if (hold) this.#loop.hold();
    else this.#loop.release();
  }
}
