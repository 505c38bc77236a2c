// Whether the packet that the stack sent is the one that the script expects; if not, in which field.

import { MILLISECOND, type Micros } from '../base/time.ts';
import * as tcp from '../tcp/header.ts';
import * as seq from '../tcp/seq.ts';
import { flagText } from './flags.ts';
import type { Flow } from './flow.ts';
import { icmpNumbers } from './icmp-names.ts';
import type { Sameness } from './profile.ts';
import { type IpSpec, type PacketSpec, type TcpOptionSpec, type TcpSpec, Unsupported } from './script.ts';
import { optionsText } from './show.ts';
import type { WireOption, WirePacket, WireTcp } from './wire.ts';

/** A field that differs, with both its values as the script would write them. */
export interface Difference {
  readonly field: string;
  readonly expected: string;
  readonly sent: string;
}

export interface CompareOptions {
  readonly same: Sameness;
  /** Length of a timestamp tick in the script, in microseconds; 0: timestamps of ours are not compared. */
  readonly tick: Micros;
  readonly tolerance: Micros;
}

/** Ours counts milliseconds (RFC 7323 5.4). */
const OUR_TICK = MILLISECOND;

/** The first difference, or undefined. Learns from a SYN of ours how the script numbers the connection. */
export function compare(
  expected: PacketSpec,
  sent: WirePacket,
  flow: Flow,
  options: CompareOptions,
): Difference | undefined {
  if (expected.protocol !== sent.protocol) return differ('protocol', expected.protocol, sent.protocol);
  const ip = compareIp(expected.ip, sent);
  if (ip !== undefined) return ip;
  if (expected.protocol === 'tcp' && sent.protocol === 'tcp')
    return compareTcp(expected, sent, flow, options);
  if (expected.protocol === 'udp' && sent.protocol === 'udp') {
    return expected.length === sent.length ? undefined : differ('length', expected.length, sent.length);
  }
  if (expected.protocol === 'icmp' && sent.protocol === 'icmp') {
    const { type, code } = icmpNumbers(expected.type, expected.code);
    if (type !== sent.type) return differ('type', type, sent.type);
    if (code !== sent.code) return differ('code', code, sent.code);
    if (expected.mtu !== undefined && expected.mtu !== sent.mtu) return differ('mtu', expected.mtu, sent.mtu);
  }
  return undefined;
}

function differ(field: string, expected: string | number, sent: string | number): Difference {
  return { field, expected: String(expected), sent: String(sent) };
}

const ECN: Readonly<Record<string, readonly number[]>> = {
  noecn: [0],
  ect1: [1],
  ect0: [2],
  ce: [3],
  ect01: [1, 2],
};

function compareIp(expected: IpSpec, sent: WirePacket): Difference | undefined {
  const { ecn, trafficClass, ttl, flowLabel } = expected;
  if (flowLabel !== undefined) throw new Unsupported('IPv6');
  if (ecn !== undefined && !ECN[ecn]!.includes(sent.trafficClass & 3)) {
    return differ('ecn', ecn, ['noecn', 'ect1', 'ect0', 'ce'][sent.trafficClass & 3]!);
  }
  if (trafficClass !== undefined && trafficClass !== sent.trafficClass) {
    return differ('tos', trafficClass, sent.trafficClass);
  }
  return ttl === undefined || ttl === sent.ttl ? undefined : differ('ttl', ttl, sent.ttl);
}

function compareTcp(
  expected: TcpSpec,
  sent: WireTcp,
  flow: Flow,
  options: CompareOptions,
): Difference | undefined {
  if (sent.sourcePort !== flow.localPort) return differ('source port', flow.localPort, sent.sourcePort);
  if (sent.destinationPort !== flow.remotePort) {
    return differ('destination port', flow.remotePort, sent.destinationPort);
  }
  const isSyn = (sent.flags & expected.flags & tcp.SYN) !== 0;
  if (isSyn && !expected.absoluteSeq) flow.begin(expected.seq === 'any' ? 0 : expected.seq, sent.seq);
  return (
    compareFlags(expected, sent, options.same) ??
    compareNumbers(expected, sent, flow) ??
    compareOptions(expected, sent, flow, options) ??
    (isSyn ? noteScales(expected, sent, flow) : undefined) ??
    compareWindow(expected, sent, flow, options.same)
  );
}

function compareFlags(expected: TcpSpec, sent: WireTcp, same: Sameness): Difference | undefined {
  const mask = same.push ? 0x1ff : 0x1ff & ~tcp.PSH;
  if ((expected.flags & mask) === (sent.flags & mask)) return undefined;
  return differ('flags', flagText(expected.flags), flagText(sent.flags));
}

function compareNumbers(expected: TcpSpec, sent: WireTcp, flow: Flow): Difference | undefined {
  if (expected.seq !== 'any') {
    const wire = expected.absoluteSeq ? expected.seq : flow.toWire(expected.seq);
    if (wire !== sent.seq) return differ('seq', expected.seq, flow.toScript(sent.seq));
  }
  if (expected.length !== sent.length) return differ('length', expected.length, sent.length);
  const { ack } = expected;
  if (ack !== undefined && ack !== 'any' && ack !== sent.ack) return differ('ack', ack, sent.ack);
  const { urgent } = expected;
  if (urgent !== undefined && urgent !== sent.urgent) return differ('urg', urgent, sent.urgent);
  return undefined;
}

