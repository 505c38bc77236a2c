// The fuzzer against a router: two links, forwarding on. What is passed on must be what came, one hop older; what is answered
// must be answered as a host would.

import { expect, test } from 'vitest';
import { v4 } from '../../src/base/address.ts';
import { Packet } from '../../src/base/packet.ts';
import { below, type Random, seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { MAX_NEIGHBOURS } from '../../src/ether/neighbour.ts';
import { MAX_BYTES } from '../../src/ipv4/reassembly.ts';
import type { Interface } from '../../src/stack/interface.ts';
import { Stack } from '../../src/stack/stack.ts';
import { cidr, RecordingPort } from '../stack/rig.ts';
import { type Answer, Foul, isGroup, judge, relate, type Self } from './audit.ts';
import {
  ACK,
  bytes,
  checksum,
  ethernet,
  FIN,
  icmp,
  ipv4,
  mac,
  SYN,
  tcp,
  udp,
  viewOf,
  word,
} from './craft.ts';
import { mutate } from './mutate.ts';

const LEFT = word('10.0.0.1');
const RIGHT = word('10.1.0.1');
const FROM = word('10.0.0.157');
const TO = word('10.1.0.2');
const ROUTER_MAC = mac(1);
const FROM_MAC = mac(0x66);
const TO_MAC = mac(3);
/** The right link carries less: what is larger is cut, or complained about. */
const RIGHT_MTU = 1000;
const FRAMES = Number(process.env.HOSTILE_FRAMES ?? 200_000) / 4;
const SEED = Number(process.env.HOSTILE_SEED ?? 20_251);

/** Completes what a device with offload would: the pending checksum. */
class Port extends RecordingPort {
  override transmit(frames: Parameters<RecordingPort['transmit']>[0], from: number, to: number): number {
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      if (f.checksumStart < 0) continue;
      const flat = new Uint8Array(f.length);
      f.copyTo(flat, 0);
      const start = f.checksumStart - f.head;
      f.view.setUint16(f.checksumStart + f.checksumOffset, checksum(flat, start, flat.length));
      f.checksumStart = -1;
    }
    return super.transmit(frames, from, to);
  }
}

class Router {
  now = 1000 * SECOND;
  readonly stack: Stack;
  readonly left: Interface;
  readonly right: Interface;
  readonly ports = [new Port(1500), new Port(RIGHT_MTU)] as const;
  readonly selves: readonly [Self, Self];
  readonly #packet = new Packet();

  constructor(seed: number) {
    this.stack = new Stack({ random: seededRandom(seed), now: this.now, forwarding: true });
    this.left = this.stack.addInterface({ name: 'left', port: this.ports[0] });
    this.right = this.stack.addInterface({ name: 'right', port: this.ports[1] });
    this.left.addAddress(cidr('10.0.0.1/16'), { keep: true });
    this.right.addAddress(cidr('10.1.0.1/16'), { keep: true });
    this.left.neighbours.addStatic(v4(FROM), FROM_MAC);
    this.right.neighbours.addStatic(v4(TO), TO_MAC);
    const link = { mac: ROUTER_MAC, bits: 16, vlan: undefined };
    this.selves = [
      { ...link, address: LEFT, others: [RIGHT], subnet: word('10.0.0.0'), mtu: 1500 },
      { ...link, address: RIGHT, others: [LEFT], subnet: word('10.1.0.0'), mtu: RIGHT_MTU },
    ];
    this.stack.flush();
    this.ports[0].take();
    this.ports[1].take();
  }

  /** Injects a frame on the left link; the frames that left, by link. */
  inject(frame: Uint8Array): { verdict: string; sent: readonly [Uint8Array[], Uint8Array[]] } {
    const verdict = this.stack.input(this.left, this.#packet.set(new Slab(frame.slice()), 0, frame.length));
    this.stack.flush();
    this.stack.deliver();
    return { verdict: verdict ?? 'taken', sent: [this.ports[0].take(), this.ports[1].take()] };
  }

  pass(micros: number): void {
    this.now += micros;
    this.stack.advance(this.now);
    this.stack.flush();
    this.ports[0].take();
    this.ports[1].take();
  }
}

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Foul(what);
}

