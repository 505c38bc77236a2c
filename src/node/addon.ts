// Loads native/tap.c as built by scripts/build-native.mjs, and names what it takes and gives.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { unavailable } from './tap-error.ts';

/** Bits of `open`'s flags, as in tap.c. */
export const OPEN_TUN = 1;
export const OPEN_OFFLOAD = 2;
export const OPEN_VERIFY = 4;
export const OPEN_PERSIST = 8;

/** Bits of an event. */
export const EVENT_READABLE = 1;
export const EVENT_WRITABLE = 2;
export const EVENT_GONE = 4;

/** Bits of what the kernel granted: TUN_F_* of linux/if_tun.h. */
export const GRANTED_CSUM = 0x01;
export const GRANTED_TSO4 = 0x02;
export const GRANTED_TSO6 = 0x04;
export const GRANTED_USO4 = 0x20;
export const GRANTED_USO6 = 0x40;

/** A read is tried only with this much room: a shorter one would cut a frame without a word. */
export const MAX_FRAME = 65536 + 64;

/** Words of one received frame, and of the answer in row 0. */
export const RX_STRIDE = 4;
export const RX_OFFSET = 0;
export const RX_LENGTH = 1;
export const RX_FLAGS = 2;
export const RX_GSO_SIZE = 3;
export const RX_TRUSTED = 1;
/** Word 0 of row 0: frames that were cut, because the kernel sent more than {@link MAX_FRAME}. */
export const RX_ANSWER_CUT = 0;

/** Words of one frame to send, and of the answer in row 0. */
export const TX_STRIDE = 16;
export const TX_HEAD = 0;
export const TX_A = 3;
export const TX_B = 6;
export const TX_GSO_TYPE = 9;
export const TX_GSO_SIZE = 10;
export const TX_CSUM_START = 11;
export const TX_CSUM_OFFSET = 12;
export const TX_ANSWER_REFUSED = 0;
export const TX_ANSWER_ERRNO = 1;

/** VIRTIO_NET_HDR_GSO_* of linux/virtio_net.h. */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
export const GSO_ECN = 0x80;

/** The kernel's side of a device. `flags` are IFF_* of linux/if.h; bit 0 is IFF_UP. */
export interface LinkState {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  readonly flags: number;
  readonly mac: string;
}

/**
 * The addon. A failed system call throws an Error with `code`, `errno` and `syscall` (the step that failed); an id, offset,
 * length or token that is not in range throws a RangeError.
 */
export interface TapAddon {
  /** `name` may be empty or hold `%d`: the kernel then chooses. `netns` is a path, or empty. `owner` is a uid, or -1. */
  open(
    path: string,
    name: string,
    netns: string,
    flags: number,
    owner: number,
    onEvent: (events: number) => void,
  ): { id: number; name: string; index: number; offload: number };
  /** Twice is harmless. */
  close(id: number): void;
  /** Whether waiting frames are told of by EVENT_READABLE, once per wake. */
  poll(id: number, reading: boolean): void;
  /** Whether the open device keeps the process running. */
  hold(id: number, on: boolean): void;
  /** For how many microseconds after a frame the event loop asks again without sleeping; 0 is off. */
  busyPoll(id: number, micros: number): void;
  /** Makes memory known for `transmit`. Held weakly: call `detach` once it is gone. */
  attach(bytes: Uint8Array): number;
  detach(token: number): void;
  /** Reads at most `most` frames back to back from `offset`; gives their number, or -errno when the device is gone. */
  read(id: number, slab: Uint8Array, offset: number, most: number, rows: Int32Array): number;
  /** Sends rows 1 … count; gives how many were taken. Fewer: EVENT_WRITABLE or EVENT_GONE follows. */
  transmit(id: number, words: Int32Array, count: number): number;
  link(id: number): LinkState;
  setMtu(id: number, mtu: number): void;
  /** Frames that wait for us in the kernel before it drops. */
  setQueue(id: number, frames: number): void;
  setMac(id: number, mac: Uint8Array): void;
  setUp(id: number, up: boolean): void;
  /** In CIDR form, both families. */
  addresses(id: number): string[];
  changeAddress(id: number, add: boolean, address: string, prefixLength: number): void;
}

/** Where the build script puts it; the same from `src/node` and from `dist/node`. */
export const ADDON_PATH = fileURLToPath(new URL('../../build/Release/tap.node', import.meta.url));

let loaded: TapAddon | undefined;

/** The addon. Throws ERR_TAP_UNAVAILABLE, with the mend in its message, when it was not built or does not load. */
export function loadAddon(): TapAddon {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)(ADDON_PATH) as TapAddon;
    return loaded;
  } catch (cause) {
    throw unavailable(cause);
  }
}
