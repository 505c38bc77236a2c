// A mutation fuzzer over a whole stack: honest frames, slightly changed, in every TCP state; and the same over a tagged link.
// The referee looks at every answer. HOSTILE_SEED and HOSTILE_FRAMES choose another run, or a longer one.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { v4 } from '../../src/base/address.ts';
import { below, seededRandom } from '../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import type { State, Tcb } from '../../src/tcp/tcb.ts';
import { TRANSITIONS } from '../../src/tcp/tcb.ts';
import { honest, mutate } from './mutate.ts';
import { bring, drop, HOLD, STATES } from './states.ts';
import { CLIENT_PORT, PEER, Victim, type VictimOptions, Witness } from './victim.ts';

const SEED = Number(process.env.HOSTILE_SEED ?? 20_251);
const FRAMES = Number(process.env.HOSTILE_FRAMES ?? 200_000);
/** Frames before a connection that survives them is replaced by a fresh one. */
const PATIENCE = 100;
/** What may stay behind in memory after all, in bytes: half-open connections, caches and pools at their limits. */
const MOST_LEFT = 8 << 20;

function memory(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
}

/** A life's worth of frames from the peer, but for those of the connection that has to survive. */
function record(v: Victim): Uint8Array[] {
  v.recording = [];
  v.alive();
  const frames = v.recording.filter((b) => {
    const view = new DataView(b.buffer, b.byteOffset, b.length);
    const at = view.getUint16(12) === 0x8100 ? 18 : 14;
    return !(b.length >= at + 24 && b[at + 9] === 6 && view.getUint16(at + 20) === CLIENT_PORT);
  });
  v.recording = undefined;
  return frames;
}

function fuzz(state: State, frames: number, seed: number, options: VictimOptions, offload = false): void {
  const v = new Victim(options);
  const random = seededRandom(seed);
  const holder = v.listen(HOLD, () => new Witness());
  const recorded = record(v);
  const before = memory();
  const illegal: string[] = [];
  v.stack.tcp.onTransition = (_t, from, to) => {
    if (!TRANSITIONS[from].includes(to)) illegal.push(`${from} → ${to}`);
  };
  let port = 1024;
  let tcb: Tcb | undefined;
  let age = PATIENCE;
  let last = recorded[0]!;
  const reached = new Map<string, number>();
  for (let i = 0; i < frames; i++) {
    if (++age > PATIENCE || (tcb !== undefined && tcb.state !== state)) {
      drop(v, tcb);
      port = port >= 60_000 ? 1025 : port + 1;
      drop(v, v.connection(port) ?? v.connection(port, HOLD));
      tcb = bring(v, port, state);
      age = 0;
    }
    const base =
      below(random, 8) === 0 ? recorded[below(random, recorded.length)]! : honest(v, tcb, port, random);
    const frame = mutate(base, last, random);
    last = base;
    try {
      const gsoSize = [0, 1, 2, 536, 1448, 65_535][below(random, 6)]!;
      const { verdict } = v.inject(frame, offload ? { trusted: below(random, 2) === 0, gsoSize } : undefined);
      reached.set(verdict, (reached.get(verdict) ?? 0) + 1);
      if (v.fouls.length > 0) throw new Error(v.fouls[0]);
      if (illegal.length > 0) throw new Error(illegal[0]);
    } catch (error) {
      const hex = Buffer.from(frame).toString('hex');
      throw new Error(`seed ${seed}, ${state}, frame ${i}: ${hex}`, { cause: error });
    }
    if (i % 200 === 199) {
      v.checkLimits();
      v.pass(10 * MILLISECOND);
    }
  }
  // The fuzzer got in: all the way to where packets are taken, and to most reasons not to.
  expect(reached.get('taken')).toBeGreaterThan(frames / 20);
  expect(reached.size).toBeGreaterThan(20);
  v.stack.tcp.onTransition = undefined;
  drop(v, tcb);
  expect(holder.halfOpen.size).toBeLessThanOrEqual(1024);
  // Some of it may have told us another link address of the peer, which ARP lets anybody do (hostile 5).
  v.netif.neighbours.remove(v4(PEER));
  v.pass(40 * SECOND);
  v.alive();
  expect(memory() - before).toBeLessThan(MOST_LEFT);
}

describe('a mutation fuzzer', () => {
  for (const [i, state] of STATES.entries()) {
    test(`${FRAMES / STATES.length} frames with a connection in ${state}`, { timeout: 600_000 }, () => {
      fuzz(state, FRAMES / STATES.length, SEED + i, { seed: 1 + i });
    });
  }

  test(`${FRAMES / 10} frames that claim to be super-frames with good checksums`, {
    timeout: 600_000,
  }, () => {
    fuzz('ESTABLISHED', FRAMES / 10, SEED + 300, { seed: 99 }, true);
  });

  test(`${FRAMES / 10} frames on a tagged link (802.1Q)`, { timeout: 600_000 }, () => {
    fuzz('ESTABLISHED', FRAMES / 10, SEED + 100, { vlan: { id: 42, priority: 3, admit: 'tagged' } });
  });
});
