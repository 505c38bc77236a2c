// A pcapng writer (draft-ietf-opsawg-pcapng): blocks out, one section, nanosecond timestamps, no file in sight.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                          Block Type                           |
//   |                      Block Total Length                       |
//   /                          Block Body                           /  padded to 32 bits
//   |                      Block Total Length                       |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

import { type Address, type Cidr, maskWord, writeAddress } from '../base/address.ts';
import { Arena } from './arena.ts';
import * as ng from './pcapng-format.ts';
import { setNanos } from './time64.ts';
import { encodeUtf8 } from './utf8.ts';

/** Largest value of one option: its length is 16 bits. */
const MAX_OPTION = 0xffff;

export interface SectionOptions {
  /** The program that writes: `shb_userappl`. */
  application?: string | undefined;
  hardware?: string | undefined;
  os?: string | undefined;
  comment?: string | undefined;
  /** Byte order of the section; little-endian unless false. */
  littleEndian?: boolean | undefined;
}

export interface InterfaceOptions {
  name?: string | undefined;
  description?: string | undefined;
  /** LINKTYPE_ value; 1, Ethernet, unless given. */
  linkType?: number | undefined;
  /** Packets are cut to so many bytes; 0 or nothing: never. */
  snapLength?: number | undefined;
  mac?: Uint8Array | undefined;
  ipv4?: Cidr | undefined;
  ipv6?: Cidr | undefined;
  /** Bits a second. */
  speed?: number | undefined;
  /** The capture filter, in libpcap's language. */
  filter?: string | undefined;
  /** Bytes of frame check sequence kept at the end of each frame. */
  fcsLength?: number | undefined;
  os?: string | undefined;
  hardware?: string | undefined;
  comment?: string | undefined;
}

export interface PacketOptions {
  direction?: 'in' | 'out' | undefined;
  /** What happened to the packet: shown by Wireshark as `frame.comment`. */
  comment?: string | undefined;
  /** Bytes on the wire, when more than were kept. */
  originalLength?: number | undefined;
  /** Packets lost between this one and the one before on the same interface. */
  dropped?: number | undefined;
  /** Receive queue, `epb_queue`. */
  queue?: number | undefined;
}

export interface StatisticsOptions {
  received?: number | undefined;
  /** Dropped by the interface for want of room. */
  dropped?: number | undefined;
  filterAccepted?: number | undefined;
  osDropped?: number | undefined;
  delivered?: number | undefined;
  start?: { readonly seconds: number; readonly nanos: number } | undefined;
  end?: { readonly seconds: number; readonly nanos: number } | undefined;
  comment?: string | undefined;
}

const NO_OPTIONS: PacketOptions = {};

/** One option, ready to lay down: a code and its value. */
interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

/**
 * Writes one pcapng section. Each call gives the callback one whole block, in order; the bytes are the callee's for ever
 * (they are never written again). Throws RangeError for an interface that was not added.
 */
