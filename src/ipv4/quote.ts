// What an ICMP error quotes of the packet it is about (RFC 792; RFC 1812 4.3.2.3).

import { v4 } from '../base/address.ts';
import { finish, pseudoHeaderSum, sum } from '../base/checksum.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../base/ip.ts';
import type { Frame, Packet } from '../base/packet.ts';
import { headerLength, isFragment, totalLength } from './header.ts';

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * Appends the first `length` bytes of the datagram in `packet`. A packet whose checksum need not be checked may not have one,
 * because the kernel left it to hardware: what is quoted is the packet as a wire would have had it.
 */
export function quote(frame: Frame, packet: Packet, length: number): void {
  const at = frame.tail;
  const { view, network, bytes, protocol } = packet;
  frame.copyIn(bytes, network, length);
  if (!packet.checksumTrusted || packet.gsoSize !== 0 || isFragment(view, network)) return;
  const offset = protocol === PROTOCOL_TCP ? TCP_CHECKSUM : protocol === PROTOCOL_UDP ? UDP_CHECKSUM : -1;
  const start = network + headerLength(view, network);
  const end = network + totalLength(view, network);
  const field = start + offset;
  const inQuote = at + (field - network);
  if (offset < 0 || inQuote + 2 > frame.tail || field + 2 > end || end > bytes.length) return;
  const old = view.getUint16(field);
  // UDP without a checksum (RFC 768) stays without.
  if (old === 0 && protocol === PROTOCOL_UDP) return;
  const pseudo = pseudoHeaderSum(v4(packet.s3), v4(packet.d3), protocol, end - start);
  // Summed as it lies, the field's own value is in it: its complement takes it out.
  const total = sum(view, start, end, pseudo) + (~old & 0xffff);
  const checksum = finish(total);
  // RFC 768: what comes out as zero is sent as all ones.
  frame.view.setUint16(inQuote, checksum === 0 && protocol === PROTOCOL_UDP ? 0xffff : checksum);
}
