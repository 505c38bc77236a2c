// Two TCPs and a wire between them, in virtual time: what the tests of the machine stand on.
//
// The wire carries whole TCP segments (no IP), each way with a delay, and shows every one of them to the test, which may drop,
// hold or change it. Time moves only when the test moves it.

import { type Address, parseAddress } from '../../src/base/address.ts';
import type { ErrorCode } from '../../src/base/errors.ts';
import type { IpOutput, Path } from '../../src/base/ip.ts';
import type { NetInterface } from '../../src/base/netif.ts';
import { type Frame, makeFrames, Packet } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../../src/base/time.ts';
import { TimerQueue } from '../../src/base/timers.ts';
import { Trace } from '../../src/base/trace.ts';
import { accept, listen, open, receive } from '../../src/tcp/calls.ts';
import * as header from '../../src/tcp/header.ts';
import { flush } from '../../src/tcp/output.ts';
import { createSegment, parseSegment, type Segment } from '../../src/tcp/segment.ts';
import type { State, Tcb, TcpOptions, TcpUser } from '../../src/tcp/tcb.ts';
import { deliver, isPending, type Listener, type Tcp, type TcpConfig } from '../../src/tcp/tcp.ts';
import { createTcpTransport, type TcpTransport } from '../../src/tcp/transport.ts';

/** A segment on the wire. */
export interface Wire {
  readonly bytes: Uint8Array;
  readonly gsoSize: number;
  readonly note: string | undefined;
  readonly from: Side;
  readonly to: Side;
  /** A forged IPv4 source address, if not that of `from`. */
  readonly source?: number;
  at: Micros;
}

export interface PairOptions {
  readonly delay?: Micros;
  readonly mtu?: number;
  readonly seed?: number;
  readonly config?: Partial<TcpConfig>;
  /** Called for each segment as it enters the wire; false drops it. It may change `at`. */
  filter?: (wire: Wire, segment: Segment) => boolean;
}

/** What a connection's user saw, in order. */
export class Log implements TcpUser {
  readonly events: string[] = [];
  readonly received: number[] = [];
  bytes = 0;
  error: ErrorCode | undefined;
  reading = true;
  keep = true;
  onReadable: (() => void) | undefined;
  onWritable: (() => void) | undefined;
  onClosed: (() => void) | undefined;

  connected(): void {
    this.events.push('connected');
  }

  readable(tcb: Tcb): void {
    if (this.reading) this.read(tcb);
    if (tcb.receiveEnded && this.events.at(-1) !== 'end' && tcb.receiveBuffer.readable === 0) {
      this.events.push('end');
    }
    this.onReadable?.();
  }

  read(tcb: Tcb, most = Number.POSITIVE_INFINITY): number {
    return receive(tcb, most, (slab, offset, length) => {
      this.bytes += length;
      if (this.keep) for (let i = 0; i < length; i++) this.received.push(slab.bytes[offset + i]!);
    });
  }

  writable(): void {
    this.events.push('writable');
    this.onWritable?.();
  }

  drained(): void {
    this.events.push('drained');
  }

  closed(_tcb: Tcb, error: ErrorCode | undefined): void {
    this.error = error;
    this.events.push(error === undefined ? 'closed' : `closed ${error}`);
    this.onClosed?.();
  }

  softError(_tcb: Tcb, error: ErrorCode): void {
    this.events.push(`soft ${error}`);
  }
}

/** One end: a TCP with its own timers and a wire for an interface. */
export class Side {
  readonly address: Address;
  readonly timers = new TimerQueue();
  readonly tcp: Tcp;
  readonly entry: TcpTransport;
  readonly states: string[] = [];
  peer!: Side;

  constructor(pair: Pair, address: string, seed: number, mtu: number, config: Partial<TcpConfig>) {
    this.address = parseAddress(address)!;
    this.entry = createTcpTransport({
      ip: makeIp(pair, this, mtu),
      random: seededRandom(seed),
      timers: this.timers,
      trace: new Trace(),
      now: pair.now,
      config,
    });
    this.tcp = this.entry.tcp;
    this.tcp.trace.on = true;
    this.tcp.onTransition = (_tcb, from: State, to: State) => this.states.push(`${from} ${to}`);
  }
}

export class Pair {
  now: Micros = 1_000 * SECOND;
  readonly client: Side;
  readonly server: Side;
  readonly wire: Wire[] = [];
  /** Everything that was ever put on the wire, dropped or not, as one line each. */
  readonly log: string[] = [];
  delay: Micros;
  filter: ((wire: Wire, segment: Segment) => boolean) | undefined;
  readonly #packet = new Packet();
  readonly #segment = createSegment();

