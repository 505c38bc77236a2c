// What an interface counts, under the names of IF-MIB (RFC 2863).

/** RFC 2863's ifTable and ifXTable. Octets count whole frames without their checksum. */
export interface InterfaceCounters {
  ifInOctets: number;
  ifInUcastPkts: number;
  ifInMulticastPkts: number;
  ifInBroadcastPkts: number;
  ifInDiscards: number;
  ifInErrors: number;
  ifInUnknownProtos: number;
  ifOutOctets: number;
  ifOutUcastPkts: number;
  ifOutMulticastPkts: number;
  ifOutBroadcastPkts: number;
  ifOutDiscards: number;
  ifOutErrors: number;
}

export function emptyCounters(): InterfaceCounters {
  return {
    ifInOctets: 0,
    ifInUcastPkts: 0,
    ifInMulticastPkts: 0,
    ifInBroadcastPkts: 0,
    ifInDiscards: 0,
    ifInErrors: 0,
    ifInUnknownProtos: 0,
    ifOutOctets: 0,
    ifOutUcastPkts: 0,
    ifOutMulticastPkts: 0,
    ifOutBroadcastPkts: 0,
    ifOutDiscards: 0,
    ifOutErrors: 0,
  };
}
