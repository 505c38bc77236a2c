// Stacks on wires in one virtual time.

import { seededRandom } from '../../src/base/random.ts';
import { type Micros, SECOND } from '../../src/base/time.ts';
import { Trace } from '../../src/base/trace.ts';
import type { Device } from '../../src/link/device.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { segment } from '../../src/link/segment.ts';
import type { Interface } from '../../src/stack/interface.ts';
import { Stack, type StackOptions } from '../../src/stack/stack.ts';
import { cidr } from './rig.ts';

export interface Attached {
  readonly device: Device;
  readonly netif: Interface;
}

/** One stack and its devices, run as a host runs them. */
export class Node {
  readonly stack: Stack;
  readonly links: Attached[] = [];
  /** Every frame received, when asked for. */
  readonly heard: Uint8Array[] = [];

  constructor(seed: number, now: Micros, options: Partial<StackOptions> = {}) {
    this.stack = new Stack({ random: seededRandom(seed), now, trace: new Trace(), ...options });
  }

  attach(device: Device, ...addresses: string[]): Interface {
    const port = segment(device);
    const netif = this.stack.addInterface({ name: device.name, port, addresses: addresses.map(cidr) });
    this.links.push({ device: port, netif });
    return netif;
  }

  /** One round. True when something happened. */
  round(now: Micros): boolean {
    const { stack } = this;
    stack.setTime(now);
    let received = 0;
    for (const { device, netif } of this.links) {
      device.advance(now);
      received += device.receive((packet) => {
        this.heard.push(packet.bytes.slice(packet.start, packet.end));
        stack.input(netif, packet);
      }, 64);
    }
    stack.advance(now);
    const busy = received > 0 || stack.pending;
    stack.flush();
    stack.deliver();
    return busy;
  }
}

/** Nodes and the clock they share. */
export class World {
  now: Micros = 1_000 * SECOND;
  readonly nodes: Node[] = [];
  readonly #seed: number;

  constructor(seed = 1) {
    this.#seed = seed;
  }

  node(options: Partial<StackOptions> = {}): Node {
    const node = new Node(this.#seed * 100 + this.nodes.length, this.now, options);
    this.nodes.push(node);
    return node;
  }

  /** Lets everybody work until nobody has anything to do at this instant. */
  settle(): void {
    for (let rounds = 0; rounds < 100_000; rounds++) {
      let busy = false;
      for (const node of this.nodes) if (node.round(this.now)) busy = true;
      if (!busy) return;
    }
    throw new Error('the world does not come to rest');
  }

  /** Lets time pass, from deadline to deadline. */
  pass(micros: Micros): void {
    const end = this.now + micros;
    this.settle();
    for (;;) {
      const next = Math.min(
        ...this.nodes.flatMap((n) => [n.stack.nextTimeout(), ...n.links.map((l) => l.device.nextTimeout())]),
      );
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.settle();
    }
    this.now = end;
    this.settle();
  }
}

/** Two hosts on one wire: 10.0.0.1 and 10.0.0.2. */
export function twoHosts(seed = 1) {
  const world = new World(seed);
  const [left, right] = createPipe();
  const a = world.node();
  const b = world.node();
  const ia = a.attach(left, '10.0.0.1/24');
  const ib = b.attach(right, '10.0.0.2/24');
  return { world, a, b, ia, ib };
}
