// What IPv4 and ICMP count, under the names of their MIBs. RFC 4293.

/** `ipSystemStatsTable` for IPv4. Octets count IP headers and payload. */
export function newIpCounters() {
  return {
    ipSystemStatsInReceives: 0,
    ipSystemStatsInOctets: 0,
    ipSystemStatsInHdrErrors: 0,
    ipSystemStatsInNoRoutes: 0,
    ipSystemStatsInAddrErrors: 0,
    ipSystemStatsInUnknownProtos: 0,
    ipSystemStatsInTruncatedPkts: 0,
    ipSystemStatsInForwDatagrams: 0,
    ipSystemStatsReasmReqds: 0,
    ipSystemStatsReasmOKs: 0,
    ipSystemStatsReasmFails: 0,
    ipSystemStatsInDiscards: 0,
    ipSystemStatsInDelivers: 0,
    ipSystemStatsOutRequests: 0,
    ipSystemStatsOutNoRoutes: 0,
    ipSystemStatsOutForwDatagrams: 0,
    ipSystemStatsOutDiscards: 0,
    ipSystemStatsOutFragReqds: 0,
    ipSystemStatsOutFragOKs: 0,
    ipSystemStatsOutFragFails: 0,
    ipSystemStatsOutFragCreates: 0,
    ipSystemStatsOutTransmits: 0,
    ipSystemStatsOutOctets: 0,
    ipSystemStatsInMcastPkts: 0,
    ipSystemStatsInBcastPkts: 0,
    ipSystemStatsOutMcastPkts: 0,
    ipSystemStatsOutBcastPkts: 0,
  };
}

export type IpCounters = ReturnType<typeof newIpCounters>;

/** `icmpStatsTable` and `icmpMsgStatsTable` for IPv4, and two of our own that explain silence. */
export function newIcmpCounters() {
  return {
    icmpStatsInMsgs: 0,
    icmpStatsInErrors: 0,
    icmpStatsOutMsgs: 0,
    icmpStatsOutErrors: 0,
    /** By ICMP type. */
    icmpMsgStatsInPkts: new Array<number>(256).fill(0),
    icmpMsgStatsOutPkts: new Array<number>(256).fill(0),
    /** Not in the MIB: errors that the rate limit of RFC 1812 4.3.2.8 kept in. */
    icmpOutRateLimited: 0,
    /** Not in the MIB: well-formed messages that this host does not act on. */
    icmpInIgnored: 0,
  };
}

export type IcmpCounters = ReturnType<typeof newIcmpCounters>;

/** IGMP has no host counters in a MIB of its own; these mirror the ICMP ones. */
export function newIgmpCounters() {
  return { igmpInMsgs: 0, igmpInErrors: 0, igmpInQueries: 0, igmpInReports: 0, igmpOutReports: 0 };
}

export type IgmpCounters = ReturnType<typeof newIgmpCounters>;
