import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetError } from '../../src/base/errors.ts';
import { formatMac } from '../../src/base/mac.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, type LinkPort } from '../../src/base/netif.ts';
import type { Frame, Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { SECOND } from '../../src/base/time.ts';
import { MAX_ADDRESSES } from '../../src/stack/addresses.ts';
import { LOOPBACK_BYTES, LOOPBACK_FRAMES, LoopbackPort } from '../../src/stack/loopback.ts';
import { RING_FRAMES, TransmitRing } from '../../src/stack/ring.ts';
import { arpFrame, bench, cidr, hex, ip, OURS, RecordingPort, THEIRS } from './rig.ts';

const PEER = ip('10.0.0.2');

function ready() {
  const b = bench();
  b.netif.addAddress(cidr('10.0.0.1/24'), { announce: false });
  b.netif.neighbours.addStatic(PEER, THEIRS);
  return b;
}

type Bench = ReturnType<typeof bench>;

function sendOne(b: Bench, to = PEER, length = 50, first = 0) {
  const frame = b.netif.frame();
  frame.bytes[frame.put(length)] = first;
  return b.netif.send(frame, to, ETHERTYPE_IPV4);
}

describe('the transmit ring', () => {
  it('law: whatever the device takes and whenever, every frame goes out once and in order', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('send' as const), count: fc.nat(40) }),
      fc.record({ do: fc.constant('flush' as const), room: fc.nat(60) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const port = new RecordingPort();
        port.room = 0;
        const ring = new TransmitRing(16);
        const out: number[] = [];
        let next = 0;
        for (const s of steps) {
          if (s.do === 'send') {
            for (let i = 0; i < s.count && !ring.isFull; i++) {
              const frame = ring.frame();
              frame.view.setUint32(frame.put(4), next++);
              ring.commit();
            }
          } else {
            port.room = s.room;
            ring.unblock();
            ring.drain(port);
            expect(ring.blocked).toBe(ring.waiting > 0);
          }
          for (const bytes of port.take()) out.push(new DataView(bytes.buffer).getUint32(0));
          expect(out.length + ring.waiting).toBe(next);
        }
        expect(out).toEqual(Array.from({ length: out.length }, (_, i) => i));
      }),
    );
  });

  it('lets go of attached memory as soon as a frame is taken, or thrown away', () => {
    const ring = new TransmitRing(4);
    const slab = new Slab(new Uint8Array(100)).hold();
    for (let i = 0; i < 4; i++) {
      ring.frame().attach(slab, 0, 100);
      ring.commit();
    }
    expect(slab.refs).toBe(5);
    const port = new RecordingPort();
    port.room = 1;
    ring.drain(port);
    expect(slab.refs).toBe(4);
    expect(ring.clear()).toBe(3);
    expect(slab.refs).toBe(1);
  });

  it('a burst longer than the ring goes out when the device takes it', () => {
    const b = ready();
    for (let i = 0; i < 3 * RING_FRAMES; i++) {
      expect(b.netif.hasRoom()).toBe(true);
      expect(sendOne(b)).toBe('sent');
    }
    b.netif.flush();
    expect(b.port.take().length).toBe(3 * RING_FRAMES);
  });

  it('a device that is full is asked once a round, not for every frame', () => {
    let asked = 0;
    const port: LinkPort = {
      mac: OURS,
      mtu: 1500,
      transmit: () => {
        asked++;
        return 0;
      },
    };
    const b = bench({ port });
    b.netif.neighbours.addStatic(PEER, THEIRS);
    while (b.netif.hasRoom()) sendOne(b);
    for (let i = 0; i < 100; i++) expect(b.netif.hasRoom()).toBe(false);
    expect(asked).toBe(1);
    b.netif.flush();
    expect(asked).toBe(2);
    expect(b.netif.canFlush).toBe(false);
  });
});

