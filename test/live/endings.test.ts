// How conversations end, and what goes wrong with them: half close, refusal, unreachable peers, killed processes, a cable
// that is pulled, and our own host going down.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost, type Host, type HostOptions } from '../../src/node/host.ts';
import { describeLive, Namespace, until } from './harness.ts';
import { peer } from './support/peers.ts';
import { OURS, TAP, THEIRS, Up } from './support/program.ts';
import { complaints, fields, opinionOf } from './support/wireshark.ts';

describeLive('endings', ['curl', 'nc', 'tshark'], () => {
  let space: Namespace;
  let folder: string;
  let hosts: Host[];

  /** A host in this process, recorded; every capture is judged at the end of its test. */
  const open = async (options: Partial<HostOptions> = {}): Promise<Host> => {
    const host = await createHost({
      tap: TAP,
      netns: space.name,
      ipv4: `${OURS}/24`,
      hostIp: `${THEIRS}/24`,
      capture: join(folder, 'host.pcapng'),
      ...options,
    });
    hosts.push(host);
    return host;
  };
  /** Closes the hosts and asks Wireshark. A reset is its own warning; here resets are meant. */
  const judge = async (allowed: RegExp[] = []) => {
    for (const host of hosts.splice(0)) {
      const mac = host.interface.mac.reduce(
        (text, byte) => `${text}:${byte.toString(16).padStart(2, '0')}`,
        '',
      );
      await host.close();
      const opinion = opinionOf(join(folder, 'host.pcapng'), mac.slice(1));
      expect(opinion.frames).toBeGreaterThan(0);
      expect(complaints(opinion, [/Connection reset/, ...allowed])).toEqual([]);
    }
  };

  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-endings-'));
    hosts = [];
  });
  afterEach(async () => {
    for (const host of hosts) await host.close();
    space.remove();
    rmSync(folder, { recursive: true });
  });

  describe('our program as the server', () => {
    it('half close: what was sent before the FIN comes back after it, whole', async () => {
      const up = await Up.start(space);
      const input = join(folder, 'in');
      writeFileSync(input, Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * i) >>> 3)));
      const output = join(folder, 'out');
      space.run('sh', '-c', `nc -N -w 20 ${OURS} 7 < ${input} > ${output}`);
      expect(readFileSync(output).equals(readFileSync(input))).toBe(true);
      await up.stop();
    });

    it('a closed port refuses at once: TCP by RST, UDP by ICMP', async () => {
      const up = await Up.start(space);
      // 7: refused. A silent port would be 28, the time over.
      const curl = await space.exec('curl', '-sS', '--connect-timeout', '1', `http://${OURS}:81/`);
      expect(curl.status).toBe(7);
      const nc = await space.exec('nc', '-v', '-z', '-w', '1', OURS, '82');
      expect(nc.stderr).toContain('Connection refused');
      const udp = peer(
        space,
        `const s = dgram.createSocket('udp4'); s.on('error', (e) => { say('error', e.code); s.close(); });
         s.connect(99, args[0], () => s.send('anyone?'));`,
        OURS,
      );
      expect(await udp.says('error')).toBe('ECONNREFUSED');
      const { drops } = await up.stop();
      expect(drops).toMatchObject({ 'no socket': 3 });
    });
  });

  /** Connects and gives the error's code, or fails. */
  const failure = async (socket: net.Socket): Promise<unknown> => {
    const [error] = await once(socket, 'error');
    return (error as NodeJS.ErrnoException).code;
  };

  it('a refused connection, a silent neighbour and no route have errors of their own', async () => {
    const host = await open();
    expect(await failure(host.net.connect(1, THEIRS))).toBe('ECONNREFUSED');
    expect(await failure(host.net.connect(1, '192.0.2.1'))).toBe('ENETUNREACH');
    // Three ARP requests, a second apart, and nobody: RFC 1122 2.3.2.2.
    expect(await failure(host.net.connect(1, '10.7.0.99'))).toBe('EHOSTUNREACH');
    const socket = host.dgram.createSocket('udp4');
    socket.connect(9, THEIRS);
    await once(socket, 'connect');
    socket.send('anyone?');
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    socket.close();
    await judge();
    const asked = fields(join(folder, 'host.pcapng'), 'arp.dst.proto_ipv4 == 10.7.0.99', 'frame.number');
    expect(asked).toHaveLength(3);
  });

  it("a router's word is believed: unreachable and prohibited networks beyond the gateway", async () => {
    space.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    const host = await open({ gateway: THEIRS });
    space.run('ip', 'route', 'add', 'unreachable', '198.51.100.0/24');
    space.run('ip', 'route', 'add', 'prohibit', '203.0.113.0/24');
    // Not the first time it says so (RFC 9293 MUST-56), but long before three minutes are over (RFC 5461 3.1).
    const [unreachable, prohibited] = await Promise.all(
      ['198.51.100.1', '203.0.113.1'].map((address) => failure(host.net.connect(1, address))),
    );
    expect(unreachable).toBe('EHOSTUNREACH');
    expect(prohibited).toMatch(/EHOSTUNREACH|EACCES/);
    await expect(host.ping('198.51.100.1')).rejects.toMatchObject({ code: 'EHOSTUNREACH' });
    await judge();
  });

  it('a kernel process killed in the middle resets the connection', async () => {
    const host = await open();
    const server = peer(
      space,
      `net.createServer({ pauseOnConnect: true }, (s) => say('connected'))
         .listen(9000, () => say('ready'));`,
    );
    await server.says('ready');
    const socket = host.net.connect(9000, THEIRS);
    const failed = failure(socket);
    const chunk = Buffer.alloc(65_536);
    const pump = () => {
      while (socket.write(chunk));
    };
    socket.on('drain', pump);
    pump();
    await server.says('connected');
    // Its buffers are full: it dies with bytes unread, and the kernel sends RST (RFC 2525 2.17).
    await until(() => socket.writableLength > 0 && socket.bytesWritten > 1e6, 'the pipe to fill');
    server.child.kill('SIGKILL');
    expect(await failed).toBe('ECONNRESET');
    await judge([/window.*full/i]);
  });

  it('our host going down ends every connection: the kernel sees FIN or RST, never silence', async () => {
    const host = await open();
    const server = host.net.createServer((socket) => {
      socket.on('error', () => {});
      const chunk = Buffer.alloc(65_536, 'x');
      const pump = () => {
        while (socket.write(chunk));
      };
      socket.on('drain', pump);
      pump();
    });
    await host.listen(server, 9000);
    const idle = host.net.createServer((socket) => socket.on('error', () => {}));
    await host.listen(idle, 9001);
    const script = `
      const s = net.connect(Number(args[0]), '${OURS}', () => say('connected'));
      let bytes = 0;
      s.on('data', (d) => { bytes += d.length; if (bytes > 1e6) say('flows'); });
      s.on('error', (e) => say('over', e.code)).on('end', () => say('over', 'FIN'));`;
    const busy = peer(space, script, '9000');
    const quiet = peer(space, script, '9001');
    await Promise.all([busy.says('flows'), quiet.says('connected')]);
    await host.close();
    expect(await busy.says('over')).toMatch(/^(ECONNRESET|FIN)$/);
    expect(await quiet.says('over')).toMatch(/^(ECONNRESET|FIN)$/);
    await judge([/window.*full/i]);
  });

  it.each([true, false])(
    'a cable pulled in the middle and plugged in again: the transfer goes on and arrives whole, offload %s',
    async (offload) => {
      const host = await open({ offload });
      const size = 60_000_000;
      let sent = 0;
      const server = host.net.createServer((socket) => {
        const hash = createHash('sha256');
        socket.on('data', (chunk) => hash.update(chunk)).on('end', () => socket.end(hash.digest('hex')));
      });
      await host.listen(server, 9000);
      const source = host.net.createServer((socket) => {
        const chunk = Buffer.alloc(60_000, 'z');
        const pump = () => {
          while (sent < size) {
            sent += chunk.length;
            if (!socket.write(chunk)) return;
          }
          socket.end();
        };
        socket.on('drain', pump);
        pump();
      });
      await host.listen(source, 9001);
      // Both ways at once; the kernel's side takes its time, so that the cut is in the middle.
      const client = peer(
        space,
        `const hash = createHash('sha256'); let bytes = 0;
         const down = net.connect(9001, '${OURS}');
         down.on('data', (d) => { hash.update(d); if ((bytes += d.length) > 2e7 && bytes - d.length <= 2e7) say('half'); })
             .on('end', () => say('down', hash.digest('hex')));
         const up = net.connect({ port: 9000, host: '${OURS}', allowHalfOpen: true });
         const chunk = Buffer.alloc(60000, 'z'); let left = ${size};
         const pump = () => { while (left > 0) { left -= chunk.length; if (!up.write(chunk)) return; } up.end(); };
         up.on('drain', pump).on('data', (d) => say('up', d.toString())); pump();`,
      );
      await client.says('half');
      const before = host.counters().tcp.tcpOutSegs;
      space.run('ip', 'link', 'set', TAP, 'down');
      // Down for so long that what is under way has to be sent again: the retransmission timer has fired.
      const fired = host.counters().tcp.tcpRetransSegs;
      await until(
        () => host.counters().tcp.tcpRetransSegs > fired || client.lines.length > 1,
        'a retransmission',
        20_000,
      );
      space.run('ip', 'link', 'set', TAP, 'up');
      const wanted = createHash('sha256').update(Buffer.alloc(size, 'z')).digest('hex');
      expect(await client.says('down', 60_000)).toBe(wanted);
      expect(await client.says('up', 60_000)).toBe(wanted);
      expect(host.counters().tcp.tcpOutSegs).toBeGreaterThan(before);
    },
  );
});
