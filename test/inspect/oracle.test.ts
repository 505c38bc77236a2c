import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as arp from '../../src/arp/header.ts';
import * as ether from '../../src/ether/header.ts';
import type { HeaderLayout } from '../../src/inspect/layouts.ts';
import * as layouts from '../../src/inspect/layouts.ts';
import * as ipv4 from '../../src/ipv4/header.ts';
import * as icmp from '../../src/ipv4/icmp-header.ts';
import * as igmp from '../../src/ipv4/igmp-header.ts';
import * as tcp from '../../src/tcp/header.ts';
import * as udp from '../../src/udp/header.ts';

const PAD = 3;

/** Runs `compare` on random headers that lie somewhere in a larger array. */
function forAllBytes(
  layout: HeaderLayout,
  compare: (header: Record<string, number>, view: DataView, at: number) => void,
): void {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: layout.span, maxLength: layout.span }), (random) => {
      const bytes = new Uint8Array(layout.span + 2 * PAD);
      bytes.set(random, PAD);
      const view = new DataView(bytes.buffer);
      const header = layout.decode(bytes, PAD);
      const numbers: Record<string, number> = {};
      for (const [name, value] of Object.entries(header)) {
        numbers[name] =
          typeof value === 'number' ? value : value.reduce((n, byte) => (n * 256 + byte) % 2 ** 48, 0);
      }
      compare(numbers, view, PAD);
    }),
    { numRuns: 500 },
  );
}

const bit = (n: number | undefined) => n === 1;

describe('for all bytes, the table says what the getters say', () => {
  test('Ethernet', () => {
    forAllBytes(layouts.ETHERNET_LAYOUT, (h, view, at) => {
      expect(ether.destinationHigh(view, at)).toBe(Math.floor(h['eth.dst']! / 2 ** 32));
      expect(ether.destinationLow(view, at)).toBe(h['eth.dst']! | 0);
      expect(ether.outerType(view, at)).toBe(h['eth.type']);
      expect(ether.toGroup(view, at)).toBe(bit(Math.floor(h['eth.dst']! / 2 ** 40) & 1));
      expect(ether.fromGroup(view, at)).toBe(bit(Math.floor(h['eth.src']! / 2 ** 40) & 1));
    });
  });

  test('802.1Q', () => {
    // The getters count from the start of the frame: the tag follows its EtherType.
    forAllBytes(layouts.VLAN_LAYOUT, (h, tag, at) => {
      const frame = new Uint8Array(18);
      frame.set(new Uint8Array(tag.buffer, at, 4), 14);
      const view = new DataView(frame.buffer);
      expect(ether.vlanId(view, 0)).toBe(h['vlan.id']);
      expect(ether.priority(view, 0)).toBe(h['vlan.priority']);
      expect(ether.taggedType(view, 0)).toBe(h['vlan.etype']);
    });
  });

  test('ARP', () => {
    forAllBytes(layouts.ARP_LAYOUT, (h, view, at) => {
      expect(arp.op(view, at)).toBe(h['arp.opcode']);
      expect(arp.spa(view, at)).toBe(h['arp.src.proto_ipv4']! | 0);
      expect(arp.tpa(view, at)).toBe(h['arp.dst.proto_ipv4']! | 0);
    });
  });

  test('IPv4', () => {
    forAllBytes(layouts.IPV4_LAYOUT, (h, view, at) => {
      expect(ipv4.version(view, at)).toBe(h['ip.version']);
      expect(ipv4.headerLength(view, at)).toBe(h['ip.hdr_len']! * 4);
      expect(ipv4.typeOfService(view, at)).toBe(h['ip.dsfield.dscp']! * 4 + h['ip.dsfield.ecn']!);
      expect(ipv4.totalLength(view, at)).toBe(h['ip.len']);
      expect(ipv4.identification(view, at)).toBe(h['ip.id']);
      expect(ipv4.dontFragment(view, at)).toBe(bit(h['ip.flags.df']));
      expect(ipv4.moreFragments(view, at)).toBe(bit(h['ip.flags.mf']));
      expect(ipv4.fragmentOffset(view, at)).toBe(h['ip.frag_offset']! * 8);
      expect(ipv4.isFragment(view, at)).toBe(bit(h['ip.flags.mf']) || h['ip.frag_offset'] !== 0);
      expect(ipv4.timeToLive(view, at)).toBe(h['ip.ttl']);
      expect(ipv4.protocol(view, at)).toBe(h['ip.proto']);
      expect(ipv4.headerChecksum(view, at)).toBe(h['ip.checksum']);
      expect(ipv4.sourceWord(view, at)).toBe(h['ip.src']! | 0);
      expect(ipv4.destinationWord(view, at)).toBe(h['ip.dst']! | 0);
    });
  });

  test('ICMP', () => {
    forAllBytes(layouts.ICMP_ECHO_LAYOUT, (h, view, at) => {
      expect(icmp.icmpType(view, at)).toBe(h['icmp.type']);
      expect(icmp.icmpCode(view, at)).toBe(h['icmp.code']);
      expect(icmp.icmpChecksum(view, at)).toBe(h['icmp.checksum']);
      expect(icmp.echoIdentifier(view, at)).toBe(h['icmp.ident']);
      expect(icmp.echoSequence(view, at)).toBe(h['icmp.seq']);
    });
  });

  test('IGMP', () => {
    forAllBytes(layouts.IGMP_LAYOUT, (h, view, at) => {
      expect(igmp.igmpType(view, at)).toBe(h['igmp.type']);
      expect(igmp.maxRespCode(view, at)).toBe(h['igmp.max_resp']);
      expect(igmp.groupAddress(view, at) | 0).toBe(h['igmp.maddr']! | 0);
    });
  });

  test('UDP', () => {
    forAllBytes(layouts.UDP_LAYOUT, (h, view, at) => {
      expect(udp.sourcePort(view, at)).toBe(h['udp.srcport']);
      expect(udp.destinationPort(view, at)).toBe(h['udp.dstport']);
      expect(udp.udpLength(view, at)).toBe(h['udp.length']);
      expect(udp.udpChecksum(view, at)).toBe(h['udp.checksum']);
    });
  });

  test('TCP', () => {
    forAllBytes(layouts.TCP_LAYOUT, (h, view, at) => {
      expect(tcp.sourcePort(view, at)).toBe(h['tcp.srcport']);
      expect(tcp.destinationPort(view, at)).toBe(h['tcp.dstport']);
      expect(tcp.sequenceNumber(view, at) >>> 0).toBe(h['tcp.seq_raw']);
      expect(tcp.acknowledgmentNumber(view, at) >>> 0).toBe(h['tcp.ack_raw']);
      expect(tcp.headerLength(view, at)).toBe(h['tcp.hdr_len']! * 4);
      const names = ['fin', 'syn', 'reset', 'push', 'ack', 'urg', 'ece', 'cwr'];
      expect(tcp.flags(view, at) & 0xff).toBe(
        names.reduce((bits, name, i) => bits + h[`tcp.flags.${name}`]! * 2 ** i, 0),
      );
      expect(tcp.window(view, at)).toBe(h['tcp.window_size_value']);
      expect(tcp.checksum(view, at)).toBe(h['tcp.checksum']);
      expect(tcp.urgentPointer(view, at)).toBe(h['tcp.urgent_pointer']);
    });
  });
});

