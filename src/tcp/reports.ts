// What ICMP says of our segments: hard and soft errors, and a smaller path (RFC 9293 3.9.2.2, RFC 5927, RFC 1191 6).

import type { IpError } from '../base/ip.ts';
import { destroy } from './calls.ts';
import { onTooBig } from './recovery.ts';
import * as seq from './seq.ts';
import { isSynchronized, notify, SOFT_ERROR, type Tcb, touch } from './tcb.ts';
import { errnoOf, findForError, type Tcp } from './tcp.ts';
import { sendMss } from './window.ts';

/**
 * Hands an error to the connection it is about (MUST-54). RFC 5927 4.1: one that does not quote a sequence number now in
 * flight is a guess and is ignored (hostile 62). Source Quench never gets here (MUST-55).
 */
export function report(tcp: Tcp, error: IpError): void {
  const tcb = concerned(tcp, error);
  if (tcb === undefined) return;
  switch (error.kind) {
    case 'packet too big':
      shrink(tcb);
      return;
    case 'protocol unreachable':
    case 'port unreachable':
      hardError(tcb, error);
      return;
    default:
      softError(tcb, error);
  }
}

/** Asked before IP stores a smaller Path MTU: true when the error quotes something now in flight (RFC 5927 7, hostile 64). */
export function isPlausible(tcp: Tcp, error: IpError): boolean {
  return concerned(tcp, error) !== undefined;
}

/** The connection that has what is quoted in flight: SND.UNA =< SEG.SEQ < SND.NXT, so none while all is acknowledged. */
function concerned(tcp: Tcp, error: IpError): Tcb | undefined {
  const tcb = findForError(tcp, error);
  if (tcb === undefined) return undefined;
  const { snd, probed } = tcb;
  const quoted = error.view.getUint32(error.at + 4);
  if (seq.geq(quoted, snd.una) && seq.lt(quoted, snd.nxt)) return tcb;
  return probed && quoted === snd.una ? tcb : undefined;
}

/** RFC 1191 6.5: "retransmission … should not be counted as congestion", and happens at once. */
function shrink(tcb: Tcb): void {
  const before = tcb.snd.mss;
  const mss = sendMss(tcb);
  if (mss >= before) return;
  if (isSynchronized(tcb)) onTooBig(tcb);
  touch(tcb);
}

/** SHLD-26, as RFC 5927 5.2 narrows it: fatal while opening; once synchronized, a forger must not end a connection. */
function hardError(tcb: Tcb, error: IpError): void {
  if (isSynchronized(tcb)) softError(tcb, error);
  else destroy(tcb, errnoOf(error.kind));
}

/** MUST-56: soft errors do not abort; SHLD-25: the user may hear of them, and hears if the connection fails later. */
function softError(tcb: Tcb, error: IpError): void {
  tcb.softError = errnoOf(error.kind);
  // Our own neighbour cache is no forger: an address on this link that nobody has is fatal to an opening connection.
  if (tcb.state === 'SYN-SENT' && error.reporter.equals(error.source)) {
    destroy(tcb, tcb.softError);
    return;
  }
  notify(tcb, SOFT_ERROR);
}
