// 100 MB over a network at 5 % loss, 2 % duplication, 2 % reordering and 1 % corruption, both ways, for twenty seeds: every
// byte arrives, once and in order.

import { expect, test } from 'vitest';
import { type Address, v4 } from '../../src/base/address.ts';
import { seededRandom } from '../../src/base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../../src/base/time.ts';
import type { Device } from '../../src/link/device.ts';
import { netem } from '../../src/link/netem.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import type { Interface } from '../../src/stack/interface.ts';
import { Stack } from '../../src/stack/stack.ts';
import { accept, listen, open, receive, send, shutdown } from '../../src/tcp/calls.ts';
import type { Tcb, TcpUser } from '../../src/tcp/tcb.ts';

const SEEDS = 20;
const BYTES = 100_000_000;
/** A period that divides nothing the stack likes: a byte out of place shows. */
const PERIOD = 65_521;

const pattern = new Uint8Array(PERIOD * 2);
for (let i = 0; i < pattern.length; i++) pattern[i] = ((i % PERIOD) * 31 + ((i % PERIOD) >> 8)) & 255;

class End {
  readonly stack: Stack;
  readonly device: Device;
  readonly netif: Interface;

  constructor(device: Device, address: Address, seed: number, now: Micros) {
    this.stack = new Stack({ random: seededRandom(seed), now });
    this.device = segment(device);
    this.netif = this.stack.addInterface({
      name: device.name,
      port: this.device,
      addresses: [{ address, prefixLength: 24 }],
    });
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

/** Sends the pattern and closes. */
class Sender implements TcpUser {
  sent = 0;
  ended = false;

  more(tcb: Tcb): void {
    while (this.sent < BYTES) {
      const at = this.sent % PERIOD;
      const n = send(tcb, pattern, at, Math.min(PERIOD, BYTES - this.sent));
      this.sent += n;
      if (n === 0) return;
    }
    if (!this.ended) shutdown(tcb);
    this.ended = true;
  }

  connected(tcb: Tcb): void {
    this.more(tcb);
  }
  writable(tcb: Tcb): void {
    this.more(tcb);
  }
  readable(): void {}
  drained(): void {}
  closed(): void {}
}

/** Compares what arrives with the pattern. */
class Receiver implements TcpUser {
  received = 0;
  wrong = 0;
  ended = false;

  readable(tcb: Tcb): void {
    receive(tcb, Number.POSITIVE_INFINITY, (slab, offset, length) => {
      for (let done = 0; done < length; ) {
        const at = this.received % PERIOD;
        const n = Math.min(PERIOD, length - done);
        const same = Buffer.compare(
          slab.bytes.subarray(offset + done, offset + done + n),
          pattern.subarray(at, at + n),
        );
        if (same !== 0) this.wrong++;
        done += n;
        this.received += n;
      }
    });
    if (tcb.receiveEnded) {
      this.ended = true;
      shutdown(tcb);
    }
  }
  connected(): void {}
  writable(): void {}
  drained(): void {}
  closed(): void {}
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`100 MB arrive intact, seed ${seed}`, { timeout: 120_000 }, () => {
    const start: Micros = 1_000 * SECOND;
    const [left, right] = createPipe();
    const bad = netem(left, {
      seed,
      delay: MILLISECOND,
      jitter: MILLISECOND / 2,
      loss: 0.05,
      duplicate: 0.02,
      reorder: 0.02,
      corrupt: 0.01,
    });
    const client = new End(bad, v4(0x0a000001), seed, start);
    const server = new End(right, v4(0x0a000002), seed + 1000, start);
    const receiver = new Receiver();
    listen(server.stack.tcp, {
      port: 9,
      backlog: 1,
      acceptable: (l) => {
        const tcb = accept(l);
        if (tcb !== undefined) tcb.user = receiver;
      },
    });
    const sender = new Sender();
    const tcb = open(client.stack.tcp, { remote: v4(0x0a000002), remotePort: 9, user: sender });
    expect(typeof tcb, String(tcb)).toBe('object');
    let now = start;
    while (!receiver.ended) {
      while (client.round(now) || server.round(now));
      const next = Math.min(client.next(), server.next());
      if (next > start + 50_000 * SECOND) break;
      now = Math.max(now, next);
    }
    expect({ received: receiver.received, wrong: receiver.wrong }).toEqual({ received: BYTES, wrong: 0 });
  });
}
