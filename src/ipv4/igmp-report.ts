// Packs group records into IGMPv3 reports that fit the link. RFC 3376 4.2, 4.2.16.

import { PROTOCOL_IGMP } from '../base/ip.ts';
import type { Frame } from '../base/packet.ts';
import { HEADER_LENGTH } from './header.ts';
import type { GroupRecord } from './igmp-group.ts';
import {
  CHANGE_TO_EXCLUDE_MODE,
  IGMP_HEADER_LENGTH,
  MODE_IS_EXCLUDE,
  RECORD_HEADER_LENGTH,
  sealIgmp,
  writeRecord,
  writeReport,
} from './igmp-header.ts';
import { ROUTER_ALERT_LENGTH } from './options.ts';
import type { Ipv4Output } from './output.ts';
import type { Ipv4Path } from './path.ts';

/** A report under construction. */
interface Report {
  frame: Frame;
  at: number;
  records: number;
}

/** Sends `records` in as few reports as fit, while the interface has room; returns how many went. Lost ones are repeated. */
export function sendReports(
  output: Ipv4Output,
  path: Ipv4Path,
  records: readonly (GroupRecord | undefined)[],
  tos: number,
): number {
  const netif = path.interface;
  const most = netif.mtu - HEADER_LENGTH - ROUTER_ALERT_LENGTH;
  let sent = 0;
  let report: Report | undefined;
  const finish = () => {
    if (report === undefined) return;
    const { frame, at } = report;
    writeReport(frame.view, at, report.records);
    sealIgmp(frame.view, at, frame.tail);
    output.sendRouterAlert(path, PROTOCOL_IGMP, frame, 1, tos);
    report = undefined;
    sent++;
  };
  for (const record of records) {
    if (record === undefined) continue;
    let from = 0;
    do {
      if (report !== undefined && spaceIn(report, most) < neededFor(record, from)) finish();
      if (report === undefined) {
        if (!netif.up || !netif.hasRoom()) return sent;
        const frame = netif.frame();
        report = { frame, at: frame.put(IGMP_HEADER_LENGTH), records: 0 };
      }
      const space = spaceIn(report, most);
      if (space < RECORD_HEADER_LENGTH + 4) return sent; // no link is that narrow (RFC 791 3.2)
      from += addRecord(report, record, from, space);
      // 4.2.16: a list that is too long is spread over several records, but what EXCLUDE lists cannot hold is left out.
      if (record.type === MODE_IS_EXCLUDE || record.type === CHANGE_TO_EXCLUDE_MODE) break;
    } while (from < record.sources.length);
  }
  finish();
  return sent;
}

function spaceIn({ frame, at }: Report, most: number): number {
  return Math.min(most - (frame.tail - at), frame.room);
}

/** A record goes where all of it fits; only one that no report could hold whole begins in an empty one. */
function neededFor(record: GroupRecord, from: number): number {
  return RECORD_HEADER_LENGTH + 4 * (record.sources.length - from);
}

/** Appends `record` with its sources from `from` on, as many as fit; returns how many. */
function addRecord(report: Report, record: GroupRecord, from: number, space: number): number {
  const { frame } = report;
  const fit = (space - RECORD_HEADER_LENGTH) >> 2;
  const count = Math.min(fit, record.sources.length - from);
  const at = frame.put(RECORD_HEADER_LENGTH + 4 * count);
  writeRecord(frame.view, at, record.type, count, record.group);
  for (let i = 0; i < count; i++) {
    frame.view.setInt32(at + RECORD_HEADER_LENGTH + 4 * i, record.sources[from + i]!);
  }
  report.records++;
  return count;
}
