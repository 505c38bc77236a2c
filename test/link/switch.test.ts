// A learning switch (IEEE 802.1Q 8.6 to 8.8): src/link/switch.ts.

import { expect, test } from 'vitest';
import { makeFrames } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { SECOND } from '../../src/base/time.ts';
import { type Device, FULL_OFFLOAD } from '../../src/link/device.ts';
import { Switch } from '../../src/link/switch.ts';
import { bytesOf, fill, numbered } from './contract.ts';
import { frameOf, noise, same } from './frames.ts';

const mac = (n: number) => Uint8Array.of(2, 0, 0, 0, 1, n);
const EVERYONE = new Uint8Array(6).fill(255);

function frame(to: Uint8Array, from: Uint8Array, length = 60): Uint8Array {
  const bytes = numbered(1, length);
  bytes.set(to);
  bytes.set(from, 6);
  return bytes;
}

function send(device: Device, bytes: Uint8Array): void {
  expect(device.transmit([fill(makeFrames(1, 4_096)[0]!, bytes)], 0, 1)).toBe(1);
}

/** How many frames came to each device since the last look. */
const arrived = (devices: readonly Device[]) =>
  devices.map((device) => device.receive(() => {}, Number.POSITIVE_INFINITY));

function build(count = 4) {
  const hub = new Switch();
  return { hub, ports: Array.from({ length: count }, (_, i) => hub.port({ mac: mac(i) })) };
}

test('8.8: a broadcast, a multicast and an unknown address go everywhere but back', () => {
  const { hub, ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(1)));
  expect(arrived(ports)).toEqual([1, 0, 1, 1]);
  send(ports[2]!, frame(Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), mac(2)));
  expect(arrived(ports)).toEqual([1, 1, 0, 1]);
  send(ports[0]!, frame(mac(99), mac(0)));
  expect(arrived(ports)).toEqual([0, 1, 1, 1]);
  expect(hub.counters).toEqual({ forwarded: 0, flooded: 3, filtered: 0, discarded: 0 });
});

test('8.7: it learns where an address was seen, and sends there alone', () => {
  const { hub, ports } = build();
  send(ports[3]!, frame(EVERYONE, mac(3)));
  arrived(ports);
  send(ports[0]!, frame(mac(3), mac(0)));
  expect(arrived(ports)).toEqual([0, 0, 0, 1]);
  send(ports[3]!, frame(mac(0), mac(3)));
  expect(arrived(ports)).toEqual([1, 0, 0, 0]);
  expect(hub.counters.forwarded).toBe(2);
  expect(Object.fromEntries(hub.addresses())).toEqual({
    '02:00:00:00:01:03': 'port3',
    '02:00:00:00:01:00': 'port0',
  });
});

test('a host that moves to another port is found there by its first frame', () => {
  const { ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(9)));
  send(ports[2]!, frame(EVERYONE, mac(9)));
  arrived(ports);
  send(ports[0]!, frame(mac(9), mac(0)));
  expect(arrived(ports)).toEqual([0, 0, 1, 0]);
});

test('a frame for an address behind its own port goes nowhere', () => {
  const { hub, ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(1)));
  send(ports[1]!, frame(EVERYONE, mac(7)));
  arrived(ports);
  send(ports[1]!, frame(mac(7), mac(1)));
  expect(arrived(ports)).toEqual([0, 0, 0, 0]);
  expect(hub.counters.filtered).toBe(1);
});

test('8.8.3: an address not seen for 300 seconds is forgotten; one that is seen stays', () => {
  const { hub, ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(1)));
  send(ports[2]!, frame(EVERYONE, mac(2)));
  ports[0]!.advance(200 * SECOND);
  send(ports[2]!, frame(EVERYONE, mac(2)));
  ports[3]!.advance(300 * SECOND);
  arrived(ports);
  send(ports[0]!, frame(mac(1), mac(0)));
  expect(arrived(ports)).toEqual([0, 1, 1, 1]);
  send(ports[0]!, frame(mac(2), mac(0)));
  expect(arrived(ports)).toEqual([0, 0, 1, 0]);
  expect([...hub.addresses().keys()].sort()).toEqual(['02:00:00:00:01:00', '02:00:00:00:01:02']);
});

