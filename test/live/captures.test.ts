// Captures of every kind of conversation, judged by Wireshark: nothing malformed, no bad checksum, no warning about a frame of
// ours, nothing sent twice; and each frame as tcpdump saw it on the other side.

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost } from '../../src/node/host.ts';
import { readCapture } from '../../src/node/pcap-file.ts';
import { describeLive, Namespace, until } from './harness.ts';
import { fileServer, peer } from './support/peers.ts';
import { OURS, TAP, THEIRS, Up } from './support/program.ts';
import {
  capinfos,
  closedWindows,
  complaints,
  countOurs,
  countTheirs,
  fields,
  opinionOf,
} from './support/wireshark.ts';

/** Large enough for every window to open fully, small enough for Wireshark to be quick. */
const SIZE = 20_000_000;
/** What nobody does on a clean link. */
const SENT_TWICE = /retransmission|Out-Of-Order|Previous segment|ACKed segment that wasn't captured/i;
const LAST = 'This is the last datagram.';
/** Of a sender that is faster than its peer. */
const FULL = /window.*completely full/i;

describeLive('captures', ['ping', 'arping', 'curl', 'nc', 'tcpdump', 'tshark', 'capinfos'], () => {
  let space: Namespace;
  let folder: string;
  let file: string;

  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-captures-'));
    file = join(folder, 'ours.pcapng');
  });
  afterEach(() => {
    space.remove();
    rmSync(folder, { recursive: true });
  });

  describe.each([true, false])('offload %s', (offload) => {
    it('every kind of conversation with our program is clean', async () => {
      const up = await Up.start(space, { offload, capture: file });
      space.run('ping', '-q', '-c', '3', '-i', '0.01', OURS);
      space.run('ping', '-q', '-c', '2', '-i', '0.01', '-s', '5000', OURS);
      space.run('arping', '-c', '1', '-W', '0.01', '-i', TAP, OURS);
      space.run('curl', '-sS', `http://${OURS}/`, '-o', '/dev/null');
      space.run('curl', '-sS', `http://${OURS}/bytes/${SIZE}`, '-o', '/dev/null');
      space.run('sh', '-c', `head -c ${SIZE} /dev/zero | curl -sS -T - -X POST http://${OURS}/hash`);
      space.run('sh', '-c', `head -c 1000000 /dev/zero | nc -N -w 20 ${OURS} 7 > /dev/null`);
      space.run('sh', '-c', `head -c 1000000 /dev/zero | nc -N -w 20 ${OURS} 9`);
      expect(space.run('sh', '-c', `nc -w 20 ${OURS} 19 < /dev/null | head -c 1000000 | wc -c`).trim()).toBe(
        '1000000',
      );
      await space.exec('curl', '-sS', `http://${OURS}:81/`);
      const udp = peer(
        space,
        `const s = dgram.createSocket('udp4'); s.on('error', (e) => { say(e.code); s.close(); });
         s.on('message', (m) => { say('echo', m.length); if (m.length === 9) s.send('x'.repeat(8000), 7, '${OURS}');
                                  else s.connect(99, '${OURS}', () => s.send('anyone?')); });
         s.send('nine oct.', 7, '${OURS}');`,
      );
      await udp.says('ECONNREFUSED');
      const { rxFrames, txFrames } = await up.stop();

      const mac = String(up.all('up')[0]?.mac);
      const opinion = opinionOf(file, mac);
      // The refused connection is a reset; chargen's reader went away in the middle, and was sent one, too.
      expect(complaints(opinion, [FULL, /Connection reset/, /Zero Window/])).toEqual([]);
      expect(countOurs(opinion, SENT_TWICE)).toBe(0);
      // Answers to what the kernel sent twice are the only ones.
      const doubled = countTheirs(opinion, /retransmission/i);
      expect(countOurs(opinion, /Duplicate ACK/i)).toBeLessThanOrEqual(doubled);
      // A super-frame is many frames on the wire.
      if (offload) expect(opinion.frames).toBeGreaterThanOrEqual(rxFrames + txFrames);
      else expect(opinion.frames).toBe(rxFrames + txFrames);
      // A window is closed only when the reader is slow: never to those who fetch.
      const slow = fields(file, 'tcp.payload[0:4] == 50:4f:53:54 || tcp.dstport in {7, 9}', 'tcp.stream');
      const posts = new Set(slow.flat());
      expect(closedWindows(file, OURS).filter(({ stream }) => !posts.has(stream))).toEqual([]);
    });

    it('the file says whose frames these are, which way they went, and what the stack thought of them', async () => {
      const up = await Up.start(space, { offload, capture: file });
      space.run('curl', '-sS', `http://${OURS}/bytes/100000`, '-o', '/dev/null');
      space.run('ping', '-q', '-c', '1', OURS);
      await up.stop();
      const mac = String(up.all('up')[0]?.mac);

      const facts = capinfos(file);
      expect(facts.get('File type')).toContain('pcapng');
      expect(facts.get('File timestamp precision')).toContain('nanoseconds');
      expect(facts.get('Strict time order')).toBe('True');
      expect(facts.get('Capture application')).toContain('tapstack');
      expect(facts.get('Name')).toBe(TAP);
      expect(facts.get('Description')).toContain(mac);
      expect(facts.get('Encapsulation')).toContain('Ethernet');
      expect(facts.get('Number of stat entries')).toBe('1');

      // epb_flags of pcapng: 1 is inbound, 2 outbound; counted by the interface's name.
      const ways = fields(file, 'frame', 'eth.src', 'frame.packet_flags_direction', 'frame.interface_name');
      expect(ways.length).toBeGreaterThan(20);
      for (const [source, direction, name] of ways) {
        expect(Number(direction)).toBe(source === mac ? 2 : 1);
        expect(name).toBe(TAP);
      }
      const comments = fields(file, 'frame.comment', 'frame.comment').flat().join('\n');
      for (const step of [
        'SYN-RECEIVED → ESTABLISHED',
        'ESTABLISHED → CLOSE-WAIT',
        'CLOSE-WAIT → LAST-ACK',
        'LAST-ACK → CLOSED',
      ])
        expect(comments).toContain(`TCP ${step}`);
      if (offload) expect(comments).toMatch(/super-frame of \d+ segments/);

      const statistics = [];
      for await (const record of readCapture(file)) if (record.kind === 'statistics') statistics.push(record);
      expect(statistics).toHaveLength(1);
      expect(statistics[0]).toMatchObject({ dropped: 0 });
    });
  });

  it('without offload, every frame is the one that tcpdump saw at the other end', async () => {
    const theirs = join(folder, 'theirs.pcap');
    const host = await createHost({
      tap: TAP,
      netns: space.name,
      ipv4: `${OURS}/24`,
      hostIp: `${THEIRS}/24`,
      offload: false,
    });
    const server = http.createServer((_, response) =>
      response.end(Buffer.alloc(2_000_000, 'frame by frame ')),
    );
    await host.listen(server, 80);
    const tcpdump = space.spawn(
      'tcpdump',
      ['-i', TAP, '-U', '-B', '65536', '--immediate-mode', '-w', theirs, 'ip'],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    await once(tcpdump.stderr!, 'data');
    const capture = host.capture(file);
    const ping = await space.exec('ping', '-q', '-c', '3', '-i', '0.01', '-s', '3000', OURS);
    expect(ping.stdout).toContain('3 received');
    const curl = await space.exec('curl', '-sS', '-o', '/dev/null', `http://${OURS}/`);
    expect(curl.status).toBe(0);
    await until(() => host.connections().every(({ state }) => state !== 'LAST-ACK'), 'the last ACK');
    // A last datagram ends both files: what tcpdump has not read when it is told to stop is lost.
    const socket = host.dgram.createSocket('udp4');
    socket.bind(7009);
    await once(socket, 'listening');
    peer(space, `dgram.createSocket('udp4').send('${LAST}', 7009, '${OURS}', () => process.exit());`);
    await once(socket, 'message');
    await capture.stop();
    await until(() => readFileSync(theirs).includes(LAST), 'tcpdump to see the last datagram');
    tcpdump.kill('SIGINT');
    await once(tcpdump, 'close');
    socket.close();
    server.close();
    await host.close();

    const [ours, seen] = [await ipFrames(file), await ipFrames(theirs)];
    expect(ours.length).toBeGreaterThan(1400);
    // Which of two frames that cross is first is a matter of where one stands: each direction has its own order.
    const mac = Buffer.from(host.interface.mac).toString('hex');
    const sent = (frame: string) => frame.slice(12, 24) === mac;
    const same = (a: string[], b: string[]) => a.length === b.length && a.every((frame, i) => frame === b[i]);
    expect(same(ours.filter(sent), seen.filter(sent))).toBe(true);
    expect(
      same(
        ours.filter((frame) => !sent(frame)),
        seen.filter((frame) => !sent(frame)),
      ),
    ).toBe(true);
  });

  it.each([true, false])(
    'as a client we read at full speed: no window closes, nothing is sent twice, offload %s',
    async (offload) => {
      const content = join(folder, 'content');
      writeFileSync(content, Buffer.alloc(SIZE, 'content '));
      const server = await fileServer(space, content);
      const host = await createHost({
        tap: TAP,
        netns: space.name,
        ipv4: `${OURS}/24`,
        hostIp: `${THEIRS}/24`,
        offload,
        capture: file,
      });
      const agent = host.httpAgent({ keepAlive: true });
      const ask = (method: string, body?: Uint8Array) =>
        new Promise<IncomingMessage>((resolve, reject) => {
          http.request({ host: THEIRS, port: 8000, method, agent }, resolve).on('error', reject).end(body);
        });
      let bytes = 0;
      const response = await ask('GET');
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      await once(response, 'end');
      expect(bytes).toBe(SIZE);
      await once((await ask('POST', Buffer.alloc(SIZE))).resume(), 'end');
      agent.destroy();
      const open = () => host.connections().some(({ state }) => state !== 'TIME-WAIT');
      await until(() => !open(), 'the connection to end');
      const mac = [...host.interface.mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
      await host.close();
      server.child.kill();

      const opinion = opinionOf(file, mac);
      expect(complaints(opinion, [FULL, /Zero Window/])).toEqual([]);
      expect(closedWindows(file, OURS)).toEqual([]);
      expect(countOurs(opinion, SENT_TWICE)).toBe(0);
    },
  );
});

/** The IPv4 frames of a capture, in hexadecimal. */
async function ipFrames(file: string): Promise<string[]> {
  const frames: string[] = [];
  for await (const record of readCapture(file)) {
    if (record.kind !== 'packet') continue;
    const frame = Buffer.from(record.bytes).toString('hex');
    if (frame.slice(24, 28) === '0800') frames.push(frame);
  }
  return frames;
}
