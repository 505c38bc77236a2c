// Endless bytes with a pattern, and the part of them that an HTTP Range asks for (RFC 9110 14).

/** The pattern repeats after a prime, so that a block lost, doubled or moved by any power of two shows. */
const PERIOD = 251;
/** Bytes handed over at a time. */
const BLOCK = 64 * 1024;

/** One block from every phase of the pattern: the bytes are never made twice. */
const SOURCE = Uint8Array.from({ length: BLOCK + PERIOD }, (_, i) => i % PERIOD);

/** Byte number `position` of the pattern. */
export function patternByte(position: number): number {
  return position % PERIOD;
}

/** The pattern from `from` to `to` (not included), as views of one shared buffer: for reading only. */
export function* pattern(from: number, to: number): Generator<Uint8Array> {
  for (let at = from; at < to; ) {
    const phase = at % PERIOD;
    const length = Math.min(BLOCK, to - at);
    yield SOURCE.subarray(phase, phase + length);
    at += length;
  }
}

/** A part of a resource: bytes `from` to `to` (not included). */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/**
 * What a Range header asks of a resource of `size` bytes: one range, `unsatisfiable` (416), or `undefined` when the header is
 * to be ignored: another unit, a bad one, or several ranges (RFC 9110 14.2: a server may ignore any Range).
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/i.exec(header?.replaceAll(' ', '') ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return undefined;
    // A suffix: the last N bytes (14.1.2).
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { from: size - length, to: size };
  }
  const from = Number(first);
  const to = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < from) return undefined;
  return from >= size ? 'unsatisfiable' : { from, to };
}
