import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_UNDELIVERED } from '../../src/arp/arp.ts';
import { BROADCAST_MAC, formatMac } from '../../src/base/mac.ts';
import { ETHERTYPE_IPV4 } from '../../src/base/netif.ts';
import { SECOND } from '../../src/base/time.ts';
import { arpFrame, bench, cidr, hex, ip, OTHER, OURS, THEIRS } from '../stack/rig.ts';

const REQUEST = 1;
const REPLY = 2;

function host() {
  const b = bench();
  b.netif.addAddress(cidr('10.0.0.1/24'), { announce: false });
  b.events.length = 0;
  return b;
}

/** Reads an ARP frame back as words. */
function read(frame: Uint8Array): string {
  const view = new DataView(frame.buffer, frame.byteOffset);
  const quad = (at: number) => frame.slice(at, at + 4).join('.');
  const op = view.getUint16(20) === 1 ? 'who-has' : 'is-at';
  const to = formatMac(frame, 0) === 'ff:ff:ff:ff:ff:ff' ? 'all' : formatMac(frame, 0).slice(-2);
  return `${op} ${quad(38)} tell ${quad(28)} to ${to}`;
}

describe('RFC 826: packet reception', () => {
  it('answers a request for our address to who asked, with every byte of the answer its own', () => {
    const b = host();
    expect(b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1'))).toBeUndefined();
    const [reply, ...rest] = b.port.take();
    expect(rest).toEqual([]);
    expect(hex(reply!)).toBe(
      `020000000002020000000001080600010800060400020200000000010a0000010200000000020a000002${'00'.repeat(18)}`,
    );
  });

  it('learns who asked us, as STALE: that it speaks does not prove that it hears', () => {
    const b = host();
    b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1'));
    expect(b.netif.neighbours.lookup(ip('10.0.0.2'))).toMatchObject({ state: 'STALE', mac: THEIRS });
  });

  it('learns nothing from a request for another, unless the sender is known: the merge rule', () => {
    const b = host();
    expect(b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.9'))).toBe('not for us');
    expect(b.netif.neighbours.size).toBe(0);
    b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1'));
    b.pass(2 * SECOND);
    b.receive(arpFrame(REQUEST, OTHER, '10.0.0.2', '10.0.0.9'));
    expect(b.netif.neighbours.lookup(ip('10.0.0.2'))!.mac).toEqual(OTHER);
    expect(b.port.take().length).toBe(1);
  });

  it('learns no sender that is not on the link, but answers it', () => {
    const b = host();
    b.receive(arpFrame(REQUEST, THEIRS, '192.0.2.7', '10.0.0.1'));
    expect(b.port.take().map(read)).toEqual(['is-at 192.0.2.7 tell 10.0.0.1 to 02']);
    expect(b.netif.neighbours.size).toBe(0);
  });

  it('resolves on the answer and sends what waited, in order', () => {
    const b = host();
    for (let i = 1; i <= 3; i++) {
      const frame = b.netif.frame();
      frame.bytes[frame.put(50)] = i;
      expect(b.netif.send(frame, ip('10.0.0.2'), ETHERTYPE_IPV4)).toBe('queued');
    }
    b.netif.flush();
    expect(b.port.take().map(read)).toEqual(['who-has 10.0.0.2 tell 10.0.0.1 to all']);
    b.receive(arpFrame(REPLY, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS, tha: OURS }));
    const sent = b.port.take();
    expect(sent.map((f) => f[14])).toEqual([1, 2, 3]);
    expect(sent.every((f) => formatMac(f, 0) === formatMac(THEIRS))).toBe(true);
    const frame = b.netif.frame();
    frame.put(50);
    expect(b.netif.send(frame, ip('10.0.0.2'), ETHERTYPE_IPV4)).toBe('sent');
  });

  it('asks as the address of ours that is nearest to the target', () => {
    const b = host();
    b.netif.addAddress(cidr('172.16.0.1/16'), { announce: false });
    b.netif.neighbours.resolve(ip('172.16.3.3'));
    b.netif.neighbours.resolve(ip('10.0.0.3'));
    b.netif.neighbours.resolve(ip('8.8.8.8'));
    b.netif.flush();
    expect(b.port.take().map(read)).toEqual([
      'who-has 172.16.3.3 tell 172.16.0.1 to all',
      'who-has 10.0.0.3 tell 10.0.0.1 to all',
      'who-has 8.8.8.8 tell 10.0.0.1 to all',
    ]);
  });

  it('answers for no address that is tentative, lost or another interface’s', () => {
    const b = host();
    b.netif.addAddress(cidr('10.0.0.5/24'), { probe: true });
    b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.5'));
    b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.6'));
    expect(b.port.take()).toEqual([]);
  });

  it('RFC 5227 2.5: answers a probe for our address, and learns nothing from it', () => {
    const b = host();
    b.receive(arpFrame(REQUEST, THEIRS, '0.0.0.0', '10.0.0.1'));
    expect(b.port.take().map(read)).toEqual(['is-at 0.0.0.0 tell 10.0.0.1 to 02']);
    expect(b.netif.neighbours.size).toBe(0);
    expect(b.events).toEqual([]);
  });

  it('takes its own packets, echoed by a hub, for no conflict', () => {
    const b = host();
    expect(b.receive(arpFrame(REQUEST, OURS, '10.0.0.1', '10.0.0.1'))).toBe('not for us');
    expect(b.events).toEqual([]);
    expect(b.port.take()).toEqual([]);
  });
});

describe('hostile', () => {
  it('2: lengths of addresses other than 6 and 4, other hardware, other protocols, other operations', () => {
    const b = host();
    for (const [at, value] of [
      [15, 6],
      [16, 0x86],
      [18, 0],
      [18, 7],
      [18, 255],
      [19, 0],
      [19, 16],
      [19, 255],
      [21, 0],
      [21, 3],
      [20, 1],
    ] as const) {
      const frame = arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1');
      frame[at] = value;
      expect(b.receive(frame)).toBe('bad arp');
    }
    expect(b.netif.neighbours.size).toBe(0);
    expect(b.port.take()).toEqual([]);
  });

  it('2: cut at any byte', () => {
    const b = host();
    const whole = arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1');
    for (let n = 0; n < 42; n++) expect(b.receive(whole.slice(0, n))).toBe('truncated');
    expect(b.port.take()).toEqual([]);
    expect(b.receive(whole.slice(0, 42))).toBeUndefined();
    expect(b.port.take().length).toBe(1);
  });

  it('3: padding is never echoed', () => {
    const b = host();
    const frame = arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1');
    frame.fill(0xee, 42);
    b.receive(frame);
    expect(hex(b.port.take()[0]!)).not.toContain('ee');
  });

  it('4: whoever claims our address is not learned; we defend it once in ten seconds, then give it up', () => {
    const b = host();
    expect(b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.1', '10.0.0.1'))).toBe('arp conflict');
    expect(b.port.take().map(read)).toEqual(['who-has 10.0.0.1 tell 10.0.0.1 to all']);
    expect(b.events).toEqual(['10.0.0.1 conflict: defended']);
    b.pass(11 * SECOND);
    expect(b.receive(arpFrame(REPLY, THEIRS, '10.0.0.1', '10.0.0.9'))).toBe('arp conflict');
    expect(b.port.take().length).toBe(1);
    b.pass(9 * SECOND);
    expect(b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.1', '10.0.0.9'))).toBe('arp conflict');
    expect(b.port.take()).toEqual([]);
    expect(b.events.slice(-3)).toEqual(['10.0.0.1 losing', '10.0.0.1 duplicate', '10.0.0.1 conflict: lost']);
    expect(b.netif.neighbours.size).toBe(0);
    b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1'));
    expect(b.port.take()).toEqual([]);
  });

  it('4: an address to be kept is defended once in ten seconds, and for ever (RFC 5227 2.4 (c))', () => {
    const b = bench();
    b.netif.addAddress(cidr('10.0.0.1/24'), { announce: false, keep: true });
    b.events.length = 0;
    for (let i = 0; i < 100; i++) {
      b.receive(arpFrame(REQUEST, THEIRS, '10.0.0.1', '10.0.0.9'));
      b.pass(SECOND);
    }
    expect(b.port.take().length).toBe(10);
    expect(b.netif.addresses[0]!.state).toBe('preferred');
  });

  it('5: answers that nobody asked for make no entries, at any rate', () => {
    const b = host();
    for (let i = 0; i < 1000; i++) {
      b.receive(arpFrame(REPLY, OTHER, `10.0.0.${2 + (i % 200)}`, '10.0.0.1', { to: OURS, tha: OURS }));
    }
    expect(b.netif.neighbours.size).toBe(0);
    expect(b.port.take()).toEqual([]);
  });

  it('5: nor do they move a gateway that is reachable: it is asked itself when next used', () => {
    const b = host();
    b.netif.neighbours.resolve(ip('10.0.0.254'));
    b.receive(arpFrame(REPLY, THEIRS, '10.0.0.254', '10.0.0.1', { to: OURS, tha: OURS }));
    b.port.take();
    for (let i = 0; i < 50; i++) {
      b.receive(arpFrame(REPLY, OTHER, '10.0.0.254', '10.0.0.1', { to: OURS, tha: OURS }));
    }
    const frame = b.netif.frame();
    frame.put(50);
    b.netif.send(frame, ip('10.0.0.254'), ETHERTYPE_IPV4);
    b.netif.flush();
    expect(formatMac(b.port.take()[0]!)).toBe(formatMac(THEIRS));
    b.pass(5 * SECOND);
    const [probe] = b.port.take();
    expect(read(probe!)).toBe('who-has 10.0.0.254 tell 10.0.0.1 to 02');
    b.receive(arpFrame(REPLY, THEIRS, '10.0.0.254', '10.0.0.1', { to: OURS, tha: OURS }));
    expect(b.netif.neighbours.lookup(ip('10.0.0.254'))).toMatchObject({ state: 'REACHABLE', mac: THEIRS });
  });

  it('RFC 1812 3.3.2: a sender that is a group, a broadcast or cannot be a host is not believed', () => {
    const b = host();
    const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
    const frame = arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1');
    frame.set(group, 22);
    expect(b.receive(frame)).toBe('bad arp');
    frame.set(BROADCAST_MAC, 22);
    expect(b.receive(frame)).toBe('bad arp');
    for (const spa of ['127.0.0.1', '224.0.0.1', '255.255.255.255', '10.0.0.255', '0.0.0.7', '240.0.0.1']) {
      expect(b.receive(arpFrame(REQUEST, THEIRS, spa, '10.0.0.1'))).toBe('bad arp');
    }
    expect(b.netif.neighbours.size).toBe(0);
    expect(b.port.take()).toEqual([]);
  });

  it('any bytes at all: a verdict, no entry but for an honest request, no more answers than questions', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 12, max: 59 }), fc.nat(255)), { maxLength: 6 }),
        (edits) => {
          const b = host();
          const frame = arpFrame(REQUEST, THEIRS, '10.0.0.2', '10.0.0.1');
          for (const [at, value] of edits) frame[at] = value;
          b.receive(frame);
          expect(b.port.take().length).toBeLessThanOrEqual(1);
          expect(b.netif.neighbours.size).toBeLessThanOrEqual(1);
          expect(b.netif.neighbours.lookup(ip('10.0.0.1'))).toBeUndefined();
        },
      ),
    );
  });
});

