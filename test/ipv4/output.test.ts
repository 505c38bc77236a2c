import { describe, expect, it } from 'vitest';
import { ANY_V4, LOOPBACK_V6 } from '../../src/base/address.ts';
import { fold, pseudoHeaderSum } from '../../src/base/checksum.ts';
import type { Path, SendOptions } from '../../src/base/ip.ts';
import type { SendResult } from '../../src/base/netif.ts';
import { Slab } from '../../src/base/slab.ts';
import * as ip from '../../src/ipv4/header.ts';
import {
  addr,
  counting,
  interfaceAddress,
  isSound,
  OURS,
  PEER,
  Recorder,
  TestHost,
  TestInterface,
} from './harness.ts';

function pathOf(host: TestHost, to: string, source?: string, index = 0): Path {
  const path = host.ipv4.path(addr(to), source === undefined ? undefined : addr(source), index);
  if (typeof path === 'string') throw new Error(path);
  return path;
}

const WISHES: SendOptions = { ttl: 64, trafficClass: 0, dontFragment: false };

/** Sends a UDP datagram of `length` data bytes, the last `attached` of them attached in two ranges. */
function send(host: TestHost, path: Path, length: number, attached: number, options = WISHES): SendResult {
  const data = counting(length);
  const frame = path.interface.frame();
  const at = frame.put(8);
  frame.view.setUint32(at, 0x1000_2000);
  frame.view.setUint16(at + 4, 8 + length);
  frame.view.setUint16(at + 6, fold(pseudoHeaderSum(path.source, path.destination, 17, 8 + length)));
  frame.checksumStart = at;
  frame.checksumOffset = 6;
  frame.copyIn(data, 0, length - attached);
  const half = attached >> 1;
  const slab = new Slab(data);
  frame.attach(slab, length - attached, half);
  frame.attach(slab, length - attached + half, attached - half);
  return host.ipv4.send(path, 17, frame, options);
}

describe('RFC 1122 3.3.1: paths', () => {
  it('leads to the destination on the link, and to the gateway beyond', () => {
    const host = new TestHost();
    expect(`${pathOf(host, PEER).nextHop}`).toBe(PEER);
    const far = pathOf(host, '192.0.2.1');
    expect(`${far.nextHop} ${far.source} ${far.mtu} ${far.headerLength} ${far.broadcast}`).toBe(
      `10.7.0.254 ${OURS} 1500 20 false`,
    );
    host.gateway = undefined;
    expect(host.ipv4.path(addr('192.0.2.1'), undefined, 0)).toBe('ENETUNREACH');
    expect(host.ipv4.counters.ipSystemStatsOutNoRoutes).toBe(1);
  });

  it('turns stale when routes or addresses change', () => {
    const host = new TestHost();
    const path = pathOf(host, PEER);
    expect(path.stale).toBe(false);
    host.changed();
    expect(path.stale).toBe(true);
  });

  it('RFC 1122 3.2.1.3: refuses addresses that must not be sent to or from', () => {
    const host = new TestHost();
    expect(host.ipv4.path(ANY_V4, undefined, 0)).toBe('EINVAL');
    expect(host.ipv4.path(addr('0.0.0.9'), undefined, 0)).toBe('EINVAL');
    expect(host.ipv4.path(LOOPBACK_V6, undefined, 0)).toBe('EINVAL');
    expect(host.ipv4.path(addr(PEER), addr('10.7.0.99'), 0)).toBe('EADDRNOTAVAIL');
    expect(host.ipv4.path(addr(PEER), addr('10.7.0.255'), 0)).toBe('EADDRNOTAVAIL');
    expect(host.ipv4.path(addr(PEER), addr('127.0.0.1'), 0)).toBe('EINVAL');
    host.eth.up = false;
    expect(host.ipv4.path(addr('224.1.1.1'), undefined, 2)).toBe('ENETDOWN');
  });

  it('own addresses lead through loopback, with the address itself as the source', () => {
    const host = new TestHost();
    const own = pathOf(host, OURS);
    expect([own.interface.name, `${own.source}`, own.mtu]).toEqual(['lo', OURS, 65_535]);
    expect(`${pathOf(host, '127.0.0.9').source}`).toBe('127.0.0.1');
    expect(`${pathOf(host, OURS, '127.0.0.1').source}`).toBe('127.0.0.1');
    expect(host.ipv4.isLocal(addr('127.8.8.8'))).toBe(true);
    expect(host.ipv4.isLocal(addr(PEER))).toBe(false);
  });

  it('broadcasts go out by the interface that has them, and from 0.0.0.0 only where there is no address yet', () => {
    const host = new TestHost();
    expect(pathOf(host, '10.7.0.255')).toMatchObject({ broadcast: true });
    expect(pathOf(host, '255.255.255.255')).toMatchObject({ broadcast: true });
    expect(host.ipv4.isBroadcast(addr('10.7.0.255'))).toBe(true);
    expect(host.ipv4.isBroadcast(addr('10.7.1.255'))).toBe(false);
    host.eth.addresses = [];
    host.changed();
    expect(`${pathOf(host, '255.255.255.255', '0.0.0.0', 2).source}`).toBe('0.0.0.0');
    expect(host.ipv4.path(addr('224.5.5.5'), undefined, 2)).toBe('EADDRNOTAVAIL');
    expect(host.ipv4.path(addr('255.255.255.255'), undefined, 77)).toBe('EADDRNOTAVAIL');
  });

  it('multicast takes the interface asked for, the source’s, or the default route’s', () => {
    const host = new TestHost();
    const second = new TestInterface(3, 'two');
    second.addresses = [interfaceAddress('10.8.0.2/24')];
    host.interfaces.push(second);
    host.changed();
    expect(pathOf(host, '239.1.1.1').interface.name).toBe('eth');
    expect(pathOf(host, '239.1.1.1', undefined, 3).interface.name).toBe('two');
    expect(pathOf(host, '239.1.1.1', '10.8.0.2').interface.name).toBe('two');
    expect(`${pathOf(host, '239.1.1.1', undefined, 3).source}`).toBe('10.8.0.2');
    expect(pathOf(host, '239.1.1.1')).toMatchObject({ broadcast: false });
  });

  it('prefers a source that is not deprecated', () => {
    const host = new TestHost();
    host.eth.addresses = [interfaceAddress('10.7.0.5/24', 'deprecated'), interfaceAddress('10.7.0.6/24')];
    host.changed();
    expect(`${pathOf(host, '239.1.1.1').source}`).toBe('10.7.0.6');
  });
});

