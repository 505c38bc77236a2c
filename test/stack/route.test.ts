import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Address, type Cidr, v4 } from '../../src/base/address.ts';
import type { InterfaceAddress, NetInterface } from '../../src/base/netif.ts';
import { NEVER } from '../../src/base/time.ts';
import { MAX_ROUTES, maskAddress, type Route, RouteTable } from '../../src/stack/route.ts';
import { cidr, ip, OURS } from './rig.ts';

function netif(index: number, addresses: string[], more: Partial<NetInterface> = {}): NetInterface {
  return {
    index,
    name: `if${index}`,
    mtu: 1500,
    mac: OURS,
    loopback: false,
    up: true,
    addresses: addresses.map(addressOf),
    hasRoom: () => true,
    frame: () => {
      throw new Error('not used');
    },
    send: () => 'sent',
    ...more,
  };
}

function addressOf(text: string): InterfaceAddress {
  const { address, prefixLength } = cidr(text);
  const broadcast =
    address.family === 4 && prefixLength < 31 ? v4(address.w3 | ~(-1 << (32 - prefixLength))) : undefined;
  return { address, prefixLength, broadcast, state: 'preferred', preferredUntil: NEVER, validUntil: NEVER };
}

function world(...wires: NetInterface[]) {
  const lo = netif(100, ['127.0.0.1/8', '::1/128'], { loopback: true });
  const interfaces = [lo, ...wires];
  const routes = new RouteTable(interfaces);
  for (const i of interfaces) for (const a of i.addresses) routes.connect(i, a, lo);
  return { lo, interfaces, routes };
}

const show = (r: ReturnType<RouteTable['lookup']>) =>
  typeof r === 'string' ? r : `${r.interface.name} ${r.nextHop} from ${r.source}${r.broadcast ? ' all' : ''}`;

describe('RFC 1122 3.3.1: choosing the way', () => {
  const a = netif(1, ['10.0.0.2/24', '192.168.1.2/24']);
  const b = netif(2, ['172.16.0.2/16']);
  const w = world(a, b);
  w.routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.0.0.1'), interfaceIndex: 1 });
  w.routes.add({ prefix: cidr('8.8.0.0/16'), via: ip('172.16.0.1'), interfaceIndex: 2 });

  it.each([
    ['10.0.0.9', 'if1 10.0.0.9 from 10.0.0.2'],
    ['192.168.1.9', 'if1 192.168.1.9 from 192.168.1.2'],
    ['172.16.200.9', 'if2 172.16.200.9 from 172.16.0.2'],
    ['1.2.3.4', 'if1 10.0.0.1 from 10.0.0.2'],
    ['8.8.8.8', 'if2 172.16.0.1 from 172.16.0.2'],
    ['10.0.0.255', 'if1 10.0.0.255 from 10.0.0.2 all'],
    ['255.255.255.255', 'if1 255.255.255.255 from 10.0.0.2 all'],
    ['224.0.0.251', 'if1 224.0.0.251 from 10.0.0.2'],
    ['10.0.0.2', 'if100 10.0.0.2 from 10.0.0.2'],
    ['127.0.0.1', 'if100 127.0.0.1 from 127.0.0.1'],
    ['127.9.9.9', 'if100 127.9.9.9 from 127.0.0.1'],
    ['0.0.0.0', 'EINVAL'],
    ['2001:db8::1', 'ENETUNREACH'],
  ])('%s → %s', (to, expected) => {
    expect(show(w.routes.lookup(ip(to), undefined, 0))).toBe(expected);
  });

  it('keeps to the interface asked for', () => {
    expect(show(w.routes.lookup(ip('172.16.0.9'), undefined, 1))).toBe('if1 10.0.0.1 from 10.0.0.2');
    expect(show(w.routes.lookup(ip('1.2.3.4'), undefined, 2))).toBe('ENETUNREACH');
    expect(show(w.routes.lookup(ip('1.2.3.4'), undefined, 9))).toBe('EADDRNOTAVAIL');
    expect(show(w.routes.lookup(ip('255.255.255.255'), undefined, 2))).toBe(
      'if2 255.255.255.255 from 172.16.0.2 all',
    );
  });

  it('keeps to the source given, which must be ours', () => {
    expect(show(w.routes.lookup(ip('1.2.3.4'), ip('192.168.1.2'), 0))).toBe('if1 10.0.0.1 from 192.168.1.2');
    expect(show(w.routes.lookup(ip('1.2.3.4'), ip('192.168.1.3'), 0))).toBe('EADDRNOTAVAIL');
    expect(show(w.routes.lookup(ip('1.2.3.4'), ip('::1'), 0))).toBe('EINVAL');
    expect(show(w.routes.lookup(ip('224.0.0.5'), ip('172.16.0.2'), 0))).toBe('if2 224.0.0.5 from 172.16.0.2');
  });

  it('3.2.1.3 (a): 0.0.0.0 is a source only out of a named interface', () => {
    expect(show(w.routes.lookup(ip('255.255.255.255'), ip('0.0.0.0'), 0))).toBe('EADDRNOTAVAIL');
    expect(show(w.routes.lookup(ip('255.255.255.255'), ip('0.0.0.0'), 2))).toBe(
      'if2 255.255.255.255 from 0.0.0.0 all',
    );
  });

  it('knows what is ours and what is for all', () => {
    for (const own of ['10.0.0.2', '172.16.0.2', '127.0.0.1', '127.1.2.3', '::1']) {
      expect(w.routes.isLocal(ip(own))).toBe(true);
    }
    expect(w.routes.isLocal(ip('10.0.0.3'))).toBe(false);
    expect(w.routes.localInterface(ip('172.16.0.2'))).toBe(b);
    expect(w.routes.isBroadcast(ip('172.16.255.255'))).toBe(true);
    expect(w.routes.isBroadcast(ip('255.255.255.255'))).toBe(true);
    expect(w.routes.isBroadcast(ip('172.16.0.255'))).toBe(false);
  });
});