describe('sending', () => {
  it('maps groups and broadcasts to link addresses, and asks for the rest', () => {
    const b = ready();
    const to = (address: string) => {
      expect(sendOne(b, ip(address))).toBe('sent');
      b.netif.flush();
      return formatMac(b.port.take()[0]!);
    };
    expect(to('224.0.0.251')).toBe('01:00:5e:00:00:fb');
    expect(to('239.255.1.2')).toBe('01:00:5e:7f:01:02');
    expect(to('ff02::1:ff00:1')).toBe('33:33:ff:00:00:01');
    expect(to('255.255.255.255')).toBe('ff:ff:ff:ff:ff:ff');
    expect(to('10.0.0.255')).toBe('ff:ff:ff:ff:ff:ff');
    expect(to('10.0.0.2')).toBe(formatMac(THEIRS));
    expect(sendOne(b, ip('10.0.0.3'))).toBe('queued');
    expect(b.netif.counters).toMatchObject({
      ifOutUcastPkts: 1,
      ifOutMulticastPkts: 3,
      ifOutBroadcastPkts: 3,
      ifOutOctets: 6 * 64 + 60,
    });
  });

  it('refuses what is too big, unless it is a super-frame, and everything while down', () => {
    const b = ready();
    expect(sendOne(b, PEER, 1500)).toBe('sent');
    expect(sendOne(b, PEER, 1501)).toBe('too big');
    const frame = b.netif.frame();
    frame.put(40);
    frame.attach(new Slab(new Uint8Array(9000)), 0, 9000);
    frame.gsoSize = 1448;
    expect(b.netif.send(frame, PEER, ETHERTYPE_IPV4)).toBe('sent');
    b.netif.setUp(false);
    expect(sendOne(b)).toBe('down');
    expect(b.netif.counters.ifOutDiscards).toBe(4);
    b.netif.setUp(true);
    b.netif.flush();
    expect(b.port.take()).toEqual([]);
  });

  it('tells who sends to a neighbour that failed lately', () => {
    const b = ready();
    sendOne(b, ip('10.0.0.9'));
    sendOne(b, ip('10.0.0.9'));
    b.pass(3 * SECOND);
    expect(b.events).toContain('10.0.0.9 unreachable: 2');
    expect(sendOne(b, ip('10.0.0.9'))).toBe('unreachable');
  });

  it('packets that waited go out as the ring has room, and nothing overtakes them', () => {
    const b = ready();
    b.port.room = 0;
    for (let i = 0; i < 10; i++) sendOne(b, ip('10.0.0.9'), 50, i);
    while (b.netif.hasRoom()) sendOne(b, PEER, 50, 200);
    const answer = arpFrame(2, THEIRS, '10.0.0.9', '10.0.0.1', { to: OURS, tha: OURS });
    expect(b.receive(answer)).toBeUndefined();
    b.port.room = 5;
    b.netif.flush();
    expect(sendOne(b, ip('10.0.0.9'), 50, 10)).toBe('queued');
    b.port.room = Number.POSITIVE_INFINITY;
    b.netif.flush();
    const sent = b.port.take().map((f) => f[14]!);
    expect(sent.filter((first, i) => first < 200 && i > 0)).toEqual(Array.from({ length: 11 }, (_, i) => i));
    expect(b.netif.canFlush).toBe(false);
  });

  it('a neighbour forgotten and found again is not sent to at its old address', () => {
    const b = ready();
    sendOne(b);
    b.netif.neighbours.remove(PEER);
    b.netif.neighbours.addStatic(PEER, OURS);
    sendOne(b);
    b.netif.flush();
    expect(b.port.take().map((f) => formatMac(f))).toEqual([formatMac(THEIRS), formatMac(OURS)]);
  });
});

