// A learning Ethernet switch in memory (IEEE 802.1Q 8.6 to 8.8, without VLANs): a shared segment for several hosts.

import { formatMac, isGroupMac, MAC_LENGTH, type Mac } from '../base/mac.ts';
import { type Frame, Packet } from '../base/packet.ts';
import type { Random } from '../base/random.ts';
import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { type Device, type DeviceFeatures, emptyStats, type FrameSink, NO_OFFLOAD } from './device.ts';
import { ETHERNET_HEADER } from './headers.ts';
import { ETHERNET_MTU } from './pipe.ts';
import { FrameQueue, FrameStore, fitsWire } from './wire.ts';

/** Addresses remembered at most. A full table learns nothing new, so strangers are flooded to and those known stay known. */
const MOST_ADDRESSES = 4_096;
/** An address not seen for so long is forgotten (802.1Q 8.8.3, recommended default). */
const AGEING_TIME: Micros = 300 * SECOND;
/** Bytes that may wait at a port for its host; more is dropped, as a switch drops. */
const PORT_BYTES = 4 * 1_024 * 1_024;
/** Frames that may wait at a port for its host. */
const PORT_FRAMES = 4_096;

export interface SwitchOptions {
  /** Makes the addresses of ports that name none; without it they are numbered. */
  random?: Random;
  /** What the ports can do; with offload, super-frames cross whole. None unless given. */
  features?: DeviceFeatures;
}

export interface PortOptions {
  mac?: Mac;
  mtu?: number;
  name?: string;
}

/** What a switch did, over all of its ports. */
export interface SwitchCounters {
  /** Frames sent to the one port where their destination was last seen. */
  forwarded: number;
  /** Frames sent to all other ports: to a group, or to an address not known. */
  flooded: number;
  /** Frames kept off all ports: their destination is where they came from, or reserved (802.1Q 8.6.3), or they were shorter than a header. */
  filtered: number;
  /** Copies lost because the receiving port's queue was full, or the frame was larger than its MTU. */
  discarded: number;
}

interface Entry {
  port: Port;
  seen: Micros;
}

/**
 * Connects the devices made by {@link Switch.port}. It learns which address is behind which port, sends frames for addresses it
 * knows to that port alone, and all others everywhere but back. A port never refuses a frame: when the receiver's queue is
 * full the copy is lost and counted there (`rxDropped`), as on a real switch.
 */
export class Switch {
  readonly features: DeviceFeatures;
  readonly counters: SwitchCounters = { forwarded: 0, flooded: 0, filtered: 0, discarded: 0 };
  readonly #random: Random | undefined;
  readonly #ports = new Set<Port>();
  readonly #table = new Map<number, Entry>();
  #now: Micros = 0;
  #made = 0;

  constructor({ random, features }: SwitchOptions = {}) {
    this.#random = random;
    this.features = features ?? NO_OFFLOAD;
  }

