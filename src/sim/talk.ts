// Conversations over TCP: two applications that say known bytes to each other, read as slowly as they please, and end in
// order or not. Afterwards it can be said whether TCP kept its promise: every byte once and in order, or the user is told.

import type { ErrorCode } from '../base/errors.ts';
import type { Slab } from '../base/slab.ts';
import type { Micros } from '../base/time.ts';
import { abort, accept, close, listen, open, receive, send, shutdown, unlisten } from '../tcp/calls.ts';
import type { Tcb, TcpOptions, TcpUser } from '../tcp/tcb.ts';
import type { Listener } from '../tcp/tcp.ts';
import type { SimHost } from './host.ts';
import { firstWrong, MOST_PIECE, pieceOf } from './pattern.ts';
import type { Sim } from './sim.ts';

/** What one side of a conversation does. Times count from when it was opened or accepted. */
export interface Part {
  /** Bytes it has to say. */
  readonly bytes: number;
  /** Most bytes of one write. */
  readonly write: number;
  /** From when to when it does not read. */
  readonly stalls: readonly (readonly [from: Micros, to: Micros])[];
  /** Bytes it reads at a time, and how often; without, everything at once. */
  readonly sips?: { readonly bytes: number; readonly every: Micros };
  /** Says its FIN only after it has read the peer's. */
  readonly last?: boolean;
  /** Ends the conversation by force: `abort` sends a reset, `close` does when bytes are unread. */
  readonly violence?: { readonly kind: 'abort' | 'close'; readonly at: Micros };
}

export interface TalkPlan {
  readonly client: Part;
  readonly server: Part;
  readonly options: Partial<TcpOptions>;
  /** So long after the client, the server opens too, to the client's very port, instead of listening: RFC 9293 3.5, Figure 8. */
  readonly mutual?: Micros;
}

/** One side, as it went. */
export class Talker implements TcpUser {
  readonly who: string;
  readonly part: Part;
  tcb: Tcb | undefined;
  sent = 0;
  received = 0;
  /** The peer's FIN was read. */
  ended = false;
  /** Where the first byte was that the peer never sent. */
  wrongAt = -1;
  /** It ended its connection by force. */
  wasViolent = false;
  /** How often it was told that the connection is over, and with what. */
  closings = 0;
  error: ErrorCode | undefined;
  /** It was called after that. */
  calledLate = false;
  readonly #sim: Sim;
  readonly #host: SimHost;
  /** Numbers of the streams: its own and the peer's. */
  readonly #says: number;
  readonly #hears: number;
  #stalled = 0;
  #sipping = false;
  #shut = false;
  readonly #cancel: (() => void)[] = [];

  constructor(sim: Sim, host: SimHost, part: Part, stream: { says: number; hears: number }, who: string) {
    this.#sim = sim;
    this.#host = host;
    this.part = part;
    this.#says = stream.says;
    this.#hears = stream.hears;
    this.who = who;
  }

  /** The connection is made, or on its way. */
  begin(tcb: Tcb): void {
    this.tcb = tcb;
    tcb.user = this;
    for (const [from, to] of this.part.stalls) {
      this.#later(from, () => this.#stalled++);
      this.#later(to, () => {
        this.#stalled--;
        this.#read(tcb);
      });
    }
    const { violence } = this.part;
    if (violence !== undefined) this.#later(violence.at, () => this.#end(tcb, violence.kind));
    this.#write(tcb);
  }

  get isOver(): boolean {
    return this.closings > 0;
  }

  connected(tcb: Tcb): void {
    this.#note();
    this.#write(tcb);
  }

  readable(tcb: Tcb): void {
    this.#note();
    this.#read(tcb);
  }

  writable(tcb: Tcb): void {
    this.#note();
    this.#write(tcb);
  }

  drained(_tcb: Tcb): void {
    this.#note();
  }

  closed(tcb: Tcb, error: ErrorCode | undefined): void {
    this.closings++;
    this.error = error;
    for (const cancel of this.#cancel) cancel();
    // What arrived before an orderly end is still there.
    if (error === undefined && !this.wasViolent) this.#take(tcb, Number.POSITIVE_INFINITY);
  }

  #note(): void {
    if (this.closings > 0) this.calledLate = true;
  }

  #later(micros: Micros, action: () => void): void {
    this.#cancel.push(this.#sim.afterOn(this.#host, micros, action));
  }

  #write(tcb: Tcb): void {
    const { bytes, write, last = false } = this.part;
    while (this.sent < bytes) {
      const piece = pieceOf(this.#says, this.sent);
      const wanted = Math.min(write, MOST_PIECE, bytes - this.sent);
      const taken = send(tcb, piece.bytes, piece.offset, wanted);
      this.sent += taken;
      if (taken < wanted) return;
    }
    if (!this.#shut && (!last || this.ended)) {
      this.#shut = true;
      shutdown(tcb);
    }
  }

  #read(tcb: Tcb): void {
    if (this.#stalled > 0 || this.#sipping) return;
    const { sips } = this.part;
    this.#take(tcb, sips?.bytes ?? Number.POSITIVE_INFINITY);
    if (sips !== undefined && tcb.receiveBuffer.readable > 0) {
      this.#sipping = true;
      this.#later(sips.every, () => {
        this.#sipping = false;
        this.#read(tcb);
      });
    }
  }

  #take(tcb: Tcb, most: number): void {
    receive(tcb, most, (slab: Slab, offset: number, length: number) => {
      if (this.wrongAt < 0) this.wrongAt = firstWrong(this.#hears, this.received, slab, offset, length);
      this.received += length;
    });
    if (!tcb.receiveEnded || tcb.receiveBuffer.readable > 0) return;
    this.ended = true;
    if (this.closings === 0) this.#write(tcb);
  }

  #end(tcb: Tcb, kind: 'abort' | 'close'): void {
    if (this.closings > 0) return;
    this.wasViolent = true;
    if (kind === 'abort') abort(tcb);
    else close(tcb);
  }
}

