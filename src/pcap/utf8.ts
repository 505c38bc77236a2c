// UTF-8 for the strings of capture files (RFC 3629), without TextEncoder: the portable core has none.

/**
 * The UTF-8 bytes of `text`, at most `most` of them: a character that does not fit whole is left out, and all after it.
 * A lone surrogate becomes U+FFFD.
 */
export function encodeUtf8(text: string, most: number = Number.POSITIVE_INFINITY): Uint8Array {
  const out = new Uint8Array(Math.min(most, text.length * 3));
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code >= 0xd800 && code <= 0xdfff) {
      const low = text.charCodeAt(i + 1);
      if (code < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i++;
      } else {
        code = 0xfffd;
      }
    }
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
    if (at + size > out.length) break;
    if (size === 1) {
      out[at++] = code;
      continue;
    }
    // RFC 3629 3: the first octet carries the length, the others six bits each.
    out[at++] = (size === 2 ? 0xc0 : size === 3 ? 0xe0 : 0xf0) | (code >> (6 * (size - 1)));
    for (let shift = 6 * (size - 2); shift >= 0; shift -= 6) out[at++] = 0x80 | ((code >> shift) & 0x3f);
  }
  return out.subarray(0, at);
}

/** The text of UTF-8 bytes [from, to). Each byte that belongs to no valid character becomes U+FFFD (RFC 3629 10). */
export function decodeUtf8(bytes: Uint8Array, from = 0, to: number = bytes.length): string {
  let text = '';
  for (let at = from; at < to; ) {
    const first = bytes[at]!;
    const size =
      first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size === 1) {
      text += String.fromCharCode(first);
      at++;
      continue;
    }
    const code = size === 0 || at + size > to ? -1 : sequence(bytes, at, size);
    text += code < 0 ? '\ufffd' : String.fromCodePoint(code);
    at += code < 0 ? 1 : size;
  }
  return text;
}

/** The character of a sequence of 2 to 4 bytes; -1 when it is overlong, a surrogate, too large or broken. */
function sequence(bytes: Uint8Array, at: number, size: number): number {
  let code = bytes[at]! & (0x7f >> size);
  for (let i = 1; i < size; i++) {
    const next = bytes[at + i]!;
    if ((next & 0xc0) !== 0x80) return -1;
    code = (code << 6) | (next & 0x3f);
  }
  const least = size === 2 ? 0x80 : size === 3 ? 0x800 : 0x1_0000;
  return code < least || code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff) ? -1 : code;
}
