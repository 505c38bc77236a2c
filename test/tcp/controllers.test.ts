// The controllers on whole stacks: how they share, what loss and distance cost them, and paths that fill without a knob.

import { describe, expect, test } from 'vitest';
import { MILLISECOND as MS, SECOND } from '../../src/base/time.ts';
import { createPipe } from '../../src/link/pipe.ts';
import { createHost } from '../../src/node/host.ts';
import { abort, info, send } from '../../src/tcp/calls.ts';
import type { CongestionName } from '../../src/tcp/congestion.ts';
import { DEFAULT_OPTIONS } from '../../src/tcp/tcp.ts';
import { Pair, pattern } from './pair.ts';
import { BottleneckPath } from './path.ts';

const NAMES: readonly CongestionName[] = ['cubic', 'newreno', 'bbr'];

describe('the choice of a controller', () => {
  test('CUBIC unless asked; for each connection, or for the stack', () => {
    const pair = new Pair();
    expect(info(pair.connect().client).congestion).toBe('cubic');
    for (const congestion of NAMES) {
      expect(info(new Pair().connect({ congestion }).client).congestion).toBe(congestion);
      const config = { defaults: { ...DEFAULT_OPTIONS, congestion } };
      const { client, server } = new Pair({ config }).connect();
      expect([info(client).congestion, info(server).congestion]).toEqual([congestion, congestion]);
    }
  });

  test('or for a host; and nothing else is one', async () => {
    for (const congestion of NAMES) {
      const [device] = createPipe();
      await using host = await createHost({ device, ipv4: '10.7.0.2/24', congestion });
      expect(host.stack.tcp.config.defaults.congestion).toBe(congestion);
    }
    const [device] = createPipe();
    const unknown = createHost({ device, ipv4: '10.7.0.2/24', congestion: 'vegas' as CongestionName });
    await expect(unknown).rejects.toThrow('congestion: "vegas" is none of cubic, newreno, bbr');
  });
});

describe('fairness', () => {
  /** Shares of two connections of one bottleneck over `seconds`, after five. */
  function share(first: CongestionName, second: CongestionName, rate: number, ms: number, seconds = 15) {
    const p = new BottleneckPath({ rate, rtt: ms * MS });
    const [a, b] = [p.start({ congestion: first }), p.start({ congestion: second })];
    p.run(5 * SECOND);
    const [a0, b0] = [a.received, b.received];
    p.run(seconds * SECOND);
    const [ra, rb] = [a.received - a0, b.received - b0].map((n) => (n * 8) / seconds) as [number, number];
    return { ratio: ra / rb, used: (ra + rb) / rate };
  }

  test.each([
    [10e6, 20],
    [10e6, 60],
    [40e6, 20],
  ])('CUBIC and NewReno at %i bit/s and %i ms: neither starves, and the path is used', (rate, ms) => {
    const { ratio, used } = share('cubic', 'newreno', rate, ms);
    expect(ratio).toBeGreaterThan(1 / 3);
    expect(ratio).toBeLessThan(3);
    expect(used).toBeGreaterThan(0.9);
  });

  test.each(NAMES)('two of a kind: %s', (name) => {
    const { ratio, used } = share(name, name, 10e6, 30);
    expect(ratio).toBeGreaterThan(0.5);
    expect(ratio).toBeLessThan(2);
    expect(used).toBeGreaterThan(0.9);
  });

  test('BBR and CUBIC with a queue of one product: neither starves', () => {
    const { ratio, used } = share('bbr', 'cubic', 10e6, 40);
    expect(ratio).toBeGreaterThan(0.1);
    expect(ratio).toBeLessThan(10);
    expect(used).toBeGreaterThan(0.9);
  });
});

describe('RFC 7661: a window is worth what was used of it', () => {
  test.each(NAMES)('%s: an application that sends little does not collect a window', (congestion) => {
    const pair = new Pair({ delay: 20 * MS });
    const { client, serverLog } = pair.connect({ congestion });
    serverLog.keep = false;
    const { cwnd } = client.congestion;
    for (let i = 0; i < 300; i++) {
      send(client, pattern(2_000), 0, 2_000);
      pair.run(50 * MS);
    }
    // BBR's window is that of its model, which starts from the initial window.
    expect(client.congestion.cwnd).toBeLessThanOrEqual(congestion === 'bbr' ? 4 * cwnd : 1.2 * cwnd);
  });
});

