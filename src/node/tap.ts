// The TAP device as a link device: frames in and out in batches, with the kernel's checksum and segmentation offload.
//
//              slab (1 MB)                                                    kept by the application: never written again
//   receive    [frame|frame|frame|frame|......free......]   after the sink:  [pinned|frame|pinned|......free......]
//              ^ one native read fills many                                                       ^ the next read goes on here
//   transmit   each frame leaves from where it lies: its own bytes and up to two ranges of slabs the addon knows by token

import { type Mac, macEquals } from '../base/mac.ts';
import { ETHERTYPE_IPV6, ETHERTYPE_VLAN } from '../base/netif.ts';
import { type Frame, Packet } from '../base/packet.ts';
import { NO_TOKEN, Slab } from '../base/slab.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { FrameSink } from '../link/device.ts';
import { type Device, type DeviceFeatures, type DeviceStats, emptyStats } from '../link/device.ts';
import { isWireSized } from '../link/wire.ts';
import {
  EVENT_GONE,
  GRANTED_CSUM,
  GRANTED_TSO4,
  GRANTED_TSO6,
  GRANTED_USO4,
  GRANTED_USO6,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  loadAddon,
  MAX_FRAME,
  OPEN_OFFLOAD,
  OPEN_VERIFY,
  RX_ANSWER_CUT,
  RX_FLAGS,
  RX_GSO_SIZE,
  RX_LENGTH,
  RX_OFFSET,
  RX_STRIDE,
  RX_TRUSTED,
  type TapAddon,
  TX_A,
  TX_ANSWER_REFUSED,
  TX_B,
  TX_CSUM_OFFSET,
  TX_CSUM_START,
  TX_GSO_SIZE,
  TX_GSO_TYPE,
  TX_HEAD,
  TX_STRIDE,
} from './addon.ts';
import { TapError } from './tap-error.ts';
import { type CidrText, configure, type KernelSide, type LinkOptions, macOf, TapLink } from './tap-link.ts';

export { TapError } from './tap-error.ts';
export { type CidrText, KernelSide, type LinkOptions } from './tap-link.ts';
export { loadTap, Tap, type TapStreamOptions, Tun } from './tap-stream.ts';

/** How to open a TAP as a device of the stack. */
export interface TapOptions extends LinkOptions {
  /** Checksum and segmentation offload (`IFF_VNET_HDR`); true unless given. Without, frames are as they would be on a wire. */
  readonly offload?: boolean;
  /** Our link address. Derived from the kernel's unless given, so that it stays the same on a persistent device. */
  readonly mac?: Mac | string;
  /** MTU of both sides; what the interface has unless given. */
  readonly mtu?: number;
  /** Addresses of the kernel's side, such as `'10.7.0.1/24'`. */
  readonly addresses?: CidrText;
  /** Link address of the kernel's side. */
  readonly kernelMac?: Mac | string;
  /** Bring the kernel's side up; true unless given. False leaves it as it is. */
  readonly up?: boolean;
  /**
   * For how many microseconds after a frame the event loop asks again without sleeping; 0, off, unless given. It buys
   * round-trip time with a whole core: see docs/decisions/0001-driver.md.
   */
  readonly busyPoll?: number;
}

/**
 * Receive slab size. Each byte of a slab the application keeps is written once and then garbage, so a slab is as small as
 * keeps the number of slabs (an ArrayBuffer each) low against the 64 KB that must stay free at its end.
 */
const SLAB_SIZE = 1 << 20;
/** Most frames of one native read. Beyond 64 the cost of the call no longer shows, and the frames leave the cache. */
const RX_BATCH = 64;
/** Most frames of one native transmit. */
const TX_BATCH = 64;
/** A slab that the driver saw once, and copied from. */
const SEEN_ONCE = -2;
/** Where ranges of slabs seen for the first time are copied. */
const SCRATCH_SIZE = 1 << 17;
/** A larger range is not copied even the first time: making its slab known costs less. */
const COPY_MOST = 4096;

const TCP_CHECKSUM_OFFSET = 16;

/** Tokens of slabs that were collected go back to the addon. One for all devices: a token is good for each. */
const collected = new FinalizationRegistry<number>((token) => loadAddon().detach(token));

/** Opens a TAP device and sets up the kernel's side of it. Throws {@link TapError} with the mend in its message. */
export function openTap(options: TapOptions = {}): TapDevice {
  return new TapDevice(options);
}

/** A TAP device. One per interface; use it from the thread that opened it. */
export class TapDevice implements Device {
  readonly name: string;
  readonly mac: Mac;
  readonly features: DeviceFeatures;
  readonly stats: DeviceStats = emptyStats();
  /** The other end of the cable: the kernel's addresses, MTU, MAC, up and down. */
  readonly kernel: KernelSide;
  /** Why the device stopped by itself (its interface was deleted); `onReady` was called then. */
  failure: TapError | undefined;
  readonly #link: TapLink;
  readonly #addon: TapAddon;
  readonly #id: number;
  readonly #packet = new Packet();
  readonly #rows = new Int32Array((RX_BATCH + 1) * RX_STRIDE);
  readonly #words = new Int32Array((TX_BATCH + 1) * TX_STRIDE);
  #slab = freshSlab();
  /** Where the slab is free from. */
  #at = 0;
  readonly #scratch = new Slab(new Uint8Array(SCRATCH_SIZE));
  #scratchAt = 0;
  #onReady: (() => void) | undefined;

