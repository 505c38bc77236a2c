// The three services every TCP/IP host once had: echo (RFC 862), discard (RFC 863), character generator (RFC 864).
//
// Each is a function over a socket of Node's shape, so it runs over the kernel's sockets as well as over ours. All of them
// are small targets on a hostile network, so each is bounded: by back-pressure, by idle time, by what it will answer.

import { randomInt } from 'node:crypto';
import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { TokenBucket } from '../../base/limits.ts';

export const ECHO_PORT = 7;
export const DISCARD_PORT = 9;
export const CHARGEN_PORT = 19;

/** A connection on which nothing moves for so long is closed: a peer that went away must not hold memory for ever. */
export const IDLE_LIMIT_MS = 10 * 60_000;
/** Ports below this belong to services (RFC 6335 6): a datagram "from" one is a forged loop between two services (CVE-1999-0103). */
const FIRST_CLIENT_PORT = 1024;
/** Replies waiting in a UDP socket, in bytes; beyond it datagrams are dropped, as UDP may. */
const MOST_QUEUED = 256 * 1024;
/** UDP chargen answers one byte with up to 512: a forged source makes it an amplifier, so it answers only so often. */
const CHARGEN_PER_SECOND = 100;

/** Sends back what comes, until the peer has finished; then finishes too (RFC 862). Needs `allowHalfOpen`. */
export function echo(socket: Socket): void {
  guard(socket);
  // pipe() stops reading while the peer does not: nothing piles up for a slow reader.
  socket.pipe(socket);
}

/** Takes what comes and throws it away (RFC 863). */
export function discard(socket: Socket): void {
  guard(socket);
  socket.resume();
}

/** Sends lines of characters for as long as the peer reads, and throws away what comes (RFC 864). */
export function chargen(socket: Socket): void {
  guard(socket);
  socket.resume();
  const pour = () => {
    while (socket.writable && socket.write(LINES)) {
      // Written until the socket says it has enough; `drain` goes on from there.
    }
  };
  socket.on('drain', pour);
  pour();
}

/** Sends each datagram back to who sent it (RFC 862). */
export function echoDatagrams(socket: UdpSocket): void {
  socket.on('message', (message, from) => reply(socket, message, from.port, from.address));
}

/** Takes datagrams and throws them away (RFC 863). */
export function discardDatagrams(socket: UdpSocket): void {
  socket.on('message', () => {});
}

/**
 * Answers each datagram with one of 0 to 512 characters (RFC 864), at most {@link CHARGEN_PER_SECOND} a second. `now` is in
 * microseconds.
 */
export function chargenDatagrams(
  socket: UdpSocket,
  now: () => number = () => performance.now() * 1000,
): void {
  const limit = new TokenBucket(CHARGEN_PER_SECOND, CHARGEN_PER_SECOND);
  socket.on('message', (_message, from) => {
    if (!limit.take(now())) return;
    reply(socket, LINES.subarray(0, randomInt(513)), from.port, from.address);
  });
}

function reply(socket: UdpSocket, message: Uint8Array, port: number, address: string): void {
  // RFC 768: source port 0 means "no reply wanted".
  if (port < FIRST_CLIENT_PORT) return;
  if (socket.getSendQueueSize() > MOST_QUEUED) return;
  // A reply that cannot be sent is a lost datagram.
  socket.send(message, port, address, () => {});
}

/** Errors end the connection and are the stack's to count; silence ends it after {@link IDLE_LIMIT_MS}. */
function guard(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
}

/** RFC 864's popular pattern: 72 of the 95 printing characters a line, each line starting one further. Nine rounds of it. */
const LINES = ((): Uint8Array => {
  const rounds = 9;
  const bytes = new Uint8Array(rounds * 95 * 74);
  let at = 0;
  for (let line = 0; line < rounds * 95; line++) {
    for (let i = 0; i < 72; i++) bytes[at++] = 0x20 + ((line + i) % 95);
    bytes[at++] = 0x0d;
    bytes[at++] = 0x0a;
  }
  return bytes;
})();
