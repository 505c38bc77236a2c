// What it costs to read headers, to sum and to copy: pure code, timed with tinybench.
//
// The reference of a header is the same fields read through npm's buffer-layout; of the checksum, the loop of RFC 1071 4.1 as
// one writes it first; of the copy, `Buffer.copy`.

import layout from 'buffer-layout';
import { Bench } from 'tinybench';
import { lessIsBetter, row } from './report.mjs';

/** Runs of the code between two looks at the clock: one run is shorter than the clock's tick. */
const INNER = 1000;
const INNER_LARGE = 20;

/** Ethernet, IPv4 and TCP headers of a segment with timestamps, as a kernel sends it, and a UDP header after them. */
const FRAME = Uint8Array.from(
  Buffer.from(
    '02000000000102000000000208004500003c1c4640004006000a0a0700010a0700029c40000712345678' +
      '9abcdef08018020000000000' +
      '0101080a0000000100000002' +
      '7061796c6f6164209c400007000c0000',
    'hex',
  ),
);
const IP = 14;
const TCP = 34;
const UDP = FRAME.length - 8;

/**
 * @param {{ dist: string, quick: boolean, wanted: (name: string) => boolean, say: (row: import('./report.mjs').Row) => void }} options
 */
export async function codecs({ dist, quick, wanted, say }) {
  const load = async (/** @type {string} */ path) => import(new URL(path, dist).href);
  const [ether, ipv4, tcp, udp, sums, buffers, slabs] = await Promise.all([
    load('ether/header.js'),
    load('ipv4/header.js'),
    load('tcp/header.js'),
    load('udp/header.js'),
    load('base/checksum.js'),
    load('tcp/send-buffer.js'),
    load('base/slab.js'),
  ]);
  const view = new DataView(FRAME.buffer, FRAME.byteOffset, FRAME.length);
  // The IPv4 checksum of the frame must be right: check() verifies it.
  ipv4.refreshChecksum(view, IP);
  const end = FRAME.length;

  /** @type {Record<string, { inner: number, ours: () => number, other: () => number }>} */
  const tasks = {
    'parse Ethernet header': {
      inner: INNER,
      ours: () =>
        ether.check(view, 0, end) === undefined
          ? ether.destinationHigh(view, 0) +
            ether.destinationLow(view, 0) +
            +ether.toGroup(view, 0) +
            +ether.fromGroup(view, 0) +
            ether.outerType(view, 0)
          : 0,
      other: decoded(ETHERNET, 0, (h) => h.type),
    },
    'parse IPv4 header, checksum verified': {
      inner: INNER,
      ours: () =>
        ipv4.check(view, IP, end) === undefined
          ? ipv4.headerLength(view, IP) +
            ipv4.typeOfService(view, IP) +
            ipv4.totalLength(view, IP) +
            ipv4.identification(view, IP) +
            ipv4.flagsOffset(view, IP) +
            ipv4.timeToLive(view, IP) +
            ipv4.protocol(view, IP) +
            ipv4.sourceWord(view, IP) +
            ipv4.destinationWord(view, IP)
          : 0,
      other: decoded(IPV4, IP, (h) => h.length + plainSum(FRAME, IP, IP + 20)),
    },
    'parse TCP header': {
      inner: INNER,
      ours: () =>
        tcp.check(view, TCP, end) === undefined
          ? tcp.sourcePort(view, TCP) +
            tcp.destinationPort(view, TCP) +
            tcp.sequenceNumber(view, TCP) +
            tcp.acknowledgmentNumber(view, TCP) +
            tcp.headerLength(view, TCP) +
            tcp.flags(view, TCP) +
            tcp.window(view, TCP) +
            tcp.urgentPointer(view, TCP)
          : 0,
      other: decoded(TCP_HEADER, TCP, (h) => h.window),
    },
    'parse UDP header': {
      inner: INNER,
      ours: () =>
        udp.check(view, UDP, end) === undefined
          ? udp.sourcePort(view, UDP) + udp.destinationPort(view, UDP) + udp.udpLength(view, UDP)
          : 0,
      other: decoded(UDP_HEADER, UDP, (h) => h.length),
    },
    ...checksumTask('1460 B', 1460, INNER, sums),
    ...checksumTask('64 KB', 65_536, INNER_LARGE, sums),
    ...copyTask('1460 B', 1460, INNER, buffers, slabs),
    ...copyTask('64 KB', 65_536, INNER_LARGE, buffers, slabs),
  };
  for (const [name, { inner, ours, other }] of Object.entries(tasks)) {
    if (!wanted(name)) continue;
    const bench = new Bench({ time: quick ? 150 : 600, warmupTime: 100 });
    bench.add('ours', repeated(ours, inner));
    bench.add('other', repeated(other, inner));
    await bench.run();
    const [a, b] = bench.tasks.map((task) => medianOf(task) / inner);
    say(row(name, a ?? 0, lessIsBetter('ns'), b ?? 0));
  }
}

