// What went wrong with a TAP device, in one line with the cause and the mend.

import { userInfo } from 'node:os';

/** What an error is about, as far as it is known. */
export interface TapContext {
  readonly kind?: 'tap' | 'tun';
  readonly name?: string;
  readonly netns?: string;
  /** The clone device, by default /dev/net/tun. */
  readonly device?: string;
  /** The kernel-side address that was to be set, in CIDR form. */
  readonly address?: string;
}

/** A failed TAP operation: `code` is an errno name or ERR_TAP_…; `syscall` is the step that failed. */
export class TapError extends Error {
  readonly code: string;
  readonly errno?: number;
  readonly syscall?: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TapError';
    this.code = code;
    const { errno, syscall } = (cause ?? {}) as { errno?: number; syscall?: string };
    if (errno !== undefined) this.errno = errno;
    if (syscall !== undefined) this.syscall = syscall;
  }
}

/** ERR_TAP_UNAVAILABLE: the addon is not there, or does not load. */
export function unavailable(cause: unknown): TapError {
  const missing = (cause as { code?: string }).code === 'MODULE_NOT_FOUND';
  const why = missing
    ? 'was not built when the package was installed'
    : `does not load (${firstLine(String((cause as Error).message ?? cause))})`;
  return new TapError(
    'ERR_TAP_UNAVAILABLE',
    `the TAP addon ${why}: run \`npm rebuild tapstack\` (in a checkout, \`node scripts/build-native.mjs\`); it needs a C compiler and the headers of Node, on Debian \`apt-get install gcc libc6-dev\``,
    cause,
  );
}

/** Turns what the addon threw into a {@link TapError} with the mend; anything else is given back as it is. */
export function explain(error: unknown, about: TapContext): unknown {
  const { code, syscall } = (error ?? {}) as { code?: string; syscall?: string };
  if (!(error instanceof Error) || error instanceof TapError || code === undefined || syscall === undefined)
    return error;
  return new TapError(code, mend(code, syscall, about) ?? `${subject(about)}: ${error.message}`, error);
}

function mend(code: string, syscall: string, about: TapContext): string | undefined {
  if (syscall === 'open') return mendOpen(code, about);
  if (syscall.startsWith('netns') || syscall.startsWith('setns')) return mendNamespace(code, about);
  if (syscall === 'TUNSETIFF') return mendAttach(code, about);
  if (code === 'EPERM' || code === 'EACCES') return mendSetting(syscall, about);
  if (code === 'ENODEV' || code === 'ENXIO')
    return `${subject(about)}: the interface was deleted; open it again`;
  return undefined;
}

function mendOpen(code: string, { device = '/dev/net/tun' }: TapContext): string | undefined {
  if (code === 'ENOENT')
    return `no ${device}: load the driver with \`modprobe tun\`, or start the container with \`--device /dev/net/tun --cap-add NET_ADMIN\``;
  if (code === 'ENODEV' || code === 'ENXIO')
    return `${device} has no driver behind it: load it with \`modprobe tun\``;
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to open ${device}: as root \`chmod 666 ${device}\` (opening it gives nobody an interface), or in a container \`--device ${device}\``;
  return undefined;
}

function mendNamespace(code: string, { netns = '' }: TapContext): string | undefined {
  if (code === 'ENOENT') {
    const name = netns.includes('/') ? 'NAME' : netns;
    return `no network namespace ${netns}: see \`ip netns list\`, or make it with \`ip netns add ${name}\``;
  }
  if (code === 'EPERM' || code === 'EACCES')
    return `no permission to enter network namespace ${netns}: run as root, or start the program inside it with \`ip netns exec ${netns} …\``;
  if (code === 'EINVAL') return `${netns} is no network namespace: see \`ip netns list\``;
  return undefined;
}

function mendAttach(code: string, about: TapContext): string | undefined {
  const { name = '', kind = 'tap' } = about;
  if (code === 'EBUSY')
    return `${subject(about)} is busy: another program has it open (\`fuser -v /dev/net/tun\`); close that one or choose another name`;
  if (code === 'EINVAL')
    return `${subject(about)}: an interface of this name is there and is no ${kind.toUpperCase()} device (\`ip -d link show ${name}\`); choose another name`;
  if (code === 'EPERM') return `no permission for ${subject(about)}: ${setupLines(about)}, or run as root`;
  return undefined;
}

function mendSetting(syscall: string, about: TapContext): string | undefined {
  const name = about.name ?? 'tap0';
  const line: Record<string, string> = {
    RTM_NEWADDR: `ip addr add ${about.address ?? '10.7.0.1/24'} dev ${name}`,
    RTM_DELADDR: `ip addr del ${about.address ?? '10.7.0.1/24'} dev ${name}`,
    SIOCSIFFLAGS: `ip link set ${name} up`,
    SIOCSIFMTU: `ip link set ${name} mtu BYTES`,
    SIOCSIFHWADDR: `ip link set ${name} address MAC`,
  };
  const command = line[syscall];
  if (command === undefined) return undefined;
  // An owner may use a device; only the administrator may set up the kernel's side of it.
  return `no permission to set up ${subject(about)}: as root \`${command}\``;
}

/** The lines an administrator runs once, so that an ordinary user may open the device ever after. */
export function setupLines({ name, address = '10.7.0.1/24', kind = 'tap' }: TapContext): string {
  const device = name === undefined || name === '' || name.includes('%') ? `${kind}0` : name;
  return [
    `as root once \`ip tuntap add dev ${device} mode ${kind} user ${user()}\``,
    `\`ip addr add ${address} dev ${device}\``,
    `\`ip link set ${device} up\``,
  ].join(', ');
}

function subject({ kind = 'tap', name }: TapContext): string {
  return name === undefined || name === ''
    ? `a new ${kind.toUpperCase()} device`
    : `${kind.toUpperCase()} ${name}`;
}

function user(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'USER'); // a uid without a passwd entry
  }
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
