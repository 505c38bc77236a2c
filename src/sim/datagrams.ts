// Datagrams from one host to another, small ones and such as need fragments: those that arrive must be as they were sent.

import type { Slab } from '../base/slab.ts';
import type { Micros } from '../base/time.ts';
import { bindUdp, closeUdp, openUdp, sendUdp, type UdpSocket } from '../udp/udp.ts';
import type { SimHost } from './host.ts';
import { firstWrong, pieceOf } from './pattern.ts';
import type { Sim } from './sim.ts';

export interface ShowerPlan {
  readonly count: number;
  readonly every: Micros;
  /** Bytes of the datagram with this number; at least 4. */
  readonly size: (number: number) => number;
}

/** Where showers go to. */
const FIRST_PORT = 5_000;
/** Bytes that say which datagram it is. */
const NUMBER = 4;

/** `plan.count` datagrams, one at a time. */
export class Shower {
  sent = 0;
  /** Arrivals, those of the same datagram too. */
  received = 0;
  /** Arrivals that were not as they were sent. */
  damaged = 0;
  readonly #stream: number;
  readonly #plan: ShowerPlan;
  readonly #sizes = new Map<number, number>();
  readonly #from: UdpSocket;
  readonly #to: UdpSocket;

  /** Starts after `delay`. `number` must differ between the showers of one simulation. */
  constructor(sim: Sim, from: SimHost, to: SimHost, number: number, plan: ShowerPlan, delay: Micros) {
    this.#stream = number;
    this.#plan = plan;
    const port = FIRST_PORT + number;
    const nothing = () => {};
    this.#from = from.act(sim.now, ({ udp }) =>
      openUdp(udp, { family: 4, user: { received: nothing, error: nothing, writable: nothing } }),
    );
    this.#to = to.act(sim.now, ({ udp }) => {
      const received = (_socket: UdpSocket, slab: Slab, offset: number, length: number) =>
        this.#receive(slab, offset, length);
      const socket = openUdp(udp, { family: 4, user: { received, error: nothing, writable: nothing } });
      bindUdp(socket, to.address, port);
      return socket;
    });
    for (let i = 0; i < plan.count; i++) {
      sim.afterOn(from, delay + i * plan.every, () => this.#send(to, port, i));
    }
  }

  #send(to: SimHost, port: number, number: number): void {
    const length = Math.max(NUMBER, this.#plan.size(number));
    const bytes = new Uint8Array(length);
    new DataView(bytes.buffer).setUint32(0, number);
    const piece = pieceOf(this.#stream, number);
    bytes.set(piece.bytes.subarray(piece.offset, piece.offset + length - NUMBER), NUMBER);
    this.#sizes.set(number, length);
    if (sendUdp(this.#from, bytes, 0, length, to.address, port) === length) this.sent++;
  }

  #receive(slab: Slab, offset: number, length: number): void {
    this.received++;
    const number = length < NUMBER ? -1 : slab.view.getUint32(offset);
    const right =
      this.#sizes.get(number) === length &&
      firstWrong(this.#stream, number, slab, offset + NUMBER, length - NUMBER) < 0;
    if (!right) this.damaged++;
  }

  /** Closes both sockets. */
  finish(): void {
    closeUdp(this.#from);
    closeUdp(this.#to);
  }
}
