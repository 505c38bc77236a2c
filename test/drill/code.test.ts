// The Python of scripts: what holds, what does not, and what is refused.

import { describe, expect, test } from 'vitest';
import { runCode } from '../../src/drill/code.ts';
import { Unsupported } from '../../src/drill/script.ts';

const names: Record<string, number> = { tcpi_rto: 200_000, tcpi_snd_cwnd: 10, TCP_ESTABLISHED: 1, zero: 0 };
const run = (source: string) => runCode(source, (name) => names[name]);

describe('assert', () => {
  test.each([
    'assert tcpi_snd_cwnd == 10',
    'assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd',
    "assert 100 <= tcpi_snd_cwnd * 20 <= 300, 'cwnd %d' % tcpi_snd_cwnd",
    'assert (tcpi_snd_cwnd & 8) != 0 and not zero',
    'assert zero or tcpi_rto > 1e3'.replace('1e3', '1000'),
    'assert abs(tcpi_rto - 200000) < 10',
    'assert -1 < 0 < +1 and ~0 == -1',
    'assert 7 // 2 == 3 and 7 % 4 == 3 and -7 // 2 == -4 and -7 % 4 == 1',
    'assert 1 << 4 | 1 == 17 & 0x1f',
    'assert True and not False',
    'x = tcpi_snd_cwnd + 1\nassert x == 11; assert x != 12',
    'assert tcpi_snd_cwnd == \\\n 10',
    'assert (tcpi_snd_cwnd ==\n 10)',
    'import os\npass # nothing\nif zero: assert False',
    "assert 'a' == 'a'",
  ])('%s', (source) => {
    expect(run(source).failure).toBeUndefined();
  });

  test('what does not hold is told with its values', () => {
    expect(run('assert tcpi_snd_cwnd == 9, tcpi_snd_cwnd').failure).toBe(
      'assert tcpi_snd_cwnd == 9, tcpi_snd_cwnd: tcpi_snd_cwnd = 10',
    );
    expect(run("assert 1 == 2, 'why'").failure).toContain('(why)');
    expect(run('assert 1 < 3 < 2').failure).toBeDefined();
    // `not` takes in the comparison, `and` binds more tightly than `or`.
    expect(run('assert not 1 == 2').failure).toBeUndefined();
    expect(run('assert True or False and False').failure).toBeUndefined();
  });
});

test('print', () => {
  expect(run('print(tcpi_rto, "us")\nprint tcpi_snd_cwnd').printed).toEqual(['200000 us', '10']);
});

test.each([
  'assert nobody',
  'while 1: pass',
  'assert f(1)',
  'assert [1]',
  'assert 1 +',
  "assert 'a' * 2",
  'assert (',
])('%s is refused, not guessed at', (source) => {
  expect(() => run(source)).toThrow(Unsupported);
});
