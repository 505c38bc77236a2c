// A whole stack under attack: a listener, an established connection, UDP sockets, a group and ping, beside an honest peer on
// the same link. Frames are injected by hand, and every frame that leaves is looked at by the referee.

import { expect } from 'vitest';
import { type Address, v4 } from '../../src/base/address.ts';
import type { DropReason } from '../../src/base/drop.ts';
import { type Frame, Packet } from '../../src/base/packet.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { MILLISECOND, type Micros, SECOND } from '../../src/base/time.ts';
import type { VlanOptions } from '../../src/ether/ethernet.ts';
import { MAX_NEIGHBOURS } from '../../src/ether/neighbour.ts';
import type { EchoClient } from '../../src/ipv4/echo.ts';
import { MAX_BYTES, MAX_DATAGRAMS } from '../../src/ipv4/reassembly.ts';
import type { Device } from '../../src/link/device.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import type { Interface } from '../../src/stack/interface.ts';
import { RING_FRAMES } from '../../src/stack/ring.ts';
import type { Stack, StackOptions } from '../../src/stack/stack.ts';
import { accept, listen, open, receive, send, shutdown } from '../../src/tcp/calls.ts';
import type { Tcb, TcpOptions, TcpUser } from '../../src/tcp/tcb.ts';
import { allConnections, find, type Listener } from '../../src/tcp/tcp.ts';
import { RECEIVE_BUFFER } from '../../src/udp/socket.ts';
import { bindUdp, connectUdp, joinGroup, openUdp, sendUdp, type UdpSocket } from '../../src/udp/udp.ts';
import { cidr } from '../stack/rig.ts';
import { type Node, World } from '../stack/world.ts';
import { type Answer, Foul, judge, type Open, relate, type Self, STALE } from './audit.ts';
import {
  arp,
  type Bytes,
  bytes,
  ethernet,
  type Ip,
  icmp,
  ipv4,
  mac,
  type Tcp,
  tcp,
  type Udp,
  udp,
  word,
} from './craft.ts';

export const OURS = word('10.0.0.1');
export const PEER = word('10.0.0.2');
export const ATTACKER = word('10.0.0.157');
export const SUBNET = word('10.0.0.0');
export const SUBNET_BROADCAST = word('10.0.255.255');
export const GROUP = word('239.1.2.3');
export const OUR_MAC = mac(1);
export const PEER_MAC = mac(2);
export const ATTACKER_MAC = mac(0x66);

export const ECHO = 7;
export const PEER_PORT = 9;
/** The connected UDP socket: our 5000 to the peer's 5000. */
export const UDP_PEER = 5000;
/** Nobody is there. */
export const CLOSED_PORT = 4444;
export const CLIENT_PORT = 40_000;

const PATTERN = bytes(3000, (i) => (i * 31 + (i >> 8) * 7) & 255);

/** Sends back what comes. */
export class Echoer implements TcpUser {
  readable(tcb: Tcb): void {
    receive(tcb, Number.POSITIVE_INFINITY, (slab, offset, length) => {
      send(tcb, slab.bytes, offset, length);
    });
    if (tcb.receiveEnded) shutdown(tcb);
  }
  connected(): void {}
  writable(): void {}
  drained(): void {}
  closed(): void {}
}

/** Remembers what happens to a connection. */
export class Witness implements TcpUser {
  readonly events: string[] = [];
  received: number[] = [];

  connected(): void {
    this.events.push('connected');
  }
  readable(tcb: Tcb): void {
    receive(tcb, Number.POSITIVE_INFINITY, (slab, offset, length) => {
      for (let i = 0; i < length; i++) this.received.push(slab.bytes[offset + i]!);
    });
    if (tcb.receiveEnded) this.events.push('ended');
  }
  writable(): void {}
  drained(): void {}
  closed(_tcb: Tcb, error: string | undefined): void {
    this.events.push(`closed ${error ?? 'in order'}`);
  }
  softError(_tcb: Tcb, error: string): void {
    this.events.push(`soft ${error}`);
  }
}

/** Stands between the stack and its wire, and shows every frame to the referee. */
class Watch implements Device {
  readonly #inner: Device;
  readonly #seen: (bytes: Bytes) => void;

