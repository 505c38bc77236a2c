// ICMP: answers echo, complains when it may, and tells transports what went wrong. RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.

import { v4 } from '../base/address.ts';
import { finish, sum } from '../base/checksum.ts';
import type { Verdict } from '../base/drop.ts';
import { DEFAULT_TTL, type IpError, PROTOCOL_ICMP, type SendOptions, type Transport } from '../base/ip.ts';
import { type Packet, UNICAST } from '../base/packet.ts';
import type { IcmpCounters } from './counters.ts';
import { Echo } from './echo.ts';
import {
  destinationWord,
  dontFragment,
  fragmentOffset,
  HEADER_LENGTH,
  headerLength,
  MIN_MTU,
  MIN_REASSEMBLY,
  protocol,
  sourceWord,
  totalLength,
  version,
} from './header.ts';
import {
  checkIcmp,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  HOST_UNREACHABLE,
  ICMP_HEADER_LENGTH,
  icmpChecksum,
  icmpCode,
  icmpType,
  isQuery,
  nextHopMtu,
  PARAMETER_PROBLEM,
  sealIcmp,
  TIME_EXCEEDED,
  TTL_EXCEEDED,
  writeIcmp,
} from './icmp-header.ts';
import { IcmpLimit } from './icmp-limit.ts';
import type { LocalAddresses } from './local.ts';
import type { Ipv4Needs } from './needs.ts';
import type { Ipv4Output } from './output.ts';
import type { Ipv4Path } from './path.ts';
import { type PathMtuTable, plateauBelow } from './pmtu.ts';
import { quote } from './quote.ts';

/** RFC 1812 4.3.2.3: as much of the packet as fits without the error exceeding 576 bytes. Also what keeps CVE-2018-4407 out. */
export const MAX_QUOTE = MIN_REASSEMBLY - HEADER_LENGTH - ICMP_HEADER_LENGTH;
/** RFC 792: the Internet header and at least 64 bits of the datagram. */
const MIN_QUOTED_DATA = 8;
/** ECN is the sender's business with its routers: a reply carries the DSCP alone (RFC 3168 5). */
const DSCP_MASK = 0xfc;

/** The ICMP of one host. */
export class Icmp implements Transport {
  readonly echo: Echo;
  readonly counters: IcmpCounters;
  readonly #needs: Ipv4Needs;
  readonly #output: Ipv4Output;
  readonly #local: LocalAddresses;
  readonly #pmtu: PathMtuTable;
  readonly #transports: readonly (Transport | undefined)[];
  readonly #limit: IcmpLimit;
  readonly #options: SendOptions = { ttl: DEFAULT_TTL, trafficClass: 0, dontFragment: false };
  #lastReply: Ipv4Path | undefined;

  /** `transports` is IPv4's table by protocol number: who is told of errors. */
  constructor(
    needs: Ipv4Needs,
    output: Ipv4Output,
    local: LocalAddresses,
    pmtu: PathMtuTable,
    transports: readonly (Transport | undefined)[],
    counters: IcmpCounters,
  ) {
    this.#needs = needs;
    this.#output = output;
    this.#local = local;
    this.#pmtu = pmtu;
    this.#transports = transports;
    this.counters = counters;
    this.echo = new Echo(output, needs.random);
    this.#limit = new IcmpLimit(needs.random);
  }