/** What a router owes a packet that it passes on (RFC 1812 5.2, 5.3). */
function relateForwarded(cause: Uint8Array, sent: Uint8Array, self: Self): void {
  const v = viewOf(sent);
  const c = viewOf(cause);
  must(c.getUint16(12) === 0x0800 || c.getUint16(12) === 0x8100, 'passes on something that is no IPv4');
  const at = c.getUint16(12) === 0x8100 ? 18 : 14;
  const ihl = (sent[14]! & 15) * 4;
  const total = v.getUint16(16);
  must(sent.length === Math.max(60, 14 + total) && total <= self.mtu, 'a forwarded packet of another length');
  for (let i = 14 + total; i < sent.length; i++) must(sent[i] === 0, 'padding is not zero');
  must(checksum(sent, 14, 14 + ihl) === 0, 'wrong checksum after forwarding');
  must((sent[0]! & 1) === 0 && (cause[0]! & 1) === 0, 'forwards what is for a group');
  must(sent[22] === cause[at + 8]! - 1 && sent[22]! > 0, 'TTL is not one less');
  const source = v.getInt32(26);
  const destination = v.getInt32(30);
  must(source === c.getInt32(at + 12) && destination === c.getInt32(at + 16), 'other addresses');
  for (const [name, w] of [
    ['source', source],
    ['destination', destination],
  ] as const) {
    const first = w >>> 24;
    must(first !== 0 && first !== 127 && first < 224 && !isGroup(w), `forwards ${name} ${first}/8`);
    must(w >>> 16 !== 0xa9fe, `forwards link-local ${name}`);
  }
  must(source !== LEFT && source !== RIGHT, 'forwards in our own name');
  must((destination & 0xffff) !== 0xffff, 'forwards a directed broadcast');
  const offset = (v.getUint16(20) & 0x1fff) * 8 - (c.getUint16(at + 6) & 0x1fff) * 8;
  const body = at + (cause[at]! & 15) * 4 + offset;
  for (let i = 0; i < total - ihl; i++) must(sent[14 + ihl + i] === cause[body + i], 'other data');
}

function check(router: Router, cause: Uint8Array, sent: readonly [Uint8Array[], Uint8Array[]]): void {
  let bytesOut = 0;
  for (const side of [0, 1] as const) {
    for (const frame of sent[side]) {
      bytesOut += frame.length;
      const view = viewOf(frame);
      const self = router.selves[side];
      const own = view.getUint16(12) === 0x0806 || [LEFT, RIGHT, 0].includes(view.getInt32(26));
      if (!own) {
        // ARP frees what waited; that was looked at in its time.
        if (viewOf(cause).getUint16(12) !== 0x0806) relateForwarded(cause, frame, self);
        continue;
      }
      const answer: Answer = judge(frame, self);
      relate(cause, answer, self, { hasConnection: () => false });
    }
  }
  // No amplifier: one packet out (in pieces), an answer, or a question for a link address.
  must(bytesOut <= 2 * cause.length + 700, `${bytesOut} bytes for ${cause.length}`);
}