// ---- options

function isPadding(o: { readonly kind: string }): boolean {
  return o.kind === 'nop' || o.kind === 'eol';
}

function compareOptions(
  expected: TcpSpec,
  sent: WireTcp,
  flow: Flow,
  options: CompareOptions,
): Difference | undefined {
  if (expected.options === 'any') {
    noteTimestamps(expected, sent, flow);
    return undefined;
  }
  const { same } = options;
  const wanted = same.optionOrder ? [...expected.options] : expected.options.filter((o) => !isPadding(o));
  const found = same.optionOrder ? [...sent.options] : sent.options.filter((o) => !isPadding(o));
  const whole = (): Difference => ({
    field: 'options',
    expected: optionsText(expected.options as readonly TcpOptionSpec[]) || 'none',
    sent: optionsText(sent.options, flow) || 'none',
  });
  if (wanted.length !== found.length) return whole();
  for (const [i, want] of wanted.entries()) {
    const have = same.optionOrder ? found[i] : found.find((o) => o.kind === want.kind);
    if (have === undefined || have.kind !== want.kind) return whole();
    const difference = compareOption(want, have, flow, options);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function compareOption(
  want: TcpOptionSpec,
  have: WireOption,
  flow: Flow,
  options: CompareOptions,
): Difference | undefined {
  if (want.kind === 'mss' && have.kind === 'mss') {
    return want.value === 'any' || want.value === have.value
      ? undefined
      : differ('mss', want.value, have.value);
  }
  if (want.kind === 'wscale' && have.kind === 'wscale') {
    const free = want.value === 'any' || !options.same.windowScale;
    return free || want.value === have.value ? undefined : differ('wscale', want.value, have.value);
  }
  if (want.kind === 'sack' && have.kind === 'sack') {
    const text = (blocks: readonly (readonly [number, number])[]) =>
      blocks.map(([l, r]) => `${l}:${r}`).join(' ');
    const a = text(want.blocks);
    const b = text(have.blocks);
    return a === b ? undefined : differ('sack', a, b);
  }
  if (want.kind === 'ts' && have.kind === 'ts') return compareTimestamps(want, have, flow, options);
  if (want.kind === 'fo' && have.kind === 'fo') {
    if (!/^[0-9a-fA-F]*$/.test(want.cookie)) throw new Unsupported(`the cookie ${want.cookie}`);
    const same = want.cookie.toLowerCase() === have.cookie;
    return same ? undefined : differ('FO', want.cookie, have.cookie);
  }
  if (want.kind === 'unknown') throw new Unsupported(`the TCP option ${want.text}`);
  return undefined;
}

function compareTimestamps(
  want: TcpOptionSpec & { kind: 'ts' },
  have: WireOption & { kind: 'ts' },
  flow: Flow,
  { tick, tolerance }: CompareOptions,
): Difference | undefined {
  if (want.val !== 'any') {
    const first = flow.timestamp;
    if (first !== undefined && tick > 0) {
      const passed = seq.sub(have.val, first.wire) * OUR_TICK;
      const meant = seq.sub(want.val, first.script) * tick;
      if (Math.abs(passed - meant) > Math.max(tolerance, tick, OUR_TICK)) {
        return differ('TS val', want.val, seq.add(first.script, Math.round(passed / tick)));
      }
    }
    flow.noteTimestamp(want.val, have.val);
  }
  return want.ecr === 'any' || want.ecr === have.ecr ? undefined : differ('TS ecr', want.ecr, have.ecr);
}

/** `<...>`: whatever it is, the peer may echo it later. */
function noteTimestamps(_expected: TcpSpec, sent: WireTcp, flow: Flow): void {
  const ts = sent.options.find((o) => o.kind === 'ts');
  if (ts?.kind === 'ts' && flow.timestamp === undefined) flow.noteTimestamp(ts.val, ts.val);
}

// ---- the window

function noteScales(expected: TcpSpec, sent: WireTcp, flow: Flow): undefined {
  const ours = sent.options.find((o) => o.kind === 'wscale');
  flow.scale = ours?.kind === 'wscale' ? ours.value : 0;
  const theirs = expected.options === 'any' ? undefined : expected.options.find((o) => o.kind === 'wscale');
  flow.expectedScale = theirs?.kind === 'wscale' && theirs.value !== 'any' ? theirs.value : flow.scale;
  return undefined;
}

function compareWindow(expected: TcpSpec, sent: WireTcp, flow: Flow, same: Sameness): Difference | undefined {
  const { window } = expected;
  if (window === 'any' || window === sent.window) return undefined;
  const difference = differ('win', window, sent.window);
  if (same.window || window === 0 || sent.window === 0) return difference;
  const isSyn = (sent.flags & tcp.SYN) !== 0;
  const scaled = flow.scales && !isSyn;
  const wanted = scaled ? window * 2 ** flow.expectedScale : window;
  const have = scaled ? sent.window * 2 ** flow.scale : sent.window;
  // MUST-39, 3.8.6.2.2: the right edge moves by steps of a segment, or of half the buffer; until then it stands.
  const step = scaled ? Math.max(SWS_STEP, 2 ** flow.expectedScale, 2 ** flow.scale) : SWS_STEP;
  return have <= wanted && wanted - have < step ? undefined : difference;
}

/** A full segment on Ethernet. */
const SWS_STEP = 1460;
