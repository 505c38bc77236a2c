// A frame taken apart: bytes in, a tree of fields out, in Wireshark's names. Portable, bounded, and never throws.

import { http, likeHttp, likeTls, ntp, tls } from './application.ts';
import { arp } from './arp.ts';
import { dhcp } from './dhcp.ts';
import { dhcpv6 } from './dhcpv6.ts';
import { Dissection, type Dissector, type Sequences, type Tables } from './dissection.ts';
import { dns, dnsOverTcp, llmnr, mdns } from './dns.ts';
import { ethernet, vlan } from './ethernet.ts';
import type { Field } from './field.ts';
import { icmp } from './icmp.ts';
import { icmpv6 } from './icmpv6.ts';
import { igmp } from './igmp.ts';
import { ipv4 } from './ipv4.ts';
import { ipv6 } from './ipv6.ts';
import { tcp } from './tcp.ts';
import { udp } from './udp.ts';

const TABLES: Tables = {
  etherTypes: new Map([
    [0x0800, ipv4],
    [0x0806, arp],
    [0x8100, vlan],
    [0x88a8, vlan],
    [0x86dd, ipv6],
  ]),
  protocols: new Map([
    [1, icmp],
    [2, igmp],
    [4, ipv4],
    [6, tcp],
    [17, udp],
    [41, ipv6],
    [58, icmpv6],
  ]),
  udpPorts: new Map([
    [53, dns],
    [67, dhcp],
    [68, dhcp],
    [123, ntp],
    [546, dhcpv6],
    [547, dhcpv6],
    [5353, mdns],
    [5355, llmnr],
  ]),
  tcpPorts: new Map([
    [53, dnsOverTcp],
    [80, http],
    [443, tls],
    [8080, http],
  ]),
  streams: [
    { like: likeHttp, read: http },
    { like: likeTls, read: tls },
  ],
};

/** Raw IP of either family, by its version (LINKTYPE_RAW). */
const rawIp: Dissector = (d, into, at, end) => {
  const version = end > at ? d.view.getUint8(at) >> 4 : 0;
  d.enter(version === 4 ? ipv4 : version === 6 ? ipv6 : undefined, into, at, end);
};

/** Who reads a frame of a link type. */
const LINK_TYPES: Record<number, Dissector> = {
  1: ethernet,
  12: rawIp,
  101: rawIp,
  228: ipv4,
  229: ipv6,
};

export interface DissectOptions {
  /** Bytes on the wire, when the capture has fewer. */
  originalLength?: number | undefined;
  /** LINKTYPE_ value; 1, Ethernet, unless given. */
  linkType?: number | undefined;
  /** Makes sequence numbers relative, as Wireshark shows them. */
  sequences?: Sequences | undefined;
}

/** What became of a frame. */
export interface Dissected {
  /** The layers, as children of one root. */
  readonly tree: Field;
  /** Innermost protocol, in Wireshark's spelling: `TCP`, `ARP`, `DNS`. */
  readonly protocol: string;
  /** Addresses of the innermost layer that has any. */
  readonly source: string;
  readonly destination: string;
  /** What the frame says, in one line. */
  readonly info: string;
}

/**
 * Dissects one frame. Whatever the bytes are, there is an answer: what cannot be read is marked `_ws.malformed`, or
 * `_ws.short` when the capture cut it off. Reads `bytes`, keeps views of them.
 */
export function dissect(bytes: Uint8Array, options: DissectOptions = {}): Dissected {
  const originalLength = Math.max(options.originalLength ?? bytes.length, bytes.length);
  const d = new Dissection(bytes, originalLength, TABLES, options.sequences);
  d.enter(LINK_TYPES[options.linkType ?? 1], d.root, 0, bytes.length);
  const { root: tree, protocol, source, destination, info } = d;
  return { tree, protocol: protocol === '' ? 'Data' : protocol, source, destination, info };
}

/** Every field of a name, outermost first. */
export function findFields(tree: Field, name: string): Field[] {
  const found: Field[] = [];
  const visit = (field: Field) => {
    if (field.name === name) found.push(field);
    field.children.forEach(visit);
  };
  visit(tree);
  return found;
}
