// Plays a capture to a stack and keeps what it answers, beside what it was asked and why it answered so.
//
//   node examples/replay.mjs tapstack.pcapng                 a capture of ours says who we were
//   node examples/replay.mjs other.pcap 10.7.0.2/24 02:00:00:00:00:02
//
// Needs no rights. (A TCP conversation will not get past its handshake: the stack's sequence numbers are new ones.)

import { readFile } from 'node:fs/promises';
import { createHost, openCapture, parseMac, replay } from 'tapstack';

const [file, address, link] = process.argv.slice(2);
const { records, error } = openCapture(await readFile(file ?? 'tapstack.pcapng'));
if (error !== undefined) console.error(error.message);

const recorded = records.find((record) => record.kind === 'interface');
const ipv4 = address ?? `${recorded?.ipv4[0]?.address ?? '10.7.0.2'}/24`;
const mac = link === undefined ? recorded?.mac : parseMac(link);

const frames = records
  .filter((record) => record.kind === 'packet' && record.linkType === 1 && record.direction !== 'out')
  .map(({ seconds, nanos, bytes }) => ({ at: seconds * 1e6 + Math.floor(nanos / 1000), bytes }));

const device = replay({ frames, ...(mac === undefined ? {} : { mac }) });
const host = await createHost({ device, ipv4, capture: 'replay.pcapng' });
while (!device.done) await new Promise((resolve) => setTimeout(resolve, 10));
await host.close();

console.log(
  `${frames.length} frames played to ${ipv4}, ${device.transmitted.length} sent; all are in replay.pcapng`,
);
for (const [reason, count] of Object.entries(host.stack.drops)) console.log(`dropped, ${reason}: ${count}`);
