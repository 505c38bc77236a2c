// TCP options: MSS (RFC 9293 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018, 2883), Fast Open (RFC 7413).
//
//    kind 0  end of list     kind 1  no-operation
//    kind 2  length 4        maximum segment size (16 bits)                    SYN only
//    kind 3  length 3        window scale, a shift count                       SYN only
//    kind 4  length 2        SACK permitted                                    SYN only
//    kind 5  length 8n + 2   SACK blocks: left edge, right edge (32 bits each)
//    kind 8  length 10       timestamps: TSval, TSecr (32 bits each)
//    kind 34 length 2, 6–18  Fast Open: request, or a cookie                   SYN only

const END_OF_LIST = 0;
const NO_OPERATION = 1;
const MSS = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;
const FAST_OPEN = 34;

/** Largest shift count (RFC 7323 2.3): with more, a window could span half the sequence space. */
export const MAX_WINDOW_SCALE = 14;
/** Blocks that fit in 40 bytes of options. */
export const MAX_SACK_BLOCKS = 4;
/** Bytes of the timestamps option in its usual form, two no-operations first (RFC 7323 appendix A). */
export const TIMESTAMPS_LENGTH = 12;
/** NOP, NOP, kind 8, length 10: what nearly every segment of a connection with timestamps starts with. */
const TIMESTAMPS_PREFIX = 0x0101080a;
const SACK_PREFIX = 0x01010500;

/** What the options of one segment said. One record is reused for every segment. */
export interface Options {
  /** Send MSS the peer asks for; 0 when absent (or when the peer says 0, which can mean nothing). */
  mss: number;
  /** Shift count 0 to 14; -1 when absent. */
  windowScale: number;
  sackPermitted: boolean;
  /** The timestamps option is there. */
  timestamps: boolean;
  tsval: number;
  tsecr: number;
  /** Blocks in {@link sack}, 0 to 4. Their edges are the peer's word: nothing has been checked against SND.UNA and SND.NXT. */
  sackCount: number;
  /** left 0, right 0, left 1, right 1 … */
  readonly sack: number[];
  /** The Fast Open option is there; without cookie bytes it asks for a cookie (RFC 7413 4.1.1). */
  fastOpen: boolean;
  /** The cookie's place in the view it was parsed from, and its bytes: 0 or 4 to 16. */
  fastOpenAt: number;
  fastOpenLength: number;
}

export function createOptions(): Options {
  return {
    mss: 0,
    windowScale: -1,
    sackPermitted: false,
    timestamps: false,
    tsval: 0,
    tsecr: 0,
    sackCount: 0,
    sack: new Array<number>(2 * MAX_SACK_BLOCKS).fill(0),
    fastOpen: false,
    fastOpenAt: 0,
    fastOpenLength: 0,
  };
}

/**
 * Reads the options in [at, end) of `view` into `into`, which is cleared first. Never fails: it takes what is well formed.
 *
 * An option with a wrong length for its kind is ignored; a length below 2 or past the end stops the reading, since
 * nothing after it can be found (MUST-7). Of two options of one kind the first well-formed one counts. MSS, window
 * scale, SACK-permitted and Fast Open count only when `syn`, SACK only when not.
 */
export function parseOptions(view: DataView, at: number, end: number, syn: boolean, into: Options): void {
  clear(into);
  let i = at;
  if (end - at >= TIMESTAMPS_LENGTH && view.getUint32(at) === TIMESTAMPS_PREFIX) {
    into.timestamps = true;
    into.tsval = view.getUint32(at + 4);
    into.tsecr = view.getUint32(at + 8);
    i = at + TIMESTAMPS_LENGTH;
  }
  // MUST-5: options in any segment. MUST-64: they may start at any byte.
  while (i < end) {
    const kind = view.getUint8(i);
    if (kind === END_OF_LIST) return; // what follows is padding, whatever it holds (MUST-69)
    if (kind === NO_OPERATION) {
      i++;
      continue;
    }
    if (i + 1 >= end) return;
    const length = view.getUint8(i + 1);
    if (length < 2 || i + length > end) return; // MUST-7
    if (syn) parseSynOption(kind, view, i, length, into);
    else if (kind === SACK) parseSack(view, i, length, into);
    if (kind === TIMESTAMPS && length === 10 && !into.timestamps) {
      into.timestamps = true;
      into.tsval = view.getUint32(i + 2);
      into.tsecr = view.getUint32(i + 6);
    }
    i += length; // MUST-6, MUST-68: an unknown option is stepped over by its length
  }
}

