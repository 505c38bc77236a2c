import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Address, v4 } from '../../src/base/address.ts';
import { ETHERTYPE_IPV4 } from '../../src/base/netif.ts';
import { makeFrames } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { SECOND } from '../../src/base/time.ts';
import { TimerQueue } from '../../src/base/timers.ts';
import {
  DELAY_FIRST_PROBE_TIME,
  FAILED_HOLD,
  hasAddress,
  IN_USE,
  LOCK_TIME,
  type Neighbour,
  NeighbourCache,
  STALE_TIME,
} from '../../src/ether/neighbour.ts';
import { PENDING_BYTES, PENDING_PACKETS, PENDING_TOTAL_BYTES, restore } from '../../src/ether/pending.ts';

const PEER = v4(0x0a000001);
const MAC_A = Uint8Array.of(2, 0, 0, 0, 0, 0xa);
const MAC_B = Uint8Array.of(2, 0, 0, 0, 0, 0xb);

function rig(limit = 1024) {
  const clock = { now: 1_000 * SECOND };
  const timers = new TimerQueue();
  const asked: { address: string; unicast: boolean; at: number }[] = [];
  const resolved: Neighbour[] = [];
  const given: number[] = [];
  const failed: { neighbour: Neighbour; packets: number }[] = [];
  const cache = new NeighbourCache(
    {
      clock,
      timers,
      random: seededRandom(1),
      solicit: (n, unicast) => asked.push({ address: String(n.address), unicast, at: clock.now }),
      resolved: (n) => {
        resolved.push(n);
        for (let p = cache.takePending(n); p !== undefined; p = cache.takePending(n)) given.push(p.length);
      },
      unreachable: (neighbour, packets) => failed.push({ neighbour, packets: packets.length }),
    },
    limit,
  );
  const [frame] = makeFrames(1);
  const send = (address = PEER, length = 20): boolean | 'now' => {
    const known = cache.lookup(address);
    if (known !== undefined && cache.use(known)) return 'now';
    frame!.reset().put(length);
    return cache.enqueue(address, frame!, ETHERTYPE_IPV4);
  };
  const pass = (micros: number) => {
    for (const end = clock.now + micros; ; ) {
      const next = timers.next();
      if (next > end) {
        clock.now = end;
        timers.advance(end);
        return;
      }
      clock.now = Math.max(clock.now, next);
      timers.advance(clock.now);
    }
  };
  const answer = (mac = MAC_A, flags = { solicited: true, override: true }) =>
    cache.advertise(PEER, mac, flags);
  const stateOf = (address = PEER) => cache.lookup(address)?.state;
  return { cache, clock, timers, asked, resolved, given, failed, frame: frame!, send, pass, answer, stateOf };
}

