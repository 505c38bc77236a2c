// The control bits by the letters of scripts: F S R P . U E W and A, Accurate ECN's bit.

import * as tcp from '../tcp/header.ts';

/** Accurate ECN's bit, beside CWR in the byte before (RFC 9768 3.1). */
export const AE = 0x100;

export const FLAG_LETTERS: Readonly<Record<string, number>> = {
  F: tcp.FIN,
  S: tcp.SYN,
  R: tcp.RST,
  P: tcp.PSH,
  '.': tcp.ACK,
  U: tcp.URG,
  E: tcp.ECE,
  W: tcp.CWR,
  A: AE,
};

/** The letters of control bits, the ACK's dot last. */
export function flagText(bits: number): string {
  let text = '';
  for (const [letter, bit] of Object.entries(FLAG_LETTERS)) {
    if (letter !== '.' && (bits & bit) !== 0) text += letter;
  }
  return (bits & tcp.ACK) !== 0 ? `${text}.` : text || '-';
}