/** What the last run gave: a result that nobody looks at may be compiled away. */
export let kept = 0;

/**
 * @param {() => number} run
 * @param {number} times
 */
function repeated(run, times) {
  return () => {
    let total = 0;
    for (let i = 0; i < times; i++) total += run();
    kept = total;
  };
}

/**
 * Median time of one call, in nanoseconds.
 * @param {import('tinybench').Task} task
 */
function medianOf({ name, result }) {
  if (result.state !== 'completed') throw new Error(`${name} ended as ${result.state}`);
  return result.latency.p50 * 1e6;
}

/**
 * @param {string} label
 * @param {number} size
 * @param {number} inner
 * @param {{ sum(view: DataView, from: number, to: number): number, finish(total: number): number }} sums
 */
function checksumTask(label, size, inner, sums) {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7) & 255);
  const view = new DataView(bytes.buffer);
  return {
    [`checksum ${label}`]: {
      inner,
      ours: () => sums.finish(sums.sum(view, 0, size)),
      other: () => plainSum(bytes, 0, size),
    },
  };
}

/**
 * @param {Uint8Array} bytes
 * @param {number} from
 * @param {number} to
 */
function plainSum(bytes, from, to) {
  let total = 0;
  for (let at = from; at + 1 < to; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/**
 * The one copy of the way down: into the send buffer, and out of it again when it is acknowledged.
 *
 * @param {string} label
 * @param {number} size
 * @param {number} inner
 * @param {any} buffers
 * @param {any} slabs
 */
function copyTask(label, size, inner, buffers, slabs) {
  const from = Buffer.alloc(size, 7);
  const into = Buffer.alloc(size);
  const pools = { small: new slabs.SlabPool(4096, 64), large: new slabs.SlabPool(65_536, 64) };
  const buffer = buffers.createSendBuffer(pools, 1 << 20);
  return {
    [`copy ${label} into the send buffer`]: {
      inner,
      ours: () => {
        const taken = buffers.write(buffer, from, 0, size);
        buffers.ack(buffer, taken);
        return taken;
      },
      other: () => from.copy(into, 0),
    },
  };
}

// The same headers in buffer-layout's words.

const { blob, struct, u8, u16be, u32be } = /** @type {any} */ (layout);
const ETHERNET = struct([blob(6, 'destination'), blob(6, 'source'), u16be('type')]);
const IPV4 = struct([
  u8('versionIhl'),
  u8('tos'),
  u16be('length'),
  u16be('id'),
  u16be('flagsOffset'),
  u8('ttl'),
  u8('protocol'),
  u16be('checksum'),
  u32be('source'),
  u32be('destination'),
]);
const TCP_HEADER = struct([
  u16be('source'),
  u16be('destination'),
  u32be('seq'),
  u32be('ack'),
  u8('offset'),
  u8('flags'),
  u16be('window'),
  u16be('checksum'),
  u16be('urgent'),
]);
const UDP_HEADER = struct([u16be('source'), u16be('destination'), u16be('length'), u16be('checksum')]);

/**
 * @param {{ decode(buffer: Buffer, offset: number): any }} table
 * @param {number} at
 * @param {(header: any) => number} use
 */
function decoded(table, at, use) {
  const buffer = Buffer.from(FRAME.buffer, FRAME.byteOffset, FRAME.length);
  return () => use(table.decode(buffer, at));
}
