// Runs a script: walks its events in virtual time, sends what it sends, and holds the stack to what it expects.

import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { MAX_OPTIONS_LENGTH, SYN } from '../tcp/header.ts';
import { DEFAULT_OPTIONS, type TcpConfig } from '../tcp/tcp.ts';
import { runCode } from './code.ts';
import { compare, type Difference } from './compare.ts';
import { type Config, configure } from './config.ts';
import { Flow } from './flow.ts';
import { icmpNumbers } from './icmp-names.ts';
import { Kernel } from './kernel.ts';
import type { Attempt, Outcome } from './outcome.ts';
import { type Profile, type ProfileName, profileNamed } from './profile.ts';
import {
  type CallSpec,
  type EventTime,
  type IcmpSpec,
  type IpSpec,
  type PacketSpec,
  type Script,
  type ScriptEvent,
  type TcpOptionSpec,
  type TcpSpec,
  Unsupported,
} from './script.ts';
import { runCommand } from './shell.ts';
import { packetText } from './show.ts';
import { errnoNamed, numberOf } from './symbols.ts';
import { INFO_CONSTANTS, tcpInfo } from './tcp-info.ts';
import {
  type IpToSend,
  icmpFrame,
  optionsLength,
  type Quoted,
  readFrame,
  type TcpToSend,
  tcpFrame,
  udpFrame,
  type WireOption,
  type WirePacket,
  type WireTcp,
} from './wire.ts';
import { type FrameWatcher, World } from './world.ts';

export type Verdict = 'passed' | 'failed' | 'unsupported';

/** How a script came out. `line` and `reason` say where and why it did not pass. */
export interface ScriptResult {
  readonly file: string;
  readonly result: Verdict;
  readonly line: number | undefined;
  readonly reason: string | undefined;
  /** A packet that is not as expected: both, and the field. */
  readonly mismatch: Mismatch | undefined;
  /** What `%{ print }%` wrote. */
  readonly printed: readonly string[];
}

export interface Mismatch extends Partial<Difference> {
  readonly expectedPacket: string;
  readonly sentPacket: string | undefined;
}

export interface RunOptions {
  readonly profile: ProfileName;
  readonly watch?: FrameWatcher | undefined;
}

/** How long `*` waits for a packet, and any wait lasts, before the script is given up. */
const MOST_WAIT: Micros = 1_000 * SECOND;
/** The peer's ports lie here and above. */
const FIRST_PEER_PORT = 10_000;
const PEER_PORTS = 50_000;
const DEFAULT_TTL = 64;

class Failure extends Error {
  readonly mismatch: Mismatch | undefined;

  constructor(reason: string, mismatch?: Mismatch) {
    super(reason);
    this.mismatch = mismatch;
  }
}

