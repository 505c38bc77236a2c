// An open TAP or TUN device with what the addon knows of it, and the kernel's side of it: address, MTU, MAC, up and down.

import { type Cidr, parseCidr } from '../base/address.ts';
import { type Mac, parseMac } from '../base/mac.ts';
import { type LinkState, loadAddon, OPEN_PERSIST, OPEN_TUN, type TapAddon } from './addon.ts';
import { explain, type TapContext, TapError } from './tap-error.ts';

/** IFNAMSIZ − 1 of linux/if.h. */
const MAX_NAME = 15;
const IFF_UP = 1;

/** How to open a device. */
export interface LinkOptions {
  /** Interface name, at most 15 bytes; absent or with `%d`, the kernel chooses. An existing persistent device is attached to. */
  readonly name?: string;
  /** Network namespace to open it in: a name of `ip netns`, or a path. Needs root, unless we are in it already. */
  readonly netns?: string;
  /** Keep the interface when it is closed (`TUNSETPERSIST`). */
  readonly persist?: boolean;
  /** Uid that may open the persistent interface without root. */
  readonly owner?: number;
  /** The clone device; `/dev/net/tun` unless given. */
  readonly device?: string;
}

/** Addresses as given by a caller: `'10.7.0.1/24'`, or several. */
export type CidrText = string | readonly string[];

/**
 * The kernel's end of a TAP. Setters that would change nothing do nothing, so that a user who may open a device but not
 * set it up can name what is already so.
 */
export class KernelSide {
  readonly #link: TapLink;

  constructor(link: TapLink) {
    this.#link = link;
  }

  get #state(): LinkState {
    return this.#link.call((addon, id) => addon.link(id));
  }

  /** The interface's name now (it may have been renamed). */
  get name(): string {
    return this.#state.name;
  }

  get index(): number {
    return this.#state.index;
  }

  /** Bytes of the largest IP packet. */
  get mtu(): number {
    return this.#state.mtu;
  }

  set mtu(mtu: number) {
    if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535)
      throw new RangeError(`mtu ${mtu} is not between 68 and 65535`);
    if (mtu !== this.mtu) this.#link.call((addon, id) => addon.setMtu(id, mtu));
    this.#link.mtu = mtu;
  }

  /** The link address of the kernel's end. Ours is another: two ends of a cable never share one. */
  get mac(): Mac {
    return parseMac(this.#state.mac) as Mac;
  }

  set mac(mac: Mac | string) {
    const bytes = macOf(mac);
    const now = this.mac;
    if (bytes.some((byte, i) => byte !== now[i])) this.#link.call((addon, id) => addon.setMac(id, bytes));
  }

  get up(): boolean {
    return (this.#state.flags & IFF_UP) !== 0;
  }

  set up(up: boolean) {
    if (up !== this.up) this.#link.call((addon, id) => addon.setUp(id, up));
  }

  /** Both families, in CIDR form. */
  get addresses(): string[] {
    return this.#link.call((addon, id) => addon.addresses(id));
  }

  /** Adds an address such as `10.7.0.1/24` or `fd00::1/64` (usable at once: no duplicate address detection). */
  addAddress(cidr: string): void {
    const { address, prefixLength } = cidrOf(cidr);
    const text = `${address}/${prefixLength}`;
    if (this.addresses.includes(text)) return;
    this.#link.call((addon, id) => addon.changeAddress(id, true, String(address), prefixLength), text);
  }

  removeAddress(cidr: string): void {
    const { address, prefixLength } = cidrOf(cidr);
    this.#link.call(
      (addon, id) => addon.changeAddress(id, false, String(address), prefixLength),
      `${address}/${prefixLength}`,
    );
  }
}

/** An open device: the addon's number for it, and errors with their mend. */
export class TapLink {
  readonly addon: TapAddon;
  readonly id: number;
  readonly name: string;
  /** TUN_F_* bits the kernel granted. */
  readonly granted: number;
  readonly kernel: KernelSide;
  /** The MTU as last read or set here. */
  mtu = 0;
  closed = false;
  readonly #about: TapContext;