describe('RFC 4861 7.2.2: resolving an address', () => {
  it('asks all at once, keeps the packet, and gives it back when the answer comes', () => {
    const r = rig();
    expect(r.send()).toBe(true);
    expect(r.asked).toEqual([{ address: '10.0.0.1', unicast: false, at: r.clock.now }]);
    expect(r.stateOf()).toBe('INCOMPLETE');
    expect(r.answer()).toBe(true);
    expect(r.stateOf()).toBe('REACHABLE');
    const [neighbour] = r.resolved;
    expect(neighbour!.mac).toEqual(MAC_A);
    expect(r.given).toEqual([20]);
    expect(r.send()).toBe('now');
  });

  it('RFC 1122 2.3.2.1: asks once a second at most, three times, however many packets come', () => {
    const r = rig();
    const begin = r.clock.now;
    for (let i = 0; i < 25; i++) {
      r.send();
      r.pass(SECOND / 10);
    }
    expect(r.asked.map((a) => a.at - begin)).toEqual([0, SECOND, 2 * SECOND]);
    r.pass(SECOND);
    expect(r.asked.length).toBe(3);
  });

  it('reports the packets as lost after three seconds of silence, and fails at once for a while', () => {
    const r = rig();
    r.send();
    r.send();
    r.pass(3 * SECOND - 1);
    expect(r.failed).toEqual([]);
    r.pass(1);
    expect(r.failed.map((f) => f.packets)).toEqual([2]);
    expect(r.send()).toBe(false);
    r.pass(FAILED_HOLD);
    expect(r.stateOf()).toBeUndefined();
    expect(r.send()).toBe(true);
    expect(r.asked.length).toBe(4);
  });

  it('takes a late answer during the hold-off', () => {
    const r = rig();
    r.send();
    r.pass(3 * SECOND);
    expect(r.stateOf()).toBe('FAILED');
    r.answer();
    expect(r.send()).toBe('now');
  });

  it('an answer that was not asked for resolves to STALE, and the packets that waited start DELAY', () => {
    const r = rig();
    r.cache.resolve(PEER);
    r.answer(MAC_A, { solicited: false, override: false });
    expect(r.stateOf()).toBe('STALE');
    const q = rig();
    q.send();
    q.cache.learn(PEER, MAC_A, false);
    expect(q.stateOf()).toBe('DELAY');
    expect(q.resolved.length).toBe(1);
  });

  it('the newest packets are kept when too many wait, and never more bytes than allowed', () => {
    const r = rig();
    for (let i = 1; i <= PENDING_PACKETS + 5; i++) r.send(PEER, i);
    const neighbour = r.cache.lookup(PEER)!;
    expect(neighbour.pending.map((p) => p.length)).toEqual(
      Array.from({ length: PENDING_PACKETS }, (_, i) => i + 6),
    );
    expect(r.cache.discards).toBe(5);
    const big = new Slab(new Uint8Array(65_000));
    for (let i = 0; i < 4; i++) {
      r.frame.reset().attach(big, 0, 65_000);
      r.cache.enqueue(PEER, r.frame, ETHERTYPE_IPV4);
      expect(neighbour.pendingBytes).toBeLessThanOrEqual(PENDING_BYTES);
    }
    let all = 0;
    for (let i = 0; i < 60; i++) {
      r.frame.reset().attach(big, 0, 65_000);
      r.cache.enqueue(v4(0x0a000100 + i), r.frame, ETHERTYPE_IPV4);
    }
    for (const n of r.cache.entries) all += n.pendingBytes;
    expect(all).toBeLessThanOrEqual(PENDING_TOTAL_BYTES);
  });

  it('a packet kept is a packet given back: bytes, segment size, pending checksum and note', () => {
    const r = rig();
    for (const length of [40, 1500, 30_000]) {
      const payload = Uint8Array.from({ length }, (_, i) => i & 255);
      const slab = new Slab(payload);
      const at = r.frame.reset().put(40);
      r.frame.bytes.fill(7, at, at + 40);
      r.frame.attach(slab, 0, length);
      r.frame.gsoSize = 1448;
      r.frame.checksumStart = at + 20;
      r.frame.checksumOffset = 16;
      r.frame.note = 'why';
      const before = new Uint8Array(r.frame.length);
      r.frame.copyTo(before, 0);
      r.cache.enqueue(v4(length), r.frame, ETHERTYPE_IPV4);
      expect(slab.refs).toBe(0);
      r.frame.bytes.fill(0);
      restore(r.cache.takePending(r.cache.lookup(v4(length))!)!, r.frame);
      const after = new Uint8Array(r.frame.length);
      r.frame.copyTo(after, 0);
      expect(after).toEqual(before);
      expect(r.frame.gsoSize).toBe(1448);
      expect(r.frame.checksumStart).toBe(r.frame.head + 20);
      expect(r.frame.checksumOffset).toBe(16);
      expect(r.frame.note).toBe('why');
      r.frame.reset();
    }
  });
});