describe('RFC 5227 2: claiming an address', () => {
  it('2.1.1, 2.3: three probes one to two seconds apart, two seconds of quiet, two announcements', () => {
    const b = bench();
    const begin = b.clock.now;
    const address = b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
    const sent: { at: number; text: string }[] = [];
    for (let i = 0; i < 1_400; i++) {
      b.pass(SECOND / 100);
      for (const f of b.port.take()) sent.push({ at: (b.clock.now - begin) / SECOND, text: read(f) });
      if (sent.length < 4) expect(address.state).toBe('tentative');
    }
    expect(sent.map((s) => s.text)).toEqual([
      ...new Array(3).fill('who-has 10.0.0.7 tell 0.0.0.0 to all'),
      ...new Array(2).fill('who-has 10.0.0.7 tell 10.0.0.7 to all'),
    ]);
    const at = sent.map((s) => s.at);
    expect(at[0]).toBeLessThanOrEqual(1.01);
    for (const [from, to] of [
      [0, 1],
      [1, 2],
    ] as const) {
      expect(at[to]! - at[from]!).toBeGreaterThanOrEqual(0.99);
      expect(at[to]! - at[from]!).toBeLessThanOrEqual(2.01);
    }
    expect(at[3]! - at[2]!).toBeCloseTo(2, 1);
    expect(at[4]! - at[3]!).toBeCloseTo(2, 1);
    expect(address.state).toBe('preferred');
    expect(b.timers.armed).toBe(0);
  });

  it('2.1.1: somebody answers a probe, or speaks as the address: refused', () => {
    for (const op of [REQUEST, REPLY]) {
      const b = bench();
      const address = b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
      b.pass(2 * SECOND);
      b.receive(arpFrame(op, THEIRS, '10.0.0.7', '10.0.0.9'));
      expect(address.state).toBe('duplicate');
      expect(b.events).toEqual(['10.0.0.7 duplicate', '10.0.0.7 conflict: refused']);
      b.port.take();
      b.pass(60 * SECOND);
      expect(b.port.take()).toEqual([]);
    }
  });

  it('2.1.1: somebody probes for it, too: refused', () => {
    const b = bench();
    const address = b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
    b.receive(arpFrame(REQUEST, OURS, '0.0.0.0', '10.0.0.7'));
    expect(address.state).toBe('tentative');
    b.receive(arpFrame(REQUEST, THEIRS, '0.0.0.0', '10.0.0.7'));
    expect(address.state).toBe('duplicate');
  });

  it('2.1.1: after ten conflicts one attempt a minute', () => {
    const b = bench();
    const attempts: number[] = [];
    for (let i = 0; i < 13; i++) {
      b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
      while (b.port.take().length === 0) b.pass(SECOND / 10);
      attempts.push(b.clock.now);
      b.receive(arpFrame(REPLY, THEIRS, '10.0.0.7', '10.0.0.9'));
      b.netif.removeAddress(ip('10.0.0.7'));
    }
    expect(attempts[9]! - attempts[0]!).toBeLessThan(15 * SECOND);
    for (let i = 11; i < 13; i++)
      expect(attempts[i]! - attempts[i - 1]!).toBeGreaterThanOrEqual(59.8 * SECOND);
  });

  it('without probing the address works at once and is announced', () => {
    const b = bench();
    b.netif.addAddress(cidr('10.0.0.7/24'));
    b.netif.flush();
    expect(b.events).toEqual(['10.0.0.7 preferred']);
    expect(b.port.take().map(read)).toEqual(['who-has 10.0.0.7 tell 10.0.0.7 to all']);
    b.pass(2 * SECOND);
    expect(b.port.take().length).toBe(1);
  });

  it('2.1: the address is claimed anew when the link comes up', () => {
    const b = bench();
    const address = b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
    b.pass(20 * SECOND);
    expect(address.state).toBe('preferred');
    b.netif.setUp(false);
    b.port.take();
    b.netif.setUp(true);
    expect(address.state).toBe('tentative');
    b.pass(20 * SECOND);
    expect(address.state).toBe('preferred');
    expect(b.port.take().length).toBe(5);
  });

  it('an address removed is claimed no more', () => {
    const b = bench();
    b.netif.addAddress(cidr('10.0.0.7/24'), { probe: true });
    b.netif.removeAddress(ip('10.0.0.7'));
    b.pass(20 * SECOND);
    expect(b.port.take()).toEqual([]);
    expect(b.timers.size).toBe(0);
  });
});

