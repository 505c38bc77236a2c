import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { dissect, findFields } from '../../src/inspect/dissect.ts';
import type { Field, FieldValue } from '../../src/inspect/field.ts';
import { SequenceBook } from '../../src/inspect/print.ts';
import { openCapture } from '../../src/pcap/open.ts';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import {
  captureFiles,
  concat,
  inFolder,
  read,
  run,
  withoutCaptures,
  withoutWireshark,
} from '../pcap/files.ts';
import { FRAMES } from './frames.ts';

/** Fields that must agree, all occurrences, in order. */
const FIELDS = `
eth.dst eth.src eth.type
arp.hw.type arp.proto.type arp.hw.size arp.proto.size arp.opcode
arp.src.hw_mac arp.src.proto_ipv4 arp.dst.hw_mac arp.dst.proto_ipv4
ip.version ip.hdr_len ip.dsfield ip.dsfield.dscp ip.dsfield.ecn ip.len ip.id ip.flags ip.flags.rb ip.flags.df ip.flags.mf
ip.frag_offset ip.ttl ip.proto ip.checksum ip.checksum.status ip.src ip.dst ip.opt.type ip.opt.len
ipv6.version ipv6.tclass ipv6.flow ipv6.plen ipv6.nxt ipv6.hlim ipv6.src ipv6.dst
ipv6.fraghdr.nxt ipv6.fraghdr.offset ipv6.fraghdr.more ipv6.fraghdr.ident ipv6.hopopts.nxt
icmp.type icmp.code icmp.checksum icmp.checksum.status icmp.ident icmp.seq
icmpv6.type icmpv6.code icmpv6.checksum icmpv6.checksum.status icmpv6.nd.ns.target_address icmpv6.nd.na.target_address
icmpv6.nd.na.flag.r icmpv6.nd.na.flag.s icmpv6.nd.na.flag.o icmpv6.opt.type icmpv6.opt.length icmpv6.opt.linkaddr
icmpv6.mldr.nb_mcast_records icmpv6.mldr.mar.record_type icmpv6.mldr.mar.multicast_address
udp.srcport udp.dstport udp.length udp.checksum udp.checksum.status
tcp.srcport tcp.dstport tcp.len tcp.seq tcp.ack tcp.seq_raw tcp.ack_raw tcp.hdr_len tcp.flags tcp.flags.res tcp.flags.cwr
tcp.flags.urg tcp.flags.ack tcp.flags.push tcp.flags.reset tcp.flags.syn tcp.flags.fin tcp.window_size_value
tcp.checksum tcp.checksum.status tcp.urgent_pointer tcp.options tcp.option_kind tcp.option_len tcp.options.mss_val
tcp.options.wscale.shift tcp.options.wscale.multiplier tcp.options.sack_le tcp.options.sack_re
tcp.options.timestamp.tsval tcp.options.timestamp.tsecr
dhcp.type dhcp.hw.len dhcp.hops dhcp.id dhcp.secs dhcp.flags dhcp.flags.bc dhcp.ip.client dhcp.ip.your dhcp.ip.server
dhcp.ip.relay dhcp.option.type dhcp.option.length dhcp.option.dhcp dhcp.option.subnet_mask dhcp.option.router
dhcp.option.domain_name_server dhcp.option.requested_ip_address dhcp.option.dhcp_server_id
dhcp.option.ip_address_lease_time dhcp.option.renewal_time_value dhcp.option.rebinding_time_value
dhcp.option.hostname dhcp.option.request_list_item
dhcpv6.msgtype dhcpv6.xid dhcpv6.option.type dhcpv6.option.length dhcpv6.iaid dhcpv6.iaid.t1 dhcpv6.iaid.t2
dhcpv6.iaaddr.ip dhcpv6.iaaddr.pref_lifetime dhcpv6.iaaddr.valid_lifetime dhcpv6.requested_option_code
dns.id dns.flags dns.flags.response dns.flags.opcode dns.flags.authoritative dns.flags.truncated dns.flags.recdesired
dns.flags.recavail dns.flags.rcode dns.count.queries dns.count.answers dns.count.auth_rr dns.count.add_rr
dns.qry.name dns.qry.type dns.qry.class dns.resp.name dns.resp.type dns.resp.class dns.resp.ttl dns.resp.len dns.a dns.aaaa
dns.cname dns.ns dns.soa.mname dns.soa.rname dns.soa.serial_number dns.mx.preference dns.mx.mail_exchange
vlan.priority vlan.dei vlan.id vlan.etype llc.dsap llc.ssap
ip.opt.ptr ip.opt.ra ip.rec_rt
ipv6.dstopts.nxt ipv6.routing.nxt ipv6.routing.type ipv6.routing.segleft ipv6.opt.type
icmp.mtu icmp.redir_gw icmp.address_mask icmp.originate_timestamp
icmpv6.mtu icmpv6.echo.identifier icmpv6.echo.sequence_number icmpv6.nd.ra.cur_hop_limit icmpv6.nd.ra.flag.m
icmpv6.nd.ra.flag.o icmpv6.nd.ra.router_lifetime icmpv6.nd.ra.reachable_time icmpv6.nd.ra.retrans_timer
icmpv6.opt.src_linkaddr icmpv6.opt.target_linkaddr icmpv6.opt.mtu icmpv6.opt.prefix icmpv6.opt.prefix.length
icmpv6.opt.prefix.flag.l icmpv6.opt.prefix.flag.a icmpv6.opt.prefix.valid_lifetime
icmpv6.opt.prefix.preferred_lifetime icmpv6.opt.rdnss icmpv6.opt.rdnss.lifetime
icmpv6.nd.rd.target_address icmpv6.rd.na.destination_address icmpv6.mld.maximum_response_delay icmpv6.mld.multicast_address
icmpv6.mldr.mar.source_address
igmp.version igmp.type igmp.checksum igmp.checksum.status igmp.maddr igmp.num_grp_recs igmp.record_type igmp.num_src igmp.saddr
igmp.qrv igmp.s
dns.txt dns.srv.priority dns.srv.weight dns.srv.port dns.srv.target dns.rr.udp_payload_size
ntp.flags ntp.flags.li ntp.flags.vn ntp.flags.mode ntp.stratum
tcp.options.user_to_val tcp.options.tfo.cookie
tls.record.content_type tls.record.version tls.record.length
http.request.method http.request.uri http.request.version http.response.version http.response.code http.response.phrase
`
  .trim()
  .split(/\s+/);

