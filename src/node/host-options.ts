// What createHost may be told, and one clear line for each thing it must not be told.

import { type Address, type Cidr, parseAddress, parseCidr } from '../base/address.ts';
import { isGroupMac, type Mac, parseMac } from '../base/mac.ts';
import type { Random } from '../base/random.ts';
import type { Device } from '../link/device.ts';
import type { NetemOptions } from '../link/netem.ts';
import type { CongestionName } from '../tcp/congestion.ts';
import { isController } from '../tcp/controllers.ts';
import { HostError } from './errors.ts';
import type { TapOptions } from './tap.ts';

export interface HostOptions {
  /** A TAP to open: its name, or all of its options. Either this or `device`. */
  readonly tap?: string | TapOptions;
  /** A device of your own: an end of a pipe, a port of a switch. The host closes it. */
  readonly device?: Device;
  /** Our addresses with their prefix, such as `'10.7.0.2/24'`. The first is the one we prefer to speak from. */
  readonly ipv4?: string | readonly string[];
  /** Where packets go that are for no subnet of ours. */
  readonly gateway?: string;
  /** Addresses of the kernel's side of the TAP, such as `'10.7.0.1/24'`. */
  readonly hostIp?: string | readonly string[];
  /** Largest IP packet, in bytes; what the device has unless given. */
  readonly mtu?: number;
  /** Our link address, with a TAP; derived from the kernel's unless given. */
  readonly mac?: string;
  /** Checksum and segmentation offload of the TAP; true unless given. */
  readonly offload?: boolean;
  /** Network namespace of the TAP: a name of `ip netns`, or a path. */
  readonly netns?: string;
  /** Records every frame into this pcapng file from the start. */
  readonly capture?: string;
  /** Ask whether somebody has our addresses before we use them (RFC 5227); takes some seconds. False unless given. */
  readonly probe?: boolean;
  /** Forward packets that are for others, as a router does. */
  readonly forwarding?: boolean;
  /** Congestion control of its connections: `cubic` unless given, `newreno`, or `bbr`, which does not mind lost packets. */
  readonly congestion?: CongestionName;
  /** Makes the network worse for this host: delay, loss, rate … both ways, or as its `direction` says. */
  readonly netem?: NetemOptions;
  /** Closes the host when it aborts. */
  readonly signal?: AbortSignal;
  /** Name of the interface in reports; the device's own unless given. */
  readonly name?: string;
  /** Chance, for tests that want the same every time; cryptographic unless given. */
  readonly random?: Random;
}

/** The same, checked and parsed. */
export interface HostPlan {
  readonly addresses: readonly Cidr[];
  readonly gateway: Address | undefined;
  readonly mac: Mac | undefined;
  readonly mtu: number | undefined;
}

/** RFC 791 3.2: every link must carry 68 octets without fragmentation. (Below 576 a host still works, and pays for it.) */
const MTU_LEAST = 68;
const MTU_MOST = 65_535;

/** What later rooms of the house will serve. */
const NOT_YET = ['ipv6', 'dns', 'mdns', 'hostname', 'sntp', 'dhcp'] as const;

function refuse(name: string, why: string): HostError {
  return new HostError('ERR_INVALID_HOST_OPTION', `${name}: ${why}`);
}

/** Checks the options. Throws HostError with one line that names the option and what would be right. */
export function checkOptions(options: HostOptions): HostPlan {
  if (options === null || typeof options !== 'object')
    throw refuse('options', 'an object is wanted, such as { tap: "tap0", ipv4: "10.7.0.2/24" }');
  for (const name of NOT_YET) {
    if ((options as Record<string, unknown>)[name] !== undefined)
      throw new HostError(
        'ERR_UNSUPPORTED_HOST_OPTION',
        `${name}: this version configures IPv4 by hand only`,
      );
  }
  checkDevice(options);
  if (options.congestion !== undefined && !isController(options.congestion))
    throw refuse('congestion', `"${options.congestion}" is none of cubic, newreno, bbr`);
  const addresses = listOf(options.ipv4).map(checkCidr);
  return {
    addresses,
    gateway: options.gateway === undefined ? undefined : checkGateway(options.gateway, addresses),
    mac: options.mac === undefined ? undefined : checkMac(options.mac),
    mtu: options.mtu === undefined ? undefined : checkMtu(options.mtu, options.device),
  };
}

