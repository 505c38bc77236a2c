// A snapshot of everything that is counted, by protocol and under MIB names: what `netstat -s` shows.

import type { ArpCounters } from '../arp/arp.ts';
import type { DropCounts } from '../base/drop.ts';
import type { newIcmpCounters, newIgmpCounters, newIpCounters } from '../ipv4/counters.ts';
import type { Ipv4 } from '../ipv4/ipv4.ts';
import { currentlyEstablished, type Tcp, type TcpCounters } from '../tcp/tcp.ts';
import type { Udp } from '../udp/udp.ts';
import type { Interface } from './interface.ts';
import type { InterfaceCounters } from './interface-counters.ts';

/** One interface: RFC 2863's names, and what no MIB has under plain words. */
export interface InterfaceReport extends InterfaceCounters, ArpCounters {
  /** Frames with an 802.3 length, which are dropped. */
  lengthFrames: number;
  /** Neighbour cache: entries now; entries thrown out and refused for want of room; packets that waited in vain. */
  neighbours: number;
  neighbourEvictions: number;
  neighbourRefusals: number;
  neighbourDiscards: number;
}

export interface Counters {
  interfaces: Record<string, InterfaceReport>;
  ipv4: ReturnType<typeof newIpCounters>;
  icmp: ReturnType<typeof newIcmpCounters>;
  igmp: ReturnType<typeof newIgmpCounters>;
  tcp: TcpCounters & { tcpCurrEstab: number };
  udp: Udp['counters'];
  /** Received packets that were not accepted, by reason. */
  drops: DropCounts;
}

/** The parts of a stack that count. */
export interface Counting {
  readonly interfaces: readonly Interface[];
  readonly ipv4: Ipv4;
  readonly tcp: Tcp;
  readonly udp: Udp;
  readonly drops: DropCounts;
}

export function gather({ interfaces, ipv4, tcp, udp, drops }: Counting): Counters {
  const reports: Record<string, InterfaceReport> = {};
  for (const { name, counters, arp, ethernet, neighbours } of interfaces) {
    reports[name] = {
      ...counters,
      ...arp.counters,
      lengthFrames: ethernet.lengthFrames,
      neighbours: neighbours.size,
      neighbourEvictions: neighbours.evictions,
      neighbourRefusals: neighbours.refusals,
      neighbourDiscards: neighbours.discards,
    };
  }
  return {
    interfaces: reports,
    ipv4: { ...ipv4.counters },
    icmp: copyOf(ipv4.icmp.counters),
    igmp: { ...ipv4.igmp.counters },
    tcp: { ...tcp.counters, tcpCurrEstab: currentlyEstablished(tcp) },
    udp: { ...udp.counters },
    drops: { ...drops },
  };
}

/** Counters with arrays in them (by ICMP type), copied. */
function copyOf<T extends object>(counters: T): T {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(counters)) {
    copy[key] = ArrayBuffer.isView(value) || Array.isArray(value) ? (value as number[]).slice() : value;
  }
  return copy as T;
}
