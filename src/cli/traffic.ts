// Rates for the live status line: differences of counters over the time between two looks.

import { bytes, count } from './report.ts';

/** Counters that only grow, at one moment. */
export interface Totals {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
}

/** What moved a second between two looks. */
export interface Rates {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
}

/** Remembers the last look, and gives the rates since. */
export class RateMeter {
  #last: Totals;
  #at: number;

  constructor(totals: Totals, milliseconds: number) {
    this.#last = { ...totals };
    this.#at = milliseconds;
  }

  /** The rates since the last look; zero when no time has passed. */
  look(totals: Totals, milliseconds: number): Rates {
    const seconds = (milliseconds - this.#at) / 1000;
    const last = this.#last;
    this.#last = { ...totals };
    this.#at = milliseconds;
    const rate = (now: number, then: number) => (seconds > 0 ? (now - then) / seconds : 0);
    return {
      rxFrames: rate(totals.rxFrames, last.rxFrames),
      rxBytes: rate(totals.rxBytes, last.rxBytes),
      txFrames: rate(totals.txFrames, last.txFrames),
      txBytes: rate(totals.txBytes, last.txBytes),
    };
  }
}

/** `in 1.2 MB/s 950 frames/s · out 3.4 kB/s 12 frames/s · 3 connections · 0 dropped` */
export function statusLine(rates: Rates, connections: number, dropped: number): string {
  return [
    `in ${bytes(rates.rxBytes)}/s ${count(rates.rxFrames)} frames/s`,
    `out ${bytes(rates.txBytes)}/s ${count(rates.txFrames)} frames/s`,
    `${count(connections)} connection${connections === 1 ? '' : 's'}`,
    `${count(dropped)} dropped`,
  ].join(' · ');
}
