// How commands speak: colours, JSON, the status line, and that nothing foreign drives the terminal.

import { describe, expect, it } from 'vitest';
import { bytes, count, duration, plural, printable, Report } from '../../src/cli/report.ts';
import { RateMeter, statusLine } from '../../src/cli/traffic.ts';
import { makeWorld } from './world.ts';

const ESC = '\u001b';

describe('colours', () => {
  it.each([
    [true, {}, {}, true],
    [false, {}, {}, false],
    [true, { NO_COLOR: '1' }, {}, false],
    [true, { NO_COLOR: '' }, {}, true],
    [true, { TERM: 'dumb' }, {}, false],
    [false, { FORCE_COLOR: '1' }, {}, true],
    [true, { FORCE_COLOR: '0' }, {}, false],
    [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, {}, false],
    [true, { FORCE_COLOR: '1' }, { color: false }, false],
    [true, {}, { json: true }, false],
  ])('terminal %s, environment %o, options %o: %s', (tty, env, options, colored) => {
    const world = makeWorld(env as Record<string, string>, tty);
    expect(new Report(world.io, options).paint('red', 'x').includes(ESC)).toBe(colored);
  });
});

describe('the status line', () => {
  it('lives only on a terminal, and neither under --quiet nor --json', () => {
    for (const [tty, options] of [
      [false, {}],
      [true, { quiet: true }],
      [true, { json: true }],
    ] as const) {
      const world = makeWorld({}, tty);
      new Report(world.io, options).status('busy');
      expect(world.err()).toBe('');
    }
  });

  it('is cut to the width, taken away for other lines, and put back', () => {
    const world = makeWorld({ NO_COLOR: '1' }, true);
    const report = new Report(world.io, {});
    report.status('x'.repeat(100));
    expect(world.err()).toBe(`\r${ESC}[K${'x'.repeat(59)}`);
    report.line('hello');
    expect(world.out().toString()).toBe('hello\n');
    expect(world.err().endsWith(`\r${ESC}[K${'x'.repeat(59)}`)).toBe(true);
    report.status('');
    expect(world.err().endsWith(`\r${ESC}[K`)).toBe(true);
  });
});

describe('words for numbers', () => {
  it('bytes, counts, durations', () => {
    expect([0, 999, 1000, 1500, 99_949, 999_500, 2 ** 53].map(bytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '1.5 kB',
      '100 kB',
      '1.0 MB',
      '9.0 PB',
    ]);
    expect([0, 999, 1000, 999_949, 999_950, 4_500_000].map(count)).toEqual([
      '0',
      '999',
      '1.0k',
      '999.9k',
      '1.0M',
      '4.5M',
    ]);
    expect([4.21, 190, 7500, 273_600].map(duration)).toEqual(['4.2 s', '3 min 10 s', '2 h 5 min', '3 d 4 h']);
    expect([plural(1, 'frame'), plural(2000, 'frame')]).toEqual(['1 frame', '2,000 frames']);
  });

  it('control and direction characters become visible', () => {
    expect(printable(`a${ESC}[31m\u009b\u202e\u2028\n`)).toBe('a\\x1b[31m\\x9b\\u{202e}\\u{2028}\\x0a');
    expect(printable('grüße 東京')).toBe('grüße 東京');
  });
});

describe('rates', () => {
  it('are differences over time, and zero without time', () => {
    const meter = new RateMeter({ rxFrames: 0, rxBytes: 0, txFrames: 10, txBytes: 100 }, 1000);
    const later = { rxFrames: 50, rxBytes: 5000, txFrames: 10, txBytes: 100 };
    expect(meter.look(later, 1500)).toEqual({ rxFrames: 100, rxBytes: 10_000, txFrames: 0, txBytes: 0 });
    expect(meter.look({ ...later, rxBytes: 9000 }, 1500).rxBytes).toBe(0);
  });

  it('make one line', () => {
    const rates = { rxFrames: 950, rxBytes: 1.2e6, txFrames: 12, txBytes: 3400 };
    expect(statusLine(rates, 1, 0)).toBe(
      'in 1.2 MB/s 950 frames/s · out 3.4 kB/s 12 frames/s · 1 connection · 0 dropped',
    );
  });
});
