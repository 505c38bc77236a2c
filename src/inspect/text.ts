// Text from the wire, made safe to show: a terminal must never obey a packet.

/** The bytes [from, to) as text: printable ASCII as it is, everything else as `\xNN`. */
export function printable(bytes: Uint8Array, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    text +=
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}
