// A host of nothing but IPv4 and UDP, on links that are arrays: for tests of both.

import { type Address, maskWord, parseAddress, subnetBroadcast } from '../../src/base/address.ts';
import { finish, fold, pseudoHeaderSum, sum } from '../../src/base/checksum.ts';
import type { DropCounts, Verdict } from '../../src/base/drop.ts';
import type { IpError, Transport } from '../../src/base/ip.ts';
import { PROTOCOL_UDP } from '../../src/base/ip.ts';
import type { InterfaceAddress, NetInterface, SendResult } from '../../src/base/netif.ts';
import { type Frame, type LinkCast, makeFrames, Packet, UNICAST } from '../../src/base/packet.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Slab } from '../../src/base/slab.ts';
import { NEVER } from '../../src/base/time.ts';
import { TimerQueue } from '../../src/base/timers.ts';
import { Trace } from '../../src/base/trace.ts';
import * as ip from '../../src/ipv4/header.ts';
import { Ipv4, type Ipv4Needs, type Route } from '../../src/ipv4/ipv4.ts';
import { Udp } from '../../src/udp/udp.ts';

export function addr(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
}

/** A packet as it would be on the wire, and what the interface was told beside it. */
export interface Sent {
  bytes: Uint8Array;
  view: DataView;
  nextHop: Address;
  gsoSize: number;
  attached: boolean;
}

export class TestInterface implements NetInterface {
  readonly index: number;
  readonly name: string;
  mtu = 1500;
  readonly mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
  readonly loopback: boolean;
  up = true;
  addresses: InterfaceAddress[] = [];
  sent: Sent[] = [];
  /** Frames that still fit. */
  room = Number.POSITIVE_INFINITY;
  result: SendResult = 'sent';
  #frame: Frame;

  constructor(index: number, name: string, loopback = false) {
    this.index = index;
    this.name = name;
    this.loopback = loopback;
    this.#frame = makeFrames(1)[0]!;
  }

  hasRoom(): boolean {
    return this.room > 0;
  }

  frame(): Frame {
    return this.#frame.reset();
  }

  send(frame: Frame, nextHop: Address): SendResult {
    if (this.result !== 'sent' && this.result !== 'queued') {
      frame.reset();
      return this.result;
    }
    this.room--;
    const bytes = new Uint8Array(frame.length);
    frame.copyTo(bytes, 0);
    const view = new DataView(bytes.buffer);
    if (frame.checksumStart >= 0 && frame.gsoSize === 0) {
      const start = frame.checksumStart - frame.head;
      const value = finish(sum(view, start, bytes.length));
      view.setUint16(start + frame.checksumOffset, value === 0 ? 0xffff : value);
    }
    const attached = frame.a !== undefined;
    this.sent.push({ bytes, view, nextHop, gsoSize: frame.gsoSize, attached });
    frame.reset();
    return this.result;
  }

  /** Takes what was sent so far. */
  take(): Sent[] {
    const { sent } = this;
    this.sent = [];
    return sent;
  }
}

export function interfaceAddress(
  text: string,
  state: InterfaceAddress['state'] = 'preferred',
): InterfaceAddress {
  const [host, bits] = text.split('/');
  const address = addr(host!);
  const prefixLength = Number(bits);
  return {
    address,
    prefixLength,
    broadcast: subnetBroadcast({ address, prefixLength }),
    state,
    preferredUntil: NEVER,
    validUntil: NEVER,
  };
}

/** Remembers what it is given. */
export class Recorder implements Transport {
  packets: { source: string; destination: string; payload: Uint8Array; ttl: number; packet: Packet }[] = [];
  errors: IpError[] = [];
  verdict: Verdict;
  believes = true;

  input(packet: Packet): Verdict {
    this.packets.push({
      source: `${packet.source()}`,
      destination: `${packet.destination()}`,
      payload: packet.bytes.slice(packet.at, packet.end),
      ttl: packet.ttl,
      packet,
    });
    return this.verdict;
  }

  error(error: IpError): void {
    this.errors.push(error);
  }

  plausible(): boolean {
    return this.believes;
  }
}

export const OURS = '10.7.0.2';
export const PEER = '10.7.0.1';

