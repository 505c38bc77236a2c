// What V8 makes of our handles: one hidden class for all connections, or every step on a socket would be looked up anew.

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { expect, test } from 'vitest';
import { wire } from './wire.ts';

setFlagsFromString('--allow-natives-syntax');
const haveSameMap = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: unknown, b: unknown) => boolean;

const handleOf = (socket: Socket) => (socket as unknown as { _handle: unknown })._handle;

test('the handles of accepted connections have one hidden class', async () => {
  await using w = await wire();
  const accepted: Socket[] = [];
  const server = w.b.net.createServer((socket) => accepted.push(socket));
  server.listen(0, '10.0.0.2');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 30; i++) await once(w.a.net.connect({ port, host: '10.0.0.2' }), 'connect');
  await expect.poll(() => accepted.length).toBe(30);
  // The first few are made while V8 still learns what fields there are.
  const [one, two] = accepted.slice(-2).map(handleOf);
  expect(haveSameMap(one, two)).toBe(true);
  for (const socket of accepted) socket.destroy();
  server.close();
});