describe('several gateways', () => {
  it('the lowest metric wins, and the next takes over when its interface goes down', () => {
    const a = netif(1, ['10.0.0.2/24']) as NetInterface & { up: boolean };
    const b = netif(2, ['10.1.0.2/24']);
    const { routes } = world(a, b);
    routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.1.0.1'), interfaceIndex: 2, metric: 20 });
    routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.0.0.1'), interfaceIndex: 1, metric: 10 });
    expect(show(routes.lookup(ip('1.1.1.1'), undefined, 0))).toBe('if1 10.0.0.1 from 10.0.0.2');
    a.up = false;
    expect(show(routes.lookup(ip('1.1.1.1'), undefined, 0))).toBe('if2 10.1.0.1 from 10.1.0.2');
    expect(show(routes.lookup(ip('1.1.1.1'), undefined, 1))).toBe('ENETDOWN');
  });

  it('a source prefers the gateway of its own interface', () => {
    const { routes } = world(netif(1, ['10.0.0.2/24']), netif(2, ['10.1.0.2/24']));
    routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.0.0.1'), interfaceIndex: 1 });
    routes.add({ prefix: cidr('0.0.0.0/0'), via: ip('10.1.0.1'), interfaceIndex: 2 });
    expect(show(routes.lookup(ip('1.1.1.1'), ip('10.1.0.2'), 0))).toBe('if2 10.1.0.1 from 10.1.0.2');
  });
});

describe('what makes kept answers stale', () => {
  it('every change moves the generation', () => {
    const a = netif(1, ['10.0.0.2/24']);
    const { routes, lo } = world(a);
    let last = routes.generation;
    const moved = () => {
      const was = last;
      last = routes.generation;
      return last > was;
    };
    routes.add({ prefix: cidr('8.0.0.0/8'), via: ip('10.0.0.1'), interfaceIndex: 1 });
    expect(moved()).toBe(true);
    expect(routes.remove({ prefix: cidr('8.0.0.0/8') })).toBe(1);
    expect(moved()).toBe(true);
    expect(routes.remove({ prefix: cidr('8.0.0.0/8') })).toBe(0);
    expect(moved()).toBe(false);
    const extra = addressOf('10.9.0.1/24');
    (a.addresses as InterfaceAddress[]).push(extra);
    routes.connect(a, extra, lo);
    expect(moved()).toBe(true);
    routes.disconnect(a, extra);
    expect(moved()).toBe(true);
    routes.removeInterface(a);
    expect(moved()).toBe(true);
    expect(routes.list().every((r) => r.interface === lo && r.home === lo)).toBe(true);
  });

  it('a subnet stays connected while another address of it is there', () => {
    const a = netif(1, ['10.0.0.2/24', '10.0.0.3/24']);
    const { routes } = world(a);
    const [first, second] = a.addresses as [InterfaceAddress, InterfaceAddress];
    (a.addresses as InterfaceAddress[]).splice(0, 1);
    routes.disconnect(a, first);
    expect(show(routes.lookup(ip('10.0.0.9'), undefined, 0))).toBe('if1 10.0.0.9 from 10.0.0.3');
    expect(routes.isLocal(ip('10.0.0.2'))).toBe(false);
    (a.addresses as InterfaceAddress[]).splice(0, 1);
    routes.disconnect(a, second);
    expect(show(routes.lookup(ip('10.0.0.9'), undefined, 0))).toBe('ENETUNREACH');
  });
});

