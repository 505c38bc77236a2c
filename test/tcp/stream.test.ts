// What TCP is for: whatever becomes of the segments, the same bytes come out in the same order, and nothing is left behind.
//
// First the receiver alone, by law. Then two TCPs over a bad wire, for many seeds, with what must hold at every moment looked at
// after every step.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { below, type Random, seededRandom, unit } from '../../src/base/random.ts';
import { HOUR, MILLISECOND, MINUTE, NEVER, SECOND } from '../../src/base/time.ts';
import { abort, close, send, shutdown, unsentBytes } from '../../src/tcp/calls.ts';
import { ACK, FIN } from '../../src/tcp/header.ts';
import { pipe } from '../../src/tcp/recovery.ts';
import * as seq from '../../src/tcp/seq.ts';
import { type State, type Tcb, type TcpOptions, TRANSITIONS } from '../../src/tcp/tcb.ts';
import { fromPeer, type Log, Pair, pattern, type Side } from './pair.ts';

/** Fixes the initial sequence numbers of both sides. */
function begin(pair: Pair, iss: number): void {
  for (const side of [pair.client, pair.server]) {
    Object.assign(side.tcp, { isn: { isn: () => iss >>> 0, timestampOffset: () => iss >>> 0 } });
  }
}

const ISS = fc.constantFrom(0, 1, 0x7fff_fff0, 0x8000_0000, 0xffff_ff00, 0xffff_fffe, 0xffff_ffff, 12345);