describe('asking for its own sake', () => {
  it('reports every answer to a question, with its time, until it is closed', () => {
    const b = host();
    const replies: string[] = [];
    const question = b.netif.arp.ask(ip('10.0.0.2'), (r) =>
      replies.push(`${formatMac(r.mac).slice(-2)} ${r.at - b.clock.now}`),
    );
    expect(question.send()).toBe(true);
    b.netif.flush();
    expect(b.port.take().map(read)).toEqual(['who-has 10.0.0.2 tell 10.0.0.1 to all']);
    b.receive(arpFrame(REPLY, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS, tha: OURS }));
    b.receive(arpFrame(REPLY, OTHER, '10.0.0.2', '10.0.0.1', { to: OURS, tha: OURS }));
    b.receive(arpFrame(REPLY, OTHER, '10.0.0.3', '10.0.0.1', { to: OURS, tha: OURS }));
    expect(replies).toEqual([]);
    expect(b.netif.arp.eventful).toBe(true);
    b.netif.arp.deliver();
    expect(replies).toEqual(['02 0', '03 0']);
    b.receive(arpFrame(REPLY, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS, tha: OURS }));
    question.close();
    b.netif.arp.deliver();
    expect(replies.length).toBe(2);
    expect(b.netif.neighbours.size).toBe(0);
  });

  it('a callback that throws costs nobody an answer, and one that closes the interface ends all of them', () => {
    const b = host();
    let n = 0;
    b.netif.arp.ask(ip('10.0.0.2'), () => {
      if (n === 0) throw new Error('application');
    });
    b.netif.arp.ask(ip('10.0.0.2'), () => {
      n++;
      b.netif.close();
    });
    for (let i = 0; i < 2; i++) b.receive(arpFrame(REPLY, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS }));
    expect(() => b.netif.arp.deliver()).toThrow('application');
    b.netif.arp.deliver();
    expect(n).toBe(1);
  });

  it('keeps a bounded number of answers', () => {
    const b = host();
    let n = 0;
    b.netif.arp.ask(ip('10.0.0.2'), () => n++);
    for (let i = 0; i < 500; i++) b.receive(arpFrame(REPLY, THEIRS, '10.0.0.2', '10.0.0.1', { to: OURS }));
    b.netif.arp.deliver();
    expect(n).toBe(MAX_UNDELIVERED);
  });

  it('asks as nobody when it has no address: a probe, which pollutes no cache', () => {
    const b = bench();
    b.netif.arp.ask(ip('10.0.0.2'), () => {}).send();
    b.netif.flush();
    expect(b.port.take().map(read)).toEqual(['who-has 10.0.0.2 tell 0.0.0.0 to all']);
  });
});