  input(packet: Packet): Verdict {
    const { view, at, end } = packet;
    this.counters.icmpStatsInMsgs++;
    const wrong = checkIcmp(view, at, end);
    if (wrong !== undefined) {
      this.counters.icmpStatsInErrors++;
      return wrong;
    }
    const type = icmpType(view, at);
    this.counters.icmpMsgStatsInPkts[type] = this.counters.icmpMsgStatsInPkts[type]! + 1;
    switch (type) {
      case ECHO_REQUEST:
        return this.#answerEcho(packet);
      case ECHO_REPLY:
        return this.echo.received(packet, this.#needs.now) ? undefined : this.#ignore();
      case DESTINATION_UNREACHABLE:
      case TIME_EXCEEDED:
      case PARAMETER_PROBLEM:
        return this.#takeError(packet, type);
      default:
        // Source Quench MUST be discarded (RFC 6633 3, CVE-2004-0791). Redirects: Deviates from the SHOULD of RFC 1122
        // 3.2.2.2, because whoever can send one can take our traffic. Address Mask Replies of nobody we asked
        // (CVE-2020-11911); Timestamp and Information are optional (3.2.2.7, 3.2.2.8); unknown types MUST be discarded.
        return this.#ignore();
    }
  }

  /** An error about an ICMP message of ours: only Echo Requests are of interest. */
  error(error: IpError): void {
    this.echo.failed(error, this.#needs.now);
  }

  plausible(error: IpError): boolean {
    return this.echo.plausible(error);
  }

  deliver(): void {
    this.echo.deliver();
  }

  /**
   * Sends the error (`type`, `code`, second word `rest`) about the datagram at `packet.network`, unless RFC 1122 3.2.2
   * forbids it or the rate limit does.
   */
  complain(packet: Packet, type: number, code: number, rest: number): void {
    if (!this.#mayComplain(packet)) return;
    const { counters } = this;
    const source = v4(packet.s3);
    // RFC 1812 4.3.2.4: from the address that was spoken to if it is ours, else from that of the way back.
    const own = this.#local.isOwn(packet.d3) ? v4(packet.d3) : undefined;
    const path = this.#output.path(source, own, 0);
    if (typeof path === 'string') return;
    if (!path.interface.loopback && !this.#limit.allow(packet.s3, this.#needs.now)) {
      counters.icmpOutRateLimited++;
      return;
    }
    if (!path.interface.hasRoom()) {
      counters.icmpStatsOutErrors++;
      return;
    }
    const { view, bytes, network } = packet;
    const quoted = Math.min(totalLength(view, network), bytes.length - network, MAX_QUOTE);
    const frame = path.interface.frame();
    const at = frame.put(ICMP_HEADER_LENGTH);
    writeIcmp(frame.view, at, type, code, rest);
    quote(frame, packet, quoted);
    sealIcmp(frame.view, at, frame.tail);
    const { trace } = this.#needs;
    if (trace.on) trace.note(`ICMP error type ${type} code ${code} to ${source}`);
    this.#options.trafficClass = 0; // RFC 1122 3.2.2: an error SHOULD have normal TOS
    this.#send(path, frame, type);
  }

  /**
   * A next hop did not answer: tells whoever sent the IPv4 packet at [at, end), be it a transport of ours or, when we
   * forwarded, a stranger. `packet` is a Packet set to it with `network` at its header.
   */
  unreachable(packet: Packet): void {
    const { view, network, end } = packet;
    const data = network + headerLength(view, network);
    if (fragmentOffset(view, network) !== 0 || end - data < MIN_QUOTED_DATA) return;
    const source = sourceWord(view, network);
    if (!this.#local.isOwn(source)) {
      packet.s3 = source;
      packet.d3 = destinationWord(view, network);
      packet.protocol = protocol(view, network);
      this.complain(packet, DESTINATION_UNREACHABLE, HOST_UNREACHABLE, 0);
      return;
    }
    const ours = v4(source);
    this.#transports[protocol(view, network)]?.error({
      kind: 'host unreachable',
      mtu: 0,
      source: ours,
      destination: v4(destinationWord(view, network)),
      reporter: ours,
      view,
      at: data,
      end,
    });
  }

  /** RFC 1122 3.2.2 "MUST NOT be sent as the result of receiving", in its order. */
  #mayComplain(packet: Packet): boolean {
    const { view, network } = packet;
    if (packet.protocol === PROTOCOL_ICMP) {
      const at = network + headerLength(view, network);
      if (at >= packet.end || !isQuery(icmpType(view, at))) return false;
    }
    if (packet.groupDestination || packet.linkCast !== UNICAST) return false;
    if (fragmentOffset(view, network) !== 0) return false;
    const first = packet.s3 >>> 24;
    if (first === 0 || first >= 224) return false;
    if (this.#local.isBroadcast(packet.s3, 0)) return false;
    return first !== 127 || this.#local.isOwn(packet.d3);
  }

  #answerEcho(packet: Packet): Verdict {
    // RFC 1122 3.2.2.6: MAY be discarded when broadcast or multicast; smurf (CVE-1999-0513) says it is.
    if (packet.groupDestination || packet.linkCast !== UNICAST) return this.#ignore();
    const path = this.#replyPath(packet);
    if (path === undefined) return 'no route';
    if (!path.interface.hasRoom()) return 'queue full';
    const { view, at, end } = packet;
    const frame = path.interface.frame();
    const head = frame.put(ICMP_HEADER_LENGTH);
    writeIcmp(frame.view, head, ECHO_REPLY, 0, view.getUint32(at + 4));
    // Data comes back as it went, so only type and code tell the sums apart: HC' = ~(~HC + ~m + m'), RFC 1624 3. No
    // route or other option is returned (CVE-2021-31344): RFC 1122 3.2.2.6 would have it for Record Route, we do not.
    const asked = view.getUint16(at);
    // A sum of minus zero may stand for plus zero, which is that of nothing but zeros: then it is taken anew.
    const adjusted = finish((~icmpChecksum(view, at) & 0xffff) + (~asked & 0xffff));
    frame.view.setUint16(head + 2, adjusted !== 0 ? adjusted : finish(sum(view, at + 4, end)));
    const data = at + ICMP_HEADER_LENGTH;
    const length = end - data;
    if (length <= frame.room) {
      frame.copyIn(packet.bytes, data, length);
    } else {
      frame.attach(packet.slab, data, length);
      packet.pinned = true;
    }
    this.#options.trafficClass = packet.trafficClass & DSCP_MASK; // RFC 1122 3.2.1.6
    this.#send(path, frame, ECHO_REPLY);
    return undefined;
  }

