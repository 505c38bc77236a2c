// What a capture file holds, whatever its format: the records that readers yield.

import type { Address } from '../base/address.ts';

export type CaptureFormat = 'pcap' | 'pcapng';

/** Why a capture could not be read on. */
export type CaptureFault =
  | 'unknown format'
  | 'compressed'
  | 'truncated'
  | 'unsupported version'
  | 'bad byte order'
  | 'bad block length'
  | 'lengths disagree'
  | 'bad captured length'
  | 'bad option'
  | 'bad name record'
  | 'unknown interface'
  | 'too many interfaces';

/** Ends a capture: nothing after it is read. A value, never an exception. */
export interface CaptureError {
  readonly kind: 'error';
  readonly fault: CaptureFault;
  /** Bytes of the file before the record that is at fault. */
  readonly offset: number;
  /** The whole story in one line, with the offset. */
  readonly message: string;
}

/** An option that has no field of its own in the record: unknown, or a custom one. */
export interface RawOption {
  readonly code: number;
  readonly value: Uint8Array;
}

interface Base {
  /** Bytes of the file before this record. */
  readonly offset: number;
  readonly comments: readonly string[];
  readonly options: readonly RawOption[];
}

/** Starts a section: a Section Header Block, or the header of a pcap file. Interface numbers start again at 0. */
export interface SectionRecord extends Base {
  readonly kind: 'section';
  readonly format: CaptureFormat;
  readonly littleEndian: boolean;
  readonly major: number;
  readonly minor: number;
  /** Bytes of the section after its header; `undefined` when the writer did not know. */
  readonly length: number | undefined;
  readonly hardware: string | undefined;
  readonly os: string | undefined;
  readonly application: string | undefined;
}

/** An interface, numbered within its section. A pcap file has one. */
export interface InterfaceRecord extends Base {
  readonly kind: 'interface';
  readonly id: number;
  /** LINKTYPE_ value; 1 is Ethernet. */
  readonly linkType: number;
  /** 0: no limit. */
  readonly snapLength: number;
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly ipv4: readonly { readonly address: Address; readonly mask: Address }[];
  readonly ipv6: readonly { readonly address: Address; readonly prefixLength: number }[];
  readonly mac: Uint8Array | undefined;
  readonly eui64: Uint8Array | undefined;
  /** Bits a second. */
  readonly speed: number | undefined;
  /** Ticks of its timestamps: `base^-exponent` seconds. */
  readonly resolution: { readonly base: 2 | 10; readonly exponent: number };
  /** Seconds to add to every timestamp; already added in packets. */
  readonly timeOffset: number;
  readonly filter: string | undefined;
  readonly os: string | undefined;
  readonly hardware: string | undefined;
  /** Bytes of frame check sequence at the end of each frame, when known. */
  readonly fcsLength: number | undefined;
}

/** A packet, of whichever kind of block. */
export interface PacketRecord extends Base {
  readonly kind: 'packet';
  readonly interfaceId: number;
  readonly linkType: number;
  /** False for a Simple Packet Block, which carries no time: `seconds` and `nanos` are then 0. */
  readonly timed: boolean;
  readonly seconds: number;
  readonly nanos: number;
  /** What was kept of it: a view into the bytes that were pushed. */
  readonly bytes: Uint8Array;
  /** Bytes on the wire. */
  readonly originalLength: number;
  readonly direction: 'in' | 'out' | undefined;
  /** The flags word of pcapng: direction, reception type, FCS length, link errors. */
  readonly flags: number | undefined;
  /** Packets lost since the one before. */
  readonly dropped: number | undefined;
  readonly packetId: bigint | undefined;
  readonly queue: number | undefined;
  readonly hashes: readonly { readonly algorithm: number; readonly value: Uint8Array }[];
  readonly verdicts: readonly { readonly type: number; readonly value: Uint8Array }[];
}

/** Names of addresses (Name Resolution Block). */
export interface NamesRecord extends Base {
  readonly kind: 'names';
  /** `address` is a link address, as bytes, for EUI-48 and EUI-64 entries. */
  readonly entries: readonly { readonly address: Address | Uint8Array; readonly names: readonly string[] }[];
  /** Entries of a type that is not known. */
  readonly unknown: readonly { readonly type: number; readonly value: Uint8Array }[];
  readonly dnsName: string | undefined;
  readonly dnsServer: Address | undefined;
}

/** Counters of an interface. Exact below 2^53. */
export interface StatisticsRecord extends Base {
  readonly kind: 'statistics';
  readonly interfaceId: number;
  readonly seconds: number;
  readonly nanos: number;
  readonly start: { readonly seconds: number; readonly nanos: number } | undefined;
  readonly end: { readonly seconds: number; readonly nanos: number } | undefined;
  readonly received: number | undefined;
  readonly dropped: number | undefined;
  readonly filterAccepted: number | undefined;
  readonly osDropped: number | undefined;
  readonly delivered: number | undefined;
}

export interface SecretsRecord extends Base {
  readonly kind: 'secrets';
  readonly type: number;
  readonly bytes: Uint8Array;
}

export interface CustomRecord extends Base {
  readonly kind: 'custom';
  /** Private Enterprise Number. */
  readonly pen: number;
  readonly copyable: boolean;
  /** Data and options together: only the owner of the number can tell them apart. */
  readonly bytes: Uint8Array;
}

export interface JournalRecord extends Base {
  readonly kind: 'journal';
  readonly bytes: Uint8Array;
}

/** A block of a type that is not known: its body as it stands. */
export interface BlockRecord extends Base {
  readonly kind: 'block';
  readonly type: number;
  readonly bytes: Uint8Array;
}

export type CaptureRecord =
  | SectionRecord
  | InterfaceRecord
  | PacketRecord
  | NamesRecord
  | StatisticsRecord
  | SecretsRecord
  | CustomRecord
  | JournalRecord
  | BlockRecord
  | CaptureError;

/** A reader of capture bytes as they come. */
export interface CaptureReader {
  /**
   * Takes the next bytes of the file, cut anywhere, and returns the records they complete. Records hold views of `bytes`:
   * the caller must not write there again. After an error record nothing more comes.
   */
  push(bytes: Uint8Array): CaptureRecord[];
  /** Says that the file is over: the error, if there was one or if the file ends inside a record. */
  finish(): CaptureError | undefined;
}

export function captureError(fault: CaptureFault, offset: number, detail: string): CaptureError {
  return { kind: 'error', fault, offset, message: `${fault} at byte ${offset}: ${detail}` };
}

export const NOTHING: readonly never[] = [];
