// What an option may say: parsers that take the text of a flag and give its value, or refuse it by name in one line.

import { type Command, InvalidArgumentError } from 'commander';
import { type Address, type Cidr, parseAddress, parseCidr, subnetBroadcast } from '../base/address.ts';
import { isGroupMac, parseMac } from '../base/mac.ts';
import { UsageError } from './io.ts';

/** The options that say which TAP to open and who to be on it. */
export interface HostOptions {
  tap?: string;
  hostIp?: string;
  ip?: string[];
  gateway?: string;
  mtu?: number;
  mac?: string;
  /** False with `--no-offload`. */
  offload?: boolean;
  capture?: string;
  netns?: string;
}

/** What {@link HostOptions} say once the defaults are filled in. */
export interface HostPlan extends HostOptions {
  tap: string;
  ip: string[];
}

/** Without any of these flags a command runs on this TAP, as these two. */
export const DEFAULT_TAP = 'tap0';
export const DEFAULT_IP = '10.7.0.2/24';
export const DEFAULT_HOST_IP = '10.7.0.1/24';

/** RFC 791 3.2: every host must take 576 bytes. The largest is what an IPv4 total length can say. */
export const LEAST_MTU = 576;
export const MOST_MTU = 65_535;
/** Linux IFNAMSIZ is 16, with the closing zero. */
const MOST_NAME = 15;

/** Adds `--json --quiet --no-color` to a command. */
export function addOutputOptions(command: Command): Command {
  return command
    .option('--json', 'one JSON object a line on stdout')
    .option('-q, --quiet', 'say only what was asked for, and errors')
    .option('--no-color', 'no colours (NO_COLOR and FORCE_COLOR are obeyed too)');
}

/** Adds the options of {@link HostOptions}, and the output options, to a command. */
export function addHostOptions(command: Command): Command {
  command
    .option('--tap <name>', `the TAP interface to open or create (default: ${DEFAULT_TAP})`, interfaceName)
    .option(
      '--ip <cidr>',
      `an address of the stack, with its prefix length; repeatable (default: ${DEFAULT_IP})`,
      hostCidrs,
    )
    .option(
      '--host-ip <cidr>',
      `an address to give the kernel's side of the TAP (default: ${DEFAULT_HOST_IP}, if no --ip is given)`,
      hostCidr,
    )
    .option('--gateway <address>', 'the default gateway; must lie in a network of --ip', unicastAddress)
    .option('--mtu <bytes>', 'the MTU of the link', wholeNumber(LEAST_MTU, MOST_MTU))
    .option('--mac <mac>', "the stack's link address, as 02:00:00:00:00:02", unicastMac)
    .option('--no-offload', 'no super-frames and no checksum offload: every frame as on a real wire')
    .option('--capture <file>', 'write every frame to a pcapng file (- is stdout), with notes, for Wireshark')
    .option('--netns <name>', "the network namespace for the kernel's side", namespaceName);
  return addOutputOptions(command);
}

/** Fills in the defaults and checks what only the options together can show. Throws {@link UsageError}. */
export function planHost(options: HostOptions): HostPlan {
  const plan: HostPlan = { ...options, tap: options.tap ?? DEFAULT_TAP, ip: options.ip ?? [] };
  if (plan.ip.length === 0) {
    if (options.hostIp !== undefined) {
      throw new UsageError(`--host-ip is the kernel's address; add the stack's own, as --ip ${DEFAULT_IP}`);
    }
    plan.ip = [DEFAULT_IP];
    plan.hostIp = DEFAULT_HOST_IP;
  }
  const own = plan.ip.map((text) => parseCidr(text)!);
  if (plan.hostIp !== undefined) {
    const kernel = parseCidr(plan.hostIp)!;
    if (own.some((cidr) => cidr.address.equals(kernel.address))) {
      throw new UsageError(
        `--ip and --host-ip are both ${kernel.address}; give the two ends different addresses`,
      );
    }
    if (!own.some((cidr) => kernel.address.inPrefix(cidr.address, cidr.prefixLength))) {
      throw new UsageError(
        `--host-ip ${plan.hostIp} lies in no network of --ip ${plan.ip.join(' ')}; put the two ends in one network`,
      );
    }
  }
  if (plan.gateway !== undefined) {
    const gateway = parseAddress(plan.gateway)!;
    if (!own.some((cidr) => gateway.inPrefix(cidr.address, cidr.prefixLength))) {
      throw new UsageError(
        `--gateway ${plan.gateway} lies in no network of --ip ${plan.ip.join(' ')}; a gateway must be a neighbour`,
      );
    }
    if (own.some((cidr) => cidr.address.equals(gateway))) {
      throw new UsageError(`--gateway ${plan.gateway} is the stack itself; give the address of a neighbour`);
    }
  }
  return plan;
}