test('the table is bounded: a flood of addresses drives out no host that is known, and ages away', () => {
  const { hub, ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(1)));
  for (let i = 0; i < 10_000; i++) {
    send(ports[3]!, frame(mac(3), Uint8Array.of(2, 9, 9, 9, i >>> 8, i & 255)));
    if (i % 500 === 0) arrived(ports);
  }
  expect(hub.addresses().size).toBe(4_096);
  arrived(ports);
  send(ports[0]!, frame(mac(1), mac(0)));
  expect(arrived(ports)).toEqual([0, 1, 0, 0]);
  ports[0]!.advance(301 * SECOND);
  send(ports[2]!, frame(EVERYONE, mac(2)));
  expect(hub.addresses().size).toBe(1);
});

test('8.6.3: frames for reserved addresses are not forwarded', () => {
  const { hub, ports } = build();
  for (const last of [0x00, 0x0e, 0x0f])
    send(ports[0]!, frame(Uint8Array.of(1, 0x80, 0xc2, 0, 0, last), mac(0)));
  expect(arrived(ports)).toEqual([0, 0, 0, 0]);
  expect(hub.counters.filtered).toBe(3);
  send(ports[0]!, frame(Uint8Array.of(1, 0x80, 0xc2, 0, 0, 0x10), mac(0)));
  expect(arrived(ports)).toEqual([0, 1, 1, 1]);
});

test('a group address is never learnt as a source', () => {
  const { hub, ports } = build();
  send(ports[0]!, frame(mac(1), EVERYONE));
  expect(hub.addresses().size).toBe(0);
});

test('class 1: a frame shorter than an Ethernet header goes nowhere', () => {
  const { hub, ports } = build();
  for (let length = 1; length < 14; length++) send(ports[0]!, new Uint8Array(length));
  expect(arrived(ports)).toEqual([0, 0, 0, 0]);
  expect(hub.counters.filtered).toBe(13);
});

test('a host that does not receive loses frames, counted, and holds up nobody', () => {
  const { hub, ports } = build(3);
  for (let i = 0; i < 5_000; i++) {
    send(ports[0]!, frame(EVERYONE, mac(0)));
    expect(ports[1]!.receive(() => {}, 64)).toBe(1);
  }
  expect(ports[2]!.stats.rxDropped).toBe(5_000 - 4_096);
  expect(hub.counters.discarded).toBe(5_000 - 4_096);
  expect(ports[1]!.stats.rxDropped).toBe(0);
});

test('a frame too large for a port with a smaller MTU is lost there', () => {
  const hub = new Switch();
  const big = hub.port({ mtu: 9_000 });
  const small = hub.port();
  send(big, frame(EVERYONE, mac(1), 3_000));
  expect(small.receive(() => {}, 1)).toBe(0);
  expect(small.stats.rxDropped).toBe(1);
});

test('copies of a flooded frame share no memory: what one host does with it, no other sees', () => {
  const { ports } = build(3);
  send(ports[0]!, frame(EVERYONE, mac(0)));
  ports[1]!.receive((packet) => packet.bytes.fill(0, packet.start, packet.end), 1);
  ports[2]!.receive((packet) => expect(same(bytesOf(packet), frame(EVERYONE, mac(0)))).toBe(true), 1);
});

test('closing a device unplugs it, and its addresses are forgotten', () => {
  const { hub, ports } = build();
  send(ports[1]!, frame(EVERYONE, mac(1)));
  arrived(ports);
  ports[1]!.close();
  expect(hub.addresses().size).toBe(0);
  send(ports[0]!, frame(mac(1), mac(0)));
  expect(arrived(ports)).toEqual([0, 0, 1, 1]);
});

test('with offload, super-frames cross whole', () => {
  const hub = new Switch({ features: FULL_OFFLOAD });
  const [a, b] = [hub.port(), hub.port()];
  expect(a.transmit([frameOf({ payload: noise(30_000) }, 1_448)], 0, 1)).toBe(1);
  const sizes: number[] = [];
  b.receive((packet) => sizes.push(packet.gsoSize), 1);
  expect(sizes).toEqual([1_448]);
});

test('ports without an address get one of their own, the same for the same chance', () => {
  const macs = (hub: Switch) => Array.from({ length: 20 }, () => hub.port().mac.join('.'));
  const numberedMacs = macs(new Switch());
  expect(new Set(numberedMacs).size).toBe(20);
  expect(macs(new Switch({ random: seededRandom(1) }))).toEqual(
    macs(new Switch({ random: seededRandom(1) })),
  );
  expect(macs(new Switch({ random: seededRandom(1) }))).not.toEqual(numberedMacs);
});
