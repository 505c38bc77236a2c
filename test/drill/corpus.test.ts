// The collections of FreeBSD and of Linux: every script can be read, and every one passes but for those named here.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { drillOrFail } from '../../src/drill/drill.ts';
import { explain } from '../../src/drill/report.ts';

const ROOT = fileURLToPath(new URL('../../../shared/packetdrill', import.meta.url));

/** Scripts that need not pass, by their names, and why. What is written here may pass some day; nothing else may fail. */
const EXCUSED: readonly (readonly [RegExp, string])[] = [
  // FreeBSD's own ways.
  [
    /rcv-icmp-hard-error-(host-prohibited|ttl-exceeded)/,
    'MUST-56: time exceeded, and codes beyond 2 to 4, do not abort',
  ],
  [/rcv-ack-time-wait-using-shutdown-middle/, '3.10.7.4: in TIME-WAIT only a FIN is acknowledged'],
  [
    /rcv-fin-time-wait-using-shutdown-outside-left/,
    '3.10.7.4: what is not acceptable is answered, without ACK bit too',
  ],
  [
    /rcv-(rst|syn)-closing-outside-right/,
    '3.10.7.4: the FIN of a simultaneous close is acknowledged at SND.NXT',
  ],
  [/rcv-syn-ack-with-data-listen/, '3.10.7.2: an ACK to a listener is answered with a reset'],
  [/rcv-rst-.*right-edge/, 'RCV.WND is what was advertised: 65535, not the 65700 of the buffer'],
  [/overlapping-200-32200/, '3.8.6.2.2: a window more than half open is not announced'],
  // Linux's own ways.
  [/tcp_basic_server/, 'the ACK of a FIN waits 40 ms'],
  [/tcp_close_no_rst/, 'no D-SACK for data that comes again with a FIN'],
  [/tcp_rcv_zero_wnd_fin/, 'the receive buffer takes one segment more than it is long'],
  // What the stack does not have.
  [/prr-ss-30pkt-lost-1_4-11_16|prr-ss-ack-below-snd_una/, 'PRR and RACK'],
  [/limited-transmit/, 'limited transmit'],
  [/user_timeout/, 'tail loss probe'],
];

function scriptsOf(system: string): string[] {
  const names = readdirSync(join(ROOT, system), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.pkt')).sort();
}

// In a checkout without the collections there is nothing to run; where everything must be there, their absence is a failure.
describe.skipIf(!existsSync(ROOT) && process.env.CI !== 'true')('collections', () => {
  test.each([
    ['freebsd', 200],
    ['linux', 20],
  ] as const)('%s', (system, least) => {
    const files = scriptsOf(system);
    expect(files.length).toBeGreaterThan(least);
    const unreadable: string[] = [];
    const failed: string[] = [];
    for (const file of files) {
      const text = readFileSync(join(ROOT, system, file), 'utf8');
      const result = drillOrFail(text, file, { profile: system });
      if (result.unreadable) unreadable.push(file);
      if (result.result === 'failed' && !EXCUSED.some(([name]) => name.test(file)))
        failed.push(...explain(result));
    }
    expect(unreadable).toEqual([]);
    expect(failed).toEqual([]);
  });
});
