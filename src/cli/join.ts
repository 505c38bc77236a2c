// From the options of a command to a running host on its TAP, and what to say when there can be none.

import type dgram from 'node:dgram';
import type net from 'node:net';
import type { Host } from '../node/host.ts';
import type { Io } from './io.ts';
import { type HostOptions, type HostPlan, planHost } from './options.ts';

/** There is no TAP to run on: no device node, no permission, or no driver. Ends with exit code 77. */
export class NoTapError extends Error {
  override readonly name = 'NoTapError';
}

/** What a short command asks of a host. The host of node/host.ts has it; so does anything over Node's own sockets. */
export interface CommandHost {
  readonly net: {
    connect(options: net.TcpNetConnectOpts): net.Socket;
    createServer(options: net.ServerOpts): net.Server;
  };
  readonly dgram: { createSocket(type: dgram.SocketType): dgram.Socket };
  ping(
    address: string,
    options?: { size?: number; timeout?: number; ttl?: number; signal?: AbortSignal },
  ): Promise<{ rtt: number; ttl: number; bytes: number }>;
  arping(
    address: string,
    options?: { timeout?: number; signal?: AbortSignal },
  ): Promise<{ mac: string; rtt: number }>;
}

/** Opens the host that the options ask for, runs `task` on it, and closes it whatever happens. */
export async function withHost(
  options: HostOptions,
  io: Io,
  task: (host: CommandHost, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const host = await openHost(planHost(options));
  // The device may go away under us: somebody deletes the interface.
  const gone = new AbortController();
  host.on('error', (error) => gone.abort(error));
  try {
    const code = await task(host, AbortSignal.any([io.stop, gone.signal]));
    gone.signal.throwIfAborted();
    return code;
  } finally {
    await host.close();
  }
}

/** Opens a host on a TAP. Throws {@link NoTapError} when this machine gives us none. */
export async function openHost(plan: HostPlan): Promise<Host> {
  // Loaded here, so that help and `dissect` start without the stack.
  const { createHost } = await import('../node/host.ts');
  try {
    return await createHost({
      tap: plan.tap,
      ipv4: plan.ip,
      ...(plan.hostIp === undefined ? {} : { hostIp: plan.hostIp }),
      ...(plan.gateway === undefined ? {} : { gateway: plan.gateway }),
      ...(plan.mtu === undefined ? {} : { mtu: plan.mtu }),
      ...(plan.mac === undefined ? {} : { mac: plan.mac }),
      ...(plan.offload === undefined ? {} : { offload: plan.offload }),
      ...(plan.capture === undefined ? {} : { capture: plan.capture }),
      ...(plan.netns === undefined ? {} : { netns: plan.netns }),
    });
  } catch (error) {
    if (isNoTap(error)) throw new NoTapError((error as Error).message, { cause: error });
    throw error;
  }
}

/** True when an error of the driver says that TAPs are not to be had here, not that this one is wrong. */
export function isNoTap(error: unknown): boolean {
  const { name, code, syscall } = (error ?? {}) as { name?: string; code?: string; syscall?: string };
  if (name !== 'TapError') return false;
  if (code === 'ERR_TAP_UNAVAILABLE' || code === 'EPERM' || code === 'EACCES') return true;
  return syscall === 'open';
}
