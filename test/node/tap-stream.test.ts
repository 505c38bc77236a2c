// loadTap: ours first, then an installed tuntap2, then one clear error.

import { describe, expect, it } from 'vitest';
import { unavailable } from '../../src/node/tap-error.ts';
import { loadTap, Tap } from '../../src/node/tap-stream.ts';

describe('loadTap', () => {
  class Theirs {}
  const installed = (id: string) => {
    if (id !== 'tuntap2') throw new Error(`asked for ${id}`);
    return { Tap: Theirs };
  };
  const nothing = () => {
    throw Object.assign(new Error("Cannot find module 'tuntap2'"), { code: 'MODULE_NOT_FOUND' });
  };

  const broken = () => {
    throw unavailable(new Error('invalid ELF header'));
  };

  it('prefers our addon', () => {
    expect(loadTap(installed, () => {})).toEqual({ Tap, source: 'tapstack' });
  });

  it('falls back to an installed tuntap2', () => {
    expect(loadTap(installed, broken)).toEqual({ Tap: Theirs, source: 'tuntap2' });
  });

  it('throws ERR_TAP_UNAVAILABLE with the mend when there is neither', () => {
    expect(() => loadTap(nothing, broken)).toThrow(expect.objectContaining({ code: 'ERR_TAP_UNAVAILABLE' }));
    expect(() => loadTap(() => ({}), broken)).toThrow(/npm rebuild tapstack/);
  });
});
