import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANY_V6 } from '../../src/base/address.ts';
import type { ErrorCode } from '../../src/base/errors.ts';
import { COPY_BELOW } from '../../src/udp/receive.ts';
import {
  bindUdp,
  closeUdp,
  connectUdp,
  type Datagram,
  disconnectUdp,
  joinGroup,
  leaveGroup,
  openUdp,
  resumeUdp,
  sendUdp,
  setGroupFilter,
  type UdpSocket,
  type UdpSocketOptions,
  type UdpUser,
} from '../../src/udp/udp.ts';
import {
  addr,
  answersPing,
  counting,
  datagram,
  exchange,
  icmpDatagram,
  interfaceAddress,
  isSound,
  OURS,
  PEER,
  TestHost,
  TestInterface,
  udpDatagram,
  udpPayload,
} from '../ipv4/harness.ts';

interface Heard {
  data: Uint8Array;
  from: string;
  info: Datagram;
}

class User implements UdpUser {
  heard: Heard[] = [];
  errors: ErrorCode[] = [];
  writables = 0;
  socket!: UdpSocket;

  received(
    _socket: UdpSocket,
    slab: { bytes: Uint8Array },
    offset: number,
    length: number,
    source: { toString(): string },
    sourcePort: number,
    info: Datagram,
  ): void {
    const data = slab.bytes.slice(offset, offset + length);
    this.heard.push({ data, from: `${source}:${sourcePort}`, info });
  }

  error(_socket: UdpSocket, code: ErrorCode): void {
    this.errors.push(code);
  }

  writable(): void {
    this.writables++;
  }
}

function open(host: TestHost, options: Partial<UdpSocketOptions> = {}): User {
  const user = new User();
  user.socket = openUdp(host.udp, { family: 4, user, ...options });
  return user;
}

function bound(
  host: TestHost,
  port: number,
  address?: string,
  options: Partial<UdpSocketOptions> = {},
): User {
  const user = open(host, options);
  expect(bindUdp(user.socket, address === undefined ? undefined : addr(address), port)).toBeUndefined();
  return user;
}

function text(user: User): string[] {
  return user.heard.map((h) => String.fromCharCode(...h.data));
}

function bytes(s: string): Uint8Array {
  return Uint8Array.from(s, (c) => c.charCodeAt(0));
}

function say(user: User, what: string, to?: string, port?: number): number | ErrorCode {
  const data = bytes(what);
  return sendUdp(user.socket, data, 0, data.length, to === undefined ? undefined : addr(to), port);
}

/** A datagram from the peer, and the reply to it. */
function works(host: TestHost, user: User): void {
  user.heard = [];
  host.eth.take();
  expect(host.receive(udpDatagram(4000, user.socket.localPort, bytes('still there?')))).toBeUndefined();
  host.round();
  expect(text(user)).toEqual(['still there?']);
  expect(say(user, 'yes', PEER, 4000)).toBe(3);
  expect(isSound(host.eth.take()[0]!.bytes)).toBe(true);
}

describe('RFC 768: in and out', () => {
  it('carries any data between two hosts, whole', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9000 }), (length) => {
        const a = new TestHost();
        const b = new TestHost(`${PEER}/24`);
        const client = open(a);
        const server = bound(b, 53);
        expect(sendUdp(client.socket, counting(length + 5), 5, length, addr(PEER), 53)).toBe(length);
        expect(a.eth.sent.every((s) => isSound(s.bytes))).toBe(true);
        exchange(a, b, 2);
        expect(server.heard).toHaveLength(1);
        expect(server.heard[0]!.data).toEqual(counting(length + 5).slice(5));
        expect(server.heard[0]!.from).toBe(`${OURS}:${client.socket.localPort}`);
      }),
      { numRuns: 40 },
    );
  });

  it('sends nothing that is not in the bytes it was given', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    for (const [offset, length] of [
      [0, 11],
      [5, 6],
      [-1, 5],
      [3, -1],
    ] as const) {
      expect(sendUdp(user.socket, counting(10), offset, length, addr(PEER), 9)).toBe('EINVAL');
    }
    expect(host.eth.sent).toHaveLength(0);
  });

  it('RFC 1122 4.1.3.5: tells the user where a datagram was sent, and by what', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    host.receive(udpDatagram(9, 7, bytes('x'), { ttl: 3, tos: 0x2e, destination: '10.7.0.255' }));
    host.round();
    const { info } = server.heard[0]!;
    expect([`${info.destination}`, info.interfaceIndex, info.ttl, info.trafficClass]).toEqual([
      '10.7.0.255',
      2,
      3,
      0x2e,
    ]);
  });

  it('calls the user only from deliver', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    host.receive(udpDatagram(9, 7, bytes('x')));
    expect(server.heard).toHaveLength(0);
    expect(host.udp.pending).toBe(true);
    host.udp.deliver();
    expect(text(server)).toEqual(['x']);
    expect(host.udp.pending).toBe(false);
  });

  it('reaches its own host through loopback', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    const client = open(host);
    expect(say(client, 'one', '127.0.0.1', 7)).toBe(3);
    expect(say(client, 'two', OURS, 7)).toBe(3);
    host.round();
    expect(text(server)).toEqual(['one', 'two']);
    expect(server.heard.map((h) => h.from.split(':')[0])).toEqual(['127.0.0.1', OURS]);
  });

  it('takes the size that fits a datagram and not one byte more (EMSGSIZE)', () => {
    const host = new TestHost();
    const client = open(host);
    expect(sendUdp(client.socket, counting(65_508), 0, 65_508, addr(PEER), 9)).toBe('EMSGSIZE');
    expect(sendUdp(client.socket, counting(65_508), 0, 65_507, addr(PEER), 9)).toBe(65_507);
    client.socket.dontFragment = true;
    expect(sendUdp(client.socket, counting(1473), 0, 1473, addr(PEER), 9)).toBe('EMSGSIZE');
    host.eth.take();
    expect(sendUdp(client.socket, counting(1472), 0, 1472, addr(PEER), 9)).toBe(1472);
    expect(host.eth.take()[0]!.view.getUint16(6)).toBe(0x4000);
  });

  it('uses TTL and traffic class of the socket (RFC 1122 4.1.4)', () => {
    const host = new TestHost();
    const client = open(host);
    client.socket.ttl = 7;
    client.socket.trafficClass = 0xb8;
    say(client, 'x', PEER, 9);
    const [sent] = host.eth.take();
    expect([sent!.bytes[8], sent!.bytes[1]]).toEqual([7, 0xb8]);
  });
});