/** Preferences: every frame by itself, and every checksum judged. */
const PREFERENCES = [
  'ip.defragment:FALSE',
  'ipv6.defragment:FALSE',
  'tcp.desegment_tcp_streams:FALSE',
  'tcp.analyze_sequence_numbers:TRUE',
  'ip.check_checksum:TRUE',
  'tcp.check_checksum:TRUE',
  'udp.check_checksum:TRUE',
].flatMap((preference) => ['-o', preference]);

/** A value in one spelling, ours or theirs. */
function spelling(value: FieldValue | string): string {
  if (value === undefined) return '';
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'boolean') return value ? '1' : '0';
  const text = String(value);
  if (text === 'True') return '1';
  if (text === 'False') return '0';
  if (/^0x[0-9a-f]+$/i.test(text)) return String(Number(text));
  return text;
}

const AGGREGATE = '|';

interface Frame {
  readonly bytes: Uint8Array;
  readonly originalLength: number;
}

/** Fields that tshark derives otherwise, with the reason; `true`: nothing to compare in this frame. */
function exempt(name: string, tree: Field, their: readonly string[]): boolean {
  // tshark gives IPv6 packets a hidden ip.version.
  if (name === 'ip.version') return findFields(tree, 'ipv6').length > 0;
  const has = (field: string) => findFields(tree, field).length > 0;
  // Told not to join TCP segments, it reads the middle of a message as if one began there.
  if (name.startsWith('dns.') && has('tcp') && !has('dns')) return true;
  // It leaves flags that only answers use out of queries.
  if (/^dns.flags.(authoritative|recavail|rcode)$/.test(name)) return their.length === 0;
  // It cuts the owner of an SRV record into service, protocol and name.
  if (name === 'dns.resp.name') return has('dns.srv.port');
  // It takes the last hop of a source route for the destination.
  if (name === 'ip.dst') return has('ip.src_rt');
  // It shows no sequence number of the 8 bytes that an error quotes.
  if (name === 'tcp.seq') return has('icmp') || has('icmpv6');
  return false;
}

/** What tshark and we say of the same frames, where it differs. */
function differences(file: string, frames: readonly Frame[], compared: Set<string>): string[] {
  const out = run('tshark', [
    ...['-r', file, '-2', ...PREFERENCES, '-T', 'fields', '-E', `aggregator=${AGGREGATE}`],
    ...FIELDS.flatMap((name) => ['-e', name]),
  ]);
  const lines = out.split('\n').slice(0, -1);
  expect(lines).toHaveLength(frames.length);
  const sequences = new SequenceBook();
  const found: string[] = [];
  for (const [i, { bytes, originalLength }] of frames.entries()) {
    const { tree } = dissect(bytes, { originalLength, sequences });
    const theirs = lines[i]!.split('\t');
    for (const [j, name] of FIELDS.entries()) {
      const their = theirs[j] === '' ? [] : theirs[j]!.split(AGGREGATE).map(spelling);
      // The end of DHCP options has, in tshark, the number 0.
      const our = findFields(tree, name)
        .map((field) => spelling(field.value))
        .map((text) => (name === 'dhcp.option.type' && text === '255' ? '0' : text));
      if (our.join() === their.join()) {
        if (their.length > 0) compared.add(name);
      } else if (!exempt(name, tree, their)) {
        found.push(`frame ${i + 1} ${name}: ours ${our}, tshark ${their}`);
      }
    }
  }
  return found;
}

describe.skipIf(withoutWireshark)('agreement with tshark, field by field', () => {
  const compared = new Set<string>();

  describe.skipIf(withoutCaptures)('in captures of real traffic', () => {
    const files = captureFiles('samples').map((file) => [file.split('/').at(-1)!, file] as const);
    test.each(files)('%s', (_name, file) => {
      const packets = openCapture(read(file)).records.filter((record) => record.kind === 'packet');
      expect(differences(file, packets, compared)).toEqual([]);
    });
  });

  test('in one frame of each kind', async () => {
    await inFolder((folder) => {
      const path = join(folder, 'frames.pcapng');
      const parts: Uint8Array[] = [];
      const writer = new PcapngWriter((bytes) => parts.push(bytes));
      const id = writer.addInterface();
      const frames = Object.values(FRAMES);
      for (const frame of frames) writer.packet(id, 1, 0, frame, 0, frame.length);
      writeFileSync(path, concat(parts));
      expect(
        differences(
          path,
          frames.map((bytes) => ({ bytes, originalLength: bytes.length })),
          compared,
        ),
      ).toEqual([]);
    });
  });

  test('so many fields were seen, and agreed', () => {
    const unseen = FIELDS.filter((name) => !compared.has(name));
    expect(unseen).toEqual([]);
    expect(compared.size).toBeGreaterThan(200);
  });
});