  constructor(inner: Device, seen: (bytes: Bytes) => void) {
    this.#inner = inner;
    this.#seen = seen;
  }
  get name() {
    return this.#inner.name;
  }
  get mac() {
    return this.#inner.mac;
  }
  get mtu() {
    return this.#inner.mtu;
  }
  get features() {
    return this.#inner.features;
  }
  get stats() {
    return this.#inner.stats;
  }
  get onReady() {
    return this.#inner.onReady;
  }
  set onReady(f) {
    this.#inner.onReady = f;
  }
  transmit(frames: readonly Frame[], from: number, to: number): number {
    const n = this.#inner.transmit(frames, from, to);
    for (let i = from; i < from + n; i++) {
      const b = new Uint8Array(frames[i]!.length);
      frames[i]!.copyTo(b, 0);
      this.#seen(b);
    }
    return n;
  }
  receive(sink: Parameters<Device['receive']>[0], limit: number): number {
    return this.#inner.receive(sink, limit);
  }
  advance(now: Micros): void {
    this.#inner.advance(now);
  }
  nextTimeout(): Micros {
    return this.#inner.nextTimeout();
  }
  close(): void {
    this.#inner.close();
  }
}

export interface VictimOptions {
  seed?: number;
  vlan?: VlanOptions;
  stack?: Partial<StackOptions>;
  /** Give up an address that is contested (RFC 5227 2.4 (b)) instead of keeping it. */
  yielding?: boolean;
}

/** What one injected frame came to. */
export interface Outcome {
  readonly verdict: DropReason | 'taken';
  readonly answers: readonly Answer[];
}

/** Verdicts and answers of a flood, by name. */
export interface Tally {
  readonly verdicts: Map<string, number>;
  readonly answers: Map<string, number>;
}

export class Victim {
  readonly world: World;
  readonly node: Node;
  readonly peer: Node;
  readonly stack: Stack;
  readonly netif: Interface;
  readonly self: Self;
  readonly random: Random;
  readonly listener: Listener;
  readonly peerListener: Listener;
  readonly echoSocket: UdpSocket;
  readonly connectedSocket: UdpSocket;
  readonly groupSocket: UdpSocket;
  readonly udpErrors: string[] = [];
  readonly fouls: string[] = [];
  /** Frames that the peer sent us, while somebody wants them. */
  recording: Uint8Array[] | undefined;
  /** Pings that came back. */
  pongs = 0;
  #sent: Answer[] = [];
  #pinger: EchoClient;
  readonly #vlan: number | undefined;
  readonly #packet = new Packet();
  #slab: Slab;
  /** The connection that must survive: the peer's end and ours. */
  readonly client: Tcb;
  readonly clientUser = new Witness();
  readonly served: Tcb;
  readonly #datagrams: Uint8Array[] = [];
  readonly #peerSocket: UdpSocket;
  readonly #open: Open;

  constructor({ seed = 1, vlan, stack, yielding = false }: VictimOptions = {}) {
    this.random = seededRandom(seed + 77);
    this.world = new World(seed);
    this.#vlan = vlan?.id;
    const [left, right] = createPipe({ macA: OUR_MAC, macB: PEER_MAC, queue: 16_384 });
    this.self = { mac: OUR_MAC, address: OURS, subnet: SUBNET, bits: 16, mtu: 1500, vlan: vlan?.id };
    this.node = this.world.node(stack);
    this.peer = this.world.node();
    this.stack = this.node.stack;
    this.netif = this.#attach(
      this.node,
      new Watch(left, (b) => this.#see(b)),
      '10.0.0.1/16',
      vlan,
      !yielding,
    );
    this.#attach(this.peer, right, '10.0.0.2/16', vlan, true);
    this.stack.routes.add({
      prefix: cidr('0.0.0.0/0'),
      via: v4(word('10.0.0.254')),
      interfaceIndex: this.netif.index,
    });
    // The attacker can be reached, so that every answer to it gets out.
    this.netif.neighbours.addStatic(v4(ATTACKER), ATTACKER_MAC);
    // What lies around a frame in memory is not part of it.
    this.#slab = staleSlab();
    const { tcp: stackTcp } = this.stack;
    this.#open = {
      hasConnection: (remote, remotePort, localPort) =>
        find(stackTcp, v4(OURS), localPort, v4(remote), remotePort) !== undefined,
    };

