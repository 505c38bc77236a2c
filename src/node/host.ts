// A host in this process: a stack on a TAP or another device, and Node's own sockets over it.

import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { type Address, ANY_V4 } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';
import { Roster } from '../base/roster.ts';
import type { Device, DeviceStats } from '../link/device.ts';
import { type Netem, type NetemOptions, netem } from '../link/netem.ts';
import { segment } from '../link/segment.ts';
import type { Counters } from '../stack/counters.ts';
import type { Interface } from '../stack/interface.ts';
import { isUsable } from '../stack/route.ts';
import { Stack } from '../stack/stack.ts';
import { abort } from '../tcp/calls.ts';
import { allConnections, DEFAULT_OPTIONS, type Tcp } from '../tcp/tcp.ts';
import { CapturePoint, type HostCapture } from './capture-point.ts';
import { now, systemRandom } from './clock.ts';
import { type ConnectionFacts, listConnections } from './connections.ts';
import { createDgram, type HostDgram } from './dgram.ts';
import { channels, debug, observe, tellDrop, tellTransition } from './diagnostics.ts';
import { AbortError, HostError, surface } from './errors.ts';
import type { Closable, Ground } from './handle.ts';
import { checkOptions, type HostOptions, type HostPlan } from './host-options.ts';
import { createLookup, type Lookup, type Resolver } from './lookup.ts';
import { Loop } from './loop.ts';
import { createNet, type HostNet, listenOn } from './net.ts';
import {
  type ArpingOptions,
  type ArpingReply,
  arping,
  type PingOptions,
  type PingReply,
  ping,
  type Questions,
} from './ping.ts';
import { openTap, type TapDevice, type TapOptions } from './tap.ts';

export type { HostCapture } from './capture-point.ts';
export type { ConnectionFacts } from './connections.ts';
export type { HostOptions } from './host-options.ts';

export interface HostEvents {
  /** An address of ours came into use. */
  address: [{ address: string; interface: string }];
  /** Another station uses an address of ours. */
  conflict: [{ address: string; mac: string; interface: string }];
  link: [{ up: boolean; interface: string }];
  /** The device stopped by itself: its interface was deleted. */
  error: [Error];
  close: [];
}

/** How long `close` waits for connections to end in order, in milliseconds; then they are reset. */
const LINGER_MS = 1000;
/** How often it looks. */
const LINGER_STEP_MS = 5;

/** Opens a host. Rejects with HostError for a wrong option, TapError when there is no TAP to be had. */
export async function createHost(options: HostOptions): Promise<Host> {
  const plan = checkOptions(options);
  if (options.signal?.aborted === true) throw new AbortError(options.signal.reason);
  const host = new Host(options, plan);
  if (options.capture !== undefined) {
    try {
      host.capture(options.capture);
    } catch (error) {
      await host.close();
      throw error;
    }
  }
  return host;
}

export class Host extends EventEmitter<HostEvents> {
  readonly net: HostNet;
  readonly dgram: HostDgram;
  readonly stack: Stack;
  /** The device that was given or opened. */
  readonly device: Device;
  readonly interface: Interface;
  /** The bad network that was asked for, to be changed while it runs. A capture is of what passes on its far side. */
  readonly netem: Netem | undefined;
  /** As `dns.lookup`, with this host's eyes: literals, `localhost`, and what {@link resolver} knows. */
  readonly lookup: Lookup;
  /** Finds names for {@link lookup}; without one every name is ENOTFOUND. */
  resolver: Resolver | undefined;
  readonly #loop: Loop<Interface>;
  readonly #ground: Ground;
  readonly #captures: CapturePoint;
  readonly #tap: TapDevice | undefined;
  #held = false;
  readonly #questions: Questions = new Set();
  #closing: Promise<void> | undefined;

