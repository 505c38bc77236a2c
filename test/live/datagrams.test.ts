// UDP, groups and broadcasts, against the kernel's sockets and tcpdump: every size, both ways, and who hears what.

import type { RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/node/host.ts';
import { describeLive, Namespace, outcomeOf, until } from './harness.ts';
import { Peer, peer } from './support/peers.ts';
import { OURS, TAP, THEIRS } from './support/program.ts';
import { complaints, fields, opinionOf } from './support/wireshark.ts';

const GROUP = '239.1.2.3';
const SOURCE_GROUP = '232.1.2.3';
const BROADCAST = '10.7.0.255';
/** Empty, odd, one fragment exactly, one byte more, the largest. */
const SIZES = [0, 1, 2, 17, 1471, 1472, 1473, 2952, 9000, 65_506, 65_507];

describeLive('datagrams', ['python3', 'tcpdump', 'tshark'], () => {
  let space: Namespace;
  let folder: string;
  let file: string;
  let host: Host;

  const open = async (offload: boolean) => {
    host = await createHost({
      tap: TAP,
      netns: space.name,
      ipv4: `${OURS}/24`,
      hostIp: `${THEIRS}/24`,
      capture: file,
      offload,
    });
  };

  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-datagrams-'));
    file = join(folder, 'host.pcapng');
  });
  afterEach(async () => {
    const mac = [...host.interface.mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    await host.close();
    space.remove();
    try {
      expect(complaints(opinionOf(file, mac))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  describe.each([true, false])('offload %s', (offload) => {
    beforeEach(() => open(offload));

    it('every size comes back from an echo of the kernel, and from one of ours', async () => {
      const server = peer(
        space,
        `const s = dgram.createSocket('udp4'); s.on('message', (m, { port, address }) => s.send(m, port, address));
         s.bind(7000, () => say('ready'));`,
      );
      await server.says('ready');
      const socket = host.dgram.createSocket('udp4');
      for (const size of SIZES) {
        const sent = Buffer.alloc(size, size);
        const answer = once(socket, 'message');
        socket.send(sent, 7000, THEIRS);
        const [message, from] = (await answer) as [Buffer, RemoteInfo];
        expect(message.equals(sent)).toBe(true);
        expect(from).toMatchObject({ address: THEIRS, port: 7000, size });
      }
      socket.close();

      const echo = host.dgram.createSocket('udp4');
      echo.on('message', (message, { port, address }) => echo.send(message, port, address));
      echo.bind(7000);
      await once(echo, 'listening');
      const client = peer(
        space,
        `const sizes = ${JSON.stringify(SIZES)}; const s = dgram.createSocket('udp4'); let at = 0;
         const next = () => {
           if (at === sizes.length) { say('all', at); s.close(); return; }
           s.send(Buffer.alloc(sizes[at], sizes[at]), 7000, '${OURS}');
         };
         s.on('message', (m) => { if (m.equals(Buffer.alloc(sizes[at], sizes[at]))) at++; else say('wrong', at); next(); });
         next();`,
      );
      expect(await client.says('all')).toBe(String(SIZES.length));
      echo.close();
    });

    it('a group: the report is seen (IGMPv3), datagrams come and go, leaving is reported', async () => {
      const reports = new Peer(
        space.spawn('tcpdump', ['-l', '-n', '-vv', '-i', TAP, 'igmp and ip src', OURS], {
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      );
      await once(reports.child.stderr!, 'data');
      const socket = host.dgram.createSocket('udp4');
      socket.bind(7001);
      await once(socket, 'listening');
      socket.addMembership(GROUP);
      const said = (pattern: RegExp) => () => reports.lines.some((line) => pattern.test(line));
      await until(said(/igmp v3 report.*239\.1\.2\.3 to_ex/), 'the report');
      socket.addSourceSpecificMembership(THEIRS, SOURCE_GROUP);
      await until(
        said(/igmp v3 report.*232\.1\.2\.3 (allow|to_in).*10\.7\.0\.1/),
        'the report with a source',
      );

      const kernel = peer(
        space,
        `const s = dgram.createSocket({ type: 'udp4', reuseAddr: true });
         s.on('message', (m, { address }) => say('heard', m.toString(), address));
         s.bind(7001, () => {
           s.addMembership('${GROUP}', '${THEIRS}'); s.setMulticastInterface('${THEIRS}');
           say('ready');
           s.send('to the group', 7001, '${GROUP}'); s.send('by source', 7001, '${SOURCE_GROUP}');
         });`,
      );
      const heard: string[] = [];
      socket.on('message', (message, { address }) => heard.push(`${message} ${address}`));
      await kernel.says('ready');
      await until(() => heard.length === 2, 'two datagrams');
      expect(heard.sort()).toEqual([`by source ${THEIRS}`, `to the group ${THEIRS}`]);
      socket.setMulticastLoopback(false);
      socket.setMulticastTTL(3);
      socket.send('from us', 7001, GROUP);
      expect(await kernel.says(`heard from us`)).toBe(OURS);

      socket.dropMembership(GROUP);
      await until(said(/igmp v3 report.*239\.1\.2\.3 to_in/), 'the farewell');
      socket.close();
      await until(said(/igmp v3 report.*232\.1\.2\.3 (block|to_in)/), 'the farewell with a source');
      reports.child.kill();
    });

    it('broadcasts go to and come from everybody on the link', async () => {
      const socket = host.dgram.createSocket('udp4');
      socket.bind(7002);
      await once(socket, 'listening');
      const kernel = peer(
        space,
        `const s = dgram.createSocket('udp4');
         s.on('message', (m, { address }) => { say('heard', m.toString(), address); });
         s.bind(7002, () => { s.setBroadcast(true); say('ready'); s.send('to all', 7002, '${BROADCAST}'); });`,
      );
      const [message, from] = (await once(socket, 'message')) as [Buffer, RemoteInfo];
      expect(`${message} ${from.address}`).toBe(`to all ${THEIRS}`);
      await kernel.says('ready');
      // RFC 1122: not without asking for it.
      const error = await new Promise<Error | null>((resolve) =>
        socket.send('forbidden', 7002, BROADCAST, (error) => resolve(error)),
      );
      expect(error).toMatchObject({ code: 'EACCES' });
      socket.setBroadcast(true);
      socket.send('subnet', 7002, BROADCAST);
      expect(await kernel.says('heard subnet')).toBe(OURS);
      socket.send('limited', 7002, '255.255.255.255');
      expect(await kernel.says('heard limited')).toBe(OURS);
      socket.close();
    });
  });

  it('a router asks (IGMPv3 general query): every group is reported again', async () => {
    await open(true);
    const socket = host.dgram.createSocket('udp4');
    socket.bind(7003);
    await once(socket, 'listening');
    socket.addMembership(GROUP);
    // Joining is reported twice (RFC 3376 5.1): what follows is an answer.
    await until(() => host.counters().igmp.igmpOutReports === 2, 'both reports');
    // A general query of IGMPv3 (RFC 3376 4.1) with the shortest response time, from a raw socket.
    const query = space.spawn('python3', ['-c', QUERY, TAP], { stdio: ['ignore', 'pipe', 'pipe'] });
    expect((await outcomeOf(query)).stderr).toBe('');
    await until(() => host.counters().igmp.igmpInQueries > 0, 'the query');
    await until(() => host.counters().igmp.igmpOutReports > 2, 'the answer');
    socket.close();
    await host.close();
    const reports = fields(file, `igmp.type == 0x22 && igmp.maddr == ${GROUP}`, 'igmp.record_type');
    expect(reports.flat()).toContain('2');
  });
});

/** Sends an IGMPv3 general query to all systems, maximum response time 1 s. */
const QUERY = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([0x94, 4, 0, 0]))
body = struct.pack('>BBHIBBH', 0x11, 10, 0, 0, 2, 125, 0)
total = sum(struct.unpack('>6H', body))
total = (total & 0xffff) + (total >> 16)
s.sendto(body[:2] + struct.pack('>H', ~total & 0xffff) + body[4:], ('224.0.0.1', 0))
`;
