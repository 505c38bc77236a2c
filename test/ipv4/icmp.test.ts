import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, pseudoHeaderSum } from '../../src/base/checksum.ts';
import { PROTOCOL_ICMP } from '../../src/base/ip.ts';
import { BROADCAST, makeFrames } from '../../src/base/packet.ts';
import { MINUTE, SECOND } from '../../src/base/time.ts';
import type { EchoError, EchoReply } from '../../src/ipv4/echo.ts';
import { MAX_QUOTE } from '../../src/ipv4/icmp.ts';
import { checkIcmp, writeIcmp } from '../../src/ipv4/icmp-header.ts';
import { PMTU_AGE, PMTU_FLOOR, plateauBelow } from '../../src/ipv4/pmtu.ts';
import {
  addr,
  answersPing,
  counting,
  datagram,
  echoRequest,
  exchange,
  type Fields,
  icmp,
  icmpDatagram,
  isSound,
  OURS,
  PEER,
  Recorder,
  TestHost,
  udpDatagram,
} from './harness.ts';

const TCP = 6;
const REMOTE = '192.0.2.9';

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

describe('RFC 792: the message', () => {
  it('is refused when cut below eight bytes, or with any bit turned (hostile 58)', () => {
    const whole = icmp(8, 0, 0x12345678, counting(9));
    expect(checkIcmp(viewOf(whole), 0, whole.length)).toBeUndefined();
    for (let n = 0; n < 8; n++) expect(checkIcmp(viewOf(whole), 0, n)).toBe('truncated');
    for (let n = 8; n < whole.length; n++) {
      // A cut that still sums up would be a wonder; this data has none.
      expect(checkIcmp(viewOf(whole), 0, n), `cut at ${n}`).toBe('bad checksum');
    }
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = whole.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(checkIcmp(viewOf(bytes), 0, bytes.length)).toBe('bad checksum');
    }
  });

  it('reads back what was written', () => {
    const view = new DataView(new ArrayBuffer(8));
    writeIcmp(view, 0, 12, 3, 0xfedcba98);
    expect([view.getUint8(0), view.getUint8(1), view.getUint32(4)]).toEqual([12, 3, 0xfedcba98]);
  });
});

describe('RFC 1122 3.2.2.6: echo', () => {
  it('returns identifier, sequence and data from the address that was asked', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1472 }), fc.integer({ min: 0, max: 65_535 }), (data, id) => {
        const host = new TestHost();
        expect(host.receive(echoRequest(id, 9, data, { tos: 0xb9 }))).toBeUndefined();
        const [reply] = host.eth.take();
        expect(isSound(reply!.bytes)).toBe(true);
        const expected = icmpDatagram(0, 0, id * 65_536 + 9, data).slice(20);
        expect(reply!.bytes.slice(20)).toEqual(expected);
        expect(reply!.view.getInt32(12)).toBe(addr(OURS).w3);
        expect(reply!.view.getInt32(16)).toBe(addr(PEER).w3);
        expect(reply!.bytes[1]).toBe(0xb8); // 3.2.1.6: the same TOS, without ECN
        expect(`${reply!.nextHop}`).toBe(PEER);
      }),
    );
  });

  it('hostile 15 (CVE-2021-31344): options are not returned, and the reply goes to the source alone', () => {
    const host = new TestHost();
    host.receive(echoRequest(1, 1, counting(8), { options: [7, 7, 4, 192, 0, 2, 1, 0] }));
    const [reply] = host.eth.take();
    expect(reply!.bytes[0]).toBe(0x45);
    expect(`${reply!.nextHop}`).toBe(PEER);
  });

  it('hostile 59: a request shorter than its header gets nothing', () => {
    const host = new TestHost();
    for (let n = 0; n < 8; n++) {
      const payload = icmp(8, 0, 0x10001, new Uint8Array(0)).slice(0, n);
      expect(host.receive(datagram({ protocol: 1, payload, padding: 30 }))).toBe('truncated');
    }
    expect(host.eth.sent).toHaveLength(0);
    expect(host.ipv4.icmp.counters.icmpStatsInErrors).toBe(8);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 61 (smurf): broadcast and multicast are not answered', () => {
    const host = new TestHost();
    for (const destination of ['10.7.0.255', '255.255.255.255', '224.0.0.1']) {
      expect(host.receive(echoRequest(1, 1, counting(8), { destination }))).toBe('icmp ignored');
    }
    expect(host.eth.sent).toHaveLength(0);
    expect(answersPing(host)).toBe(true);
  });

  it('keeps quiet when the interface is full', () => {
    const host = new TestHost();
    host.eth.room = 0;
    expect(host.receive(echoRequest(1, 1, counting(8)))).toBe('queue full');
    host.eth.room = 1;
    expect(answersPing(host)).toBe(true);
  });
});