describe('RFC 768, RFC 1122 4.1.3.4: checks', () => {
  it('hostile 91: a wrong checksum is dropped, none is accepted, a trusted one is not looked at', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    const wrong = udpDatagram(9, 7, bytes('wrong'));
    wrong[28] = wrong[28]! ^ 1;
    expect(host.receive(wrong)).toBe('bad checksum');
    expect(host.receive(wrong, { trusted: true })).toBeUndefined();
    const none = datagram({ payload: udpPayload(9, 7, bytes('none'), { checksum: false }) });
    expect(host.receive(none)).toBeUndefined();
    host.round();
    expect(text(server)).toEqual(['vrong', 'none']);
    expect(host.udp.counters).toMatchObject({ udpInErrors: 1, udpInCsumErrors: 1, udpInDatagrams: 2 });
  });

  it('sends 0xffff where the sum is zero', () => {
    const host = new TestHost();
    const client = bound(host, 5000);
    // Among all two-byte messages one makes the sum zero.
    for (let i = 0; i < 65_536; i++) {
      sendUdp(client.socket, Uint8Array.of(i >> 8, i & 255), 0, 2, addr(PEER), 6000);
      const [sent] = host.eth.take();
      const checksum = sent!.view.getUint16(26);
      expect(checksum).not.toBe(0);
      if (checksum === 0xffff) {
        const peer = new TestHost(`${PEER}/24`);
        const server = bound(peer, 6000);
        peer.receive(sent!.bytes);
        peer.round();
        expect(server.heard).toHaveLength(1);
        return;
      }
    }
    expect.unreachable();
  });

  it('hostile 109: lengths below 8, beyond the packet, and shorter than it', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    for (let length = 0; length < 8; length++) {
      const payload = udpPayload(9, 7, counting(20), { length, checksum: false });
      expect(host.receive(datagram({ payload }))).toBe('bad length');
    }
    const beyond = udpPayload(9, 7, counting(20), { length: 29, checksum: false });
    expect(host.receive(datagram({ payload: beyond, padding: 20 }))).toBe('bad length');
    const shorter = udpPayload(9, 7, counting(20), { length: 11, checksum: false });
    expect(host.receive(datagram({ payload: shorter }))).toBeUndefined();
    host.round();
    expect(server.heard[0]!.data).toEqual(counting(3));
    works(host, server);
  });

  it('is dropped when cut anywhere', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    const payload = udpPayload(9, 7, counting(9));
    for (let n = 0; n < payload.length; n++) {
      expect(
        host.receive(datagram({ payload: payload.slice(0, n), padding: 40 })),
        `cut at ${n}`,
      ).toBeDefined();
    }
    host.round();
    expect(server.heard).toHaveLength(0);
    works(host, server);
  });

  it('hostile 111: port 0 is nobody’s; from port 0 there is something to hear and nobody to answer', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    expect(host.receive(udpDatagram(9, 0, bytes('x')))).toBe('bad port');
    expect(host.eth.sent).toHaveLength(0);
    expect(host.receive(udpDatagram(0, 7, bytes('y')))).toBeUndefined();
    host.round();
    expect(server.heard[0]!.from).toBe(`${PEER}:0`);
    expect(say(server, 'z', PEER, 0)).toBe('EINVAL');
    works(host, server);
  });

  it('no bytes make it throw', () => {
    const host = new TestHost();
    const server = bound(host, 7);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 9 }),
        (data, trusted, gsoSize) => {
          const payload = data.slice();
          if (payload.length > 3) payload.set([0, 7], 2);
          host.receive(datagram({ payload }), { trusted, gsoSize });
          host.round(1);
        },
      ),
      { numRuns: 1500 },
    );
    host.now += 10_000_000;
    works(host, server);
  });
});

