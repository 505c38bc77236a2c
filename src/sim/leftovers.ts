// What a host still holds when everything is over. Nothing is what there should be.

import type { Tcb } from '../tcp/tcb.ts';
import type { SimHost } from './host.ts';

/**
 * Names everything that `host` holds for traffic that is over: connections, buffers, packets that wait, timers. Call it when
 * its conversations have ended and so much time has passed that neighbours are forgotten (half an hour). `connections` are
 * those that it ever had.
 */
export function leftovers({ name, stack, links }: SimHost, connections: Iterable<Tcb>): string[] {
  const { tcp, udp, ipv4, timers } = stack;
  const amounts: [what: string, amount: number][] = [
    ['connections', tcp.count],
    ['connections in the table', tcp.connections.size],
    ['connections in TIME-WAIT', tcp.timeWait.size],
    ['connections with something to send', tcp.outgoing.length],
    ['connections with events', tcp.eventful.length],
    ['resets owed', tcp.resets.length],
    ['small blocks of send buffers', tcp.pools.small.inUse],
    ['large blocks of send buffers', tcp.pools.large.inUse],
    ['datagrams in reassembly', ipv4.reassembly.size],
    ['bytes in reassembly', ipv4.reassembly.bytes],
    ['timers', timers.armed],
    ['work pending', Number(stack.pending || udp.pending)],
  ];
  for (const { netif } of links) {
    amounts.push([`frames waiting on ${netif.name}`, netif.waiting]);
    const packets = netif.neighbours.entries.reduce((n, { pending }) => n + pending.length, 0);
    amounts.push([`packets waiting for a neighbour on ${netif.name}`, packets]);
  }
  let sending = 0;
  let received = 0;
  for (const { sendBuffer, receiveBuffer } of connections) {
    sending += sendBuffer.length;
    received += receiveBuffer.held;
  }
  amounts.push(['bytes in send buffers', sending], ['bytes in receive buffers', received]);
  return amounts.filter(([, amount]) => amount !== 0).map(([what, amount]) => `${name}: ${amount} ${what}`);
}
