// npm's `install` script: compiles native/tap.c to build/Release/tap.node. Without a compiler or Node's headers it says in
// one line what will be missing, and succeeds: everything but TAP devices works without the addon.
//
// One C file on Node-API needs no build system: `cc -shared` is the whole of it (docs/decisions/0001-driver.md).

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url))); // never npm's cwd
const source = join(root, 'native', 'tap.c');
const directory = join(root, 'build', 'Release');
const target = join(directory, 'tap.node');
const FLAGS = ['-std=gnu11', '-shared', '-fPIC', '-O3', '-Wall', '-Wextra', '-fvisibility=hidden'];

/** Where the headers of the running Node may lie, the likeliest first; nothing is downloaded. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  const { npm_config_nodedir: nodedir, XDG_CACHE_HOME: cache = join(homedir(), '.cache') } = process.env;
  return [
    join(prefix, 'include', 'node'),
    nodedir && join(nodedir, 'include', 'node'),
    process.config.variables.node_prefix && join(process.config.variables.node_prefix, 'include', 'node'),
    join(cache, 'node-gyp', process.versions.node, 'include', 'node'),
    '/usr/local/include/node',
    '/usr/include/node',
    '/usr/include/nodejs/src',
  ].filter((path) => path && existsSync(join(path, 'node_api.h')) && existsSync(join(path, 'uv.h')))[0];
}

/** Compiles; returns what went wrong, or undefined. */
function build() {
  if (process.platform !== 'linux') return `TAP devices are Linux's, this is ${process.platform}`;
  const include = headers();
  if (include === undefined)
    return 'no headers of Node found; install them (Debian: libnode-dev) or set npm_config_nodedir to a Node directory';
  mkdirSync(directory, { recursive: true });
  // Beside the target and renamed: a running program keeps the file that it has mapped.
  const draft = join(directory, `tap.${process.pid}.node`);
  let why = 'no C compiler found; install one (Debian: apt-get install gcc libc6-dev)';
  for (const compiler of new Set([process.env.CC, 'cc', 'gcc', 'clang'])) {
    if (!compiler) continue;
    const [command, ...first] = compiler.split(' ');
    const run = spawnSync(command, [...first, ...FLAGS, `-I${include}`, source, '-o', draft], {
      encoding: 'utf8',
    });
    if (run.error !== undefined) continue; // not there: try the next
    if (run.status === 0) {
      if (run.stderr !== '') process.stderr.write(run.stderr);
      renameSync(draft, target);
      return loads();
    }
    why = `${compiler}: ${run.stderr.split('\n').find((line) => line.includes('error')) ?? run.stderr.trim()}`;
  }
  rmSync(draft, { force: true });
  return why;
}

function loads() {
  try {
    createRequire(import.meta.url)(target);
    return undefined;
  } catch (error) {
    return `it was built but does not load: ${error.message}`;
  }
}

const why = build();
if (why !== undefined)
  console.warn(
    `tapstack: the TAP addon was not built, so TAP devices will be missing (all else works): ${why}`,
  );