export class TestHost {
  readonly lo = new TestInterface(1, 'lo', true);
  readonly eth: TestInterface;
  readonly interfaces: TestInterface[];
  readonly timers = new TimerQueue();
  readonly trace = new Trace();
  readonly drops: DropCounts = {};
  readonly joined: string[] = [];
  readonly ipv4: Ipv4;
  readonly udp: Udp;
  readonly packet = new Packet();
  now = 1_000_000;
  forwarding = false;
  gateway: Address | undefined = addr('10.7.0.254');
  generation = 1;

  constructor(address: string | undefined = `${OURS}/24`, seed = 1) {
    this.eth = new TestInterface(2, 'eth');
    this.lo.mtu = 65_536;
    this.lo.addresses = [interfaceAddress('127.0.0.1/8')];
    if (address !== undefined) this.eth.addresses = [interfaceAddress(address)];
    this.interfaces = [this.lo, this.eth];
    const host = this;
    const needs: Ipv4Needs = {
      interfaces: this.interfaces,
      routes: {
        get generation() {
          return host.generation;
        },
        lookup: (destination, source, index) => host.#route(destination, source, index),
      },
      timers: this.timers,
      random: seededRandom(seed),
      trace: this.trace,
      drops: this.drops,
      get now() {
        return host.now;
      },
      get forwarding() {
        return host.forwarding;
      },
      groupJoined: (netif, group) => this.joined.push(`+${netif.name} ${group}`),
      groupLeft: (netif, group) => this.joined.push(`-${netif.name} ${group}`),
    };
    this.ipv4 = new Ipv4(needs);
    this.udp = new Udp({
      output: this.ipv4,
      groups: this.ipv4.igmp,
      random: needs.random,
      trace: this.trace,
      drops: this.drops,
    });
    this.ipv4.register(PROTOCOL_UDP, this.udp);
    for (const netif of this.interfaces) this.ipv4.addInterface(netif);
  }

  #route(destination: Address, source: Address | undefined, index: number): Route | 'ENETUNREACH' {
    for (const netif of this.interfaces) {
      if (netif.loopback || !netif.up || (index !== 0 && index !== netif.index)) continue;
      for (const { address, prefixLength, state } of netif.addresses) {
        if (state === 'tentative') continue;
        if (((address.w3 ^ destination.w3) & maskWord(prefixLength)) === 0) {
          return { interface: netif, nextHop: destination, source: source ?? address };
        }
      }
    }
    const own = this.eth.addresses[0];
    if (this.gateway === undefined || own === undefined) return 'ENETUNREACH';
    return { interface: this.eth, nextHop: this.gateway, source: source ?? own.address };
  }

  /** Gives `bytes` to IPv4 as if they had come in by `netif`, in a frame with 14 bytes before them. */
  receive(
    bytes: Uint8Array,
    { netif = this.eth, linkCast = UNICAST, trusted = false, gsoSize = 0 }: ReceiveOptions = {},
  ): Verdict {
    const slab = new Slab(new Uint8Array(14 + bytes.length));
    slab.bytes.set(bytes, 14);
    const packet = this.packet.set(slab, 0, slab.bytes.length);
    packet.at = 14;
    packet.interfaceIndex = netif.index;
    packet.linkCast = linkCast;
    packet.checksumTrusted = trusted;
    packet.gsoSize = gsoSize;
    return this.ipv4.input(netif, packet);
  }

  /** One round without input: timers up to `now`, fragments, looped frames, events. */
  round(after = 0): void {
    this.now += after;
    this.timers.advance(this.now);
    this.ipv4.flush();
    for (const { bytes, gsoSize } of this.lo.take()) {
      this.receive(bytes, { netif: this.lo, trusted: true, gsoSize });
    }
    this.ipv4.deliver();
    this.udp.deliver();
  }

  changed(): void {
    this.generation++;
  }
}

export interface ReceiveOptions {
  netif?: TestInterface;
  linkCast?: LinkCast;
  trusted?: boolean;
  gsoSize?: number;
}

/** Hands what both hosts sent to the other until nothing is on the wire. */
export function exchange(a: TestHost, b: TestHost, rounds = 8): void {
  for (let i = 0; i < rounds; i++) {
    for (const { bytes, gsoSize } of a.eth.take()) b.receive(bytes, { gsoSize });
    for (const { bytes, gsoSize } of b.eth.take()) a.receive(bytes, { gsoSize });
    a.round();
    b.round();
  }
}

