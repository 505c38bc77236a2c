// The classic pcap file, read and written: µs and ns, both byte orders (draft-ietf-opsawg-pcap).
//
//   file header, 24 bytes                         packet header, 16 bytes
//   +-----------------------------------+         +-----------------------------------+
//   | magic 0xa1b2c3d4 µs, 0xa1b23c4d ns|         | seconds since 1970                |
//   | major 2        | minor 4          |         | microseconds or nanoseconds       |
//   | 0 (time zone)                     |         | captured length                   |
//   | 0 (accuracy)                      |         | original length                   |
//   | snap length                       |         +-----------------------------------+
//   | FCS 4 bits | 0 | link type        |         / captured bytes, no padding        /
//   +-----------------------------------+         +-----------------------------------+

import { Arena } from './arena.ts';
import { type CaptureRecord, type InterfaceRecord, NOTHING, type SectionRecord } from './record.ts';
import { RecordSplitter } from './splitter.ts';
import { NANOS } from './time64.ts';

export const MAGIC_MICROS = 0xa1b2c3d4;
export const MAGIC_NANOS = 0xa1b23c4d;
/** Alexey Kuznetsov's modified format: eight more bytes in each packet header. */
export const MAGIC_MODIFIED = 0xa1b2cd34;

const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const MODIFIED_PACKET_HEADER = 24;
/** libpcap's MAXIMUM_SNAPLEN: nothing longer is a packet, so a longer length is a broken file. */
export const MAX_PCAP_PACKET = 262_144;
/** With this bit of the link type word, the top four bits count the FCS, in 16-bit units. */
const FCS_PRESENT = 0x0400_0000;
/** PACKET_OUTGOING of Linux, in the modified format's packet type. */
const PACKET_OUTGOING = 4;

export interface PcapOptions {
  /** LINKTYPE_ value; 1, Ethernet, unless given. */
  linkType?: number | undefined;
  /** Packets are cut to so many bytes; 262144 unless given. */
  snapLength?: number | undefined;
  /** Nanosecond timestamps; microseconds when false. True unless given. */
  nanoseconds?: boolean | undefined;
  /** Little-endian unless false. */
  littleEndian?: boolean | undefined;
}

