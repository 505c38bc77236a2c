// Hostile classes 7 to 19: IPv4 headers, options and addresses.

import { expect } from 'vitest';
import { below, type Random } from '../../src/base/random.ts';
import { BROADCAST, bytes, concat, icmp, ipv4, mac, SYN, udp, word } from './craft.ts';
import { hostile } from './table.ts';
import { ATTACKER, CLOSED_PORT, OUR_MAC, OURS, PEER, SUBNET_BROADCAST, type Victim } from './victim.ts';

const both = { source: ATTACKER, destination: OURS };
const echoRequest = (length: number) => icmp(8, 0, 0x12340001, bytes(length));

/** TCP to the listener, UDP to the echo service and to nobody, and a ping: what would be answered if the header were good. */
function tempting(v: Victim, i: number, ip: Parameters<Victim['tcp']>[2]): Uint8Array {
  if (i % 4 === 0) return v.tcp({ flags: SYN, source: 1024 + i }, undefined, ip);
  if (i % 4 === 1) return v.udp({ source: 2000 }, bytes(10), ip);
  if (i % 4 === 2) return v.udp({ destination: CLOSED_PORT }, bytes(10), ip);
  return v.ip({ protocol: 1, ...ip }, echoRequest(16));
}

hostile(7, 'IPv4 total length below the header length', {
  verdicts: ['bad total length'],
  variant: (v, i, random) => {
    const options = bytes(4 * below(random, 11), () => 1);
    return tempting(v, i, { options, total: below(random, 20 + options.length) });
  },
});

hostile(8, 'IPv4 total length that leaves TCP less than its header', {
  verdicts: ['bad total length', 'truncated'],
  variant: (v, i, random) =>
    v.tcp({ flags: i & 255 }, bytes(below(random, 100)), { total: below(random, 40) }),
});

hostile(9, 'IHL below 5 or beyond the packet, and other versions', {
  verdicts: ['bad header length', 'bad total length', 'truncated', 'bad version'],
  variant(v, i, random) {
    if (i % 3 === 0) return tempting(v, i, { ihl: below(random, 5) });
    if (i % 3 === 1) return tempting(v, i, { version: (5 + below(random, 15)) & 15 });
    // More header than packet, and then more than frame.
    const ihl = 12 + below(random, 4);
    if (i & 1) return v.ip({ protocol: 1, ihl, total: 28 }, echoRequest(0));
    return v.ip({ protocol: 1, ihl, total: ihl * 4 }, echoRequest(0));
  },
});

hostile(10, 'total length above what came is dropped; what follows the packet is cut off', {
  verdicts: ['truncated', 'taken'],
  answers: ['udp', 'icmp 0/0'],
  variant(v, i, random) {
    const payload = bytes(below(random, 200));
    if (i % 3 === 0) {
      const body = udp(both, { source: 2000, destination: 7 }, payload);
      return v.ip({ protocol: 17, total: 21 + body.length + below(random, 60_000) }, body);
    }
    // The referee wants the answer to be as long as the packet was.
    const honest =
      i % 3 === 1 ? v.udp({ source: 2000 }, payload) : v.ip({ protocol: 1 }, echoRequest(below(random, 99)));
    return concat(
      honest,
      bytes(1 + below(random, 100), () => 0xee),
    );
  },
  after(v) {
    const tcb = v.connect(4321);
    v.inject(concat(v.spoof({ flags: 24 }, bytes(10), tcb), bytes(30)));
    expect(tcb.stats.bytesIn).toBe(10);
  },
});

function route(type: number, random: Random): Uint8Array {
  const hops = 1 + below(random, 4);
  const list = bytes(4 * hops, () => below(random, 256));
  return concat(Uint8Array.of(type, 3 + list.length, below(random, 256)), list);
}

hostile(11, 'source routes, several and broken: dropped, and never copied into an error', {
  verdicts: ['source route', 'bad option'],
  answers: ['icmp 12/0'],
  variant(v, i, random) {
    const one = route(i & 1 ? 131 : 137, random);
    const options = i % 3 === 0 ? concat(one, route(131, random)).subarray(0, 40) : one;
    // Beyond the header, or shorter than an option can be.
    if (i % 5 === 0) options[1] = i & 1 ? below(random, 2) : 41 + below(random, 200);
    return tempting(v, i, { options });
  },
});

hostile(12, 'source routes in fragments that overlap the options', {
  verdicts: ['source route'],
  variant(v, i, random) {
    const options = route(131, random);
    const ip = { protocol: 17, id: i, options };
    const body = udp(both, { source: 2000, destination: 7 }, bytes(60));
    return [
      v.ip({ ...ip, fragment: 0x2000 }, body.subarray(0, 24)),
      v.ip({ ...ip, fragment: below(random, 3) }, body.subarray(16)),
    ];
  },
  after: (v) => expect(v.stack.ipv4.reassembly.size).toBe(0),
});

