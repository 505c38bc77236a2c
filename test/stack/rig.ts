// One interface on a bench: a port that records, a clock that is set by hand.

import { type Address, type Cidr, parseAddress, parseCidr } from '../../src/base/address.ts';
import { type Mac, parseMac } from '../../src/base/mac.ts';
import type { InterfaceAddress, LinkPort } from '../../src/base/netif.ts';
import { type Frame, Packet } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { SECOND } from '../../src/base/time.ts';
import { TimerQueue } from '../../src/base/timers.ts';
import { Trace } from '../../src/base/trace.ts';
import { Interface, type InterfaceHost, type InterfaceOptions } from '../../src/stack/interface.ts';

export const OURS = parseMac('02:00:00:00:00:01')!;
export const THEIRS = parseMac('02:00:00:00:00:02')!;
export const OTHER = parseMac('02:00:00:00:00:03')!;

export const ip = (text: string): Address => parseAddress(text)!;
export const cidr = (text: string): Cidr => parseCidr(text)!;

/** Records what is sent. `room` frames are taken before it is full. */
export class RecordingPort implements LinkPort {
  readonly mac: Mac = OURS;
  readonly mtu: number;
  readonly sent: { bytes: Uint8Array; note: string | undefined }[] = [];
  room = Number.POSITIVE_INFINITY;

  constructor(mtu = 1500) {
    this.mtu = mtu;
  }

  transmit(frames: readonly Frame[], from: number, to: number): number {
    let at = from;
    for (; at < to && this.room > 0; at++, this.room--) {
      const frame = frames[at]!;
      const bytes = new Uint8Array(frame.length);
      frame.copyTo(bytes, 0);
      this.sent.push({ bytes, note: frame.note });
    }
    return at - from;
  }

  /** What was sent since the last call. */
  take(): Uint8Array[] {
    return this.sent.splice(0).map((s) => s.bytes);
  }
}

export function bench(options: Partial<InterfaceOptions> = {}) {
  const clock = { now: 100 * SECOND };
  const timers = new TimerQueue();
  const port = (options.port as RecordingPort | undefined) ?? new RecordingPort();
  const events: string[] = [];
  const host: InterfaceHost = {
    clock,
    timers,
    random: seededRandom(7),
    trace: new Trace(),
    addressChanged: (_i, a: InterfaceAddress) => events.push(`${a.address} ${a.state}`),
    addressLosing: (_i, a) => events.push(`${a.address} losing`),
    addressConflict: (_i, a, _mac, outcome) => events.push(`${a.address} conflict: ${outcome}`),
    linkChanged: (i) => events.push(i.up ? 'up' : 'down'),
    unreachable: (_i, n, packets) => events.push(`${n.address} unreachable: ${packets.length}`),
  };
  const netif = new Interface(host, 1, { name: 'test0', ...options, port });
  /** Lets time pass, timer by timer, and sends what is due. */
  const pass = (micros: number) => {
    const end = clock.now + micros;
    for (let next = timers.next(); next <= end; next = timers.next()) {
      clock.now = Math.max(clock.now, next);
      timers.advance(clock.now);
      netif.flush();
    }
    clock.now = end;
  };
  const receive = (bytes: Uint8Array) => {
    const verdict = netif.input(new Packet().set(new Slab(bytes), 0, bytes.length));
    netif.flush();
    return verdict;
  };
  return { clock, timers, port, events, netif, host, pass, receive };
}

/** An ARP packet in its frame. `tha` zeros and a broadcast destination unless told otherwise. */
export function arpFrame(
  op: number,
  sha: Mac,
  spa: string,
  tpa: string,
  { to = new Uint8Array(6).fill(255), tha = new Uint8Array(6) }: { to?: Mac; tha?: Mac } = {},
): Uint8Array {
  const bytes = new Uint8Array(60);
  const view = new DataView(bytes.buffer);
  bytes.set(to, 0);
  bytes.set(sha, 6);
  bytes.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op], 12);
  bytes.set(sha, 22);
  view.setInt32(28, ip(spa).w3);
  bytes.set(tha, 32);
  view.setInt32(38, ip(tpa).w3);
  return bytes;
}

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
