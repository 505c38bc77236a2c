// What an error or an abort throws away (RFC 9293 3.10.5, 3.10.7.4: "flushed"), and that nobody takes the rest for the whole.

import { expect, test } from 'vitest';
import { abort } from '../../src/tcp/calls.ts';
import { ACK, FIN, RST } from '../../src/tcp/header.ts';
import * as seq from '../../src/tcp/seq.ts';
import { fromPeer, Pair, pattern } from './pair.ts';

test('a reset that comes with the last bytes and the FIN: the user hears of the reset, and of no end', () => {
  const pair = new Pair();
  const { server, serverLog } = pair.connect();
  const first = server.receiveBuffer.nxt;
  pair.inject(
    pair.server,
    fromPeer(server, { flags: ACK | FIN, seq: seq.add(first, 100), data: pattern(50) }),
  );
  pair.settle();
  // The gap is filled and the reset arrives before the user had a chance to read.
  pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: first, data: pattern(100) }));
  pair.inject(pair.server, fromPeer(server, { flags: RST, seq: seq.add(first, 151) }));
  pair.settle();
  expect(serverLog.events).toEqual(['closed ECONNRESET']);
  expect([server.state, server.receiveBuffer.held]).toEqual(['CLOSED', 0]);
});

test('a reset after everything was read: the end was true', () => {
  const pair = new Pair();
  const { server, serverLog } = pair.connect();
  const first = server.receiveBuffer.nxt;
  pair.inject(pair.server, fromPeer(server, { flags: ACK | FIN, seq: first, data: pattern(100) }));
  pair.settle();
  pair.inject(pair.server, fromPeer(server, { flags: RST, seq: seq.add(first, 101) }));
  pair.settle();
  expect(serverLog.events).toEqual(['end', 'closed ECONNRESET']);
  expect(serverLog.bytes).toBe(100);
});

test('an abort lets go of what arrived, in order or not', () => {
  const pair = new Pair();
  const { server, serverLog } = pair.connect();
  serverLog.reading = false;
  const first = server.receiveBuffer.nxt;
  pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: first, data: pattern(100) }));
  pair.inject(pair.server, fromPeer(server, { flags: ACK, seq: seq.add(first, 200), data: pattern(100) }));
  pair.settle();
  expect(server.receiveBuffer.held).toBeGreaterThan(0);
  abort(server);
  pair.settle();
  expect([server.receiveBuffer.held, server.receiveBuffer.readable]).toEqual([0, 0]);
});