  /** RFC 1122 3.2.2.6: the reply's source is the request's specific-destination. A ping flood asks for one path again and again. */
  #replyPath(packet: Packet): Ipv4Path | undefined {
    const last = this.#lastReply;
    if (
      last !== undefined &&
      last.destination.w3 === packet.s3 &&
      last.source.w3 === packet.d3 &&
      !last.stale
    ) {
      return last;
    }
    const path = this.#output.path(packet.source(), packet.destination(), 0);
    if (typeof path === 'string') return undefined;
    this.#lastReply = path;
    return path;
  }

  #send(path: Ipv4Path, frame: Parameters<Ipv4Output['send']>[2], type: number): void {
    const { counters } = this;
    const result = this.#output.send(path, PROTOCOL_ICMP, frame, this.#options);
    if (result === 'sent' || result === 'queued') {
      counters.icmpStatsOutMsgs++;
      counters.icmpMsgStatsOutPkts[type] = counters.icmpMsgStatsOutPkts[type]! + 1;
    } else {
      counters.icmpStatsOutErrors++;
    }
  }

  #ignore(): Verdict {
    this.counters.icmpInIgnored++;
    return 'icmp ignored';
  }

  #bad(): Verdict {
    this.counters.icmpStatsInErrors++;
    return 'bad icmp';
  }

  /** Destination Unreachable, Time Exceeded, Parameter Problem: to the transport that sent the quoted packet. */
  #takeError(packet: Packet, type: number): Verdict {
    const { view, at, end } = packet;
    const kind = errorKind(type, icmpCode(view, at));
    if (kind === undefined || packet.groupDestination) return this.#ignore();
    // The quoted header, with nothing of it believed (CVE-2023-23415, CVE-2021-31346).
    const q = at + ICMP_HEADER_LENGTH;
    if (end - q < HEADER_LENGTH || version(view, q) !== 4) return this.#bad();
    const ihl = headerLength(view, q);
    const data = q + ihl;
    if (ihl < HEADER_LENGTH || data + MIN_QUOTED_DATA > end) return this.#bad();
    if (totalLength(view, q) < ihl + MIN_QUOTED_DATA) return this.#bad();
    // It must be a packet of ours, and the complaint must have come to its source.
    if (sourceWord(view, q) !== packet.d3) return this.#bad();
    if (fragmentOffset(view, q) !== 0) return this.#ignore(); // no ports there: nobody to tell
    const transport = this.#transports[protocol(view, q)];
    if (transport === undefined) return this.#ignore();
    const quotedEnd = Math.min(end, q + totalLength(view, q));
    const mtu = kind === 'packet too big' ? this.#believableMtu(packet, q) : 0;
    if (mtu < 0) return this.#ignore();
    const destination = v4(destinationWord(view, q));
    const source = packet.destination();
    const reporter = packet.source();
    const error: IpError = {
      kind,
      mtu,
      source,
      destination,
      reporter,
      view,
      at: data,
      end: quotedEnd,
    };
    if (kind !== 'packet too big') {
      transport.error(error);
      return undefined;
    }
    // RFC 5927 7: who sent the packet says whether it knows it, before every path to that destination is narrowed.
    if (transport.plausible?.(error) === false) return this.#ignore();
    const kept = this.#pmtu.lower(destination.w3, mtu);
    const { trace } = this.#needs;
    if (trace.on) trace.note(`path MTU to ${destination} is ${kept}`);
    transport.error({ ...error, mtu: kept });
    return undefined;
  }

  /**
   * RFC 1191 3: the MTU that a Fragmentation Needed asks for, -1 when it is not to be believed: it must complain about a
   * packet with DF that was larger than it, must not be below 68 bytes, and must lower what we had.
   */
  #believableMtu(packet: Packet, q: number): number {
    const { view, at } = packet;
    if (!dontFragment(view, q)) return -1;
    const path = this.#output.path(v4(destinationWord(view, q)), packet.destination(), 0);
    if (typeof path === 'string') return -1;
    let length = totalLength(view, q);
    let mtu = nextHopMtu(view, at);
    if (mtu === 0) {
      // An old router. Those derived from 4.2BSD add the header length to the total length (RFC 1191 5).
      if (length > path.mtu) length -= headerLength(view, q);
      mtu = plateauBelow(Math.min(length, path.mtu));
    } else if (mtu < MIN_MTU || length <= mtu) {
      return -1;
    }
    return mtu < path.mtu ? mtu : -1;
  }
}

/** Our word for an ICMP error, `undefined` for codes that do not exist. RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1. */
function errorKind(type: number, code: number): IpError['kind'] | undefined {
  if (type === PARAMETER_PROBLEM) return code <= 2 ? 'parameter problem' : undefined;
  if (type === TIME_EXCEEDED) {
    if (code === TTL_EXCEEDED) return 'ttl exceeded';
    return code === 1 ? 'reassembly timeout' : undefined;
  }
  return UNREACHABLE_KINDS[code];
}

/** By code of Destination Unreachable. */
const UNREACHABLE_KINDS: readonly (IpError['kind'] | undefined)[] = [
  'net unreachable',
  'host unreachable',
  'protocol unreachable',
  'port unreachable',
  'packet too big',
  'source route failed',
  'net unreachable', // 6 destination network unknown
  'host unreachable', // 7 destination host unknown
  'host unreachable', // 8 source host isolated
  'prohibited', // 9 network administratively prohibited
  'prohibited', // 10 host administratively prohibited
  'net unreachable', // 11 network unreachable for type of service
  'host unreachable', // 12 host unreachable for type of service
  'prohibited', // 13 communication administratively prohibited
  'prohibited', // 14 host precedence violation
  'prohibited', // 15 precedence cutoff
];
