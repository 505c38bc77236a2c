// Nobody need be root: a TAP made once for an ordinary user runs the whole program under that user.

import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { build } from '../build.ts';
import { check, describeLive, Namespace } from './harness.ts';
import { hashOfPattern } from './support/peers.ts';
import { OURS, TAP, THEIRS, Up } from './support/program.ts';
import { complaints, opinionOf } from './support/wireshark.ts';

/** nobody, on every Linux. */
const USER = '65534';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describeLive('an ordinary user', ['curl', 'ping', 'setpriv', 'tshark'], () => {
  let space: Namespace;
  let folder: string;

  beforeEach(() => {
    space = new Namespace();
    folder = mkdtempSync(join(tmpdir(), 'tapstack-user-'));
  });
  afterEach(() => {
    space.remove();
    rmSync(folder, { recursive: true });
  });

  /** A copy of the program where everybody may read: the repository may lie in somebody's home. */
  async function installed(): Promise<string> {
    await build();
    chmodSync(folder, 0o755);
    for (const name of ['dist', 'build', 'package.json'])
      cpSync(join(ROOT, name), join(folder, name), { recursive: true });
    for (const name of ['commander', 'buffer-layout'])
      cpSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
    check('chmod', ['-R', 'a+rX', folder]);
    return join(folder, 'dist', 'cli', 'main.js');
  }

  /**
   * What stands before a command that the user runs, with every right given up. Some machines keep the device node to root: a
   * node of our own for the same driver lies over it, in the mount namespace that `ip netns exec` made for this command alone.
   */
  function asUser(): string[] {
    const node = join(folder, 'tun');
    rmSync(node, { force: true });
    check('mknod', ['-m', '666', node, 'c', '10', '200']);
    const ids = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
    const cover = `mount --bind ${node} /dev/net/tun && exec "$@"`;
    return ['sh', '-c', cover, 'sh', 'setpriv', ...ids, '--bounding-set=-all', '--no-new-privs'];
  }

  it.each([true, false])(
    'runs `up` on a TAP that was made for it, without any right, offload %s',
    async (offload) => {
      const main = await installed();
      // What root does once, as README says.
      space.run('ip', 'tuntap', 'add', 'dev', TAP, 'mode', 'tap', 'user', USER);
      space.run('ip', 'addr', 'add', `${THEIRS}/24`, 'dev', TAP);
      space.run('ip', 'link', 'set', TAP, 'up');
      const capture = join(folder, 'own', 'user.pcapng');
      check('install', ['-d', '-o', USER, join(folder, 'own')]);
      const up = await Up.start(space, { main, prefix: asUser(), bare: true, offload, capture });
      const status = check('cat', [`/proc/${up.child.pid}/status`]).stdout;
      expect(status).toMatch(new RegExp(`^Uid:\\s+${USER}\\s+${USER}`, 'm'));
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(space.run('ping', '-q', '-c', '3', '-i', '0.01', OURS)).toContain('3 received');
      const sum = space.run('sh', '-c', `curl -sS http://${OURS}/bytes/10000000 | sha256sum`);
      expect(sum.split(' ')[0]).toBe(hashOfPattern(10_000_000));
      await up.stop();
      expect(complaints(opinionOf(capture, String(up.all('up')[0]?.mac)), [/window/i])).toEqual([]);
      // The interface is root's: it is still there, with its addresses.
      expect(space.run('ip', 'addr', 'show', TAP)).toContain(THEIRS);
    },
  );

  it("another user's TAP, and one that is not there, are refused with the mend", async () => {
    const main = await installed();
    space.run('ip', 'tuntap', 'add', 'dev', TAP, 'mode', 'tap', 'user', '1');
    for (const name of [TAP, 'tap9']) {
      const [command = '', ...rest] = [...asUser(), process.execPath, main, 'ping', '--tap', name, THEIRS];
      const run = space.spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      run.stderr?.on('data', (text) => (said += text));
      const status = await new Promise((resolve) => run.once('close', resolve));
      expect(status).toBe(77);
      expect(said).toMatch(/tuntap add|setcap|sudo|root/);
    }
  });
});
