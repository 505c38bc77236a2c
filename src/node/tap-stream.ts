// TAP and TUN as a Node stream, with the members of npm's `tuntap2`: one frame is one chunk is one write.

import { createRequire } from 'node:module';
import { Duplex } from 'node:stream';
import { parseAddress } from '../base/address.ts';
import { formatMac, type Mac } from '../base/mac.ts';
import {
  EVENT_GONE,
  EVENT_READABLE,
  EVENT_WRITABLE,
  loadAddon,
  MAX_FRAME,
  OPEN_TUN,
  RX_LENGTH,
  RX_OFFSET,
  RX_STRIDE,
  TX_ANSWER_ERRNO,
  TX_ANSWER_REFUSED,
  TX_CSUM_START,
  TX_HEAD,
  TX_STRIDE,
} from './addon.ts';
import { TapError } from './tap-error.ts';
import { configure, type KernelSide, type LinkOptions, TapLink } from './tap-link.ts';

/** What `new Tap()` may be told; without options the kernel chooses the name and nothing is set up, as in `tuntap2`. */
export interface TapStreamOptions extends LinkOptions {
  readonly mtu?: number;
  /** Link address of the kernel's side, as everywhere in this interface. */
  readonly mac?: Mac | string;
  /** CIDR form: `'10.0.0.1/24'`. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly up?: boolean;
}

/** Frames of one native read. */
const RX_BATCH = 64;
/** Chunks are views of slabs of this size, which are never written again. */
const SLAB_SIZE = 1 << 19;
/** Chunks that wait in either direction before the stream says stop. */
const HIGH_WATER_MARK = 128;

/** What Tap and Tun have in common. */
class TunTap extends Duplex {
  readonly #link: TapLink;
  readonly #kernel: KernelSide;
  readonly #rows = new Int32Array((RX_BATCH + 1) * RX_STRIDE);
  readonly #words = new Int32Array(2 * TX_STRIDE);
  #slab: Buffer<ArrayBuffer> = Buffer.alloc(0);
  #at = 0;
  /** Where a chunk is written from: the addon knows this memory by its token. */
  readonly #outgoing = new Uint8Array(MAX_FRAME);
  readonly #token: number;
  /** A write that waits for room. */
  #waiting: (() => void) | undefined;

  constructor(flags: number, options: TapStreamOptions) {
    super({
      readableObjectMode: true, // a frame is never joined with the next
      readableHighWaterMark: HIGH_WATER_MARK,
      writableObjectMode: true,
      writableHighWaterMark: HIGH_WATER_MARK,
      decodeStrings: false,
    });
    this.#link = new TapLink(options, flags, (events) => this.#event(events));
    const { mtu, mac, ipv4, ipv6, up } = options;
    configure(this.#link, {
      addresses: [ipv4, ipv6].filter((text) => text !== undefined),
      ...(mtu === undefined ? {} : { mtu }),
      ...(mac === undefined ? {} : { kernelMac: mac }),
      ...(up === undefined ? {} : { up }),
    });
    this.#kernel = this.#link.kernel;
    this.#token = this.#link.addon.attach(this.#outgoing);
  }

  /** Name of the interface, chosen by the kernel unless given. */
  get name(): string {
    return this.#link.name;
  }

  get isTap(): boolean {
    return !this.isTun;
  }

  get isTun(): boolean {
    return false;
  }

  get mtu(): number {
    return this.#kernel.mtu;
  }

  set mtu(mtu: number) {
    this.#kernel.mtu = mtu;
  }

