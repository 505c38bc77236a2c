// Brings a connection with the attacker into any state of RFC 9293 3.3.2, the attacker's side played by hand.

import { v4 } from '../../src/base/address.ts';
import { abort, open, shutdown } from '../../src/tcp/calls.ts';
import type { State, Tcb } from '../../src/tcp/tcb.ts';
import { ACK, concat, FIN, SYN, viewOf } from './craft.ts';
import { ATTACKER, ECHO, type Victim, Witness } from './victim.ts';

/** A listener whose connections never close by themselves. */
export const HOLD = 10;

export const STATES: readonly State[] = [
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
];

/** The timestamps option as it must be in every segment of `tcb`, empty without (RFC 7323 3.2). */
export function stamp(tcb: Tcb, ahead = 0): Uint8Array {
  if (!tcb.ts.on) return new Uint8Array(0);
  const b = concat(Uint8Array.of(1, 1, 8, 10), new Uint8Array(8));
  viewOf(b).setUint32(4, (tcb.ts.recent + ahead) >>> 0);
  return b;
}

/** MSS 1460, SACK permitted, timestamps from 1, window scale 7. */
export const SYN_OPTIONS = Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7);

/** A segment of the attacker's side of `tcb`, in place and stamped. */
export function theirs(
  v: Victim,
  tcb: Tcb,
  t: Parameters<Victim['spoof']>[0],
  payload?: Uint8Array,
): Uint8Array {
  return v.spoof({ options: stamp(tcb), ...t }, payload, tcb);
}

/** A connection with the attacker's `port` in `state`; undefined for LISTEN, where there is none yet. */
export function bring(v: Victim, port: number, state: State, options = SYN_OPTIONS): Tcb | undefined {
  if (state === 'LISTEN') return undefined;
  if (state === 'SYN-SENT') {
    const tcb = open(v.stack.tcp, {
      remote: v4(ATTACKER),
      remotePort: port,
      localPort: 20_000,
      user: new Witness(),
    });
    if (typeof tcb === 'string') throw new Error(tcb);
    v.turn();
    return tcb;
  }
  const waits = state === 'CLOSE-WAIT' || state === 'LAST-ACK';
  const to = waits ? HOLD : ECHO;
  if (state === 'SYN-RECEIVED') {
    v.inject(v.tcp({ source: port, destination: to, flags: SYN, seq: 1000, options }));
    return v.connection(port, to);
  }
  const tcb = v.connect(port, options, to);
  const say = (flags: number, ack = tcb.snd.nxt) => v.inject(theirs(v, tcb, { flags, ack }));
  if (waits) say(FIN | ACK);
  if (state !== 'ESTABLISHED' && state !== 'CLOSE-WAIT') {
    shutdown(tcb);
    v.turn();
  }
  if (state === 'FIN-WAIT-2' || state === 'TIME-WAIT') say(ACK);
  if (state === 'TIME-WAIT') say(FIN | ACK);
  if (state === 'CLOSING') say(FIN | ACK, tcb.snd.una);
  if (tcb.state !== state) throw new Error(`${tcb.state} instead of ${state}`);
  return tcb;
}

/** Ends a connection of the attacker's without a word that counts. */
export function drop(v: Victim, tcb: Tcb | undefined): void {
  if (tcb === undefined || tcb.state === 'CLOSED') return;
  abort(tcb);
  v.turn();
}
