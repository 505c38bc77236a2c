// The stack on an in-memory wire, in virtual time: what a script plays against.

import { type Address, type Cidr, maskWord, v4 } from '../base/address.ts';
import type { Mac } from '../base/mac.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { seededRandom } from '../base/random.ts';
import { Slab } from '../base/slab.ts';
import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { Trace } from '../base/trace.ts';
import { type Device, emptyStats, type FrameSink, NO_OFFLOAD } from '../link/device.ts';
import { segment } from '../link/segment.ts';
import type { Interface } from '../stack/interface.ts';
import { Stack } from '../stack/stack.ts';
import type { TcpConfig } from '../tcp/tcp.ts';
import type { Ends } from './wire.ts';

/** Where virtual time begins: long after zero, as on a host that has been up for a while. */
const START: Micros = 1_000 * SECOND;
/** Rounds at one instant after which the stack is said to talk to itself. */
const MOST_ROUNDS = 10_000;

/** What crosses the wire, in both directions, for a capture. */
export type FrameWatcher = (
  at: Micros,
  direction: 'in' | 'out',
  bytes: Uint8Array,
  note: string | undefined,
) => void;

export interface WorldOptions {
  readonly local: Address;
  readonly prefixLength: number;
  readonly gateway: Address;
  readonly remote: Address;
  readonly mtu: number;
  readonly seed: number;
  readonly tcp: Partial<TcpConfig>;
  readonly watch: FrameWatcher | undefined;
}

const OUR_MAC: Mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PEER_MAC: Mac = Uint8Array.of(2, 0, 0, 0, 0, 2);

export class World {
  now: Micros = START;
  readonly stack: Stack;
  readonly netif: Interface;
  readonly ends: Ends;
  /** Every frame the stack sends: the runner takes them from here. */
  readonly sent: { readonly at: Micros; readonly bytes: Uint8Array }[] = [];
  readonly #watch: FrameWatcher | undefined;
  readonly #packet = new Packet();

  constructor(options: WorldOptions) {
    const { local, remote, gateway, prefixLength, mtu } = options;
    this.#watch = options.watch;
    this.ends = { mac: OUR_MAC, peerMac: PEER_MAC, local, remote };
    const trace = new Trace();
    trace.on = options.watch !== undefined;
    this.stack = new Stack({ random: seededRandom(options.seed), now: START, trace, tcp: options.tcp });
    const port = segment(new Wire(mtu, (frame) => this.#take(frame)));
    this.netif = this.stack.addInterface({ name: 'drill0', port });
    const cidr: Cidr = { address: local, prefixLength };
    this.netif.addAddress(cidr, { announce: false });
    const index = this.netif.index;
    for (const hop of [gateway, remote]) this.netif.neighbours.addStatic(hop, PEER_MAC);
    if ((remote.w3 & maskWord(prefixLength)) !== (local.w3 & maskWord(prefixLength))) {
      this.stack.routes.add({ prefix: DEFAULT_ROUTE, via: gateway, interfaceIndex: index });
    }
    this.settle();
  }

  #take(frame: Frame): void {
    const bytes = new Uint8Array(frame.length);
    frame.copyTo(bytes, 0);
    this.sent.push({ at: this.now, bytes });
    this.#watch?.(this.now, 'out', bytes, frame.note);
  }

  /** Hands a frame to the stack, as the driver of a device would: `gsoSize` above 0 marks a super-frame. */
  receive(bytes: Uint8Array, gsoSize: number): void {
    const { stack } = this;
    stack.setTime(this.now);
    const packet = this.#packet.set(new Slab(bytes), 0, bytes.length);
    packet.gsoSize = gsoSize;
    stack.input(this.netif, packet);
    this.#watch?.(this.now, 'in', bytes, stack.trace.take());
  }

  /** Lets the stack work until nothing is left to do at this instant. */
  settle(): void {
    const { stack } = this;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      stack.advance(this.now);
      const busy = stack.pending;
      stack.flush();
      stack.deliver();
      if (!busy && !stack.pending && stack.nextTimeout() > this.now) return;
    }
    throw new Error('the stack does not come to rest');
  }

  /** When the stack has something to do next; NEVER when it is idle. */
  next(): Micros {
    return this.stack.nextTimeout();
  }
}

const DEFAULT_ROUTE: Cidr = { address: v4(0), prefixLength: 0 };

/** The sending half of a wire that is always free. What is received is handed to the stack directly. */
class Wire implements Device {
  readonly name = 'drill0';
  readonly mac = OUR_MAC;
  readonly mtu: number;
  readonly features = NO_OFFLOAD;
  readonly stats = emptyStats();
  onReady: (() => void) | undefined;
  readonly #take: (frame: Frame) => void;

  constructor(mtu: number, take: (frame: Frame) => void) {
    this.mtu = mtu;
    this.#take = take;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    for (let i = from; i < to; i++) this.#take(frames[i]!);
    return to - from;
  }

  receive(_sink: FrameSink, _limit: number): number {
    return 0;
  }

  advance(): void {}

  nextTimeout(): Micros {
    return NEVER;
  }

  close(): void {}
}
