// Measures the stack, row by row, beside what one would use instead.
//
//   npm run bench -- [--json FILE] [--only PATTERN] [--quick] [--dist DIRECTORY]
//
// docs/bench.md says what each row means.

import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { codecs } from './codecs.mjs';
import { live } from './live.mjs';
import { heading, printed } from './report.mjs';
import { wire } from './wire.mjs';
import { obstacle } from './world.mjs';

const { values } = parseArgs({
  options: {
    /** Where the rows go, as JSON. */
    json: { type: 'string' },
    /** A regular expression: only rows whose name it matches. */
    only: { type: 'string' },
    /** Shorter and fewer runs. */
    quick: { type: 'boolean', default: false },
    /** Another build than dist/, to compare two. */
    dist: { type: 'string' },
  },
});

const directory =
  values.dist === undefined ? fileURLToPath(new URL('../dist', import.meta.url)) : resolve(values.dist);
if (!existsSync(directory)) {
  console.error(`there is no ${directory}: npm run build makes it`);
  process.exit(1);
}
const dist = `${pathToFileURL(directory).href}/`;
const pattern = new RegExp(values.only ?? '', 'i');

/** @type {import('./report.mjs').Row[]} */
const rows = [];
const options = {
  dist,
  quick: values.quick,
  wanted: (/** @type {string} */ name) => pattern.test(name),
  say: (/** @type {import('./report.mjs').Row} */ row) => {
    rows.push(row);
    console.log(printed(row));
    // After each row: a bench that is stopped leaves what it has.
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  },
};

console.log(heading);
await codecs(options);
const missing = obstacle();
if (missing === undefined) {
  await live(options);
  await wire(options);
} else console.error(`The live rows were left out: ${missing}.`);