export interface Fields {
  source?: string;
  destination?: string;
  protocol?: number;
  ttl?: number;
  tos?: number;
  id?: number;
  /** The flags word without the offset. */
  flags?: number;
  /** In bytes. */
  offset?: number;
  options?: readonly number[];
  payload?: Uint8Array;
  /** What total length shall say, if not the truth. */
  totalLength?: number;
  ihl?: number;
  padding?: number;
  badChecksum?: boolean;
}

/** An IPv4 packet, right but for what is asked for. */
export function datagram(fields: Fields = {}): Uint8Array {
  const { options = [], payload = new Uint8Array(0), padding = 0 } = fields;
  const hlen = 20 + Math.ceil(options.length / 4) * 4;
  const bytes = new Uint8Array(hlen + payload.length + padding);
  const view = new DataView(bytes.buffer);
  ip.writeHeader(
    view,
    0,
    fields.tos ?? 0,
    fields.totalLength ?? hlen + payload.length,
    fields.id ?? 1,
    (fields.flags ?? 0) | ((fields.offset ?? 0) >> 3),
    fields.ttl ?? 64,
    fields.protocol ?? PROTOCOL_UDP,
    addr(fields.source ?? PEER).w3,
    addr(fields.destination ?? OURS).w3,
  );
  bytes.set(options, 20);
  bytes[0] = 0x40 | (fields.ihl ?? hlen >> 2);
  view.setUint16(10, 0);
  const end = Math.min(bytes.length, (bytes[0] & 15) * 4);
  view.setUint16(10, finish(sum(view, 0, end)) ^ (fields.badChecksum === true ? 0x1234 : 0));
  bytes.set(payload, hlen);
  return bytes;
}

export function udpPayload(
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
  { source = PEER, destination = OURS, length = 8 + data.length, checksum = true } = {},
): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint16(4, length);
  bytes.set(data, 8);
  if (checksum) {
    const pseudo = pseudoHeaderSum(addr(source), addr(destination), PROTOCOL_UDP, bytes.length);
    const value = finish(sum(view, 0, bytes.length, pseudo));
    view.setUint16(6, value === 0 ? 0xffff : value);
  }
  return bytes;
}

/** A whole UDP datagram. */
export function udpDatagram(
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
  fields: Fields = {},
): Uint8Array {
  const ends = { source: fields.source ?? PEER, destination: fields.destination ?? OURS };
  return datagram({ ...fields, payload: udpPayload(sourcePort, destinationPort, data, ends) });
}

export function icmp(type: number, code: number, rest: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = type;
  bytes[1] = code;
  view.setUint32(4, rest);
  bytes.set(data, 8);
  view.setUint16(2, finish(sum(view, 0, bytes.length)));
  return bytes;
}

export function icmpDatagram(
  type: number,
  code: number,
  rest: number,
  data: Uint8Array,
  fields: Fields = {},
): Uint8Array {
  return datagram({ protocol: 1, ...fields, payload: icmp(type, code, rest, data) });
}

export function echoRequest(id: number, sequence: number, data: Uint8Array, fields: Fields = {}): Uint8Array {
  return icmpDatagram(8, 0, id * 65_536 + sequence, data, fields);
}

export function counting(n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => (i * 7 + (i >> 8)) & 255);
}

/** True when an IPv4 packet's header checksum, and that of an ICMP or UDP payload, are right. */
export function isSound(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (ip.check(view, 0, bytes.length) !== undefined || ip.totalLength(view, 0) !== bytes.length) return false;
  if (ip.isFragment(view, 0)) return true;
  const at = ip.headerLength(view, 0);
  const protocol = ip.protocol(view, 0);
  if (protocol === 1 || protocol === 2) return fold(sum(view, at, bytes.length)) === 0xffff;
  if (protocol !== 17) return true;
  const source = addrWord(view, 12);
  const destination = addrWord(view, 16);
  const pseudo = pseudoHeaderSum(source, destination, 17, bytes.length - at);
  return fold(sum(view, at, bytes.length, pseudo)) === 0xffff;
}

function addrWord(view: DataView, at: number): Address {
  return addr([0, 1, 2, 3].map((i) => view.getUint8(at + i)).join('.'));
}

/** A ping that must work whatever came before. */
export function answersPing(host: TestHost, source = PEER): boolean {
  host.eth.take();
  host.receive(echoRequest(99, 7, counting(32), { source }));
  const [reply] = host.eth.take();
  if (reply === undefined) return false;
  return isSound(reply.bytes) && reply.bytes[20] === 0 && reply.view.getUint32(24) === 99 * 65_536 + 7;
}