export class PcapngWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #arena = new Arena();
  readonly #little: boolean;
  readonly #snapLengths: number[] = [];

  constructor(write: (bytes: Uint8Array) => void, options: SectionOptions = {}) {
    this.#write = write;
    this.#little = options.littleEndian ?? true;
    const body = new Uint8Array(16);
    const view = new DataView(body.buffer);
    view.setUint32(0, ng.BYTE_ORDER_MAGIC, this.#little);
    view.setUint16(4, 1, this.#little); // major 1, minor 0
    view.setUint32(8, 0xffff_ffff); // section length -1: not known, for we stream
    view.setUint32(12, 0xffff_ffff);
    this.#block(ng.SECTION_HEADER, body, [
      ...text(ng.OPT_COMMENT, options.comment),
      ...text(ng.SHB_HARDWARE, options.hardware),
      ...text(ng.SHB_OS, options.os),
      ...text(ng.SHB_USERAPPL, options.application),
    ]);
  }

  /** Describes an interface and returns its number, counted from 0. Timestamps of its packets are nanoseconds. */
  addInterface(options: InterfaceOptions = {}): number {
    const body = new Uint8Array(8);
    const view = new DataView(body.buffer);
    const snapLength = options.snapLength ?? 0;
    view.setUint16(0, options.linkType ?? ng.LINKTYPE_ETHERNET, this.#little);
    view.setUint32(4, snapLength, this.#little);
    this.#block(ng.INTERFACE_DESCRIPTION, body, [
      ...text(ng.OPT_COMMENT, options.comment),
      ...text(ng.IF_NAME, options.name),
      ...text(ng.IF_DESCRIPTION, options.description),
      ...(options.ipv4 === undefined ? [] : [{ code: ng.IF_IPV4, value: addressAndMask(options.ipv4) }]),
      ...(options.ipv6 === undefined ? [] : [{ code: ng.IF_IPV6, value: addressAndPrefix(options.ipv6) }]),
      ...(options.mac === undefined ? [] : [{ code: ng.IF_MAC, value: options.mac }]),
      ...this.#count(ng.IF_SPEED, options.speed),
      { code: ng.IF_TSRESOL, value: Uint8Array.of(9) },
      // The octet in front says that the filter is text.
      ...text(ng.IF_FILTER, options.filter === undefined ? undefined : `\0${options.filter}`),
      ...text(ng.IF_OS, options.os),
      ...(options.fcsLength === undefined
        ? []
        : [{ code: ng.IF_FCSLEN, value: Uint8Array.of(options.fcsLength) }]),
      ...text(ng.IF_HARDWARE, options.hardware),
    ]);
    return this.#snapLengths.push(snapLength) - 1;
  }

  /**
   * Writes a packet: `length` bytes of `bytes` from `offset`, at `seconds` and `nanos` since 1970. `seconds` is below 2^34
   * and not negative. An Enhanced Packet Block:
   *
   * ```
   *  type 6 | total | interface | time high | time low | captured | original | data, padded | options | total
   * ```
   */
  packet(
    interfaceId: number,
    seconds: number,
    nanos: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    options: PacketOptions = NO_OPTIONS,
  ): void {
    const snap = this.#snapLength(interfaceId);
    const captured = snap > 0 && length > snap ? snap : length;
    const comment = options.comment === undefined ? undefined : encodeUtf8(options.comment, MAX_OPTION);
    const optionBytes = packetOptionsLength(options, comment);
    const total = 32 + pad4(captured) + optionBytes;
    const start = this.#arena.reserve(total);
    const { view, bytes: into } = this.#arena;
    const little = this.#little;
    view.setUint32(start, ng.ENHANCED_PACKET, little);
    view.setUint32(start + 4, total, little);
    view.setUint32(start + 8, interfaceId, little);
    setNanos(view, start + 12, seconds, nanos, little);
    view.setUint32(start + 20, captured, little);
    view.setUint32(start + 24, options.originalLength ?? length, little);
    into.set(bytes.subarray(offset, offset + captured), start + 28);
    if (optionBytes > 0) this.#packetOptions(start + 28 + pad4(captured), options, comment);
    view.setUint32(start + total - 4, total, little);
    this.#write(into.subarray(start, start + total));
  }

  /** Writes counters of an interface, taken at a moment. Several may be written; readers use the last. */
  statistics(interfaceId: number, seconds: number, nanos: number, options: StatisticsOptions = {}): void {
    this.#snapLength(interfaceId);
    const body = new Uint8Array(12);
    const view = new DataView(body.buffer);
    view.setUint32(0, interfaceId, this.#little);
    setNanos(view, 4, seconds, nanos, this.#little);
    this.#block(ng.INTERFACE_STATISTICS, body, [
      ...text(ng.OPT_COMMENT, options.comment),
      ...this.#moment(ng.ISB_STARTTIME, options.start),
      ...this.#moment(ng.ISB_ENDTIME, options.end),
      ...this.#count(ng.ISB_IFRECV, options.received),
      ...this.#count(ng.ISB_IFDROP, options.dropped),
      ...this.#count(ng.ISB_FILTERACCEPT, options.filterAccepted),
      ...this.#count(ng.ISB_OSDROP, options.osDropped),
      ...this.#count(ng.ISB_USRDELIV, options.delivered),
    ]);
  }

  /** Writes decryption secrets, for example {@link ng.SECRETS_TLS_KEY_LOG} and lines in NSS key log format. */
  secrets(type: number, bytes: Uint8Array): void {
    const body = new Uint8Array(8 + pad4(bytes.length));
    const view = new DataView(body.buffer);
    view.setUint32(0, type, this.#little);
    view.setUint32(4, bytes.length, this.#little);
    body.set(bytes, 8);
    this.#block(ng.DECRYPTION_SECRETS, body, []);
  }

  /** Writes names of addresses, so that a reader shows them without asking the DNS. */
  names(entries: readonly { readonly address: Address; readonly names: readonly string[] }[]): void {
    const records: Option[] = entries.map(({ address, names }) => {
      const list = encodeUtf8(names.map((name) => `${name}\0`).join(''), MAX_OPTION - 16);
      const size = address.family === 4 ? 4 : 16;
      const value = new Uint8Array(size + list.length);
      writeAddress(new DataView(value.buffer), 0, address);
      value.set(list, size);
      return { code: address.family === 4 ? ng.NRB_IPV4 : ng.NRB_IPV6, value };
    });
    // Records have the shape of options: type, length, padded value, and an end of type 0.
    const body = new Uint8Array(optionsLength(records) + (records.length === 0 ? 4 : 0));
    this.#options(body, new DataView(body.buffer), 0, records);
    this.#block(ng.NAME_RESOLUTION, body, []);
  }

  /** Writes one entry of the systemd journal, in Journal Export Format. */
  journal(entry: Uint8Array): void {
    const body = new Uint8Array(pad4(entry.length));
    body.set(entry);
    this.#block(ng.SYSTEMD_JOURNAL, body, []);
  }

  /** Writes a custom block of the Private Enterprise Number `pen`; `copyable` says whether tools may copy it. */
  custom(pen: number, data: Uint8Array, copyable = true): void {
    const body = new Uint8Array(4 + pad4(data.length));
    new DataView(body.buffer).setUint32(0, pen, this.#little);
    body.set(data, 4);
    this.#block(copyable ? ng.CUSTOM_COPY : ng.CUSTOM_NO_COPY, body, []);
  }

  /** Writes a block of any type with a ready body, padded to 32 bits, in this section's byte order. */
  raw(type: number, body: Uint8Array): void {
    this.#block(type, body, []);
  }

  #snapLength(interfaceId: number): number {
    const snap = this.#snapLengths[interfaceId];
    if (snap === undefined) throw new RangeError(`pcapng: interface ${interfaceId} was not added`);
    return snap;
  }

  #packetOptions(from: number, options: PacketOptions, comment: Uint8Array | undefined): void {
    const { view, bytes } = this.#arena;
    const little = this.#little;
    let at = from;
    if (comment !== undefined) {
      view.setUint16(at, ng.OPT_COMMENT, little);
      view.setUint16(at + 2, comment.length, little);
      bytes.set(comment, at + 4);
      at += 4 + pad4(comment.length);
    }
    if (options.direction !== undefined) {
      view.setUint16(at, ng.EPB_FLAGS, little);
      view.setUint16(at + 2, 4, little);
      view.setUint32(at + 4, options.direction === 'in' ? 1 : 2, little);
      at += 8;
    }
    if (options.dropped !== undefined) {
      view.setUint16(at, ng.EPB_DROPCOUNT, little);
      view.setUint16(at + 2, 8, little);
      setCount(view, at + 4, options.dropped, little);
      at += 12;
    }
    if (options.queue !== undefined) {
      view.setUint16(at, ng.EPB_QUEUE, little);
      view.setUint16(at + 2, 4, little);
      view.setUint32(at + 4, options.queue, little);
    }
    // opt_endofopt is four zero bytes: they are there already.
  }

  #block(type: number, body: Uint8Array, options: readonly Option[]): void {
    const total = 12 + pad4(body.length) + optionsLength(options);
    const start = this.#arena.reserve(total);
    const { view, bytes } = this.#arena;
    view.setUint32(start, type, this.#little);
    view.setUint32(start + 4, total, this.#little);
    bytes.set(body, start + 8);
    this.#options(bytes, view, start + 8 + pad4(body.length), options);
    view.setUint32(start + total - 4, total, this.#little);
    this.#write(bytes.subarray(start, start + total));
  }

  #options(bytes: Uint8Array, view: DataView, from: number, options: readonly Option[]): void {
    let at = from;
    for (const { code, value } of options) {
      view.setUint16(at, code, this.#little);
      view.setUint16(at + 2, value.length, this.#little);
      bytes.set(value, at + 4);
      at += 4 + pad4(value.length);
    }
  }

  #count(code: number, value: number | undefined): Option[] {
    if (value === undefined) return [];
    const bytes = new Uint8Array(8);
    setCount(new DataView(bytes.buffer), 0, value, this.#little);
    return [{ code, value: bytes }];
  }

  #moment(code: number, moment: StatisticsOptions['start']): Option[] {
    if (moment === undefined) return [];
    const bytes = new Uint8Array(8);
    setNanos(new DataView(bytes.buffer), 0, moment.seconds, moment.nanos, this.#little);
    return [{ code, value: bytes }];
  }
}

function packetOptionsLength(options: PacketOptions, comment: Uint8Array | undefined): number {
  let length = 0;
  if (comment !== undefined) length += 4 + pad4(comment.length);
  if (options.direction !== undefined) length += 8;
  if (options.dropped !== undefined) length += 12;
  if (options.queue !== undefined) length += 8;
  return length === 0 ? 0 : length + 4;
}

function optionsLength(options: readonly Option[]): number {
  return options.length === 0 ? 0 : options.reduce((n, { value }) => n + 4 + pad4(value.length), 4);
}

function text(code: number, value: string | undefined): Option[] {
  return value === undefined ? [] : [{ code, value: encodeUtf8(value, MAX_OPTION) }];
}

function addressAndMask({ address, prefixLength }: Cidr): Uint8Array {
  const value = new Uint8Array(8);
  const view = new DataView(value.buffer);
  view.setInt32(0, address.w3); // network order, whatever the section's byte order
  view.setInt32(4, maskWord(prefixLength));
  return value;
}

function addressAndPrefix({ address, prefixLength }: Cidr): Uint8Array {
  const value = new Uint8Array(17);
  writeAddress(new DataView(value.buffer), 0, address);
  value[16] = prefixLength;
  return value;
}

/** Writes a whole number below 2^53 as an unsigned 64-bit value, in the order of the section. */
function setCount(view: DataView, at: number, value: number, littleEndian: boolean): void {
  view.setUint32(at + (littleEndian ? 4 : 0), Math.floor(value / 0x1_0000_0000), littleEndian);
  view.setUint32(at + (littleEndian ? 0 : 4), value % 0x1_0000_0000, littleEndian);
}

function pad4(length: number): number {
  return (length + 3) & ~3;
}
