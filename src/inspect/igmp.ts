// IGMP versions 1, 2 and 3 (RFC 1112, 2236, 3376).

import { readV4 } from '../base/address.ts';
import { type Dissection, type Dissector, UNVERIFIED } from './dissection.ts';
import { ipv4 as address, bits, dec, type Field, flag, type HeaderTable, hex } from './field.ts';

const TYPES: Record<number, string> = {
  17: 'Membership Query',
  18: 'Membership Report (v1)',
  22: 'Membership Report (v2)',
  23: 'Leave Group',
  34: 'Membership Report (v3)',
};

export const IGMP: HeaderTable = {
  name: 'igmp',
  label: 'Internet Group Management Protocol',
  size: 8,
  fields: [
    hex('igmp.type', 'Type', 0, 1, { meanings: TYPES }),
    dec('igmp.max_resp', 'Max Resp Time', 1, 1),
    hex('igmp.checksum', 'Checksum', 2, 2),
    address('igmp.maddr', 'Multicast Address', 4),
  ],
};

const QUERY_V3: HeaderTable = {
  ...IGMP,
  size: 12,
  fields: [
    ...IGMP.fields,
    flag('igmp.s', 'S', 8, 1, 3),
    bits('igmp.qrv', 'QRV', [8, 1, 0, 3]),
    dec('igmp.qqic', 'QQIC', 9, 1),
    dec('igmp.num_src', 'Num Src', 10, 2),
  ],
};

const REPORT_V3: HeaderTable = {
  ...IGMP,
  size: 8,
  fields: [
    hex('igmp.type', 'Type', 0, 1, { meanings: TYPES }),
    hex('igmp.reserved', 'Reserved', 1, 1),
    hex('igmp.checksum', 'Checksum', 2, 2),
    hex('igmp.reserved', 'Reserved', 4, 2),
    dec('igmp.num_grp_recs', 'Num Group Records', 6, 2),
  ],
};

const RECORD_TYPES: Record<number, string> = {
  1: 'Mode Is Include',
  2: 'Mode Is Exclude',
  3: 'Change To Include Mode',
  4: 'Change To Exclude Mode',
  5: 'Allow New Sources',
  6: 'Block Old Sources',
};

const RECORD: HeaderTable = {
  name: 'igmp.group_record',
  label: 'Group Record',
  size: 8,
  fields: [
    dec('igmp.record_type', 'Record Type', 0, 1, { meanings: RECORD_TYPES }),
    dec('igmp.aux_data_len', 'Aux Data Len', 1, 1),
    dec('igmp.num_src', 'Num Src', 2, 2),
    address('igmp.maddr', 'Multicast Address', 4),
  ],
};

export const igmp: Dissector = (d, into, at, end) => {
  d.say('IGMP', '');
  const type = end > at ? d.view.getUint8(at) : -1;
  // RFC 3376 7.1: a query of 12 octets or more is version 3.
  const query = type === 0x11 && end - at >= 12;
  const table = type === 0x22 ? REPORT_V3 : query ? QUERY_V3 : IGMP;
  const layer = d.header(into, table, at, end);
  if (layer === undefined) return;
  layer.length = end - at;
  const version =
    type === 0x22 || query ? 3 : type === 0x12 ? 1 : type === 0x11 && d.view.getUint8(at + 1) === 0 ? 1 : 2;
  d.add(layer, 'igmp.version', 'IGMP Version', version, String(version), at, 0);
  const whole = d.network?.whole === true && !d.quoted;
  d.judge(layer, 'igmp.checksum', at, end, -1, whole ? undefined : UNVERIFIED);
  const name = TYPES[type] ?? `Type 0x${type.toString(16)}`;
  layer.text = name;
  d.protocol = d.quoted ? d.protocol : `IGMPv${version}`;
  if (type === 0x22) records(d, layer, at, end);
  else {
    const group = readV4(d.view, at + 4);
    d.say(`IGMPv${version}`, group.isUnspecified ? `${name}, general` : `${name} group ${group}`);
    if (query) sources(d, layer, d.view.getUint16(at + 10), at + 12, end);
  }
};

function records(d: Dissection, layer: Field, at: number, end: number): void {
  const count = d.view.getUint16(at + 6);
  let info = 'Membership Report';
  let from = at + 8;
  for (let i = 0; i < count; i++) {
    const record = d.header(layer, RECORD, from, end);
    if (record === undefined) break;
    const group = readV4(d.view, from + 4).toString();
    record.text = `${group}  ${RECORD_TYPES[d.view.getUint8(from)] ?? ''}`;
    if (i < 4) info += ` / ${RECORD_TYPES[d.view.getUint8(from)] ?? 'Record'} ${group}`;
    const number = d.view.getUint16(from + 2);
    const auxiliary = d.view.getUint8(from + 1) * 4;
    if (!sources(d, record, number, from + 8, end)) break;
    from += 8 + number * 4 + auxiliary;
    record.length = Math.min(from, end) - record.offset;
  }
  d.say('IGMPv3', info);
}

function sources(d: Dissection, into: Field, count: number, from: number, end: number): boolean {
  for (let i = 0; i < count; i++) {
    const at = from + 4 * i;
    if (at + 4 > end) {
      d.malformed(into, `${count} source addresses`, at, end);
      return false;
    }
    const text = readV4(d.view, at).toString();
    d.add(into, 'igmp.saddr', 'Source Address', text, text, at, 4);
  }
  return true;
}
