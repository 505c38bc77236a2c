// A pcapng push parser (draft-ietf-opsawg-pcapng): every block type, several sections, both byte orders.

import { readV4, readV6 } from '../base/address.ts';
import { hex32 } from './pcap.ts';
import * as ng from './pcapng-format.ts';
import { readNames } from './pcapng-names.ts';
import { Options, viewOf } from './pcapng-options.ts';
import {
  type CaptureRecord,
  type InterfaceRecord,
  type NamesRecord,
  NOTHING,
  type SectionRecord,
} from './record.ts';
import { RecordSplitter } from './splitter.ts';
import { MICROSECONDS, type Resolution, resolutionOf, type Timestamp, ticksToTimestamp } from './time64.ts';
import { decodeUtf8 } from './utf8.ts';

/** No block is longer: Wireshark's own limit. What a file claims beyond it is a lie or not for us. */
export const MAX_BLOCK = 16 * 1024 * 1024;
/** Interfaces of one section. Each costs memory for as long as the section lasts. */
const MAX_INTERFACES = 65_536;
/** A drop count of the Packet Block that means "not known". */
const DROPS_UNKNOWN = 0xffff;

/** What packets need of their interface. */
interface Known {
  readonly linkType: number;
  readonly snapLength: number;
  readonly resolution: Resolution;
  readonly timeOffset: number;
}

/** Options that have fields of their own, by block. */
const KNOWN_SECTION = [ng.SHB_HARDWARE, ng.SHB_OS, ng.SHB_USERAPPL];
const KNOWN_INTERFACE = [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];
const KNOWN_PACKET = [2, 3, 4, 5, 6, 7];
const KNOWN_OBSOLETE_PACKET = [2, 3];
const KNOWN_NAMES = [2, 3, 4];
const KNOWN_STATISTICS = [2, 3, 4, 5, 6, 7, 8];

/** Reads pcapng. Every block becomes one record; a fault becomes one error record, the last. */
export class PcapngReader extends RecordSplitter {
  #little = false;
  #started = false;
  #interfaces: Known[] = [];

  protected override measure(view: DataView, at: number, have: number): number {
    // Type, length and, in a section header, the magic that tells the byte order of both. No block is shorter.
    if (have < 12) return 12;
    let little = this.#little;
    // The type of a section header reads the same in both orders.
    const section = view.getUint32(at) === ng.SECTION_HEADER;
    if (section) {
      const magic = view.getUint32(at + 8);
      if (magic !== ng.BYTE_ORDER_MAGIC && magic !== 0x4d3c2b1a) {
        return this.fail('bad byte order', `byte-order magic ${hex32(magic)}`);
      }
      little = magic !== ng.BYTE_ORDER_MAGIC;
    } else if (!this.#started) {
      return this.fail(
        'unknown format',
        `block type ${hex32(view.getUint32(at))} is no pcapng section header`,
      );
    }
    const total = view.getUint32(at + 4, little);
    const least = section ? 28 : leastLength(view.getUint32(at, little));
    if (total < least || (total & 3) !== 0) {
      return this.fail('bad block length', `${total}, which is below ${least} or no multiple of 4`);
    }
    if (total > MAX_BLOCK) return this.fail('bad block length', `${total}, above the limit of ${MAX_BLOCK}`);
    return total;
  }

