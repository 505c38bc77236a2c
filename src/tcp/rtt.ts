// Round-trip time and retransmission timeout (RFC 6298), weighted for many samples a window (RFC 7323 appendix G).

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';

/**
 * Least RTO. Deviates: RFC 6298 2.4 says it SHOULD be 1 second, for clocks with coarse grain and receivers that delay ACKs
 * up to 500 ms. Ours counts microseconds, no common stack delays more than 200 ms, and a second's silence for one lost
 * segment is felt; Linux has used 200 ms for over twenty years.
 */
export const MIN_RTO: Micros = 200 * MILLISECOND;
/** Most RTO. RFC 6298 2.5 allows a maximum of at least 60 seconds. */
export const MAX_RTO: Micros = 120 * SECOND;
/** Before the first sample (RFC 6298 2.1). */
export const INITIAL_RTO: Micros = SECOND;
/** After a handshake whose SYN was retransmitted (RFC 6298 5.7). */
const RTO_AFTER_SYN_LOSS: Micros = 3 * SECOND;
/** G, the clock's grain (RFC 6298 2.2): a host's loop looks at its clock about this often. */
const GRANULARITY: Micros = MILLISECOND;

const K = 4;
const ALPHA = 1 / 8;
const BETA = 1 / 4;

export interface RttOptions {
  readonly minRto?: Micros;
  readonly maxRto?: Micros;
  readonly initialRto?: Micros;
  readonly granularity?: Micros;
}

/** All times in microseconds. `srtt`, `rttvar`, `minRtt` and `latest` are 0 until the first sample. */
export interface Rtt {
  srtt: number;
  rttvar: number;
  /** What the retransmission timer is set to, backoff included. */
  rto: Micros;
  /** Smallest sample ever; a path's length when nothing queues. */
  minRtt: Micros;
  latest: Micros;
  /** Timeouts in a row without a new sample. */
  backoffs: number;
  /** A sample was taken. */
  measured: boolean;
  /** RTO without backoff. */
  base: Micros;
  readonly minRto: Micros;
  readonly maxRto: Micros;
  readonly granularity: Micros;
}

export function createRtt(options: RttOptions = {}): Rtt {
  const rto = options.initialRto ?? INITIAL_RTO;
  return {
    srtt: 0,
    rttvar: 0,
    rto,
    minRtt: 0,
    latest: 0,
    backoffs: 0,
    measured: false,
    base: rto,
    minRto: options.minRto ?? MIN_RTO,
    maxRto: options.maxRto ?? MAX_RTO,
    granularity: options.granularity ?? GRANULARITY,
  };
}

/**
 * Takes a measurement R of `micros`. The caller keeps Karn's rule (RFC 6298 3): never from a segment sent twice, unless
 * timestamps tell which one was answered. `expectedSamples` is ceiling(FlightSize / (2 × SMSS)): how many samples this
 * window will yield, so that many samples forget no faster than one a window would. A new sample ends the backoff.
 */
export function sample(rtt: Rtt, micros: Micros, expectedSamples = 1): void {
  const r = Math.max(1, micros);
  if (!rtt.measured) {
    // 2.2
    rtt.measured = true;
    rtt.srtt = r;
    rtt.rttvar = r / 2;
    rtt.minRtt = r;
  } else {
    // 2.3, with alpha' and beta' of RFC 7323 G. RTTVAR first: it needs the old SRTT.
    const n = Math.max(1, expectedSamples);
    rtt.rttvar += (BETA / n) * (Math.abs(rtt.srtt - r) - rtt.rttvar);
    rtt.srtt += (ALPHA / n) * (r - rtt.srtt);
    if (r < rtt.minRtt) rtt.minRtt = r;
  }
  rtt.latest = r;
  compute(rtt);
}

/**
 * RTO = SRTT + max(G, K·RTTVAR). Deviates: the floor of 2.4 is put under the variance term rather than under the sum, as
 * Linux does. On a path of steady 250 ms RTTVAR fades to nothing, and an ACK delayed by 200 ms must not look like a loss.
 */
function compute(rtt: Rtt): void {
  const spread = Math.max(rtt.granularity, K * rtt.rttvar, rtt.minRto);
  rtt.base = Math.min(Math.round(rtt.srtt + spread), rtt.maxRto);
  rtt.rto = rtt.base;
  rtt.backoffs = 0;
}

/** The timer expired: RTO doubles, up to its maximum (5.5). */
export function backoff(rtt: Rtt): void {
  rtt.backoffs++;
  rtt.rto = Math.min(rtt.rto * 2, rtt.maxRto);
}

/** New data was acknowledged without a sample, or a timeout proved spurious: RTO is what the samples say again (Karn, RFC 5682). */
export function resetBackoff(rtt: Rtt): void {
  rtt.backoffs = 0;
  rtt.rto = rtt.base;
}

/**
 * The handshake is done and its SYN was retransmitted: unless a sample says better, RTO is 3 seconds when data begins
 * (5.7), since the path may be longer than the initial RTO believed. Call it once, on entering ESTABLISHED.
 */
export function onSynRetransmitted(rtt: Rtt): void {
  if (rtt.measured) return;
  rtt.base = Math.min(Math.max(rtt.base, RTO_AFTER_SYN_LOSS), rtt.maxRto);
  resetBackoff(rtt);
}
