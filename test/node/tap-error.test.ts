// Every way in which a TAP cannot be had says its cause and its mend in one line.

import { userInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { openTap } from '../../src/node/tap.ts';
import { explain, setupLines, TapError, unavailable } from '../../src/node/tap-error.ts';

/** An error as the addon throws it. */
function thrown(code: string, syscall: string, errno = -1): Error {
  return Object.assign(new Error(`${syscall}: it failed`), { code, syscall, errno });
}

const me = userInfo().username;

describe('explain', () => {
  const cases: [string, string, object, RegExp][] = [
    [
      'ENOENT',
      'open',
      {},
      /^no \/dev\/net\/tun: .*`modprobe tun`.*`--device \/dev\/net\/tun --cap-add NET_ADMIN`$/,
    ],
    ['ENODEV', 'open', {}, /no driver behind it.*modprobe tun/],
    ['EACCES', 'open', {}, /^no permission to open \/dev\/net\/tun: as root `chmod 666 \/dev\/net\/tun`/],
    ['EPERM', 'open', { device: '/dev/tun' }, /^no permission to open \/dev\/tun: .*--device \/dev\/tun/],
    ['EBUSY', 'TUNSETIFF', { name: 'tap0' }, /^TAP tap0 is busy: another program has it open/],
    [
      'EINVAL',
      'TUNSETIFF',
      { name: 'eth0' },
      /^TAP eth0: an interface of this name is there and is no TAP device/,
    ],
    ['EINVAL', 'TUNSETIFF', { name: 'tap0', kind: 'tun' }, /^TUN tap0: .* is no TUN device/],
    ['ENOENT', 'netns', { netns: 'blue' }, /`ip netns add blue`$/],
    ['EPERM', 'setns', { netns: 'blue' }, /^no permission to enter network namespace blue: run as root/],
    ['EINVAL', 'setns', { netns: '/etc/passwd' }, /^\/etc\/passwd is no network namespace/],
    ['EPERM', 'RTM_NEWADDR', { name: 'tap0', address: '10.1.0.1/8' }, /`ip addr add 10.1.0.1\/8 dev tap0`$/],
    ['EPERM', 'RTM_DELADDR', { name: 'tap0', address: '10.1.0.1/8' }, /`ip addr del 10.1.0.1\/8 dev tap0`$/],
    ['EPERM', 'SIOCSIFFLAGS', { name: 'tap0' }, /`ip link set tap0 up`$/],
    ['EPERM', 'SIOCSIFMTU', { name: 'tap0' }, /`ip link set tap0 mtu BYTES`$/],
    ['EPERM', 'SIOCSIFHWADDR', { name: 'tap0' }, /`ip link set tap0 address MAC`$/],
    ['ENODEV', 'SIOCGIFNAME', { name: 'tap0' }, /^TAP tap0: the interface was deleted; open it again$/],
    ['EIO', 'SIOCGIFMTU', { name: 'tap0' }, /^TAP tap0: SIOCGIFMTU: it failed$/],
  ];
  for (const [code, syscall, about, message] of cases) {
    it(`${code} of ${syscall} ${JSON.stringify(about)}`, () => {
      const error = explain(thrown(code, syscall, -7), about) as TapError;
      expect(error).toBeInstanceOf(TapError);
      expect(error.message).toMatch(message);
      expect(error.message).not.toContain('\n');
      expect(error).toMatchObject({ code, syscall, errno: -7, cause: { code } });
    });
  }

  it('prints the exact lines that give an ordinary user a device', () => {
    const error = explain(thrown('EPERM', 'TUNSETIFF'), { name: 'tap3' }) as TapError;
    expect(error.message).toBe(
      `no permission for TAP tap3: as root once \`ip tuntap add dev tap3 mode tap user ${me}\`, ` +
        '`ip addr add 10.7.0.1/24 dev tap3`, `ip link set tap3 up`, or run as root',
    );
    expect(setupLines({ name: 'tap%d', address: 'fd00::1/64' })).toContain('ip addr add fd00::1/64 dev tap0');
  });

  it('gives back what is not a failed system call', () => {
    for (const error of [new RangeError('x'), undefined, 'text', new TapError('EBUSY', 'x')])
      expect(explain(error, {})).toBe(error);
  });
});

describe('ERR_TAP_UNAVAILABLE', () => {
  it('says that the addon was not built, or why it does not load', () => {
    const missing = unavailable(Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' }));
    expect(missing.code).toBe('ERR_TAP_UNAVAILABLE');
    expect(missing.message).toMatch(/was not built.*`npm rebuild tapstack`.*C compiler.*gcc/);
    const broken = unavailable(new Error('invalid ELF header\nand more'));
    expect(broken.message).toMatch(/does not load \(invalid ELF header\)/);
    expect(broken.message).not.toContain('\n');
  });
});

describe('openTap refuses before it asks the kernel', () => {
  for (const name of ['sixteen-bytes-ab', 'a/b', 'a:b', 'a b', '.', '..', 'tap%s', 'tap%d%d', 'tap\0'])
    it(`name ${JSON.stringify(name)}`, () => {
      expect(() => openTap({ name })).toThrow(/is no interface name/);
      expect(() => openTap({ name })).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
    });

  it('a link address that is none, or a group', () => {
    expect(() => openTap({ mac: '02:00' })).toThrow(/"02:00" is not a link address/);
    expect(() => openTap({ mac: '01:00:5e:00:00:01' })).toThrow(/is a group address/);
  });
});