/** A client and a server that talk. */
export class Talk {
  readonly client: Talker;
  readonly server: Talker;
  /** Why it could not even be opened. */
  refused: ErrorCode | undefined;
  /** Connections beyond the one that was meant: of an old SYN, perhaps. They are aborted. */
  strays = 0;
  /** Both open; nobody listens. */
  readonly isMutual: boolean;
  readonly #listener: Listener | undefined;

  /** Listens at once and opens after `delay`. `number` must differ between the talks of one simulation. */
  constructor(sim: Sim, client: SimHost, server: SimHost, number: number, plan: TalkPlan, delay: Micros) {
    const [first, second] = [2 * number, 2 * number + 1];
    const name = `talk ${number}`;
    this.client = new Talker(sim, client, plan.client, { says: first, hears: second }, `${name} client`);
    this.server = new Talker(sim, server, plan.server, { says: second, hears: first }, `${name} server`);
    const port = FIRST_PORT + number;
    const { options, mutual } = plan;
    this.isMutual = mutual !== undefined;
    const opens = (talker: Talker, host: SimHost, other: SimHost, after: Micros, localPort: number) => {
      sim.afterOn(host, after, () => {
        const request = { remote: other.address, remotePort: port, localPort, user: talker, options };
        const tcb = open(host.stack.tcp, request);
        if (typeof tcb === 'string') this.refused = tcb;
        else talker.begin(tcb);
      });
    };
    if (mutual !== undefined) {
      opens(this.client, client, server, delay, port);
      opens(this.server, server, client, delay + mutual, port);
      return;
    }
    const acceptable = (listener: Listener) => this.#accept(listener);
    const made = server.act(sim.now, ({ tcp }) => listen(tcp, { port, backlog: 4, options, acceptable }));
    if (typeof made === 'string') throw new Error(`listen: ${made}`);
    this.#listener = made;
    opens(this.client, client, server, delay, 0);
  }

  #accept(listener: Listener): void {
    for (let tcb = accept(listener); tcb !== undefined; tcb = accept(listener)) {
      if (this.server.tcb === undefined) this.server.begin(tcb);
      else {
        this.strays++;
        abort(tcb);
      }
    }
  }

  /** Both sides that there are were told of the end. */
  get isOver(): boolean {
    if (this.refused !== undefined) return true;
    if (this.isMutual) return this.client.isOver && this.server.isOver;
    return this.client.isOver && (this.server.tcb === undefined || this.server.isOver);
  }

  /** Every byte arrived, both ways, and both were told of an orderly end. */
  get isComplete(): boolean {
    const { client, server } = this;
    const heardAll = (one: Talker, other: Talker) => one.ended && one.received === other.part.bytes;
    return (
      heardAll(client, server) &&
      heardAll(server, client) &&
      client.closings + server.closings === 2 &&
      client.error === undefined &&
      server.error === undefined
    );
  }

  /** Stops listening: the talk is over. */
  finish(): void {
    if (this.#listener !== undefined) unlisten(this.#listener);
  }

  /** What TCP did not keep of its promise. */
  complaints(): string[] {
    if (this.refused !== undefined) return [];
    const { client, server } = this;
    const found = [
      ...complain(client, server),
      ...(server.tcb === undefined ? [] : complain(server, client)),
    ];
    if (server.tcb === undefined && client.isOver && client.error === undefined && !client.wasViolent) {
      found.push(`${client.who}: an orderly end without a server`);
    }
    return found;
  }
}

/** Where talks listen. */
const FIRST_PORT = 1_000;

/** What `one` may complain of. */
function complain(one: Talker, other: Talker): string[] {
  const found: string[] = [];
  const must = (holds: boolean, what: string) => {
    if (!holds) found.push(`${one.who}: ${what}`);
  };
  must(one.closings === 1, `was told of the end ${one.closings} times`);
  must(!one.calledLate, 'was called after the end');
  must(one.wrongAt < 0, `byte ${one.wrongAt} is not what was sent`);
  must(one.received <= other.sent, `received ${one.received} bytes of ${other.sent}`);
  if (one.ended) {
    must(one.received === other.sent, `the stream ended after ${one.received} bytes of ${other.sent}`);
    must(other.sent === other.part.bytes || other.wasViolent, 'the stream ended before its end');
  }
  if (one.isOver && one.error === undefined && !one.wasViolent) {
    must(one.ended, 'an orderly end, but the stream had none');
    // All of ours was acknowledged: so the peer has it, unless it threw it away, or was told of trouble before it read.
    const heard = other.ended && other.received === one.part.bytes;
    must(
      heard || other.wasViolent || other.error !== undefined,
      `an orderly end, but the peer heard ${other.received} bytes of ${one.sent}`,
    );
  }
  return found;
}
