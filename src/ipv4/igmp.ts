// IGMPv3 for a host: tells multicast routers what we want to hear, and knows it itself. RFC 3376, with the older
// versions of RFC 1112 and RFC 2236 for routers that speak nothing else.

import { type Address, ANY_V4, v4 } from '../base/address.ts';
import type { Verdict } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import { type IpError, PROTOCOL_IGMP, type Transport } from '../base/ip.ts';
import type { NetInterface } from '../base/netif.ts';
import type { Packet } from '../base/packet.ts';
import { below } from '../base/random.ts';
import { MINUTE, type Micros, NEVER, SECOND } from '../base/time.ts';
import { Timer } from '../base/timers.ts';
import type { IgmpCounters } from './counters.ts';
import {
  addChange,
  changeRecords,
  currentRecord,
  type Filter,
  type FilterMode,
  type Group,
  type GroupRecord,
  merge,
  newGroup,
  queriedRecord,
} from './igmp-group.ts';
import {
  checkIgmp,
  decodeCode,
  groupAddress,
  IGMP_HEADER_LENGTH,
  igmpType,
  MEMBERSHIP_QUERY,
  maxRespCode,
  qqic,
  qrv,
  querySource,
  sourceCount,
  V1_MEMBERSHIP_REPORT,
  V2_LEAVE_GROUP,
  V2_MEMBERSHIP_REPORT,
  V3_MEMBERSHIP_REPORT,
  writeIgmp,
} from './igmp-header.ts';
import { sendReports } from './igmp-report.ts';
import type { Ipv4Needs } from './needs.ts';
import { newScan, scanOptions } from './options.ts';
import type { Ipv4Output } from './output.ts';

const ALL_SYSTEMS = v4(0xe0000001);
const ALL_ROUTERS = v4(0xe0000002);
const IGMPV3_ROUTERS = v4(0xe0000016);

/** Defaults of RFC 3376 8.1, 8.2, 8.3, 8.11 and RFC 2236 8.10. */
const ROBUSTNESS = 2;
const QUERY_INTERVAL: Micros = 125 * SECOND;
const QUERY_RESPONSE_INTERVAL: Micros = 10 * SECOND;
const UNSOLICITED_INTERVAL: Micros = 1 * SECOND;
const V2_UNSOLICITED_INTERVAL: Micros = 10 * SECOND;
/** Max Resp Code counts tenths of a second. */
const TENTH: Micros = SECOND / 10;

/** Groups of one interface; Linux allows 20 a socket. Above it, ENOBUFS. */
export const MAX_GROUPS = 1024;
/** Sources of one filter (Linux's igmp_max_msf is 10; games and IPTV want more). Above it, ENOBUFS. */
export const MAX_SOURCES = 64;
/** Sources of queries remembered for one answer; with more, the whole state is told instead, which is always right. */
const MAX_QUERIED = 64;
/** Precedence 6, Internetwork Control (RFC 3376 4). */
const TOS = 0xc0;

/** What one interface has to do with groups. */
interface Membership {
  readonly netif: NetInterface;
  readonly groups: Map<number, Group>;
  robustness: number;
  queryInterval: Micros;
  /** Until when an older querier counts as present (RFC 3376 7.2.1). */
  v1Until: Micros;
  v2Until: Micros;
  version: 1 | 2 | 3;
  /** Answers a General Query. */
  readonly general: Timer;
  /** Falls back to a newer version. */
  readonly compatibility: Timer;
}

/** Longest time that an older querier is remembered after its last query: ten times what RFC 3376 8.12 comes to by default. */
const MOST_OLDER_QUERIER: Micros = 45 * MINUTE;

/** The group memberships of one host. */
export class Igmp implements Transport {
  readonly counters: IgmpCounters;
  readonly #needs: Ipv4Needs;
  readonly #output: Ipv4Output;
  readonly #memberships = new Map<number, Membership>();
  readonly #scan = newScan();