describe('buffers that fit the path', () => {
  test('1 Gbit/s over 100 ms fills without a knob', { timeout: 60_000 }, () => {
    const p = new BottleneckPath({ rate: 1e9, rtt: 100 * MS });
    const source = p.start();
    p.run(1_500 * MS);
    expect(p.goodput(source, 500 * MS)).toBeGreaterThan(0.9e9);
    const { retransmissions, sendBufferLimit } = info(source.tcb);
    expect(retransmissions).toBe(0);
    expect(sendBufferLimit).toBeGreaterThan(12_500_000);
    expect(p.accepted[0]!.options.receiveBufferLimit).toBeGreaterThan(12_500_000);
    // Granted, within the stack's limit; and given back at the end.
    expect(p.client.stack.tcp.tuned).toBeGreaterThan(0);
    abort(source.tcb);
    abort(p.accepted[0]!);
    expect([p.client.stack.tcp.tuned, p.server.stack.tcp.tuned]).toEqual([0, 0]);
  });

  test.each([
    ['slow', 50e6, 10 * MS],
    ['short', 2e9, MS],
  ])('a %s path keeps the buffers it began with', (_kind, rate, rtt) => {
    const p = new BottleneckPath({ rate, rtt });
    const source = p.start();
    p.run(100 * rtt);
    expect(source.received).toBeGreaterThan(1_000_000);
    expect(info(source.tcb).sendBufferLimit).toBe(DEFAULT_OPTIONS.sendBufferLimit);
    expect(p.accepted[0]!.options.receiveBufferLimit).toBe(DEFAULT_OPTIONS.receiveBufferLimit);
  });

  test('what a user set stays, as with SO_RCVBUF and SO_SNDBUF', () => {
    const p = new BottleneckPath({ rate: 100e6, rtt: 100 * MS, config: { defaults: DEFAULT_OPTIONS } });
    const source = p.start({ sendBufferLimit: 300_000 });
    p.run(2 * SECOND);
    expect(info(source.tcb).sendBufferLimit).toBe(300_000);
  });

  test('a reader that does not read is not offered more', () => {
    const pair = new Pair({ delay: 50 * MS });
    const { client, server, serverLog } = pair.connect();
    serverLog.reading = false;
    for (let i = 0; i < 100; i++) {
      send(client, new Uint8Array(65_536), 0, 65_536);
      pair.run(100 * MS);
    }
    expect(server.options.receiveBufferLimit).toBe(DEFAULT_OPTIONS.receiveBufferLimit);
    expect(server.receiveBuffer.readable).toBeLessThanOrEqual(DEFAULT_OPTIONS.receiveBufferLimit);
  });

  test('all connections together stay below the tuning limit of the stack', { timeout: 60_000 }, () => {
    const tuningLimit = 3 << 20;
    const p = new BottleneckPath({ rate: 200e6, rtt: 100 * MS, config: { tuningLimit } });
    for (let i = 0; i < 4; i++) p.start();
    p.run(2 * SECOND);
    const grown = (tcbs: typeof p.accepted) =>
      tcbs.reduce((n, { options }) => n + options.receiveBufferLimit - DEFAULT_OPTIONS.receiveBufferLimit, 0);
    expect(grown(p.accepted)).toBeGreaterThan(0);
    expect(p.server.stack.tcp.tuned).toBe(grown(p.accepted));
    expect(p.server.stack.tcp.tuned).toBeLessThanOrEqual(tuningLimit);
    expect(p.client.stack.tcp.tuned).toBeLessThanOrEqual(tuningLimit);
  });
});

describe('what an ACK of delivery tells', () => {
  test('info(): delivered counts what SACK tells of too, and each byte once', () => {
    const p = new BottleneckPath({ rate: 20e6, rtt: 20 * MS, loss: 0.02 });
    const source = p.start({}, 3_000_000);
    p.run(10 * SECOND);
    const { delivered, deliveryRate, retransmissions } = info(source.tcb);
    expect(retransmissions).toBeGreaterThan(10);
    expect(delivered).toBe(3_000_000);
    expect(deliveryRate).toBeGreaterThan(0);
    expect(deliveryRate).toBeLessThan(20e6 / 8);
  });

  test('BBR brings 0.8 of 100 Mbit/s over 40 ms where one packet in a hundred is lost', () => {
    const p = new BottleneckPath({ rate: 100e6, rtt: 40 * MS, loss: 0.01 });
    const source = p.start({ congestion: 'bbr' });
    p.run(2 * SECOND);
    expect(p.goodput(source, 4 * SECOND)).toBeGreaterThan(0.8 * 100e6);
  });
});

test('goodput by controller, loss and distance, at 20 Mbit/s', { timeout: 120_000 }, async () => {
  const losses = [0, 0.001, 0.01, 0.03];
  const times = [5, 20, 80];
  const lines = [
    'Goodput in Mbit/s of one connection over a bottleneck of 20 Mbit/s (19.13 of payload), with a queue of one',
    'bandwidth-delay product but at least 30 KB, in the seconds 3 to 11.',
    '',
    `${'round trip'.padEnd(12)}${'loss'.padEnd(8)}${NAMES.map((name) => name.padStart(9)).join('')}`,
  ];
  for (const ms of times) {
    for (const loss of losses) {
      const cells = NAMES.map((congestion) => {
        const queue = Math.max(30_000, (20e6 / 8000) * ms);
        const p = new BottleneckPath({ rate: 20e6, rtt: ms * MS, loss, queue, seed: 7 });
        const source = p.start({ congestion });
        p.run(3 * SECOND);
        return (p.goodput(source, 8 * SECOND) / 1e6).toFixed(2).padStart(9);
      });
      lines.push(`${`${ms} ms`.padEnd(12)}${`${loss * 100} %`.padEnd(8)}${cells.join('')}`);
    }
  }
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('./__snapshots__/goodput.txt');
});
