// ICMP types and codes by the names that scripts use (RFC 792, RFC 1122, RFC 1812, RFC 1191).

import { Unsupported } from './script.ts';

const CODES: Readonly<
  Record<string, { readonly type: number; readonly codes: Readonly<Record<string, number>> }>
> = {
  echo_reply: { type: 0, codes: {} },
  unreachable: {
    type: 3,
    codes: {
      net_unreachable: 0,
      host_unreachable: 1,
      protocol_unreachable: 2,
      port_unreachable: 3,
      frag_needed: 4,
      source_route_failed: 5,
      net_unknown: 6,
      host_unknown: 7,
      source_host_isolated: 8,
      net_prohibited: 9,
      host_prohibited: 10,
      net_unreachable_for_tos: 11,
      host_unreachable_for_tos: 12,
      packet_filtered: 13,
      precedence_violation: 14,
      precedence_cutoff: 15,
    },
  },
  source_quench: { type: 4, codes: {} },
  redirect: { type: 5, codes: { net: 0, host: 1, tos_net: 2, tos_host: 3 } },
  echo_request: { type: 8, codes: {} },
  time_exceeded: {
    type: 11,
    codes: {
      ttl_exceeded_in_transit: 0,
      exceeded_in_transit: 0,
      fragment_reassembly_time_exceeded: 1,
      reassembly_time_exceeded: 1,
    },
  },
  parameter_problem: { type: 12, codes: {} },
};

/** The numbers behind the names. Throws {@link Unsupported} for those that are not known. */
export function icmpNumbers(type: string, code: string): { type: number; code: number } {
  const found = CODES[type];
  const number = code === '' ? 0 : found?.codes[code];
  if (found === undefined || number === undefined) throw new Unsupported(`icmp ${type} ${code}`.trim());
  return { type: found.type, code: number };
}
