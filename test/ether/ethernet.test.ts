import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BROADCAST_MAC, parseMac } from '../../src/base/mac.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../src/base/netif.ts';
import { BROADCAST, MULTICAST, makeFrames, Packet, UNICAST } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { Ethernet, type EthernetOptions, groupMac } from '../../src/ether/ethernet.ts';
import * as header from '../../src/ether/header.ts';

const OURS = parseMac('02:00:00:00:00:01')!;
const THEIRS = parseMac('02:00:00:00:00:02')!;

function frameOf(destination: Uint8Array, source: Uint8Array, type: number[], payload = 46): Uint8Array {
  return Uint8Array.of(...destination, ...source, ...type, ...new Array<number>(payload).fill(0xaa));
}

function packetOf(bytes: Uint8Array, before = 0): Packet {
  const memory = new Uint8Array(before + bytes.length);
  memory.set(bytes, before);
  return new Packet().set(new Slab(memory), before, bytes.length);
}

function linkOf(options: Partial<EthernetOptions> = {}) {
  const ethernet = new Ethernet({ mac: OURS, ...options });
  const taken: { at: number; cast: number }[] = [];
  ethernet.register(ETHERTYPE_IPV4, (p) => {
    taken.push({ at: p.at, cast: p.linkCast });
    return undefined;
  });
  return { ethernet, taken };
}

const IPV4 = [0x08, 0x00];
const tag = (vid: number, type = IPV4, pcp = 0) => [0x81, 0x00, (pcp << 5) | (vid >> 8), vid & 255, ...type];

describe('RFC 894: what is taken', () => {
  it('takes frames for our address, for all, and for groups we joined, and says which', () => {
    const { ethernet, taken } = linkOf();
    const group = groupMac(4, 0xe00000fb);
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, IPV4), 7))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(BROADCAST_MAC, THEIRS, IPV4)))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(group, THEIRS, IPV4)))).toBe('not for us');
    ethernet.join(group);
    ethernet.join(group);
    ethernet.leave(group);
    expect(ethernet.input(packetOf(frameOf(group, THEIRS, IPV4)))).toBeUndefined();
    ethernet.leave(group);
    expect(ethernet.input(packetOf(frameOf(group, THEIRS, IPV4)))).toBe('not for us');
    expect(taken).toEqual([
      { at: 7 + 14, cast: UNICAST },
      { at: 14, cast: BROADCAST },
      { at: 14, cast: MULTICAST },
    ]);
  });

  it('leaves frames for others, unless promiscuous', () => {
    const other = frameOf(parseMac('02:00:00:00:00:03')!, THEIRS, IPV4);
    expect(linkOf().ethernet.input(packetOf(other))).toBe('not for us');
    expect(linkOf({ promiscuous: true }).ethernet.input(packetOf(other))).toBeUndefined();
  });

  it('tells groups apart that share their last four bytes', () => {
    const { ethernet } = linkOf();
    ethernet.join(Uint8Array.of(0x33, 0x33, 0x5e, 0, 0, 0xfb));
    expect(ethernet.input(packetOf(frameOf(Uint8Array.of(1, 0, 0x5e, 0, 0, 0xfb), THEIRS, IPV4)))).toBe(
      'not for us',
    );
  });

  it('drops a frame from a group address', () => {
    expect(linkOf().ethernet.input(packetOf(frameOf(OURS, BROADCAST_MAC, IPV4)))).toBe('bad link source');
    expect(linkOf().ethernet.input(packetOf(frameOf(OURS, groupMac(4, 0xe0000001), IPV4)))).toBe(
      'bad link source',
    );
  });

  it('hostile 1: drops a frame cut at any byte of its header, tagged or not', () => {
    const { ethernet } = linkOf({ vlan: { id: 5 } });
    for (const whole of [frameOf(OURS, THEIRS, IPV4), frameOf(OURS, THEIRS, tag(5))]) {
      const length = whole[12] === 0x81 ? 18 : 14;
      for (let n = 0; n < length; n++) {
        expect(ethernet.input(packetOf(whole.slice(0, n)))).toBe('truncated');
      }
      expect(ethernet.input(packetOf(whole.slice(0, length)))).toBeUndefined();
    }
  });

  it('hostile 1: drops and counts 802.3 length frames, whatever the length says', () => {
    const { ethernet, taken } = linkOf();
    for (const length of [0, 3, 46, 1500, 1535]) {
      expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, [length >> 8, length & 255])))).toBe(
        'unknown ethertype',
      );
    }
    expect(ethernet.lengthFrames).toBe(5);
    expect(taken).toEqual([]);
  });

  it('hostile 6: ignores RARP', () => {
    const { ethernet, taken } = linkOf();
    expect(ethernet.input(packetOf(frameOf(BROADCAST_MAC, THEIRS, [0x80, 0x35])))).toBe('unknown ethertype');
    expect(taken).toEqual([]);
  });
});

