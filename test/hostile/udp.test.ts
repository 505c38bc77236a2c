// Hostile classes 108 to 111, 136 and 137: UDP, the services above it, sizes from the wire, and peers that do not read.

import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { Packet } from '../../src/base/packet.ts';
import { below } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { HOUR, SECOND } from '../../src/base/time.ts';
import { chargenDatagrams, discardDatagrams, echoDatagrams } from '../../src/cli/services/simple.ts';
import { send } from '../../src/tcp/calls.ts';
import { ACK, bytes, concat, FIN, ipv4, PSH, SYN, udp } from './craft.ts';
import { HOLD, SYN_OPTIONS, theirs } from './states.ts';
import { hostile } from './table.ts';
import { ATTACKER, ECHO, OURS, PEER, UDP_PEER, Victim, Witness } from './victim.ts';

const both = { source: ATTACKER, destination: OURS };

/** Port Unreachable about a datagram of the connected socket's. */
function unreachable(v: Victim): Uint8Array {
  const body = udp(
    { source: OURS, destination: PEER },
    { source: UDP_PEER, destination: UDP_PEER },
    bytes(8),
  );
  return v.icmp(3, 3, 0, ipv4({ source: OURS, destination: PEER, protocol: 17 }, body), { source: PEER });
}

test('hostile 108: a storm of Port Unreachable for a connected socket is one error, however long it lasts', () => {
  const v = new Victim();
  const frame = unreachable(v);
  const packet = new Packet();
  const slab = new Slab(frame);
  for (let i = 0; i < 10_000; i++) {
    expect(v.stack.input(v.netif, packet.set(slab, 0, frame.length))).toBeUndefined();
  }
  expect(v.udpErrors).toEqual([]);
  v.turn();
  expect(v.udpErrors).toEqual(['ECONNREFUSED']);
  v.alive();
});

hostile(108, 'Port Unreachable that concerns no connected socket', {
  verdicts: ['taken', 'bad icmp'],
  variant(v, i, random) {
    const ports = { source: i & 1 ? ECHO : below(random, 65_536), destination: below(random, 65_536) };
    const body = udp({ source: OURS, destination: PEER }, ports, bytes(8));
    const source = i % 5 === 0 ? ATTACKER : OURS;
    return v.icmp(3, 3, 0, ipv4({ source, destination: PEER, protocol: 17 }, body), { source: PEER });
  },
  after: (v) => expect(v.udpErrors).toEqual([]),
});

hostile(109, 'UDP lengths that lie: too short, too long, and shorter than what came', {
  verdicts: ['bad length', 'truncated', 'taken'],
  answers: ['udp'],
  variant(v, i, random) {
    const payload = bytes(10 + below(random, 100));
    if (i % 4 === 0) return v.udp({ source: 2000, length: below(random, 8) }, payload);
    if (i % 4 === 1)
      return v.udp({ source: 2000, length: payload.length + 9 + below(random, 60_000) }, payload);
    if (i % 4 === 2) {
      return v.ip(
        { protocol: 17 },
        udp(both, { source: 2000, destination: 7 }, payload).subarray(0, below(random, 8)),
      );
    }
    // Less than IP carries: the answer has that length, as the referee sees, and the rest is nobody's.
    return v.udp({ source: 2000, length: 8 + below(random, payload.length) }, payload);
  },
});

/** Stands for a dgram socket. */
class Line extends EventEmitter {
  readonly sent: { length: number; port: number }[] = [];
  send(message: Uint8Array, port: number): void {
    this.sent.push({ length: message.length, port });
  }
  getSendQueueSize(): number {
    return 0;
  }
  hear(length: number, port: number): void {
    this.emit('message', Buffer.alloc(length), { address: '10.0.0.1', port });
  }
}