describe('errors of use', () => {
  it('no such interface, a gateway of another family, a full table', () => {
    const { routes } = world(netif(1, ['10.0.0.2/24']));
    const prefix = cidr('9.0.0.0/8');
    expect(() => routes.add({ prefix, interfaceIndex: 7 })).toThrow(RangeError);
    expect(() => routes.add({ prefix, via: ip('::1'), interfaceIndex: 1 })).toThrow(RangeError);
    expect(() => routes.add({ prefix, via: ip('224.0.0.1'), interfaceIndex: 1 })).toThrow(RangeError);
    for (let i = routes.size; i < MAX_ROUTES; i++) {
      routes.add({ prefix: { address: v4(0x20000000 + i * 256), prefixLength: 24 }, interfaceIndex: 1 });
    }
    expect(() => routes.add({ prefix, interfaceIndex: 1 })).toThrow('full');
    expect(routes.size).toBe(MAX_ROUTES);
  });

  it('the same route again replaces the old one', () => {
    const { routes } = world(netif(1, ['10.0.0.2/24']));
    const before = routes.size;
    for (let metric = 0; metric < 5; metric++) {
      routes.add({ prefix: cidr('9.0.0.0/8'), via: ip('10.0.0.1'), interfaceIndex: 1, metric });
    }
    expect(routes.size).toBe(before + 1);
    expect(routes.match(ip('9.1.1.1'))?.metric).toBe(4);
  });
});

describe('laws', () => {
  // Few bits that differ, so that prefixes nest and addresses hit.
  const word = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)).map(([x, y, z]) => (x << 30) | (y << 16) | z);
  const address4 = word.map((w) => v4(w));
  const address6 = fc.tuple(word, word).map(([x, y]) => new Address(x, 0, y, 1));
  const prefix: fc.Arbitrary<Cidr> = fc.oneof(
    fc.record({ address: address4, prefixLength: fc.constantFrom(0, 1, 2, 8, 15, 16, 24, 30, 31, 32) }),
    fc.record({ address: address6, prefixLength: fc.constantFrom(0, 2, 32, 64, 66, 80, 96, 127, 128) }),
  );
  const spec = fc.record({ prefix, interfaceIndex: fc.constantFrom(1, 2), metric: fc.nat(3) });

  it('a lookup is what a naive walk over all routes finds', () => {
    fc.assert(
      fc.property(
        fc.array(spec, { maxLength: 30 }),
        fc.array(fc.oneof(address4, address6), { minLength: 1, maxLength: 20 }),
        fc.constantFrom(0, 1, 2),
        (specs, targets, index) => {
          const interfaces = [netif(1, []), netif(2, [])];
          const routes = new RouteTable(interfaces);
          const model: Route[] = [];
          for (const s of specs) {
            const made = routes.add(s);
            const same = model.findIndex(
              (r) =>
                r.prefix.equals(made.prefix) &&
                r.prefixLength === made.prefixLength &&
                r.interface === made.interface,
            );
            if (same >= 0) model.splice(same, 1);
            model.push(made);
          }
          expect(routes.size).toBe(model.length);
          for (const target of targets) {
            const fits = model.filter(
              (r) =>
                target.inPrefix(r.prefix, r.prefixLength) && (index === 0 || r.interface.index === index),
            );
            fits.sort((a, b) => b.prefixLength - a.prefixLength || a.metric - b.metric);
            const found = routes.match(target, index);
            expect(found?.prefixLength).toBe(fits[0]?.prefixLength);
            expect(found?.metric).toBe(fits[0]?.metric);
          }
          for (const s of specs) routes.remove({ prefix: s.prefix });
          expect(routes.size).toBe(0);
        },
      ),
    );
  });

  it('masking keeps the prefix and clears the rest', () => {
    fc.assert(
      fc.property(prefix, ({ address, prefixLength }) => {
        const masked = maskAddress(address, prefixLength);
        expect(masked.family).toBe(address.family);
        expect(masked.inPrefix(address, prefixLength)).toBe(true);
        expect(maskAddress(masked, prefixLength).equals(masked)).toBe(true);
      }),
    );
  });
});
