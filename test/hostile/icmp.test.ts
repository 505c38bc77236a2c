// Hostile classes 57 to 67: IGMP and ICMP.

import { expect, test } from 'vitest';
import { v4 } from '../../src/base/address.ts';
import { below } from '../../src/base/random.ts';
import { MINUTE, SECOND } from '../../src/base/time.ts';
import { PMTU_FLOOR } from '../../src/ipv4/pmtu.ts';
import { info, open, send } from '../../src/tcp/calls.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { BROADCAST, bytes, checksum, concat, icmp, ipv4, RST, SYN, udp, viewOf, word } from './craft.ts';
import { hostile } from './table.ts';
import {
  ATTACKER,
  CLOSED_PORT,
  ECHO,
  GROUP,
  OURS,
  PEER,
  SUBNET_BROADCAST,
  UDP_PEER,
  Victim,
  Witness,
} from './victim.ts';

const ALL_SYSTEMS = word('224.0.0.1');
const ALL_SYSTEMS_MAC = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);

/** An IGMP message to all systems, its checksum right. */
function igmp(v: Victim, body: Uint8Array, sum?: number): Uint8Array {
  const message = body.slice();
  if (message.length >= 4) {
    viewOf(message).setUint16(2, 0);
    viewOf(message).setUint16(2, sum ?? checksum(message, 0, message.length));
  }
  const packet = ipv4(
    { source: ATTACKER, destination: ALL_SYSTEMS, protocol: 2, ttl: 1, options: Uint8Array.of(148, 4, 0, 0) },
    message,
  );
  return v.frame(packet, 0x0800, ALL_SYSTEMS_MAC);
}

function query(group: number, sources: number, claimed = sources, code = 1): Uint8Array {
  const b = concat(
    Uint8Array.of(0x11, code, 0, 0, 0, 0, 0, 0, 0x0f, 255, claimed >> 8, claimed & 255),
    bytes(4 * sources),
  );
  viewOf(b).setInt32(4, group);
  return b;
}

hostile(57, 'IGMP that is cut, counts more sources than it has, or asks for no group', {
  verdicts: ['truncated', 'bad checksum', 'bad length', 'bad destination', 'unknown protocol'],
  variant(v, i, random) {
    switch (i % 6) {
      case 0:
        return igmp(v, query(GROUP, 2).subarray(0, below(random, 8)));
      case 1:
        return igmp(v, query(GROUP, 2), below(random, 0x100));
      case 2: // RFC 3376 7.1: longer than version 2, shorter than version 3
        return igmp(v, query(0, 0).subarray(0, 9 + below(random, 3)));
      case 3:
        return igmp(v, query(GROUP, 2, 3 + below(random, 65_000)));
      case 4: // a unicast address for a group
        return igmp(v, query(PEER, 0));
      default:
        return igmp(v, concat(Uint8Array.of(0x80 | below(random, 128)), bytes(11)));
    }
  },
});

hostile(57, 'IGMP reports without sources, with auxiliary data, and queries without end', {
  verdicts: ['taken'],
  variant(v, i, random) {
    const records = below(random, 65_536);
    switch (i % 4) {
      case 0: // a report that tells more records than it has
        return igmp(
          v,
          concat(
            Uint8Array.of(0x22, 0, 0, 0, 0, 0, records >> 8, records & 255),
            bytes(8, () => 0),
          ),
        );
      case 1:
        return igmp(
          v,
          concat(Uint8Array.of(0x22, 0, 0, 0, 0, 0, 0, 1), Uint8Array.of(1, 255, 0, 0), bytes(4)),
        );
      case 2: // a general query, and one for sources of our group
        return igmp(v, query(0, 0));
      default:
        return igmp(v, query(GROUP, below(random, 300)));
    }
  },
  answers: ['igmp'],
  after(v) {
    // Five thousand queries within a second are answered by the earliest of the delays they draw (RFC 3376 5.2), not each.
    const { igmpOutReports } = v.stack.counters().igmp;
    expect(igmpOutReports).toBeGreaterThan(2);
    expect(igmpOutReports).toBeLessThan(300);
  },
});

hostile(58, 'ICMP of less than eight bytes', {
  verdicts: ['truncated'],
  variant: (v, i, random) =>
    v.ip({ protocol: 1 }, icmp(i & 255, 0, 0, bytes(0)).subarray(0, below(random, 8))),
});

hostile(59, 'an echo request shorter than its header is not answered from old memory', {
  verdicts: ['truncated', 'taken'],
  answers: ['icmp 0/0'],
  variant(v, i, random) {
    const length = below(random, 40);
    const request = icmp(8, 0, 0x5555_0001, bytes(length));
    // With a length that is right for what is there, the answer has that length: the referee looks.
    if (i & 1)
      return concat(
        v.ip({ protocol: 1 }, request),
        bytes(below(random, 20), () => 0xcc),
      );
    return v.ip({ protocol: 1, total: 20 + below(random, 8) }, request);
  },
});