describe('RFC 1122 4.1.3.1: closed ports', () => {
  it('are answered with Port Unreachable that quotes the datagram', () => {
    const host = new TestHost();
    const asked = udpDatagram(9, 7, counting(30));
    expect(host.receive(asked)).toBe('no socket');
    const [sent] = host.eth.take();
    expect(isSound(sent!.bytes)).toBe(true);
    expect([...sent!.bytes.slice(20, 22)]).toEqual([3, 3]);
    expect(sent!.bytes.slice(28)).toEqual(asked);
    expect(host.udp.counters.udpNoPorts).toBe(1);
  });

  it('are not answered for broadcast and multicast', () => {
    const host = new TestHost();
    for (const destination of ['10.7.0.255', '255.255.255.255', '224.0.0.1']) {
      expect(host.receive(udpDatagram(9, 7, bytes('x'), { destination }))).toBe('no socket');
    }
    expect(host.eth.sent).toHaveLength(0);
    expect(answersPing(host)).toBe(true);
  });

  it('quote a reassembled datagram as if it had come whole', () => {
    const host = new TestHost();
    const payload = udpPayload(9, 7, counting(2000));
    host.receive(datagram({ payload: payload.slice(0, 1480), flags: 0x2000 }));
    host.receive(datagram({ payload: payload.slice(1480), offset: 1480 }));
    const [sent] = host.eth.take();
    expect(sent!.bytes.slice(28)).toEqual(datagram({ payload }).slice(0, 548));
  });
});

describe('RFC 1122 4.1.3.3: errors', () => {
  function connected(host: TestHost): User {
    const user = open(host);
    expect(connectUdp(user.socket, addr(PEER), 9)).toBeUndefined();
    say(user, 'x');
    return user;
  }

  it('reach the connected socket they are about, as errno', () => {
    const cases: [number, number, ErrorCode][] = [
      [3, 0, 'ENETUNREACH'],
      [3, 1, 'EHOSTUNREACH'],
      [3, 2, 'ENOPROTOOPT'],
      [3, 3, 'ECONNREFUSED'],
      [3, 13, 'EHOSTUNREACH'],
      [11, 0, 'EHOSTUNREACH'],
      [12, 0, 'EPROTO'],
    ];
    for (const [type, code, errno] of cases) {
      const host = new TestHost();
      const user = connected(host);
      const other = open(host);
      connectUdp(other.socket, addr(PEER), 10);
      const quoted = host.eth.take()[0]!.bytes.slice(0, 28);
      host.receive(icmpDatagram(type, code, 0, quoted));
      expect(user.errors).toEqual([]);
      host.round();
      expect(user.errors).toEqual([errno]);
      expect(other.errors).toEqual([]);
    }
  });

  it('are refused when ports or addresses are not those of the socket, and for unconnected ones', () => {
    const host = new TestHost();
    const user = connected(host);
    const loose = bound(host, 4444);
    say(loose, 'x', PEER, 9);
    const [mine, other] = host.eth.take().map((s) => s.bytes.slice(0, 28));
    for (const at of [20, 22, 16]) {
      const forged = mine!.slice();
      forged[at] = forged[at]! ^ 1;
      host.receive(icmpDatagram(3, 3, 0, forged));
    }
    host.receive(icmpDatagram(3, 3, 0, other!));
    host.round();
    expect(user.errors).toEqual([]);
    expect(loose.errors).toEqual([]);
  });

  it('hostile 108: a storm of them is one', () => {
    const host = new TestHost();
    const user = connected(host);
    const quoted = host.eth.take()[0]!.bytes;
    for (let i = 0; i < 10_000; i++) host.receive(icmpDatagram(3, 3, 0, quoted));
    host.round();
    expect(user.errors).toEqual(['ECONNREFUSED']);
    works(host, bound(host, 7));
  });

  it('a Path MTU is believed for sockets that set DF (RFC 1191)', () => {
    const host = new TestHost();
    const user = connected(host);
    const df = () => {
      const whole = datagram({ source: OURS, destination: PEER, flags: 0x4000, payload: counting(1400) });
      new DataView(whole.buffer).setUint16(20, user.socket.localPort);
      new DataView(whole.buffer).setUint16(22, 9);
      return whole.slice(0, 28);
    };
    expect(host.receive(icmpDatagram(3, 4, 1000, df()))).toBe('icmp ignored');
    user.socket.dontFragment = true;
    expect(host.receive(icmpDatagram(3, 4, 1000, df()))).toBeUndefined();
    host.round();
    expect(user.errors).toEqual(['EMSGSIZE']);
    expect(sendUdp(user.socket, counting(1000), 0, 1000)).toBe('EMSGSIZE');
    expect(sendUdp(user.socket, counting(1000), 0, 900)).toBe(900);
  });
});

