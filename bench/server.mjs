// The Node program of every live row: echo, sink and source, on the sockets it is given.
//
//   node server.mjs --face node --address 10.8.0.2
//   node server.mjs --face tapstack --address 10.7.0.2 --netns NAME --tap tap0 --host-ip 10.7.0.1 [--no-offload] [--netem JSON]
//
// It is started by world.mjs with an IPC channel: it says 'ready', and answers 'gauge' with its memory and CPU time.

import { parseArgs } from 'node:util';
import { DISCARD, ECHO, SOURCE } from './ports.mjs';

const { values } = parseArgs({
  options: {
    face: { type: 'string', default: 'node' },
    address: { type: 'string', default: '127.0.0.1' },
    netns: { type: 'string' },
    tap: { type: 'string' },
    'host-ip': { type: 'string' },
    'no-offload': { type: 'boolean', default: false },
    /** A bad network, as JSON: what createHost's `netem` takes. */
    netem: { type: 'string' },
    dist: { type: 'string' },
  },
});

/** What `source` writes at a time. */
const CHUNK = Buffer.alloc(65_536, 'tapstack ');

/**
 * The application: it knows neither which network it is on nor who asks.
 *
 * @param {Pick<typeof import('node:net'), 'createServer'>} net
 * @param {Pick<typeof import('node:dgram'), 'createSocket'>} dgram
 * @param {string} address
 * @returns {Promise<import('node:net').Server[]>}
 */
async function serve(net, dgram, address) {
  // Whoever resets a connection is the load generator, at the end of a run.
  const ignore = () => {};

  const echo = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', ignore);
    socket.on('data', (bytes) => socket.write(bytes));
  });
  const discard = net.createServer((socket) => {
    socket.on('error', ignore);
    socket.on('data', ignore);
  });
  const source = net.createServer((socket) => {
    const pour = () => {
      while (socket.writable && socket.write(CHUNK));
    };
    socket.on('error', ignore);
    socket.on('drain', pour);
    socket.resume();
    pour();
  });
  const datagrams = dgram.createSocket('udp4');
  datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));
  datagrams.on('error', ignore);

  /** @type {[import('node:net').Server, number][]} */
  const servers = [
    [echo, ECHO],
    [discard, DISCARD],
    [source, SOURCE],
  ];
  for (const [server, port] of servers) {
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, host: address, backlog: 4096 }, () => resolve(undefined));
    });
  }
  await new Promise((resolve) => datagrams.bind(ECHO, address, () => resolve(undefined)));
  return servers.map(([server]) => server);
}

/** Opens the face that was asked for. */
async function open() {
  if (values.face === 'node') {
    const [net, dgram] = await Promise.all([import('node:net'), import('node:dgram')]);
    return { net: net.default, dgram: dgram.default };
  }
  const dist = values.dist ?? new URL('../dist/', import.meta.url).href;
  const { createHost } = await import(new URL('node/host.js', dist).href);
  const host = await createHost({
    tap: values.tap,
    netns: values.netns,
    hostIp: `${values['host-ip']}/24`,
    ipv4: `${values.address}/24`,
    offload: !values['no-offload'],
    ...(values.netem === undefined ? {} : { netem: JSON.parse(values.netem) }),
  });
  return { net: host.net, dgram: host.dgram };
}

/** Memory after garbage collection, in bytes, and CPU time so far, in microseconds. */
async function gauge() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const memory = process.memoryUsage();
  return { memory, cpu: cpu() };
}

function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Connections that the application knows of: a kernel reports them to the other side before that. */
async function connections() {
  const counts = await Promise.all(
    servers.map(
      (server) => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

process.on('message', async (message) => {
  if (message === 'gauge') process.send?.({ id: 'gauge', ...(await gauge()) });
  else if (message === 'cpu') process.send?.({ id: 'cpu', cpu: cpu() });
  else if (message === 'connections') process.send?.({ id: 'connections', count: await connections() });
});
// The bench is gone: so are we.
process.on('disconnect', () => process.exit());

const { net, dgram } = await open();
const servers = await serve(net, dgram, values.address);
process.send?.({ id: 'ready' });
