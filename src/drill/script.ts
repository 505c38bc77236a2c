// What a packet script says: the tree that the parser makes and the runtime walks.
//
// The language is packetdrill's (Cardwell and others, USENIX ATC 2013): a script is a list of events, each with the time at
// which it happens: a packet comes in (<), a packet is expected out (>), a program makes a system call, a shell runs a
// command, or a line of Python looks at tcp_info.

import type { Micros } from '../base/time.ts';

export interface Script {
  readonly file: string;
  /** `--name=value` lines, in order. A flag without a value has the empty string. */
  readonly options: readonly ScriptOption[];
  readonly events: readonly ScriptEvent[];
}

export interface ScriptOption {
  readonly name: string;
  readonly value: string;
  readonly line: number;
}

/** When an event happens. `any`: whenever it does. A range has `to`. Relative times count from the event before. */
export interface EventTime {
  readonly kind: 'absolute' | 'relative' | 'any';
  readonly at: Micros;
  readonly to: Micros | undefined;
}

export type ScriptEvent = { readonly time: EventTime; readonly line: number } & EventBody;

export type EventBody =
  | { readonly kind: 'packet'; readonly packet: PacketSpec }
  | { readonly kind: 'call'; readonly call: CallSpec }
  | { readonly kind: 'command'; readonly command: string }
  | { readonly kind: 'code'; readonly code: string };

/** A number, or `any` where the script does not care (`*`, `...`, or nothing said). */
export type Loose = number | 'any';

export interface IpSpec {
  /** `[ect0]` and its like; undefined when the script does not care. */
  readonly ecn?: 'noecn' | 'ect0' | 'ect1' | 'ect01' | 'ce' | undefined;
  /** The whole octet: `(tos 0x10)`, `(class 0x28)`. */
  readonly trafficClass?: number | undefined;
  readonly ttl?: number | undefined;
  readonly flowLabel?: number | undefined;
}

export type PacketSpec = TcpSpec | UdpSpec | IcmpSpec | UnknownPacketSpec;

interface PacketBase {
  readonly inbound: boolean;
  readonly ip: IpSpec;
  /** As it stands in the script, for reports. */
  readonly text: string;
}

export interface TcpSpec extends PacketBase {
  readonly protocol: 'tcp';
  /** Control bits, AE (0x100) among them. */
  readonly flags: number;
  /** `any` for `...(0)`. */
  readonly seq: Loose;
  readonly length: number;
  /** `!`: the sequence number stands on the wire as written. */
  readonly absoluteSeq: boolean;
  readonly ack: Loose | undefined;
  readonly absoluteAck: boolean;
  readonly window: Loose;
  readonly urgent: number | undefined;
  /** `any` for `<...>`; empty when the script shows none. */
  readonly options: readonly TcpOptionSpec[] | 'any';
}

export type TcpOptionSpec =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: Loose }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'ts'; readonly val: Loose; readonly ecr: Loose }
  | { readonly kind: 'fo'; readonly cookie: string; readonly experimental: boolean }
  | { readonly kind: 'unknown'; readonly text: string };

export interface UdpSpec extends PacketBase {
  readonly protocol: 'udp';
  readonly length: number;
}

export interface IcmpSpec extends PacketBase {
  readonly protocol: 'icmp';
  readonly type: string;
  readonly code: string;
  readonly mtu: number | undefined;
  readonly id: number | undefined;
  /** The packet it quotes: a sequence number of ours, or a datagram. */
  readonly quoted:
    | { readonly protocol: 'tcp'; readonly seq: number; readonly length: number; readonly absolute: boolean }
    | { readonly protocol: 'udp'; readonly length: number }
    | undefined;
}

/** A packet of a protocol that is not known here. */
export interface UnknownPacketSpec extends PacketBase {
  readonly protocol: 'unknown';
  readonly name: string;
}

export interface CallSpec {
  readonly name: string;
  readonly args: readonly Expression[];
  /** `...`: when a blocking call returns; undefined for one that returns at once. */
  readonly end: { readonly at: Micros; readonly relative: boolean } | undefined;
  readonly result: Expression;
  readonly errno: string | undefined;
  readonly text: string;
}

export type Expression =
  | { readonly kind: 'ellipsis' }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'word'; readonly name: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly Expression[] }
  | { readonly kind: 'struct'; readonly fields: readonly FieldSpec[] }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: 'or'; readonly terms: readonly Expression[] };

/** `name=value`, `name(…)=value`, or a bare value. */
export interface FieldSpec {
  readonly name: string | undefined;
  readonly args: readonly Expression[];
  readonly value: Expression;
}

/** A script that cannot be read. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
  readonly line: number;

  constructor(message: string, line: number) {
    super(message);
    this.line = line;
  }
}

/** Something a script asks for that is not there: the script is not run further, and does not count as failed. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}