test('hostile 59: an echo of nothing but zeros has a right checksum (RFC 1624 3: +0 and -0)', () => {
  const v = new Victim();
  for (const code of [0, 7]) {
    for (const length of [0, 1, 56, 1400]) {
      const { answers } = v.inject(v.icmp(8, code, 0, new Uint8Array(length)));
      expect(answers.map((a) => a.kind)).toEqual(['icmp 0/0']);
    }
  }
  v.checkFouls();
});

hostile(60, 'Address Mask, Timestamp and Information messages change and tell nothing', {
  verdicts: ['icmp ignored'],
  variant: (v, i, random) =>
    v.icmp(
      [18, 17, 13, 14, 15, 16][i % 6]!,
      below(random, 2),
      below(random, 0xffffffff),
      bytes(4, () => 255),
    ),
  after(v) {
    expect(v.netif.addresses.map((a) => `${a.address}/${a.prefixLength}`)).toEqual(['10.0.0.1/16']);
    expect(v.stack.counters().icmp.icmpInIgnored).toBe(10_000);
  },
});

hostile(61, 'smurf: pings to broadcast and multicast addresses, in the name of the peer', {
  verdicts: ['icmp ignored', 'martian destination'],
  variant(v, i) {
    const destination = [SUBNET_BROADCAST, -1, ALL_SYSTEMS, OURS][i & 3]!;
    const to = destination === ALL_SYSTEMS ? ALL_SYSTEMS_MAC : BROADCAST;
    return v.frame(ipv4({ source: PEER, destination, protocol: 1 }, icmp(8, 0, i, bytes(32))), 0x0800, to);
  },
});

/** What an ICMP error quotes of a segment of `tcb` with sequence number `seq`. */
function quote(tcb: Tcb, seq: number, total = 1500): Uint8Array {
  const head = new Uint8Array(8);
  const w = viewOf(head);
  w.setUint16(0, tcb.localPort);
  w.setUint16(2, tcb.remotePort);
  w.setUint32(4, seq >>> 0);
  return ipv4(
    { source: tcb.local.w3, destination: tcb.remote.w3, protocol: 6, fragment: 0x4000, total },
    head,
  );
}

hostile(62, 'blind ICMP errors with a guessed four-tuple do not end a connection', {
  verdicts: ['taken'],
  variant: (v, i, random) =>
    v.icmp(3, [2, 3, 0, 1, 5][i % 5]!, 0, quote(v.served, i & 1 ? random.u32() : v.served.snd.una), {
      source: PEER,
    }),
  after(v) {
    expect(v.served.softError).toBeUndefined();
    // Even one that quotes what is really in flight is only a soft error for an open connection (RFC 5927 5.2).
    send(v.served, bytes(100), 0, 100);
    v.turn();
    for (const code of [2, 3])
      v.inject(v.icmp(3, code, 0, quote(v.served, v.served.snd.una), { source: PEER }));
    expect([v.served.state, v.served.softError]).toEqual(['ESTABLISHED', 'ECONNREFUSED']);
  },
});

test('hostile 62: an opening connection is refused only by an error that quotes its SYN', () => {
  const v = new Victim();
  const user = new Witness();
  const tcb = open(v.stack.tcp, { remote: v4(ATTACKER), remotePort: 80, user }) as Tcb;
  v.turn();
  v.flood(1000, (_i, random) => v.icmp(3, 3, 0, quote(tcb, random.u32())));
  expect(tcb.state).toBe('SYN-SENT');
  v.inject(v.icmp(3, 3, 0, quote(tcb, tcb.iss)));
  expect(user.events).toEqual(['closed ECONNREFUSED']);
});

hostile(63, 'Source Quench changes nothing', {
  verdicts: ['icmp ignored'],
  before(v) {
    send(v.served, bytes(100), 0, 100);
    v.turn();
  },
  variant: (v) => v.icmp(4, 0, 0, quote(v.served, v.served.snd.una), { source: PEER }),
  after: (v) => expect(info(v.served)).toMatchObject({ phase: 'open', ssthresh: Number.POSITIVE_INFINITY }),
});

const MTUS = [0, 1, 67, 68, 256, 551, 552, 1006, 1499, 1500, 1501, 9000, 65_535];

hostile(64, 'forged Fragmentation Needed of every size, about nothing that is in flight', {
  verdicts: ['icmp ignored'],
  variant(v, i, random) {
    const mtu = MTUS[i % MTUS.length]!;
    const seq =
      i & 1 ? v.served.snd.una - 1 - below(random, 100_000) : v.served.snd.nxt + below(random, 100_000);
    return v.icmp(3, 4, mtu, quote(v.served, seq), { source: PEER });
  },
  after: (v) =>
    expect([v.stack.ipv4.pathMtus.size, v.served.path.mtu, info(v.served).pmtu]).toEqual([0, 1500, 1500]),
});

