// The place where live rows are measured: two network namespaces, the cables between them, and the programs at their ends.
//
//            namespace A                                  this process's namespace
//   load ──► kernel TCP ──── TAP ───────────────────────► server.mjs --face tapstack
//        └─► kernel TCP ──── veth ──┐
//                                   └──► kernel TCP ────► server.mjs --face node      (namespace B)
//
// Each of the two comes with offload and without. Servers run on one core and the load generator on another.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Cores of the load generator and of the servers. */
const LOAD_CORE = 0;
const SERVER_CORE = availableParallelism() > 1 ? 1 : 0;

/** @typedef {'tapstack' | 'node'} Face */
/** @typedef {{ mode: string, port?: number, connections?: number, seconds?: number }} Load */
/** @typedef {Record<string, number>} Answer */
/** @typedef {{ memory: NodeJS.MemoryUsage, cpu: number }} Gauge */

/** Why live rows cannot be measured here, or undefined. */
export function obstacle() {
  if (process.platform !== 'linux') return 'they need Linux';
  if (process.getuid?.() !== 0) return 'they need root: TAP devices and network namespaces';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  for (const [tool, debian] of Object.entries(TOOLS)) {
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
    } catch {
      return `they need ${tool} (Debian: ${debian})`;
    }
  }
  return undefined;
}

const TOOLS = { cc: 'gcc', ip: 'iproute2', ethtool: 'ethtool', taskset: 'util-linux' };

export class World {
  /** Names are unique, so that two benches can run side by side. */
  #id = process.pid % 100_000;
  #here = `tsb${this.#id}a`;
  #there = `tsb${this.#id}b`;
  #temporary = mkdtempSync(join(tmpdir(), 'tapstack-bench-'));
  #load = join(this.#temporary, 'load');
  /** @type {Set<Server>} */
  #servers = new Set();
  #dist;

