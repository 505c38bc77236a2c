import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/base/errors.ts';
import { Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { LOOPBACK_BATCH, LOOPBACK_ROUNDS } from '../../src/stack/stack.ts';
import { accept, close, listen, open, receive, send, shutdown } from '../../src/tcp/calls.ts';
import type { Tcb, TcpUser } from '../../src/tcp/tcb.ts';
import type { Listener } from '../../src/tcp/tcp.ts';
import { bindUdp, joinGroup, openUdp, sendUdp, type UdpSocket, type UdpUser } from '../../src/udp/udp.ts';
import { arpFrame, cidr, hex, ip, OTHER, RecordingPort, THEIRS } from './rig.ts';
import { type Node, twoHosts, World } from './world.ts';

/** A TCP user that writes down what it is told and collects what it receives. */
class Client implements TcpUser {
  readonly told: string[] = [];
  received = 0;
  error: ErrorCode | undefined | 'open' = 'open';
  echo = false;
  connected(): void {
    this.told.push('connected');
  }
  readable(tcb: Tcb): void {
    receive(tcb, 1 << 20, (slab, offset, length) => {
      this.received += length;
      if (this.echo) send(tcb, slab.bytes, offset, length);
    });
    if (tcb.receiveEnded) {
      this.told.push('end');
      close(tcb);
    }
  }
  writable(): void {
    this.told.push('writable');
  }
  drained(): void {
    this.told.push('drained');
  }
  closed(_tcb: Tcb, error: ErrorCode | undefined): void {
    this.told.push(`closed ${error}`);
    this.error = error;
  }
}

function serve(node: Node, port: number, each: (tcb: Tcb) => TcpUser): Listener {
  const listener = listen(node.stack.tcp, {
    port,
    backlog: 16,
    acceptable: (l: Listener) => {
      for (let tcb = accept(l); tcb !== undefined; tcb = accept(l)) tcb.user = each(tcb);
    },
  });
  if (typeof listener === 'string') throw new Error(listener);
  return listener;
}

function connect(node: Node, to: string, port: number, user: TcpUser): Tcb {
  const tcb = open(node.stack.tcp, { remote: ip(to), remotePort: port, user });
  if (typeof tcb === 'string') throw new Error(tcb);
  return tcb;
}

function udpOn(node: Node, port: number): { socket: UdpSocket; got: string[]; errors: string[] } {
  const got: string[] = [];
  const errors: string[] = [];
  const user: UdpUser = {
    received: (_s, slab, offset, length, source, sourcePort) =>
      got.push(
        `${source}:${sourcePort} ${String.fromCharCode(...slab.bytes.subarray(offset, offset + length))}`,
      ),
    error: (_s, code) => errors.push(code),
    writable: () => {},
  };
  const socket = openUdp(node.stack.udp, { family: 4, user });
  const error = bindUdp(socket, undefined, port);
  if (error !== undefined) throw new Error(error);
  return { socket, got, errors };
}

const text = (s: string) => Uint8Array.from(s, (c) => c.charCodeAt(0));

describe('two hosts on a wire', () => {
  it('resolve each other, connect, carry a megabyte both ways, and close', () => {
    const { world, a, b } = twoHosts();
    const server = new Client();
    server.echo = true;
    serve(b, 80, () => server);
    const client = new Client();
    const tcb = connect(a, '10.0.0.2', 80, client);
    world.settle();
    expect(client.told).toEqual(['connected']);
    const total = 1 << 20;
    const block = new Uint8Array(64 << 10);
    let sent = 0;
    while (client.received < total) {
      const left = Math.min(block.length, total - sent);
      if (left > 0) sent += send(tcb, block, 0, left);
      world.settle();
      if (client.received < total) world.pass(10 * MILLISECOND);
      if (world.now > 1_100 * SECOND) throw new Error(`only ${client.received} came back`);
    }
    expect(server.received).toBe(total);
    shutdown(tcb);
    world.pass(120 * SECOND);
    expect(client.error).toBeUndefined();
    expect(server.error).toBeUndefined();
    expect(a.stack.tcp.count).toBe(0);
    expect(b.stack.tcp.count).toBe(0);
    expect(a.stack.drops).toEqual({});
    expect(b.stack.drops).toEqual({});
  });

  it('the same seed gives the same bytes', () => {
    const run = (seed: number) => {
      const { world, a, b } = twoHosts(seed);
      serve(b, 80, () => new Client());
      const tcb = connect(a, '10.0.0.2', 80, new Client());
      world.settle();
      send(tcb, text('hello'), 0, 5);
      world.settle();
      close(tcb);
      world.pass(90 * SECOND);
      return [...a.heard, ...b.heard].map(hex).join('\n');
    };
    expect(run(3)).toBe(run(3));
    expect(run(3)).not.toBe(run(4));
  });

  it('send datagrams to each other, to all, and to a group', () => {
    const { world, a, b, ib } = twoHosts();
    const from = udpOn(a, 5000);
    const to = udpOn(b, 6000);
    expect(sendUdp(from.socket, text('one'), 0, 3, ip('10.0.0.2'), 6000)).toBe(3);
    expect(sendUdp(from.socket, text('all'), 0, 3, ip('10.0.0.255'), 6000)).toBe('EACCES');
    from.socket.broadcast = true;
    sendUdp(from.socket, text('all'), 0, 3, ip('10.0.0.255'), 6000);
    sendUdp(from.socket, text('unheard'), 0, 7, ip('239.1.2.3'), 6000);
    world.settle();
    expect(joinGroup(to.socket, ip('239.1.2.3'), ib.index)).toBeUndefined();
    expect(ib.groups.map(String)).toContain('239.1.2.3');
    sendUdp(from.socket, text('group'), 0, 5, ip('239.1.2.3'), 6000);
    world.settle();
    // The broadcast does not wait for a link address: the first unicast does.
    expect(to.got.sort()).toEqual(['10.0.0.1:5000 all', '10.0.0.1:5000 group', '10.0.0.1:5000 one']);
  });

  it('a host that is not there: EHOSTUNREACH after three requests', () => {
    const { world, a } = twoHosts();
    const client = new Client();
    connect(a, '10.0.0.77', 80, client);
    world.pass(2.9 * SECOND);
    expect(client.told).toEqual([]);
    world.pass(0.2 * SECOND);
    expect(client.error).toBe('EHOSTUNREACH');
    expect(a.stack.counters().interfaces['pipe-a']!.arpOutRequests).toBe(3);
  });

  it('a connection that makes progress needs no probes of its neighbour (RFC 4861 7.3.1)', () => {
    const { world, a, b } = twoHosts();
    serve(b, 80, () => new Client());
    const tcb = connect(a, '10.0.0.2', 80, new Client());
    world.settle();
    const before = a.stack.counters().interfaces['pipe-a']!.arpOutRequests;
    for (let i = 0; i < 120; i++) {
      send(tcb, text('x'), 0, 1);
      world.pass(SECOND);
      a.stack.ip.confirm(tcb.path);
    }
    expect(a.stack.counters().interfaces['pipe-a']!.arpOutRequests).toBe(before);
  });
});

describe('ourselves', () => {
  it.each(['127.0.0.1', '127.4.5.6', '10.0.0.1'])('a connection to %s never touches the wire', (address) => {
    const { world, a, b } = twoHosts();
    world.pass(10 * SECOND);
    const heard = b.heard.length;
    const server = new Client();
    serve(a, 80, () => server);
    const client = new Client();
    const tcb = connect(a, address, 80, client);
    world.settle();
    expect(send(tcb, new Uint8Array(300_000), 0, 300_000)).toBe(300_000);
    world.pass(SECOND);
    expect(server.received).toBe(300_000);
    shutdown(tcb);
    world.pass(120 * SECOND);
    expect(client.error).toBeUndefined();
    expect(b.heard.length).toBe(heard);
    expect(a.stack.tcp.count).toBe(0);
  });

  it('one flush loops a bounded number of frames: a busy connection with ourselves starves nobody', () => {
    const { world, a } = twoHosts();
    world.pass(10 * SECOND);
    const ping = udpOn(a, 7);
    let n = 0;
    // Every datagram received is answered at once, by two.
    const socket = openUdp(a.stack.udp, {
      family: 4,
      user: {
        received: (s) => {
          n++;
          for (let i = 0; i < 2; i++) sendUdp(s, text('again'), 0, 5, ip('127.0.0.1'), 8);
        },
        error: () => {},
        writable: () => {},
      },
    });
    bindUdp(socket, undefined, 8);
    sendUdp(ping.socket, text('go'), 0, 2, ip('127.0.0.1'), 8);
    for (let round = 0; round < 50; round++) {
      const before = n;
      a.stack.flush();
      a.stack.deliver();
      expect(n - before).toBeLessThanOrEqual((LOOPBACK_ROUNDS + 1) * LOOPBACK_BATCH);
    }
    expect(n).toBeGreaterThan(100);
    expect(a.stack.pending).toBe(true);
  });
});

describe('forwarding', () => {
  it('a router joins two subnets, and says so when a host does not answer', () => {
    const world = new World();
    const [l1, l2] = createPipe();
    const [r1, r2] = createPipe({ macA: THEIRS, macB: OTHER });
    const a = world.node();
    const router = world.node({ forwarding: true });
    const b = world.node();
    const ia = a.attach(l1, '10.0.0.1/24');
    router.attach(l2, '10.0.0.254/24');
    router.attach(r1, '10.1.0.254/24');
    const ib = b.attach(r2, '10.1.0.1/24');
    a.stack.routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.0.0.254'), interfaceIndex: ia.index });
    b.stack.routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.1.0.254'), interfaceIndex: ib.index });
    const server = new Client();
    serve(b, 80, () => server);
    const client = new Client();
    const tcb = connect(a, '10.1.0.1', 80, client);
    world.settle();
    send(tcb, new Uint8Array(100_000), 0, 100_000);
    world.pass(SECOND);
    expect(server.received).toBe(100_000);
    const lost = connect(a, '10.1.0.99', 80, new Client());
    world.pass(3.5 * SECOND);
    // MUST-56: from a router it is a soft error; the connection goes on trying.
    expect(lost.softError).toBe('EHOSTUNREACH');
    expect(lost.state).toBe('SYN-SENT');
    expect(router.stack.counters().icmp.icmpStatsOutMsgs).toBeGreaterThan(0);
  });

  it('a host passes nothing on', () => {
    const { world, a, b, ia } = twoHosts();
    a.stack.routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.0.0.2'), interfaceIndex: ia.index });
    connect(a, '192.0.2.1', 80, new Client());
    world.pass(SECOND);
    expect(b.stack.drops['not for us']).toBeGreaterThan(0);
    expect(b.stack.counters().tcp.tcpInSegs).toBe(0);
  });
});

describe('what ends', () => {
  it('an interface removed takes its routes, addresses and connections with it', () => {
    const { world, a, b, ia } = twoHosts();
    serve(b, 80, () => new Client());
    const client = new Client();
    connect(a, '10.0.0.2', 80, client);
    world.settle();
    a.stack.removeInterface(ia);
    a.links.length = 0;
    world.settle();
    expect(client.error).toBe('ENETDOWN');
    expect(a.stack.interfaces.map((i) => i.name)).toEqual(['lo']);
    expect(a.stack.routes.list().every((r) => r.interface === a.stack.loopback)).toBe(true);
    expect(a.stack.ip.isLocal(ip('10.0.0.1'))).toBe(false);
    expect(open(a.stack.tcp, { remote: ip('10.0.0.2'), remotePort: 80, user: client })).toBe('ENETUNREACH');
    expect(a.stack.timers.armed).toBe(0);
    expect(() => a.stack.removeInterface(ia)).toThrow(RangeError);
    expect(() => a.stack.removeInterface(a.stack.loopback)).toThrow(RangeError);
  });

  it('an interface that goes down and up again carries the connection on', () => {
    const { world, a, b, ia } = twoHosts();
    const server = new Client();
    serve(b, 80, () => server);
    const tcb = connect(a, '10.0.0.2', 80, new Client());
    world.settle();
    ia.setUp(false);
    send(tcb, text('hello'), 0, 5);
    world.pass(0.5 * SECOND);
    expect(server.received).toBe(0);
    ia.setUp(true);
    world.pass(10 * SECOND);
    expect(server.received).toBe(5);
  });

  it('RFC 5227 2.1: an address that is probed again when the link comes up is not ours until then', () => {
    const { world, a, ia } = twoHosts();
    ia.addAddress(cidr('10.0.0.5/24'), { probe: true });
    expect(a.stack.ip.isLocal(ip('10.0.0.5'))).toBe(false);
    world.pass(10 * SECOND);
    expect(a.stack.ip.isLocal(ip('10.0.0.5'))).toBe(true);
    ia.setUp(false);
    ia.setUp(true);
    expect(a.stack.ip.isLocal(ip('10.0.0.5'))).toBe(false);
    expect(a.stack.routes.isLocal(ip('10.0.0.5'))).toBe(false);
    world.pass(10 * SECOND);
    expect(a.stack.ip.isLocal(ip('10.0.0.5'))).toBe(true);
  });

  it('RFC 5227 2.4: connections of an address that is lost are reset before it is abandoned', () => {
    const { world, a, b, ia } = twoHosts();
    const server = new Client();
    serve(b, 80, () => server);
    const client = new Client();
    connect(a, '10.0.0.2', 80, client);
    world.settle();
    const conflicts: string[] = [];
    a.stack.observer = {
      conflict: (_i, address, _mac, outcome) => conflicts.push(`${address.address} ${outcome}`),
    };
    for (let i = 0; i < 2; i++) {
      const bytes = arpFrame(1, OTHER, '10.0.0.1', '10.0.0.1');
      expect(a.stack.input(ia, new Packet().set(new Slab(bytes), 0, bytes.length))).toBe('arp conflict');
    }
    world.settle();
    expect(conflicts).toEqual(['10.0.0.1 defended', '10.0.0.1 lost']);
    expect(client.error).toBe('ECONNABORTED');
    expect(server.error).toBe('ECONNRESET');
    expect(a.stack.ip.isLocal(ip('10.0.0.1'))).toBe(false);
  });

  it('an observer that throws misses no other event', () => {
    const { world, a, ia } = twoHosts();
    world.settle();
    const seen: string[] = [];
    a.stack.observer = {
      link: () => {
        throw new Error('application');
      },
      address: (_i, x) => seen.push(`${x.address} ${x.state}`),
    };
    ia.setUp(false);
    ia.addAddress(cidr('10.9.0.1/24'));
    ia.setUp(true);
    expect(() => a.stack.deliver()).toThrow('application');
    expect(a.stack.pending).toBe(true);
    expect(() => a.stack.deliver()).toThrow('application');
    a.stack.deliver();
    expect(seen).toEqual(['10.0.0.1 preferred', '10.9.0.1 preferred']);
  });

  it('an address whose life is over is removed, and its routes', () => {
    const { world, a, ia } = twoHosts();
    world.settle();
    const seen: string[] = [];
    a.stack.observer = { address: (_i, x) => seen.push(`${x.address} ${x.state}`) };
    ia.addAddress(cidr('10.9.0.1/24'), {
      preferredUntil: world.now + 10 * SECOND,
      validUntil: world.now + 20 * SECOND,
    });
    world.pass(5 * SECOND);
    expect(a.stack.routes.isLocal(ip('10.9.0.1'))).toBe(true);
    world.pass(10 * SECOND);
    expect(seen).toEqual(['10.9.0.1 preferred', '10.9.0.1 deprecated']);
    expect(a.stack.routes.isLocal(ip('10.9.0.1'))).toBe(true);
    world.pass(10 * SECOND);
    expect(a.stack.routes.isLocal(ip('10.9.0.1'))).toBe(false);
    expect(typeof a.stack.routes.lookup(ip('10.9.0.7'), undefined, 0)).toBe('string');
  });
});

describe('the round', () => {
  it('counts what is dropped, and notes why', () => {
    const { a, ia } = twoHosts();
    a.stack.trace.on = true;
    a.stack.trace.take();
    const bytes = new Uint8Array(60);
    bytes.set(ia.mac, 0);
    bytes.set(THEIRS, 6);
    expect(a.stack.input(ia, new Packet().set(new Slab(bytes), 0, 60))).toBe('unknown ethertype');
    expect(a.stack.drops).toEqual({ 'unknown ethertype': 1 });
    expect(a.stack.trace.take()).toBe('dropped: unknown ethertype');
    expect(a.stack.counters().drops).toEqual({ 'unknown ethertype': 1 });
    expect(a.stack.counters().interfaces['pipe-a']).toMatchObject({ ifInUnknownProtos: 1, lengthFrames: 1 });
  });

  it('with a full device nothing is pending, and all goes out in order when it has room', () => {
    const world = new World();
    const node = world.node();
    const port = new RecordingPort();
    const netif = node.stack.addInterface({ name: 'x', port, addresses: [cidr('10.0.0.1/24')] });
    netif.neighbours.addStatic(ip('10.0.0.2'), THEIRS);
    node.stack.flush();
    node.stack.deliver();
    port.take();
    port.room = 10;
    const { socket } = udpOn(node, 5000);
    let sent = 0;
    while (sendUdp(socket, Uint8Array.of(sent), 0, 1, ip('10.0.0.2'), 9) === 1) sent++;
    expect(sent).toBe(256 + 10);
    node.stack.flush();
    node.stack.deliver();
    expect(node.stack.pending).toBe(false);
    port.room = Number.POSITIVE_INFINITY;
    node.stack.flush();
    expect(port.sent.map((f) => f.bytes[42])).toEqual(Array.from({ length: sent }, (_, i) => i & 255));
    expect(node.stack.pending).toBe(true);
  });

  it('the time never runs backwards', () => {
    const { a, world } = twoHosts();
    a.stack.advance(world.now + 5);
    a.stack.advance(world.now);
    expect(a.stack.now).toBe(world.now + 5);
  });

  it('an interface sends notes with its frames when tracing', () => {
    const world = new World();
    const node = world.node();
    node.stack.trace.on = true;
    const port = new RecordingPort();
    const netif = node.stack.addInterface({ name: 'x', port, addresses: [cidr('10.0.0.1/24')] });
    netif.neighbours.addStatic(ip('10.0.0.2'), THEIRS);
    node.stack.flush();
    port.take();
    const { socket } = udpOn(node, 5000);
    node.stack.trace.note('because');
    sendUdp(socket, text('x'), 0, 1, ip('10.0.0.2'), 9);
    node.stack.flush();
    expect(port.sent[0]!.note).toContain('because');
  });
});
