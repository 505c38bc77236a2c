// The asking side of Echo: what ping uses. RFC 792, RFC 1122 3.2.2.6.

import type { Address } from '../base/address.ts';
import { DEFAULT_TTL, type IpError, PROTOCOL_ICMP, type RouteError, type SendOptions } from '../base/ip.ts';
import type { SendResult } from '../base/netif.ts';
import type { Packet } from '../base/packet.ts';
import { below, type Random } from '../base/random.ts';
import { Slab } from '../base/slab.ts';
import { tellAll } from '../base/tell.ts';
import type { Micros } from '../base/time.ts';
import { MAX_DATAGRAM } from './header.ts';
import {
  ECHO_REQUEST,
  echoIdentifier,
  echoSequence,
  ICMP_HEADER_LENGTH,
  icmpType,
  sealIcmp,
  writeIcmp,
} from './icmp-header.ts';
import type { Ipv4Output } from './output.ts';

/** Replies and errors that wait for `deliver`, of all clients. More than these in one round are a flood, and dropped. */
const MAX_EVENTS = 1024;
/** Bytes of payload that those may hold. */
const MAX_EVENT_BYTES = 4 << 20;

/** An Echo Reply to one of our requests. */
export interface EchoReply {
  /** Who answered: not always whom we asked (broadcast, multicast), so compare. */
  readonly source: Address;
  readonly sequence: number;
  readonly ttl: number;
  readonly receivedAt: Micros;
  /** A copy of the data that came back. */
  readonly data: Uint8Array;
}

/** An error that came back for one of our requests. */
export interface EchoError {
  readonly kind: IpError['kind'];
  readonly sequence: number;
  /** Whom we had asked, and who complained. */
  readonly destination: Address;
  readonly reporter: Address;
  readonly mtu: number;
  readonly receivedAt: Micros;
}

/** Who asks. Called only from `deliver`. */
export interface EchoUser {
  reply(reply: EchoReply): void;
  error(error: EchoError): void;
}

/** An identifier of ours and who listens to it. */
export interface EchoClient {
  readonly identifier: number;
  readonly user: EchoUser;
  open: boolean;
}

interface Event {
  readonly client: EchoClient;
  readonly reply: EchoReply | undefined;
  readonly error: EchoError | undefined;
}

/** Wishes for one request. */
export interface EchoOptions {
  ttl?: number;
  trafficClass?: number;
  dontFragment?: boolean;
  source?: Address;
  interfaceIndex?: number;
}

/** All echo clients of a host. */
export class Echo {
  readonly #output: Ipv4Output;
  readonly #random: Random;
  readonly #clients = new Map<number, EchoClient>();
  readonly #events: Event[] = [];
  #eventBytes = 0;

  constructor(output: Ipv4Output, random: Random) {
    this.#output = output;
    this.#random = random;
  }

  get pending(): boolean {
    return this.#events.length > 0;
  }

  /** A client with an identifier of its own, unguessable (RFC 6056's reasons hold here, too); `undefined` if all are taken. */
  open(user: EchoUser): EchoClient | undefined {
    if (this.#clients.size > 0x8000) return undefined;
    let identifier = below(this.#random, 0x10000);
    while (this.#clients.has(identifier)) identifier = (identifier + 1) & 0xffff;
    const client: EchoClient = { identifier, user, open: true };
    this.#clients.set(identifier, client);
    return client;
  }

  close(client: EchoClient): void {
    client.open = false;
    this.#clients.delete(client.identifier);
  }

  /** Sends an Echo Request with `data` (at most 65507 bytes). `sequence` is taken modulo 65536. */
  send(
    client: EchoClient,
    destination: Address,
    sequence: number,
    data: Uint8Array,
    options: EchoOptions = {},
  ): SendResult | RouteError {
    const path = this.#output.path(destination, options.source, options.interfaceIndex ?? 0);
    if (typeof path === 'string') return path;
    if (data.length > MAX_DATAGRAM - path.headerLength - ICMP_HEADER_LENGTH) return 'too big';
    if (!path.interface.hasRoom()) return 'full';
    const frame = path.interface.frame();
    const at = frame.put(ICMP_HEADER_LENGTH);
    const length = ICMP_HEADER_LENGTH + data.length;
    const rest = ((client.identifier << 16) | (sequence & 0xffff)) >>> 0;
    if (data.length <= frame.room) {
      writeIcmp(frame.view, at, ECHO_REQUEST, 0, rest);
      frame.copyIn(data, 0, data.length);
      sealIcmp(frame.view, at, at + length);
    } else {
      // Too large for the frame's own memory: the message is made in a slab, header and all, and attached.
      frame.reset();
      const slab = new Slab(new Uint8Array(length));
      writeIcmp(slab.view, 0, ECHO_REQUEST, 0, rest);
      slab.bytes.set(data, ICMP_HEADER_LENGTH);
      sealIcmp(slab.view, 0, length);
      frame.attach(slab, 0, length);
    }
    const wishes: SendOptions = {
      ttl: options.ttl ?? DEFAULT_TTL,
      trafficClass: options.trafficClass ?? 0,
      dontFragment: options.dontFragment ?? false,
    };
    return this.#output.send(path, PROTOCOL_ICMP, frame, wishes);
  }

  /** Takes an Echo Reply whose ICMP header is at `packet.at`; false when nobody asked or too much waits. */
  received(packet: Packet, now: Micros): boolean {
    const { view, at, end } = packet;
    const client = this.#clients.get(echoIdentifier(view, at));
    const length = end - at - ICMP_HEADER_LENGTH;
    if (client === undefined || !this.#admit(length)) return false;
    const reply: EchoReply = {
      source: packet.source(),
      sequence: echoSequence(view, at),
      ttl: packet.ttl,
      receivedAt: now,
      data: packet.bytes.slice(at + ICMP_HEADER_LENGTH, end),
    };
    this.#events.push({ client, reply, error: undefined });
    return true;
  }

  /** Takes an error about an ICMP message of ours. */
  failed(error: IpError, now: Micros): void {
    const { view, at } = error;
    if (icmpType(view, at) !== ECHO_REQUEST) return;
    const client = this.#clients.get(echoIdentifier(view, at));
    if (client === undefined || !this.#admit(0)) return;
    const report: EchoError = {
      kind: error.kind,
      sequence: echoSequence(view, at),
      destination: error.destination,
      reporter: error.reporter,
      mtu: error.mtu,
      receivedAt: now,
    };
    this.#events.push({ client, reply: undefined, error: report });
  }

  /** True when the quoted message is a request of an open client: asked before a Path MTU is believed (RFC 5927 7). */
  plausible(error: IpError): boolean {
    return (
      icmpType(error.view, error.at) === ECHO_REQUEST &&
      this.#clients.has(echoIdentifier(error.view, error.at))
    );
  }

  deliver(): void {
    if (this.#events.length > 0) tellAll(this.#events, this.#tell);
  }

  readonly #tell = ({ client, reply, error }: Event): void => {
    if (reply !== undefined) this.#eventBytes -= reply.data.length;
    if (!client.open) return;
    if (reply !== undefined) client.user.reply(reply);
    else if (error !== undefined) client.user.error(error);
  };

  #admit(bytes: number): boolean {
    if (this.#events.length >= MAX_EVENTS || this.#eventBytes + bytes > MAX_EVENT_BYTES) return false;
    this.#eventBytes += bytes;
    return true;
  }
}