describe('RFC 792: asking for echo', () => {
  function listen(host: TestHost) {
    const replies: EchoReply[] = [];
    const errors: EchoError[] = [];
    const client = host.ipv4.icmp.echo.open({
      reply: (r) => replies.push(r),
      error: (e) => errors.push(e),
    })!;
    return { client, replies, errors };
  }

  it('brings the reply with TTL, time and data, only from deliver', () => {
    const a = new TestHost();
    const b = new TestHost(`${PEER}/24`);
    const { client, replies } = listen(a);
    expect(a.ipv4.icmp.echo.send(client, addr(PEER), 3, counting(56), { ttl: 9 })).toBe('sent');
    const [request] = a.eth.take();
    expect(isSound(request!.bytes)).toBe(true);
    expect(request!.bytes[8]).toBe(9);
    b.receive(request!.bytes);
    a.receive(b.eth.take()[0]!.bytes);
    expect(replies).toHaveLength(0);
    expect(a.ipv4.pending).toBe(true);
    a.round();
    expect(replies[0]).toMatchObject({ sequence: 3, ttl: 64, receivedAt: a.now, data: counting(56) });
    expect(a.ipv4.pending).toBe(false);
  });

  it('a callback that throws costs nobody a reply', () => {
    const a = new TestHost();
    const b = new TestHost(`${PEER}/24`);
    const { client, replies } = listen(a);
    const careless = a.ipv4.icmp.echo.open({
      reply: () => {
        throw new Error('application');
      },
      error: () => {},
    })!;
    for (const who of [careless, client, client]) a.ipv4.icmp.echo.send(who, addr(PEER), 1, counting(8));
    for (const { bytes } of a.eth.take()) b.receive(bytes);
    for (const { bytes } of b.eth.take()) a.receive(bytes);
    expect(() => a.ipv4.deliver()).toThrow('application');
    expect(a.ipv4.pending).toBe(true);
    a.ipv4.deliver();
    expect(replies).toHaveLength(2);
  });

  it('asks for 65000 bytes and gets them', () => {
    const a = new TestHost();
    const b = new TestHost(`${PEER}/24`);
    const { client, replies } = listen(a);
    expect(a.ipv4.icmp.echo.send(client, addr(PEER), 1, counting(65_000))).toBe('sent');
    exchange(a, b);
    expect(replies[0]!.data).toEqual(counting(65_000));
    expect(a.ipv4.icmp.echo.send(client, addr(PEER), 2, counting(65_508))).toBe('too big');
  });

  it('asks itself through loopback', () => {
    const a = new TestHost();
    const { client, replies } = listen(a);
    for (const to of [OURS, '127.0.0.1', '127.3.4.5']) {
      expect(a.ipv4.icmp.echo.send(client, addr(to), 1, counting(3000))).toBe('sent');
    }
    a.round();
    a.round();
    expect(replies.map((r) => `${r.source}`)).toEqual([OURS, '127.0.0.1', '127.3.4.5']);
    expect(a.eth.sent).toHaveLength(0);
  });

  it('hears of errors about its requests, and of no others', () => {
    const a = new TestHost();
    const { client, errors } = listen(a);
    a.ipv4.icmp.echo.send(client, addr(REMOTE), 4, counting(56), { ttl: 1 });
    const request = a.eth.take()[0]!.bytes;
    a.receive(icmpDatagram(11, 0, 0, request.slice(0, 28), { source: '10.7.0.254' }));
    a.receive(icmpDatagram(3, 1, 0, request, { source: '10.7.0.254' }));
    const other = request.slice();
    other[24] = other[24]! ^ 255; // another identifier
    a.receive(icmpDatagram(3, 1, 0, other, { source: '10.7.0.254' }));
    a.round();
    expect(errors.map((e) => [e.kind, e.sequence, `${e.reporter}`, `${e.destination}`])).toEqual([
      ['ttl exceeded', 4, '10.7.0.254', REMOTE],
      ['host unreachable', 4, '10.7.0.254', REMOTE],
    ]);
  });

  it('holds a bounded number of replies, and none for a closed client', () => {
    const a = new TestHost();
    const { client, replies } = listen(a);
    const rest = client.identifier * 65_536;
    let taken = 0;
    for (let i = 0; i < 2000; i++) {
      if (a.receive(icmpDatagram(0, 0, rest + i, counting(8))) === undefined) taken++;
    }
    expect(taken).toBe(1024);
    a.ipv4.icmp.echo.close(client);
    a.round();
    expect(replies).toHaveLength(0);
    expect(a.receive(icmpDatagram(0, 0, rest, counting(8)))).toBe('icmp ignored');
  });
});

