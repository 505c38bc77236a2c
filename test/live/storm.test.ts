// The kernel's TCP and ours over a bad network: loss, bursts of it, reordering, duplicates, flipped bits, narrow and slow links.
// The network is ours (link/netem.ts) between the stack and a real TAP; the same storm every time.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { type NetemOptions, netem } from '../../src/link/netem.ts';
import { createHost, type Host } from '../../src/node/host.ts';
import { openTap } from '../../src/node/tap.ts';
import { describeLive, Namespace } from './harness.ts';
import { hashOfZeros, type Peer, peer } from './support/peers.ts';
import { OURS, TAP, THEIRS } from './support/program.ts';
import { opinionOf } from './support/wireshark.ts';

const STORMS: { name: string; size: number; weather: NetemOptions }[] = [
  { name: 'loss of 2 %', size: 10_000_000, weather: { loss: 0.02 } },
  { name: 'loss of 2 %, 20 ms away', size: 2_000_000, weather: { loss: 0.02, delay: 10 * MILLISECOND } },
  {
    // Of two frames on average: a lone retransmission that meets the same burst again waits twice as long each time.
    name: 'bursts of loss',
    size: 4_000_000,
    weather: { burstLoss: { p: 0.005, r: 0.5 }, delay: 2 * MILLISECOND },
  },
  {
    name: 'reordering',
    size: 4_000_000,
    weather: { delay: 2 * MILLISECOND, jitter: 1 * MILLISECOND, reorder: 0.1 },
  },
  { name: 'duplicates', size: 10_000_000, weather: { duplicate: 0.2 } },
  { name: 'flipped bits', size: 10_000_000, weather: { corrupt: 0.02 } },
  {
    name: 'everything at once',
    size: 4_000_000,
    weather: {
      loss: 0.01,
      duplicate: 0.01,
      corrupt: 0.005,
      reorder: 0.05,
      delay: 5 * MILLISECOND,
      jitter: 2 * MILLISECOND,
    },
  },
  {
    name: 'a narrow link with a short queue',
    size: 4_000_000,
    weather: { rate: 50_000_000, queue: 30_000, delay: 5 * MILLISECOND },
  },
];

describeLive('a bad network', ['tshark'], () => {
  let space: Namespace;
  let folder: string;
  let host: Host;
  let kernel: Peer;

  beforeEach(async () => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-storm-'));
  });
  afterEach(async () => {
    await host?.close();
    kernel?.child.kill('SIGKILL');
    space.remove();
    rmSync(folder, { recursive: true });
  });

  it.each(STORMS)(
    '$name: both directions arrive whole, and both ends agree that it is over',
    async ({ size, weather }) => {
      const device = netem(
        openTap({ name: TAP, netns: space.name, addresses: `${THEIRS}/24`, offload: false }),
        { seed: 7, ...weather },
      );
      const capture = join(folder, 'storm.pcapng');
      host = await createHost({ device, ipv4: `${OURS}/24`, capture });
      // The kernel hashes what comes, then answers with the hash and as much again.
      kernel = peer(
        space,
        `net.createServer({ allowHalfOpen: true }, (s) => {
         const hash = createHash('sha256');
         s.on('data', (d) => hash.update(d))
          .on('end', () => { s.write(hash.digest('hex')); s.end(Buffer.alloc(${size})); })
          .on('error', (e) => say('error', e.code)).on('close', () => say('closed'));
       }).listen(9000, () => say('ready'));`,
      );
      await kernel.says('ready');
      const socket = host.net.connect({ host: THEIRS, port: 9000, allowHalfOpen: true });
      socket.end(Buffer.alloc(size));
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      await once(socket, 'end');
      const bytes = Buffer.concat(chunks);
      expect(bytes.subarray(0, 64).toString()).toBe(hashOfZeros(size));
      expect(createHash('sha256').update(bytes.subarray(64)).digest('hex')).toBe(hashOfZeros(size));
      await kernel.says('closed');
      expect(kernel.lines).not.toContain(expect.stringContaining('error'));
      const mac = [...host.interface.mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
      await host.close();
      // What we sent was right: the capture stands between the stack and the storm.
      const { broken, remarks } = opinionOf(capture, mac);
      const ours = new Set(remarks.filter(({ ours }) => ours).map(({ frame }) => frame));
      expect(broken.filter((line) => ours.has(Number.parseInt(line, 10)))).toEqual([]);
      expect(remarks.filter(({ ours, severity }) => ours && severity === 'error')).toEqual([]);
    },
  );
});