describe('RFC 791: sending', () => {
  it('pushes a header with what was wished for', () => {
    const host = new TestHost();
    const path = pathOf(host, PEER);
    expect(send(host, path, 100, 0, { ttl: 3, trafficClass: 0xb8, dontFragment: true })).toBe('sent');
    const [sent] = host.eth.take();
    const { view, bytes } = sent!;
    expect(isSound(bytes)).toBe(true);
    expect([ip.timeToLive(view, 0), ip.typeOfService(view, 0), ip.protocol(view, 0)]).toEqual([3, 0xb8, 17]);
    expect(ip.flagsOffset(view, 0)).toBe(0x4000);
    expect(ip.identification(view, 0)).toBe(0); // RFC 6864 4.1
    expect(host.ipv4.counters).toMatchObject({
      ipSystemStatsOutRequests: 1,
      ipSystemStatsOutTransmits: 1,
      ipSystemStatsOutOctets: 128,
    });
  });

  it('sends a super-frame whole, with its checksum pending', () => {
    const host = new TestHost();
    const path = pathOf(host, PEER);
    const frame = path.interface.frame();
    frame.put(20);
    frame.attach(new Slab(counting(40_000)), 0, 40_000);
    frame.gsoSize = 1448;
    expect(host.ipv4.send(path, 6, frame, { ...WISHES, dontFragment: true })).toBe('sent');
    const [sent] = host.eth.take();
    expect([sent!.bytes.length, sent!.gsoSize]).toEqual([40_040, 1448]);
    expect(ip.totalLength(sent!.view, 0)).toBe(40_040);
  });

  it('refuses what no datagram can hold, and with DF what the path cannot', () => {
    const host = new TestHost();
    const path = pathOf(host, PEER);
    expect(send(host, path, 1473, 0, { ...WISHES, dontFragment: true })).toBe('too big');
    expect(send(host, path, 65_508, 64_000)).toBe('too big');
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.counters.ipSystemStatsOutDiscards).toBe(2);
  });

  it('passes on what the interface answers', () => {
    const host = new TestHost();
    const path = pathOf(host, PEER);
    for (const result of ['unreachable', 'down', 'full', 'queued'] as const) {
      host.eth.result = result;
      expect(send(host, path, 9, 0)).toBe(result);
    }
  });

  it('RFC 6864 4, hostile 35: identifications count up for one peer and tell nothing about another', () => {
    const ids = (host: TestHost, to: string) =>
      Array.from({ length: 5 }, () => {
        send(host, pathOf(host, to), 8, 0);
        return ip.identification(host.eth.take()[0]!.view, 0);
      });
    const host = new TestHost();
    const first = ids(host, PEER);
    expect(first.map((id, i) => (id - first[0]! - i) & 0xffff)).toEqual([0, 0, 0, 0, 0]);
    const starts = new Set(Array.from({ length: 50 }, (_, i) => ids(host, `10.7.0.${10 + i}`)[0]!));
    expect(starts.size).toBeGreaterThan(45);
    expect(ids(new TestHost(undefined, 2), PEER)[0]).not.toBe(first[0]);
  });
});