describe('binding', () => {
  it('follows Linux’s rules for conflicts and SO_REUSEADDR', () => {
    const host = new TestHost();
    const first = bound(host, 7);
    expect(bindUdp(open(host).socket, undefined, 7)).toBe('EADDRINUSE');
    expect(bindUdp(open(host).socket, addr(OURS), 7)).toBe('EADDRINUSE');
    expect(bindUdp(open(host, { reuseAddress: true }).socket, undefined, 7)).toBe('EADDRINUSE');
    closeUdp(first.socket);
    bound(host, 7, OURS);
    bound(host, 7, '127.0.0.1');
    expect(bindUdp(open(host).socket, addr(OURS), 7)).toBe('EADDRINUSE');
    bound(host, 8, undefined, { reuseAddress: true });
    bound(host, 8, undefined, { reuseAddress: true });
  });

  it('refuses what is not ours, and binding twice', () => {
    const host = new TestHost();
    const user = open(host);
    expect(bindUdp(user.socket, addr('10.7.0.9'), 7)).toBe('EADDRNOTAVAIL');
    expect(bindUdp(user.socket, addr('fe80::1'), 7)).toBe('EAFNOSUPPORT');
    expect(bindUdp(user.socket, addr('239.1.1.1'), 7)).toBeUndefined();
    expect(bindUdp(user.socket, undefined, 8)).toBe('EINVAL');
    bound(host, 9, '10.7.0.255');
    bound(host, 9, '255.255.255.255');
  });

  it('families share a port only when the IPv6 socket keeps to IPv6', () => {
    const host = new TestHost();
    bound(host, 7, undefined, { family: 6, ipv6Only: true });
    bound(host, 7);
    bound(host, 8, undefined, { family: 6 });
    expect(bindUdp(open(host).socket, undefined, 8)).toBe('EADDRINUSE');
  });

  it('an IPv6 socket hears IPv4, and answers it, unless told otherwise', () => {
    const host = new TestHost();
    const dual = bound(host, 7, undefined, { family: 6 });
    works(host, dual);
    const only = open(host, { family: 6, ipv6Only: true });
    expect(bindUdp(only.socket, ANY_V6, 9)).toBeUndefined();
    expect(host.receive(udpDatagram(5, 9, bytes('x')))).toBe('no socket');
    expect(say(only, 'x', PEER, 9)).toBe('EAFNOSUPPORT');
  });

  it('RFC 6056 3.3.1: ports nobody asked for are random, free, and from the ephemeral range', () => {
    const host = new TestHost();
    const ports = Array.from({ length: 200 }, () => bound(host, 0).socket.localPort);
    expect(new Set(ports).size).toBe(200);
    expect(ports.every((p) => p >= 32_768 && p <= 60_999)).toBe(true);
    const steps = ports.slice(1).filter((p, i) => Math.abs(p - ports[i]!) < 10);
    expect(steps.length).toBeLessThan(10);
  });

  it('runs out of ports with an error, and finds the one that came free', () => {
    const host = new TestHost();
    const users: User[] = [];
    for (let port = 32_768; port <= 60_999; port++) users.push(bound(host, port));
    expect(bindUdp(open(host).socket, undefined, 0)).toBe('EADDRINUSE');
    expect(say(open(host), 'x', PEER, 9)).toBe('EADDRINUSE');
    closeUdp(users[12_345]!.socket);
    expect(bound(host, 0).socket.localPort).toBe(32_768 + 12_345);
  });
});