  constructor(options: PairOptions = {}) {
    const { delay = 10 * MILLISECOND, mtu = 1500, seed = 1, config = {} } = options;
    this.delay = delay;
    this.filter = options.filter;
    this.client = new Side(this, '10.0.0.1', seed, mtu, config);
    this.server = new Side(this, '10.0.0.2', seed + 1, mtu, config);
    this.client.peer = this.server;
    this.server.peer = this.client;
  }

  /** Opens a listener on the server. */
  listen(
    port = 80,
    backlog = 16,
    options: Partial<TcpOptions> = {},
  ): { listener: Listener; accepted: Tcb[] } {
    const accepted: Tcb[] = [];
    const listener = listen(this.server.tcp, {
      port,
      backlog,
      options,
      acceptable: (l) => {
        for (let tcb = accept(l); tcb !== undefined; tcb = accept(l)) {
          tcb.user = new Log();
          accepted.push(tcb);
        }
      },
    });
    if (typeof listener === 'string') throw new Error(listener);
    return { listener, accepted };
  }

  /** Starts a connection from the client. */
  open(port = 80, options: Partial<TcpOptions> = {}, user: TcpUser = new Log()): Tcb {
    const tcb = open(this.client.tcp, { remote: this.server.address, remotePort: port, user, options });
    if (typeof tcb === 'string') throw new Error(tcb);
    return tcb;
  }

  /** A client and a server connection in ESTABLISHED, with their logs. */
  connect(options: Partial<TcpOptions> = {}, serverOptions: Partial<TcpOptions> = options) {
    const { accepted } = this.listen(80, 16, serverOptions);
    const client = this.open(80, options);
    this.run(SECOND);
    const server = accepted[0]!;
    return { client, server, clientLog: client.user as Log, serverLog: server.user as Log };
  }

  /** Lets everything happen for `span` microseconds. */
  run(span: Micros): void {
    const until = this.now + span;
    for (;;) {
      this.settle();
      const next = Math.min(this.#nextWire(), this.client.timers.next(), this.server.timers.next());
      if (next > until) break;
      this.now = Math.max(this.now, next);
      this.#deliverWire();
      this.#advance();
    }
    this.now = until;
    this.#advance();
    this.settle();
  }

  /** Runs until nothing is left to do: no segment under way, no timer. */
  runToRest(most: Micros = 3600 * SECOND): void {
    const until = this.now + most;
    for (;;) {
      this.settle();
      const next = Math.min(this.#nextWire(), this.client.timers.next(), this.server.timers.next());
      if (next === NEVER || next > until) break;
      this.now = Math.max(this.now, next);
      this.#deliverWire();
      this.#advance();
    }
  }

  /** Flushes and delivers on both sides until both are quiet. */
  settle(): void {
    for (let i = 0; i < 100; i++) {
      let busy = false;
      for (const side of [this.client, this.server]) {
        side.tcp.now = this.now;
        if (!isPending(side.tcp)) continue;
        busy = true;
        flush(side.tcp, this.now);
        deliver(side.tcp);
      }
      if (!busy) return;
    }
  }

  /** Puts a hand-made segment on the wire, to arrive at once; `source` forges the IPv4 address it comes from. */
  inject(to: Side, segment: Uint8Array, source = to.peer.address.w3): string | undefined {
    const wire = { bytes: segment, gsoSize: 0, note: undefined, from: to.peer, to, source, at: this.now };
    return this.#arrive(wire);
  }

  /** Hands a packet to a side as it is: for what no well-formed wire would carry. */
  injectPacket(to: Side, change: (packet: Packet) => void, segment: Uint8Array): string | undefined {
    const packet = this.#fill({
      bytes: segment,
      gsoSize: 0,
      note: undefined,
      from: to.peer,
      to,
      at: this.now,
    });
    to.tcp.now = this.now;
    change(packet);
    return to.entry.transport.input(packet);
  }

  put(wire: Wire): void {
    const segment = this.#parse(wire);
    this.log.push(`${wire.from === this.client ? '>' : '<'} ${describe(segment)}`);
    if (this.filter?.(wire, segment) === false) return;
    let i = this.wire.length;
    while (i > 0 && this.wire[i - 1]!.at > wire.at) i--;
    this.wire.splice(i, 0, wire);
  }

