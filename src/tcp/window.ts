// How much may be sent and how much may be received: segment sizes and windows (RFC 9293 3.7.1, 3.8.6; RFC 7323 2).

import * as seq from './seq.ts';
import type { Tcb, TcpOptions } from './tcb.ts';
import { refreshPath } from './tcp.ts';

/** Bytes of our TCP header without options. */
export const TCP_HEADER = 20;
/** The timestamps option with its two NOPs (RFC 7323 appendix A). */
export const TIMESTAMPS_LENGTH = 12;
/** MSS assumed of a peer that sends no option (MUST-15). */
export const DEFAULT_MSS_V4 = 536;
export const DEFAULT_MSS_V6 = 1220;
/** A peer may not make us send less than this in a segment (hostile 71, 72, 73: CVE-2019-11479). */
export const LEAST_MSS = 64;
/** Most payload of one super-frame: the IPv4 total length field less the largest headers, and less than a 64 KB block. */
export const MOST_PAYLOAD = 65_535 - 20 - 60;
/** RFC 7323 2.3: shift counts above 14 are taken as 14. */
export const MOST_SCALE = 14;

/** The MSS we advertise (MUST-67): what fits the interface's MTU, without regard to options (RFC 6691). */
export function receiveMss(tcb: Tcb): number {
  const { path, options } = tcb;
  const fits = path.interface.mtu - path.headerLength - TCP_HEADER;
  return Math.min(fits, options.maxMss === 0 ? fits : options.maxMss, 65_495);
}

/** Eff.snd.MSS (MUST-16): the peer's MSS or what the path carries, less our options. Kept in `snd.mss`. */
export function sendMss(tcb: Tcb): number {
  const path = refreshPath(tcb);
  const { snd, options } = tcb;
  // No segment of ours is longer than MOST_PAYLOAD: with a larger MSS none would ever count as full, and each would wait.
  let mss = Math.min(snd.peerMss, path.mtu - path.headerLength - TCP_HEADER, MOST_PAYLOAD);
  if (options.maxMss !== 0) mss = Math.min(mss, options.maxMss);
  if (tcb.ts.on) mss -= TIMESTAMPS_LENGTH;
  mss = Math.max(mss, 8);
  if (mss !== snd.mss) {
    snd.mss = mss;
    // A window of less than one segment would let nothing out, and so bring no ACK to open it.
    tcb.congestion.setMss(mss);
  }
  return mss;
}

/** The shift we offer in our SYN: the smallest that lets the window field name all that our buffer may become (RFC 7323 2.3). */
export function windowScaleFor({ receiveBufferLimit, receiveBufferMax }: TcpOptions): number {
  const limit = Math.max(receiveBufferLimit, receiveBufferMax);
  let scale = 0;
  while (scale < MOST_SCALE && limit >> scale > 65_535) scale++;
  return scale;
}

/**
 * Moves the advertised right edge as far as the receive buffer allows and returns the value of the Window field. The edge
 * never moves left (SHLD-14), and moves right only by a worthwhile step (MUST-39, 3.8.6.2.2: min(½ buffer, Eff.snd.MSS)).
 */
export function advertise(tcb: Tcb): number {
  const { rcv, receiveBuffer } = tcb;
  const { nxt } = receiveBuffer;
  const edge = seq.add(nxt, freeSpace(tcb));
  const gain = seq.sub(edge, rcv.edge);
  if (gain >= Math.min(tcb.options.receiveBufferLimit >> 1, rcv.mss)) {
    // The field is cut to whole units of 2^scale (RFC 7323 2.4), so the peer sees a little less.
    const field = Math.min(65_535, seq.sub(edge, nxt) >>> rcv.scale);
    rcv.edge = seq.max(rcv.edge, seq.add(nxt, field << rcv.scale));
  }
  return Math.min(65_535, Math.max(0, seq.sub(rcv.edge, nxt)) >>> rcv.scale);
}

/** Bytes that may still arrive in order, as far as the field can say: out-of-order data already lies inside the window. */
function freeSpace(tcb: Tcb): number {
  const free = tcb.options.receiveBufferLimit - tcb.receiveBuffer.readable;
  return Math.max(0, Math.min(free, 65_535 * 2 ** tcb.rcv.scale));
}

/**
 * True when a read opened the window so far that the peer should hear of it now: by two segments when it was more than half
 * closed, else by half the buffer. Otherwise the next ACK says it.
 */
export function shouldUpdateWindow(tcb: Tcb): boolean {
  const { rcv, receiveBuffer, options } = tcb;
  if (tcb.receiveEnded || tcb.state === 'SYN-SENT' || tcb.state === 'CLOSED') return false;
  const open = seq.sub(rcv.edge, receiveBuffer.nxt);
  const gain = freeSpace(tcb) - open;
  const half = Math.min(options.receiveBufferLimit, 65_535 * 2 ** rcv.scale) >> 1;
  return gain >= half || (open < half && gain >= Math.min(2 * rcv.mss, half));
}

/** The usable window: bytes after SND.NXT that the peer's window still takes; negative when it was shrunk (MUST-34). */
export function usableWindow(tcb: Tcb): number {
  const { snd } = tcb;
  return seq.sub(seq.add(snd.una, snd.wnd), snd.nxt);
}
