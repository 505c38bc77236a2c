// What package.json says about the program.

import { readFileSync } from 'node:fs';

/** The version. package.json lies two folders above this file, in `src` and in `dist` alike. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
