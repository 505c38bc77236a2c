// tcp_info as scripts know it (Linux's struct of that name), from what the stack knows of a connection.

import { info } from '../tcp/calls.ts';
import * as ranges from '../tcp/ranges.ts';
import { pipe } from '../tcp/recovery.ts';
import * as seq from '../tcp/seq.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { TCP_STATES } from './symbols.ts';

const OPT_TIMESTAMPS = 1;
const OPT_SACK = 2;
const OPT_WSCALE = 4;
/** What Linux shows while nothing was lost yet: TCP_INFINITE_SSTHRESH. */
const INFINITE = 0x7fffffff;
/** tcpi_ca_state. */
const CA = { open: 0, fast: 3, timeout: 4 } as const;

/** The fields by name. Windows and flight are in segments, times in microseconds, as Linux has them. */
export function tcpInfo(tcb: Tcb): Record<string, number> {
  const i = info(tcb);
  const { snd, rcv, ts, recovery, stats } = tcb;
  const mss = Math.max(1, snd.mss);
  const segments = (bytes: number): number => Math.ceil(bytes / mss);
  const sacked = ranges.covered(recovery.sacked, snd.una, snd.nxt);
  const lost =
    seq.sub(recovery.lostBelow, snd.una) - ranges.covered(recovery.sacked, snd.una, recovery.lostBelow);
  const scaled = snd.scale > 0 || rcv.scale > 0;
  return {
    tcpi_state: TCP_STATES[i.state],
    tcpi_ca_state: CA[i.phase],
    tcpi_retransmits: tcb.retries,
    tcpi_probes: tcb.probes,
    tcpi_backoff: tcb.rtt.backoffs,
    tcpi_options: (ts.on ? OPT_TIMESTAMPS : 0) | (tcb.sackOn ? OPT_SACK : 0) | (scaled ? OPT_WSCALE : 0),
    tcpi_snd_wscale: snd.scale,
    tcpi_rcv_wscale: rcv.scale,
    tcpi_rto: i.rto,
    tcpi_snd_mss: i.mss,
    tcpi_rcv_mss: rcv.mss,
    tcpi_unacked: segments(i.unacked),
    tcpi_sacked: segments(sacked),
    tcpi_lost: recovery.phase === 'open' ? 0 : segments(lost),
    tcpi_retrans: recovery.phase === 'open' ? 0 : segments(Math.max(0, seq.sub(recovery.highRxt, snd.una))),
    tcpi_pmtu: i.pmtu,
    tcpi_rtt: Math.round(i.srtt),
    tcpi_rttvar: Math.round(i.rttvar),
    tcpi_min_rtt: Math.round(tcb.rtt.minRtt),
    tcpi_snd_ssthresh: i.ssthresh === Number.POSITIVE_INFINITY ? INFINITE : Math.floor(i.ssthresh / mss),
    tcpi_snd_cwnd: Math.floor(i.cwnd / mss),
    // FreeBSD counts in bytes.
    tcpi_snd_cwnd_bytes: i.cwnd,
    tcpi_snd_wnd: i.sendWindow,
    tcpi_rcv_space: tcb.options.receiveBufferLimit,
    tcpi_total_retrans: i.retransmissions,
    tcpi_bytes_acked: i.bytesAcked,
    tcpi_bytes_received: i.bytesReceived,
    tcpi_notsent_bytes: i.unsent,
    tcpi_segs_out: stats.segmentsOut,
    tcpi_segs_in: stats.segmentsIn,
    tcpi_bytes_sent: stats.bytesOut,
    tcpi_in_flight: pipe(tcb),
  };
}

/** Names that code in scripts compares with. */
export const INFO_CONSTANTS: Readonly<Record<string, number>> = {
  TCPI_OPT_TIMESTAMPS: OPT_TIMESTAMPS,
  TCPI_OPT_SACK: OPT_SACK,
  TCPI_OPT_WSCALE: OPT_WSCALE,
  TCPI_OPT_ECN: 8,
  TCPI_OPT_ECN_SEEN: 16,
  TCPI_OPT_SYN_DATA: 32,
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCP_INFINITE_SSTHRESH: INFINITE,
  ...stateNames('TCP_'),
  ...stateNames('TCPI_'),
};

/** Both kernels' names of the states: TCP_FIN_WAIT1 and TCPS_FIN_WAIT_1 and their like. */
function stateNames(prefix: string): Record<string, number> {
  const names: Record<string, number> = {};
  for (const [state, number] of Object.entries(TCP_STATES)) {
    const word = state.replaceAll('-', '_');
    names[prefix + word] = number;
    names[prefix + word.replace(/WAIT_(\d)/, 'WAIT$1')] = number;
  }
  names[`${prefix}SYN_RECV`] = TCP_STATES['SYN-RECEIVED'];
  names[`${prefix}SYN_RCVD`] = TCP_STATES['SYN-RECEIVED'];
  names[`${prefix}CLOSE`] = TCP_STATES.CLOSED;
  return names;
}
