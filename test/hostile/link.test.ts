// Hostile classes 1 to 6: Ethernet and ARP.

import { expect, test } from 'vitest';
import { DEFEND_INTERVAL } from '../../src/arp/claim.ts';
import { v4 } from '../../src/base/address.ts';
import { formatMac, parseMac } from '../../src/base/mac.ts';
import { below } from '../../src/base/random.ts';
import { SECOND } from '../../src/base/time.ts';
import { MAX_NEIGHBOURS } from '../../src/ether/neighbour.ts';
import { arp, BROADCAST, bytes, concat, ethernet, ipv4, mac, word } from './craft.ts';
import { hostile } from './table.ts';
import { ATTACKER, ATTACKER_MAC, OUR_MAC, OURS, PEER, PEER_MAC, Victim } from './victim.ts';

const request = { op: 1, sha: ATTACKER_MAC, spa: ATTACKER, tpa: OURS };
const reply = { op: 2, sha: ATTACKER_MAC, spa: ATTACKER, tha: OUR_MAC, tpa: OURS };

hostile(1, 'a frame shorter than its header, or than its length field', {
  verdicts: ['truncated', 'unknown ethertype', 'unknown vlan', 'bad link source', 'not for us'],
  variant(v, i, random) {
    const packet = ipv4({ source: ATTACKER, destination: OURS, protocol: 17 }, bytes(8));
    switch (i % 6) {
      case 0: // cut anywhere in the link header, or right behind it
        return v.frame(packet).subarray(0, below(random, 15));
      case 1: // an 802.3 length, larger than the frame or not
        return v.frame(packet, below(random, 0x600)).subarray(0, 14 + below(random, 60));
      case 2: // a tag that is cut off
        return ethernet({ to: OUR_MAC, from: ATTACKER_MAC, type: 0x8100 }, bytes(below(random, 4)));
      case 3: // a whole tag of a VLAN that we are not in
        return ethernet({ to: OUR_MAC, from: ATTACKER_MAC, vlan: 1 + below(random, 4094) }, packet);
      case 4: // from a group
        return v.frame(packet, 0x0800, OUR_MAC, Uint8Array.of(1 + 2 * below(random, 128), 0, 0, 0, 0, 9));
      default: // to another station, or a group we are not in
        return v.frame(packet, 0x0800, mac(0x80 + below(random, 64)));
    }
  },
});

hostile(2, 'ARP with other lengths, other kinds of addresses, or a cut body', {
  verdicts: ['truncated', 'bad arp'],
  variant(v, i, random) {
    const a = { ...(i & 1 ? request : reply) };
    switch (i % 6) {
      case 0:
        return v.arp({ ...a, hln: notThis(6, below(random, 256)) });
      case 1:
        return v.arp({ ...a, pln: notThis(4, below(random, 256)) });
      case 2:
        return v.arp({ ...a, hrd: notThis(1, below(random, 0x10000)) });
      case 3:
        return v.arp({ ...a, pro: notThis(0x0800, below(random, 0x10000)) });
      case 4: // RFC 1812 3.3.2: nobody has a group's link address, nor these IP addresses
        return i % 12 === 4
          ? v.arp({ ...a, sha: BROADCAST })
          : v.arp({ ...a, spa: [word('127.0.0.1'), word('224.0.0.1'), -1, word('10.0.255.255')][i % 4]! });
      default:
        return v.arp(a).subarray(0, 14 + below(random, 28));
    }
  },
  after: (v) => expect(v.netif.neighbours.lookup(v4(word('10.0.255.255')))).toBeUndefined(),
});

hostile(3, 'a short ARP request inside a padded frame: the reply holds nothing of what lay there', {
  verdicts: ['truncated', 'bad arp', 'taken'],
  answers: ['arp reply'],
  variant(v, i, random) {
    // An honest request with secrets for padding; the referee wants zeros in the padding of the answer.
    if (i % 4 === 0)
      return concat(
        v.arp(request),
        bytes(18, () => below(random, 256)),
      );
    // The lengths claim fewer bytes: 8 + 2·(hln + pln) < 28.
    if (i % 4 === 1) return concat(v.arp({ ...request, hln: 4, pln: 4 }), bytes(18));
    // Cut, with the rest of a good request still lying behind it in memory.
    return v.arp(request).subarray(0, 14 + below(random, 28));
  },
});

hostile(4, 'ARP claims of our own address: defended once in ten seconds, never learned', {
  verdicts: ['arp conflict'],
  answers: ['arp announcement'],
  variant(v, i, random) {
    const sha = mac(0x70 + below(random, 16));
    const to = i & 1 ? BROADCAST : OUR_MAC;
    const spa = OURS;
    switch (i % 3) {
      case 0:
        return v.arp({ op: 1, sha, spa, tpa: OURS }, to);
      case 1:
        return v.arp({ op: 2, sha, spa, tha: BROADCAST, tpa: OURS }, to);
      default:
        return v.arp({ op: 1 + (i & 1), sha, spa, tpa: PEER }, to);
    }
  },
  after(v, { answers }) {
    expect(v.netif.neighbours.lookup(v4(OURS))).toBeUndefined();
    // The flood lasts one second.
    expect(answers.get('arp announcement')).toBe(1);
    expect(v.stack.counters().interfaces[v.netif.name]!.arpInConflicts).toBe(10_000);
    v.pass(DEFEND_INTERVAL);
    expect(v.inject(v.arp({ op: 2, sha: ATTACKER_MAC, spa: OURS, tpa: OURS })).answers.length).toBe(1);
  },
});

