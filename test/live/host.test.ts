// A host on a TAP, spoken to by the kernel and its ordinary programs.

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHost, type Host, type HostOptions } from '../../src/node/host.ts';
import { makeKeys } from '../node/keys.ts';
import { check, describeLive, Namespace, outcomeOf } from './harness.ts';

const OURS = '10.9.1.2';
const THEIRS = '10.9.1.1';

describeLive('a host on a TAP', ['curl', 'ping', 'tshark', 'nc', 'openssl'], () => {
  let ns: Namespace;
  let folder: string;
  let host: Host;

  const open = async (options: Partial<HostOptions> = {}) => {
    host = await createHost({
      tap: 'th0',
      netns: ns.name,
      ipv4: `${OURS}/24`,
      hostIp: `${THEIRS}/24`,
      ...options,
    } as HostOptions);
    return host;
  };

  beforeEach(() => {
    ns = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-live-host-'));
  });

  afterEach(async () => {
    await host.close();
    ns.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([true, false])(
    'answers ping and curl; Wireshark finds no fault in its packets (offload %s)',
    async (offload) => {
      const file = join(folder, 'host.pcapng');
      await open({ offload, capture: file });
      const page = 'x'.repeat(300_000);
      const server = http.createServer((request, response) => {
        if (request.method === 'GET') response.end(page);
        else request.pipe(response);
      });
      await host.listen(server, 80);
      const ping = await ns.exec('ping', '-c', '3', '-i', '0.2', '-s', '4000', OURS);
      expect(ping.stdout).toContain('3 received');
      expect((await ns.exec('curl', '-s', '-m', '20', `http://${OURS}/`)).stdout).toBe(page);
      const body = join(folder, 'body');
      writeFileSync(body, Buffer.alloc(2_000_000, 'y'));
      const back = join(folder, 'back');
      await ns.exec('curl', '-s', '-m', '20', '--data-binary', `@${body}`, '-o', back, `http://${OURS}/`);
      expect(readFileSync(back).equals(readFileSync(body))).toBe(true);
      expect(await host.ping(THEIRS)).toMatchObject({ bytes: 56, ttl: 64 });
      server.close();
      await host.close();
      const faults = ['tcp.checksum.status == "Bad"', 'ip.checksum.status == "Bad"', '_ws.malformed'].join(
        ' || ',
      );
      const seen = check('tshark', [
        '-r',
        file,
        '-o',
        'tcp.check_checksum:TRUE',
        '-o',
        'ip.check_checksum:TRUE',
        '-Y',
        faults,
      ]);
      expect(seen.stdout).toBe('');
      const comments = check('tshark', ['-r', file, '-Y', 'tcp', '-T', 'fields', '-e', 'frame.comment']);
      expect(comments.stdout).toContain('SYN-RECEIVED → ESTABLISHED');
    },
  );

  it('serves https to curl, which checks the certificate', async () => {
    await open();
    const keys = makeKeys('camera.test');
    const ca = join(folder, 'ca.pem');
    writeFileSync(ca, keys.cert);
    const server = https.createServer(keys, (_request, response) => response.end('secret'));
    await host.listen(server, 443);
    const resolve = `camera.test:443:${OURS}`;
    const { stdout } = await ns.exec(
      'curl',
      '-s',
      '-m',
      '20',
      '--cacert',
      ca,
      '--resolve',
      resolve,
      'https://camera.test/',
    );
    expect(stdout).toBe('secret');
    server.close();
  });

  it('connects out to the kernel, and back-pressure holds 20 MB apart', async () => {
    await open();
    const listener = ns.spawn('nc', ['-l', '-N', THEIRS, '7777']);
    const heard = outcomeOf(listener);
    const connect = async () => {
      for (;;) {
        const socket = host.net.connect({ host: THEIRS, port: 7777, allowHalfOpen: true });
        const [event] = await Promise.race([
          once(socket, 'connect').then(() => ['connect']),
          once(socket, 'close').then(() => ['close']),
        ]).catch(() => ['error']);
        if (event === 'connect') return socket;
        await new Promise((again) => setTimeout(again, 50));
      }
    };
    const socket = await connect();
    const chunk = Buffer.alloc(1 << 20, 'z');
    for (let i = 0; i < 20; i++) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
    listener.stdin?.end();
    expect((await heard).stdout.length).toBe(20 << 20);
    socket.destroy();
  });

  it('refuses and is refused as Linux does', async () => {
    await open();
    const curl = await ns.exec('curl', '-s', '-m', '5', `http://${OURS}:81/`);
    // CURLE_COULDNT_CONNECT
    expect(curl.status).toBe(7);
    const socket = host.net.connect(9999, THEIRS);
    expect((await once(socket, 'error'))[0]).toMatchObject({
      code: 'ECONNREFUSED',
      address: THEIRS,
      port: 9999,
    });
    const udp = host.dgram.createSocket('udp4');
    udp.connect(9999, THEIRS);
    await once(udp, 'connect');
    udp.send('anybody?');
    expect((await once(udp, 'error'))[0].code).toBe('ECONNREFUSED');
    udp.close();
  });

  it('goes down with an error when its interface is deleted', async () => {
    await open();
    const failed = once(host, 'error');
    const closed = new Promise((resolve) => host.once('close', () => resolve('closed')));
    ns.run('ip', 'link', 'del', 'th0');
    expect((await failed)[0]).toMatchObject({ code: 'ENODEV' });
    expect(await closed).toBe('closed');
  });
});
