// Two hosts and one bottleneck between them, in virtual time: what the tests of congestion control measure on.
//
//   senders ── queue ── rate ── delay, loss ──▶ receivers
//           ◀────────── delay ────────────────

import { v4 } from '../../src/base/address.ts';
import { seededRandom } from '../../src/base/random.ts';
import { type Micros, SECOND } from '../../src/base/time.ts';
import type { Device } from '../../src/link/device.ts';
import { type Netem, netem } from '../../src/link/netem.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import type { Interface } from '../../src/stack/interface.ts';
import { Stack } from '../../src/stack/stack.ts';
import { accept, listen, open, receive, send } from '../../src/tcp/calls.ts';
import type { Tcb, TcpOptions, TcpUser } from '../../src/tcp/tcb.ts';
import type { TcpConfig } from '../../src/tcp/tcp.ts';

export interface PathOptions {
  /** Bits a second; the time there and back; bytes that wait before the bottleneck, its bandwidth-delay product unless given. */
  readonly rate: number;
  readonly rtt: Micros;
  readonly queue?: number;
  readonly loss?: number;
  readonly seed?: number;
  readonly config?: Partial<TcpConfig>;
}

const CHUNK = new Uint8Array(64 << 10);
const PORT = 9;

class Host {
  readonly stack: Stack;
  readonly device: Device;
  readonly netif: Interface;

  constructor(device: Device, address: number, seed: number, now: Micros, config: Partial<TcpConfig>) {
    this.stack = new Stack({ random: seededRandom(seed), now, tcp: config });
    this.device = segment(device);
    const addresses = [{ address: v4(address), prefixLength: 24 }];
    this.netif = this.stack.addInterface({ name: device.name, port: this.device, addresses });
  }

  round(now: Micros): boolean {
    this.stack.setTime(now);
    this.device.advance(now);
    const received = this.device.receive((packet) => {
      this.stack.input(this.netif, packet);
    }, 256);
    this.stack.advance(now);
    const busy = received > 0 || this.stack.pending;
    this.stack.flush();
    this.stack.deliver();
    return busy;
  }

  next(): Micros {
    return Math.min(this.stack.nextTimeout(), this.device.nextTimeout());
  }
}

/** Sends as much as it may, for ever, or as many bytes as it is told. */
export class Source implements TcpUser {
  tcb!: Tcb;
  /** What the other end has read. */
  received = 0;
  left: number;

  constructor(bytes: number) {
    this.left = bytes;
  }

  more(): void {
    while (this.left > 0) {
      const n = Math.min(CHUNK.length, this.left);
      const sent = send(this.tcb, CHUNK, 0, n);
      this.left -= sent;
      if (sent < n) return;
    }
  }

  connected(): void {
    this.more();
  }
  writable(): void {
    this.more();
  }
  readable(): void {}
  drained(): void {}
  closed(): void {}
}

export class BottleneckPath {
  now: Micros = 1_000 * SECOND;
  readonly sources: Source[] = [];
  readonly link: Netem;
  readonly client: Host;
  readonly server: Host;
  readonly accepted: Tcb[] = [];

  constructor({ rate, rtt, loss = 0, seed = 1, config = {}, ...rest }: PathOptions) {
    const queue = rest.queue ?? Math.round((rate / 8) * (rtt / SECOND));
    const [left, right] = createPipe();
    this.link = netem(left, {
      seed,
      limit: 65_536,
      out: { rate, queue, loss, delay: Math.floor(rtt / 2) },
      in: { delay: Math.ceil(rtt / 2) },
    });
    this.client = new Host(this.link, 0x0a000001, seed, this.now, config);
    this.server = new Host(right, 0x0a000002, seed + 1000, this.now, config);
    listen(this.server.stack.tcp, {
      port: PORT,
      backlog: 64,
      acceptable: (listener) => {
        for (let tcb = accept(listener); tcb !== undefined; tcb = accept(listener)) {
          tcb.user = this.#reader(tcb.remotePort);
          this.accepted.push(tcb);
        }
      },
    });
  }

  /** Starts a connection that sends `bytes`, or without end. */
  start(options: Partial<TcpOptions> = {}, bytes = Number.POSITIVE_INFINITY): Source {
    const source = new Source(bytes);
    const tcb = open(this.client.stack.tcp, {
      remote: v4(0x0a000002),
      remotePort: PORT,
      user: source,
      options,
    });
    if (typeof tcb === 'string') throw new Error(tcb);
    source.tcb = tcb;
    this.sources.push(source);
    return source;
  }

  /** Lets `span` pass. `watch` is called at every instant at which something happened. */
  run(span: Micros, watch?: () => void): void {
    const end = this.now + span;
    for (;;) {
      while (this.client.round(this.now) || this.server.round(this.now));
      watch?.();
      const next = Math.min(this.client.next(), this.server.next());
      if (next > end) break;
      this.now = Math.max(this.now, next);
    }
    this.now = end;
  }

  /** Bits a second that `source` brought across in `span` from now. */
  goodput(source: Source, span: Micros): number {
    const before = source.received;
    this.run(span);
    return ((source.received - before) * 8 * SECOND) / span;
  }

  #reader(port: number): TcpUser {
    const source = this.sources.find((s) => s.tcb.localPort === port)!;
    const count = (_slab: unknown, _offset: number, length: number): void => {
      source.received += length;
    };
    return {
      readable: (tcb) => {
        receive(tcb, Number.POSITIVE_INFINITY, count);
      },
      connected() {},
      writable() {},
      drained() {},
      closed() {},
    };
  }
}
