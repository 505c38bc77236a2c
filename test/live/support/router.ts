// A router over several TAPs in this process: one stack that forwards, and the shortest loop that can drive it.

import { parseCidr } from '../../../src/base/address.ts';
import { MILLISECOND, NEVER } from '../../../src/base/time.ts';
import type { Device } from '../../../src/link/device.ts';
import { segment } from '../../../src/link/segment.ts';
import { now, systemRandom } from '../../../src/node/clock.ts';
import { openTap, type TapOptions } from '../../../src/node/tap.ts';
import type { Interface } from '../../../src/stack/interface.ts';
import { Stack } from '../../../src/stack/stack.ts';

/** Where the router is attached, and its own address there. */
export interface Leg {
  readonly tap: TapOptions;
  readonly address: string;
}

/** Frames of one device before the others have their turn. */
const BATCH = 256;

export class Router {
  readonly stack = new Stack({ random: systemRandom(), now: now(), forwarding: true });
  readonly #legs: { device: Device; iface: Interface }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(legs: readonly Leg[]) {
    for (const { tap, address } of legs) {
      const device = segment(openTap(tap));
      const iface = this.stack.addInterface({ name: device.name, port: device });
      iface.addAddress(parseCidr(address)!);
      this.#legs.push({ device, iface });
      device.onReady = () => this.#round();
    }
    this.#round();
  }

  /** Closes the devices. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { device } of this.#legs) device.close();
  }

  readonly #round = (): void => {
    const { stack } = this;
    const time = now();
    stack.setTime(time);
    for (const { device, iface } of this.#legs) {
      device.receive((packet) => {
        stack.input(iface, packet);
      }, BATCH);
    }
    stack.advance(time);
    do {
      stack.flush();
      stack.deliver();
    } while (stack.pending);
    clearTimeout(this.#timer);
    const due = stack.nextTimeout();
    if (due !== NEVER)
      this.#timer = setTimeout(this.#round, Math.max(0, Math.ceil((due - now()) / MILLISECOND)));
  };
}