  #nextWire(): Micros {
    return this.wire[0]?.at ?? NEVER;
  }

  #deliverWire(): void {
    while (this.wire.length > 0 && this.wire[0]!.at <= this.now) this.#arrive(this.wire.shift()!);
  }

  #advance(): void {
    for (const side of [this.client, this.server]) {
      side.tcp.now = this.now;
      side.timers.advance(this.now);
    }
  }

  #arrive(wire: Wire): string | undefined {
    const packet = this.#fill(wire);
    wire.to.tcp.now = this.now;
    return wire.to.entry.transport.input(packet);
  }

  #fill(wire: Wire): Packet {
    const packet = this.#packet.set(new Slab(wire.bytes), 0, wire.bytes.length);
    packet.checksumTrusted = true;
    packet.gsoSize = wire.gsoSize;
    packet.s2 = packet.d2 = 0xffff;
    packet.s3 = wire.source ?? wire.from.address.w3;
    packet.d3 = wire.to.address.w3;
    return packet;
  }

  #parse(wire: Wire): Segment {
    parseSegment(this.#fill(wire), this.#segment);
    return this.#segment;
  }
}

/** `seq 1 ack 2 len 3 wnd 4 [SYN,ACK]` */
export function describe(seg: Segment): string {
  return `seq ${seg.seq} ack ${seg.ack} len ${seg.dataLength} wnd ${seg.wnd} [${header.flagNames(seg.flags)}]`;
}

/** An IP that knows one peer and puts what it is given on the wire. */
function makeIp(pair: Pair, side: Side, mtu: number): IpOutput {
  const frames = makeFrames(1);
  const netif: NetInterface = {
    index: 1,
    name: 'wire',
    mtu,
    mac: new Uint8Array(6),
    loopback: false,
    up: true,
    addresses: [],
    hasRoom: () => true,
    frame: () => frames[0]!.reset(),
    send: () => 'sent',
  };
  const path = (destination: Address): Path => ({
    source: side.address,
    destination,
    interface: netif,
    nextHop: destination,
    mtu,
    headerLength: 20,
    broadcast: false,
    stale: false,
  });
  return {
    path,
    send: (_path, _protocol, frame: Frame) => {
      const bytes = new Uint8Array(frame.length);
      frame.copyTo(bytes, 0);
      pair.put({
        bytes,
        gsoSize: frame.gsoSize,
        note: side.tcp.trace.take() ?? frame.note,
        from: side,
        to: side.peer,
        at: pair.now + pair.delay,
      });
      frame.reset();
      return 'sent';
    },
    isLocal: (address) => address.equals(side.address),
    isBroadcast: () => false,
  };
}

/** `n` bytes with a pattern that shows misplaced ones. */
export function pattern(n: number, from = 0): Uint8Array {
  const bytes = new Uint8Array(n);
  for (let i = 0; i < n; i++) bytes[i] = ((from + i) * 31 + ((from + i) >> 8)) & 255;
  return bytes;
}

/** A segment's bytes without checksum, for {@link Pair.inject}. */
export function craft(fields: {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack?: number;
  flags: number;
  wnd?: number;
  options?: Uint8Array;
  data?: Uint8Array;
}): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const data = fields.data ?? new Uint8Array(0);
  const length = 20 + options.length;
  const bytes = new Uint8Array(length + data.length);
  const view = new DataView(bytes.buffer);
  header.writeHeader(
    view,
    0,
    fields.sourcePort,
    fields.destinationPort,
    fields.seq,
    fields.ack ?? 0,
    length,
    fields.flags,
    fields.wnd ?? 65_535,
  );
  bytes.set(options, 20);
  bytes.set(data, length);
  return bytes;
}

/**
 * A segment as `tcb`'s peer would send it, for {@link Pair.inject}: next in both sequences, with the timestamp that PAWS wants
 * unless `options` says otherwise.
 */
export function fromPeer(
  tcb: Tcb,
  fields: Partial<Parameters<typeof craft>[0]> & { flags: number },
): Uint8Array {
  return craft({
    sourcePort: tcb.remotePort,
    destinationPort: tcb.localPort,
    seq: tcb.receiveBuffer.nxt,
    ack: tcb.snd.nxt,
    options: stamp(tcb),
    ...fields,
  });
}

/** A timestamps option that PAWS takes, or nothing. */
export function stamp(tcb: Tcb, tsval = tcb.ts.recent, tsecr = 0): Uint8Array {
  if (!tcb.ts.on) return new Uint8Array(0);
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0101080a);
  view.setUint32(4, tsval);
  view.setUint32(8, tsecr);
  return bytes;
}
