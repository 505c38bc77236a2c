// Why a packet was not accepted. A word, not an exception: bytes from the wire never throw.

/** The reasons, each counted under its own name. Layers add theirs here, in the words a capture will show. */
export type DropReason =
  // any layer
  | 'truncated'
  | 'bad checksum'
  | 'no memory'
  | 'not for us'
  | 'unknown protocol'
  | 'no socket'
  | 'rate limited'
  | 'queue full'
  | 'interface down'
  // ether, arp
  | 'bad link source'
  | 'unknown ethertype'
  | 'unknown vlan'
  | 'bad arp'
  | 'arp conflict'
  // ipv4, ipv6
  | 'bad version'
  | 'bad header length'
  | 'bad total length'
  | 'martian source'
  | 'martian destination'
  | 'source route'
  | 'bad option'
  | 'ttl exceeded'
  | 'no route'
  | 'bad fragment'
  | 'overlapping fragment'
  | 'fragment limit'
  // icmp
  | 'bad icmp'
  | 'icmp ignored'
  // udp, tcp
  | 'bad length'
  | 'bad port'
  | 'bad data offset'
  | 'bad destination'
  | 'bad source'
  | 'backlog full'
  | 'out of window'
  | 'old duplicate'
  | 'bad ack'
  | 'bad flags'
  | 'paws'
  | 'reset ignored'
  | 'not synchronized'
  | 'closed';

/** `undefined` says the packet was taken. */
export type Verdict = DropReason | undefined;

/** Drops by reason, for counters and status pages. */
export type DropCounts = Partial<Record<DropReason, number>>;

export function countDrop(counts: DropCounts, reason: DropReason): void {
  counts[reason] = (counts[reason] ?? 0) + 1;
}
