// Small helpers over Node's own sockets: services are functions over a face that our sockets share.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP server on a free loopback port. */
export async function serve(
  onSocket: (socket: Socket) => void,
  allowHalfOpen = false,
): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen }, onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

export async function dial(port: number, allowHalfOpen = false): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen });
  await once(socket, 'connect');
  return socket;
}

/** Everything until the end of the stream. */
export async function readAll(socket: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** At least `length` bytes, the rest left unread. */
export async function readAtLeast(socket: Socket, length: number): Promise<Buffer> {
  let all = Buffer.alloc(0);
  while (all.length < length) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    all = Buffer.concat([all, chunk]);
  }
  return all;
}