  /** @param {string} dist */
  constructor(dist) {
    this.#dist = dist;
    const source = fileURLToPath(new URL('load.c', import.meta.url));
    execFileSync('cc', ['-O2', '-Wall', '-o', this.#load, source], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    // Whatever ends the bench, the namespaces go.
    process.once('exit', () => this.#remove());
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM']))
      process.once(signal, () => process.exit(1));
    this.#build();
  }

  #build() {
    run('ip', 'netns', 'add', this.#here);
    run('ip', 'netns', 'add', this.#there);
    for (const ns of [this.#here, this.#there]) {
      run('ip', '-n', ns, 'link', 'set', 'lo', 'up');
      // A run of connect+close must not run out of ports: each is used again after a second, as RFC 6191 allows.
      const settings = ['net.ipv4.tcp_tw_reuse=1', 'net.ipv4.ip_local_port_range=1024 65535'];
      run('ip', 'netns', 'exec', ns, 'sysctl', '-qw', ...settings, 'net.core.somaxconn=4096');
    }
    this.#cable(0, []);
    this.#cable(1, ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off', 'rx', 'off']);
  }

  /**
   * A veth pair between the namespaces, with the congestion control that the load generator asks for on both ends: the
   * kernel's sockets of the server cannot ask for it from Node.
   *
   * @param {number} which
   * @param {readonly string[]} features
   */
  #cable(which, features) {
    const [here, there] = [`va${which}`, `vb${which}`];
    run(
      'ip',
      'link',
      'add',
      here,
      'netns',
      this.#here,
      'type',
      'veth',
      'peer',
      'name',
      there,
      'netns',
      this.#there,
    );
    for (const [ns, name, host] of [
      [this.#here, here, 1],
      [this.#there, there, 2],
    ]) {
      const address = `10.8.${which}.${host}`;
      run('ip', '-n', `${ns}`, 'addr', 'add', `${address}/24`, 'dev', `${name}`);
      run('ip', '-n', `${ns}`, 'link', 'set', `${name}`, 'up');
      this.#steer(`${ns}`, `${name}`, address);
      if (features.length > 0) run('ip', 'netns', 'exec', `${ns}`, 'ethtool', '-K', `${name}`, ...features);
    }
  }

  /**
   * Joins the namespaces by a cable with this weather, as `tapstack wire` has it: 10.9.0.1 and 10.9.0.2. The kernels at both
   * ends steer by CUBIC. What comes back takes it away.
   *
   * @param {readonly string[]} weather
   * @returns {Promise<() => Promise<void>>}
   */
  async wire(weather) {
    const program = fileURLToPath(new URL('cli/main.js', this.#dist));
    const ends = [
      '--netns-a',
      this.#here,
      '--netns-b',
      this.#there,
      '--ip-a',
      '10.9.0.1/24',
      '--ip-b',
      '10.9.0.2/24',
    ];
    const child = spawn(process.execPath, [program, 'wire', 'wa', 'wb', ...ends, '--json', ...weather], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('exit', (code) => reject(new Error(`wire ended with ${code}`)));
    });
    child.stdout.resume();
    this.#steer(this.#here, 'wa', '10.9.0.1');
    this.#steer(this.#there, 'wb', '10.9.0.2');
    return async () => {
      child.kill('SIGINT');
      await gone;
    };
  }

  /**
   * Makes CUBIC the congestion control of connections over `device`.
   *
   * @param {string} ns
   * @param {string} device
   * @param {string} address
   */
  #steer(ns, device, address) {
    const network = address.replace(/\d+$/, '0/24');
    run('ip', '-n', ns, 'route', 'replace', network, 'dev', device, 'src', address, 'congctl', 'cubic');
  }

  /**
   * Starts a server and waits until it listens.
   *
   * @param {Face} face
   * @param {boolean} offload
   * @param {NodeJS.ProcessEnv} [environment] what it has beyond our own
   * @param {{ weather?: import('../src/link/netem.ts').NetemOptions, wired?: boolean }} [place] behind a bad network of its own; at the end of {@link wire}
   * @returns {Promise<Server>}
   */
  async serve(face, offload, environment = {}, { weather, wired = false } = {}) {
    const net = weather === undefined ? (offload ? 0 : 1) : 2;
    const address = wired ? '10.9.0.2' : `10.${face === 'node' ? 8 : 7}.${net}.2`;
    const script = fileURLToPath(new URL('server.mjs', import.meta.url));
    const node = [...(process.env.BENCH_NODE_ARGS ?? '').split(' ').filter(Boolean), '--expose-gc', script];
    const place = face === 'node' ? ['ip', 'netns', 'exec', this.#there] : [];
    const command = [...place, 'taskset', '-c', `${SERVER_CORE}`, process.execPath, ...node];
    const options = ['--face', face, '--address', address, '--dist', this.#dist];
    if (face === 'tapstack')
      options.push('--netns', this.#here, '--tap', `tap${net}`, '--host-ip', `10.7.${net}.1`);
    if (!offload && face === 'tapstack') options.push('--no-offload');
    if (weather !== undefined) options.push('--netem', JSON.stringify(weather));
    const child = spawn(`${command[0]}`, [...command.slice(1), ...options], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...environment },
    });
    const server = new Server(child, address, () => this.#servers.delete(server));
    this.#servers.add(server);
    await server.answer('ready');
    return server;
  }

  /**
   * Runs the load generator against a server and gives what it counted.
   *
   * @param {Server} server
   * @param {Load} load
   * @returns {Promise<Answer>}
   */
  async load(server, load) {
    const child = this.#spawnLoad(server, load);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    const [code] = await new Promise((resolve) => child.once('close', (...values) => resolve(values)));
    if (code !== 0) throw new Error(`load ${load.mode} failed against ${server.address}`);
    return JSON.parse(text);
  }

  /**
   * Opens `count` connections to `port` that only stand there; the function that comes back ends them.
   *
   * @param {Server} server
   * @param {number} port
   * @param {number} count
   * @returns {Promise<() => Promise<void>>}
   */
  async idle(server, port, count) {
    const before = await server.connections();
    const child = this.#spawnLoad(server, { mode: 'idle', port, connections: count, seconds: 0 });
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('close', (code) => reject(new Error(`load idle ended with ${code}`)));
    });
    while ((await server.connections()) < before + count) await sleep(20);
    return async () => {
      const gone = new Promise((resolve) => child.once('close', resolve));
      child.stdin.end();
      await gone;
      while ((await server.connections()) > before) await sleep(20);
    };
  }

  /**
   * @param {Server} server
   * @param {Load} load
   */
  #spawnLoad(server, { mode, port = 0, connections = 1, seconds = 1 }) {
    const pinned = ['netns', 'exec', this.#here, 'taskset', '-c', `${LOAD_CORE}`];
    return spawn(
      'ip',
      [...pinned, this.#load, mode, server.address, `${port}`, `${connections}`, `${seconds}`],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
  }

  /** Ends the servers and takes the namespaces away. */
  async close() {
    await Promise.all([...this.#servers].map((server) => server.stop()));
    this.#remove();
  }

  #removed = false;

  #remove() {
    if (this.#removed) return;
    this.#removed = true;
    for (const server of this.#servers) server.kill();
    for (const ns of [this.#here, this.#there]) {
      try {
        run('ip', 'netns', 'del', ns);
      } catch {
        // It was never made.
      }
    }
    rmSync(this.#temporary, { recursive: true, force: true });
  }
}

/** A server process. */
export class Server {
  address;
  #child;
  #gone;

  /**
   * @param {import('node:child_process').ChildProcess} child
   * @param {string} address
   * @param {() => void} gone
   */
  constructor(child, address, gone) {
    this.#child = child;
    this.address = address;
    this.#gone = new Promise((resolve) => child.once('exit', resolve)).then(gone);
  }

  /**
   * Waits for the message of this name.
   *
   * @param {string} id
   * @returns {Promise<any>}
   */
  answer(id) {
    return new Promise((resolve, reject) => {
      const died = (/** @type {number | null} */ code) => reject(new Error(`the server ended with ${code}`));
      this.#child.once('exit', died);
      const listen = (/** @type {any} */ message) => {
        if (message.id !== id) return;
        this.#child.off('message', listen);
        this.#child.off('exit', died);
        resolve(message);
      };
      this.#child.on('message', listen);
    });
  }

  /** @returns {Promise<Gauge>} */
  gauge() {
    const answer = this.answer('gauge');
    this.#child.send('gauge');
    return answer;
  }

  /** Microseconds of CPU time it has used. */
  async cpu() {
    const answer = this.answer('cpu');
    this.#child.send('cpu');
    return /** @type {number} */ ((await answer).cpu);
  }

  async connections() {
    const answer = this.answer('connections');
    this.#child.send('connections');
    return /** @type {number} */ ((await answer).count);
  }

  kill() {
    this.#child.kill('SIGKILL');
  }

  async stop() {
    if (this.#child.connected) this.#child.disconnect();
    await this.#gone;
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, ...args) {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
