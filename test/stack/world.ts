// Stacks on wires in one virtual time: a simulation whose hosts remember what they heard.

import { seededRandom } from '../../src/base/random.ts';
import type { Micros } from '../../src/base/time.ts';
import { Trace } from '../../src/base/trace.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { SimHost } from '../../src/sim/host.ts';
import { Sim } from '../../src/sim/sim.ts';
import type { StackOptions } from '../../src/stack/stack.ts';

/** One stack and its devices, run as a host runs them. */
export class Node extends SimHost {
  /** Every frame received. */
  readonly heard: Uint8Array[] = [];

  constructor(seed: number, now: Micros, options: Partial<StackOptions> = {}) {
    super(now, seededRandom(seed), { trace: new Trace(), ...options });
    this.onFrame = (packet) => this.heard.push(packet.bytes.slice(packet.start, packet.end));
  }
}

/** Nodes and the clock they share. */
export class World extends Sim {
  readonly nodes: Node[] = [];
  readonly #seed: number;

  constructor(seed = 1) {
    super({ seed });
    this.#seed = seed;
  }

  node(options: Partial<StackOptions> = {}): Node {
    const node = new Node(this.#seed * 100 + this.nodes.length, this.now, options);
    this.nodes.push(node);
    this.hosts.push(node);
    return node;
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
