// Frames that are nearly right: honest ones of every protocol, changed in a few places.

import { below, type Random } from '../../src/base/random.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import {
  ACK,
  BROADCAST,
  type Bytes,
  bytes,
  checksum,
  concat,
  FIN,
  ipv4,
  mend,
  PSH,
  RST,
  SYN,
  URG,
  udp,
  viewOf,
  word,
} from './craft.ts';
import { SYN_OPTIONS, stamp } from './states.ts';
import {
  ATTACKER,
  ATTACKER_MAC,
  CLOSED_PORT,
  ECHO,
  GROUP,
  OUR_MAC,
  OURS,
  PEER,
  UDP_PEER,
  type Victim,
} from './victim.ts';

const INTERESTING = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 20, 28, 40, 0x45, 0x4f, 0x7f, 0x80, 0x81, 0xfe, 0xff];
const INTERESTING_16 = [
  0, 1, 7, 8, 19, 20, 28, 39, 40, 0x1fff, 0x2000, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xffff,
];

/** Honest frames of a network's life, from the attacker's hand; those of TCP belong to `tcb`, where it stands now. */
export function honest(v: Victim, tcb: Tcb | undefined, port: number, random: Random): Uint8Array {
  const both = { source: ATTACKER, destination: OURS };
  switch (below(random, 16)) {
    case 0:
      return v.arp({ op: 1, sha: ATTACKER_MAC, spa: ATTACKER, tpa: OURS }, BROADCAST);
    case 1:
      return v.arp({ op: 2, sha: ATTACKER_MAC, spa: ATTACKER, tha: OUR_MAC, tpa: OURS });
    case 2:
      return v.icmp(8, 0, random.u32(), bytes(below(random, 100)), {
        options: below(random, 2) ? Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) : new Uint8Array(0),
      });
    case 3:
      return v.icmp([3, 3, 3, 11, 12, 5, 4][below(random, 7)]!, below(random, 6), 552, quoted(tcb, random));
    case 4:
      return group(v, igmpMessage(random));
    case 5:
      return v.udp({ source: 2000 }, bytes(below(random, 200)));
    case 6:
      return v.udp({ source: UDP_PEER, destination: below(random, 2) ? UDP_PEER : CLOSED_PORT }, bytes(20));
    case 7: {
      const packet = ipv4(
        { ...both, destination: GROUP, protocol: 17 },
        udp({ ...both, destination: GROUP }, { source: 1, destination: 6000 }, bytes(9)),
      );
      return v.frame(packet, 0x0800, Uint8Array.of(1, 0, 0x5e, 1, 2, 3));
    }
    case 8:
    case 9: {
      const whole = udp(both, { source: 2000, destination: ECHO }, bytes(64));
      const at = 24 * below(random, 3);
      const last = at === 48;
      return v.ip(
        { protocol: 17, id: below(random, 8), fragment: (at >> 3) | (last ? 0 : 0x2000) },
        whole.subarray(at, last ? 72 : at + 24),
      );
    }
    case 10:
      return v.tcp({
        flags: SYN,
        source: 1024 + below(random, 60_000),
        seq: random.u32(),
        options: SYN_OPTIONS,
      });
    default:
      return segmentOf(v, tcb, port, random);
  }
}

/** A segment that fits the connection at hand, with every option there is. */
function segmentOf(v: Victim, tcb: Tcb | undefined, port: number, random: Random): Uint8Array {
  const flags = [ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK, URG | ACK][
    below(random, 9)
  ]!;
  if (tcb === undefined) return v.tcp({ flags, source: port, seq: random.u32(), options: SYN_OPTIONS });
  const { una, nxt } = tcb.snd;
  const sack = concat(Uint8Array.of(5, 10), new Uint8Array(8));
  viewOf(sack).setUint32(2, (una + below(random, 20)) >>> 0);
  viewOf(sack).setUint32(6, (una + 20 + below(random, 20)) >>> 0);
  const options = [
    stamp(tcb, below(random, 3)),
    concat(stamp(tcb), sack, Uint8Array.of(1, 1)),
    concat(stamp(tcb), Uint8Array.of(34, 10), bytes(8), Uint8Array.of(1, 1)),
    SYN_OPTIONS,
  ][below(random, 4)]!;
  return v.spoof(
    {
      flags,
      seq: tcb.receiveBuffer.nxt + [0, 0, 0, 1, -1, 100][below(random, 6)]!,
      ack: [nxt, nxt, una, una + 1, nxt + 1][below(random, 5)]!,
      window: [0, 1, 1000, 65_535][below(random, 4)]!,
      urgent: below(random, 30),
      options,
    },
    bytes(below(random, 4) === 0 ? below(random, 1400) : below(random, 20)),
    tcb,
  );
}