  constructor(needs: Ipv4Needs, output: Ipv4Output, counters: IgmpCounters) {
    this.#needs = needs;
    this.#output = output;
    this.counters = counters;
  }

  /** The interface exists from now on; every host is in 224.0.0.1 (RFC 3376 5). Twice is harmless. */
  addInterface(netif: NetInterface): void {
    if (this.#memberships.has(netif.index)) return;
    const membership: Membership = {
      netif,
      groups: new Map(),
      robustness: ROBUSTNESS,
      queryInterval: QUERY_INTERVAL,
      v1Until: 0,
      v2Until: 0,
      version: 3,
      general: new Timer(() => this.#answerGeneral(membership)),
      compatibility: new Timer((now) => this.#settleVersion(membership, now)),
    };
    this.#memberships.set(netif.index, membership);
    this.#needs.groupJoined?.(netif, ALL_SYSTEMS);
  }

  /** The interface is gone: its groups with it, without a word, for there is no way to say one. */
  removeInterface(netif: NetInterface): void {
    const membership = this.#memberships.get(netif.index);
    if (membership === undefined) return;
    this.#memberships.delete(netif.index);
    this.#needs.timers.remove(membership.general);
    this.#needs.timers.remove(membership.compatibility);
    for (const group of membership.groups.values()) {
      this.#stopTimers(group);
      this.#needs.groupLeft?.(netif, group.address);
    }
    this.#needs.groupLeft?.(netif, ALL_SYSTEMS);
  }

  /** The link came up, or another switch is behind it: tells all memberships again, as if they were new. */
  interfaceUp(netif: NetInterface): void {
    const membership = this.#memberships.get(netif.index);
    if (membership === undefined || netif.loopback) return;
    for (const group of membership.groups.values()) {
      if (group.sockets.size === 0 || group.address.w3 === ALL_SYSTEMS.w3) continue;
      if (membership.version !== 3) {
        this.#changedOld(membership, group, true);
        continue;
      }
      group.modeChanges = membership.robustness;
      this.#tellChange(membership, group);
    }
  }

  /**
   * IPMulticastListen of RFC 3376 2: what `socket` wants of `group` on the interface. Include with no sources is to leave.
   * Errors: EINVAL (no group), ENODEV (no interface), ENOBUFS (too many groups or sources).
   */
  multicastListen(
    socket: object,
    interfaceIndex: number,
    group: Address,
    mode: FilterMode,
    sources: readonly Address[],
  ): ErrorCode | undefined {
    if (group.family !== 4 || !group.isMulticast) return 'EINVAL';
    const membership = this.#memberships.get(interfaceIndex);
    if (membership === undefined) return 'ENODEV';
    if (sources.length > MAX_SOURCES) return 'ENOBUFS';
    const leaving = mode === 'include' && sources.length === 0;
    let record = membership.groups.get(group.w3);
    if (record === undefined) {
      if (leaving) return undefined;
      if (membership.groups.size >= MAX_GROUPS) return 'ENOBUFS';
      record = this.#startGroup(membership, group);
    }
    if (leaving) record.sockets.delete(socket);
    else record.sockets.set(socket, { mode, sources: new Set(sources.map((s) => s.w3)) });
    this.#changed(membership, record);
    return undefined;
  }

  /** True when some socket wants what `source` sends to `group` on this interface (RFC 3376 3.2). */
  accepts(interfaceIndex: number, group: number, source: number): boolean {
    const membership = this.#memberships.get(interfaceIndex);
    if (membership === undefined) return false;
    if (group === ALL_SYSTEMS.w3) return true;
    const filter = membership.groups.get(group)?.state;
    return filter !== undefined && filter.sources.has(source) === (filter.mode === 'include');
  }

  /** True when the interface is in `group` at all: IGMP itself is not subject to source filtering (RFC 3376 3.2). */
  isMember(interfaceIndex: number, group: number): boolean {
    const membership = this.#memberships.get(interfaceIndex);
    if (membership === undefined) return false;
    return group === ALL_SYSTEMS.w3 || (membership.groups.get(group)?.sockets.size ?? 0) > 0;
  }

  /** The groups of an interface, for status pages. */
  groups(interfaceIndex: number): { group: Address; mode: FilterMode; sources: Address[] }[] {
    const membership = this.#memberships.get(interfaceIndex);
    return [...(membership?.groups.values() ?? [])].map((g) => ({
      group: g.address,
      mode: g.state.mode,
      sources: [...g.state.sources].map(v4),
    }));
  }

  /** The protocol version spoken on an interface (RFC 3376 7.2.1). */
  version(interfaceIndex: number): 1 | 2 | 3 {
    return this.#memberships.get(interfaceIndex)?.version ?? 3;
  }

  /** Nobody answers IGMP: errors about it say nothing. */
  error(_error: IpError): void {}

  input(packet: Packet): Verdict {
    const { view, at, end } = packet;
    this.counters.igmpInMsgs++;
    const wrong = checkIgmp(view, at, end);
    if (wrong !== undefined) {
      this.counters.igmpInErrors++;
      return wrong;
    }
    const membership = this.#memberships.get(packet.interfaceIndex);
    if (membership === undefined || membership.netif.loopback) return 'not for us';
    switch (igmpType(view, at)) {
      case MEMBERSHIP_QUERY:
        this.counters.igmpInQueries++;
        return this.#query(membership, packet);
      case V1_MEMBERSHIP_REPORT:
      case V2_MEMBERSHIP_REPORT:
        this.counters.igmpInReports++;
        this.#heard(membership, groupAddress(view, at));
        return undefined;
      case V3_MEMBERSHIP_REPORT:
      case V2_LEAVE_GROUP:
        this.counters.igmpInReports++;
        return undefined; // for routers
      default:
        return 'unknown protocol'; // RFC 3376 4: unrecognized types MUST be silently ignored
    }
  }

  /** RFC 2236 3: another host of an older version reported the group first, so we need not. Version 3 does not suppress. */
  #heard(membership: Membership, address: number): void {
    if (membership.version === 3) return;
    const group = membership.groups.get(address);
    if (group === undefined) return;
    this.#needs.timers.set(group.response, NEVER);
    group.lastReporter = false;
  }

  #query(membership: Membership, packet: Packet): Verdict {
    const { view, at, end } = packet;
    const address = groupAddress(view, at);
    if ((address !== 0 && address >>> 28 !== 0xe) || !this.#mayAsk(packet, address)) {
      this.counters.igmpInErrors++;
      return 'bad destination';
    }
    const code = maxRespCode(view, at);
    if (end - at === IGMP_HEADER_LENGTH) {
      this.#oldQuerier(membership, code === 0 ? 1 : 2, address);
      // RFC 3376 7.2.1: version 1's 0 means 10 seconds; version 2 counts linearly.
      const most = code === 0 ? QUERY_RESPONSE_INTERVAL : code * TENTH;
      this.#schedule(membership, address, undefined, most);
      return undefined;
    }
    // In the mode of an older version its own messages are used, but queries are answered all the same.
    if (qrv(view, at) !== 0) membership.robustness = qrv(view, at); // 4.1.6
    if (qqic(view, at) !== 0) membership.queryInterval = decodeCode(qqic(view, at)) * SECOND;
    this.#schedule(membership, address, packet, Math.max(1, decodeCode(code)) * TENTH);
    return undefined;
  }

  /** RFC 3376 9.1: what somebody beyond a router could have forged is ignored. `group` is 0 for a General Query. */
  #mayAsk(packet: Packet, group: number): boolean {
    if (packet.groupDestination) return group !== 0 || packet.d3 === ALL_SYSTEMS.w3;
    // Router Alert keeps routers from passing the query on. Deviates: the SHOULD is for all of versions 2 and 3. It is asked
    // for where they would pass it on, to a host, because switches that query (IGMP snooping) often leave it out.
    return scanOptions(packet.view, packet.network, this.#scan).routerAlert;
  }

  /** RFC 3376 7.2.1: notes an older querier, for Robustness × Query Interval + one Query Response Interval (8.12). */
  #oldQuerier(membership: Membership, version: 1 | 2, group: number): void {
    const now = this.#needs.now;
    // Bounded: one forged query may claim an interval of hours, and old versions cannot filter sources.
    const span = Math.min(membership.robustness * membership.queryInterval, MOST_OLDER_QUERIER);
    const until = now + span + QUERY_RESPONSE_INTERVAL;
    if (version === 1) membership.v1Until = until;
    else if (group === 0) membership.v2Until = until;
    this.#settleVersion(membership, now);
  }

