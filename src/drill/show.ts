// Packets in the language of the scripts, for reports: what was sent, as the script would have written it.

import { flagText } from './flags.ts';
import type { Flow } from './flow.ts';
import type { TcpOptionSpec } from './script.ts';
import type { WireOption, WirePacket } from './wire.ts';

const ECN_TEXT = ['', '[ect1] ', '[ect0] ', '[ce] '];

/** A packet of the stack's as a script would expect it. */
export function packetText(p: WirePacket, flow: Flow | undefined): string {
  const ip = ECN_TEXT[p.trafficClass & 3];
  switch (p.protocol) {
    case 'tcp': {
      const seq = flow === undefined ? p.seq : flow.toScript(p.seq);
      const end = (seq + p.length) >>> 0;
      const ack = (p.flags & 0x10) === 0 ? '' : ` ack ${p.ack}`;
      const urgent = p.urgent === 0 ? '' : ` urg ${p.urgent}`;
      const options = p.options.length === 0 ? '' : ` <${optionsText(p.options, flow)}>`;
      return `> ${ip}${flagText(p.flags)} ${seq}:${end}(${p.length})${ack} win ${p.window}${urgent}${options}`;
    }
    case 'udp':
      return `> ${ip}udp (${p.length})`;
    case 'icmp':
      return `> ${ip}icmp type ${p.type} code ${p.code}${p.mtu === 0 ? '' : ` mtu ${p.mtu}`}`;
    default:
      return `> ${ip}IP protocol ${p.number}`;
  }
}

/** Options, of a script or of the wire; with a flow, timestamps are told as the script counts them. */
export function optionsText(options: readonly (WireOption | TcpOptionSpec)[], flow?: Flow): string {
  return options.map((o) => optionText(o, flow)).join(',');
}

function optionText(o: WireOption | TcpOptionSpec, flow: Flow | undefined): string {
  switch (o.kind) {
    case 'mss':
    case 'wscale':
      return `${o.kind} ${o.value}`;
    case 'sack':
      return `sack ${o.blocks.map(([l, r]) => `${l}:${r}`).join(' ')}`;
    case 'ts': {
      const val = flow === undefined || o.val === 'any' ? o.val : flow.timestampToScript(o.val);
      return `TS val ${val} ecr ${o.ecr}`;
    }
    case 'fo':
      return `${o.experimental ? 'FOEXP' : 'FO'} ${o.cookie}`.trim();
    case 'unknown':
      return o.text;
    default:
      return o.kind;
  }
}
