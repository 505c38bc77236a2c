import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BROADCAST, MULTICAST } from '../../src/base/packet.ts';
import {
  addr,
  answersPing,
  counting,
  datagram,
  echoRequest,
  icmpDatagram,
  interfaceAddress,
  OURS,
  PEER,
  Recorder,
  TestHost,
  udpDatagram,
} from './harness.ts';

const TCP = 6;

function hostWithTransport(): { host: TestHost; tcp: Recorder } {
  const host = new TestHost();
  const tcp = new Recorder();
  host.ipv4.register(TCP, tcp);
  return { host, tcp };
}

describe('RFC 1122 3.2.1: what comes in', () => {
  it('hands the payload up with its addresses, TTL and traffic class', () => {
    const { host, tcp } = hostWithTransport();
    expect(
      host.receive(datagram({ protocol: TCP, ttl: 1, tos: 0xb9, payload: counting(40) })),
    ).toBeUndefined();
    expect(tcp.packets[0]).toMatchObject({ source: PEER, destination: OURS, ttl: 1, payload: counting(40) });
    expect(tcp.packets[0]!.packet.trafficClass).toBe(0xb9);
    expect(host.ipv4.counters.ipSystemStatsInDelivers).toBe(1);
  });

  it('hostile 10: cuts the padding of the link off, and refuses what is shorter than it says', () => {
    const { host, tcp } = hostWithTransport();
    host.receive(datagram({ protocol: TCP, payload: counting(3), padding: 23 }));
    expect(tcp.packets[0]!.payload).toEqual(counting(3));
    const whole = datagram({ protocol: TCP, payload: counting(30) });
    for (let n = 0; n < whole.length; n++) {
      expect(host.receive(whole.slice(0, n)), `cut at ${n}`).toBe('truncated');
    }
    expect(host.ipv4.counters.ipSystemStatsInTruncatedPkts).toBe(whole.length);
    expect(tcp.packets).toHaveLength(1);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 7, 8, 9: lengths that contradict each other are dropped without a word', () => {
    const { host, tcp } = hostWithTransport();
    for (let ihl = 0; ihl < 5; ihl++) {
      expect(host.receive(datagram({ protocol: TCP, ihl, payload: counting(20) }))).toBe('bad header length');
    }
    for (let totalLength = 0; totalLength < 20; totalLength++) {
      expect(host.receive(datagram({ protocol: TCP, totalLength }))).toBe('bad total length');
    }
    expect(host.receive(datagram({ protocol: TCP, ihl: 15, payload: counting(4) }))).toBe('bad total length');
    expect(tcp.packets).toHaveLength(0);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.counters.ipSystemStatsInHdrErrors).toBe(26);
    expect(answersPing(host)).toBe(true);
  });

  it('RFC 1122 3.2.1.1, 3.2.1.2: wrong versions and checksums are dropped, even when trusted', () => {
    const { host } = hostWithTransport();
    const six = datagram({ protocol: TCP });
    six[0] = 0x65;
    expect(host.receive(six)).toBe('bad version');
    expect(host.receive(datagram({ badChecksum: true }), { trusted: true })).toBe('bad checksum');
  });

  it('hostile 16 (LAND): our own address as the source', () => {
    const { host, tcp } = hostWithTransport();
    expect(host.receive(datagram({ source: OURS, protocol: TCP }))).toBe('martian source');
    expect(tcp.packets).toHaveLength(0);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 17: sources that no host can have are dropped silently', () => {
    const { host, tcp } = hostWithTransport();
    const sources = [
      '127.0.0.1',
      '127.9.9.9',
      '0.0.0.0',
      '0.1.2.3',
      '224.0.0.1',
      '239.1.1.1',
      '240.0.0.1',
      '255.255.255.255',
      '10.7.0.255',
    ];
    for (const source of sources) {
      expect(host.receive(datagram({ source, protocol: TCP })), source).toBe('martian source');
      host.receive(udpDatagram(5, 5, counting(4), { source }));
      host.receive(echoRequest(1, 1, counting(4), { source }));
    }
    expect(tcp.packets).toHaveLength(0);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.counters.ipSystemStatsInAddrErrors).toBe(27);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 18: loopback, network 0 and class E as destinations do not come from a wire', () => {
    const { host, tcp } = hostWithTransport();
    for (const destination of ['127.0.0.1', '127.1.2.3', '0.0.0.0', '0.0.0.5', '240.0.0.1']) {
      expect(host.receive(datagram({ destination, protocol: TCP })), destination).toBe('martian destination');
    }
    expect(tcp.packets).toHaveLength(0);
    // The loopback interface may.
    expect(
      host.receive(datagram({ source: '127.0.0.1', destination: '127.0.0.1', protocol: TCP }), {
        netif: host.lo,
      }),
    ).toBeUndefined();
    expect(tcp.packets).toHaveLength(1);
  });

  it('hostile 19: unicast in a link broadcast or multicast is neither delivered nor answered', () => {
    const { host, tcp } = hostWithTransport();
    // First a good one, so that the remembered pair of addresses is the same.
    host.receive(datagram({ protocol: TCP }));
    for (const linkCast of [BROADCAST, MULTICAST] as const) {
      expect(host.receive(datagram({ protocol: TCP }), { linkCast })).toBe('martian destination');
      host.receive(udpDatagram(1000, 7, counting(8)), { linkCast });
      host.receive(datagram({ protocol: 99 }), { linkCast });
      host.receive(echoRequest(1, 1, counting(8)), { linkCast });
    }
    expect(tcp.packets).toHaveLength(1);
    expect(host.eth.sent).toHaveLength(0);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 11, 12: source-routed packets are dropped, and so are their fragments', () => {
    const { host, tcp } = hostWithTransport();
    const options = [131, 7, 4, 10, 0, 0, 1, 137, 7, 4, 10, 0, 0, 1, 131, 255];
    expect(host.receive(datagram({ protocol: TCP, options, payload: counting(40) }))).toBe('source route');
    expect(host.receive(udpDatagram(9, 9, counting(9), { options }))).toBe('source route');
    expect(host.receive(datagram({ protocol: TCP, options, flags: 0x2000, payload: counting(40) }))).toBe(
      'source route',
    );
    expect(tcp.packets).toHaveLength(0);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.reassembly.size).toBe(0);
    expect(answersPing(host)).toBe(true);
  });

  it('RFC 1122 3.2.1.8: takes packets with options that it does not need', () => {
    const { host, tcp } = hostWithTransport();
    const payload = counting(24);
    expect(
      host.receive(datagram({ protocol: TCP, options: [7, 7, 4, 0, 0, 0, 0], payload })),
    ).toBeUndefined();
    expect(tcp.packets[0]!.payload).toEqual(payload);
  });

  it('RFC 1122 3.2.2.5: a broken option is answered with a Parameter Problem that points at it', () => {
    const { host } = hostWithTransport();
    expect(host.receive(datagram({ protocol: TCP, options: [1, 7, 44, 4], payload: counting(9) }))).toBe(
      'bad option',
    );
    const [sent] = host.eth.take();
    expect([...sent!.bytes.slice(20, 25)]).toEqual([12, 0, sent!.bytes[22], sent!.bytes[23], 22]);
  });

  it('RFC 1122 3.2.2.1: an unknown protocol is answered with Protocol Unreachable (hostile 20: IP in IP, too)', () => {
    const { host } = hostWithTransport();
    for (const protocol of [4, 41, 255]) {
      expect(host.receive(datagram({ protocol, payload: counting(99) }))).toBe('unknown protocol');
      const [sent] = host.eth.take();
      expect([sent!.bytes[9], sent!.bytes[20], sent!.bytes[21]]).toEqual([1, 3, 2]);
    }
    expect(host.ipv4.counters.ipSystemStatsInUnknownProtos).toBe(3);
    expect(answersPing(host)).toBe(true);
  });

  it('takes broadcasts of its own subnet, and no other', () => {
    const { host, tcp } = hostWithTransport();
    expect(host.receive(datagram({ destination: '10.7.0.255', protocol: TCP }))).toBeUndefined();
    expect(host.receive(datagram({ destination: '255.255.255.255', protocol: TCP }))).toBeUndefined();
    expect(tcp.packets[0]!.packet.groupDestination).toBe(true);
    expect(host.receive(datagram({ destination: '10.8.0.255', protocol: TCP }))).toBe('not for us');
    expect(host.receive(datagram({ destination: '224.9.9.9', protocol: TCP }))).toBe('not for us');
    expect(host.receive(datagram({ destination: '10.7.0.9', protocol: TCP }))).toBe('not for us');
    expect(host.ipv4.counters.ipSystemStatsInBcastPkts).toBe(2);
  });

  it('RFC 1122 3.2.1.3 (a): a host without an address may ask everyone from 0.0.0.0', () => {
    const { host, tcp } = hostWithTransport();
    expect(
      host.receive(datagram({ source: '0.0.0.0', destination: '255.255.255.255', protocol: TCP })),
    ).toBeUndefined();
    expect(tcp.packets).toHaveLength(1);
  });

  it('RFC 1122 3.3.4.2: takes packets for any address of ours by any interface, once it is ours', () => {
    const { host, tcp } = hostWithTransport();
    const second = interfaceAddress('10.9.0.2/24', 'tentative');
    host.eth.addresses.push(second);
    host.changed();
    expect(host.receive(datagram({ destination: '10.9.0.2', protocol: TCP }))).toBe('not for us');
    second.state = 'preferred';
    host.changed();
    expect(host.receive(datagram({ destination: '10.9.0.2', protocol: TCP }))).toBeUndefined();
    host.eth.addresses.pop();
    host.changed();
    expect(host.receive(datagram({ destination: '10.9.0.2', protocol: TCP }))).toBe('not for us');
    expect(tcp.packets).toHaveLength(1);
  });

  it('a super-frame of 64 KB is one packet', () => {
    const { host, tcp } = hostWithTransport();
    const payload = counting(65_515);
    expect(
      host.receive(datagram({ protocol: TCP, payload }), { gsoSize: 1448, trusted: true }),
    ).toBeUndefined();
    expect(tcp.packets[0]!.payload).toHaveLength(65_515);
  });

  it('never throws and never answers more than once, whatever the bytes', () => {
    const { host } = hostWithTransport();
    const fields = fc.record({
      protocol: fc.constantFrom(1, 2, 4, 6, 17, 255),
      flags: fc.constantFrom(0, 0x2000, 0x4000, 0xe000),
      offset: fc.constantFrom(0, 8, 1480, 65_528),
      ttl: fc.constantFrom(0, 1, 64),
      tos: fc.integer({ min: 0, max: 255 }),
      source: fc.constantFrom(PEER, OURS, '10.7.0.255', '8.8.8.8', '224.0.0.1'),
      destination: fc.constantFrom(OURS, '10.7.0.255', '224.0.0.1', '10.1.1.1'),
      payload: fc.uint8Array({ maxLength: 120 }),
      options: fc.uint8Array({ maxLength: 40 }).map((o) => [...o]),
    });
    fc.assert(
      fc.property(fields, (f) => {
        host.receive(datagram(f));
        expect(host.eth.take().length).toBeLessThanOrEqual(1);
        host.now += 1000;
      }),
      { numRuns: 3000 },
    );
    expect(answersPing(host, '10.7.0.77')).toBe(true);
  });
});

