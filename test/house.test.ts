// The plan of the house, enforced: who may import whom, no circles, and nothing of Node below src/node (docs/architecture.md).

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../src', import.meta.url));

const BELOW_STACK = ['base', 'ether', 'arp', 'ipv4', 'ipv6', 'udp', 'tcp'];
const BELOW_SIM = [...BELOW_STACK, 'stack', 'link', 'pcap', 'dhcp', 'dns', 'sntp'];
const PORTABLE = [...BELOW_SIM, 'inspect', 'drill', 'sim'];

/** Each folder and what it may import beside itself. A file directly in src is a folder of its own name. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  ether: ['base'],
  udp: ['base'],
  tcp: ['base'],
  dhcp: ['base'],
  dns: ['base'],
  sntp: ['base'],
  pcap: ['base'],
  arp: ['base', 'ether'],
  ipv4: ['base', 'ether'],
  ipv6: ['base', 'ether'],
  link: ['base', 'pcap'],
  stack: BELOW_STACK,
  inspect: [...BELOW_STACK, 'dhcp', 'dns', 'sntp', 'buffer-layout'],
  drill: BELOW_SIM,
  sim: BELOW_SIM,
  node: [...PORTABLE, 'node:*'],
  cli: [...PORTABLE, 'node', 'node:*', 'commander'],
  'core.ts': PORTABLE,
  'index.ts': [...PORTABLE, 'node', 'core.ts'],
};

/** What a portable engine need not have (the QuickJS test runs without any of it). */
const NODE_ONLY =
  /\b(Buffer|TextEncoder|TextDecoder|setTimeout|setInterval|setImmediate|queueMicrotask|performance|console|process|crypto|structuredClone)\b\s*[.(]/;
const CHANCE = /\b(Math\.random|Date\.now|new Date)\b/;

interface Import {
  readonly target: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => normalize(name))
  .sort();

function source(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** The text without comments and string contents: rough, and good enough for words that must not occur in code. */
function code(file: string): string {
  return source(file)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:])\/\/.*$/gm, '$1')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''");
}

function importsOf(file: string): Import[] {
  const text = source(file).replace(/\/\*[\s\S]*?\*\//g, '');
  const found: Import[] = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s+)?(?:([\w*{}\s,$]+?)\s+from\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/gm;
  for (const match of text.matchAll(pattern)) {
    const [, typeOnly, names = '', target, dynamic] = match;
    const all = names.replace(/[{}]/g, '').split(',');
    const everyNameIsType =
      names.includes('{') && all.every((n) => n.trim() === '' || n.trim().startsWith('type '));
    found.push({
      target: target ?? dynamic ?? '',
      typeOnly: typeOnly !== undefined || everyNameIsType || dynamic !== undefined,
    });
  }
  return found;
}

function resolve(file: string, target: string): string {
  return normalize(relative(ROOT, join(ROOT, dirname(file), target)));
}

function roomOf(file: string): string {
  return file.split('/')[0]!;
}

describe('the house', () => {
  test('every folder has a row in the table', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => !(room in MAY_IMPORT))).toEqual([]);
  });

  test('imports follow the table', () => {
    const wrong: string[] = [];
    for (const file of files) {
      const room = roomOf(file);
      const allowed = MAY_IMPORT[room] ?? [];
      for (const { target } of importsOf(file)) {
        const other = target.startsWith('.') ? roomOf(resolve(file, target)) : target;
        if (other === room) continue;
        const named = other.startsWith('node:') ? 'node:*' : other;
        if (!allowed.includes(named)) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('imports of files say .ts', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter(({ target }) => target.startsWith('.') && !target.endsWith('.ts'))
        .map(({ target }) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test('no circles among files (types aside)', () => {
    const graph = new Map(
      files.map((file) => [
        file,
        importsOf(file)
          .filter(({ target, typeOnly }) => !typeOnly && target.startsWith('.'))
          .map(({ target }) => resolve(file, target)),
      ]),
    );
    const state = new Map<string, 'open' | 'done'>();
    const circles: string[] = [];
    const visit = (file: string, trail: string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        circles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
        return;
      }
      state.set(file, 'open');
      for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });

  test('no circles among folders', () => {
    const arrows = new Map<string, Set<string>>();
    for (const file of files) {
      const room = roomOf(file);
      const to = arrows.get(room) ?? new Set<string>();
      arrows.set(room, to);
      for (const { target } of importsOf(file)) {
        if (target.startsWith('.') && roomOf(resolve(file, target)) !== room)
          to.add(roomOf(resolve(file, target)));
      }
    }
    const reaches = (from: string, goal: string, seen: Set<string>): boolean => {
      for (const next of arrows.get(from) ?? []) {
        if (next === goal) return true;
        if (seen.has(next)) continue;
        seen.add(next);
        if (reaches(next, goal, seen)) return true;
      }
      return false;
    };
    expect([...arrows.keys()].filter((room) => reaches(room, room, new Set()))).toEqual([]);
  });

  test('nothing of Node, no clock and no chance below src/node', () => {
    const wrong: string[] = [];
    for (const file of files) {
      if (['node', 'cli', 'index.ts'].includes(roomOf(file))) continue;
      const text = code(file);
      // The dissector's tables need Buffer because buffer-layout does; they are not part of core.ts.
      if (NODE_ONLY.test(text) && file !== join('inspect', 'layouts.ts')) {
        wrong.push(`${file}: ${NODE_ONLY.exec(text)?.[0]}`);
      }
      if (CHANCE.test(text)) wrong.push(`${file}: ${CHANCE.exec(text)?.[0]}`);
    }
    expect(wrong).toEqual([]);
  });

  test('a file begins with a sentence that says what it is', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\/ \S/.test(source(file)));
    expect(silent).toEqual([]);
  });

  test('files stay short enough to read', () => {
    const long = files
      .map((file) => ({ file, lines: source(file).split('\n').length }))
      .filter(({ lines }) => lines > 650)
      .map(({ file, lines }) => `${file}: ${lines}`);
    expect(long).toEqual([]);
  });
});
