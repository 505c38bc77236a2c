// When and how the receiver reports: delayed ACKs, D-SACK, timestamps, each named by the clause that decides it.

import { describe, expect, test } from 'vitest';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { abort, shutdown } from '../../src/tcp/calls.ts';
import { ACK, FIN, RST, SYN } from '../../src/tcp/header.ts';
import type { Options } from '../../src/tcp/options.ts';
import type { TcpConfig } from '../../src/tcp/tcp.ts';
import { fromPeer, Pair, pattern, stamp } from './pair.ts';

/** A connection whose server has what it says on the wire noted, and gets only what the test injects. */
function listening(config: Partial<TcpConfig> = {}) {
  const pair = new Pair({ config });
  const { server } = pair.connect();
  const said: { flags: number; ack: number; options: Options }[] = [];
  pair.filter = (wire, { flags, ack, options }) => {
    if (wire.from === pair.server)
      said.push({ flags, ack, options: { ...options, sack: [...options.sack] } });
    return false;
  };
  const take = (data: Uint8Array, from = 0): void => {
    pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: server.receiveBuffer.nxt + from, data }));
    pair.settle();
  };
  // The first read opens the window wide, and is told at once: that is over before the test begins.
  take(pattern(10));
  pair.run(SECOND);
  said.length = 0;
  return { pair, server, said, take };
}

describe('RFC 2883 4.2: a segment that is in part a duplicate', () => {
  test('is acknowledged at once, with the part that came twice', () => {
    const { server, said, take } = listening();
    const start = server.receiveBuffer.nxt;
    take(pattern(100));
    expect(said).toEqual([]);
    take(pattern(150), -100);
    expect(said.length).toBe(1);
    expect(said[0]!.ack).toBe(start + 150);
    expect(said[0]!.options.sackCount).toBe(1);
    expect(said[0]!.options.sack.slice(0, 2)).toEqual([start, start + 100]);
  });
});

describe('RFC 7323 4.3 with RFC 5961 5.2: TS.Recent', () => {
  test('is not raised by a segment that acknowledges what was never sent', () => {
    const { pair, server, said } = listening();
    const { recent } = server.ts;
    const options = stamp(server, recent + 100_000);
    pair.inject(pair.server, fromPeer(server, { flags: ACK, ack: server.snd.nxt + 5_000, options }));
    pair.settle();
    expect(server.ts.recent).toBe(recent);
    expect(said.map((s) => s.options.tsecr)).toEqual([recent]);
    // The true peer, whose clock is far behind the forged one, is still heard.
    const next = stamp(server, recent + 1);
    pair.inject(pair.server, fromPeer(server, { flags: ACK, data: pattern(10), options: next }));
    expect(server.ts.recent).toBe(recent + 1);
    expect(server.receiveBuffer.readable + server.stats.bytesIn).toBeGreaterThanOrEqual(10);
  });
});

describe('RFC 7323 3.2: a connection with timestamps', () => {
  test('sends them in its RST too', () => {
    const { pair, server, said } = listening();
    abort(server);
    pair.settle();
    expect(said.length).toBe(1);
    expect(said[0]!.flags).toBe(RST | ACK);
    expect(said[0]!.options.timestamps).toBe(true);
    expect(said[0]!.options.tsecr).toBe(server.ts.recent);
  });
});

describe('MUST-61: PSH marks the last of the buffered data', () => {
  test('so a FIN without data carries none, sent first or again', () => {
    const { pair, server, said } = listening();
    shutdown(server);
    pair.run(SECOND);
    expect(said.length).toBeGreaterThan(1);
    expect(new Set(said.map((s) => s.flags))).toEqual(new Set([ACK | FIN]));
  });
});

describe('RFC 7323, RFC 2018: what a SYN offers is a setting', () => {
  const OFF = { timestamps: false, windowScaling: false, sack: false };
  const ON = {};
  test.each([
    ['neither side', OFF, OFF],
    ['the opener', OFF, ON],
    ['the listener', ON, OFF],
  ])('%s has extensions switched off: none is used', (_, ours, theirs) => {
    const pair = new Pair();
    const syns: Options[] = [];
    pair.filter = (_wire, { flags, options }) => {
      if ((flags & SYN) !== 0) syns.push({ ...options });
      return true;
    };
    const { client, server } = pair.connect(ours, theirs);
    for (const tcb of [client, server]) {
      expect(tcb.state).toBe('ESTABLISHED');
      expect([tcb.ts.on, tcb.sackOn, tcb.snd.scale, tcb.rcv.scale]).toEqual([false, false, 0, 0]);
    }
    const [syn, answer] = syns;
    expect(syn).toMatchObject({ timestamps: ours !== OFF, sackPermitted: ours !== OFF });
    expect(syn!.windowScale >= 0).toBe(ours !== OFF);
    expect(answer).toMatchObject({ timestamps: false, sackPermitted: false, windowScale: -1 });
  });
});

describe('SHLD-18, SHLD-19: how long an ACK waits is a setting', () => {
  test('small segments wait for the timer', () => {
    const { pair, said, take } = listening();
    for (let i = 0; i < 3; i++) take(pattern(10));
    expect(said).toEqual([]);
    pair.run(39 * MILLISECOND);
    expect(said).toEqual([]);
    pair.run(MILLISECOND);
    expect(said.length).toBe(1);
  });

  test('delayedAck 0: every segment is acknowledged at once', () => {
    const { said, take } = listening({ delayedAck: 0 });
    for (let i = 0; i < 3; i++) take(pattern(10));
    expect(said.length).toBe(3);
  });

  test('countsSmallSegments: every second segment is, whatever its size', () => {
    const { said, take } = listening({ countsSmallSegments: true });
    for (let i = 0; i < 5; i++) take(pattern(10));
    expect(said.length).toBe(2);
  });
});