hostile(13, 'options that call for an ICMP error: the quote is bounded, and so is the rate', {
  verdicts: ['bad option', 'no socket'],
  answers: ['icmp 12/0', 'icmp 3/3'],
  variant(v, i, random) {
    const payload = bytes(below(random, 1430));
    // Fine options to a port where nobody is: the error quotes a header of up to 60 bytes.
    if (i & 1) {
      const options = concat(Uint8Array.of(68, 36, 5, 0), bytes(4 * below(random, 9)));
      options[1] = options.length;
      return v.udp({ destination: CLOSED_PORT }, payload, {
        options: options.length < 8 ? bytes(4, () => 1) : options,
      });
    }
    const bad = [
      [130, 0],
      [130, 1],
      [7, 200, 4],
      [7, 3, 1],
      [68, 2],
      [148, 3, 0],
      [1, 1, 1, 130],
    ][below(random, 7)]!;
    return v.udp({ destination: CLOSED_PORT }, payload, { options: Uint8Array.from(bad) });
  },
  after(v, { answers }) {
    // Six at once, then one a second, in a second.
    expect([...answers.values()].reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(8);
    expect(v.stack.counters().icmp.icmpOutRateLimited).toBeGreaterThan(9000);
  },
});

hostile(14, 'ICMP errors whose quoted packet is a fragment, is cut, or has options beyond the end', {
  verdicts: ['bad icmp', 'icmp ignored', 'truncated'],
  variant(v, i, random) {
    const type = [3, 11, 12][below(random, 3)]!;
    const quoted = ipv4(
      { source: OURS, destination: PEER, protocol: 6, ...lie(i, random) },
      bytes(8 + below(random, 20)),
    );
    const cut = i % 7 === 0 ? below(random, 28) : quoted.length;
    const whole = v.icmp(type, below(random, 2), 0, quoted.subarray(0, cut));
    return i % 11 === 0
      ? v.ip({ protocol: 1 }, icmp(type, 0, 0, quoted).subarray(0, below(random, 8)))
      : whole;
  },
});

function lie(i: number, random: Random) {
  switch (i % 7) {
    case 1:
      return { ihl: below(random, 5) };
    case 2:
      return { ihl: 15, options: bytes(4) };
    case 3:
      return { fragment: 1 + below(random, 0x1fff) };
    case 4:
      return { version: 6 };
    case 5:
      return { total: below(random, 28) };
    case 6:
      return { source: PEER }; // not a packet of ours
    default:
      return {};
  }
}

hostile(15, 'echo with options: the reply goes to the source, and carries none', {
  verdicts: ['taken', 'source route'],
  answers: ['icmp 0/0'],
  variant(v, i, random) {
    const options = [
      concat(Uint8Array.of(7, 7, 4), bytes(4)), // record route
      concat(Uint8Array.of(68, 12, 5, 1), bytes(8)), // timestamps with addresses
      concat(Uint8Array.of(0x5e, 8), bytes(6)), // unknown
      Uint8Array.of(148, 4, 0, 0), // router alert
      concat(Uint8Array.of(131, 7, 4), Uint8Array.of(10, 0, 9, 9)), // by way of another host
    ][i % 5]!;
    return v.ip({ protocol: 1, options }, echoRequest(below(random, 1000)));
  },
});

hostile(16, 'LAND: from our own address', {
  verdicts: ['martian source'],
  variant: (v, i) =>
    i & 1
      ? v.tcp({ flags: SYN, source: 7, destination: 7, seq: i }, undefined, { source: OURS })
      : tempting(v, i >> 1, { source: OURS }),
  after: (v) => expect(v.stack.tcp.count).toBe(1),
});

const MARTIANS = [
  ...['127.0.0.1', '127.9.9.9', '0.0.0.0', '0.1.2.3', '224.0.0.1', '239.255.255.250', '240.0.0.1'],
  ...['255.255.255.255', '10.0.255.255'],
].map(word);

hostile(17, 'martian sources: loopback, network 0, groups, class E, broadcasts', {
  verdicts: ['martian source'],
  variant: (v, i) => tempting(v, Math.floor(i / MARTIANS.length), { source: MARTIANS[i % MARTIANS.length]! }),
});

hostile(18, 'loopback and other impossible destinations on the wire', {
  verdicts: ['martian destination'],
  variant(v, i, random) {
    const nets = [127, 0, 240, 250];
    const destination = (nets[i & 3]! << 24) | (i & 4 ? 1 : below(random, 0xfffffe));
    return tempting(v, i >> 3, { destination });
  },
});

hostile(19, 'broadcast and multicast: no reset and no ICMP error, whoever sends what to where', {
  verdicts: ['martian destination', 'bad destination', 'no socket', 'icmp ignored'],
  variant(v, i, random) {
    const groups = [SUBNET_BROADCAST, -1, word('224.0.0.1')];
    const link = i & 1 ? BROADCAST : Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
    const linkOnly = i % 5 === 0;
    const destination = linkOnly ? OURS : groups[below(random, 3)]!;
    const frame = tempting(v, below(random, 4), { destination });
    frame.set(link.subarray(0, 6), 0);
    // A broadcast address inside a frame for us alone is no better.
    if (!linkOnly && i % 3 === 0) frame.set(OUR_MAC, 0);
    return frame;
  },
  after: (v) => expect(v.inject(v.frame(bytes(40), 0x0800, mac(9))).verdict).toBe('not for us'),
});
