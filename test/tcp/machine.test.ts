import { describe, expect, test } from 'vitest';
import { seededRandom, unit } from '../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { abort, close, send, shutdown } from '../../src/tcp/calls.ts';
import type { Tcb, TcpOptions } from '../../src/tcp/tcb.ts';
import { type Log, Pair, pattern } from './pair.ts';

/** Sends all of `data` through whatever room there is, then closes the half. */
function pump(pair: Pair, tcb: Tcb, data: Uint8Array): void {
  let at = 0;
  const log = tcb.user as Log;
  const more = () => {
    at += send(tcb, data, at, data.length - at);
    if (at === data.length) shutdown(tcb);
  };
  log.onWritable = more;
  more();
  pair.settle();
}

describe('RFC 9293 3.5: opening', () => {
  test('three-way handshake', () => {
    const pair = new Pair();
    const { client, server, clientLog } = pair.connect();
    expect(client.state).toBe('ESTABLISHED');
    expect(server.state).toBe('ESTABLISHED');
    expect(clientLog.events).toEqual(['connected']);
    expect(pair.log.length).toBe(3);
  });

  test('a port that nobody listens on refuses with RST', () => {
    const pair = new Pair();
    const client = pair.open(81);
    const log = client.user as Log;
    pair.run(SECOND);
    expect(log.events).toEqual(['closed ECONNREFUSED']);
    expect(pair.client.tcp.count).toBe(0);
  });
});

describe('data', () => {
  for (const size of [1, 1460, 100_000, 5_000_000]) {
    test(`${size} bytes arrive, then both sides close`, () => {
      const pair = new Pair({ delay: 2 * MILLISECOND });
      const { client, server, serverLog, clientLog } = pair.connect();
      const data = pattern(size);
      pump(pair, client, data);
      pair.run(20 * SECOND);
      expect(serverLog.bytes).toBe(size);
      expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(data))).toBe(0);
      expect(serverLog.events).toContain('end');
      close(server);
      pair.run(5 * SECOND);
      expect(client.state).toBe('TIME-WAIT');
      expect(clientLog.events.at(-1)).toBe('closed');
      expect(client.stats.retransmissions).toBe(0);
      pair.run(61 * SECOND);
      expect(pair.client.tcp.count + pair.server.tcp.count).toBe(0);
      expect(pair.client.timers.armed + pair.server.timers.armed).toBe(0);
    });
  }

  for (const [name, options] of [
    ['default', {}],
    ['small receive buffer', { receiveBufferLimit: 8_000 }],
    ['no delay', { noDelay: true }],
  ] as [string, Partial<TcpOptions>][]) {
    for (let seed = 1; seed <= 20; seed++) {
      test(`bad network, seed ${seed}, ${name}`, () => {
        const random = seededRandom(seed);
        const pair = new Pair({
          seed,
          delay: 5 * MILLISECOND,
          filter: (wire) => {
            if (unit(random) < 0.05) return false;
            if (unit(random) < 0.05) wire.at += 20 * MILLISECOND * unit(random);
            if (unit(random) < 0.02) pair.wire.push({ ...wire });
            return true;
          },
        });
        const { accepted } = pair.listen(80, 16, options);
        const client = pair.open(80, options);
        pair.run(30 * SECOND);
        const server = accepted[0]!;
        expect(server).toBeDefined();
        const clientLog = client.user as Log;
        const serverLog = server.user as Log;
        const up = pattern(200_000);
        const down = pattern(150_000, 7);
        pump(pair, client, up);
        pump(pair, server, down);
        pair.run(600 * SECOND);
        expect(Buffer.compare(Buffer.from(serverLog.received), Buffer.from(up))).toBe(0);
        expect(Buffer.compare(Buffer.from(clientLog.received), Buffer.from(down))).toBe(0);
        expect(clientLog.events.at(-1)).toBe('closed');
        expect(serverLog.events.at(-1)).toBe('closed');
        expect(pair.client.tcp.count + pair.server.tcp.count).toBe(0);
        expect(pair.client.timers.armed + pair.server.timers.armed).toBe(0);
        expect(pair.client.tcp.pools.small.inUse + pair.client.tcp.pools.large.inUse).toBe(0);
      });
    }
  }
});

describe('closing', () => {
  test('abort resets the peer', () => {
    const pair = new Pair();
    const { client, serverLog } = pair.connect();
    abort(client);
    pair.run(SECOND);
    expect(serverLog.events).toEqual(['closed ECONNRESET']);
  });
});
