// Seeds of the soak as tests. The files soak-*.test.ts share them, so that they run side by side.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import { type SoakResult, soak } from '../../src/sim/soak.ts';

/** Seeds of one test: a failure names its seed, so a test may have many. */
const PORTION = 50;

/** All frames of a seed, as a file. */
export function recordOf(seed: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => chunks.push(bytes.slice()), { application: 'tapstack soak' });
  soak(seed, writer);
  return Buffer.concat(chunks);
}

/** What to say of a seed that failed; its frames are kept. */
function describeFailure({ seed, title, failures }: SoakResult): string {
  const file = join(mkdtempSync(join(tmpdir(), 'tapstack-soak-')), `soak-${seed}.pcapng`);
  writeFileSync(file, recordOf(seed));
  return [
    `seed ${seed}: ${title}`,
    ...failures,
    file,
    `npm run build && npm run soak -- --seeds 1 --from ${seed}`,
  ].join('\n  ');
}

/** Plays `count` seeds from `from` on. */
export function playSeeds(from: number, count: number): void {
  for (let first = from; first < from + count; first += PORTION) {
    test(`seeds ${first} to ${first + PORTION - 1}`, { timeout: 300_000 }, () => {
      const results = Array.from({ length: PORTION }, (_, i) => soak(first + i));
      const failed = results.filter(({ failures }) => failures.length > 0).map(describeFailure);
      expect(failed.join('\n\n')).toBe('');
      // The networks were bad, and the conversations took place all the same.
      const total = (key: 'talks' | 'complete' | 'mishaps' | 'retransmissions') =>
        results.reduce((n, r) => n + r[key], 0);
      expect(total('complete')).toBeGreaterThan(total('talks') * 0.6);
      expect(total('mishaps')).toBeGreaterThan(10 * PORTION);
      expect(total('retransmissions')).toBeGreaterThan(PORTION);
    });
  }
}
