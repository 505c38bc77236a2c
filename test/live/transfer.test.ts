// A gigabyte each way, byte for byte: over every MTU, with offload and without; many at once; and as a client.

import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHost } from '../../src/node/host.ts';
import { describeLive, Namespace } from './harness.ts';
import { fileServer, hashOfPattern, hashOfZeros } from './support/peers.ts';
import { type Closing, OURS, TAP, THEIRS, Up } from './support/program.ts';

const GIGABYTE = 1_000_000_000;
/** What may be dropped on a clean link: frames for other hosts, and what the kernel sent twice because we were slow. */
const HARMLESS = ['not for us', 'old duplicate'];

function harm({ drops }: Closing): string[] {
  return Object.keys(drops).filter((reason) => !HARMLESS.includes(reason));
}

describeLive('transfers', ['curl', 'sha256sum'], () => {
  let space: Namespace;
  let folder: string;

  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-transfer-'));
  });
  afterEach(() => {
    space.remove();
    rmSync(folder, { recursive: true });
  });

  describe('a gigabyte', () => {
    let down: string;
    let up: string;
    beforeAll(() => {
      down = hashOfPattern(GIGABYTE);
      up = hashOfZeros(GIGABYTE);
    });

    it.each([
      { mtu: 576, offload: true },
      { mtu: 1500, offload: true },
      { mtu: 9000, offload: true },
      { mtu: 576, offload: false },
      { mtu: 1500, offload: false },
      { mtu: 9000, offload: false },
    ])('crosses whole in both directions: MTU $mtu, offload $offload', async ({ mtu, offload }) => {
      const program = await Up.start(space, { mtu, offload });
      const fetched = space.run('sh', '-c', `curl -sS http://${OURS}/bytes/${GIGABYTE} | sha256sum`);
      expect(fetched.split(' ')[0]).toBe(down);
      const posted = space.run(
        'sh',
        '-c',
        `head -c ${GIGABYTE} /dev/zero | curl -sS -X POST -T - -H Expect: http://${OURS}/hash`,
      );
      expect(posted.trim()).toBe(up);
      const closing = await program.stop();
      expect(harm(closing)).toEqual([]);
      expect(closing.accepted).toBe(2);
    });
  });

  it.each([true, false])('100 curls at once each get their own bytes, offload %s', async (offload) => {
    const program = await Up.start(space, { offload });
    const urls = `http://${OURS}/bytes/100[001-100]`;
    const output = join(folder, '#1');
    space.run('curl', '-sS', '-Z', '--parallel-immediate', '--parallel-max', '100', '-o', output, urls);
    const sizes = readdirSync(folder).sort();
    expect(sizes).toHaveLength(100);
    for (const size of sizes) {
      const bytes = readFileSync(join(folder, size));
      expect(bytes.length).toBe(100_000 + Number(size));
      expect(bytes.every((byte, i) => byte === i % 251)).toBe(true);
    }
    const closing = await program.stop();
    expect(harm(closing)).toEqual([]);
    expect(closing.accepted).toBe(100);
  });

  it.each([true, false])(
    'as a client: 100 MB from and to a server of the kernel, offload %s',
    async (offload) => {
      const file = join(folder, 'file');
      const bytes = randomBytes(100_000_000);
      writeFileSync(file, bytes);
      const hash = createHash('sha256').update(bytes).digest('hex');
      await fileServer(space, file);
      await using host = await createHost({
        tap: TAP,
        netns: space.name,
        ipv4: `${OURS}/24`,
        hostIp: `${THEIRS}/24`,
        offload,
      });
      const agent = host.httpAgent({ keepAlive: true });
      const ask = (method: string, body?: Uint8Array) =>
        new Promise<IncomingMessage>((resolve, reject) => {
          http.request({ host: THEIRS, port: 8000, method, agent }, resolve).on('error', reject).end(body);
        });
      const digest = createHash('sha256');
      for await (const chunk of await ask('GET')) digest.update(chunk);
      expect(digest.digest('hex')).toBe(hash);
      let answer = '';
      for await (const chunk of await ask('POST', bytes)) answer += chunk;
      expect(answer).toBe(hash);
      agent.destroy();
    },
  );
});

/** Bytes without a pattern, the same every time. */
function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const words = new Uint32Array(bytes.buffer, 0, size >>> 2);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return bytes;
}
