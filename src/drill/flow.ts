// One conversation as a script sees it: its ports, and the numbers of the script against those on the wire.
//
// A script counts our sequence numbers from what it says of our SYN, and our timestamps from the first it shows; the peer's
// numbers stand on the wire as written.

import * as seq from '../tcp/seq.ts';

export class Flow {
  readonly localPort: number;
  readonly remotePort: number;
  /** The wire's number less the script's, of what we send; 0 until our SYN is known. */
  localOffset = 0;
  /** Our ISS on the wire; undefined before our SYN was seen. */
  iss: number | undefined;
  /** Shift counts of our window: what the script expects, and what we said. 0 without the option. */
  expectedScale = 0;
  scale = 0;
  /** False once the peer's SYN came without the option: then neither side scales (RFC 7323 2.2). */
  scales = true;
  /** The first timestamp of ours, in the script and on the wire. */
  timestamp: { readonly script: number; readonly wire: number } | undefined;
  readonly #timestamps = new Map<number, number>();

  constructor(localPort: number, remotePort: number) {
    this.localPort = localPort;
    this.remotePort = remotePort;
  }

  /** A SYN of ours that the script shows as `scriptSeq`: from now on that is how its numbers are read. */
  begin(scriptSeq: number, wireSeq: number): void {
    if (this.iss === wireSeq) return;
    this.iss = wireSeq;
    this.localOffset = seq.sub(wireSeq, scriptSeq);
    this.timestamp = undefined;
    this.#timestamps.clear();
  }

  /** A sequence number of ours as it is on the wire. */
  toWire(script: number): number {
    return seq.add(script, this.localOffset);
  }

  /** A sequence number of ours as the script would write it. */
  toScript(wire: number): number {
    return seq.add(wire, -this.localOffset);
  }

  /** Notes that the script calls our timestamp `wire` by `script`. */
  noteTimestamp(script: number, wire: number): void {
    this.timestamp ??= { script, wire };
    this.#timestamps.set(script, wire);
  }

  /** What the peer echoes: the very timestamp that the script calls so, or one as far from the first. */
  echo(script: number): number {
    const exact = this.#timestamps.get(script);
    if (exact !== undefined) return exact;
    return this.timestamp === undefined
      ? script
      : seq.add(script, seq.sub(this.timestamp.wire, this.timestamp.script));
  }

  /** A timestamp of ours as the script would write it. */
  timestampToScript(wire: number): number {
    return this.timestamp === undefined
      ? wire
      : seq.add(wire, seq.sub(this.timestamp.script, this.timestamp.wire));
  }
}