describe('RFC 4861 7.3.3: watching a neighbour', () => {
  it('goes stale, is delayed by the next packet, probed by unicast, and comes back', () => {
    const r = rig();
    r.send();
    r.answer();
    r.pass(45 * SECOND);
    expect(r.stateOf()).toBe('STALE');
    expect(r.asked.length).toBe(1);
    expect(r.send()).toBe('now');
    expect(r.stateOf()).toBe('DELAY');
    r.pass(DELAY_FIRST_PROBE_TIME);
    expect(r.stateOf()).toBe('PROBE');
    expect(r.asked.at(-1)).toMatchObject({ unicast: true });
    r.answer();
    expect(r.stateOf()).toBe('REACHABLE');
  });

  it('is forgotten after three unanswered probes', () => {
    const r = rig();
    r.send();
    r.answer();
    r.pass(45 * SECOND);
    r.send();
    r.pass(DELAY_FIRST_PROBE_TIME + 3 * SECOND);
    expect(r.asked.filter((a) => a.unicast).length).toBe(3);
    expect(r.stateOf()).toBeUndefined();
  });

  it('7.3.1: advice from above keeps it reachable without a single probe', () => {
    const r = rig();
    r.send();
    r.answer();
    for (let i = 0; i < 600; i++) {
      r.pass(SECOND);
      r.cache.confirm(r.cache.lookup(PEER)!);
      expect(r.stateOf()).toBe('REACHABLE');
    }
    expect(r.asked.length).toBe(1);
  });

  it('7.3.1: advice has no effect without a link address', () => {
    const r = rig();
    r.send();
    r.cache.confirm(r.cache.lookup(PEER)!);
    expect(r.stateOf()).toBe('INCOMPLETE');
  });

  it('an unused entry goes after a while', () => {
    const r = rig();
    r.cache.learn(PEER, MAC_A, true);
    r.pass(STALE_TIME);
    expect(r.cache.size).toBe(0);
    expect(r.timers.armed).toBe(0);
  });
});

describe('RFC 4861 7.2.5 and Appendix C: answers about a known neighbour', () => {
  const known = () => {
    const r = rig();
    r.send();
    r.answer();
    return r;
  };

  it('another address without override: kept, and doubted', () => {
    const r = known();
    expect(r.answer(MAC_B, { solicited: true, override: false })).toBe(false);
    expect(r.stateOf()).toBe('STALE');
    expect(r.cache.lookup(PEER)!.mac).toEqual(MAC_A);
  });

  it('another address with override: taken', () => {
    const r = known();
    expect(r.answer(MAC_B, { solicited: true, override: true })).toBe(true);
    expect(r.stateOf()).toBe('REACHABLE');
    expect(r.cache.lookup(PEER)!.mac).toEqual(MAC_B);
    const q = known();
    q.answer(MAC_B, { solicited: false, override: true });
    expect(q.stateOf()).toBe('STALE');
  });

  it('the same address unasked: no proof that we are heard', () => {
    const r = known();
    r.pass(45 * SECOND);
    r.answer(MAC_A, { solicited: false, override: true });
    expect(r.stateOf()).toBe('STALE');
  });

  it('hostile 5: an answer makes no entry', () => {
    const r = rig();
    expect(r.answer()).toBe(false);
    expect(r.cache.size).toBe(0);
  });

  it('a request with a new address is believed, but not within a second of a confirmation', () => {
    const r = known();
    expect(r.cache.learn(PEER, MAC_B, true)).toBe(false);
    r.pass(LOCK_TIME);
    expect(r.cache.learn(PEER, MAC_B, true)).toBe(true);
    expect(r.stateOf()).toBe('STALE');
    expect(r.cache.lookup(PEER)!.mac).toEqual(MAC_B);
  });
});

describe('static entries', () => {
  it('never change and never expire, and send what waited', () => {
    const r = rig();
    r.send();
    const pinned = r.cache.addStatic(PEER, MAC_A);
    expect(r.resolved).toEqual([pinned]);
    expect(r.given).toEqual([20]);
    r.answer(MAC_B);
    r.cache.learn(PEER, MAC_B, true);
    r.cache.confirm(pinned);
    r.pass(STALE_TIME * 2);
    expect(r.send()).toBe('now');
    expect(r.cache.lookup(PEER)!.mac).toEqual(MAC_A);
    r.cache.clear();
    expect(r.cache.size).toBe(1);
    r.cache.clear(true);
    expect(r.cache.size).toBe(0);
  });
});

describe('a link that goes down', () => {
  it('loses what waited for a static neighbour, too: nobody would send it any more', () => {
    const r = rig();
    const pinned = r.cache.addStatic(PEER, MAC_A);
    const [frame] = makeFrames(1);
    frame!.reset().put(20);
    expect(r.cache.enqueue(PEER, frame!, ETHERTYPE_IPV4)).toBe(true);
    expect(r.cache.use(pinned)).toBe(false); // behind what waits
    r.cache.clear();
    expect(r.cache.discards).toBe(1);
    expect(r.cache.use(pinned)).toBe(true);
  });
});