  constructor(options: TapOptions) {
    const offload = options.offload !== false;
    // Also with offload the checksums of frames that came from a real wire are verified here.
    const flags = OPEN_VERIFY | (offload ? OPEN_OFFLOAD : 0);
    const mac = options.mac === undefined ? undefined : macOf(options.mac);
    this.#link = new TapLink(options, flags, (events) => this.#event(events));
    configure(this.#link, { up: true, ...options });
    this.#addon = this.#link.addon;
    this.#id = this.#link.id;
    this.name = this.#link.name;
    this.kernel = this.#link.kernel;
    this.features = featuresOf(this.#link.granted);
    try {
      this.mac = mac ?? otherMac(this.kernel.mac);
      if (macEquals(this.mac, 0, this.kernel.mac, 0)) {
        throw new TapError(
          'ERR_INVALID_ARG_VALUE',
          `mac: the kernel's side of ${this.name} has this one already`,
        );
      }
      if (options.busyPoll !== undefined) this.#addon.busyPoll(this.#id, options.busyPoll);
    } catch (error) {
      this.#link.close();
      throw error;
    }
  }

  get mtu(): number {
    return this.#link.mtu;
  }

  get onReady(): (() => void) | undefined {
    return this.#onReady;
  }

  /** While nobody listens the event loop does not watch the device, and the device does not keep the process running. */
  set onReady(listener: (() => void) | undefined) {
    this.#onReady = listener;
    if (!this.#stopped) this.#addon.poll(this.#id, listener !== undefined);
  }

  get #stopped(): boolean {
    return this.#link.closed || this.failure !== undefined;
  }

  receive(sink: FrameSink, limit: number): number {
    let total = 0;
    while (total < limit && !this.#stopped) {
      if (this.#slab.bytes.length - this.#at < MAX_FRAME) {
        this.#slab = freshSlab();
        this.#at = 0;
      }
      const slab = this.#slab;
      const most = Math.min(limit - total, RX_BATCH);
      const count = this.#addon.read(this.#id, slab.bytes, this.#at, most, this.#rows);
      if (count < 0) {
        this.#event(EVENT_GONE);
        break;
      }
      this.stats.rxDropped += this.#rows[RX_ANSWER_CUT] as number;
      if (count === 0) break;
      const end = this.#hand(sink, slab, count);
      total += count;
      // Fewer than asked for although there was room: nothing waits any more.
      if (count < most && slab.bytes.length - end >= MAX_FRAME) break;
    }
    return total;
  }

  /** Hands `count` frames to `sink`; returns where in the slab the last one ends. */
  #hand(sink: FrameSink, slab: Slab, count: number): number {
    const { stats } = this;
    const packet = this.#packet;
    const rows = this.#rows;
    let end = 0;
    for (let i = 1; i <= count; i++) {
      const row = i * RX_STRIDE;
      const start = rows[row + RX_OFFSET] as number;
      const length = rows[row + RX_LENGTH] as number;
      packet.set(slab, start, length);
      packet.checksumTrusted = ((rows[row + RX_FLAGS] as number) & RX_TRUSTED) !== 0;
      packet.gsoSize = rows[row + RX_GSO_SIZE] as number;
      end = start + length;
      stats.rxFrames++;
      stats.rxBytes += length;
      sink(packet);
      // Closed from within the sink: what was read behind it is nobody's.
      if (this.#stopped) return end;
      // Everything up to here is the application's now; what follows the last such frame is written again.
      if (packet.pinned) this.#at = end;
    }
    return end;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    let at = from;
    while (at < to && !this.#stopped) {
      const count = this.#fitting(frames, at, Math.min(to, at + TX_BATCH));
      if (count === 0) {
        // The driver would take it and the kernel receive it: a wire would not carry it.
        this.stats.txDropped++;
        at++;
        continue;
      }
      this.#scratchAt = 0;
      let bytes = 0;
      for (let i = 0; i < count; i++) bytes += this.#describe(frames[at + i] as Frame, (i + 1) * TX_STRIDE);
      const taken = this.#addon.transmit(this.#id, this.#words, count);
      for (let i = taken; i < count; i++) bytes -= (frames[at + i] as Frame).length;
      const refused = this.#words[TX_ANSWER_REFUSED] as number;
      this.stats.txDropped += refused;
      this.stats.txFrames += taken - refused;
      this.stats.txBytes += bytes;
      at += taken;
      if (taken < count) break;
    }
    return at - from;
  }

  /** Frames from `at` on, before `to`, that are no larger than the link takes. */
  #fitting(frames: readonly Frame[], at: number, to: number): number {
    const { mtu } = this.#link;
    let next = at;
    for (; next < to; next++) {
      const frame = frames[next] as Frame;
      if (frame.gsoSize === 0 && !isWireSized(frame, mtu)) break;
    }
    return next - at;
  }

  /** Writes the row of one frame; returns its length. */
  #describe(frame: Frame, row: number): number {
    const words = this.#words;
    const head = frame.tail - frame.head;
    this.#place(row + TX_HEAD, frame.slab, frame.head, head);
    if (frame.a === undefined) words[row + TX_A + 2] = 0;
    else this.#place(row + TX_A, frame.a, frame.aOffset, frame.aLength);
    if (frame.b === undefined) words[row + TX_B + 2] = 0;
    else this.#place(row + TX_B, frame.b, frame.bOffset, frame.bLength);
    words[row + TX_GSO_TYPE] = frame.gsoSize === 0 ? GSO_NONE : gsoType(frame);
    words[row + TX_GSO_SIZE] = frame.gsoSize;
    words[row + TX_CSUM_START] = frame.checksumStart < 0 ? -1 : frame.checksumStart - frame.head;
    words[row + TX_CSUM_OFFSET] = frame.checksumOffset;
    return head + frame.aLength + frame.bLength;
  }