/** Frames for others that an honest host would send by us, and some for ourselves. */
function traffic(random: Random): Uint8Array {
  const destination = [
    TO,
    TO,
    TO,
    word('10.1.0.99'),
    RIGHT,
    LEFT,
    word('192.0.2.1'),
    word('10.1.255.255'),
    FROM,
  ][below(random, 9)]!;
  const between = { source: FROM, destination };
  const ip = {
    ...between,
    id: below(random, 100),
    ttl: [64, 64, 64, 2, 1, 0][below(random, 6)]!,
    fragment: [0, 0, 0x4000, 0x2000, 0x2005][below(random, 5)]!,
    options: [
      new Uint8Array(0),
      new Uint8Array(0),
      Uint8Array.of(7, 7, 4, 0, 0, 0, 0),
      Uint8Array.of(131, 7, 4, 10, 1, 0, 2),
      Uint8Array.of(148, 4, 0, 0),
    ][below(random, 5)]!,
  };
  const data = bytes(below(random, 3) === 0 ? below(random, 1450) : below(random, 60));
  const packet = [
    () => ipv4({ ...ip, protocol: 17 }, udp(between, { source: 2000, destination: 7 }, data)),
    () =>
      ipv4(
        { ...ip, protocol: 6 },
        tcp(
          between,
          { source: 2000, destination: 80, flags: [SYN, ACK, FIN | ACK][below(random, 3)]! },
          data,
        ),
      ),
    () => ipv4({ ...ip, protocol: 1 }, icmp([8, 0, 3, 11, 5][below(random, 5)]!, 0, 77, data)),
    () => ipv4({ ...ip, protocol: below(random, 256) }, data),
  ][below(random, 4)]!();
  return ethernet({ to: ROUTER_MAC, from: FROM_MAC }, packet);
}

test('hostile 21: a router does not cut a ping of death into fragments that start anew', () => {
  const router = new Router(5);
  for (const size of [1425, 900]) {
    const deadly = ipv4({ source: FROM, destination: TO, protocol: 17, fragment: 0x1fff }, bytes(size));
    const { verdict, sent } = router.inject(ethernet({ to: ROUTER_MAC, from: FROM_MAC }, deadly));
    expect([verdict, sent[1]]).toEqual(['bad fragment', []]);
  }
});

test(`a mutation fuzzer against a router: ${FRAMES} frames`, { timeout: 600_000 }, () => {
  const router = new Router(5);
  const random = seededRandom(SEED + 200);
  const seen = new Map<string, number>();
  let forwarded = 0;
  let last = traffic(random);
  for (let i = 0; i < FRAMES; i++) {
    const base = traffic(random);
    // Half of it as it is: a router must also get the honest ones right.
    const frame = i & 1 ? mutate(base, last, random) : base;
    last = base;
    try {
      const { verdict, sent } = router.inject(frame);
      seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
      check(router, frame, sent);
      forwarded += sent[1].filter((b) => viewOf(b).getUint16(12) === 0x0800).length;
    } catch (error) {
      throw new Error(`seed ${SEED + 200}, frame ${i}: ${Buffer.from(frame).toString('hex')}`, {
        cause: error,
      });
    }
    if (i % 100 === 99) {
      router.pass(10 * MILLISECOND);
      for (const { neighbours, waiting } of [router.left, router.right]) {
        expect(neighbours.size).toBeLessThanOrEqual(MAX_NEIGHBOURS);
        expect(waiting).toBe(0);
      }
      expect(router.stack.ipv4.reassembly.bytes).toBeLessThanOrEqual(MAX_BYTES);
      expect(router.stack.timers.size).toBeLessThan(2 * MAX_NEIGHBOURS + 32);
    }
  }
  expect(forwarded).toBeGreaterThan(FRAMES / 20);
  for (const name of [
    'taken',
    'ttl exceeded',
    'no route',
    'source route',
    'bad length',
    'truncated',
    'bad checksum',
  ]) {
    expect(seen.get(name), name).toBeGreaterThan(0);
  }
  // And then an honest packet goes through.
  router.pass(40 * SECOND);
  const between = { source: FROM, destination: TO };
  const honest = ethernet(
    { to: ROUTER_MAC, from: FROM_MAC },
    ipv4({ ...between, protocol: 17 }, udp(between, { source: 5, destination: 6 }, bytes(100))),
  );
  const { verdict, sent } = router.inject(honest);
  expect(verdict).toBe('taken');
  expect(sent[1].length).toBe(1);
  check(router, honest, sent);
});
