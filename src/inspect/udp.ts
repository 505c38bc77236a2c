// UDP (RFC 768).

import { ABSENT, type Dissector, ILLEGAL, UNVERIFIED } from './dissection.ts';
import { dec, type HeaderTable, hex } from './field.ts';

export const UDP: HeaderTable = {
  name: 'udp',
  label: 'User Datagram Protocol',
  size: 8,
  fields: [
    dec('udp.srcport', 'Source Port', 0, 2),
    dec('udp.dstport', 'Destination Port', 2, 2),
    dec('udp.length', 'Length', 4, 2),
    hex('udp.checksum', 'Checksum', 6, 2),
  ],
};

export const udp: Dissector = (d, into, at, end) => {
  d.say('UDP', '');
  const layer = d.header(into, UDP, at, end);
  if (layer === undefined) return;
  const source = d.view.getUint16(at);
  const destination = d.view.getUint16(at + 2);
  d.sourcePort = source;
  d.destinationPort = destination;
  // A length of 0 is allowed in a jumbogram (RFC 2675 4), and in a super-frame: it then means "to the end".
  const length = d.view.getUint16(at + 4) || end - at;
  layer.text = `${source} → ${destination}`;
  d.say('UDP', `${source} → ${destination} Len=${Math.max(0, length - 8)}`);
  const whole = d.network?.whole === true && length >= 8 && at + length <= end;
  // RFC 768: 0 means that the sender computed none. RFC 8200 8.1: over IPv6 it must.
  const none = d.network?.family === 6 ? ILLEGAL : ABSENT;
  const verdict = d.view.getUint16(at + 6) === 0 ? none : whole ? undefined : UNVERIFIED;
  d.judge(layer, 'udp.checksum', at, at + length, 17, verdict);
  if (length < 8) {
    d.malformed(layer, `length ${length}`, at + 4, end);
    return;
  }
  if (at + length > end && d.network?.whole === true && !d.quoted) {
    d.malformed(layer, `length ${length}, ${end - at} bytes left`, at + 4, end);
  }
  const stop = Math.min(end, at + length);
  if (stop <= at + 8) return;
  // The well-known end of the conversation says what it is; the lower port first, as the likelier server.
  const ports = d.tables.udpPorts;
  const [low, high] = source < destination ? [source, destination] : [destination, source];
  d.enter(ports.get(low) ?? ports.get(high), into, at + 8, stop);
};