describe('RFC 1122 3.2.2, RFC 1812 4.3: complaining', () => {
  it('hostile 13, 55: quotes as much as fits in 576 bytes, unchanged, and not one byte of padding', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1400 }), fc.integer({ min: 0, max: 30 }), (length, padding) => {
        const host = new TestHost();
        const bytes = datagram({ protocol: 99, payload: counting(length), padding });
        host.receive(bytes);
        const [sent] = host.eth.take();
        expect(isSound(sent!.bytes)).toBe(true);
        expect(sent!.bytes.length).toBeLessThanOrEqual(576);
        const quoted = sent!.bytes.slice(28);
        expect(quoted).toEqual(bytes.slice(0, Math.min(20 + length, MAX_QUOTE)));
        expect(sent!.bytes[1]).toBe(0);
      }),
    );
  });

  it('quotes a packet as a wire would have had it: a checksum that was left to hardware is completed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1400 }), fc.integer(), (length, seed) => {
        const data = counting(length).map((byte) => (byte * seed) & 255);
        const whole = udpDatagram(4000, 4001, data);
        const pending = whole.slice();
        // As the kernel leaves it: the sum of the pseudo-header.
        viewOf(pending).setUint16(26, fold(pseudoHeaderSum(addr(PEER), addr(OURS), 17, 8 + length)));
        const host = new TestHost();
        host.receive(pending, { trusted: true });
        const [sent] = host.eth.take();
        expect(isSound(sent!.bytes)).toBe(true);
        expect(sent!.bytes.slice(28)).toEqual(whole.slice(0, Math.min(28 + length, MAX_QUOTE)));
      }),
    );
    // RFC 768: none is none.
    const none = udpDatagram(4000, 4001, counting(5));
    viewOf(none).setUint16(26, 0);
    const host = new TestHost();
    host.receive(none, { trusted: true });
    expect(host.eth.take()[0]!.bytes.slice(28)).toEqual(none);
  });

  it('says nothing about ICMP errors, later fragments, groups, link broadcasts and nobody', () => {
    const host = new TestHost();
    const error = icmpDatagram(3, 1, 0, datagram({ source: OURS, payload: counting(8) }), {
      options: [7, 9, 9, 9],
    });
    expect(host.receive(error)).toBe('bad option');
    host.receive(icmpDatagram(77, 0, 0, counting(8), { options: [7, 9, 9, 9] }));
    host.receive(datagram({ protocol: 1, options: [7, 9, 9, 9] }));
    host.receive(datagram({ protocol: 99, options: [7, 9, 9, 9], offset: 8, payload: counting(8) }));
    host.receive(datagram({ protocol: 99, destination: '10.7.0.255' }));
    host.receive(datagram({ protocol: 99, destination: '224.0.0.1' }));
    host.receive(datagram({ protocol: 99 }), { linkCast: BROADCAST });
    host.receive(udpDatagram(5, 9, counting(8), { destination: '10.7.0.255' }));
    host.receive(udpDatagram(5, 9, counting(8), { source: '0.0.0.0', destination: '255.255.255.255' }));
    expect(host.eth.sent).toHaveLength(0);
    expect(answersPing(host)).toBe(true);
  });

  it('answers about an echo request, which is a query', () => {
    const host = new TestHost();
    host.receive(echoRequest(1, 1, counting(8), { options: [7, 9, 9, 9] }));
    expect(host.eth.take()[0]!.bytes[20]).toBe(12);
  });

  it('hostile 66: one destination gets six at once, then one a second', () => {
    const host = new TestHost();
    for (let i = 0; i < 50; i++) host.receive(datagram({ protocol: 99 }));
    expect(host.eth.take()).toHaveLength(6);
    expect(host.ipv4.icmp.counters.icmpOutRateLimited).toBe(44);
    host.now += 2 * SECOND;
    for (let i = 0; i < 50; i++) host.receive(datagram({ protocol: 99 }));
    expect(host.eth.take()).toHaveLength(2);
    host.receive(datagram({ protocol: 99, source: '10.7.0.44' }));
    expect(host.eth.take()).toHaveLength(1);
    expect(answersPing(host)).toBe(true);
  });

  it('hostile 66 (SAD DNS): the limit of all together cannot be counted', () => {
    const counts = new Set<number>();
    for (let seed = 1; seed <= 12; seed++) {
      const host = new TestHost(undefined, seed);
      for (let i = 0; i < 500; i++) {
        host.receive(datagram({ protocol: 99, source: `10.7.0.${3 + (i % 200)}` }));
      }
      counts.add(host.eth.take().length);
    }
    for (const n of counts) {
      expect(n).toBeGreaterThanOrEqual(16);
      expect(n).toBeLessThanOrEqual(50);
    }
    expect(counts.size).toBeGreaterThan(2);
  });
});