function quoted(tcb: Tcb | undefined, random: Random): Uint8Array {
  const body = new Uint8Array(8 + below(random, 40));
  const w = viewOf(body);
  w.setUint16(0, tcb?.localPort ?? ECHO);
  w.setUint16(2, tcb?.remotePort ?? 2000);
  w.setUint32(4, tcb?.snd.una ?? 0);
  const protocol = [6, 6, 17, 1][below(random, 4)]!;
  return ipv4(
    { source: OURS, destination: tcb?.remote.w3 ?? PEER, protocol, fragment: 0x4000, total: 1500 },
    body,
  );
}

function igmpMessage(random: Random): Bytes {
  const b = [
    concat(Uint8Array.of(0x11, 10, 0, 0, 0, 0, 0, 0)),
    concat(Uint8Array.of(0x11, 1, 0, 0, 239, 1, 2, 3, 2, 125, 0, 2), bytes(8)),
    concat(Uint8Array.of(0x16, 0, 0, 0, 239, 1, 2, 3)),
    concat(Uint8Array.of(0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 1, 239, 1, 2, 3), bytes(4)),
  ][below(random, 4)]!;
  viewOf(b).setUint16(2, checksum(b, 0, b.length));
  return b;
}

function group(v: Victim, message: Uint8Array): Bytes {
  const packet = ipv4(
    {
      source: ATTACKER,
      destination: word('224.0.0.1'),
      protocol: 2,
      ttl: 1,
      options: Uint8Array.of(148, 4, 0, 0),
    },
    message,
  );
  return v.frame(packet, 0x0800, Uint8Array.of(1, 0, 0x5e, 0, 0, 1));
}

/** A few changes to a copy of `frame`; `other` lends bytes. Half of the results have right lengths and checksums again. */
export function mutate(frame: Uint8Array, other: Uint8Array, random: Random): Bytes {
  let b = new Uint8Array(frame);
  for (let n = below(random, 5); n >= 0 && b.length > 0; n--) b = change(b, other, random);
  // Mostly the link header stays, or nothing would get in.
  if (below(random, 8) !== 0) b.set(frame.subarray(0, Math.min(14, frame.length, b.length)), 0);
  const at = b.length > 18 && viewOf(b).getUint16(12) === 0x8100 ? 18 : 14;
  if (below(random, 2) === 0 && b.length >= at + 20 && viewOf(b).getUint16(at - 2) === 0x0800) {
    if (below(random, 4) !== 0) viewOf(b).setUint16(at + 2, b.length - at);
    mend(b);
  }
  return b;
}

function change(b: Bytes, other: Uint8Array, random: Random): Bytes {
  // Headers are where the code is.
  const at = below(random, below(random, 5) === 0 ? b.length : Math.min(b.length, 90));
  const view = viewOf(b);
  switch (below(random, 9)) {
    case 0:
    case 1:
      b[at]! ^= 1 << below(random, 8);
      return b;
    case 2:
      b[at] = below(random, 256);
      return b;
    case 3:
      b[at] = INTERESTING[below(random, INTERESTING.length)]!;
      return b;
    case 4:
      if (at + 2 <= b.length) view.setUint16(at, INTERESTING_16[below(random, INTERESTING_16.length)]!);
      return b;
    case 5:
      return b.slice(0, at);
    case 6:
      return concat(
        b,
        bytes(1 + below(random, below(random, 20) === 0 ? 1400 : 60), () => below(random, 256)),
      );
    case 7: {
      const n = Math.min(1 + below(random, 20), other.length - Math.min(at, other.length), b.length - at);
      b.set(other.subarray(at, at + n), at);
      return b;
    }
    default: {
      // A piece twice, or not at all.
      const n = 1 + below(random, 12);
      return below(random, 2) === 0
        ? concat(b.subarray(0, at + n), b.subarray(at))
        : concat(b.subarray(0, at), b.subarray(at + n));
    }
  }
}