  /** A new port, as the device of the host that is plugged into it. Closing the device unplugs it. */
  port({ mac, mtu, name }: PortOptions = {}): Device {
    const port = new Port(this, mac ?? this.#inventMac(), mtu ?? ETHERNET_MTU, name ?? `port${this.#made}`);
    this.#made++;
    this.#ports.add(port);
    return port;
  }

  /** Addresses known now, with the name of their port. For tests and status pages. */
  addresses(): Map<string, string> {
    this.#forgetOld();
    const known = new Map<string, string>();
    for (const [key, { port }] of this.#table) known.set(formatMac(macOf(key)), port.name);
    return known;
  }

  /** @internal A port tells the time. */
  advance(now: Micros): void {
    if (now > this.#now) this.#now = now;
  }

  /** @internal A port sends a frame that fits its wire. */
  input(from: Port, frame: Frame): void {
    const { bytes, head, tail } = frame;
    if (tail - head < ETHERNET_HEADER) {
      this.counters.filtered++;
      return;
    }
    if (!isGroupMac(bytes, head + MAC_LENGTH)) this.#learn(keyAt(bytes, head + MAC_LENGTH), from);
    if (isReserved(bytes, head)) this.counters.filtered++;
    else if (isGroupMac(bytes, head)) this.#flood(from, frame);
    else {
      const to = this.#find(keyAt(bytes, head));
      if (to === undefined) this.#flood(from, frame);
      else if (to === from) this.counters.filtered++;
      else {
        this.counters.forwarded++;
        this.#give(to, frame);
      }
    }
  }

  /** @internal A port was closed. */
  unplug(port: Port): void {
    this.#ports.delete(port);
    for (const [key, entry] of this.#table) if (entry.port === port) this.#table.delete(key);
  }

  #flood(from: Port, frame: Frame): void {
    this.counters.flooded++;
    for (const port of this.#ports) if (port !== from) this.#give(port, frame);
  }

  #give(port: Port, frame: Frame): void {
    if (!port.accept(frame)) this.counters.discarded++;
  }

  #learn(key: number, port: Port): void {
    const entry = this.#table.get(key);
    if (entry !== undefined) {
      entry.port = port;
      entry.seen = this.#now;
      return;
    }
    if (this.#table.size >= MOST_ADDRESSES) this.#forgetOld();
    if (this.#table.size < MOST_ADDRESSES) this.#table.set(key, { port, seen: this.#now });
  }

  #find(key: number): Port | undefined {
    const entry = this.#table.get(key);
    if (entry === undefined) return undefined;
    if (this.#now - entry.seen < AGEING_TIME) return entry.port;
    this.#table.delete(key);
    return undefined;
  }

  #forgetOld(): void {
    for (const [key, { seen }] of this.#table) {
      if (this.#now - seen >= AGEING_TIME) this.#table.delete(key);
    }
  }

  /** A locally administered unicast address. */
  #inventMac(): Mac {
    const number = this.#random?.u32() ?? this.#made + 1;
    return Uint8Array.of(2, 0, number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255);
  }
}

/** An address as a number: 48 bits are exact. */
function keyAt(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
  const low = (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!;
  return high * 0x100_0000 + low;
}

function macOf(key: number): Mac {
  return Uint8Array.from({ length: MAC_LENGTH }, (_, i) => Math.floor(key / 2 ** (8 * (5 - i))) & 255);
}

/** 01-80-C2-00-00-00 to -0F: never forwarded (802.1Q 8.6.3, table 8-1). */
function isReserved(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at] === 0x01 &&
    bytes[at + 1] === 0x80 &&
    bytes[at + 2] === 0xc2 &&
    bytes[at + 3] === 0 &&
    bytes[at + 4] === 0 &&
    bytes[at + 5]! < 0x10
  );
}

class Port implements Device {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly features: DeviceFeatures;
  readonly stats = emptyStats();
  onReady: (() => void) | undefined;
  readonly #switch: Switch;
  readonly #inbox = new FrameQueue();
  readonly #store = new FrameStore();
  readonly #packet = new Packet();
  #closed = false;

  constructor(owner: Switch, mac: Mac, mtu: number, name: string) {
    this.#switch = owner;
    this.mac = mac;
    this.mtu = mtu;
    this.name = name;
    this.features = owner.features;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    if (this.#closed) return 0;
    for (let i = from; i < to; i++) {
      const frame = frames[i]!;
      if (!fitsWire(frame, this.mtu, this.features, this.name)) {
        this.stats.txDropped++;
        continue;
      }
      this.stats.txFrames++;
      this.stats.txBytes += frame.length;
      this.#switch.input(this, frame);
    }
    return to - from;
  }

  receive(sink: FrameSink, limit: number): number {
    let n = 0;
    while (n < limit) {
      const stored = this.#inbox.shift();
      if (stored === undefined) break;
      n++;
      this.stats.rxFrames++;
      this.stats.rxBytes += stored.length;
      this.#store.hand(stored, this.#packet, sink);
    }
    return n;
  }

  advance(now: Micros): void {
    this.#switch.advance(now);
  }

  nextTimeout(): Micros {
    return NEVER;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onReady = undefined;
    this.#switch.unplug(this);
    for (let s = this.#inbox.shift(); s !== undefined; s = this.#inbox.shift()) {
      this.stats.rxDropped++;
      this.#store.drop(s);
    }
  }

  /** A copy of `frame` comes to this port; false when it is lost. */
  accept(frame: Frame): boolean {
    const full = this.#inbox.frames >= PORT_FRAMES || this.#inbox.bytes >= PORT_BYTES;
    if (full || !fitsWire(frame, this.mtu, this.features, this.name)) {
      this.stats.rxDropped++;
      return false;
    }
    this.#inbox.push(this.#store.keep(frame));
    this.onReady?.();
    return true;
  }
}
