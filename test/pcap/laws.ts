// What holds for every reader of captures, whatever the format.

import { expect } from 'vitest';
import { openCapture, SniffingReader } from '../../src/pcap/open.ts';
import type { CaptureRecord } from '../../src/pcap/record.ts';

/** Bytes in pieces of `cut` give the records and the error that they give as a whole. */
export function expectPiecesToEqualWhole(bytes: Uint8Array, cut: number): void {
  const reader = new SniffingReader();
  const pieces: CaptureRecord[] = [];
  for (let at = 0; at < bytes.length; at += cut) pieces.push(...reader.push(bytes.slice(at, at + cut)));
  const error = reader.finish();
  const { records, error: same } = openCapture(bytes);
  expect(error).toEqual(same);
  expect(pieces.filter((record) => record.kind !== 'error')).toEqual(records);
}