  /**
   * Writes token, offset and length of a range. A slab is made known to the addon the second time it is seen: blocks of
   * pools are seen for ever, while a slab that lives for one small frame is cheaper to copy from than to make known.
   */
  #place(at: number, slab: Slab, offset: number, length: number): void {
    const words = this.#words;
    words[at + 2] = length;
    if (slab.token === NO_TOKEN && length <= COPY_MOST && this.#scratchAt + length <= SCRATCH_SIZE) {
      slab.token = SEEN_ONCE;
      const scratch = this.#scratch;
      scratch.bytes.set(slab.bytes.subarray(offset, offset + length), this.#scratchAt);
      words[at] = this.#tokenOf(scratch);
      words[at + 1] = this.#scratchAt;
      this.#scratchAt += length;
      return;
    }
    words[at] = this.#tokenOf(slab);
    words[at + 1] = offset;
  }

  #tokenOf(slab: Slab): number {
    if (slab.token < 0) {
      slab.token = this.#addon.attach(slab.bytes);
      collected.register(slab, slab.token);
    }
    return slab.token;
  }

  /** A TAP keeps no clock. */
  advance(_now: Micros): void {}

  nextTimeout(): Micros {
    return NEVER;
  }

  #event(events: number): void {
    if (events & EVENT_GONE && this.failure === undefined)
      this.failure = new TapError('ENODEV', `TAP ${this.name}: the interface was deleted; open it again`);
    this.#onReady?.();
  }

  /** The open device keeps the process running (the default while `onReady` is set). */
  ref(): this {
    if (!this.#link.closed) this.#addon.hold(this.#id, true);
    return this;
  }

  /** The open device does not keep the process running. */
  unref(): this {
    if (!this.#link.closed) this.#addon.hold(this.#id, false);
    return this;
  }

  /** Closes it: an interface that is not persistent is gone when this returns. */
  close(): void {
    this.#link.close();
    this.#onReady = undefined;
  }
}

/** Uninitialised: it is written by the kernel before anybody reads it. A plain Uint8Array, as every other slab has. */
function freshSlab(): Slab {
  return new Slab(new Uint8Array(Buffer.allocUnsafeSlow(SLAB_SIZE).buffer));
}

/** Virtio's name for what a super-frame stands for. */
function gsoType(frame: Frame): number {
  if (frame.checksumOffset !== TCP_CHECKSUM_OFFSET) return GSO_UDP_L4;
  const { view, head, checksumStart } = frame;
  const outer = view.getUint16(head + 12);
  const type = outer === ETHERTYPE_VLAN ? view.getUint16(head + 16) : outer;
  // CWR belongs to the first segment alone (RFC 3168 6.1.2): the kernel must know that it is set.
  const cwr = (view.getUint8(checksumStart + 13) & 0x80) !== 0 ? GSO_ECN : 0;
  return cwr | (type === ETHERTYPE_IPV6 ? GSO_TCPV6 : GSO_TCPV4);
}

function featuresOf(granted: number): DeviceFeatures {
  const tso = (granted & GRANTED_CSUM) !== 0;
  return {
    // Without the kernel's help the addon itself verifies and completes checksums, while the bytes are in the cache.
    checksum: true,
    tso4: tso && (granted & GRANTED_TSO4) !== 0,
    tso6: tso && (granted & GRANTED_TSO6) !== 0,
    uso: tso && (granted & GRANTED_USO4) !== 0 && (granted & GRANTED_USO6) !== 0,
  };
}

/** A locally administered unicast address that differs from the kernel's and is as unique as it is. */
function otherMac(kernel: Mac): Mac {
  const mac = Uint8Array.from(kernel);
  mac[0] = ((kernel[0] ?? 0) & 0xfc) | 0x02;
  mac[5] = (kernel[5] ?? 0) ^ 0x80;
  return mac;
}