/** Writes a pcap file. The callback gets the file header at once, then one range a packet; bytes are its for ever. */
export class PcapWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #arena = new Arena();
  readonly #little: boolean;
  readonly #nanoseconds: boolean;
  readonly #snapLength: number;

  constructor(write: (bytes: Uint8Array) => void, options: PcapOptions = {}) {
    this.#write = write;
    this.#little = options.littleEndian ?? true;
    this.#nanoseconds = options.nanoseconds ?? true;
    const snap = options.snapLength ?? 0;
    this.#snapLength = snap > 0 ? snap : MAX_PCAP_PACKET;
    const at = this.#arena.reserve(FILE_HEADER);
    const view = this.#arena.view;
    view.setUint32(at, this.#nanoseconds ? MAGIC_NANOS : MAGIC_MICROS, this.#little);
    view.setUint16(at + 4, 2, this.#little);
    view.setUint16(at + 6, 4, this.#little);
    view.setUint32(at + 16, this.#snapLength, this.#little);
    view.setUint32(at + 20, options.linkType ?? 1, this.#little);
    write(this.#arena.bytes.subarray(at, at + FILE_HEADER));
  }

  /**
   * Writes `length` bytes of `bytes` from `offset`, at `seconds` (below 2^32) and `nanos` since 1970. A µs file cuts
   * nanoseconds off. `originalLength`, when more was on the wire than `length`.
   */
  packet(
    seconds: number,
    nanos: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    originalLength: number = length,
  ): void {
    const captured = Math.min(length, this.#snapLength);
    const total = PACKET_HEADER + captured;
    const at = this.#arena.reserve(total);
    const { view, bytes: into } = this.#arena;
    view.setUint32(at, seconds, this.#little);
    view.setUint32(at + 4, this.#nanoseconds ? nanos : Math.floor(nanos / 1000), this.#little);
    view.setUint32(at + 8, captured, this.#little);
    view.setUint32(at + 12, originalLength, this.#little);
    into.set(bytes.subarray(offset, offset + captured), at + PACKET_HEADER);
    this.#write(into.subarray(at, at + total));
  }
}

/** Reads a pcap file of any of the three magics in either byte order. Yields a section, an interface, then packets. */
export class PcapReader extends RecordSplitter {
  #started = false;
  #little = false;
  #nanoseconds = false;
  #header = PACKET_HEADER;
  #linkType = 0;
  #queued: CaptureRecord | undefined;

  override push(bytes: Uint8Array): CaptureRecord[] {
    const records = super.push(bytes);
    if (this.#queued === undefined || records.length === 0) return records;
    // The file header stands for two records: the section, and the one interface.
    const [first, ...rest] = records;
    const both = [first!, this.#queued, ...rest];
    this.#queued = undefined;
    return both;
  }

  protected override measure(view: DataView, at: number, have: number): number {
    if (!this.#started) return this.#measureFile(view, at, have);
    if (have < this.#header) return this.#header;
    const captured = view.getUint32(at + 8, this.#little);
    const original = view.getUint32(at + 12, this.#little);
    if (captured > MAX_PCAP_PACKET) {
      return this.fail(
        'bad captured length',
        `a packet of ${captured} bytes, above the limit of ${MAX_PCAP_PACKET}`,
      );
    }
    if (captured > original) {
      return this.fail('bad captured length', `${captured} bytes captured of a packet of ${original}`);
    }
    return this.#header + captured;
  }

  protected override take(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    size: number,
  ): CaptureRecord | undefined {
    if (!this.#started) return this.#takeFile(view, at);
    const little = this.#little;
    const fraction = view.getUint32(at + 4, little) * (this.#nanoseconds ? 1 : 1000);
    const modified = this.#header === MODIFIED_PACKET_HEADER;
    return {
      kind: 'packet',
      offset: this.offset,
      comments: NOTHING,
      options: NOTHING,
      interfaceId: 0,
      linkType: this.#linkType,
      timed: true,
      // A fraction of a second or more is carried, not believed.
      seconds: view.getUint32(at, little) + Math.floor(fraction / NANOS),
      nanos: fraction % NANOS,
      bytes: bytes.subarray(at + this.#header, at + size),
      originalLength: view.getUint32(at + 12, little),
      direction: modified ? (view.getUint8(at + 22) === PACKET_OUTGOING ? 'out' : 'in') : undefined,
      flags: undefined,
      dropped: undefined,
      packetId: undefined,
      queue: undefined,
      hashes: NOTHING,
      verdicts: NOTHING,
    };
  }

  #measureFile(view: DataView, at: number, have: number): number {
    if (have < 4) return 4;
    const magic = view.getUint32(at);
    const little = pcapLittleEndian(magic);
    if (little === undefined) return this.fail('unknown format', `magic ${hex32(magic)} is not pcap`);
    if (have < FILE_HEADER) return FILE_HEADER;
    const major = view.getUint16(at + 4, little);
    const minor = view.getUint16(at + 6, little);
    // Before 2.3 the two lengths of a packet stood the other way round; such files are older than 1998.
    if (major !== 2 || minor < 3) return this.fail('unsupported version', `pcap ${major}.${minor}`);
    return FILE_HEADER;
  }

  #takeFile(view: DataView, at: number): SectionRecord {
    const little = pcapLittleEndian(view.getUint32(at)) ?? false;
    const magic = view.getUint32(at, little);
    const network = view.getUint32(at + 20, little);
    this.#started = true;
    this.#little = little;
    this.#nanoseconds = magic === MAGIC_NANOS;
    if (magic === MAGIC_MODIFIED) this.#header = MODIFIED_PACKET_HEADER;
    this.#linkType = network & 0xffff;
    this.#queued = interfaceOf(
      this.offset,
      this.#linkType,
      view.getUint32(at + 16, little),
      this.#nanoseconds ? 9 : 6,
      (network & FCS_PRESENT) !== 0 ? (network >>> 28) * 2 : undefined,
    );
    return {
      kind: 'section',
      offset: this.offset,
      comments: NOTHING,
      options: NOTHING,
      format: 'pcap',
      littleEndian: little,
      major: view.getUint16(at + 4, little),
      minor: view.getUint16(at + 6, little),
      length: undefined,
      hardware: undefined,
      os: undefined,
      application: undefined,
    };
  }
}

/** The byte order that a magic, read big-endian, stands for; `undefined` when it is no pcap magic. */
export function pcapLittleEndian(magic: number): boolean | undefined {
  switch (magic) {
    case MAGIC_MICROS:
    case MAGIC_NANOS:
    case MAGIC_MODIFIED:
      return false;
    case 0xd4c3b2a1:
    case 0x4d3cb2a1:
    case 0x34cdb2a1:
      return true;
    default:
      return undefined;
  }
}

function interfaceOf(
  offset: number,
  linkType: number,
  snapLength: number,
  exponent: number,
  fcsLength: number | undefined,
): InterfaceRecord {
  return {
    kind: 'interface',
    offset,
    comments: NOTHING,
    options: NOTHING,
    id: 0,
    linkType,
    snapLength,
    name: undefined,
    description: undefined,
    ipv4: NOTHING,
    ipv6: NOTHING,
    mac: undefined,
    eui64: undefined,
    speed: undefined,
    resolution: { base: 10, exponent },
    timeOffset: 0,
    filter: undefined,
    os: undefined,
    hardware: undefined,
    fcsLength,
  };
}

export function hex32(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