describe('RFC 1122 2.4: a neighbour that does not answer', () => {
  it('is told to the transport that sent the packet', () => {
    const { host, tcp } = hostWithTransport();
    const packet = datagram({ source: OURS, destination: PEER, protocol: TCP, payload: counting(40) });
    const slab = { bytes: packet, view: new DataView(packet.buffer) } as never;
    host.ipv4.neighbourFailed(slab, 0, packet.length);
    expect(tcp.errors[0]).toMatchObject({ kind: 'host unreachable', mtu: 0 });
    expect(tcp.errors[0]!.destination.equals(addr(PEER))).toBe(true);
    expect(tcp.errors[0]!.end - tcp.errors[0]!.at).toBe(40);
  });

  it('is told by ICMP to the stranger whose packet was passed on', () => {
    const { host } = hostWithTransport();
    const packet = datagram({ source: '10.9.9.9', destination: PEER, protocol: TCP, payload: counting(40) });
    const slab = { bytes: packet, view: new DataView(packet.buffer) } as never;
    host.ipv4.neighbourFailed(slab, 0, packet.length);
    const [sent] = host.eth.take();
    expect([sent!.bytes[20], sent!.bytes[21]]).toEqual([3, 1]);
    host.ipv4.neighbourFailed(slab, 0, 10);
    expect(host.eth.sent).toHaveLength(0);
  });
});

describe('hostile 58-63: ICMP that a host must not act on', () => {
  it('leaves everything as it was', () => {
    const { host, tcp } = hostWithTransport();
    const quoted = datagram({ source: OURS, destination: PEER, protocol: TCP, payload: counting(20) });
    // Source quench (63), redirect (65), router advertisement, address mask reply (60), timestamp, information, unknown.
    for (const type of [4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 1, 2, 7, 19, 40, 255]) {
      expect(host.receive(icmpDatagram(type, 0, 0x0a070001, quoted)), `type ${type}`).toBe('icmp ignored');
    }
    expect(tcp.errors).toHaveLength(0);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.icmp.counters.icmpInIgnored).toBe(16);
    expect(answersPing(host)).toBe(true);
  });
});