/** Runs a parsed script against a fresh stack. */
export function runScript(script: Script, options: RunOptions): ScriptResult {
  const printed: string[] = [];
  let line: number | undefined = script.options[0]?.line;
  const ended = (result: Verdict, reason?: string, mismatch?: Mismatch): ScriptResult => ({
    file: script.file,
    result,
    line: result === 'passed' ? undefined : line,
    reason,
    mismatch,
    printed,
  });
  try {
    const runner = new Runner(script, options, printed);
    for (const event of script.events) {
      line = event.line;
      runner.run(event);
    }
    line = runner.pendingLine ?? line;
    runner.finish();
    return ended('passed');
  } catch (error) {
    if (error instanceof Unsupported) return ended('unsupported', error.message);
    if (error instanceof Failure) return ended('failed', error.message, error.mismatch);
    // The stack itself broke: a finding like any other, and the next script has a stack of its own.
    return ended('failed', `the stack threw ${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** A blocking call under way. */
interface Pending {
  readonly attempt: Attempt;
  readonly call: CallSpec;
  readonly line: number;
  /** When it should return. */
  readonly end: Micros;
}

class Runner {
  readonly #world: World;
  readonly #kernel: Kernel;
  readonly #config: Config;
  readonly #profile: Profile;
  readonly #printed: string[];
  readonly #start: Micros;
  /** The script's time of the event before: relative times count from it. */
  #last: Micros;
  #flow: Flow | undefined;
  /** A listener waits for the peer's SYN, which will be a new conversation. */
  #listening: number | undefined;
  /** The peer's port of the next connection that it opens. */
  #peerPort: number;
  #pending: Pending | undefined;
  /** What a blocking call came to while other events went on. */
  #trouble: Failure | undefined;

  constructor(script: Script, options: RunOptions, printed: string[]) {
    const config = configure(script);
    const profile = profileNamed(options.profile);
    const seed = hash(script.file.replace(/^.*\//, ''));
    this.#peerPort = FIRST_PEER_PORT + (seed % PEER_PORTS);
    const { local, gateway, remote, prefixLength, mtu, bindPort, connectPort } = config;
    this.#config = config;
    this.#profile = profile;
    this.#printed = printed;
    const { watch } = options;
    const tcp = tcpConfig(profile);
    this.#world = new World({ local, gateway, remote, prefixLength, mtu, seed, tcp, watch });
    this.#start = this.#last = this.#world.now;
    this.#kernel = new Kernel({
      stack: this.#world.stack,
      profile,
      clock: () => this.#world.now,
      remote,
      bindPort,
      connectPort,
      opened: (socket, localPort, remotePort) => {
        const listens = remotePort === 0;
        this.#listening = listens ? localPort : undefined;
        if (!listens) this.#flow = new Flow(localPort, remotePort);
        if (socket.kind === 'udp') this.#flow = new Flow(localPort, remotePort);
      },
    });
  }

  /** The line of a call that still blocks. */
  get pendingLine(): number | undefined {
    return this.#pending?.line;
  }

  run(event: ScriptEvent): void {
    if (event.kind === 'packet' && !event.packet.inbound) {
      this.#expect(event.packet, event.time);
      return;
    }
    const at = this.#timeOf(event.time);
    this.#pass(Math.max(at, this.#world.now));
    const before = this.#last;
    this.#last = event.time.kind === 'any' ? this.#world.now : at;
    if (event.kind === 'packet') this.#inject(event.packet);
    else if (event.kind === 'call') this.#call(event.call, event.line, before);
    else if (event.kind === 'command') this.#command(event.command);
    else this.#code(event.code);
    this.#settle();
    this.#raise();
  }

  /** The last event is past: a call that still blocks has until its time. */
  finish(): void {
    this.#awaitPending();
  }

  // ---- time

  #timeOf(time: EventTime): Micros {
    if (time.kind === 'any') return this.#world.now;
    return (time.kind === 'absolute' ? this.#start : this.#last) + time.at;
  }

  /** Lets time pass until `to`, or until `enough`. */
  #pass(to: Micros, enough: () => boolean = () => false): void {
    const world = this.#world;
    this.#settle();
    while (!enough() && this.#trouble === undefined) {
      const next = Math.min(world.next(), this.#pending?.attempt.deadline ?? NEVER);
      if (next > to) {
        world.now = Math.max(world.now, to);
        this.#settle();
        return;
      }
      world.now = Math.max(world.now, next);
      this.#settle();
    }
  }

  #settle(): void {
    do this.#world.settle();
    while (this.#tryPending());
  }

  #raise(): void {
    const trouble = this.#trouble;
    this.#trouble = undefined;
    if (trouble !== undefined) throw trouble;
  }

  // ---- calls

  /** `before`: from where a relative end counts, as the call's own time does. */
  #call(call: CallSpec, line: number, before: Micros): void {
    // One thread: the call before must have returned.
    this.#awaitPending();
    const attempt = this.#kernel.begin(call);
    const now = this.#last;
    const from = call.end?.relative === true ? before : this.#start;
    const end = call.end === undefined ? now : from + call.end.at;
    this.#pending = { attempt, call, line, end: Math.max(end, now) };
    this.#settle();
    // Without `...` a call returns at once.
    if (call.end === undefined) this.#awaitPending();
  }

  /** True when the call that blocked has returned. */
  #tryPending(): boolean {
    const pending = this.#pending;
    if (pending === undefined) return false;
    const outcome = pending.attempt();
    if (outcome === undefined) return false;
    this.#pending = undefined;
    this.#trouble ??= this.#check(pending, outcome);
    return true;
  }

  #awaitPending(): void {
    const pending = this.#pending;
    if (pending !== undefined) {
      this.#pass(pending.end + this.#config.tolerance, () => this.#pending === undefined);
      this.#raise();
      if (this.#pending !== undefined)
        throw new Failure(`${pending.call.name} (line ${pending.line}) still blocks`);
    }
    this.#raise();
  }

  #check({ call, end, line }: Pending, outcome: Outcome): Failure | undefined {
    const { now } = this.#world;
    if (call.end !== undefined && now < end - this.#config.tolerance) {
      return new Failure(`${call.name} (line ${line}) returned ${seconds(end - now)} too early`);
    }
    if (now > end + this.#config.tolerance) {
      return new Failure(`${call.name} (line ${line}) returned ${seconds(now - end)} too late`);
    }
    if (outcome.mismatch !== undefined) return new Failure(`${call.name}: ${outcome.mismatch}`);
    if (call.result.kind === 'ellipsis') return undefined;
    const expected = numberOf(call.result);
    if (expected !== outcome.value) {
      const errno = call.errno === undefined ? '' : ` ${call.errno}`;
      return new Failure(
        `${call.name} (line ${line}) returned ${outcome.value}${outcome.errno === undefined ? '' : ` ${outcome.errno}`}, not ${expected}${errno}`,
      );
    }
    if (call.errno === undefined || expected !== -1) return undefined;
    const wanted = errnoNamed(call.errno);
    if (wanted === undefined) throw new Unsupported(`the error ${call.errno}`);
    return wanted === outcome.errno
      ? undefined
      : new Failure(`${call.name} (line ${line}) failed with ${outcome.errno}, not ${call.errno}`);
  }

  // ---- commands and code

  #command(command: string): void {
    const good = runCommand(command, {
      stack: this.#world.stack,
      kernel: this.#kernel,
      sleep: (micros) => {
        this.#pass(this.#world.now + micros);
        this.#last = this.#world.now;
      },
    });
    if (!good) throw new Failure(`the command found nothing: ${command.trim()}`);
  }

  #code(code: string): void {
    const { tcb } = this.#kernel.current ?? {};
    const fields = tcb === undefined ? {} : tcpInfo(tcb);
    const { printed, failure } = runCode(code, (name) => fields[name] ?? INFO_CONSTANTS[name]);
    this.#printed.push(...printed);
    if (failure !== undefined) throw new Failure(failure);
  }

  // ---- packets in

  #inject(packet: PacketSpec): void {
    const { ends } = this.#world;
    const ip = ipToSend(packet.ip);
    switch (packet.protocol) {
      case 'tcp': {
        const flow = this.#flowFor(packet);
        const segment = segmentToSend(packet, flow);
        mustFit(tcpLength(segment));
        // A packet longer than the link carries stands for many, as a driver would have joined them.
        const most = this.#config.mtu - 40;
        this.#world.receive(tcpFrame(ends, ip, segment), segment.length > most ? most : 0);
        return;
      }
      case 'udp': {
        const flow = this.#flow ?? this.#newFlow(this.#config.bindPort);
        mustFit(8 + packet.length);
        const bytes = udpFrame(ends, ip, flow.remotePort, flow.localPort, packet.length);
        this.#world.receive(bytes, 0);
        return;
      }
      case 'icmp':
        this.#injectIcmp(packet, ip);
        return;
      case 'unknown':
        throw new Unsupported(`the packet ${packet.name}`);
    }
  }

  /** A SYN to a listener begins a new conversation. Everything else belongs to the one there is. */
  #flowFor(packet: TcpSpec): Flow {
    const listening = this.#listening;
    if (listening !== undefined) {
      this.#listening = undefined;
      this.#newFlow(listening);
    }
    const flow = this.#flow ?? this.#newFlow(this.#config.bindPort);
    if ((packet.flags & SYN) !== 0) {
      flow.scales = packet.options !== 'any' && packet.options.some((o) => o.kind === 'wscale');
    }
    return flow;
  }

  #newFlow(localPort: number): Flow {
    const flow = new Flow(localPort, this.#peerPort++);
    this.#flow = flow;
    return flow;
  }

  #injectIcmp({ type, code, mtu, id, quoted }: IcmpSpec, ip: IpToSend): void {
    const numbers = icmpNumbers(type, code);
    const flow = this.#flow;
    let quote: Quoted | undefined;
    if (quoted !== undefined && flow !== undefined) {
      const ports = { sourcePort: flow.localPort, destinationPort: flow.remotePort };
      if (quoted.protocol === 'udp') quote = { protocol: 'udp', ...ports, length: quoted.length };
      else {
        const seq = quoted.absolute ? quoted.seq : flow.toWire(quoted.seq);
        const rest = { ack: 0, flags: 0x10, window: 0, urgent: 0, options: [], length: quoted.length };
        quote = { protocol: 'tcp', segment: { ...ports, seq, ...rest } };
      }
    }
    const rest = id === undefined ? (mtu ?? 0) : id << 16;
    this.#world.receive(icmpFrame(this.#world.ends, ip, numbers.type, numbers.code, rest, quote), 0);
  }

  // ---- packets out

  #expect(packet: PacketSpec, time: EventTime): void {
    if (packet.protocol === 'unknown') throw new Unsupported(`the packet ${packet.name}`);
    const world = this.#world;
    const { tolerance } = this.#config;
    const from = this.#timeOf(time);
    const until = this.#latest(time, from);
    this.#pass(until, () => world.sent.length > 0);
    this.#raise();
    const first = this.#take();
    if (first === undefined) {
      throw new Failure('no packet was sent', { expectedPacket: packet.text, sentPacket: undefined });
    }
    const flow = this.#flow ?? new Flow(0, 0);
    const sent = this.#join(first, packet);
    const { tick } = this.#config;
    const difference = compare(packet, sent, flow, { same: this.#profile.same, tick, tolerance });
    const mismatch = { ...difference, expectedPacket: packet.text, sentPacket: packetText(sent, flow) };
    if (difference !== undefined) {
      throw new Failure(`${difference.field} is ${difference.sent}, not ${difference.expected}`, mismatch);
    }
    if (time.kind !== 'any') {
      if (sent.at < from - tolerance) {
        throw new Failure(`the packet was sent ${seconds(from - sent.at)} too early`, mismatch);
      }
      if (sent.at > until)
        throw new Failure(`the packet was sent ${seconds(sent.at - until)} too late`, mismatch);
    }
    this.#last = time.kind === 'any' || time.to !== undefined ? sent.at : from;
  }

  /** The last moment for a packet to come. */
  #latest(time: EventTime, from: Micros): Micros {
    if (time.kind === 'any') return this.#world.now + MOST_WAIT;
    const length = time.to === undefined ? 0 : time.to - time.at;
    return from + length + this.#config.tolerance;
  }

  /** The next packet the stack sent, if any. */
  #take(): WirePacket | undefined {
    for (;;) {
      const frame = this.#world.sent.shift();
      if (frame === undefined) return undefined;
      const packet = readFrame(frame.bytes, frame.at);
      if (packet !== undefined) return packet;
    }
  }

  /** One packet of a script may stand for a run of segments, as one super-frame does: joins as many as it is long. */
  #join(first: WirePacket, expected: PacketSpec): WirePacket {
    if (first.protocol !== 'tcp' || expected.protocol !== 'tcp' || this.#config.strictSegments) return first;
    const { sent } = this.#world;
    let whole: WireTcp = first;
    while (whole.length > 0 && whole.length < expected.length && sent.length > 0) {
      const next = readFrame(sent[0]!.bytes, sent[0]!.at);
      if (next?.protocol !== 'tcp' || !follows(next, whole) || whole.length + next.length > expected.length)
        break;
      sent.shift();
      whole = { ...whole, length: whole.length + next.length, flags: next.flags };
    }
    return whole;
  }
}

/**
 * A number from a script's name (FNV-1a): what is random to the stack, and the peer's ports. The same script runs the same
 * way every time, and the connections of different scripts can be told apart in one capture.
 */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** True when `next` goes on where `before` ends, and says the same otherwise. */
function follows(next: WireTcp, before: WireTcp): boolean {
  return (
    next.seq === (before.seq + before.length) >>> 0 &&
    next.length > 0 &&
    next.ack === before.ack &&
    next.sourcePort === before.sourcePort &&
    next.destinationPort === before.destinationPort &&
    next.at === before.at
  );
}

function tcpConfig(profile: Profile): Partial<TcpConfig> {
  const { receiveBuffer, sendBuffer, keepAlive, msl, ephemeral, delayedAck, countsSmallSegments } = profile;
  const defaults = {
    ...DEFAULT_OPTIONS,
    receiveBufferLimit: receiveBuffer,
    sendBufferLimit: sendBuffer,
    receiveBufferMax: profile.receiveBufferMax,
    sendBufferMax: profile.sendBufferMax,
    congestion: profile.congestion,
    keepAlive: { enabled: false, ...keepAlive },
  };
  return { defaults, msl, ephemeral, delayedAck, countsSmallSegments };
}

const ECN_BITS = { noecn: 0, ect1: 1, ect0: 2, ect01: 2, ce: 3 } as const;

function ipToSend({ ecn, trafficClass, ttl, flowLabel }: IpSpec): IpToSend {
  if (flowLabel !== undefined) throw new Unsupported('IPv6');
  return {
    trafficClass: trafficClass ?? (ecn === undefined ? 0 : ECN_BITS[ecn]),
    ttl: ttl ?? DEFAULT_TTL,
  };
}

/** What follows an IPv4 header can be no longer than its length field can say. */
function mustFit(length: number): void {
  if (length < 0 || length > 65_535 - 20) throw new Unsupported(`a packet of ${length} bytes`);
}

function tcpLength({ options, length }: TcpToSend): number {
  const space = optionsLength(options);
  if (space > MAX_OPTIONS_LENGTH) throw new Unsupported(`${space} bytes of TCP options`);
  return 20 + space + length;
}

/** A segment of the script's with the numbers of the wire. */
function segmentToSend(packet: TcpSpec, flow: Flow): TcpToSend {
  const { seq, ack, window, options } = packet;
  const number = ack === undefined || ack === 'any' ? 0 : ack;
  const acked = ack === undefined || packet.absoluteAck ? number : flow.toWire(number);
  return {
    sourcePort: flow.remotePort,
    destinationPort: flow.localPort,
    seq: seq === 'any' ? 0 : seq,
    ack: acked,
    flags: packet.flags,
    window: window === 'any' ? 0xffff : window & 0xffff,
    urgent: packet.urgent ?? 0,
    options: options === 'any' ? [] : options.map((o) => optionToSend(o, flow)),
    length: packet.length,
  };
}

function optionToSend(o: TcpOptionSpec, flow: Flow): WireOption {
  switch (o.kind) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return o;
    case 'mss':
    case 'wscale':
      return { kind: o.kind, value: o.value === 'any' ? 0 : o.value };
    case 'sack':
      return { kind: 'sack', blocks: o.blocks.map(([l, r]) => [flow.toWire(l), flow.toWire(r)] as const) };
    case 'ts':
      return {
        kind: 'ts',
        val: o.val === 'any' ? 0 : o.val,
        ecr: o.ecr === 'any' || o.ecr === 0 ? 0 : flow.echo(o.ecr),
      };
    case 'fo':
      if (!/^(?:[0-9a-fA-F]{2})*$/.test(o.cookie)) throw new Unsupported(`the cookie ${o.cookie}`);
      return o;
    case 'unknown':
      throw new Unsupported(`the TCP option ${o.text}`);
  }
}

function seconds(micros: Micros): string {
  return `${(micros / SECOND).toFixed(6)} s`;
}
