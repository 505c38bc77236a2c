// 48-bit link addresses (EUI-48) as plain six-byte arrays.

/** Six bytes in transmission order. */
export type Mac = Uint8Array;

export const MAC_LENGTH = 6;
export const BROADCAST_MAC: Mac = new Uint8Array([255, 255, 255, 255, 255, 255]);

/** Parses `02:00:00:00:00:01` (or with `-`); `undefined` when it is no link address. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
}

/** Lower-case hex with colons. */
export function formatMac(mac: Uint8Array, at = 0): string {
  let text = '';
  for (let i = 0; i < MAC_LENGTH; i++) {
    text += (i === 0 ? '' : ':') + (mac[at + i] ?? 0).toString(16).padStart(2, '0');
  }
  return text;
}

export function macEquals(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < MAC_LENGTH; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}

/** True when the group bit (the lowest bit of the first octet) is set: multicast or broadcast. */
export function isGroupMac(bytes: Uint8Array, at = 0): boolean {
  return ((bytes[at] ?? 0) & 1) !== 0;
}

export function isBroadcastMac(bytes: Uint8Array, at = 0): boolean {
  return macEquals(bytes, at, BROADCAST_MAC, 0);
}