describe('RFC 6583: a full cache', () => {
  it('floods take each other’s places, never those of neighbours in use', () => {
    const r = rig(64);
    const inUse = Array.from({ length: 16 }, (_, i) => v4(0x0a000001 + i));
    for (const a of inUse) {
      r.send(a);
      r.cache.advertise(a, MAC_A, { solicited: true, override: true });
    }
    for (let i = 0; i < 5_000; i++) {
      r.send(v4(0x0b000000 + i));
      r.cache.learn(v4(0x0c000000 + i), MAC_B, true);
      expect(r.cache.size).toBeLessThanOrEqual(64);
    }
    for (const a of inUse) expect(r.send(a)).toBe('now');
    expect(r.timers.size).toBeLessThanOrEqual(64);
  });

  it('a new neighbour outlives a full round of the flood', () => {
    const r = rig(64);
    for (let i = 0; i < 64; i++) r.send(v4(0x0b000000 + i));
    r.send(PEER);
    for (let i = 0; i < 60; i++) r.send(v4(0x0c000000 + i));
    expect(r.stateOf()).toBe('INCOMPLETE');
  });

  it('says no when all are in use, and has room again a minute after', () => {
    const r = rig(4);
    for (let i = 0; i < 4; i++) {
      const a = v4(0x0a000010 + i);
      r.send(a);
      r.cache.advertise(a, MAC_A, { solicited: true, override: true });
    }
    expect(r.send()).toBe(false);
    expect(r.cache.refusals).toBe(1);
    r.pass(IN_USE + 1);
    expect(r.send()).toBe(true);
  });
});

describe('laws', () => {
  const address = fc.oneof(
    fc.integer({ min: 0, max: 12 }).map((n) => v4(0x0a000000 + n)),
    fc.integer({ min: 0, max: 12 }).map((n) => new Address(0x20010db8, n, 0, 1)),
  );
  const mac = fc.constantFrom(MAC_A, MAC_B);
  const step = fc.oneof(
    fc.record({ do: fc.constant('send' as const), address }),
    fc.record({ do: fc.constant('learn' as const), address, mac, create: fc.boolean() }),
    fc.record({
      do: fc.constant('advertise' as const),
      address,
      mac: fc.option(mac, { nil: undefined }),
      solicited: fc.boolean(),
      override: fc.boolean(),
    }),
    fc.record({ do: fc.constant('confirm' as const), address }),
    fc.record({ do: fc.constant('remove' as const), address }),
    fc.record({ do: fc.constant('pass' as const), micros: fc.integer({ min: 0, max: 40 * SECOND }) }),
  );

  it('whatever happens: bounds hold, lookups agree with the list, and a request goes out at most once a second', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const r = rig(8);
        const last = new Map<string, number>();
        let seen = 0;
        for (const s of steps) {
          if (s.do === 'send') r.send(s.address);
          else if (s.do === 'learn') r.cache.learn(s.address, s.mac, s.create);
          else if (s.do === 'advertise') r.cache.advertise(s.address, s.mac, s);
          else if (s.do === 'remove') {
            r.cache.remove(s.address);
            last.delete(String(s.address));
          } else if (s.do === 'pass') r.pass(s.micros);
          else {
            const n = r.cache.lookup(s.address);
            if (n !== undefined) r.cache.confirm(n);
          }
          expect(r.cache.size).toBeLessThanOrEqual(8);
          for (const n of r.cache.entries) {
            expect(r.cache.lookup(n.address)).toBe(n);
            expect(n.live).toBe(true);
            expect(n.pending.length).toBeLessThanOrEqual(PENDING_PACKETS);
            // Every entry that is not reachable for ever has a deadline: nothing lingers.
            expect(n.timer.deadline).toBeLessThan(Number.POSITIVE_INFINITY);
            expect(hasAddress(n)).toBe(n.mac.some((b) => b !== 0));
          }
          expect(r.timers.size).toBe(r.cache.size);
          for (; seen < r.asked.length; seen++) {
            const { address: who, at } = r.asked[seen]!;
            // An evicted entry forgets when it last asked; without eviction the limit is strict.
            if (r.cache.evictions === 0) {
              expect(at - (last.get(who) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(SECOND);
            }
            last.set(who, at);
          }
        }
        r.cache.clear(true);
        expect(r.timers.size).toBe(0);
      }),
    );
  });
});
