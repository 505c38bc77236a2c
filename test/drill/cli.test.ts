// `tapstack drill`: what it prints, what it writes, and how it ends.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/program.ts';
import { readCapture } from '../../src/node/pcap-file.ts';
import { makeWorld } from '../cli/world.ts';

const GOOD = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
+0 %{ print(tcpi_snd_mss) }%
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tapstack-drill-'));
  mkdirSync(join(folder, 'all', 'deep'), { recursive: true });
  const put = (name: string, text: string) => writeFileSync(join(folder, name), text);
  put('all/good.pkt', GOOD);
  put('all/deep/bad.pkt', `${GOOD}+0 > . 1:1(0) ack 7\n`);
  put('all/six.pkt', '--ip_version=ipv6\n');
  put('all/notes.txt', 'no script');
  put('broken.pkt', '\n+0 what\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function tapstack(...argv: string[]) {
  const world = makeWorld();
  const code = await run(['drill', ...argv], world.io);
  return { code, out: world.out().toString(), err: world.err(), world };
}

describe('tapstack drill', () => {
  test('names what fails, counts the rest, and ends with 1', async () => {
    const { code, out } = await tapstack(join(folder, 'all'));
    expect(code).toBe(1);
    expect(out.split('\n')).toEqual([
      `FAIL  ${join(folder, 'all/deep/bad.pkt')}:9  no packet was sent`,
      '        expected  > . 1:1(0) ack 7',
      '        sent      nothing',
      '1 passed, 1 failed, 1 not supported',
      '     1  IPv6',
      '',
    ]);
  });

  test('--verbose names everything, with what it prints', async () => {
    const { code, out } = await tapstack('-V', join(folder, 'all/good.pkt'), join(folder, 'all/six.pkt'));
    expect(code).toBe(0);
    expect(out).toContain(`ok    ${join(folder, 'all/good.pkt')}\n        1000\n`);
    expect(out).toContain(`skip  ${join(folder, 'all/six.pkt')}:1  IPv6\n`);
  });

  test('--json is one object', async () => {
    const { code, out } = await tapstack('--json', join(folder, 'all/six.pkt'), join(folder, 'all/good.pkt'));
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      passed: 1,
      failed: 0,
      unsupported: 1,
      scripts: [
        { file: join(folder, 'all/six.pkt'), result: 'unsupported', line: 1, reason: 'IPv6' },
        { file: join(folder, 'all/good.pkt'), result: 'passed' },
      ],
    });
  });

  test('a script that cannot be read, and a file that is not there, end with 2', async () => {
    const broken = await tapstack(join(folder, 'broken.pkt'));
    expect(broken.code).toBe(2);
    expect(broken.out).toContain('broken.pkt:2  syntax: expected a packet');
    const absent = await tapstack(join(folder, 'absent.pkt'));
    expect(absent.code).toBe(2);
    expect(absent.err).toContain('absent.pkt: ENOENT');
  });

  test('--write captures every frame, each script on its own interface and after the one before', async () => {
    const file = join(folder, 'out.pcapng');
    const good = join(folder, 'all/good.pkt');
    await tapstack('-w', file, good, join(folder, 'all/deep/bad.pkt'));
    const times: number[] = [];
    const interfaces: (string | undefined)[] = [];
    const directions: string[] = [];
    for await (const record of readCapture(file)) {
      if (record.kind === 'interface') interfaces.push(record.name);
      if (record.kind !== 'packet') continue;
      times.push(record.seconds + record.nanos / 1e9);
      directions.push(record.direction ?? '');
    }
    expect(interfaces).toEqual([good, join(folder, 'all/deep/bad.pkt')]);
    expect(directions).toEqual(['in', 'out', 'in', 'in', 'out', 'in']);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times[3]! - times[2]!).toBeCloseTo(1, 3);
  });
});
