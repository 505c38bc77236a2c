// The table of docs/hostile.md and the tests agree: every class has its row, every row its test.

import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** Class numbers of the tests, by file. */
function tested(): Map<number, Set<string>> {
  const classes = new Map<number, Set<string>>();
  for (const file of readdirSync(new URL('.', import.meta.url)).filter((f) => f.endsWith('.test.ts'))) {
    const text = read(`./${file}`);
    const patterns = [/hostile\((\d+),/g, /hostile (\d+):/g, /urgent\((\d+),/g, /\[\s*(\d+),\s*'/g];
    for (const pattern of patterns) {
      for (const [, id] of text.matchAll(pattern)) {
        const files = classes.get(Number(id)) ?? new Set();
        classes.set(Number(id), files.add(file));
      }
    }
  }
  return classes;
}

test('docs/hostile.md has a row for every class, and each row names a file that tests it', () => {
  const rows = [...read('../../docs/hostile.md').matchAll(/^\| (\d+) \|.*\| `([\w.-]+)` \|$/gm)];
  const classes = tested();
  const numbers = [...Array(26).keys()].map((i) => i + 1);
  for (let i = 57; i <= 111; i++) numbers.push(i);
  expect(rows.map(([, id]) => Number(id)).sort((a, b) => a - b)).toEqual(
    [...numbers, 34, 35, 136, 137, 138].sort((a, b) => a - b),
  );
  for (const [, id, file] of rows)
    expect(classes.get(Number(id))?.has(file!), `class ${id} in ${file}`).toBe(true);
});
