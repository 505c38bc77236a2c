// Below the transport, against the kernel's own tools: ping with all its flags, arping, our ping, a router of ours, and paths
// with a narrow middle.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/node/host.ts';
import { describeLive, Namespace } from './harness.ts';
import { hashOfZeros, peer } from './support/peers.ts';
import { OURS, TAP, THEIRS, Up } from './support/program.ts';
import { Router } from './support/router.ts';
import { complaints, fields, opinionOf } from './support/wireshark.ts';

describeLive('the path', ['ping', 'arping', 'tshark', 'nc'], () => {
  let spaces: Namespace[];
  let folder: string;
  const space = () => {
    const made = new Namespace();
    spaces.push(made);
    return made;
  };

  beforeEach(() => {
    spaces = [];
    folder = mkdtempSync(join(tmpdir(), 'tapstack-path-'));
  });
  afterEach(() => {
    for (const made of spaces) made.remove();
    rmSync(folder, { recursive: true });
  });

  describe.each([true, false])('offload %s', (offload) => {
    it('ping: a flood of 10,000 loses nothing, 65,000 bytes come back in fragments, 1,472 with DF, TTL 1 is enough', async () => {
      const kernel = space();
      const capture = join(folder, 'ping.pcapng');
      const up = await Up.start(kernel, { offload, capture });
      expect(kernel.run('ping', '-f', '-q', '-c', '10000', OURS)).toContain('10000 received, 0% packet loss');
      expect(kernel.run('ping', '-q', '-s', '65000', '-c', '5', '-i', '0.01', OURS)).toContain('5 received');
      expect(kernel.run('ping', '-q', '-s', '65507', '-c', '5', '-i', '0.01', OURS)).toContain('5 received');
      for (const size of ['0', '1', '17', '1471', '1472', '1473', '2953'])
        expect(kernel.run('ping', '-q', '-s', size, '-c', '2', '-i', '0.01', OURS)).toContain('2 received');
      expect(kernel.run('ping', '-q', '-M', 'do', '-s', '1472', '-c', '2', '-i', '0.01', OURS)).toContain(
        '2 received',
      );
      expect(kernel.run('ping', '-q', '-t', '1', '-c', '2', '-i', '0.01', OURS)).toContain('2 received');
      // RFC 1122 3.2.2.6: an echo's pattern and its record-route option come back as they went.
      expect(kernel.run('ping', '-q', '-p', 'deadbeef', '-R', '-c', '1', OURS)).toContain('1 received');
      const { drops } = await up.stop();
      expect(Object.keys(drops).filter((reason) => reason !== 'not for us')).toEqual([]);
      const mac = String(up.all('up')[0]?.mac);
      expect(complaints(opinionOf(capture, mac))).toEqual([]);
    });

    it('our ping reaches the kernel, in fragments too; nobody else answers', async () => {
      const kernel = space();
      await using host = await createHost({
        tap: TAP,
        netns: kernel.name,
        ipv4: `${OURS}/24`,
        hostIp: `${THEIRS}/24`,
        offload,
      });
      for (const size of [0, 1, 56, 1472, 1473, 65_000, 65_507]) {
        expect(await host.ping(THEIRS, { size, timeout: 10_000 })).toMatchObject({ bytes: size, ttl: 64 });
      }
      const mac = kernel.run('cat', `/sys/class/net/${TAP}/address`).trim();
      expect(await host.arping(THEIRS, { timeout: 10_000 })).toMatchObject({ mac });
      await expect(host.arping('10.7.0.99', { timeout: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      // RFC 1122 3.2.2.1: a neighbour that does not answer ARP is an unreachable host.
      await expect(host.ping('10.7.0.99', { timeout: 20_000 })).rejects.toMatchObject({
        code: 'EHOSTUNREACH',
      });
      await expect(host.ping('192.0.2.1')).rejects.toMatchObject({ code: 'ENETUNREACH' });
    });
  });

  it('arping: we answer, to a probe from nobody too (RFC 5227), and from one address alone', async () => {
    const kernel = space();
    const up = await Up.start(kernel);
    expect(kernel.run('arping', '-C', '3', '-w', '30', '-W', '0.05', '-i', TAP, OURS)).toContain(
      '3 packets received',
    );
    // A probe has 0.0.0.0 as its sender: this is how a host finds out that the address is taken.
    expect(kernel.run('arping', '-0', '-C', '2', '-w', '30', '-W', '0.05', '-i', TAP, OURS)).toContain(
      '2 packets received',
    );
    expect(kernel.run('arping', '-d', '-C', '2', '-w', '30', '-W', '0.05', '-i', TAP, OURS)).toContain(
      '2 packets received',
    );
    const silence = await kernel.exec('arping', '-c', '1', '-w', '1', '-i', TAP, '10.7.0.3');
    expect(silence.status).not.toBe(0);
    await up.stop();
  });

  it('a host that probes its address hears the kernel defend it (RFC 5227 2.1.1)', async () => {
    const kernel = space();
    await using host = await createHost({
      tap: TAP,
      netns: kernel.name,
      ipv4: `${THEIRS}/24`,
      hostIp: `${THEIRS}/24`,
      probe: true,
    });
    const [conflict] = await new Promise<[{ address: string }]>((resolve) =>
      host.once('conflict', (...values) => resolve(values as [{ address: string }])),
    );
    expect(conflict.address).toBe(THEIRS);
  });

  /** Two networks of the kernel and our router between: 10.7.0.0/24 and 10.8.0.0/24; each end is .1, the router .254. */
  function twoNetworks(offload: [boolean, boolean], mtu: [number, number]) {
    const left = space();
    const right = space();
    const router = new Router([
      {
        tap: {
          name: TAP,
          netns: left.name,
          addresses: '10.7.0.1/24',
          offload: offload[0],
          mtu: mtu[0],
        },
        address: '10.7.0.254/24',
      },
      {
        tap: {
          name: TAP,
          netns: right.name,
          addresses: '10.8.0.1/24',
          offload: offload[1],
          mtu: mtu[1],
        },
        address: '10.8.0.254/24',
      },
    ]);
    left.run('ip', 'route', 'add', 'default', 'via', '10.7.0.254');
    // The far end takes what the near end can send: only the router knows that its second link is narrow.
    right.run('ip', 'route', 'add', 'default', 'via', '10.8.0.254', 'advmss', String(mtu[0] - 40));
    return { left, right, router };
  }

  const BIG = 20_000_000;

  it.each<{ offload: [boolean, boolean]; mtu: [number, number] }>([
    { offload: [true, true], mtu: [1500, 1500] },
    { offload: [false, false], mtu: [1500, 1500] },
    { offload: [true, false], mtu: [9000, 1500] },
    { offload: [true, true], mtu: [9000, 700] },
  ])('a router of ours passes ping and TCP between two kernels: $offload $mtu', async ({ offload, mtu }) => {
    const { left, right, router } = twoNetworks(offload, mtu);
    try {
      const ping = await left.exec('ping', '-q', '-c', '20', '-i', '0.01', '10.8.0.1');
      expect(ping.stdout).toContain('20 received');
      // Fragments pass, and what is too large for the second link is cut once more.
      const large = await left.exec('ping', '-q', '-c', '3', '-i', '0.01', '-s', '20000', '10.8.0.1');
      expect(large.stdout).toContain('3 received');
      // What traceroute asks: RFC 1812 5.3.1, the router answers in its own name when time is exceeded.
      const first = await left.exec('ping', '-c', '1', '-t', '1', '-W', '5', '10.8.0.1');
      expect(first.stdout).toMatch(/From 10\.7\.0\.254 .*Time to live exceeded/);
      const second = await left.exec('ping', '-c', '1', '-t', '2', '-W', '5', '10.8.0.1');
      expect(second.stdout).toContain('1 received');
      // RFC 1812 4.3.3.1: no route.
      const nowhere = await left.exec('ping', '-c', '1', '-W', '5', '203.0.113.1');
      expect(nowhere.stdout).toMatch(/From 10\.7\.0\.254 .*Destination Net Unreachable/);

      const server = peer(
        right,
        `net.createServer({ allowHalfOpen: true }, (s) => {
           const hash = createHash('sha256');
           s.on('data', (d) => hash.update(d)).on('end', () => s.end(hash.digest('hex')));
         }).listen(9000, () => say('ready'));`,
      );
      await server.says('ready');
      const sent = await left.exec('sh', '-c', `head -c ${BIG} /dev/zero | nc -N 10.8.0.1 9000`);
      expect(sent.stdout).toBe(hashOfZeros(BIG));
      if (mtu[1] === mtu[0]) return;
      // RFC 1191 4: the router says what the narrow link takes; the kernel had to hear it for its transfer, and knows now.
      const narrow = await left.exec('ping', '-c', '1', '-M', 'do', '-s', String(mtu[1]), '10.8.0.1');
      expect(narrow.stderr).toMatch(new RegExp(`message too long, mtu[:=] ?${mtu[1]}`));
    } finally {
      router.close();
    }
  });

  describe.each([true, false])('a path with a narrow middle (RFC 1191), offload %s', (offload) => {
    /** us ─1500─ near ─MTU 800─ middle ─1500─ far: neither end's MSS says what the middle takes. */
    function narrowPath() {
      const near = space();
      const middle = space();
      const far = space();
      const cable = (a: Namespace, b: Namespace, nameA: string, nameB: string, mtu: number) => {
        const peer = ['peer', 'name', nameB, 'netns', b.name, 'mtu', String(mtu)];
        a.run('ip', 'link', 'add', nameA, 'mtu', String(mtu), 'type', 'veth', ...peer);
        a.run('ip', 'link', 'set', nameA, 'up');
        b.run('ip', 'link', 'set', nameB, 'up');
      };
      cable(near, middle, 'east', 'west', 800);
      cable(middle, far, 'east', 'west', 1500);
      near.run('ip', 'addr', 'add', '10.8.0.1/24', 'dev', 'east');
      middle.run('ip', 'addr', 'add', '10.8.0.2/24', 'dev', 'west');
      middle.run('ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'east');
      far.run('ip', 'addr', 'add', '10.9.0.2/24', 'dev', 'west');
      for (const router of [near, middle]) router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
      near.run('ip', 'route', 'add', '10.9.0.0/24', 'via', '10.8.0.2');
      middle.run('ip', 'route', 'add', '10.7.0.0/24', 'via', '10.8.0.1');
      far.run('ip', 'route', 'add', 'default', 'via', '10.9.0.1');
      return { near, far };
    }

    const open = (near: Namespace, capture: string): Promise<Host> =>
      createHost({
        tap: TAP,
        netns: near.name,
        ipv4: `${OURS}/24`,
        hostIp: `${THEIRS}/24`,
        gateway: THEIRS,
        offload,
        capture,
      });

    it('our TCP learns the MTU of the path and both directions arrive whole', async () => {
      const { near, far } = narrowPath();
      const capture = join(folder, 'narrow.pcapng');
      const host = await open(near, capture);
      try {
        const server = peer(
          far,
          `net.createServer({ allowHalfOpen: true }, (s) => {
             const hash = createHash('sha256');
             s.on('data', (d) => hash.update(d)).on('end', () => s.end(hash.digest('hex').padEnd(3e6, '.')));
           }).listen(9000, () => say('ready'));`,
        );
        await server.says('ready');
        const socket = host.net.connect({ host: '10.9.0.2', port: 9000, allowHalfOpen: true });
        socket.end(Buffer.alloc(3_000_000));
        let text = '';
        for await (const chunk of socket) text += chunk;
        expect(text.length).toBe(3e6);
        expect(text.slice(0, 64)).toBe(hashOfZeros(3_000_000));
      } finally {
        await host.close();
      }
      const needed = fields(capture, 'icmp.type == 3 && icmp.code == 4', 'icmp.mtu', 'frame.number');
      expect(needed[0]?.[0]).toBe('800');
      // What crossed the near link afterwards fits the middle: at most what was under way before the news came.
      const learned = Number(needed.at(-1)?.[1]);
      const late = fields(capture, `ip.src == ${OURS} && tcp && ip.len > 800`, 'frame.number');
      expect(late.filter(([frame]) => Number(frame) > learned)).toEqual([]);
      const sent = fields(capture, `ip.src == ${OURS} && tcp.len > 0`, 'ip.len');
      expect(Math.max(...sent.slice(-100).map(([length]) => Number(length)))).toBe(800);
      // Segments that were cut to the new size look like out-of-order retransmissions, and are.
      // An async iterator takes 64 KB a turn, so its reader is slower than the kernel sends.
      const allowed = [/retransmission/i, /Out-Of-Order/i, /window.*full/i, /Zero Window/];
      const mac = fields(capture, 'arp.opcode == 1 && arp.src.proto_ipv4 == 10.7.0.2', 'eth.src')[0]?.[0];
      expect(complaints(opinionOf(capture, mac ?? ''), allowed)).toEqual([]);
    });

    it('a ping larger than the path takes arrives in fragments', async () => {
      const { near } = narrowPath();
      const host = await open(near, join(folder, 'ping.pcapng'));
      try {
        expect(await host.ping('10.9.0.2', { size: 5000, timeout: 10_000 })).toMatchObject({ bytes: 5000 });
      } finally {
        await host.close();
      }
    });
  });
});
