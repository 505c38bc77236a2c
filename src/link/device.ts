// The contract every link device keeps: TAP, pipe, switch, replay, and the devices that wrap devices.

import type { LinkPort } from '../base/netif.ts';
import type { Packet } from '../base/packet.ts';
import type { Micros } from '../base/time.ts';

/** What a device does for its user. A stack always hands down super-frames and partial checksums: wrap a device that lacks these in `segment`. */
export interface DeviceFeatures {
  /** Completes a pending transport checksum on transmit, and may deliver packets with `checksumTrusted`. */
  readonly checksum: boolean;
  /** Takes and may deliver TCP super-frames (`gsoSize > 0`) over IPv4 and IPv6. */
  readonly tso4: boolean;
  readonly tso6: boolean;
  /** Takes and may deliver UDP super-frames. */
  readonly uso: boolean;
}

export const NO_OFFLOAD: DeviceFeatures = { checksum: false, tso4: false, tso6: false, uso: false };
export const FULL_OFFLOAD: DeviceFeatures = { checksum: true, tso4: true, tso6: true, uso: true };

export interface DeviceStats {
  rxFrames: number;
  rxBytes: number;
  txFrames: number;
  txBytes: number;
  /** Frames lost before the stack saw them, where the device can know. */
  rxDropped: number;
  /** Frames the device took and could not send. */
  txDropped: number;
}

export function emptyStats(): DeviceStats {
  return { rxFrames: 0, rxBytes: 0, txFrames: 0, txBytes: 0, rxDropped: 0, txDropped: 0 };
}

/** What a device calls with each received frame. The packet is reused: nothing may keep it (see {@link Packet}). */
export type FrameSink = (packet: Packet) => void;

/**
 * A link device: frames in, frames out, no clock and no thread of its own. Errors of use throw; a full or closed device
 * does not: it takes nothing.
 */
export interface Device extends LinkPort {
  readonly name: string;
  readonly features: DeviceFeatures;
  readonly stats: DeviceStats;
  /**
   * Called when frames wait or when a full device has room again. Set by who drives it; may be called from within
   * `transmit` of another device, so it only takes note and lets the driver come back later.
   */
  onReady: (() => void) | undefined;
  /** Hands at most `limit` waiting frames to `sink`, in order of arrival; returns how many. */
  receive(sink: FrameSink, limit: number): number;
  /** Tells a device that delays frames the time. Call it before `receive`. */
  advance(now: Micros): void;
  /** When a delayed frame is due; NEVER if the device needs no clock. */
  nextTimeout(): Micros;
  /** Stops both directions and lets go of everything. Twice is harmless. */
  close(): void;
}