/** A TCP packet of ours as a router would quote it. */
function quote(fields: Fields & { length?: number } = {}): Uint8Array {
  const { length = 1500 } = fields;
  const whole = datagram({
    source: OURS,
    destination: REMOTE,
    protocol: TCP,
    flags: 0x4000,
    payload: counting(length - 20),
    ...fields,
  });
  return whole.slice(0, 28);
}

function withTcp(): { host: TestHost; tcp: Recorder; mtu(): number } {
  const host = new TestHost();
  const tcp = new Recorder();
  host.ipv4.register(TCP, tcp);
  const path = host.ipv4.path(addr(REMOTE), undefined, 0);
  if (typeof path === 'string') throw new Error(path);
  return { host, tcp, mtu: () => path.mtu };
}

describe('RFC 1122 3.2.2.1: errors that come in', () => {
  it('go to the transport of the quoted packet, with at least eight of its bytes', () => {
    const kinds: [number, number, string | undefined][] = [
      [3, 0, 'net unreachable'],
      [3, 1, 'host unreachable'],
      [3, 2, 'protocol unreachable'],
      [3, 3, 'port unreachable'],
      [3, 5, 'source route failed'],
      [3, 6, 'net unreachable'],
      [3, 7, 'host unreachable'],
      [3, 9, 'prohibited'],
      [3, 13, 'prohibited'],
      [3, 15, 'prohibited'],
      [3, 16, undefined],
      [3, 255, undefined],
      [11, 0, 'ttl exceeded'],
      [11, 1, 'reassembly timeout'],
      [11, 2, undefined],
      [12, 0, 'parameter problem'],
      [12, 9, undefined],
    ];
    for (const [type, code, kind] of kinds) {
      const { host, tcp } = withTcp();
      const verdict = host.receive(icmpDatagram(type, code, 0, quote(), { source: '203.0.113.1' }));
      expect(verdict, `${type}/${code}`).toBe(kind === undefined ? 'icmp ignored' : undefined);
      expect(tcp.errors.map((e) => e.kind)).toEqual(kind === undefined ? [] : [kind]);
      const [error] = tcp.errors;
      if (error === undefined) continue;
      expect(`${error.source} ${error.destination} ${error.reporter}`).toBe(`${OURS} ${REMOTE} 203.0.113.1`);
      expect(error.end - error.at).toBe(8);
      expect(error.view.getUint8(error.at)).toBe(0);
      expect(error.view.getUint8(error.at + 1)).toBe(counting(2)[1]);
    }
  });

  it('hostile 14, 58: quotes that are short, foreign or false are dropped', () => {
    const { host, tcp } = withTcp();
    const good = quote();
    for (let n = 0; n < 28; n++) {
      expect(host.receive(icmpDatagram(3, 1, 0, good.slice(0, n))), `cut at ${n}`).toBe('bad icmp');
    }
    const wrongVersion = good.slice();
    wrongVersion[0] = 0x65;
    const shortIhl = good.slice();
    shortIhl[0] = 0x44;
    const longIhl = good.slice();
    longIhl[0] = 0x4f;
    const shortTotal = good.slice();
    shortTotal[2] = 0;
    shortTotal[3] = 27;
    for (const bytes of [wrongVersion, shortIhl, longIhl, shortTotal, quote({ source: '10.7.0.3' })]) {
      expect(host.receive(icmpDatagram(3, 1, 0, bytes))).toBe('bad icmp');
    }
    expect(host.receive(icmpDatagram(3, 1, 0, quote({ offset: 8 })))).toBe('icmp ignored');
    expect(host.receive(icmpDatagram(3, 1, 0, quote({ protocol: 200 })))).toBe('icmp ignored');
    expect(host.receive(icmpDatagram(3, 1, 0, good, { destination: '10.7.0.255' }))).toBe('icmp ignored');
    expect(tcp.errors).toHaveLength(0);
    expect(host.receive(icmpDatagram(3, 1, 0, good))).toBeUndefined();
    expect(tcp.errors).toHaveLength(1);
    expect(answersPing(host)).toBe(true);
  });

  it('no bytes make it throw or answer', () => {
    const { host } = withTcp();
    fc.assert(
      fc.property(
        fc.constantFrom(3, 11, 12),
        fc.integer({ min: 0, max: 16 }),
        fc.uint8Array({ maxLength: 80 }),
        fc.boolean(),
        (type, code, tail, honest) => {
          const data = honest ? Uint8Array.from([...quote(), ...tail]) : tail;
          host.receive(icmpDatagram(type, code, 0, data));
          expect(host.eth.take()).toHaveLength(0);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('RFC 1191: Path MTU Discovery', () => {
  it('3: lowers the path to the MTU that the router tells, for every path to that destination', () => {
    const { host, tcp, mtu } = withTcp();
    expect(mtu()).toBe(1500);
    expect(host.receive(icmpDatagram(3, 4, 1400, quote()))).toBeUndefined();
    expect(mtu()).toBe(1400);
    expect(tcp.errors[0]).toMatchObject({ kind: 'packet too big', mtu: 1400 });
    const again = host.ipv4.path(addr(REMOTE), undefined, 0);
    expect(typeof again === 'string' ? again : again.mtu).toBe(1400);
    const other = host.ipv4.path(addr('192.0.2.10'), undefined, 0);
    expect(typeof other === 'string' ? other : other.mtu).toBe(1500);
  });

  it('hostile 64: never raises, never believes less than 68, never goes below the floor', () => {
    const { host, tcp, mtu } = withTcp();
    for (const lie of [1500, 1501, 9000, 65_535, 1, 67]) {
      expect(host.receive(icmpDatagram(3, 4, lie, quote())), `${lie}`).toBe('icmp ignored');
    }
    host.receive(icmpDatagram(3, 4, 1400, quote()));
    expect(host.receive(icmpDatagram(3, 4, 1450, quote()))).toBe('icmp ignored');
    expect(mtu()).toBe(1400);
    host.receive(icmpDatagram(3, 4, 68, quote()));
    expect(mtu()).toBe(PMTU_FLOOR);
    expect(tcp.errors.map((e) => e.mtu)).toEqual([1400, PMTU_FLOOR]);
    expect(answersPing(host)).toBe(true);
  });

  it('below the floor, packets go without DF so that routers can cut them', () => {
    const { host } = withTcp();
    host.receive(icmpDatagram(3, 4, 296, quote()));
    const path = host.ipv4.path(addr(REMOTE), undefined, 0);
    if (typeof path === 'string') throw new Error(path);
    const frame = makeFrames(1)[0]!;
    frame.copyIn(counting(500), 0, 500);
    host.ipv4.send(path, TCP, frame, { ttl: 64, trafficClass: 0, dontFragment: true });
    expect(host.eth.take()[0]!.view.getUint16(6)).toBe(0);
  });

  it('believes only complaints about a packet with DF that really was too big', () => {
    const { host, mtu } = withTcp();
    expect(host.receive(icmpDatagram(3, 4, 1400, quote({ flags: 0 })))).toBe('icmp ignored');
    expect(host.receive(icmpDatagram(3, 4, 1400, quote({ length: 1400 })))).toBe('icmp ignored');
    expect(mtu()).toBe(1500);
  });

  it('RFC 5927 7: asks the transport before it believes', () => {
    const { host, tcp, mtu } = withTcp();
    tcp.believes = false;
    expect(host.receive(icmpDatagram(3, 4, 1400, quote()))).toBe('icmp ignored');
    expect(mtu()).toBe(1500);
    expect(tcp.errors).toHaveLength(0);
  });

  it('5: a router that tells no MTU means the next plateau below the packet', () => {
    const { host, mtu } = withTcp();
    host.receive(icmpDatagram(3, 4, 0, quote()));
    expect(mtu()).toBe(1492);
    host.receive(icmpDatagram(3, 4, 0, quote({ length: 1492 })));
    expect(mtu()).toBe(1006);
    // 4.2BSD routers add the header length to the total length.
    host.receive(icmpDatagram(3, 4, 0, quote({ length: 1026 })));
    expect(mtu()).toBe(PMTU_FLOOR);
    expect([65_535, 1500, 1492, 508, 100, 68, 20].map(plateauBelow)).toEqual([
      32_000, 1492, 1006, 296, 68, 68, 68,
    ]);
  });

  it('6.3: forgets after ten minutes', () => {
    const { host, mtu } = withTcp();
    host.receive(icmpDatagram(3, 4, 1400, quote()));
    host.round(PMTU_AGE - MINUTE);
    expect(mtu()).toBe(1400);
    host.receive(icmpDatagram(3, 4, 1300, quote({ length: 1400 })));
    host.round(MINUTE);
    expect(mtu()).toBe(1300); // what was learned anew lives anew
    host.round(PMTU_AGE);
    expect(mtu()).toBe(1500);
    expect(host.timers.armed).toBe(0);
  });

  it('remembers a bounded number of destinations', () => {
    const { host } = withTcp();
    for (let i = 0; i < 3000; i++) {
      const destination = `198.51.${i >> 8}.${i & 255}`;
      host.receive(icmpDatagram(3, 4, 1400, quote({ destination })));
    }
    expect(host.ipv4.pathMtus.size).toBe(1024);
  });

  it('a ping with DF that is too big for a router learns it', () => {
    const a = new TestHost();
    const errors: EchoError[] = [];
    const client = a.ipv4.icmp.echo.open({ reply: () => {}, error: (e) => errors.push(e) })!;
    const options = { dontFragment: true };
    expect(a.ipv4.icmp.echo.send(client, addr(REMOTE), 1, counting(1472), options)).toBe('sent');
    const request = a.eth.take()[0]!.bytes;
    expect(request[9]).toBe(PROTOCOL_ICMP);
    a.receive(icmpDatagram(3, 4, 1400, request.slice(0, 28)));
    a.round();
    expect(errors[0]).toMatchObject({ kind: 'packet too big', mtu: 1400 });
    expect(a.ipv4.icmp.echo.send(client, addr(REMOTE), 2, counting(1472), options)).toBe('too big');
    expect(a.ipv4.icmp.echo.send(client, addr(REMOTE), 3, counting(1372), options)).toBe('sent');
  });
});