  protected override take(bytes: Uint8Array, view: DataView, at: number, size: number) {
    if (view.getUint32(at) === ng.SECTION_HEADER) {
      this.#little = view.getUint32(at + 8) !== ng.BYTE_ORDER_MAGIC;
      this.#started = true;
      this.#interfaces = [];
    }
    const trailer = view.getUint32(at + size - 4, this.#little);
    if (trailer !== size) {
      this.fail('lengths disagree', `the block says ${size} before and ${trailer} after its body`);
      return undefined;
    }
    return this.#block(view.getUint32(at, this.#little), bytes, view, at + 8, at + size - 4);
  }

  /** One block body in [from, to). */
  #block(
    type: number,
    bytes: Uint8Array,
    view: DataView,
    from: number,
    to: number,
  ): CaptureRecord | undefined {
    switch (type) {
      case ng.SECTION_HEADER:
        return this.#section(bytes, view, from, to);
      case ng.INTERFACE_DESCRIPTION:
        return this.#interface(bytes, view, from, to);
      case ng.ENHANCED_PACKET:
        return this.#packet(bytes, view, from, to, view.getUint32(from, this.#little), undefined);
      case ng.PACKET: {
        const drops = view.getUint16(from + 2, this.#little);
        const dropped = drops === DROPS_UNKNOWN ? -1 : drops;
        return this.#packet(bytes, view, from, to, view.getUint16(from, this.#little), dropped);
      }
      case ng.SIMPLE_PACKET:
        return this.#simplePacket(bytes, view, from, to);
      case ng.NAME_RESOLUTION:
        return this.#names(bytes, view, from, to);
      case ng.INTERFACE_STATISTICS:
        return this.#statistics(bytes, view, from, to);
      case ng.DECRYPTION_SECRETS:
        return this.#secrets(bytes, view, from, to);
      case ng.CUSTOM_COPY:
      case ng.CUSTOM_NO_COPY:
        return {
          kind: 'custom',
          ...this.#plain(),
          pen: view.getUint32(from, this.#little),
          copyable: type === ng.CUSTOM_COPY,
          bytes: bytes.subarray(from + 4, to),
        };
      case ng.SYSTEMD_JOURNAL:
        return { kind: 'journal', ...this.#plain(), bytes: withoutPadding(bytes.subarray(from, to)) };
      default:
        return { kind: 'block', ...this.#plain(), type, bytes: bytes.subarray(from, to) };
    }
  }

  #section(bytes: Uint8Array, view: DataView, from: number, to: number): SectionRecord | undefined {
    const major = view.getUint16(from + 4, this.#little);
    const minor = view.getUint16(from + 6, this.#little);
    // 1.2 was written by some and is read as 1.0 (4.1).
    if (major !== 1 || (minor !== 0 && minor !== 2)) {
      this.fail('unsupported version', `pcapng ${major}.${minor}`);
      return undefined;
    }
    const options = this.#options(bytes, view, from + 16, to);
    if (options === undefined) return undefined;
    const length = view.getBigInt64(from + 8, this.#little);
    return {
      kind: 'section',
      offset: this.offset,
      comments: options.comments,
      options: options.except(KNOWN_SECTION),
      format: 'pcapng',
      littleEndian: this.#little,
      major,
      minor,
      // A hint for skipping only: the blocks themselves say where the section ends.
      length: length < 0n ? undefined : Number(length),
      hardware: options.text(ng.SHB_HARDWARE),
      os: options.text(ng.SHB_OS),
      application: options.text(ng.SHB_USERAPPL),
    };
  }

  #interface(bytes: Uint8Array, view: DataView, from: number, to: number): InterfaceRecord | undefined {
    const options = this.#options(bytes, view, from + 8, to);
    if (options === undefined) return undefined;
    if (this.#interfaces.length >= MAX_INTERFACES) {
      this.fail('too many interfaces', `more than ${MAX_INTERFACES} in one section`);
      return undefined;
    }
    const resolutionOctet = options.u8(ng.IF_TSRESOL);
    const known: Known = {
      linkType: view.getUint16(from, this.#little),
      snapLength: view.getUint32(from + 4, this.#little),
      resolution: resolutionOctet === undefined ? MICROSECONDS : resolutionOf(resolutionOctet),
      timeOffset: Number(options.i64(ng.IF_TSOFFSET, this.#little) ?? 0n),
    };
    const id = this.#interfaces.push(known) - 1;
    const { base, exponent } = known.resolution;
    const filter = options.value(ng.IF_FILTER, 1);
    return {
      kind: 'interface',
      offset: this.offset,
      comments: options.comments,
      options: options.except(KNOWN_INTERFACE),
      id,
      linkType: known.linkType,
      snapLength: known.snapLength,
      name: options.text(ng.IF_NAME),
      description: options.text(ng.IF_DESCRIPTION),
      ipv4: options
        .values(ng.IF_IPV4, 8)
        .map((value) => ({ address: readV4(viewOf(value), 0), mask: readV4(viewOf(value), 4) })),
      ipv6: options
        .values(ng.IF_IPV6, 17)
        .map((value) => ({ address: readV6(viewOf(value), 0), prefixLength: value[16]! })),
      mac: options.value(ng.IF_MAC, 6)?.subarray(0, 6),
      eui64: options.value(ng.IF_EUI64, 8)?.subarray(0, 8),
      speed: options.count(ng.IF_SPEED, this.#little),
      resolution: { base, exponent },
      timeOffset: known.timeOffset,
      // The first octet says how the filter is written: 0, as text. Others have no text to show.
      filter: filter !== undefined && filter[0] === 0 ? filterText(filter) : undefined,
      os: options.text(ng.IF_OS),
      hardware: options.text(ng.IF_HARDWARE),
      fcsLength: options.u8(ng.IF_FCSLEN),
    };
  }

  /** Enhanced Packet Block, and the obsolete Packet Block (`dropped` given), which differ in their first word only. */
  #packet(
    bytes: Uint8Array,
    view: DataView,
    from: number,
    to: number,
    interfaceId: number,
    dropped: number | undefined,
  ): CaptureRecord | undefined {
    const little = this.#little;
    const known = this.#known(interfaceId);
    if (known === undefined) return undefined;
    const captured = view.getUint32(from + 12, little);
    const originalLength = view.getUint32(from + 16, little);
    const start = from + 20;
    if (captured > to - start || captured > originalLength) {
      this.fail(
        'bad captured length',
        `${captured} bytes captured, with ${to - start} left in the block and ${originalLength} on the wire`,
      );
      return undefined;
    }
    const options = this.#options(bytes, view, start + ((captured + 3) & ~3), to);
    if (options === undefined) return undefined;
    const time = this.#time(view, from + 4, known);
    const flags = options.u32(ng.EPB_FLAGS, little);
    const way = (flags ?? 0) & 3;
    const obsolete = dropped !== undefined;
    return {
      kind: 'packet',
      offset: this.offset,
      comments: options.comments,
      options: options.except(obsolete ? KNOWN_OBSOLETE_PACKET : KNOWN_PACKET),
      interfaceId,
      linkType: known.linkType,
      timed: true,
      seconds: time.seconds,
      nanos: time.nanos,
      bytes: bytes.subarray(start, start + captured),
      originalLength,
      direction: way === 1 ? 'in' : way === 2 ? 'out' : undefined,
      flags,
      dropped: obsolete ? (dropped < 0 ? undefined : dropped) : options.count(ng.EPB_DROPCOUNT, little),
      packetId: obsolete ? undefined : options.u64(ng.EPB_PACKETID, little),
      queue: obsolete ? undefined : options.u32(ng.EPB_QUEUE, little),
      hashes: options
        .values(ng.EPB_HASH, 1)
        .map((value) => ({ algorithm: value[0]!, value: value.subarray(1) })),
      verdicts: obsolete
        ? NOTHING
        : options.values(ng.EPB_VERDICT, 1).map((value) => ({ type: value[0]!, value: value.subarray(1) })),
    };
  }

  #simplePacket(bytes: Uint8Array, view: DataView, from: number, to: number): CaptureRecord | undefined {
    const known = this.#known(0);
    if (known === undefined) return undefined;
    const originalLength = view.getUint32(from, this.#little);
    // No captured length: it is the snap length of interface 0 or the original length, whichever is less (4.4).
    const captured = known.snapLength > 0 ? Math.min(known.snapLength, originalLength) : originalLength;
    if (captured > to - from - 4) {
      this.fail('bad captured length', `${captured} bytes captured, with ${to - from - 4} left in the block`);
      return undefined;
    }
    return {
      kind: 'packet',
      ...this.#plain(),
      interfaceId: 0,
      linkType: known.linkType,
      timed: false,
      seconds: 0,
      nanos: 0,
      bytes: bytes.subarray(from + 4, from + 4 + captured),
      originalLength,
      direction: undefined,
      flags: undefined,
      dropped: undefined,
      packetId: undefined,
      queue: undefined,
      hashes: NOTHING,
      verdicts: NOTHING,
    };
  }

  #statistics(bytes: Uint8Array, view: DataView, from: number, to: number): CaptureRecord | undefined {
    const little = this.#little;
    const interfaceId = view.getUint32(from, little);
    const known = this.#known(interfaceId);
    if (known === undefined) return undefined;
    const options = this.#options(bytes, view, from + 12, to);
    if (options === undefined) return undefined;
    const moment = (code: number) => {
      const value = options.value(code, 8);
      return value === undefined ? undefined : this.#time(viewOf(value), 0, known);
    };
    return {
      kind: 'statistics',
      offset: this.offset,
      comments: options.comments,
      options: options.except(KNOWN_STATISTICS),
      interfaceId,
      ...this.#time(view, from + 4, known),
      start: moment(ng.ISB_STARTTIME),
      end: moment(ng.ISB_ENDTIME),
      received: options.count(ng.ISB_IFRECV, little),
      dropped: options.count(ng.ISB_IFDROP, little),
      filterAccepted: options.count(ng.ISB_FILTERACCEPT, little),
      osDropped: options.count(ng.ISB_OSDROP, little),
      delivered: options.count(ng.ISB_USRDELIV, little),
    };
  }

  #names(bytes: Uint8Array, view: DataView, from: number, to: number): NamesRecord | undefined {
    const list = readNames(bytes, view, from, to, this.#little);
    if ('fault' in list) {
      const at = this.offset + 8 + list.fault - from;
      this.fail('bad name record', `the record at byte ${at} runs past its block`);
      return undefined;
    }
    const options = this.#options(bytes, view, list.end, to);
    if (options === undefined) return undefined;
    const v4 = options.value(ng.NS_DNSIP4, 4);
    const v6 = options.value(ng.NS_DNSIP6, 16);
    return {
      kind: 'names',
      offset: this.offset,
      comments: options.comments,
      options: options.except(KNOWN_NAMES),
      entries: list.entries,
      unknown: list.unknown,
      dnsName: options.text(ng.NS_DNSNAME),
      dnsServer:
        v4 !== undefined ? readV4(viewOf(v4), 0) : v6 !== undefined ? readV6(viewOf(v6), 0) : undefined,
    };
  }

  #secrets(bytes: Uint8Array, view: DataView, from: number, to: number): CaptureRecord | undefined {
    const length = view.getUint32(from + 4, this.#little);
    if (length > to - from - 8) {
      this.fail('bad captured length', `secrets of ${length} bytes, with ${to - from - 8} left in the block`);
      return undefined;
    }
    const end = from + 8 + length;
    const options = this.#options(bytes, view, from + 8 + ((length + 3) & ~3), to);
    if (options === undefined) return undefined;
    return {
      kind: 'secrets',
      offset: this.offset,
      comments: options.comments,
      options: options.except(NOTHING),
      type: view.getUint32(from, this.#little),
      bytes: bytes.subarray(from + 8, end),
    };
  }

  #plain() {
    return { offset: this.offset, comments: NOTHING, options: NOTHING };
  }

  #known(interfaceId: number): Known | undefined {
    const known = this.#interfaces[interfaceId];
    if (known === undefined) {
      const count = this.#interfaces.length;
      this.fail('unknown interface', `interface ${interfaceId}, of which the section has ${count}`);
    }
    return known;
  }

  #options(bytes: Uint8Array, view: DataView, from: number, to: number): Options | undefined {
    const options = Options.read(bytes, view, from, to, this.#little);
    if (options === undefined) this.fail('bad option', 'an option runs past the end of its block');
    return options;
  }

  #time(view: DataView, at: number, { resolution, timeOffset }: Known): Timestamp {
    const high = view.getUint32(at, this.#little);
    return ticksToTimestamp(high, view.getUint32(at + 4, this.#little), resolution, timeOffset);
  }
}

/** Bytes of the smallest block of a type, fixed part and frame. */
function leastLength(type: number): number {
  switch (type) {
    case ng.INTERFACE_DESCRIPTION:
    case ng.DECRYPTION_SECRETS:
      return 20;
    case ng.ENHANCED_PACKET:
    case ng.PACKET:
      return 32;
    case ng.SIMPLE_PACKET:
    case ng.CUSTOM_COPY:
    case ng.CUSTOM_NO_COPY:
      return 16;
    case ng.INTERFACE_STATISTICS:
      return 24;
    default:
      return 12;
  }
}

function filterText(filter: Uint8Array): string {
  return decodeUtf8(filter, 1);
}

/** A journal entry ends with a line feed; up to three zeros after it are padding. */
function withoutPadding(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes.length - end < 3 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}