describe('receiving', () => {
  it('counts as IF-MIB has it', () => {
    const b = ready();
    b.receive(arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1'));
    b.receive(arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS }));
    b.receive(arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1', { to: Uint8Array.of(2, 9, 9, 9, 9, 9) }));
    b.receive(new Uint8Array(13));
    const unknown = arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1');
    unknown[12] = 0x88;
    b.receive(unknown);
    expect(b.netif.counters).toMatchObject({
      ifInOctets: 4 * 60 + 13,
      ifInUcastPkts: 1,
      ifInBroadcastPkts: 1,
      ifInMulticastPkts: 0,
      ifInErrors: 1,
      ifInUnknownProtos: 1,
      ifInDiscards: 0,
    });
    b.netif.setUp(false);
    expect(b.receive(arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1'))).toBe('interface down');
    expect(b.netif.counters.ifInDiscards).toBe(1);
  });

  it('RFC 1112 7.1: lets groups in while somebody is in them', () => {
    const b = ready();
    const group = ip('224.0.0.251');
    const frame = arpFrame(1, THEIRS, '10.0.0.2', '10.0.0.1', { to: Uint8Array.of(1, 0, 0x5e, 0, 0, 0xfb) });
    expect(b.receive(frame)).toBe('not for us');
    b.netif.joinGroup(group);
    b.netif.joinGroup(group);
    expect(b.netif.groups).toEqual([group]);
    expect(b.receive(frame)).toBeUndefined();
    b.netif.leaveGroup(group);
    expect(b.receive(frame)).toBeUndefined();
    b.netif.leaveGroup(group);
    b.netif.leaveGroup(group);
    expect(b.receive(frame)).toBe('not for us');
    expect(() => b.netif.joinGroup(ip('10.0.0.1'))).toThrow(RangeError);
  });
});

describe('addresses', () => {
  it('refuses what cannot be a host, what is there already, and too many', () => {
    const b = bench();
    const code = (text: string) => {
      try {
        b.netif.addAddress(cidr(text));
        return undefined;
      } catch (error) {
        return error instanceof NetError ? error.code : error;
      }
    };
    for (const bad of [
      '224.0.0.1/24',
      '0.0.0.0/0',
      '255.255.255.255/32',
      '10.0.0.0/24',
      '10.0.0.255/24',
      'ff02::1/64',
    ]) {
      expect(code(bad)).toBe('EINVAL');
    }
    expect(code('10.0.0.1/24')).toBeUndefined();
    expect(code('10.0.0.1/16')).toBe('EEXIST');
    // RFC 3021: both addresses of a /31 are hosts.
    expect(code('10.1.0.0/31')).toBeUndefined();
    for (let i = b.netif.addresses.length; i < MAX_ADDRESSES; i++) {
      expect(code(`10.2.${i >> 8}.${i & 255}/32`)).toBeUndefined();
    }
    expect(code('10.3.0.1/32')).toBe('ENOMEM');
  });

  it('ages: preferred, deprecated, gone; a renewal makes it young again', () => {
    const b = bench();
    const { now } = b.clock;
    const address = b.netif.addAddress(cidr('10.0.0.1/24'), {
      announce: false,
      preferredUntil: now + 10 * SECOND,
      validUntil: now + 20 * SECOND,
    });
    b.pass(12 * SECOND);
    expect(address.state).toBe('deprecated');
    b.netif.setLifetimes(address.address, {
      preferredUntil: now + 40 * SECOND,
      validUntil: now + 50 * SECOND,
    });
    expect(address.state).toBe('preferred');
    b.pass(20 * SECOND);
    expect(address.state).toBe('preferred');
    b.pass(10 * SECOND);
    expect(address.state).toBe('deprecated');
    b.pass(10 * SECOND);
    expect(b.netif.addresses).toEqual([]);
    expect(b.timers.size).toBe(0);
    expect(b.netif.setLifetimes(address.address, {})).toBe(false);
  });

  it('does not grow young by a link that flaps, nor by a probe that ends late', () => {
    const b = bench();
    const preferredUntil = b.clock.now + 3 * SECOND;
    const held = b.netif.addAddress(cidr('10.0.0.1/24'), { announce: false, preferredUntil });
    const probed = b.netif.addAddress(cidr('10.0.0.2/24'), { probe: true, preferredUntil });
    b.pass(10 * SECOND);
    expect([held.state, probed.state]).toEqual(['deprecated', 'deprecated']);
    b.netif.setUp(false);
    b.netif.setUp(true);
    expect(held.state).toBe('deprecated');
    b.pass(10 * SECOND);
    expect([held.state, probed.state]).toEqual(['deprecated', 'deprecated']);
  });

  it('a link-local IPv6 address belongs to its link (RFC 4007)', () => {
    const b = bench();
    expect(String(b.netif.addAddress(cidr('fe80::1/64')).address)).toBe('fe80::1%1');
  });
});

describe('the loopback', () => {
  const frames = (ring: TransmitRing, lengths: number[]): Frame[] =>
    lengths.map((length) => {
      const frame = ring.frame();
      ring.commit();
      frame.attach(new Slab(new Uint8Array(length).fill(length & 255)), 0, length);
      return frame;
    });

  it('law: gives back what it took, byte for byte and in order, super-frames whole', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 14, max: 66_000 }), fc.boolean(), fc.nat(3)), { maxLength: 60 }),
        (list) => {
          const port = new LoopbackPort();
          const kept: { packet: string; bytes: Uint8Array; copy: Uint8Array }[] = [];
          const sent: string[] = [];
          const got: string[] = [];
          for (const [length, pin, read] of list) {
            const ring = new TransmitRing(2);
            const [frame] = frames(ring, [length]) as [Frame];
            frame.gsoSize = length > 1514 ? 1448 : 0;
            if (port.transmit([frame], 0, 1) === 1) sent.push(`${length} ${frame.gsoSize}`);
            port.receive((p: Packet) => {
              expect(p.checksumTrusted).toBe(true);
              got.push(`${p.end - p.start} ${p.gsoSize}`);
              const bytes = p.bytes.subarray(p.start, p.end);
              expect(bytes.every((b) => b === ((p.end - p.start) & 255))).toBe(true);
              if (pin) {
                p.pinned = true;
                kept.push({ packet: got.at(-1)!, bytes, copy: bytes.slice() });
              }
            }, read);
          }
          port.receive((p) => got.push(`${p.end - p.start} ${p.gsoSize}`), LOOPBACK_FRAMES);
          expect(got).toEqual(sent);
          expect(port.waiting).toBe(0);
          // What was pinned is never written again.
          for (const { bytes, copy } of kept)
            expect(hex(bytes.subarray(0, 64))).toBe(hex(copy.subarray(0, 64)));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('is bounded in frames and in bytes', () => {
    const small = frames(new TransmitRing(1024), new Array<number>(1024).fill(60));
    expect(new LoopbackPort().transmit(small, 0, 1024)).toBe(LOOPBACK_FRAMES);
    const large = frames(new TransmitRing(256), new Array<number>(256).fill(65_000));
    expect(new LoopbackPort().transmit(large, 0, 256)).toBe(Math.floor(LOOPBACK_BYTES / 65_000));
  });
});

describe('construction', () => {
  it('refuses an MTU the device cannot carry, or IPv4 cannot live with', () => {
    expect(() => bench({ mtu: 1501 })).toThrow(RangeError);
    expect(() => bench({ mtu: 67 })).toThrow(RangeError);
    expect(bench({ mtu: 576 }).netif.mtu).toBe(576);
  });

  it('a tagged interface sends ARP tagged, too', () => {
    const b = bench({ vlan: { id: 9 } });
    b.netif.addAddress(cidr('10.0.0.1/24'));
    b.netif.flush();
    const view = new DataView(b.port.take()[0]!.buffer);
    expect([view.getUint16(12), view.getUint16(14), view.getUint16(16)]).toEqual([0x8100, 9, ETHERTYPE_ARP]);
  });
});