describe('the receiver', () => {
  test('segments in any order, overlapping and repeated, give the stream and its end', () => {
    const piece = fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 1400 }));
    fc.assert(
      fc.property(ISS, fc.array(piece, { maxLength: 60 }), fc.nat(3000), (iss, pieces, total) => {
        const pair = new Pair();
        begin(pair, iss);
        const { server, serverLog } = pair.connect();
        const stream = pattern(total);
        const first = server.receiveBuffer.nxt;
        const put = (from: number, to: number) => {
          const flags = to === total ? ACK | FIN : ACK;
          const data = stream.subarray(from, to);
          pair.inject(pair.server, fromPeer(server, { flags, seq: seq.add(first, from), data }));
          pair.settle();
        };
        for (const [from, length] of pieces) {
          if (from < total) put(from, Math.min(from + length, total));
          expect(seq.sub(server.receiveBuffer.nxt, first)).toBeLessThanOrEqual(total + 1);
        }
        for (let from = 0; from < total; from += 700) put(from, Math.min(from + 700, total));
        if (total === 0) put(0, 0);
        expect(serverLog.received).toEqual([...stream]);
        expect(serverLog.events).toEqual(['end']);
        expect(server.state).toBe('CLOSE-WAIT');
        expect(server.receiveBuffer.held).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  test('no segment at all, whatever its numbers, moves RCV.NXT or the window back, nor the window past the buffer', () => {
    const any = fc.record({
      flags: fc.nat(63),
      seq: fc.integer({ min: -70_000, max: 70_000 }),
      ack: fc.integer({ min: -3000, max: 3000 }),
      length: fc.nat(2000),
      wnd: fc.nat(65_535),
    });
    fc.assert(
      fc.property(ISS, fc.array(any, { maxLength: 40 }), fc.boolean(), (iss, segments, reading) => {
        const pair = new Pair();
        begin(pair, iss);
        const { server, serverLog } = pair.connect({ receiveBufferLimit: 20_000 });
        serverLog.reading = reading;
        const watch = new Watch(pair);
        pair.filter = () => false;
        send(server, pattern(5000), 0, 5000);
        for (const { flags, seq: offset, ack, length, wnd } of segments) {
          const fields = {
            flags,
            seq: seq.add(server.receiveBuffer.nxt, offset),
            wnd,
            data: pattern(length),
          };
          pair.inject(pair.server, fromPeer(server, { ...fields, ack: seq.add(server.snd.nxt, ack) }));
          pair.settle();
          watch.look();
          pair.run(50 * MILLISECOND);
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** Looks at every connection of a pair after each step, and remembers what may only grow. */
class Watch {
  readonly #pair: Pair;
  readonly #seen = new Map<Tcb, { nxt: number; edge: number; una: number; furthest: number }>();

  constructor(pair: Pair) {
    this.#pair = pair;
    const settle = pair.settle.bind(pair);
    pair.settle = () => {
      settle();
      this.look();
    };
    for (const side of [pair.client, pair.server]) {
      side.tcp.onTransition = (tcb, from, to) => {
        side.states.push(`${from} ${to}`);
        if (!TRANSITIONS[from].includes(to)) throw new Error(`illegal: ${from} to ${to}`);
        if (to === 'CLOSED') this.#seen.delete(tcb);
      };
    }
  }

  look(): void {
    for (const side of [this.#pair.client, this.#pair.server]) {
      for (const tcb of side.tcp.connections.values()) {
        if (tcb.state !== 'SYN-SENT' && tcb.state !== 'SYN-RECEIVED') this.#check(tcb, side);
      }
    }
  }

  #check(tcb: Tcb, side: Side): void {
    const { snd, rcv, receiveBuffer: rb, recovery, options } = tcb;
    const last = this.#seen.get(tcb) ?? {
      nxt: rb.nxt,
      edge: rcv.edge,
      una: snd.una,
      furthest: seq.add(snd.una, snd.wnd),
    };
    const must = (holds: boolean, what: string) => {
      if (!holds) throw new Error(`${tcb.state}: ${what}`);
    };
    // The receiver.
    must(seq.geq(rb.nxt, last.nxt), 'RCV.NXT went back');
    must(seq.geq(rcv.edge, last.edge), 'the right edge of the receive window went left');
    must(seq.geq(rcv.edge, rb.nxt), 'RCV.NXT passed the right edge');
    must(
      rb.readable + seq.sub(rcv.edge, rb.nxt) <= options.receiveBufferLimit + 1,
      'more offered than there is room',
    );
    // The sender.
    must(seq.geq(snd.una, last.una), 'SND.UNA went back');
    must(seq.leq(snd.una, snd.nxt), 'SND.UNA =< SND.NXT');
    const edge = seq.add(snd.una, snd.wnd);
    const furthest = seq.max(last.furthest, edge);
    // A probe octet that the peer took lies beyond its window, at SND.UNA.
    must(seq.leq(snd.nxt, seq.max(furthest, snd.una)), 'sent beyond every window ever offered');
    must(tcb.sendBuffer.length <= options.sendBufferLimit, 'the send buffer is over its limit');
    must(unsentBytes(tcb) >= 0, 'less than nothing unsent');
    // Recovery.
    for (const [name, mark] of [
      ['HighRxt', recovery.highRxt],
      ['lostBelow', recovery.lostBelow],
    ] as const) {
      must(seq.leq(snd.una, mark) && seq.leq(mark, snd.nxt), `${name} outside [SND.UNA, SND.NXT]`);
    }
    const { sacked } = recovery;
    for (let i = 0; i < sacked.count; i++) {
      must(seq.lt(sacked.lefts[i]!, sacked.rights[i]!), 'an empty SACKed range');
      must(i === 0 || seq.gt(sacked.lefts[i]!, sacked.rights[i - 1]!), 'SACKed ranges that touch');
      must(
        seq.geq(sacked.lefts[i]!, snd.una) && seq.leq(sacked.rights[i]!, snd.nxt),
        'SACKed what was not sent',
      );
    }
    must(pipe(tcb) >= 0 && pipe(tcb) <= 2 * seq.sub(snd.nxt, snd.una), 'pipe');
    must(tcb.congestion.cwnd >= snd.mss, 'a congestion window of less than a segment');
    // Somebody will wake it up: else it sleeps for ever.
    const { at } = tcb;
    if (snd.una !== snd.nxt && tcb.state !== 'TIME-WAIT')
      must(at.retransmit !== NEVER, 'in flight, and no timer');
    const waits = unsentBytes(tcb) > 0 || (tcb.finQueued && !tcb.finSent);
    if (waits && snd.una === snd.nxt)
      must(at.persist !== NEVER || tcb.dirty, 'waiting, and nothing to wait for');
    const next = Math.min(at.retransmit, at.persist, at.delayedAck, at.keepAlive, at.timeWait);
    must(tcb.timer.deadline <= next, 'a deadline that the timer will miss');
    must(next === NEVER || tcb.timer.index >= 0, 'a timer that is not in the queue');
    must(side.tcp.count > 0, 'a connection in a table that counts none');
    this.#seen.set(tcb, { nxt: rb.nxt, edge: rcv.edge, una: snd.una, furthest });
  }
}

/** Writes `data` as room allows, in pieces of a size that chance gives, then shuts the half down. */
function pump(tcb: Tcb, data: Uint8Array, random: Random, largest: number): void {
  const log = tcb.user as Log;
  let at = 0;
  const more = () => {
    for (;;) {
      const wanted = Math.min(1 + below(random, largest), data.length - at);
      const taken = send(tcb, data, at, wanted);
      at += taken;
      if (at === data.length) return shutdown(tcb);
      if (taken < wanted) return;
    }
  };
  log.onWritable = more;
  more();
}

/** A wire that loses, delays, repeats and, when asked, cuts off everything for a while. */
function badWire(pair: Pair, random: Random, loss: number): Pair['filter'] {
  return (wire) => {
    if (unit(random) < loss) return false;
    if (unit(random) < loss) wire.at += Math.floor(30 * MILLISECOND * unit(random));
    if (unit(random) < loss / 2) pair.wire.push({ ...wire });
    return true;
  };
}

const KINDS: [string, Partial<TcpOptions>][] = [
  ['as it comes', {}],
  ['tiny receive buffer', { receiveBufferLimit: 3000 }],
  ['tiny send buffer', { sendBufferLimit: 2000 }],
  ['small segments without Nagle', { noDelay: true, maxMss: 200 }],
  ['no room to scale', { receiveBufferLimit: 60_000 }],
];

function nothingIsLeft(pair: Pair, what: string): void {
  for (const side of [pair.client, pair.server]) {
    const { tcp, timers } = side;
    expect([tcp.count, tcp.connections.size, tcp.timeWait.size], what).toEqual([0, 0, 0]);
    expect([timers.armed, tcp.pools.small.inUse, tcp.pools.large.inUse], what).toEqual([0, 0, 0]);
    expect([tcp.outgoing.length, tcp.eventful.length, tcp.resets.length], what).toEqual([0, 0, 0]);
  }
}

describe('two TCPs and a bad wire', () => {
  for (const [kind, options] of KINDS) {
    for (const agreed of ['timestamps and SACK', 'timestamps', 'SACK', 'nothing']) {
      test(`${kind}; agreed on ${agreed}`, () => {
        for (let seed = 1; seed <= 12; seed++) {
          const what = `seed ${seed}`;
          const random = seededRandom(seed);
          const pair = new Pair({ seed, delay: (1 + below(random, 40)) * MILLISECOND });
          begin(pair, [0xffff_fff0, 0x7fff_ff00, 0xffff_0000, 4711][seed % 4]!);
          try {
            const { client, server, clientLog, serverLog } = pair.connect(options);
            for (const tcb of [client, server]) {
              tcb.ts.on = agreed.includes('timestamps');
              tcb.sackOn = agreed.includes('SACK');
            }
            new Watch(pair);
            pair.filter = badWire(pair, random, [0.02, 0.1, 0.25][seed % 3]!);
            const up = pattern(below(random, 120_000));
            const down = pattern(below(random, 60_000), 7);
            pump(client, up, random, 5000);
            pump(server, down, random, 300);
            for (let i = 0; i < 40; i++) {
              // A reader that pauses: windows close and open.
              for (const [tcb, log] of [
                [client, clientLog],
                [server, serverLog],
              ] as const) {
                log.reading = unit(random) < 0.6;
                if (log.reading) log.read(tcb);
                else if (unit(random) < 0.5) log.read(tcb, below(random, 2000));
              }
              pair.run(Math.floor(500 * MILLISECOND * unit(random)));
            }
            clientLog.reading = serverLog.reading = true;
            clientLog.read(client);
            serverLog.read(server);
            pair.run(HOUR);
            clientLog.read(client);
            serverLog.read(server);
            expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(up)), what).toBe(0);
            expect(Buffer.compare(Buffer.from(clientLog.received), Buffer.from(down)), what).toBe(0);
            expect([clientLog.events.at(-1), serverLog.events.at(-1)], what).toEqual(['closed', 'closed']);
            nothingIsLeft(pair, what);
          } catch (error) {
            (error as Error).message = `${what}: ${(error as Error).message}`;
            throw error;
          }
        }
      });
    }
  }

  test('users that do anything at any time, from their callbacks too, leave nothing behind', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = seededRandom(seed);
      const pair: Pair = new Pair({ seed, delay: 5 * MILLISECOND });
      try {
        const watch = new Watch(pair);
        pair.filter = badWire(pair, random, 0.1);
        const { accepted } = pair.listen(80, 4, { userTimeout: 2 * MINUTE });
        const clients = [0, 1, 2].map(() =>
          pair.open(80, { userTimeout: 2 * MINUTE, receiveBufferLimit: 5000 }),
        );
        const act = (tcb: Tcb) => {
          const dice = below(random, 40);
          if (dice < 25) send(tcb, pattern(4000), 0, below(random, 4000));
          else if (dice < 33) (tcb.user as Log | undefined)?.read(tcb, below(random, 5000));
          else if (dice === 33) shutdown(tcb);
          else if (dice === 34) close(tcb);
          else if (dice === 35) abort(tcb);
        };
        for (let step = 0; step < 60; step++) {
          const all = [...clients, ...accepted];
          for (const tcb of all) {
            const log = tcb.user as Log | undefined;
            if (log === undefined) continue;
            log.keep = false;
            log.reading = unit(random) < 0.7;
            log.onReadable ??= () => act(tcb);
            log.onWritable ??= () => act(tcb);
            log.onClosed ??= () => act(tcb);
          }
          act(all[below(random, all.length)]!);
          pair.run(Math.floor(300 * MILLISECOND * unit(random)));
        }
        for (const tcb of [...clients, ...accepted]) close(tcb);
        pair.run(2 * HOUR);
        // Those that were accepted only now.
        for (const tcb of accepted) close(tcb);
        pair.run(2 * HOUR);
        watch.look();
        nothingIsLeft(pair, `seed ${seed}`);
        const legal = (line: string) => {
          const [from, to] = line.split(' ') as [State, State];
          return TRANSITIONS[from].includes(to);
        };
        expect([...pair.client.states, ...pair.server.states].every(legal)).toBe(true);
      } catch (error) {
        (error as Error).message = `seed ${seed}: ${(error as Error).message}`;
        throw error;
      }
    }
  });

  test('a device that is often full', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const what = `seed ${seed}`;
      const random = seededRandom(seed);
      const pair: Pair = new Pair({ seed, delay: 5 * MILLISECOND });
      const { client, server, clientLog, serverLog } = pair.connect({
        maxMss: 500,
        receiveBufferLimit: 20_000,
      });
      for (const tcb of [client, server]) {
        Object.assign(tcb.path.interface, { hasRoom: () => unit(random) < 0.3 });
      }
      new Watch(pair);
      pair.filter = badWire(pair, random, 0.05);
      const data = pattern(60_000);
      pump(client, data, random, 5000);
      pump(server, data, random, 5000);
      pair.run(HOUR);
      expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(data)), what).toBe(0);
      expect(Buffer.compare(Buffer.from(clientLog.received), Buffer.from(data)), what).toBe(0);
      nothingIsLeft(pair, what);
    }
  });

  test('a wire that is cut for minutes, again and again', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      const pair: Pair = new Pair({ seed });
      const { client, server, serverLog } = pair.connect({ receiveBufferLimit: 10_000 });
      new Watch(pair);
      const bad = badWire(pair, random, 0.05);
      let cutUntil = 0;
      pair.filter = (wire, seg) => pair.now >= cutUntil && bad!(wire, seg);
      const data = pattern(200_000);
      pump(client, data, random, 50_000);
      for (let i = 0; i < 8; i++) {
        cutUntil = pair.now + below(random, 3 * MINUTE);
        pair.run(4 * MINUTE);
      }
      shutdown(server);
      pair.run(HOUR);
      expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(data)), `seed ${seed}`).toBe(0);
      nothingIsLeft(pair, `seed ${seed}`);
    }
  });

  test('a peer that always answers late by more than the RTO is sent little twice', () => {
    const pair = new Pair({ delay: 5 * MILLISECOND });
    const { client, serverLog } = pair.connect();
    pair.delay = SECOND;
    send(client, pattern(100_000), 0, 100_000);
    pair.run(2 * MINUTE);
    expect(serverLog.bytes).toBe(100_000);
    expect(client.stats.timeouts).toBeLessThan(5);
  });
});