function clear(into: Options): void {
  into.mss = 0;
  into.windowScale = -1;
  into.sackPermitted = false;
  into.timestamps = false;
  into.tsval = 0;
  into.tsecr = 0;
  into.sackCount = 0;
  into.fastOpen = false;
  into.fastOpenAt = 0;
  into.fastOpenLength = 0;
}

function parseSynOption(kind: number, view: DataView, at: number, length: number, into: Options): void {
  if (kind === MSS) {
    if (length === 4 && into.mss === 0) into.mss = view.getUint16(at + 2);
  } else if (kind === WINDOW_SCALE) {
    // RFC 7323 2.3: a shift count above 14 is taken as 14.
    if (length === 3 && into.windowScale < 0) {
      into.windowScale = Math.min(view.getUint8(at + 2), MAX_WINDOW_SCALE);
    }
  } else if (kind === SACK_PERMITTED) {
    if (length === 2) into.sackPermitted = true;
  } else if (kind === FAST_OPEN) {
    parseFastOpen(at, length, into);
  }
}

/** RFC 7413 2: no cookie, or one of 4 to 16 bytes, an even number of them. */
function parseFastOpen(at: number, length: number, into: Options): void {
  const cookie = length - 2;
  if (into.fastOpen || (cookie !== 0 && (cookie < 4 || cookie > 16 || (cookie & 1) !== 0))) return;
  into.fastOpen = true;
  into.fastOpenAt = at + 2;
  into.fastOpenLength = cookie;
}

/** RFC 2018 3: 8n + 2 bytes, n from 1 to 4. */
function parseSack(view: DataView, at: number, length: number, into: Options): void {
  const bytes = length - 2;
  if (into.sackCount !== 0 || bytes === 0 || (bytes & 7) !== 0) return;
  const count = Math.min(bytes >> 3, MAX_SACK_BLOCKS);
  for (let i = 0; i < 2 * count; i++) into.sack[i] = view.getUint32(at + 2 + 4 * i);
  into.sackCount = count;
}

/** Writes the MSS option (4 bytes) and returns the offset after it, as all writers here do. */
export function writeMss(view: DataView, at: number, mss: number): number {
  view.setUint32(at, ((MSS << 24) | (4 << 16) | mss) >>> 0);
  return at + 4;
}

/** Writes the window scale option (3 bytes). */
export function writeWindowScale(view: DataView, at: number, shift: number): number {
  view.setUint8(at, WINDOW_SCALE);
  view.setUint8(at + 1, 3);
  view.setUint8(at + 2, shift);
  return at + 3;
}

/** Writes the SACK-permitted option (2 bytes). */
export function writeSackPermitted(view: DataView, at: number): number {
  view.setUint16(at, (SACK_PERMITTED << 8) | 2);
  return at + 2;
}

/** Writes a no-operation (1 byte), to align what follows. */
export function writeNop(view: DataView, at: number): number {
  view.setUint8(at, NO_OPERATION);
  return at + 1;
}

/** Writes two no-operations and the timestamps option (12 bytes), aligned as RFC 7323 appendix A advises. */
export function writeTimestamps(view: DataView, at: number, tsval: number, tsecr: number): number {
  view.setUint32(at, TIMESTAMPS_PREFIX);
  view.setUint32(at + 4, tsval);
  view.setUint32(at + 8, tsecr);
  return at + TIMESTAMPS_LENGTH;
}

/** Bytes of options that {@link writeSack} needs for `count` blocks. */
export function sackLength(count: number): number {
  return count === 0 ? 0 : 4 + 8 * count;
}

/** Writes two no-operations and `count` SACK blocks (4 + 8n bytes): left, right, left, right … of `blocks`. Nothing for none. */
export function writeSack(view: DataView, at: number, blocks: readonly number[], count: number): number {
  if (count === 0) return at;
  view.setUint32(at, SACK_PREFIX | (2 + 8 * count));
  for (let i = 0; i < 2 * count; i++) view.setUint32(at + 4 + 4 * i, blocks[i]!);
  return at + sackLength(count);
}

/** Writes a Fast Open option: the cookie in [offset, offset + length) of `cookie`, or with length 0 the wish for one. */
export function writeFastOpen(
  view: DataView,
  at: number,
  cookie: Uint8Array,
  offset: number,
  length: number,
): number {
  view.setUint8(at, FAST_OPEN);
  view.setUint8(at + 1, 2 + length);
  for (let i = 0; i < length; i++) view.setUint8(at + 2 + i, cookie[offset + i]!);
  return at + 2 + length;
}

/** Fills up to a multiple of 4 bytes from `start` with zeros: the end of the list, then padding (MUST-69). */
export function pad(view: DataView, at: number, start: number): number {
  let i = at;
  while (((i - start) & 3) !== 0) view.setUint8(i++, END_OF_LIST);
  return i;
}
