// ping and arping as commands: what they print, in words and in JSON, and how they end.

import { describe, expect, it } from 'vitest';
import { type ArpingOptions, arping } from '../../src/cli/arping.ts';
import { type PingOptions, ping, spread } from '../../src/cli/ping.ts';
import { makeWorld } from './world.ts';

const OPTIONS: PingOptions & ArpingOptions = { count: 3, interval: 0, timeout: 1, size: 56 };

function failing(code: string): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error(`failed: ${code}`), { code }));
}

/** A host whose n-th echo takes n milliseconds. */
function answering() {
  let n = 0;
  return { ping: async () => ({ rtt: ++n, ttl: 64, bytes: 64 }) };
}

describe('ping', () => {
  it('ends with 0 after replies, and sums them up', async () => {
    const world = makeWorld();
    expect(await ping(answering(), '10.7.0.1', OPTIONS, world.io, world.io.stop)).toBe(0);
    const text = world.out().toString();
    expect(text).toContain('64 bytes from 10.7.0.1: seq=2 ttl=64 time=2.000 ms');
    expect(text).toContain('3 sent, 3 received, 0% lost, time min/mean/max 1.000 ms/2.000 ms/3.000 ms');
  });

  it.each([
    ['ETIMEDOUT', 'no reply within 1 s'],
    ['EHOSTUNREACH', 'host unreachable'],
    ['ENETUNREACH', '--gateway'],
    ['EWHATEVER', 'failed: EWHATEVER'],
  ])('ends with 1 when every request fails with %s, and says why', async (code, words) => {
    const world = makeWorld();
    const host = { ping: failing(code) };
    expect(await ping(host, '10.7.0.1', OPTIONS, world.io, world.io.stop)).toBe(1);
    expect(world.out().toString()).toContain(words);
    expect(world.out().toString()).toContain('3 sent, 0 received, 100% lost');
  });

  it('--quiet leaves the summary', async () => {
    const world = makeWorld();
    await ping(answering(), '10.7.0.1', { ...OPTIONS, quiet: true }, world.io, world.io.stop);
    expect(world.out().toString().split('\n')).toHaveLength(2);
  });

  it('--json gives one object a line', async () => {
    const world = makeWorld();
    await ping(answering(), '10.7.0.1', { ...OPTIONS, json: true }, world.io, world.io.stop);
    const events = world.events();
    expect(events.map((e) => e.event)).toEqual(['start', 'reply', 'reply', 'reply', 'summary']);
    expect(events.at(-1)).toMatchObject({ sent: 3, received: 3, loss: 0, least: 1, mean: 2, most: 3 });
  });

  it('Ctrl-C ends it with the summary; the request under way counts as not sent', async () => {
    const world = makeWorld();
    let n = 0;
    const host = {
      ping: async (_address: string, options?: { signal?: AbortSignal }) => {
        if (++n === 3) {
          world.stop();
          options?.signal?.throwIfAborted();
        }
        return { rtt: 1, ttl: 64, bytes: 64 };
      },
    };
    expect(await ping(host, '10.7.0.1', { ...OPTIONS, count: 0 }, world.io, world.io.stop)).toBe(0);
    expect(world.out().toString()).toContain('2 sent, 2 received');
  });

  it('hands size, timeout and ttl down, in milliseconds', async () => {
    const world = makeWorld();
    const asked: unknown[] = [];
    const host = {
      ping: async (address: string, options?: object) => {
        asked.push({ address, ...options, signal: undefined });
        return { rtt: 1, ttl: 1, bytes: 8 };
      },
    };
    await ping(host, '10.7.0.1', { ...OPTIONS, count: 1, size: 0, ttl: 3 }, world.io, world.io.stop);
    expect(asked).toEqual([{ address: '10.7.0.1', size: 0, timeout: 1000, ttl: 3, signal: undefined }]);
  });

  it('spread of nothing is no number', () => {
    expect(spread([])).toEqual({ least: Number.NaN, mean: Number.NaN, most: Number.NaN });
    expect(spread([3, 1, 2])).toEqual({ least: 1, mean: 2, most: 3 });
  });
});

describe('arping', () => {
  it('shows who has the address', async () => {
    const world = makeWorld();
    const host = { arping: async () => ({ mac: '02:00:00:00:00:01', rtt: 0.5 }) };
    expect(await arping(host, '10.7.0.1', OPTIONS, world.io, world.io.stop)).toBe(0);
    expect(world.out().toString()).toContain('10.7.0.1 is at 02:00:00:00:00:01, time=0.500 ms');
    expect(world.out().toString()).toContain('3 sent, 3 received\n');
  });

  it('says so when two stations claim one address (RFC 5227)', async () => {
    const world = makeWorld();
    let n = 0;
    const host = { arping: async () => ({ mac: `02:00:00:00:00:0${++n}`, rtt: 1 }) };
    await arping(host, '10.7.0.1', OPTIONS, world.io, world.io.stop);
    expect(world.out().toString()).toContain('3 stations claim it');
  });

  it('ends with 1 when nobody answers', async () => {
    const world = makeWorld();
    const host = { arping: failing('ETIMEDOUT') };
    const code = await arping(host, '10.7.0.1', { ...OPTIONS, json: true }, world.io, world.io.stop);
    expect(code).toBe(1);
    expect(world.events().at(-1)).toEqual({
      event: 'summary',
      address: '10.7.0.1',
      sent: 3,
      received: 0,
      holders: [],
    });
  });
});