  get mac(): string {
    return formatMac(this.#kernel.mac);
  }

  set mac(mac: string) {
    this.#kernel.mac = mac;
  }

  /** The first IPv4 address in CIDR form, or undefined. Setting it replaces all of them. */
  get ipv4(): string | undefined {
    return this.#addresses(4)[0];
  }

  set ipv4(cidr: string) {
    this.#replace(4, cidr);
  }

  /** The first IPv6 address that is not link-local, else the link-local one, or undefined. Setting it replaces the former. */
  get ipv6(): string | undefined {
    const all = this.#addresses(6);
    return all.find((text) => !isLinkLocal(text)) ?? all[0];
  }

  set ipv6(cidr: string) {
    this.#replace(6, cidr);
  }

  get isUp(): boolean {
    return this.#kernel.up;
  }

  set isUp(up: boolean) {
    this.#kernel.up = up;
  }

  /** Closes the device; `callback` is called once it is gone. */
  release(callback?: (error?: Error | null) => void): void {
    if (callback !== undefined) {
      if (this.closed) process.nextTick(callback);
      else this.once('close', () => callback());
    }
    this.destroy();
  }

  ref(): this {
    if (!this.#link.closed) this.#link.addon.hold(this.#link.id, true);
    return this;
  }

  unref(): this {
    if (!this.#link.closed) this.#link.addon.hold(this.#link.id, false);
    return this;
  }

  #addresses(family: 4 | 6): string[] {
    return this.#kernel.addresses.filter((text) => text.includes(':') === (family === 6));
  }

  #replace(family: 4 | 6, cidr: string): void {
    const before = this.#addresses(family);
    this.#kernel.addAddress(cidr); // throws before anything is taken away
    for (const old of before) if (old !== cidr && !isLinkLocal(old)) this.#kernel.removeAddress(old);
  }

  override _read(): void {
    if (!this.#link.closed) this.#link.addon.poll(this.#link.id, true);
  }

  #event(events: number): void {
    if (events & EVENT_GONE) {
      this.destroy(new TapError('ENODEV', `${this.name}: the interface was deleted; open it again`));
      return;
    }
    if (events & EVENT_WRITABLE) {
      const again = this.#waiting;
      this.#waiting = undefined;
      again?.();
    }
    // Whoever was told that his write went may have closed the device.
    if (events & EVENT_READABLE && !this.#link.closed) this.#receive();
  }

  /** Pushes what waits, one batch a wake: the event loop asks again as long as there is more. */
  #receive(): void {
    const { addon, id } = this.#link;
    if (this.#slab.length - this.#at < MAX_FRAME) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
      this.#at = 0;
    }
    const slab = this.#slab;
    const count = addon.read(id, slab, this.#at, RX_BATCH, this.#rows);
    let more = true;
    for (let i = 1; i <= count; i++) {
      const start = this.#rows[i * RX_STRIDE + RX_OFFSET] as number;
      this.#at = start + (this.#rows[i * RX_STRIDE + RX_LENGTH] as number);
      more = this.push(slab.subarray(start, this.#at));
    }
    // Back-pressure is the kernel's queue: it drops when nobody reads, as a network card does.
    if (!more && !this.#link.closed) addon.poll(id, false);
  }

  override _write(chunk: unknown, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (!(chunk instanceof Uint8Array)) {
      callback(new TypeError('a frame is a Uint8Array'));
      return;
    }
    if (chunk.length === 0 || chunk.length > MAX_FRAME) {
      callback(new RangeError(`a frame of ${chunk.length} bytes`));
      return;
    }
    this.#outgoing.set(chunk);
    this.#send(chunk.length, callback);
  }

  #send(length: number, callback: (error?: Error | null) => void): void {
    const { addon, id, closed } = this.#link;
    if (closed) {
      callback(new TapError('ERR_TAP_CLOSED', `${this.name} is closed`));
      return;
    }
    const words = this.#words;
    words.fill(0);
    words[TX_STRIDE + TX_HEAD] = this.#token;
    words[TX_STRIDE + TX_HEAD + 2] = length;
    words[TX_STRIDE + TX_CSUM_START] = -1;
    if (addon.transmit(id, words, 1) === 0) {
      // Down or full: the frame stays until the interface is up again.
      this.#waiting = () => this.#send(length, callback);
      return;
    }
    const refused = words[TX_ANSWER_REFUSED] !== 0;
    callback(refused ? refusedFrame(this.name, length, words[TX_ANSWER_ERRNO] as number) : null);
  }

  override _final(callback: (error?: Error | null) => void): void {
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { addon } = this.#link;
    if (!this.#link.closed) addon.detach(this.#token);
    this.#link.close();
    callback(error);
    // A write that waits is told that it never went.
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}

/** A TAP device: chunks are Ethernet frames. */
export class Tap extends TunTap {
  constructor(options: TapStreamOptions = {}) {
    super(0, options);
  }
}

/** A TUN device: chunks are IP packets, and there is no link address. */
export class Tun extends TunTap {
  constructor(options: Omit<TapStreamOptions, 'mac'> = {}) {
    super(OPEN_TUN, options);
  }

  override get isTun(): boolean {
    return true;
  }

  override get mac(): string {
    throw new TapError('ERR_TAP_NO_MAC', `${this.name} is a TUN device: it has no link address`);
  }

  override set mac(_mac: string) {
    throw new TapError('ERR_TAP_NO_MAC', `${this.name} is a TUN device: it has no link address`);
  }
}

/** A `tuntap2`-like class: ours, or that of the installed package. */
export interface TapModule {
  readonly Tap: new () => Duplex & { readonly name: string; mtu: number; mac: string };
  readonly source: 'tapstack' | 'tuntap2';
}

/**
 * Our addon if it loads, else an installed `tuntap2`, else throws ERR_TAP_UNAVAILABLE with the mend. Code written to the
 * interface of `tuntap2` runs on either.
 */
export function loadTap(
  require: (id: string) => unknown = createRequire(import.meta.url),
  load: () => unknown = loadAddon,
): TapModule {
  try {
    load();
    return { Tap, source: 'tapstack' };
  } catch (error) {
    const other = tuntap2(require);
    if (other === undefined) throw error;
    return { Tap: other, source: 'tuntap2' };
  }
}

function tuntap2(require: (id: string) => unknown): TapModule['Tap'] | undefined {
  try {
    const loaded = require('tuntap2') as { Tap?: unknown };
    return typeof loaded.Tap === 'function' ? (loaded.Tap as TapModule['Tap']) : undefined;
  } catch {
    return undefined;
  }
}

function isLinkLocal(cidr: string): boolean {
  return cidr.includes(':') && parseAddress(cidr.replace(/\/\d+$/, ''))?.isLinkLocal === true;
}

function refusedFrame(name: string, length: number, errno: number): TapError {
  const error = new TapError(
    'EINVAL',
    `${name}: the kernel refuses a frame of ${length} bytes (errno ${errno})`,
  );
  return error;
}