describe('RFC 1122 3.3.3: fragmentation', () => {
  it('completes a pending checksum first, and keeps the order of own bytes and ranges', () => {
    for (const attached of [0, 1, 700, 1900]) {
      const host = new TestHost();
      host.eth.mtu = 576;
      expect(send(host, pathOf(host, PEER), 1900, attached)).toBe('sent');
      const peer = new TestHost(`${PEER}/24`);
      const udp = new Recorder();
      peer.ipv4.register(17, udp);
      for (const { bytes } of host.eth.take()) peer.receive(bytes);
      const { payload, packet } = udp.packets[0]!;
      expect(payload.slice(8)).toEqual(counting(1900));
      expect(isSound(packet.bytes)).toBe(true);
    }
  });

  it('gives all fragments one identification, offsets in eights and MF but for the last', () => {
    const host = new TestHost();
    host.eth.mtu = 577; // 557 bytes of data, 552 of them used
    send(host, pathOf(host, PEER), 1500, 0);
    const sent = host.eth.take();
    expect(sent.map(({ view }) => ip.fragmentOffset(view, 0))).toEqual([0, 552, 1104]);
    expect(sent.map(({ view }) => ip.moreFragments(view, 0))).toEqual([true, true, false]);
    expect(new Set(sent.map(({ view }) => ip.identification(view, 0))).size).toBe(1);
    expect(host.ipv4.counters).toMatchObject({
      ipSystemStatsOutFragReqds: 1,
      ipSystemStatsOutFragOKs: 1,
      ipSystemStatsOutFragCreates: 3,
    });
  });

  it('a fragment as large as the link goes whole even when no multiple of eight fits', () => {
    const host = new TestHost();
    host.eth.mtu = 577;
    send(host, pathOf(host, PEER), 552 - 8 + 557, 0);
    expect(host.eth.take().map(({ bytes }) => bytes.length)).toEqual([572, 577]);
  });

  it('all or nothing: what has begun is finished when there is room, and in order', () => {
    const host = new TestHost();
    host.eth.room = 2;
    expect(send(host, pathOf(host, PEER), 9000, 8000)).toBe('queued');
    expect(host.eth.sent).toHaveLength(2);
    expect(host.ipv4.pending).toBe(false);
    host.eth.room = 1;
    expect(host.ipv4.pending).toBe(true);
    host.round();
    expect(host.eth.sent).toHaveLength(3);
    host.eth.room = 1;
    expect(send(host, pathOf(host, PEER), 3000, 2000)).toBe('queued'); // behind the first
    host.eth.room = 100;
    host.round();
    const peer = new TestHost(`${PEER}/24`);
    const udp = new Recorder();
    peer.ipv4.register(17, udp);
    for (const { bytes } of host.eth.take()) peer.receive(bytes);
    expect(udp.packets.map((p) => p.payload.length)).toEqual([9008, 3008]);
    expect(host.ipv4.pending).toBe(false);
  });

  it('holds a bounded number of unfinished datagrams', () => {
    const host = new TestHost();
    host.eth.room = 1;
    const path = pathOf(host, PEER);
    const results = Array.from({ length: 20 }, () => send(host, path, 5000, 4000));
    expect(results.filter((r) => r === 'queued')).toHaveLength(16);
    expect(results.filter((r) => r === 'full')).toHaveLength(4);
  });

  it('an interface that is stuck holds up no other', () => {
    const host = new TestHost();
    const other = new TestInterface(3, 'other');
    other.addresses = [interfaceAddress('10.8.0.1/24')];
    host.interfaces.push(other);
    host.changed();
    host.eth.room = 0;
    for (let i = 0; i < 20; i++) send(host, pathOf(host, PEER), 5000, 4000);
    expect(send(host, pathOf(host, '10.8.0.9'), 5000, 4000)).toBe('sent');
    expect(other.sent).toHaveLength(4);
  });

  it('ends a datagram whose interface refuses it', () => {
    const host = new TestHost();
    host.eth.result = 'unreachable';
    expect(send(host, pathOf(host, PEER), 5000, 4000)).toBe('unreachable');
    expect(host.ipv4.counters.ipSystemStatsOutFragFails).toBe(1);
    host.eth.result = 'sent';
    host.round();
    expect(host.eth.sent).toHaveLength(0);
  });
});