test('hostile 4: without `keep` the address is defended once and then given up (RFC 5227 2.4 (b))', () => {
  const v = new Victim({ yielding: true });
  const claim = v.arp({ op: 2, sha: ATTACKER_MAC, spa: OURS, tpa: OURS });
  v.inject(claim);
  expect(v.netif.addresses[0]!.state).toBe('preferred');
  v.inject(claim);
  expect(v.netif.addresses[0]!.state).toBe('duplicate');
  // Its connections were reset before, and nobody answers for it now.
  expect(v.stack.tcp.count).toBe(0);
  expect(v.inject(v.arp(request)).answers).toEqual([]);
});

hostile(5, 'unsolicited ARP replies make no entries and move none', {
  verdicts: ['taken', 'bad arp'],
  variant(v, i, random) {
    const to = i & 1 ? BROADCAST : OUR_MAC;
    const tha = i & 1 ? BROADCAST : OUR_MAC;
    const claims = [PEER, word('10.0.0.254'), 0, word('10.0.0.0') + below(random, 0xfff0)];
    const spa = claims[i % 4]!;
    if (spa === OURS || spa === ATTACKER) return v.arp({ ...reply, spa: PEER });
    return v.arp({ op: 2, sha: mac(0x70 + below(random, 16)), spa, tha, tpa: i & 2 ? OURS : spa }, to);
  },
  after(v) {
    expect(v.netif.neighbours.entries.map((n) => `${n.address}`).sort()).toEqual(['10.0.0.157', '10.0.0.2']);
    expect(formatMac(v.netif.neighbours.lookup(v4(PEER))!.mac)).toBe(formatMac(PEER_MAC));
    expect(v.stack.counters().interfaces[v.netif.name]!.arpInReplies).toBeGreaterThan(7000);
  },
});

hostile(5, 'ARP requests in the names of all the link: bounded, and a neighbour in use stays', {
  verdicts: ['taken'],
  answers: ['arp reply'],
  count: 20_000,
  variant: (v, i) => v.arp({ op: 1, sha: mac(0x80 | (i & 0x7f)), spa: word('10.0.1.0') + i, tpa: OURS }),
  after(v) {
    expect(v.netif.neighbours.size).toBeLessThanOrEqual(MAX_NEIGHBOURS);
    expect(v.netif.neighbours.evictions).toBeGreaterThan(15_000);
    expect(v.netif.neighbours.lookup(v4(PEER))).toBeDefined();
  },
});

test('hostile 5: a poisoned neighbour is asked again and found again', () => {
  const v = new Victim();
  v.pass(2 * SECOND);
  // RFC 826: who asks says who he is. So a forged request does move an entry, once in LOCK_TIME.
  v.inject(v.arp({ op: 1, sha: parseMac('02:00:00:00:00:77')!, spa: PEER, tpa: OURS }));
  v.inject(v.arp({ op: 1, sha: parseMac('02:00:00:00:00:78')!, spa: PEER, tpa: OURS }));
  const { neighbours } = v.netif;
  expect(formatMac(neighbours.lookup(v4(PEER))!.mac)).toBe('02:00:00:00:00:77');
  expect(neighbours.lookup(v4(PEER))!.state).toBe('STALE');
  v.stack.ipv4.icmp.echo.send(
    v.stack.ipv4.icmp.echo.open({ reply() {}, error() {} })!,
    v4(PEER),
    1,
    bytes(8),
  );
  v.pass(12 * SECOND); // DELAY, three unicast probes in vain, then everybody is asked
  v.alive();
  expect(formatMac(neighbours.lookup(v4(PEER))!.mac)).toBe('02:00:00:00:00:02');
});

hostile(6, 'RARP and its kin configure nothing', {
  verdicts: ['unknown ethertype', 'bad arp'],
  variant(v, i, random) {
    const a = arp({
      op: 1 + (i % 12),
      sha: ATTACKER_MAC,
      spa: ATTACKER,
      tha: OUR_MAC,
      tpa: word('10.0.0.99'),
    });
    if (i & 1) return v.frame(a, 0x8035, i & 2 ? BROADCAST : OUR_MAC);
    const op = 3 + below(random, 0xfffd);
    return v.arp({ op, sha: ATTACKER_MAC, spa: ATTACKER, tha: OUR_MAC, tpa: word('10.0.0.99') });
  },
  after: (v) => expect(v.netif.addresses.map((a) => `${a.address}`)).toEqual(['10.0.0.1']),
});

function notThis(right: number, value: number): number {
  return value === right ? right + 1 : value;
}
