// Programs on the kernel's side: small scripts for node, with the kernel's own sockets, inside a namespace.

import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type Namespace, until } from '../harness.ts';

/** A script in the kernel's network, and what it has printed. */
export class Peer {
  readonly child: ChildProcess;
  lines: string[] = [];
  #rest = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      this.lines.push(...lines);
    });
  }

  /** Waits for a line that begins so, and gives the rest of it. */
  async says(start: string, patience = 30_000): Promise<string> {
    const find = () => this.lines.find((line) => line.startsWith(start));
    await until(
      () => find() !== undefined || this.ended,
      `the peer to say "${start}", not ${JSON.stringify(this.lines)}`,
      patience,
    );
    const line = find();
    if (line === undefined) throw new Error(`the peer ended without "${start}": ${this.lines.join('\n')}`);
    return line.slice(start.length).trim();
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }
}

/** Runs `script`, an ES module, with the kernel's sockets; `say(...)` prints a line. */
export function peer(space: Namespace, script: string, ...args: string[]): Peer {
  const prelude = `
    import net from 'node:net'; import dgram from 'node:dgram'; import http from 'node:http';
    import { createHash } from 'node:crypto'; import { createReadStream } from 'node:fs';
    const args = process.argv.slice(1);
    const say = (...words) => console.log(...words);`;
  return new Peer(
    space.spawn(process.execPath, ['--input-type=module', '-e', prelude + script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
}

/** The kernel's HTTP server on port 8000: GET gives the file named in `args[0]`, POST answers with the SHA-256 of the body. */
export async function fileServer(space: Namespace, file: string): Promise<Peer> {
  const server = peer(
    space,
    `http.createServer((request, response) => {
       if (request.method === 'GET') return createReadStream(args[0]).pipe(response);
       const hash = createHash('sha256');
       request.on('data', (chunk) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
     }).listen(8000, () => say('ready'));`,
    file,
  );
  await server.says('ready');
  return server;
}

/** The SHA-256 of what `/bytes/N` gives, made here: byte number i is i modulo 251. */
export function hashOfPattern(size: number): string {
  const period = Uint8Array.from({ length: 251 * 4096 }, (_, i) => i % 251);
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= period.length) hash.update(period.subarray(0, left));
  return hash.digest('hex');
}

/** The SHA-256 of `size` zeros. */
export function hashOfZeros(size: number): string {
  const zeros = new Uint8Array(1 << 20);
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= zeros.length) hash.update(zeros.subarray(0, left));
  return hash.digest('hex');
}
