// Whose scripts are run: what Linux and FreeBSD do where the RFCs leave the choice, so that the stack is set up as they are,
// and what counts as the same packet.

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import type { CongestionName } from '../tcp/congestion.ts';

export type ProfileName = 'linux' | 'freebsd' | 'exact';
export const PROFILE_NAMES: readonly ProfileName[] = ['linux', 'freebsd', 'exact'];

/** How packets are compared. */
export interface Sameness {
  /** Order and padding of options must agree. */
  readonly optionOrder: boolean;
  /** PSH must agree. RFC 9293 3.9.1.2 leaves a sender free to set it more often than MUST-61 asks. */
  readonly push: boolean;
  /** Windows must agree to the unit; otherwise an edge may lag by what silly window avoidance holds back (MUST-39). */
  readonly window: boolean;
  /** The shift count must agree; otherwise windows are compared in bytes, each side by its own. */
  readonly windowScale: boolean;
}

export interface Profile {
  readonly name: ProfileName;
  /** Names that `#ifdef` finds defined. */
  readonly defines: readonly string[];
  readonly same: Sameness;
  /** Buffers of a new socket, in bytes. */
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
  /** How far they grow with the path; 0: not at all. */
  readonly receiveBufferMax: number;
  readonly sendBufferMax: number;
  readonly congestion: CongestionName;
  /** SO_RCVBUF and SO_SNDBUF are doubled for overhead (Linux). */
  readonly doublesBuffers: boolean;
  /** The receive buffer of a connection is rounded up to whole segments (FreeBSD). */
  readonly roundsToSegments: boolean;
  /** How long an ACK waits for company; 0: never. */
  readonly delayedAck: Micros;
  /** Every second segment is acknowledged, small ones too (FreeBSD). */
  readonly countsSmallSegments: boolean;
  readonly msl: Micros;
  readonly keepAlive: { readonly idle: Micros; readonly interval: Micros; readonly count: number };
  readonly ephemeral: readonly [number, number];
}

const LOOSE: Sameness = { optionOrder: false, push: false, window: false, windowScale: false };
const STRICT: Sameness = { optionOrder: true, push: true, window: true, windowScale: true };

const LINUX: Profile = {
  name: 'linux',
  defines: ['linux', 'STANDARD'],
  same: LOOSE,
  // tcp_rmem and tcp_wmem of the tests' defaults.sh. Of the receive buffer a part is the kernel's own bookkeeping.
  receiveBuffer: 540_000,
  sendBuffer: 256 << 10,
  receiveBufferMax: 15 << 20,
  sendBufferMax: 4 << 20,
  congestion: 'cubic',
  doublesBuffers: true,
  roundsToSegments: false,
  // A connection begins in quick-ACK mode, and scripts are short.
  delayedAck: 0,
  countsSmallSegments: false,
  msl: 30 * SECOND,
  keepAlive: { idle: 7200 * SECOND, interval: 75 * SECOND, count: 9 },
  ephemeral: [32_768, 60_999],
};

const FREEBSD: Profile = {
  name: 'freebsd',
  defines: ['FreeBSD'],
  same: LOOSE,
  receiveBuffer: 65_536,
  sendBuffer: 32_768,
  receiveBufferMax: 0,
  sendBufferMax: 0,
  congestion: 'cubic',
  doublesBuffers: false,
  roundsToSegments: true,
  delayedAck: 40 * MILLISECOND,
  countsSmallSegments: true,
  msl: 30 * SECOND,
  keepAlive: { idle: 7200 * SECOND, interval: 75 * SECOND, count: 8 },
  ephemeral: [49_152, 65_535],
};

const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  linux: LINUX,
  freebsd: FREEBSD,
  exact: { ...LINUX, name: 'exact', defines: ['STANDARD'], same: STRICT, delayedAck: 40 * MILLISECOND },
};

export function profileNamed(name: ProfileName): Profile {
  return PROFILES[name];
}

/** Whose script this is, by the settings it touches. */
export function guessProfile(source: string): ProfileName {
  return /\bnet\.inet6?\.|\bkern\.ipc\.|\bsockstat\b|\btcpdrop\b/.test(source) ? 'freebsd' : 'linux';
}