describe('finding the socket', () => {
  it('connected before bound to the address before bound to any', () => {
    const host = new TestHost();
    const any = bound(host, 7, undefined, { reuseAddress: true });
    const specific = bound(host, 7, OURS, { reuseAddress: true });
    const peer = bound(host, 7, OURS, { reuseAddress: true });
    expect(connectUdp(peer.socket, addr(PEER), 9)).toBeUndefined();
    host.eth.addresses.push(interfaceAddress('10.7.0.3/24'));
    host.changed();
    host.receive(udpDatagram(9, 7, bytes('connected')));
    host.receive(udpDatagram(10, 7, bytes('specific')));
    host.receive(udpDatagram(9, 7, bytes('also specific'), { source: '10.7.0.99' }));
    host.receive(udpDatagram(9, 7, bytes('any'), { destination: '10.7.0.3' }));
    host.round();
    expect([text(peer), text(specific), text(any)]).toEqual([
      ['connected'],
      ['specific', 'also specific'],
      ['any'],
    ]);
    closeUdp(peer.socket);
    closeUdp(specific.socket);
    host.receive(udpDatagram(9, 7, bytes('now any')));
    host.round();
    expect(text(any)).toEqual(['any', 'now any']);
  });

  it('of several with one address the newest hears unicast', () => {
    const host = new TestHost();
    const old = bound(host, 7, undefined, { reuseAddress: true });
    const young = bound(host, 7, undefined, { reuseAddress: true });
    host.receive(udpDatagram(9, 7, bytes('x')));
    host.round();
    expect([old.heard.length, young.heard.length]).toEqual([0, 1]);
  });

  it('finds one of thousands of connected sockets on one port', () => {
    const host = new TestHost();
    const users = Array.from({ length: 2000 }, (_, i) => {
      const user = bound(host, 7, undefined, { reuseAddress: true });
      expect(connectUdp(user.socket, addr(PEER), i + 1)).toBeUndefined();
      return user;
    });
    for (const i of [0, 1000, 1999]) host.receive(udpDatagram(i + 1, 7, bytes(`${i}`)));
    host.round();
    expect(users.flatMap((u, i) => (u.heard.length > 0 ? [[i, ...text(u)]] : []))).toEqual([
      [0, '0'],
      [1000, '1000'],
      [1999, '1999'],
    ]);
    for (const { socket } of users) closeUdp(socket);
    expect([...host.udp.ports.sockets()]).toEqual([]);
  });

  it('keeps to the interface it is bound to', () => {
    const host = new TestHost();
    const two = new TestInterface(3, 'two');
    two.addresses = [interfaceAddress('10.8.0.2/24')];
    host.interfaces.push(two);
    host.ipv4.addInterface(two);
    host.changed();
    const user = open(host);
    user.socket.boundInterface = 3;
    bindUdp(user.socket, undefined, 7);
    expect(host.receive(udpDatagram(9, 7, bytes('x')))).toBe('no socket');
    expect(
      host.receive(udpDatagram(9, 7, bytes('y'), { source: '10.8.0.9', destination: '10.8.0.2' }), {
        netif: two,
      }),
    ).toBeUndefined();
    user.socket.broadcast = true;
    say(user, 'z', '255.255.255.255', 9);
    expect(two.sent).toHaveLength(1);
    const beside = open(host);
    beside.socket.boundInterface = 2;
    expect(bindUdp(beside.socket, undefined, 7)).toBeUndefined();
  });
});

describe('connecting', () => {
  it('fixes the peer, lets it be left out, and is undone by disconnect', () => {
    const host = new TestHost();
    const user = open(host);
    expect(say(user, 'x')).toBe('EDESTADDRREQ');
    expect(disconnectUdp(user.socket)).toBe('ENOTCONN');
    expect(connectUdp(user.socket, addr(PEER), 9)).toBeUndefined();
    expect([`${user.socket.local}`, `${user.socket.remote}`, user.socket.remotePort]).toEqual([
      OURS,
      PEER,
      9,
    ]);
    expect(say(user, 'x')).toBe(1);
    const port = user.socket.localPort;
    expect(host.receive(udpDatagram(10, port, bytes('stranger')))).toBe('no socket');
    expect(host.receive(udpDatagram(9, port, bytes('peer')))).toBeUndefined();
    expect(connectUdp(user.socket, addr('10.7.0.20'), 10)).toBeUndefined();
    expect(disconnectUdp(user.socket)).toBeUndefined();
    expect([`${user.socket.local}`, user.socket.localPort]).toEqual(['0.0.0.0', port]);
    host.receive(udpDatagram(10, port, bytes('anyone')));
    host.round();
    expect(text(user)).toEqual(['peer', 'anyone']);
    host.gateway = undefined;
    host.changed();
    expect(connectUdp(user.socket, addr('192.0.2.1'), 9)).toBe('ENETUNREACH');
    expect(connectUdp(user.socket, addr(PEER), 0)).toBe('EINVAL');
  });

  it('asks for the way again when routes change', () => {
    const host = new TestHost();
    const user = open(host);
    connectUdp(user.socket, addr('192.0.2.1'), 9);
    say(user, 'x');
    host.gateway = addr('10.7.0.253');
    host.changed();
    say(user, 'x');
    expect(host.eth.take().map((s) => `${s.nextHop}`)).toEqual(['10.7.0.254', '10.7.0.253']);
  });
});

