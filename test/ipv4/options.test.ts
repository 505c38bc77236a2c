import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyOptionsForFragment, newScan, scanOptions } from '../../src/ipv4/options.ts';
import { datagram } from './harness.ts';

function scan(...options: number[]) {
  const bytes = datagram({ options });
  return scanOptions(new DataView(bytes.buffer), 0, newScan());
}

function copied(...options: number[]): number[] {
  const bytes = datagram({ options });
  const target = new Uint8Array(60);
  return [...target.slice(0, copyOptionsForFragment(new DataView(bytes.buffer), 0, target, 0))];
}

describe('RFC 791 3.1: options', () => {
  it('passes over those that ask nothing of a host', () => {
    expect(scan(1, 1, 7, 7, 4, 0, 0, 0, 0).drop).toBeUndefined();
    expect(scan(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0).drop).toBeUndefined();
    expect(scan(130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0).drop).toBeUndefined();
    expect(scan(0x5e, 3, 9).drop).toBeUndefined(); // unknown, RFC 1122 3.2.1.8
  });

  it('RFC 2113: sees the router alert', () => {
    expect(scan(148, 4, 0, 0)).toMatchObject({ drop: undefined, routerAlert: true });
    expect(scan(1, 1, 1, 1).routerAlert).toBe(false);
    expect(scan(148, 3, 0, 0).drop).toBe('bad option');
  });

  it('RFC 7126 4.3, 4.4 (hostile 11, 12): finds source routes wherever they stand', () => {
    expect(scan(131, 7, 4, 10, 0, 0, 1).drop).toBe('source route');
    expect(scan(1, 137, 7, 4, 10, 0, 0, 1).drop).toBe('source route');
    expect(scan(148, 4, 0, 0, 131, 3, 4, 131, 3, 4, 137, 2).drop).toBe('source route');
    expect(scan(0, 131, 3, 4).drop).toBeUndefined(); // behind the end of the list
  });

  it('stops at the end of list and points at what is wrong', () => {
    expect(scan(7, 0)).toMatchObject({ drop: 'bad option', pointer: 21 });
    expect(scan(7, 1)).toMatchObject({ drop: 'bad option', pointer: 21 });
    expect(scan(1, 7, 40, 4)).toMatchObject({ drop: 'bad option', pointer: 22 });
    expect(scan(1, 1, 1, 7)).toMatchObject({ drop: 'bad option', pointer: 23 });
    expect(scan(7, 3, 2, 0)).toMatchObject({ drop: 'bad option', pointer: 22 });
    expect(scan(0, 7, 0, 0).drop).toBeUndefined();
  });

  it('walks any forty bytes without throwing, and never reads beyond the header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (options) => {
        const bytes = datagram({ options: [...options] });
        const view = new DataView(bytes.buffer);
        const found = scanOptions(view, 0, newScan());
        expect(found.pointer).toBeLessThan(60);
        if (found.drop !== undefined) return;
        const target = new Uint8Array(60);
        expect(copyOptionsForFragment(view, 0, target, 20)).toBeLessThanOrEqual(40);
      }),
      { numRuns: 3000 },
    );
  });

  it('copies into later fragments what has the copied flag, and nothing else', () => {
    expect(copied(1, 7, 3, 4, 148, 4, 0, 0)).toEqual([148, 4, 0, 0]);
    expect(copied(68, 4, 5, 0, 130, 3, 7)).toEqual([130, 3, 7, 0]);
    expect(copied(7, 7, 4, 0, 0, 0, 0)).toEqual([]);
    expect(copied()).toEqual([]);
  });
});