test('hostile 110: two services joined by a forged datagram do not talk for ever', () => {
  const services = { 7: echoDatagrams, 9: discardDatagrams, 19: chargenDatagrams } as const;
  for (const [here, mine] of Object.entries(services)) {
    for (const [there, yours] of Object.entries(services)) {
      const [a, b] = [new Line(), new Line()];
      (mine as typeof echoDatagrams)(a as never);
      (yours as typeof echoDatagrams)(b as never);
      // Everything a sends, b hears, and the other way round, for as long as there is anything.
      a.hear(1, Number(there));
      let rounds = 0;
      for (let moved = true; moved && rounds < 100; rounds++) {
        moved = false;
        for (const [from, to, port] of [
          [a, b, Number(here)],
          [b, a, Number(there)],
        ] as const) {
          for (const { length } of from.sent.splice(0)) {
            moved = true;
            to.hear(length, port);
          }
        }
      }
      expect(rounds, `${here} and ${there}`).toBeLessThanOrEqual(1);
    }
  }
});

hostile(111, 'UDP to port 0 is dropped, from port 0 is heard and not answered', {
  verdicts: ['bad port', 'taken'],
  variant: (v, i) =>
    i & 1 ? v.udp({ source: 0 }, bytes(10)) : v.udp({ source: 2000, destination: 0 }, bytes(10)),
  after: (v) => expect(v.stack.udp.counters.udpInDatagrams).toBe(5000),
});

test('hostile 136: what the wire says of sizes allocates nothing', () => {
  const v = new Victim();
  // Fragments that claim the end of 64 KB, datagrams and queries that claim thousands of records: memory follows what came.
  v.flood(10_000, (i, random) => {
    if (i & 1) return v.ip({ protocol: 17, id: i, fragment: 0x2000 | (8000 + below(random, 180)) }, bytes(8));
    return v.udp({ source: 2000, length: 60_000 + below(random, 5000) }, bytes(4));
  });
  expect(v.stack.ipv4.reassembly.bytes).toBeLessThanOrEqual(64 * (8 + 2 * 192));
  v.alive();
});

test('hostile 137: peers that never read, and never finish what they say', () => {
  const v = new Victim();
  v.listen(HOLD, () => new Witness(), {
    sendBufferLimit: 65_536,
    receiveBufferLimit: 65_536,
    userTimeout: 60 * SECOND,
  });
  let taken = 0;
  for (let i = 0; i < 500; i++) {
    const tcb = v.connect(2000 + i, SYN_OPTIONS, HOLD);
    // Slowloris: a byte now and then.
    v.inject(theirs(v, tcb, { flags: ACK | PSH }, bytes(1)));
    for (let k = 0; k < 10; k++) {
      const n = send(tcb, new Uint8Array(20_000), 0, 20_000);
      taken += n;
      // Back-pressure: the buffer says no, and that is all there is to hold.
      if (n < 20_000) break;
    }
    expect(tcb.sendBuffer.length).toBe(65_536);
    v.turn();
  }
  expect(taken).toBe(500 * 65_536);
  v.checkLimits();
  // Half-open ones that never come to anything, from the same attacker.
  v.flood(5000, (i) => v.tcp({ flags: i & 1 ? SYN : SYN | FIN, source: 5000 + i, destination: HOLD }));
  v.alone(HOUR);
  v.pass(SECOND);
  expect([v.stack.tcp.pools.large.inUse, v.stack.tcp.pools.small.inUse]).toEqual([0, 0]);
  expect(v.stack.tcp.count).toBe(1);
  v.alive();
});

hostile(137, 'datagrams to a socket whose user does not read', {
  verdicts: ['taken', 'queue full'],
  before: (v) => {
    v.groupSocket.paused = true;
  },
  variant: (v, _i, random) => v.udp({ destination: 6000 }, concat(bytes(below(random, 1400)))),
  after(v) {
    expect(v.groupSocket.drops).toBeGreaterThan(5000);
    expect(v.groupSocket.queuedBytes).toBeLessThanOrEqual(v.groupSocket.receiveBuffer);
  },
});