describe('RFC 1122 4.1.3.6, RFC 919: broadcast', () => {
  it('needs permission, and is heard by sockets of this host, too', () => {
    const host = new TestHost();
    const listener = bound(host, 7);
    const elsewhere = bound(host, 7777);
    const user = open(host);
    for (const to of ['255.255.255.255', '10.7.0.255']) expect(say(user, 'x', to, 7)).toBe('EACCES');
    expect(connectUdp(user.socket, addr('10.7.0.255'), 7)).toBe('EACCES');
    user.socket.broadcast = true;
    expect(say(user, 'x', '10.7.0.255', 7)).toBe(1);
    host.round();
    expect(host.eth.take()).toHaveLength(1);
    expect(text(listener)).toEqual(['x']);
    expect(elsewhere.heard).toHaveLength(0);
  });

  it('from a host without an address comes from 0.0.0.0, as DHCP needs it', () => {
    const host = new TestHost();
    host.eth.addresses = [];
    host.changed();
    const client = bound(host, 68);
    client.socket.broadcast = true;
    client.socket.boundInterface = 2;
    expect(say(client, 'discover', '255.255.255.255', 67)).toBe(8);
    const [sent] = host.eth.take();
    expect(isSound(sent!.bytes)).toBe(true);
    expect(sent!.view.getUint32(12)).toBe(0);
    host.receive(udpDatagram(67, 68, bytes('offer'), { destination: '255.255.255.255' }));
    host.round();
    expect(text(client)).toEqual(['offer']);
  });

  it('is heard by all that share the port', () => {
    const host = new TestHost();
    const users = [1, 2, 3].map(() => bound(host, 7, undefined, { reuseAddress: true }));
    const specific = bound(host, 7, OURS, { reuseAddress: true });
    const own = bound(host, 7, '10.7.0.255', { reuseAddress: true });
    const peer = bound(host, 7, undefined, { reuseAddress: true });
    connectUdp(peer.socket, addr(PEER), 9);
    const stranger = bound(host, 7, undefined, { reuseAddress: true });
    connectUdp(stranger.socket, addr(PEER), 10);
    host.receive(udpDatagram(9, 7, bytes('x'), { destination: '10.7.0.255' }));
    host.round();
    expect(users.map((u) => u.heard.length)).toEqual([1, 1, 1]);
    expect([specific, own, peer, stranger].map((u) => u.heard.length)).toEqual([0, 1, 1, 0]);
  });
});

describe('RFC 1112, RFC 3376: multicast', () => {
  const GROUP = '239.1.2.3';

  it('reaches every member, filtered by source for each', () => {
    const host = new TestHost();
    const share = { reuseAddress: true };
    const [all, only, but, none] = [0, 1, 2, 3].map(() => bound(host, 5353, undefined, share));
    none!.socket.multicastAll = false;
    expect(joinGroup(all!.socket, addr(GROUP), 2)).toBeUndefined();
    expect(joinGroup(only!.socket, addr(GROUP), 2, addr('10.7.0.21'))).toBeUndefined();
    expect(setGroupFilter(but!.socket, addr(GROUP), 2, 'exclude', [addr('10.7.0.21')])).toBeUndefined();
    host.receive(udpDatagram(9, 5353, bytes('21'), { source: '10.7.0.21', destination: GROUP }));
    host.receive(udpDatagram(9, 5353, bytes('22'), { source: '10.7.0.22', destination: GROUP }));
    host.round();
    expect([all, only, but, none].map((u) => text(u!))).toEqual([['21', '22'], ['21'], ['22'], []]);
    none!.socket.multicastAll = true;
    host.receive(udpDatagram(9, 5353, bytes('23'), { source: '10.7.0.23', destination: GROUP }));
    host.round();
    expect(text(none!)).toEqual(['23']);
  });

  it('is not for us until joined, nor after leaving or closing', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    const arrives = () => host.receive(udpDatagram(9, 7, bytes('x'), { destination: GROUP }));
    expect(arrives()).toBe('not for us');
    expect(joinGroup(user.socket, addr(GROUP), 0)).toBeUndefined();
    expect(user.socket.memberships[0]!.interfaceIndex).toBe(2);
    expect(joinGroup(user.socket, addr(GROUP), 0)).toBe('EADDRINUSE');
    expect(arrives()).toBeUndefined();
    expect(leaveGroup(user.socket, addr(GROUP), 0)).toBeUndefined();
    expect(leaveGroup(user.socket, addr(GROUP), 0)).toBe('EADDRNOTAVAIL');
    expect(arrives()).toBe('not for us');
    joinGroup(user.socket, addr(GROUP), 0);
    closeUdp(user.socket);
    expect(arrives()).toBe('not for us');
    expect(host.udp.joined.size).toBe(0);
  });

  it('joins and leaves sources as Linux does', () => {
    const host = new TestHost();
    const { socket } = open(host);
    const source = (n: number) => addr(`10.7.0.${n}`);
    expect(leaveGroup(socket, addr(GROUP), 2, source(1))).toBe('EADDRNOTAVAIL');
    expect(joinGroup(socket, addr(GROUP), 2, source(1))).toBeUndefined();
    expect(joinGroup(socket, addr(GROUP), 2, source(1))).toBe('EADDRNOTAVAIL');
    expect(joinGroup(socket, addr(GROUP), 2, source(2))).toBeUndefined();
    expect(joinGroup(socket, addr(GROUP), 2)).toBe('EADDRINUSE');
    expect(host.ipv4.igmp.groups(2)[0]!.sources.map(String)).toEqual(['10.7.0.1', '10.7.0.2']);
    expect(leaveGroup(socket, addr(GROUP), 2, source(1))).toBeUndefined();
    expect(leaveGroup(socket, addr(GROUP), 2, source(2))).toBeUndefined();
    expect(socket.memberships).toHaveLength(0);
    joinGroup(socket, addr(GROUP), 2);
    expect(joinGroup(socket, addr(GROUP), 2, source(1))).toBe('EINVAL');
    expect(leaveGroup(socket, addr(GROUP), 2, source(1))).toBe('EINVAL');
    expect(joinGroup(socket, addr('10.0.0.1'), 2)).toBe('EINVAL');
    expect(joinGroup(socket, addr(GROUP), 99)).toBe('ENODEV');
  });

  it('is sent with TTL 1, and looped to members of this host unless told otherwise', () => {
    const host = new TestHost();
    const member = bound(host, 7, undefined, { reuseAddress: true });
    const sender = bound(host, 7, undefined, { reuseAddress: true });
    joinGroup(member.socket, addr(GROUP), 2);
    sender.socket.multicastAll = false;
    expect(say(sender, 'one', GROUP, 7)).toBe(3);
    expect(host.eth.take().filter((s) => s.bytes[9] === 17)[0]!.bytes[8]).toBe(1);
    sender.socket.multicastLoop = false;
    say(sender, 'two', GROUP, 7);
    sender.socket.multicastLoop = true;
    sender.socket.multicastTtl = 0; // RFC 1112 6.1: stays in the host
    host.eth.take();
    say(sender, 'three', GROUP, 7);
    expect(host.eth.take()).toHaveLength(0);
    host.round();
    expect(text(member)).toEqual(['one', 'three']);
    expect(member.heard[0]!.from).toBe(`${OURS}:7`);
    expect(sender.heard).toHaveLength(0);
  });

  it('a socket bound to a group hears that group alone', () => {
    const host = new TestHost();
    const user = bound(host, 7, GROUP);
    joinGroup(user.socket, addr(GROUP), 2);
    joinGroup(user.socket, addr('239.9.9.9'), 2);
    host.receive(udpDatagram(9, 7, bytes('x'), { destination: GROUP }));
    host.receive(udpDatagram(9, 7, bytes('y'), { destination: '239.9.9.9' }));
    host.receive(udpDatagram(9, 7, bytes('z')));
    host.round();
    expect(text(user)).toEqual(['x']);
    host.eth.take();
    expect(say(user, 'answer', PEER, 9)).toBe(6);
    expect(host.eth.take()[0]!.view.getInt32(12)).toBe(addr(OURS).w3);
  });
});