hostile(64, 'forged Fragmentation Needed about UDP that may be fragmented', {
  verdicts: ['icmp ignored'],
  variant(v, i) {
    const body = udp(
      { source: OURS, destination: PEER },
      { source: [ECHO, UDP_PEER][i & 1]!, destination: UDP_PEER },
      bytes(0),
    );
    const quoted = ipv4(
      { source: OURS, destination: PEER, protocol: 17, fragment: 0x4000, total: 1500 },
      body,
    );
    return v.icmp(3, 4, MTUS[i % MTUS.length]!, quoted, { source: word('10.0.0.254') });
  },
  after: (v) => expect(v.stack.ipv4.pathMtus.size).toBe(0),
});

test('hostile 64: who sees our segments can narrow the path to the floor, not below, and never widen it', () => {
  const v = new Victim();
  const blast = (mtu: number) => {
    send(v.served, bytes(4000), 0, 4000);
    v.turn();
    const { verdict } = v.inject(v.icmp(3, 4, mtu, quote(v.served, v.served.snd.una), { source: PEER }));
    const pmtu = info(v.served).pmtu;
    v.pass(3 * SECOND);
    return [verdict, pmtu];
  };
  expect(blast(67)).toEqual(['icmp ignored', 1500]);
  expect(blast(1600)).toEqual(['icmp ignored', 1500]);
  expect(blast(1400)).toEqual(['taken', 1400]);
  expect(blast(1450)).toEqual(['icmp ignored', 1400]);
  expect(blast(68)).toEqual(['taken', PMTU_FLOOR]);
  v.alive();
  v.pass(11 * MINUTE);
  expect(v.stack.ipv4.pathMtus.size).toBe(0);
  v.alive();
});

hostile(65, 'redirects, whoever they name', {
  verdicts: ['icmp ignored'],
  variant(v, i) {
    const gateways = [
      '10.0.0.157',
      '8.8.8.8',
      '10.0.0.1',
      '10.0.255.255',
      '255.255.255.255',
      '0.0.0.0',
      '127.0.0.1',
    ];
    const gateway = word(gateways[i % gateways.length]!);
    return v.icmp(5, i & 3, gateway, quote(v.served, v.served.snd.una), { source: word('10.0.0.254') });
  },
  after(v) {
    for (const to of ['10.0.0.2', '8.8.8.8']) {
      const route = v.stack.routes.lookup(v4(word(to)), undefined, 0);
      expect(typeof route === 'object' && `${route.nextHop}`).toBe(to === '8.8.8.8' ? '10.0.0.254' : to);
    }
    expect(v.stack.routes.list().filter((r) => r.kind === 'static').length).toBe(1);
  },
});

/** Answers to `count` datagrams to closed ports, each in the name of another host that can be reached. */
function closedPorts(seed: number, count: number): number {
  const v = new Victim({ seed });
  let answers = 0;
  for (let i = 0; i < count; i++) {
    const source = word('10.0.2.0') + i;
    v.netif.neighbours.addStatic(v4(source), new Uint8Array([2, 0, 0, 0, 1, i & 255]));
    answers += v.inject(v.udp({ destination: 10_000 + i }, bytes(8), { source })).answers.length;
  }
  v.checkFouls();
  return answers;
}

test('hostile 66: the limit on ICMP errors cannot be counted (SAD DNS)', () => {
  const counts = Array.from({ length: 8 }, (_, seed) => closedPorts(seed + 1, 200));
  // All of them bounded, not all the same.
  for (const n of counts) {
    expect(n).toBeGreaterThan(10);
    expect(n).toBeLessThanOrEqual(50);
  }
  expect(new Set(counts).size).toBeGreaterThan(2);
});

hostile(66, 'UDP to closed ports at a high rate', {
  verdicts: ['no socket'],
  answers: ['icmp 3/3'],
  variant: (v, i) => v.udp({ destination: CLOSED_PORT + (i % 1000) }, bytes(600)),
  after: (_v, { answers }) => expect(answers.get('icmp 3/3')).toBeLessThanOrEqual(8),
});

test('hostile 67: challenge ACKs are counted by connection, and not to a fixed number', () => {
  const v = new Victim();
  const counts: number[] = [];
  for (let port = 3000; port < 3040; port++) {
    const tcb = v.connect(port);
    let n = 0;
    for (let i = 0; i < 50; i++)
      n += v.inject(v.spoof({ flags: i & 1 ? SYN : RST, seq: tcb.receiveBuffer.nxt + 10 }, undefined, tcb))
        .answers.length;
    counts.push(n);
  }
  for (const n of counts) {
    expect(n).toBeGreaterThanOrEqual(5);
    expect(n).toBeLessThanOrEqual(15);
  }
  expect(new Set(counts).size).toBeGreaterThan(4);
  // And what others spent takes nothing from the honest one.
  expect(
    v.inject(v.spoof({ flags: RST, seq: v.served.receiveBuffer.nxt + 10 })).answers.map((a) => a.kind),
  ).toEqual(['tcp ACK']);
  v.checkFouls();
  v.alive();
});
