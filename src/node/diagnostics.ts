// What a host tells diagnostics_channel, all names in one table, and NODE_DEBUG=tapstack.

import { channel } from 'node:diagnostics_channel';
import { debuglog } from 'node:util';
import type { DropReason } from '../base/drop.ts';
import type { Mac } from '../base/mac.ts';
import type { Frame, Packet } from '../base/packet.ts';
import type { Micros } from '../base/time.ts';
import type { Device, DeviceFeatures, DeviceStats, FrameSink } from '../link/device.ts';
import type { State, Tcb } from '../tcp/tcb.ts';

/** Messages are made only while somebody subscribes. */
export const channels = {
  /** `{ host, frame: Uint8Array, gsoSize }`: a frame as the device handed it over, or as the stack handed it down. */
  frameRx: channel('tapstack:frame:rx'),
  frameTx: channel('tapstack:frame:tx'),
  /** `{ host, frame: Uint8Array, reason }`: a frame that the stack did not take. */
  frameDrop: channel('tapstack:frame:drop'),
  /** `{ host, tcb, from, to }`: a connection changed its state. */
  tcpState: channel('tapstack:tcp:state'),
  /** `{ host, address, interface }`: an address came into use. */
  address: channel('tapstack:address'),
  /** `{ host, address, mac }`: another station uses an address of ours. */
  conflict: channel('tapstack:arp:conflict'),
  /** `{ host }` */
  hostOpen: channel('tapstack:host:open'),
  hostClose: channel('tapstack:host:close'),
} as const;

/** Lines on stderr under NODE_DEBUG=tapstack. */
export const debug = debuglog('tapstack');

/** Tells subscribers of every frame that passes a device. Asks once a batch, and costs nothing while nobody listens. */
export function observe(device: Device, host: string): Device {
  return new ObservedDevice(device, host);
}

class ObservedDevice implements Device {
  readonly #inner: Device;
  readonly #host: string;

  constructor(inner: Device, host: string) {
    this.#inner = inner;
    this.#host = host;
  }

  get name(): string {
    return this.#inner.name;
  }

  get mac(): Mac {
    return this.#inner.mac;
  }

  get mtu(): number {
    return this.#inner.mtu;
  }

  get features(): DeviceFeatures {
    return this.#inner.features;
  }

  get stats(): DeviceStats {
    return this.#inner.stats;
  }

  get onReady(): (() => void) | undefined {
    return this.#inner.onReady;
  }

  set onReady(listener: (() => void) | undefined) {
    this.#inner.onReady = listener;
  }

  receive(sink: FrameSink, limit: number): number {
    if (!channels.frameRx.hasSubscribers) return this.#inner.receive(sink, limit);
    return this.#inner.receive((packet) => {
      channels.frameRx.publish({ host: this.#host, frame: copyOf(packet), gsoSize: packet.gsoSize });
      sink(packet);
    }, limit);
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    const taken = this.#inner.transmit(frames, from, to);
    if (channels.frameTx.hasSubscribers) {
      for (let i = from; i < from + taken; i++) {
        const frame = new Uint8Array(frames[i]!.length);
        frames[i]!.copyTo(frame, 0);
        channels.frameTx.publish({ host: this.#host, frame, gsoSize: frames[i]!.gsoSize });
      }
    }
    return taken;
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

/** Tells subscribers of a frame that was not taken, and why. `end` is where it ended before the stack read it. */
export function tellDrop(host: string, packet: Packet, end: number, reason: DropReason): void {
  if (!channels.frameDrop.hasSubscribers) return;
  channels.frameDrop.publish({ host, frame: packet.bytes.slice(packet.start, end), reason });
}

export function tellTransition(host: string, tcb: Tcb, from: State, to: State): void {
  if (channels.tcpState.hasSubscribers) channels.tcpState.publish({ host, tcb, from, to });
}

/** A copy: the device writes over the frame when the sink has returned. */
function copyOf(packet: Packet): Uint8Array {
  return packet.bytes.slice(packet.start, packet.end);
}