function checkDevice(options: HostOptions): void {
  const { tap, device } = options;
  if ((tap === undefined) === (device === undefined)) throw refuse('tap, device', 'give one of the two');
  if (device === undefined) return;
  for (const name of ['hostIp', 'offload', 'netns', 'mac'] as const) {
    if (options[name] !== undefined)
      throw refuse(name, 'goes with a TAP; a device of your own brings its own');
  }
}

function listOf(text: string | readonly string[] | undefined): readonly string[] {
  if (text === undefined) return [];
  return typeof text === 'string' ? [text] : text;
}

function checkCidr(text: string): Cidr {
  if (text === 'dhcp')
    throw new HostError('ERR_UNSUPPORTED_HOST_OPTION', 'ipv4: "dhcp" is not there yet; give an address');
  const cidr = typeof text === 'string' ? parseCidr(text) : undefined;
  if (cidr === undefined || cidr.address.family !== 4)
    throw refuse('ipv4', `"${text}" is no IPv4 address with a prefix, such as 10.7.0.2/24`);
  if (!text.includes('/')) throw refuse('ipv4', `"${text}" lacks a prefix length, such as ${text}/24`);
  const { address, prefixLength } = cidr;
  if (address.isUnspecified || address.isMulticast || address.isLimitedBroadcast || address.isLoopback)
    throw refuse('ipv4', `${text} is not the address of one host`);
  if (prefixLength < 31 && isEdge(cidr))
    throw refuse(
      'ipv4',
      `${text} is the first or last address of its subnet, which means the subnet itself or all of it`,
    );
  return cidr;
}

/** Host part all zeros or all ones (RFC 1122 3.2.1.3). */
function isEdge({ address, prefixLength }: Cidr): boolean {
  const host = 0xffff_ffff >>> prefixLength;
  const bits = (address.w3 & host) >>> 0;
  return bits === 0 || bits === host;
}

function checkGateway(text: string, addresses: readonly Cidr[]): Address {
  const gateway = parseAddress(text);
  if (gateway === undefined || gateway.family !== 4 || gateway.isUnspecified || gateway.isMulticast)
    throw refuse('gateway', `"${text}" is not the IPv4 address of one host, such as 10.7.0.1`);
  if (!addresses.some(({ address, prefixLength }) => gateway.inPrefix(address, prefixLength)))
    throw refuse('gateway', `${text} is on no subnet of ours, so it cannot be reached`);
  if (addresses.some(({ address }) => address.equals(gateway)))
    throw refuse('gateway', `${text} is our own address`);
  return gateway;
}

function checkMac(text: string): Mac {
  const mac = parseMac(text);
  if (mac === undefined) throw refuse('mac', `"${text}" is no link address, such as 02:00:00:00:00:01`);
  if (isGroupMac(mac))
    throw refuse('mac', `${text} is a group address: the lowest bit of its first octet must be 0`);
  if (mac.every((octet) => octet === 0)) throw refuse('mac', `${text} is the address of nobody`);
  return mac;
}

function checkMtu(mtu: number, device: Device | undefined): number {
  const most = device?.mtu ?? MTU_MOST;
  if (!Number.isInteger(mtu) || mtu < MTU_LEAST || mtu > most)
    throw refuse(
      'mtu',
      `${mtu} is not a whole number from ${MTU_LEAST} (RFC 791) to ${most}; 576 and more is wise`,
    );
  return mtu;
}