/** For commands whose stdout is somebody's data. Throws {@link UsageError}. */
export function refuseCaptureOnStdout(options: HostOptions): void {
  if (options.capture === '-')
    throw new UsageError('--capture - would mix with the data on stdout; give a file');
}

/** A parser of whole decimal numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

export const portNumber = wholeNumber(1, 65_535);

/** A parser of seconds, with a decimal point if wanted, from `least` to `most`. */
export function seconds(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Give seconds from ${least} to ${most}, as 0.5.`);
    }
    return value;
  };
}

/** An address that names one host. */
export function unicastAddress(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new InvalidArgumentError('Give an address, as 10.7.0.1 (names are not looked up).');
  }
  if (!isUnicast(address)) throw new InvalidArgumentError('It is not the address of one host.');
  return address.toString();
}

/** An address that a packet may be sent to: of one host, of a group, or broadcast. */
export function anyDestination(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new InvalidArgumentError('Give an address, as 10.7.0.1 (names are not looked up).');
  }
  if (address.isUnspecified) throw new InvalidArgumentError('It is the address of no host.');
  return address.toString();
}

/** An IPv4 address of one host, with its prefix length. */
export function hostCidr(text: string): string {
  const cidr = text.includes('/') ? parseCidr(text) : undefined;
  if (cidr === undefined) {
    throw new InvalidArgumentError('Give an address with its prefix length, as 10.7.0.2/24.');
  }
  const { address, prefixLength } = cidr;
  if (address.family === 6) throw new InvalidArgumentError('IPv6 is not there yet: give an IPv4 address.');
  if (!isUnicast(address) || isNetworkItself(cidr) || prefixLength === 0) {
    throw new InvalidArgumentError('It is not the address of one host in a network.');
  }
  return `${address}/${prefixLength}`;
}

function hostCidrs(text: string, before: string[] | undefined): string[] {
  const cidr = hostCidr(text);
  if (before?.includes(cidr)) throw new InvalidArgumentError('It is given twice.');
  return [...(before ?? []), cidr];
}

function isUnicast(address: Address): boolean {
  return !(
    address.isUnspecified ||
    address.isMulticast ||
    address.isLimitedBroadcast ||
    address.isLoopback ||
    // RFC 1122 3.2.1.3 and RFC 6890: 0.0.0.0/8 is no destination, 240.0.0.0/4 is reserved.
    (address.family === 4 && (address.w3 >>> 24 === 0 || address.w3 >>> 28 === 0xf))
  );
}

/** True for the network's own number and its directed broadcast: 10.7.0.0/24 and 10.7.0.255/24. */
function isNetworkItself(cidr: Cidr): boolean {
  const broadcast = subnetBroadcast(cidr);
  if (broadcast === undefined) return false;
  const hostBits = 0xffff_ffff >>> cidr.prefixLength;
  return cidr.address.equals(broadcast) || (cidr.address.w3 & hostBits) === 0;
}

function unicastMac(text: string): string {
  const mac = parseMac(text);
  if (mac === undefined) throw new InvalidArgumentError('Give six bytes in hex, as 02:00:00:00:00:02.');
  if (isGroupMac(mac)) throw new InvalidArgumentError('It is a group address: make the first byte even.');
  if (mac.every((byte) => byte === 0)) throw new InvalidArgumentError('It is all zero: give a real address.');
  return text.toLowerCase().replaceAll('-', ':');
}

export function interfaceName(text: string): string {
  if (text === '' || text.length > MOST_NAME || text === '.' || text === '..' || /[\s/:]/.test(text)) {
    throw new InvalidArgumentError(`Give 1 to ${MOST_NAME} characters without spaces, "/" or ":", as tap0.`);
  }
  return text;
}

export function namespaceName(text: string): string {
  if (text === '' || text === '.' || text === '..' || text.includes('/') || text.includes('\0')) {
    throw new InvalidArgumentError("Give a name as 'ip netns list' shows it.");
  }
  return text;
}
