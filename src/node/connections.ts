// What netstat shows: every listener, connection and UDP socket of a stack as plain facts.

import type { Stack } from '../stack/stack.ts';
import { readableBytes, unackedBytes } from '../tcp/calls.ts';
import { allConnections } from '../tcp/tcp.ts';

/** One line of netstat. */
export interface ConnectionFacts {
  readonly protocol: 'tcp' | 'udp';
  readonly localAddress: string;
  readonly localPort: number;
  /** Absent for a listener and for a UDP socket that is not connected. */
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  /** RFC 9293's word; UDP has none. */
  readonly state?: string;
  /** Bytes that the application has not read, and that the peer has not acknowledged. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
}

/** Listeners first, then connections, then UDP. */
export function listConnections({ tcp, udp }: Stack): ConnectionFacts[] {
  const facts: ConnectionFacts[] = [];
  for (const listeners of tcp.listeners.values()) {
    for (const { local, family, port, ready } of listeners) {
      const localAddress = local?.toString() ?? (family === 4 ? '0.0.0.0' : '::');
      const waiting = { receiveQueue: ready.length, sendQueue: 0 };
      facts.push({ protocol: 'tcp', localAddress, localPort: port, state: 'LISTEN', ...waiting });
    }
  }
  for (const tcb of allConnections(tcp)) {
    facts.push({
      protocol: 'tcp',
      localAddress: tcb.local.toString(),
      localPort: tcb.localPort,
      remoteAddress: tcb.remote.toString(),
      remotePort: tcb.remotePort,
      state: tcb.state,
      receiveQueue: readableBytes(tcb),
      sendQueue: unackedBytes(tcb),
    });
  }
  for (const { local, localPort, remote, remotePort, queuedBytes } of udp.ports.sockets()) {
    facts.push({
      protocol: 'udp',
      localAddress: local.toString(),
      localPort,
      ...(remote === undefined ? {} : { remoteAddress: remote.toString(), remotePort }),
      receiveQueue: queuedBytes,
      sendQueue: 0,
    });
  }
  return facts;
}