  /** Opens the device; throws {@link TapError}. `flags` are OPEN_* bits. */
  constructor(options: LinkOptions, flags: number, onEvent: (events: number) => void) {
    const kind = flags & OPEN_TUN ? 'tun' : 'tap';
    const about: TapContext = { kind, ...options };
    checkName(options.name);
    this.addon = loadAddon();
    try {
      const opened = this.addon.open(
        options.device ?? '/dev/net/tun',
        options.name ?? '',
        namespacePath(options.netns),
        flags | (options.persist === true ? OPEN_PERSIST : 0),
        options.owner ?? -1,
        onEvent,
      );
      this.id = opened.id;
      this.name = opened.name;
      this.granted = opened.offload;
    } catch (error) {
      throw explain(error, about);
    }
    this.#about = { ...about, name: this.name };
    this.kernel = new KernelSide(this);
    try {
      this.mtu = this.kernel.mtu;
    } catch (error) {
      this.close(); // deleted in between
      throw error;
    }
  }

  /** Runs one call of the addon and explains what it throws. */
  call<T>(run: (addon: TapAddon, id: number) => T, address?: string): T {
    if (this.closed) throw new TapError('ERR_TAP_CLOSED', `${this.name} is closed`);
    try {
      return run(this.addon, this.id);
    } catch (error) {
      throw explain(error, address === undefined ? this.#about : { ...this.#about, address });
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.addon.close(this.id);
  }
}

/**
 * Frames that may wait for us in the kernel. Its default of 1000 is less than one receive window of 2 MB in 1500-byte frames:
 * without offload a busy event loop would make a clean link lossy.
 */
const QUEUE_LENGTH = 8_192;

/** Lengthens the kernel's queue. An ordinary user on a device made for it may not: it then stays as it was made. */
function lengthenQueue(link: TapLink): void {
  try {
    link.addon.setQueue(link.id, QUEUE_LENGTH);
  } catch {
    // EPERM: works with the queue there is.
  }
}

/** Sets up the kernel's side as `options` ask; closes the link when that fails. */
export function configure(
  link: TapLink,
  options: { mtu?: number; kernelMac?: Mac | string; addresses?: CidrText; up?: boolean },
): void {
  lengthenQueue(link);
  try {
    if (options.kernelMac !== undefined) link.kernel.mac = options.kernelMac;
    if (options.mtu !== undefined) link.kernel.mtu = options.mtu;
    // Up first, so that an address brings its route at once.
    if (options.up === true) link.kernel.up = true;
    const { addresses = [] } = options;
    for (const cidr of typeof addresses === 'string' ? [addresses] : addresses) link.kernel.addAddress(cidr);
  } catch (error) {
    link.close();
    throw error;
  }
}

/** Six bytes from either form; throws ERR_INVALID_ARG_VALUE. */
export function macOf(mac: Mac | string): Mac {
  const bytes = typeof mac === 'string' ? parseMac(mac) : mac;
  if (bytes === undefined || bytes.length !== 6) throw invalid(`"${mac}" is not a link address`);
  if (((bytes[0] ?? 0) & 1) !== 0)
    throw invalid(`"${mac}" is a group address; an interface needs a unicast one`);
  return bytes;
}

function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw invalid(`"${text}" is not an address such as 10.7.0.1/24`);
  return cidr;
}

function checkName(name: string | undefined): void {
  if (name === undefined || name === '') return;
  // What dev_valid_name of the kernel refuses, and a pattern other than one %d.
  const bad =
    Buffer.byteLength(name) > MAX_NAME ||
    name === '.' ||
    name === '..' ||
    /[/:\s\0]/.test(name) ||
    /%(?!d)|%d.*%/.test(name);
  if (bad)
    throw invalid(
      `"${name}" is no interface name: 1 to ${MAX_NAME} bytes without "/", ":" or blanks, such as tap0 or tap%d`,
    );
}

function namespacePath(netns: string | undefined): string {
  if (netns === undefined || netns === '') return '';
  if (Buffer.byteLength(netns) > 200) throw invalid('netns is too long');
  return netns.includes('/') ? netns : `/run/netns/${netns}`;
}

function invalid(message: string): TapError {
  return new TapError('ERR_INVALID_ARG_VALUE', message);
}