describe('memory', () => {
  it('large payloads stay where they were received and pin that memory, small ones are copied', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    host.receive(udpDatagram(9, 7, counting(COPY_BELOW)));
    expect(host.packet.pinned).toBe(false);
    const slab = host.packet.slab;
    host.receive(udpDatagram(9, 7, counting(COPY_BELOW + 1)));
    expect(host.packet.pinned).toBe(true);
    const second = host.packet.slab;
    host.round();
    expect(user.heard[0]!.info.slab).not.toBe(slab);
    expect(user.heard[1]!.info.slab).toBe(second);
    expect(user.heard[1]!.data).toEqual(counting(COPY_BELOW + 1));
  });

  it('many small datagrams keep their own bytes', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    for (let i = 0; i < 500; i++) {
      host.receive(udpDatagram(9, 7, new Uint8Array(i).fill(i)));
    }
    host.round();
    expect(user.heard.every((h, i) => h.data.length === i && h.data.every((b) => b === (i & 255)))).toBe(
      true,
    );
    expect(user.heard.every((h) => h.info.slab.bytes.length <= 16 * 1024)).toBe(true);
  });

  it('a receive buffer is bounded in bytes and datagrams; what does not fit is counted', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    user.socket.receiveBuffer = 10_000;
    const verdicts = Array.from({ length: 20 }, () => host.receive(udpDatagram(9, 7, counting(1000))));
    expect(verdicts.filter((v) => v === undefined)).toHaveLength(7);
    expect(verdicts.filter((v) => v === 'queue full')).toHaveLength(13);
    for (let i = 0; i < 100; i++) host.receive(udpDatagram(9, 7, new Uint8Array(0)));
    host.round();
    expect(user.heard.length).toBeLessThan(40);
    expect(user.socket.drops).toBe(host.udp.counters.udpRcvbufErrors);
    works(host, user);
  });

  it('a paused user keeps its datagrams waiting, in order, even when it pauses among them', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    user.received = (socket, ...rest) => {
      User.prototype.received.call(user, socket, ...rest);
      if (user.heard.length === 2) socket.paused = true;
    };
    for (const word of ['a', 'b', 'c']) host.receive(udpDatagram(9, 7, bytes(word)));
    host.round();
    host.receive(udpDatagram(9, 7, bytes('d')));
    host.round();
    expect(text(user)).toEqual(['a', 'b']);
    expect(host.udp.pending).toBe(false);
    resumeUdp(user.socket);
    host.round();
    expect(text(user)).toEqual(['a', 'b', 'c', 'd']);
    expect(user.socket.queuedBytes).toBe(0);
  });

  it('a closed socket hears nothing of what waited, even when closed among them', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    user.received = (socket, ...rest) => {
      User.prototype.received.call(user, socket, ...rest);
      closeUdp(socket);
    };
    for (const word of ['a', 'b']) host.receive(udpDatagram(9, 7, bytes(word)));
    host.round();
    expect(text(user)).toEqual(['a']);
    expect(say(user, 'x', PEER, 9)).toBe('EINVAL');
    expect(bindUdp(user.socket, undefined, 8)).toBe('EINVAL');
    expect(host.receive(udpDatagram(9, 7, bytes('c')))).toBe('no socket');
    closeUdp(user.socket);
  });

  it('cuts a super-frame into the datagrams it stands for', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    const whole = udpDatagram(9, 7, counting(3500));
    expect(host.receive(whole, { gsoSize: 1000, trusted: true })).toBeUndefined();
    host.round();
    expect(user.heard.map((h) => h.data.length)).toEqual([1000, 1000, 1000, 500]);
    expect(Uint8Array.from(user.heard.flatMap((h) => [...h.data]))).toEqual(counting(3500));
    host.receive(udpDatagram(9, 77, counting(3500)), { gsoSize: 1000, trusted: true });
    expect(host.eth.take()).toHaveLength(1); // one complaint for all
  });
});

