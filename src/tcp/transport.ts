// The face that the stack registers: one TCP, called by IP with packets and errors, driven by the rounds of the stack.

import type { Transport } from '../base/ip.ts';
import { input } from './arrives.ts';
import { expire } from './expires.ts';
import { isPlausible, report } from './reports.ts';
import { createTcp, type Tcp, type TcpNeeds } from './tcp.ts';

/** A TCP and its entry in IP's protocol table. */
export interface TcpTransport {
  readonly tcp: Tcp;
  readonly transport: Transport;
}

/** Makes a TCP. `flush` of output.ts and `deliver` of tcp.ts are called by the stack, its timers by the shared queue. */
export function createTcpTransport(needs: Omit<TcpNeeds, 'expire'>): TcpTransport {
  const tcp = createTcp({ ...needs, expire });
  return {
    tcp,
    transport: {
      input: (packet) => input(tcp, packet),
      error: (error) => report(tcp, error),
      plausible: (error) => isPlausible(tcp, error),
    },
  };
}
