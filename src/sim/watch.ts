// What must hold of every TCP connection at every step, looked at after each round of each host (RFC 9293 3.3.1, 3.4, 3.8.6).

import { NEVER } from '../base/time.ts';
import { unsentBytes } from '../tcp/calls.ts';
import * as seq from '../tcp/seq.ts';
import { type Tcb, TRANSITIONS } from '../tcp/tcb.ts';
import { allConnections } from '../tcp/tcp.ts';
import type { SimHost } from './host.ts';

/** What of a connection may only grow, as it was at the last look. */
interface Marks {
  una: number;
  nxt: number;
  /** The furthest right edge that the peer ever offered, and that we ever did. */
  furthest: number;
  received: number;
  edge: number;
}

/** Looks at the connections of one host. What it finds goes to `found`, each thing once a connection. */
export class Watch {
  /** Connections ever seen: for the end, when all must be empty. */
  readonly seen = new Set<Tcb>();
  looks = 0;
  readonly #host: SimHost;
  readonly #found: string[];
  readonly #marks = new Map<Tcb, Marks>();

  constructor(host: SimHost, found: string[]) {
    this.#host = host;
    this.#found = found;
    host.afterRound = () => this.look();
    host.stack.tcp.onTransition = (tcb, from, to) => {
      this.seen.add(tcb);
      if (!TRANSITIONS[from].includes(to)) this.#complain(tcb, `illegal transition ${from} → ${to}`);
      if (to === 'CLOSED') this.#marks.delete(tcb);
    };
  }

  look(): void {
    for (const tcb of allConnections(this.#host.stack.tcp)) {
      if (tcb.state === 'SYN-SENT' || tcb.state === 'SYN-RECEIVED') continue;
      this.looks++;
      const marks = this.#marks.get(tcb);
      if (marks === undefined) this.#marks.set(tcb, marksOf(tcb));
      else this.#compare(tcb, marks);
      this.#waits(tcb);
    }
  }

  #compare(tcb: Tcb, marks: Marks): void {
    const { snd, rcv, receiveBuffer, sendBuffer, options, congestion } = tcb;
    const must = (holds: boolean, what: string) => {
      if (!holds) this.#complain(tcb, what);
    };
    must(seq.geq(snd.una, marks.una), 'SND.UNA went back');
    must(seq.leq(snd.una, snd.nxt), 'SND.UNA is beyond SND.NXT');
    marks.furthest = seq.max(marks.furthest, seq.add(snd.una, snd.wnd));
    // A probe's octet that the peer took lies beyond its window, at SND.UNA.
    must(seq.leq(snd.nxt, seq.max(marks.furthest, snd.una)), 'SND.NXT is beyond every window ever offered');
    must(seq.geq(receiveBuffer.nxt, marks.received), 'RCV.NXT went back');
    must(seq.geq(rcv.edge, marks.edge), 'the right edge of the receive window went left');
    must(seq.leq(receiveBuffer.nxt, rcv.edge), 'RCV.NXT is beyond the right edge');
    const offered = receiveBuffer.readable + seq.sub(rcv.edge, receiveBuffer.nxt);
    // The FIN takes a number but no room.
    must(offered <= options.receiveBufferLimit + 1, 'a window larger than the buffer');
    must(sendBuffer.length <= options.sendBufferLimit, 'the send buffer is over its limit');
    must(unsentBytes(tcb) >= 0, 'less than nothing unsent');
    must(congestion.cwnd >= snd.mss, 'a congestion window of less than a segment');
    marks.una = snd.una;
    marks.nxt = snd.nxt;
    marks.received = receiveBuffer.nxt;
    marks.edge = rcv.edge;
  }

  /** Who has something to wait for has a timer that wakes it up. */
  #waits(tcb: Tcb): void {
    const { snd, at, timer, state } = tcb;
    if (snd.una !== snd.nxt && state !== 'TIME-WAIT' && at.retransmit === NEVER) {
      this.#complain(tcb, 'bytes in flight, and no retransmission timer');
    }
    const waiting = unsentBytes(tcb) > 0 || (tcb.finQueued && !tcb.finSent);
    if (waiting && snd.una === snd.nxt && at.persist === NEVER && !tcb.dirty) {
      this.#complain(tcb, 'something to send, and nothing that will make it go');
    }
    const next = Math.min(at.retransmit, at.persist, at.delayedAck, at.keepAlive, at.timeWait);
    if (timer.deadline > next) this.#complain(tcb, 'a deadline that the timer will miss');
  }

  #complain(tcb: Tcb, what: string): void {
    const text = `${this.#host.name}: ${tcb.localPort} to ${tcb.remote}:${tcb.remotePort}, ${tcb.state}: ${what}`;
    if (!this.#found.includes(text)) this.#found.push(text);
  }
}

function marksOf(tcb: Tcb): Marks {
  const { snd, rcv, receiveBuffer } = tcb;
  return {
    una: snd.una,
    nxt: snd.nxt,
    furthest: seq.max(seq.add(snd.una, snd.wnd), snd.nxt),
    received: receiveBuffer.nxt,
    edge: rcv.edge,
  };
}