  constructor(options: HostOptions, plan: HostPlan) {
    super();
    const tap = options.tap === undefined ? undefined : openTap(tapOptions(options, plan));
    this.#tap = tap?.unref();
    const device = options.device ?? tap!;
    this.device = device;
    const name = options.name ?? device.name;
    const stack = new Stack({
      random: options.random ?? systemRandom(),
      now: now(),
      ...(options.forwarding === undefined ? {} : { forwarding: options.forwarding }),
      ...(options.congestion === undefined
        ? {}
        : { tcp: { defaults: { ...DEFAULT_OPTIONS, congestion: options.congestion } } }),
    });
    this.stack = stack;
    this.#captures = new CapturePoint(device, stack.trace);
    this.netem = options.netem === undefined ? undefined : worsened(this.#captures.device, options.netem);
    const port = observe(offloaded(this.netem ?? this.#captures.device), name);
    this.interface = stack.addInterface({
      name,
      port,
      ...(plan.mtu === undefined ? {} : { mtu: Math.min(plan.mtu, port.mtu) }),
    });
    this.#loop = new Loop(stack, {
      direct: tap !== undefined,
      setTime: (time) => stack.setTime(time),
      dropped: (packet, end, reason) => tellDrop(name, packet, end, reason),
      afterRound: () => this.#checkDevice(),
    });
    this.lookup = createLookup(
      () => this.resolver,
      () => this.#hasIpv6(),
    );
    this.#ground = this.#makeGround();
    this.net = createNet(this.#ground, this.lookup);
    this.dgram = createDgram(this.#ground, this.lookup);
    this.#watch(name);
    this.#configure(options, plan);
    this.#loop.attach(port, this.interface);
    if (tap !== undefined) this.ref();
    options.signal?.addEventListener('abort', () => void this.close(), { once: true });
    debug('%s: up, %s, MTU %d', name, formatMac(device.mac), this.interface.mtu);
    if (channels.hostOpen.hasSubscribers) channels.hostOpen.publish({ host: this });
  }

  #makeGround(): Ground {
    const { stack } = this;
    return {
      tcp: stack.tcp,
      udp: stack.udp,
      loop: this.#loop as unknown as Loop,
      interfaceOf: (address) => this.#interfaceOf(address),
      hasIpv6: () => this.#hasIpv6(),
      open: new Roster<Closable>(),
      closed: false,
    };
  }

  #configure(options: HostOptions, plan: HostPlan): void {
    // RFC 5227 2.4 (c): addresses given by hand are defended for ever. Else two forged frames would take a server off its own.
    for (const cidr of plan.addresses) {
      this.interface.addAddress(cidr, { probe: options.probe ?? false, keep: true });
    }
    if (plan.gateway === undefined) return;
    this.stack.routes.add({
      prefix: { address: ANY_V4, prefixLength: 0 },
      via: plan.gateway,
      interfaceIndex: this.interface.index,
    });
  }

  /** Passes on what the stack reports. */
  #watch(name: string): void {
    const { stack } = this;
    stack.tcp.onTransition = (tcb, from, to) => tellTransition(name, tcb, from, to);
    stack.observer = {
      address: (netif, address) => {
        if (!isUsable(address) || !netif.addresses.includes(address)) return;
        const facts = { address: `${address.address}/${address.prefixLength}`, interface: netif.name };
        debug('%s: address %s', netif.name, facts.address);
        if (channels.address.hasSubscribers) channels.address.publish({ host: this, ...facts });
        this.#tell('address', facts);
      },
      link: (netif) => this.#tell('link', { up: netif.up, interface: netif.name }),
      conflict: (netif, { address }, mac) => {
        const facts = { address: address.toString(), mac: formatMac(mac), interface: netif.name };
        debug('%s: %s is also used by %s', facts.interface, facts.address, facts.mac);
        if (channels.conflict.hasSubscribers) channels.conflict.publish({ host: this, ...facts });
        this.#tell('conflict', facts);
      },
    };
  }

