// The numbers that tap.c and addon.ts share are the same in both.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as layout from '../../src/node/addon.ts';

const addon: Readonly<Record<string, unknown>> = { ...layout };
const source = readFileSync(new URL('../../native/tap.c', import.meta.url), 'utf8');

function define(name: string): number {
  const found = new RegExp(`^#define ${name} (.+?)(?: //.*)?$`, 'm').exec(source);
  if (found === null) throw new Error(`no #define ${name}`);
  return (found[1] as string)
    .replace(/[()]/g, '')
    .split('+')
    .reduce((sum, part) => sum + Number(part), 0);
}

describe('tap.c and addon.ts agree', () => {
  const shared = [
    'OPEN_TUN',
    'OPEN_OFFLOAD',
    'OPEN_VERIFY',
    'OPEN_PERSIST',
    'EVENT_READABLE',
    'EVENT_WRITABLE',
    'EVENT_GONE',
    'MAX_FRAME',
    'RX_STRIDE',
    'RX_TRUSTED',
    'TX_STRIDE',
  ] as const;
  for (const name of shared) it(name, () => expect(addon[name]).toBe(define(name)));

  it('the words of a row, in order', () => {
    const words: string[] = /enum \{([^}]*)\}/.exec(source)?.[1]?.match(/TX_\w+/g) ?? [];
    expect(words.indexOf('TX_HEAD_TOKEN')).toBe(layout.TX_HEAD);
    expect(words.indexOf('TX_A_TOKEN')).toBe(layout.TX_A);
    expect(words.indexOf('TX_B_TOKEN')).toBe(layout.TX_B);
    expect(words.indexOf('TX_GSO_TYPE')).toBe(layout.TX_GSO_TYPE);
    expect(words.indexOf('TX_GSO_SIZE')).toBe(layout.TX_GSO_SIZE);
    expect(words.indexOf('TX_CSUM_START')).toBe(layout.TX_CSUM_START);
    expect(words.indexOf('TX_CSUM_OFFSET')).toBe(layout.TX_CSUM_OFFSET);
  });

  it('asks for no newer Node-API than version 8, so that one binary serves Node 20 and later', () => {
    expect(define('NAPI_VERSION')).toBeLessThanOrEqual(8);
  });
});