describe('an interface that is removed', () => {
  it('leaves nothing of a group behind', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    expect(joinGroup(user.socket, addr('239.1.2.3'), 2)).toBeUndefined();
    host.ipv4.removeInterface(host.eth);
    closeUdp(user.socket);
    expect([user.socket.memberships.length, host.udp.joined.size]).toEqual([0, 0]);
  });
});

describe('a callback that throws', () => {
  const boom = () => {
    throw new Error('application');
  };

  it('costs neither its own socket a datagram nor another its turn', () => {
    const host = new TestHost();
    const first = bound(host, 7);
    const second = bound(host, 8);
    for (const what of ['a', 'b', 'c']) host.receive(udpDatagram(9, 7, bytes(what)));
    host.receive(udpDatagram(9, 8, bytes('d')));
    first.received = boom;
    expect(() => host.udp.deliver()).toThrow('application');
    first.received = User.prototype.received;
    expect(host.udp.pending).toBe(true);
    host.udp.deliver();
    expect([text(first), text(second)]).toEqual([['b', 'c'], ['d']]);
    expect(first.socket.queuedBytes).toBe(0);
    works(host, first);
    works(host, second);
  });

  it('leaves datagrams behind an error, and writers behind a writer', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    connectUdp(user.socket, addr(PEER), 9);
    host.receive(udpDatagram(9, 7, bytes('x')));
    user.socket.pendingError = 'ECONNREFUSED';
    user.error = boom;
    expect(() => host.udp.deliver()).toThrow('application');
    host.udp.deliver();
    expect(text(user)).toEqual(['x']);
    const other = bound(host, 8);
    host.eth.room = 0;
    for (const waiting of [user, other]) expect(say(waiting, 'x', PEER, 9)).toBe('EAGAIN');
    host.eth.room = 5;
    user.writable = boom;
    expect(() => host.udp.deliver()).toThrow('application');
    host.udp.deliver();
    expect(other.writables).toBe(1);
  });
});

describe('a full interface', () => {
  it('says EAGAIN, and tells when there is room, once', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    host.eth.room = 0;
    expect(say(user, 'x', PEER, 9)).toBe('EAGAIN');
    expect(say(user, 'x', PEER, 9)).toBe('EAGAIN');
    host.round();
    expect(user.writables).toBe(0);
    expect(host.udp.pending).toBe(false);
    host.eth.room = 5;
    expect(host.udp.pending).toBe(true);
    host.round();
    host.round();
    expect(user.writables).toBe(1);
    expect(say(user, 'x', PEER, 9)).toBe(1);
  });

  it('reports what the interface says', () => {
    const host = new TestHost();
    const user = bound(host, 7);
    const answers = {
      unreachable: 'EHOSTUNREACH',
      down: 'ENETDOWN',
      full: 'EAGAIN',
      'too big': 'EMSGSIZE',
    } as const;
    for (const [result, code] of Object.entries(answers)) {
      host.eth.result = result as keyof typeof answers;
      expect(say(user, 'x', PEER, 9)).toBe(code);
    }
    host.eth.result = 'queued';
    expect(say(user, 'x', PEER, 9)).toBe(1);
  });
});
