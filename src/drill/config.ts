// The `--name=value` lines of a script: addresses, ports, MTU, tolerance.

import { type Address, type Cidr, parseAddress, v4 } from '../base/address.ts';
import type { Micros } from '../base/time.ts';
import { type Script, Unsupported } from './script.ts';

export interface Config {
  readonly local: Address;
  readonly gateway: Address;
  readonly remote: Address;
  readonly prefixLength: number;
  readonly bindPort: number;
  readonly connectPort: number;
  readonly mtu: number;
  /** How far from its time an event may happen. */
  readonly tolerance: Micros;
  /** What a tick of the timestamps in the script is; 0: they are not compared. */
  readonly tick: Micros;
  /** Packets out must be cut as the script has them: no run of segments stands for a longer one. */
  readonly strictSegments: boolean;
}

const DEFAULTS = {
  local: v4(0xc0a80001),
  gateway: v4(0xc0a80002),
  remote: v4(0xc0000201),
  prefixLength: 16,
  bindPort: 8080,
  connectPort: 8080,
  mtu: 1500,
  tolerance: 4_000,
  tick: 0,
  strictSegments: false,
} satisfies Config;

/** Options of the original tool that mean nothing here. */
const MEANINGLESS = new Set([
  'mss',
  'speed',
  'non_fatal',
  'verbose',
  'dry_run',
  'code_command',
  'code_format',
  'code_sockopt',
  'persistent_tun_dev',
  'tun_dev',
  'send_omit_free',
  'netmask_ip',
  'wire_protocol',
]);

/** Reads the options. Throws {@link Unsupported} for what cannot be done here. */
export function configure(script: Script): Config {
  const config: { -readonly [K in keyof Config]: Config[K] } = { ...DEFAULTS };
  for (const { name, value } of script.options) {
    switch (name) {
      case 'ip_version':
        if (value !== 'ipv4') throw new Unsupported('IPv6');
        break;
      case 'local_ip':
        config.local = ipv4(value);
        break;
      case 'remote_ip':
        config.remote = firstHost(value);
        break;
      case 'gateway_ip':
        config.gateway = ipv4(value);
        break;
      case 'bind_port':
        config.bindPort = number(name, value, 1, 65_535);
        break;
      case 'connect_port':
        config.connectPort = number(name, value, 1, 65_535);
        break;
      case 'mtu':
        config.mtu = number(name, value, 68, 65_535);
        break;
      case 'tolerance_usecs':
        config.tolerance = number(name, value);
        break;
      case 'tcp_ts_tick_usecs':
        config.tick = number(name, value);
        break;
      case 'strict_segments':
        config.strictSegments = true;
        break;
      default:
        if (!MEANINGLESS.has(name)) throw new Unsupported(`the option --${name}`);
    }
  }
  return config;
}

function number(name: string, value: string, least = 0, most = 1e9): number {
  const n = Number(value);
  if (value === '' || !Number.isInteger(n) || n < least || n > most)
    throw new Unsupported(`--${name}=${value}`);
  return n;
}

function ipv4(value: string): Address {
  const address = parseAddress(value);
  if (address === undefined) throw new Unsupported(`the address ${value}`);
  if (address.family === 6) throw new Unsupported('IPv6');
  return address;
}

/** `192.0.2.1`, or `192.0.2.0/24`: then its first host. */
function firstHost(value: string): Address {
  const [host = '', prefix] = value.split('/');
  const address = ipv4(host);
  return prefix === undefined || (address.w3 & 0xff) !== 0 ? address : v4(address.w3 | 1);
}

/** The subnet that the stack is put in. */
export function subnet({ local, prefixLength }: Config): Cidr {
  return { address: local, prefixLength };
}
