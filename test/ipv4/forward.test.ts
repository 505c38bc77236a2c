import { describe, expect, it } from 'vitest';
import { BROADCAST } from '../../src/base/packet.ts';
import * as ip from '../../src/ipv4/header.ts';
import {
  counting,
  datagram,
  type Fields,
  interfaceAddress,
  isSound,
  OURS,
  PEER,
  Recorder,
  TestHost,
  TestInterface,
  udpDatagram,
} from './harness.ts';

const FAR = '10.8.0.9';

function router(): { host: TestHost; out: TestInterface } {
  const host = new TestHost();
  host.forwarding = true;
  host.gateway = undefined;
  const out = new TestInterface(3, 'out');
  out.addresses = [interfaceAddress('10.8.0.1/24')];
  host.interfaces.push(out);
  host.ipv4.addInterface(out);
  host.changed();
  return { host, out };
}

function passing(fields: Fields = {}): Uint8Array {
  return datagram({ destination: FAR, protocol: 6, payload: counting(100), ...fields });
}

describe('RFC 1812 5: forwarding', () => {
  it('takes one from the TTL and changes nothing else', () => {
    const { host, out } = router();
    expect(host.receive(passing({ ttl: 9, options: [148, 4, 0, 0], padding: 12 }))).toBeUndefined();
    const [sent] = out.take();
    expect(isSound(sent!.bytes)).toBe(true);
    expect(sent!.bytes).toEqual(passing({ ttl: 8, options: [148, 4, 0, 0] }));
    expect(`${sent!.nextHop}`).toBe(FAR);
    expect(host.ipv4.counters).toMatchObject({
      ipSystemStatsInForwDatagrams: 1,
      ipSystemStatsOutForwDatagrams: 1,
      ipSystemStatsOutRequests: 0,
    });
  });

  it('a host does not (RFC 1122 3.3.4.2)', () => {
    const { host, out } = router();
    host.forwarding = false;
    expect(host.receive(passing())).toBe('not for us');
    expect(out.sent).toHaveLength(0);
  });

  it('5.3.1: answers a TTL that has run out with Time Exceeded, from the address on the way back', () => {
    const { host, out } = router();
    for (const ttl of [0, 1]) expect(host.receive(passing({ ttl }))).toBe('ttl exceeded');
    expect(out.sent).toHaveLength(0);
    const sent = host.eth.take();
    expect(sent.map(({ bytes }) => [bytes[20], bytes[21]])).toEqual([
      [11, 0],
      [11, 0],
    ]);
    expect(ip.sourceWord(sent[0]!.view, 0)).toBe(interfaceAddress(`${OURS}/24`).address.w3);
  });

  it('answers where there is no way with Net Unreachable', () => {
    const { host } = router();
    expect(host.receive(passing({ destination: '192.0.2.1' }))).toBe('no route');
    expect([...host.eth.take()[0]!.bytes.slice(20, 22)]).toEqual([3, 0]);
  });

  it('5.3.4, 5.3.5, RFC 3927 7: broadcasts, groups and link-local addresses stay on their link', () => {
    const { host, out } = router();
    expect(host.receive(passing(), { linkCast: BROADCAST })).toBe('not for us');
    host.receive(passing({ destination: '10.8.0.255' }));
    expect(host.receive(passing({ destination: '239.1.1.1' }))).toBe('not for us');
    expect(host.receive(passing({ destination: '169.254.1.1' }))).toBe('not for us');
    expect(host.receive(passing({ destination: '127.0.0.5' }))).toBe('martian destination');
    expect(host.receive(passing({ source: '10.8.0.1' }))).toBe('martian source');
    expect(host.receive(passing({ options: [131, 7, 4, 1, 2, 3, 4] }))).toBe('source route');
    expect(out.sent).toHaveLength(0);
  });

  it('5.2.6: cuts what is too large, or with DF tells the MTU (RFC 1191 4)', () => {
    const { host, out } = router();
    out.mtu = 600;
    expect(host.receive(passing({ payload: counting(1400), ttl: 5 }))).toBeUndefined();
    const pieces = out.take();
    expect(pieces).toHaveLength(3);
    const end = new TestHost(`${FAR}/24`);
    const tcp = new Recorder();
    end.ipv4.register(6, tcp);
    for (const { bytes } of pieces) end.receive(bytes);
    expect(tcp.packets[0]).toMatchObject({ payload: counting(1400), ttl: 4 });
    expect(host.receive(passing({ payload: counting(1400), flags: 0x4000 }))).toBe('bad length');
    const [error] = host.eth.take();
    expect([...error!.bytes.slice(20, 22), error!.view.getUint16(26)]).toEqual([3, 4, 600]);
    expect(out.sent).toHaveLength(0);
  });

  it('completes the checksum that the kernel left to hardware before it cuts', () => {
    const { host, out } = router();
    out.mtu = 600;
    const whole = udpDatagram(9, 7, counting(1400), { destination: FAR });
    const partial = whole.slice();
    partial[26] = 0x12;
    partial[27] = 0x34;
    expect(host.receive(partial, { trusted: true })).toBeUndefined();
    const end = new TestHost(`${FAR}/24`);
    const udp = new Recorder();
    end.ipv4.register(17, udp);
    for (const { bytes } of out.take()) end.receive(bytes);
    expect(udp.packets[0]!.payload).toEqual(whole.slice(20));
    // None stays none (RFC 768).
    partial.fill(0, 26, 28);
    host.receive(partial, { trusted: true });
    for (const { bytes } of out.take()) end.receive(bytes);
    expect([...udp.packets[1]!.payload.slice(6, 8)]).toEqual([0, 0]);
  });

  it('cuts a fragment into fragments', () => {
    const { host, out } = router();
    out.mtu = 300;
    const payload = counting(1600);
    host.receive(passing({ protocol: 99, payload: payload.slice(0, 800), flags: 0x2000 }));
    host.receive(passing({ protocol: 99, payload: payload.slice(800), offset: 800 }));
    const end = new TestHost(`${FAR}/24`);
    const transport = new Recorder();
    end.ipv4.register(99, transport);
    for (const { bytes } of out.take().reverse()) end.receive(bytes);
    expect(transport.packets[0]!.payload).toEqual(payload);
  });

  it('passes super-frames on whole, sent from where they lie', () => {
    const { host, out } = router();
    const payload = counting(30_000);
    payload[12] = 0x50;
    expect(
      host.receive(passing({ payload, flags: 0x4000 }), { gsoSize: 1448, trusted: true }),
    ).toBeUndefined();
    const [sent] = out.take();
    expect([sent!.gsoSize, sent!.bytes.length, sent!.attached]).toEqual([1448, 30_020, true]);
    expect(host.packet.pinned).toBe(true);
    out.mtu = 1400;
    expect(host.receive(passing({ payload, flags: 0x4000 }), { gsoSize: 1448, trusted: true })).toBe(
      'bad length',
    );
    expect([...host.eth.take()[0]!.bytes.slice(20, 22)]).toEqual([3, 4]);
  });

  it('completes a checksum that the kernel had left open', () => {
    const { host, out } = router();
    const bytes = udpDatagram(5, 6, counting(50), { destination: FAR });
    const right = bytes.slice(26, 28);
    bytes[26] = 0x77;
    host.receive(bytes, { trusted: true });
    const [sent] = out.take();
    expect(isSound(sent!.bytes)).toBe(true);
    expect(sent!.bytes.slice(26, 28)).toEqual(right);
  });

  it('drops without a word when the way is full', () => {
    const { host, out } = router();
    out.room = 0;
    expect(host.receive(passing())).toBe('queue full');
    expect(host.eth.sent).toHaveLength(0);
    out.room = 5;
    expect(host.receive(passing({ source: PEER }))).toBeUndefined();
    expect(out.sent).toHaveLength(1);
  });
});