const ALL = Object.values(layouts)
  .flatMap((value) => ('span' in Object(value) ? [value as HeaderLayout] : Object.values(value)))
  .filter((value): value is HeaderLayout => 'span' in Object(value))
  .map((layout) => [`${layout.name} (${layout.span})`, layout] as const);

describe('buffer-layout structures', () => {
  test('there are those of the headers and those of the TCP options', () => {
    expect(ALL.length).toBeGreaterThanOrEqual(20);
  });

  test.each(ALL)('%s: what is decoded can be encoded, bit for bit but for reserved ones', (_name, layout) => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: layout.span, maxLength: layout.span }), (bytes) => {
        const header = layout.decode(bytes);
        const back = new Uint8Array(layout.span);
        expect(layout.encode(header, back)).toBe(layout.span);
        expect(layout.decode(back)).toEqual(header);
      }),
    );
  });

  test.each(ALL)('%s: a header that is cut short is a RangeError', (_name, layout) => {
    for (let length = 0; length < layout.span; length++) {
      expect(() => layout.decode(new Uint8Array(length))).toThrow(RangeError);
    }
  });

  test('headers without reserved bits come back whole', () => {
    for (const layout of [
      layouts.ETHERNET_LAYOUT,
      layouts.VLAN_LAYOUT,
      layouts.ARP_LAYOUT,
      layouts.IPV4_LAYOUT,
      layouts.IPV6_LAYOUT,
      layouts.UDP_LAYOUT,
      layouts.TCP_LAYOUT,
      layouts.DNS_LAYOUT,
      layouts.NTP_LAYOUT,
    ]) {
      const bytes = Uint8Array.from({ length: layout.span }, (_, i) => (i * 73 + 41) & 255);
      const back = new Uint8Array(layout.span);
      layout.encode(layout.decode(bytes), back);
      expect(back, layout.name).toEqual(bytes);
    }
  });
});
