// The set of services over Node's own sockets: opening, and an orderly end for every peer.

import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { countersOf } from '../../src/cli/facts.ts';
import type { Facts } from '../../src/cli/services/page.ts';
import { ServiceSet } from '../../src/cli/services/set.ts';
import { readAll } from './sockets.ts';

/** Node's own sockets as a host; every server gets a free port, kept under the one it wanted. */
function kernelHost() {
  const ports = new Map<number, number>();
  return {
    net,
    dgram,
    ports,
    async listen(server: net.Server, port: number) {
      server.listen({ port: 0, host: '127.0.0.1' });
      await once(server, 'listening');
      ports.set(port, (server.address() as AddressInfo).port);
    },
  };
}

const facts = () => ({ name: 'tapstack' }) as Facts;

async function dial(port: number | undefined): Promise<net.Socket> {
  const socket = net.connect({ port: port ?? 0, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

describe('ServiceSet', () => {
  it('opens what is wished for, and only that', async () => {
    const host = kernelHost();
    const set = new ServiceSet(host, { http: 80, discard: true });
    await set.open(facts);
    expect(set.list).toEqual([
      { name: 'http', transport: 'tcp', port: 80 },
      { name: 'discard', transport: 'tcp', port: 9 },
    ]);
    await set.close(1000);
  });

  it('on close finishes the connections of every service: FIN, never RST', async () => {
    const host = kernelHost();
    const set = new ServiceSet(host, { http: 80, echo: true, discard: true, chargen: true });
    await set.open(facts);
    const sockets = await Promise.all([80, 7, 9, 19].map((port) => dial(host.ports.get(port))));
    const [http, echo] = sockets as [net.Socket, net.Socket];
    http.write('GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(http, 'readable');
    echo.write('before the end');
    await once(echo, 'readable');
    const closed = set.close(60_000);
    const read = await Promise.all(
      sockets.map(async (socket) => {
        const all = await readAll(socket);
        socket.end();
        return all.toString('latin1');
      }),
    );
    await closed;
    expect(read[0]).toContain('"name": "tapstack"');
    expect(read[1]).toBe('before the end');
    expect(read[2]).toBe('');
    expect(set.accepted).toBe(4);
  });

  it('resets who does not finish within the grace', async () => {
    const host = kernelHost();
    const set = new ServiceSet(host, { echo: true });
    await set.open(facts);
    const socket = await dial(host.ports.get(7));
    const failed = once(socket, 'error').catch((error: Error) => [error]);
    socket.write('x');
    await once(socket, 'data');
    await set.close(50);
    socket.write('is anybody there?');
    expect((await failed)[0]).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
  });
});

describe('countersOf', () => {
  it('makes one group a protocol and one an interface, with dotted names below', () => {
    const counters = {
      interfaces: { tap0: { ifInOctets: 60 } },
      icmp: { inMsgs: 2, inTypes: { 8: 2 } },
      tcp: { tcpInSegs: 3 },
      drops: { 'bad checksum': 1 },
    };
    expect(countersOf(counters)).toEqual({
      icmp: { inMsgs: 2, 'inTypes.8': 2 },
      tcp: { tcpInSegs: 3 },
      'interface tap0': { ifInOctets: 60 },
    });
  });
});