  #settleVersion(membership: Membership, now: Micros): void {
    const version = membership.v1Until > now ? 1 : membership.v2Until > now ? 2 : 3;
    const next = version === 1 ? membership.v1Until : version === 2 ? membership.v2Until : NEVER;
    this.#needs.timers.set(membership.compatibility, next);
    if (version === membership.version) return;
    membership.version = version;
    // "cancels all its pending response and retransmission timers"
    this.#needs.timers.set(membership.general, NEVER);
    for (const group of membership.groups.values()) {
      this.#stopTimers(group);
      group.modeChanges = 0;
      group.sourceChanges.clear();
      group.queried.clear();
      if (group.sockets.size === 0) membership.groups.delete(group.address.w3);
    }
  }

  /** RFC 3376 5.2, its five rules in order. `withSources` is the version 3 query, whose sources are read in place. */
  #schedule(membership: Membership, address: number, withSources: Packet | undefined, most: Micros): void {
    const { timers, now } = this.#needs;
    if (membership.groups.size === 0) return; // "provided the system has state to report"
    const at = now + 1 + below(this.#needs.random, most);
    const { general } = membership;
    if (general.deadline !== NEVER && general.deadline <= at) return; // 1
    if (address === 0) {
      this.#scheduleGeneral(membership, at, most); // 2
      return;
    }
    const group = membership.groups.get(address);
    if (group === undefined) return;
    const pending = group.response.deadline !== NEVER;
    const count = withSources === undefined ? 0 : sourceCount(withSources.view, withSources.at);
    const whole = count === 0 || (pending && group.queried.size === 0); // 4
    if (whole) group.queried.clear();
    else if (withSources !== undefined) this.#record(group, withSources, count); // 3, 5
    timers.set(group.response, pending ? Math.min(group.response.deadline, at) : at);
  }

  #scheduleGeneral(membership: Membership, at: Micros, most: Micros): void {
    const { timers, now, random } = this.#needs;
    if (membership.version === 3) {
      timers.set(membership.general, at);
      return;
    }
    // RFC 2236 3: a timer for each group, unless it runs already with less than Max Response Time left.
    for (const group of membership.groups.values()) {
      if (group.response.deadline <= now + most) continue;
      timers.set(group.response, now + 1 + below(random, most));
    }
  }

  #record(group: Group, packet: Packet, count: number): void {
    for (let i = 0; i < count; i++) {
      group.queried.add(querySource(packet.view, packet.at, i));
      if (group.queried.size > MAX_QUERIED) {
        group.queried.clear(); // empty means: tell all
        return;
      }
    }
  }

  #answerGeneral(membership: Membership): void {
    this.#send(membership, [...membership.groups.values()].map(currentRecord));
  }

  /** A group's response timer: RFC 3376 5.2, cases 2 and 3 of what is sent. */
  #answerGroup(membership: Membership, group: Group): void {
    if (membership.version !== 3) {
      this.#sendOld(membership, group, false);
      return;
    }
    const record = group.queried.size === 0 ? currentRecord(group) : queriedRecord(group);
    group.queried.clear();
    if (record !== undefined) this.#send(membership, [record]);
  }

  #startGroup(membership: Membership, address: Address): Group {
    const group: Group = newGroup(
      address,
      () => this.#answerGroup(membership, group),
      () => this.#tellChange(membership, group),
    );
    membership.groups.set(address.w3, group);
    return group;
  }

  /** Merges what the sockets want and, when that changed, tells the routers (RFC 3376 5.1). */
  #changed(membership: Membership, group: Group): void {
    const before: Filter = group.state;
    const hadState = before.mode === 'exclude' || before.sources.size > 0;
    group.state = merge(group.sockets.values());
    const hasState = group.sockets.size > 0;
    if (hasState && !hadState) this.#needs.groupJoined?.(membership.netif, group.address);
    if (!hasState && hadState) this.#needs.groupLeft?.(membership.netif, group.address);
    // 224.0.0.1 is never reported (RFC 3376 5), nor is anything to ourselves.
    const silent = group.address.w3 === ALL_SYSTEMS.w3 || membership.netif.loopback;
    if (silent) {
      if (!hasState) this.#forget(membership, group);
      return;
    }
    if (!addChange(group, before, membership.robustness)) return;
    if (membership.version !== 3) {
      if (hasState !== hadState) this.#changedOld(membership, group, hasState);
      return;
    }
    this.#tellChange(membership, group);
  }

  /** RFC 2236 3 for a group that was just joined or left. */
  #changedOld(membership: Membership, group: Group, joined: boolean): void {
    group.modeChanges = 0;
    group.sourceChanges.clear();
    if (joined) {
      this.#sendOld(membership, group, false);
      // Repeated once or twice "after short delays [Unsolicited Report Interval]".
      const delay = 1 + below(this.#needs.random, V2_UNSOLICITED_INTERVAL);
      this.#needs.timers.set(group.response, this.#needs.now + delay);
      return;
    }
    // Version 1 has no Leave; in version 2 who reported last says it.
    if (membership.version === 2 && group.lastReporter) this.#sendOld(membership, group, true);
    this.#forget(membership, group);
  }

  /** Sends the State-Change Report that is due and plans the next, [Robustness Variable] in all. */
  #tellChange(membership: Membership, group: Group): void {
    if (membership.version !== 3) return;
    const records = changeRecords(group);
    if (records.length > 0) this.#send(membership, records);
    if (group.modeChanges > 0 || group.sourceChanges.size > 0) {
      const delay = 1 + below(this.#needs.random, UNSOLICITED_INTERVAL);
      this.#needs.timers.set(group.change, this.#needs.now + delay);
    } else if (group.sockets.size === 0) {
      this.#forget(membership, group);
    }
  }

  #forget(membership: Membership, group: Group): void {
    this.#stopTimers(group);
    membership.groups.delete(group.address.w3);
  }

  #stopTimers(group: Group): void {
    this.#needs.timers.remove(group.response);
    this.#needs.timers.remove(group.change);
  }

  #send(membership: Membership, records: readonly (GroupRecord | undefined)[]): void {
    const { netif } = membership;
    // RFC 3376 4.2.13: 0.0.0.0 while the interface has no address yet.
    const source = this.#output.addressOf(netif) ?? ANY_V4;
    const path = this.#output.linkPath(netif, IGMPV3_ROUTERS, source);
    this.counters.igmpOutReports += sendReports(this.#output, path, records, TOS);
  }

  /** A report or leave of version 1 or 2: reports go to the group itself (RFC 2236 9). */
  #sendOld(membership: Membership, group: Group, leave: boolean): void {
    const { netif } = membership;
    if (!netif.up || !netif.hasRoom()) return;
    const source = this.#output.addressOf(netif) ?? ANY_V4;
    const path = this.#output.linkPath(netif, leave ? ALL_ROUTERS : group.address, source);
    const frame = netif.frame();
    const type = leave
      ? V2_LEAVE_GROUP
      : membership.version === 1
        ? V1_MEMBERSHIP_REPORT
        : V2_MEMBERSHIP_REPORT;
    writeIgmp(frame.view, frame.put(IGMP_HEADER_LENGTH), type, 0, group.address.w3);
    this.#output.sendRouterAlert(path, PROTOCOL_IGMP, frame, 1, TOS);
    this.counters.igmpOutReports++;
    group.lastReporter = !leave;
  }
}