describe('IEEE 802.1Q', () => {
  it('takes its own VLAN, priority-tagged and untagged frames, and no other VLAN', () => {
    const { ethernet, taken } = linkOf({ vlan: { id: 42 } });
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(42))))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(0))))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, IPV4)))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(43))))).toBe('unknown vlan');
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(0xfff))))).toBe('unknown vlan');
    expect(taken.map((t) => t.at)).toEqual([18, 18, 14]);
  });

  it('without a VLAN takes priority tags only', () => {
    const { ethernet } = linkOf();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(0, IPV4, 7))))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(1))))).toBe('unknown vlan');
  });

  it('admits tagged frames only, when told so', () => {
    const { ethernet } = linkOf({ vlan: { id: 42, admit: 'tagged' } });
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(42))))).toBeUndefined();
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(0))))).toBe('unknown vlan');
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, IPV4)))).toBe('unknown vlan');
  });

  it('does not look behind a second tag', () => {
    const { ethernet } = linkOf({ vlan: { id: 42 } });
    expect(ethernet.input(packetOf(frameOf(OURS, THEIRS, tag(42, [0x81, 0x00]))))).toBe('unknown ethertype');
  });

  it('sends with tag and priority, or without when told so', () => {
    const [frame] = makeFrames(1);
    const tagged = new Ethernet({ mac: OURS, vlan: { id: 42, priority: 5 } });
    frame!.put(100);
    tagged.output(frame!, THEIRS, ETHERTYPE_IPV6);
    const { view, head } = frame!;
    expect(frame!.length).toBe(118);
    expect(header.vlanId(view, head)).toBe(42);
    expect(header.priority(view, head)).toBe(5);
    expect(header.taggedType(view, head)).toBe(ETHERTYPE_IPV6);
    const plain = new Ethernet({ mac: OURS, vlan: { id: 42, tagged: false } });
    frame!.reset().put(100);
    plain.output(frame!, THEIRS, ETHERTYPE_IPV6);
    expect(frame!.length).toBe(114);
    expect(header.outerType(view, frame!.head)).toBe(ETHERTYPE_IPV6);
  });

  it('refuses VLAN ids that are not, and group addresses as our own', () => {
    expect(() => new Ethernet({ mac: OURS, vlan: { id: 0 } })).toThrow(RangeError);
    expect(() => new Ethernet({ mac: OURS, vlan: { id: 4095 } })).toThrow(RangeError);
    expect(() => new Ethernet({ mac: BROADCAST_MAC })).toThrow(RangeError);
  });
});

describe('output', () => {
  it('pads to 60 bytes with zeros, not with what lay there (hostile 3)', () => {
    const ethernet = new Ethernet({ mac: OURS });
    const [frame] = makeFrames(1);
    for (let payload = 0; payload < 60; payload++) {
      frame!.bytes.fill(0xee);
      frame!.reset();
      const at = frame!.put(payload);
      frame!.bytes.fill(0x11, at, at + payload);
      ethernet.output(frame!, THEIRS, ETHERTYPE_ARP);
      const out = new Uint8Array(frame!.length);
      frame!.copyTo(out, 0);
      expect(out.length).toBe(Math.max(60, 14 + payload));
      expect([...out.slice(14 + payload)].every((b) => b === 0)).toBe(true);
      expect([...out.slice(0, 14)]).toEqual([...THEIRS, ...OURS, 0x08, 0x06]);
    }
  });

  it('pads behind attached payload, which it lets go of', () => {
    const ethernet = new Ethernet({ mac: OURS });
    const [frame] = makeFrames(1);
    const slab = new Slab(Uint8Array.of(1, 2, 3, 4)).hold();
    frame!.put(20);
    frame!.attach(slab, 0, 2);
    frame!.attach(slab, 2, 2);
    ethernet.output(frame!, THEIRS, ETHERTYPE_IPV4);
    expect(slab.refs).toBe(1);
    expect(frame!.length).toBe(60);
    const out = new Uint8Array(60);
    frame!.copyTo(out, 0);
    expect([...out.slice(34, 40)]).toEqual([1, 2, 3, 4, 0, 0]);
  });

  it('leaves attached payload of a long frame where it lies', () => {
    const ethernet = new Ethernet({ mac: OURS });
    const [frame] = makeFrames(1);
    const slab = new Slab(new Uint8Array(500));
    frame!.put(20);
    frame!.attach(slab, 0, 500);
    ethernet.output(frame!, THEIRS, ETHERTYPE_IPV4);
    expect(frame!.a).toBe(slab);
    expect(frame!.length).toBe(534);
  });
});

describe('RFC 1112 6.4, RFC 2464 7: group addresses', () => {
  it('maps 23 bits of an IPv4 group and 32 bits of an IPv6 group', () => {
    expect(groupMac(4, 0xe0ff0102)).toEqual(Uint8Array.of(0x01, 0x00, 0x5e, 0x7f, 0x01, 0x02));
    expect(groupMac(6, 0xff01abcd)).toEqual(Uint8Array.of(0x33, 0x33, 0xff, 0x01, 0xab, 0xcd));
  });
});

describe('law', () => {
  it('input returns a verdict for any bytes and moves `at` only when it hands up', () => {
    const { ethernet } = linkOf({ vlan: { id: 1 } });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(3), (bytes, ours) => {
        if (ours > 0) bytes.set(OURS.subarray(0, Math.min(6, bytes.length)));
        const packet = packetOf(bytes);
        const verdict = ethernet.input(packet);
        expect(packet.at === packet.start).toBe(verdict !== undefined);
      }),
    );
  });
});