  /** A listener that throws is not to stop the round. */
  #tell<K extends keyof HostEvents>(event: K, ...values: HostEvents[K]): void {
    try {
      (this as EventEmitter).emit(event, ...values);
    } catch (error) {
      surface(error);
    }
  }

  /** After each round: a TAP whose interface was deleted carries nothing any more. */
  #checkDevice(): void {
    const failure = this.#tap?.failure;
    if (failure === undefined || this.#closing !== undefined) return;
    void this.close();
    this.#tell('error', failure);
  }

  #interfaceOf(address: Address): number {
    for (const netif of this.stack.interfaces) {
      if (netif.addresses.some((own) => own.address.equals(address))) return netif.index;
    }
    return 0;
  }

  #hasIpv6(): boolean {
    return this.interface.addresses.some(({ address }) => address.family === 6);
  }

  /** Our address on the link, the first we were given; `undefined` before there is one. */
  get address(): string | undefined {
    return this.interface.addresses[0]?.address.toString();
  }

  /**
   * Puts any server of Node's shape (net, http, https, http2) on this stack. Resolves once it listens; rejects with
   * EADDRINUSE, EADDRNOTAVAIL and others. Close it as usual.
   */
  async listen(server: net.Server, port = 0, address?: string, backlog = LISTEN_BACKLOG): Promise<void> {
    this.#mustBeOpen();
    // An HTTP parser that reads in JavaScript spares one copy and two crossings a chunk; TLS needs the other way.
    const plain = server instanceof http.Server;
    const handle = listenOn(this.#ground, address ?? null, port, backlog, 0, plain);
    if (handle instanceof Error) throw handle;
    const listening = once(server, 'listening');
    server.listen(handle, backlog);
    await listening;
  }

  /** Asks for an echo (RFC 792). Rejects with NetError: ETIMEDOUT, EHOSTUNREACH, EMSGSIZE; or AbortError. */
  async ping(address: string, options: PingOptions = {}): Promise<PingReply> {
    this.#mustBeOpen();
    return ping(this.stack.ipv4.icmp.echo, this.#loop, address, options, this.#questions);
  }

  /** Asks who has an address (RFC 826), whatever the neighbour cache believes. */
  async arping(address: string, options: ArpingOptions = {}): Promise<ArpingReply> {
    this.#mustBeOpen();
    return arping(this.interface.arp, this.#loop, address, options, this.#questions);
  }

  /** Everything that is counted, under MIB names, and the device's own numbers. */
  counters(): Counters & { device: DeviceStats } {
    return { ...this.stack.counters(), device: { ...this.device.stats } };
  }

  /** What `netstat -an` shows: listeners, connections, UDP sockets. */
  connections(): ConnectionFacts[] {
    return listConnections(this.stack);
  }

  /** Records every frame, with the stack's notes as comments, into a pcapng file (`-`: standard output) until `stop`. */
  capture(file: string): HostCapture {
    this.#mustBeOpen();
    const { name, addresses } = this.interface;
    return this.#captures.start(file, { name, address: addresses.find((a) => a.address.family === 4) });
  }

  /** An agent for http.request and http.get whose connections are this host's. */
  httpAgent(options: http.AgentOptions = {}): http.Agent {
    const agent = new http.Agent(options);
    Object.assign(agent, { createConnection: this.net.connect });
    return agent;
  }

  /** The same for https. */
  httpsAgent(options: https.AgentOptions = {}): https.Agent {
    const agent = new https.Agent(options);
    const connect = (agent as unknown as { createConnection: CreateConnection }).createConnection;
    const create: CreateConnection = (wishes, created) => {
      const { lookup: _, ...rest } = wishes;
      const socket = this.net.connect({
        ...rest,
        lookup: wishes.lookup ?? this.lookup,
      } as net.NetConnectOpts);
      return connect.call(agent, { ...wishes, socket }, created);
    };
    Object.assign(agent, { createConnection: create });
    return agent;
  }

  /** Keeps the process alive while the host is up: what a host on a TAP does from the start. */
  ref(): this {
    if (!this.#held && this.#closing === undefined) {
      this.#held = true;
      this.#loop.hold();
    }
    return this;
  }

  /** Lets the process end when nothing else, such as an open socket that reads, keeps it alive. */
  unref(): this {
    if (this.#held) {
      this.#held = false;
      this.#loop.release();
    }
    return this;
  }

  /**
   * Goes down: servers stop, connections end in order (FIN) or after a second at once (RST), captures are completed, the
   * device is closed. Twice is harmless. Rejects when a capture file could not be completed.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const ground = this.#ground;
    ground.closed = true;
    for (const end of [...this.#questions]) end(closed());
    for (const handle of [...ground.open]) handle.closeSoon();
    const end = now() + LINGER_MS * 1000;
    while (
      now() < end &&
      this.#tap?.failure === undefined &&
      (ground.open.size > 0 || isBusy(this.stack.tcp))
    )
      await sleep(LINGER_STEP_MS);
    for (const handle of [...ground.open]) handle.destroy();
    this.#loop.touch();
    for (const tcb of [...allConnections(this.stack.tcp)]) abort(tcb);
    // What is closed is told in the check phase: let that pass, and the resets leave.
    await nextTurn();
    this.#loop.close();
    if (this.#held) this.unref();
    const captured = this.#captures.close();
    // Closes the device, too.
    this.#captures.device.close();
    debug('%s: closed', this.interface.name);
    if (channels.hostClose.hasSubscribers) channels.hostClose.publish({ host: this });
    this.#tell('close');
    await captured;
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw closed();
  }
}

function closed(): HostError {
  return new HostError('ERR_HOST_CLOSED', 'The host is closed');
}

/** Node's own default, which it takes for 512. */
const LISTEN_BACKLOG = 511;

type CreateConnection = (
  wishes: Record<string, unknown>,
  created?: (error: Error | null, socket: net.Socket) => void,
) => net.Socket;

/** What openTap is told. */
function tapOptions(options: HostOptions, plan: HostPlan): TapOptions {
  const { tap, hostIp, offload, netns } = options;
  return {
    ...(typeof tap === 'string' ? { name: tap } : tap),
    ...(plan.mac === undefined ? {} : { mac: plan.mac }),
    ...(plan.mtu === undefined ? {} : { mtu: plan.mtu }),
    ...(hostIp === undefined ? {} : { addresses: hostIp }),
    ...(offload === undefined ? {} : { offload }),
    ...(netns === undefined ? {} : { netns }),
  };
}

/** Puts a bad network before the device; closes it when that is refused. */
function worsened(device: Device, options: NetemOptions): Netem {
  try {
    return netem(device, options);
  } catch (error) {
    device.close();
    throw error;
  }
}

/** The stack hands down super-frames and pending checksums: a device that does not take all of them gets a cutter before it. */
function offloaded(device: Device): Device {
  const { checksum, tso4, tso6, uso } = device.features;
  return checksum && tso4 && tso6 && uso ? device : segment(device);
}

/** True while a connection has something left to say or to hear. TIME-WAIT only remembers. */
function isBusy(tcp: Tcp): boolean {
  for (const tcb of allConnections(tcp)) if (tcb.state !== 'TIME-WAIT') return true;
  return false;
}