    this.listener = this.listen(ECHO);
    this.peerListener = listenFor(this.peer.stack, PEER_PORT, () => new Echoer());
    this.echoSocket = echoUdp(this.stack, ECHO);
    this.connectedSocket = this.#connectedUdp();
    this.groupSocket = this.#joinedUdp();
    this.#peerSocket = openUdp(this.peer.stack.udp, {
      family: 4,
      user: {
        received: (_s, slab, offset, length) =>
          this.#datagrams.push(slab.bytes.slice(offset, offset + length)),
        error: () => {},
        writable: () => {},
      },
    });
    bindUdp(this.#peerSocket, undefined, UDP_PEER);
    this.#pinger = this.stack.ipv4.icmp.echo.open({ reply: () => this.pongs++, error: () => {} })!;

    this.client = this.connectFromPeer(this.clientUser, CLIENT_PORT);
    this.pass(10 * MILLISECOND);
    const served = [...allConnections(stackTcp)].find((t) => t.remotePort === CLIENT_PORT);
    if (served === undefined) throw new Error('no connection to start with');
    this.served = served;
    this.#roundTrip(this.client, this.clientUser);
    this.pass(5 * SECOND);
    this.checkFouls();
  }

  #attach(
    node: Node,
    device: Device,
    address: string,
    vlan: VlanOptions | undefined,
    keep: boolean,
  ): Interface {
    const port = segment(device);
    const netif = node.stack.addInterface({ name: device.name, port, ...(vlan && { vlan }) });
    netif.addAddress(cidr(address), { keep });
    node.links.push({ device: port, netif });
    return netif;
  }

  #connectedUdp(): UdpSocket {
    const socket = openUdp(this.stack.udp, {
      family: 4,
      user: { received: () => {}, error: (_s, code) => this.udpErrors.push(code), writable: () => {} },
    });
    bindUdp(socket, undefined, UDP_PEER);
    connectUdp(socket, v4(PEER), UDP_PEER);
    return socket;
  }

  #joinedUdp(): UdpSocket {
    const socket = openUdp(this.stack.udp, {
      family: 4,
      user: { received: () => {}, error: () => {}, writable: () => {} },
    });
    bindUdp(socket, undefined, 6000);
    joinGroup(socket, v4(GROUP), this.netif.index);
    return socket;
  }

  // ---- time and honest life

  get now(): Micros {
    return this.world.now;
  }

  /** Lets time pass for everybody. */
  pass(micros: Micros): void {
    this.world.pass(micros);
    this.recording?.push(...this.node.heard);
    this.node.heard.length = this.peer.heard.length = 0;
    this.#sent = [];
  }

  /** One round of the stack alone: the peer neither hears nor speaks. Returns what was sent. */
  turn(): Answer[] {
    const { stack } = this;
    for (let i = 0; i < 4 && (i === 0 || stack.pending); i++) {
      stack.flush();
      stack.deliver();
    }
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  /** Lets time pass for the stack alone, and returns what it sent. */
  alone(micros: Micros): Answer[] {
    const end = this.world.now + micros;
    const sent: Answer[] = this.turn();
    for (;;) {
      const next = this.stack.nextTimeout();
      if (next > end) break;
      this.world.now = Math.max(this.world.now, next);
      this.stack.advance(this.world.now);
      sent.push(...this.turn());
    }
    this.world.now = end;
    this.stack.advance(end);
    sent.push(...this.turn());
    return sent;
  }

  /** Every connection to `port` gets a user of its own. */
  listen(
    port: number,
    makeUser: () => TcpUser = () => new Echoer(),
    options: Partial<TcpOptions> = {},
  ): Listener {
    return listenFor(this.stack, port, makeUser, options);
  }

  connectFromPeer(user: TcpUser, localPort = 0): Tcb {
    const tcb = open(this.peer.stack.tcp, { remote: v4(OURS), remotePort: ECHO, localPort, user });
    if (typeof tcb === 'string') throw new Error(tcb);
    return tcb;
  }

  /** Sends a pattern both ways over a connection. */
  #roundTrip(tcb: Tcb, user: Witness): void {
    user.received = [];
    send(tcb, PATTERN, 0, PATTERN.length);
    this.pass(3 * SECOND);
    expect(Buffer.compare(Uint8Array.from(user.received), PATTERN), 'echo over TCP').toBe(0);
  }

  /** (e): everything that worked before the attack still works. */
  alive({ connection = true }: { connection?: boolean } = {}): void {
    this.pass(2 * SECOND);
    if (connection) {
      expect([this.client.state, this.served.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
      this.#roundTrip(this.client, this.clientUser);
    }
    for (const [stack, remote, port] of [
      [this.peer.stack, OURS, ECHO],
      [this.stack, PEER, PEER_PORT],
    ] as const) {
      const user = new Witness();
      const tcb = open(stack.tcp, { remote: v4(remote), remotePort: port, user });
      if (typeof tcb === 'string') throw new Error(tcb);
      this.pass(SECOND);
      this.#roundTrip(tcb, user);
      shutdown(tcb);
      this.pass(SECOND);
      expect(user.events, 'a new connection').toEqual(['connected', 'ended', 'closed in order']);
    }
    this.#datagrams.length = 0;
    // The second goes in fragments: reassembly works, too.
    for (const length of [100, 2500]) sendUdp(this.#peerSocket, PATTERN, 0, length, v4(OURS), ECHO);
    this.pass(SECOND);
    expect(this.#datagrams.map((d) => [d.length, Buffer.compare(d, PATTERN.subarray(0, d.length))])).toEqual([
      [100, 0],
      [2500, 0],
    ]);
    const { pongs } = this;
    this.stack.ipv4.icmp.echo.send(this.#pinger, v4(PEER), 1, PATTERN.subarray(0, 56));
    let answered = 0;
    const theirs = this.peer.stack.ipv4.icmp.echo;
    const pinger = theirs.open({ reply: () => answered++, error: () => {} })!;
    theirs.send(pinger, v4(OURS), 1, PATTERN.subarray(0, 56));
    this.pass(SECOND);
    theirs.close(pinger);
    expect([this.pongs - pongs, answered], 'ping both ways').toEqual([1, 1]);
    this.checkFouls();
  }

  // ---- attack

  #see(b: Bytes): void {
    try {
      this.#sent.push(judge(b, this.self));
    } catch (error) {
      if (!(error instanceof Foul)) throw error;
      this.fouls.push(`${error.message}: ${Buffer.from(b.subarray(0, 80)).toString('hex')}`);
    }
  }

  checkFouls(): void {
    expect(this.fouls).toEqual([]);
  }

  /** Gives the stack one frame as if it had come from the wire, and one round to answer. (a): whatever it is, it returns. */
  inject(frame: Uint8Array, offload?: { trusted: boolean; gsoSize: number }): Outcome {
    const { stack } = this;
    this.#sent = [];
    // The frame lies in the midst of old memory, at its even place as drivers have it.
    const at = 2048;
    const { bytes: memory } = this.#slab;
    memory.set(frame, at);
    const packet = this.#packet.set(this.#slab, at, frame.length);
    if (offload !== undefined) {
      packet.checksumTrusted = offload.trusted;
      packet.gsoSize = offload.gsoSize;
    }
    const verdict = stack.input(this.netif, packet) ?? 'taken';
    const answers = this.turn();
    if (packet.pinned) this.#slab = staleSlab();
    else memory.set(NOISE.subarray(at, at + frame.length), at);
    // A super-frame stands for many segments: what answers which of them is beyond the referee.
    for (const answer of offload === undefined ? answers : []) {
      try {
        relate(frame, answer, this.self, this.#open);
      } catch (error) {
        if (!(error instanceof Foul)) throw error;
        const hex = (b: Uint8Array) => Buffer.from(b.subarray(0, 120)).toString('hex');
        this.fouls.push(`${error.message}\n  to ${hex(frame)}\n  sent ${hex(answer.bytes)}`);
      }
    }
    return { verdict, answers };
  }

  /** Injects `count` frames of `variant`, letting 10 ms pass after each hundred and looking at the limits as it goes. */
  flood(count: number, variant: (i: number, random: Random) => Uint8Array | readonly Uint8Array[]): Tally {
    const tally: Tally = { verdicts: new Map(), answers: new Map() };
    const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
    const before = { ...this.stack.drops };
    for (let i = 0; i < count; i++) {
      const made = variant(i, this.random);
      for (const frame of made instanceof Uint8Array ? [made] : made) {
        const { verdict, answers } = this.inject(frame);
        add(tally.verdicts, verdict);
        for (const { kind } of answers) add(tally.answers, kind);
      }
      if (i % 100 === 99) this.pass(10 * MILLISECOND);
      // The limits take a walk over all connections.
      if (i % (count > 20_000 ? 1000 : 100) === 99) this.checkLimits();
      if (this.fouls.length > 0) break;
    }
    this.checkFouls();
    this.checkLimits();
    // (d): each drop is counted under its own name.
    for (const [name, n] of tally.verdicts) {
      if (name === 'taken') continue;
      const reason = name as DropReason;
      expect((this.stack.drops[reason] ?? 0) - (before[reason] ?? 0), name).toBeGreaterThanOrEqual(n);
    }
    return tally;
  }

  /** (c): nothing that the wire feeds grows beyond its bound. */
  checkLimits(): void {
    const { ipv4: ip, tcp: t, udp: u, timers, netif } = { ...this.parts };
    const { config } = t;
    const most: Record<string, [number, number]> = {
      'datagrams in reassembly': [ip.reassembly.size, MAX_DATAGRAMS],
      'bytes in reassembly': [ip.reassembly.bytes, MAX_BYTES],
      neighbours: [netif.neighbours.size, MAX_NEIGHBOURS],
      'path MTUs': [ip.pathMtus.size, 1024],
      'frames in the ring': [netif.waiting, RING_FRAMES],
      'half-open connections': [this.listener.halfOpen.size, config.halfOpenLimit],
      'connections to accept': [this.listener.ready.length, this.listener.backlog],
      'connections in TIME-WAIT': [t.timeWait.size, config.timeWaitLimit],
      'resets owed': [t.resets.length, 1024],
      'chunk records': [t.receivePool.freeCount, 1024],
      timers: [timers.size, t.count + netif.neighbours.size + 32],
      'groups joined': [netif.groups.length, 2],
    };
    for (const socket of u.ports.sockets())
      most[`UDP ${socket.localPort}`] = [socket.queuedBytes, RECEIVE_BUFFER];
    for (const tcb of allConnections(t)) {
      const { receiveBuffer: rb, sendBuffer: sb, options, recovery } = tcb;
      if (rb.held > 2 * options.receiveBufferLimit) most.held = [rb.held, 2 * options.receiveBufferLimit];
      if (sb.length > options.sendBufferLimit) most.unsent = [sb.length, options.sendBufferLimit];
      if (recovery.sacked.count > 256) most.scoreboard = [recovery.sacked.count, 256];
      if ((rb.outOfOrder?.chunks.length ?? 0) > 4096) most.holes = [rb.outOfOrder!.chunks.length, 4096];
    }
    const broken = Object.entries(most).filter(([, [is, limit]]) => is > limit);
    expect(broken).toEqual([]);
  }

  get parts() {
    const { ipv4: ip, tcp: t, udp: u, timers } = this.stack;
    return { ipv4: ip, tcp: t, udp: u, timers, netif: this.netif };
  }

  // ---- frames to us

  /** A frame around an IPv4 packet, from the attacker to us unless told otherwise. */
  frame(packet: Uint8Array, type = 0x0800, to: Uint8Array = OUR_MAC, from: Uint8Array = ATTACKER_MAC): Bytes {
    return ethernet({ to, from, type, vlan: this.#vlan }, packet);
  }

  ip(ip: Partial<Ip> & { protocol: number }, payload: Uint8Array): Bytes {
    return this.frame(ipv4({ source: ATTACKER, destination: OURS, ...ip }, payload));
  }

  tcp(t: Partial<Tcp> & { flags: number }, payload?: Uint8Array, ip: Partial<Ip> = {}): Bytes {
    const source = ip.source ?? ATTACKER;
    const destination = ip.destination ?? OURS;
    const body = tcp({ source, destination }, { source: 1234, destination: ECHO, ...t }, payload);
    return this.frame(ipv4({ source, destination, protocol: 6, ...ip }, body));
  }

  udp(u: Partial<Udp>, payload: Uint8Array, ip: Partial<Ip> = {}): Bytes {
    const source = ip.source ?? ATTACKER;
    const destination = ip.destination ?? OURS;
    const body = udp({ source, destination }, { source: 1234, destination: ECHO, ...u }, payload);
    return this.frame(ipv4({ source, destination, protocol: 17, ...ip }, body));
  }

  icmp(type: number, code: number, rest: number, payload: Uint8Array, ip: Partial<Ip> = {}): Bytes {
    return this.ip({ protocol: 1, ...ip }, icmp(type, code, rest, payload));
  }

  arp(a: Parameters<typeof arp>[0], to: Uint8Array = OUR_MAC, from: Uint8Array = ATTACKER_MAC): Bytes {
    return this.frame(arp(a), 0x0806, to, from);
  }

  /** A segment of the honest connection as its peer, or a forger who knows everything, would send it. */
  spoof(t: Partial<Tcp> & { flags: number }, payload?: Uint8Array, tcb: Tcb = this.served): Bytes {
    return this.tcp(
      {
        source: tcb.remotePort,
        destination: tcb.localPort,
        seq: tcb.receiveBuffer.nxt,
        ack: tcb.snd.nxt,
        ...t,
      },
      payload,
      { source: tcb.remote.w3, destination: tcb.local.w3 },
    );
  }

  /** The attacker's own connection, played by hand up to ESTABLISHED. */
  connect(
    port: number,
    options: Uint8Array = new Uint8Array(0),
    to = ECHO,
    seq = 1000,
    window = 65_535,
  ): Tcb {
    this.inject(this.tcp({ source: port, destination: to, flags: 2, seq, window, options }));
    const tcb = this.connection(port, to);
    if (tcb === undefined) throw new Error('no connection');
    this.inject(this.spoof({ flags: 16, window, options: stamped(tcb, options) }, undefined, tcb));
    return tcb;
  }

  connection(port: number, to = ECHO, remote = ATTACKER): Tcb | undefined {
    return find(this.stack.tcp, v4(OURS), to, v4(remote), port);
  }
}

/** The timestamps option again, if the SYN had one at the usual place: once agreed on, every segment carries it. */
function stamped(tcb: Tcb, options: Uint8Array): Uint8Array {
  if (!tcb.ts.on) return new Uint8Array(0);
  const at = options.findIndex((b, i) => b === 8 && options[i + 1] === 10);
  return Uint8Array.of(1, 1, ...options.subarray(at, at + 10));
}

/** Memory as a driver's slab is after a day of use. */
function staleSlab(): Slab {
  return new Slab(NOISE.slice());
}

const NOISE = bytes(72 * 1024, (i) => STALE.charCodeAt(i % STALE.length));

function listenFor(
  stack: Stack,
  port: number,
  makeUser: () => TcpUser,
  options: Partial<TcpOptions> = {},
): Listener {
  const listener = listen(stack.tcp, {
    port,
    backlog: 64,
    options,
    acceptable: (l) => {
      for (let tcb = accept(l); tcb !== undefined; tcb = accept(l)) tcb.user = makeUser();
    },
  });
  if (typeof listener === 'string') throw new Error(listener);
  return listener;
}

export function echoUdp(stack: Stack, port: number): UdpSocket {
  const socket = openUdp(stack.udp, {
    family: 4,
    user: {
      received: (s, slab, offset, length, source: Address, sourcePort) => {
        sendUdp(s, slab.bytes, offset, length, source, sourcePort);
      },
      error: () => {},
      writable: () => {},
    },
  });
  // To its own address: a service hears no broadcasts.
  bindUdp(socket, v4(OURS), port);
  return socket;
}
