// The state of a host as its page and its JSON show it.

import type { Address } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';
import type { DeviceFeatures } from '../link/device.ts';
import type { Host } from '../node/host.ts';
import { version } from './package.ts';
import type { ConnectionFacts, Facts } from './services/page.ts';
import type { ServiceSet } from './services/set.ts';

/** Read once: the file does not change under a running program. */
const VERSION = version();

/** What the site and the status line tell about `host`. `uptime` is in seconds. */
export function factsOf(host: Host, services: ServiceSet, uptime: number): Facts {
  const { name, mac, mtu, addresses } = host.interface;
  const { rxFrames, rxBytes, txFrames, txBytes } = host.device.stats;
  return {
    name: 'tapstack',
    version: VERSION,
    uptime: Math.round(uptime * 1000) / 1000,
    interface: {
      name,
      mac: formatMac(mac),
      mtu,
      offload: offloadOf(host.device.features),
      addresses: addresses.map(({ address, prefixLength, state }) => ({
        address: cidrText(address, prefixLength),
        state,
      })),
    },
    link: { rxFrames, rxBytes, txFrames, txBytes },
    services: services.list,
    connections: host.connections().map(connectionOf),
    counters: countersOf(host.counters()),
    drops: host.stack.drops as Record<string, number>,
  };
}

export function cidrText(address: Address, prefixLength: number): string {
  return `${address}/${prefixLength}`;
}

function offloadOf(features: DeviceFeatures): string[] {
  const { checksum, tso4, tso6, uso } = features;
  return Object.entries({ checksum, tso4, tso6, uso })
    .filter(([, granted]) => granted)
    .map(([name]) => name);
}

function connectionOf(c: ReturnType<Host['connections']>[number]): ConnectionFacts {
  const { protocol, localAddress, localPort, remoteAddress, remotePort, state, receiveQueue, sendQueue } = c;
  return {
    protocol,
    local: endpoint(localAddress, localPort),
    remote: remoteAddress === undefined ? '' : endpoint(remoteAddress, remotePort ?? 0),
    state: state ?? '',
    receiveQueue,
    sendQueue,
  };
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Counters as groups of name and number: one group a protocol, one an interface. What lies deeper (ICMP's counts by type)
 * gets a dotted name. Drops have a place of their own.
 */
export function countersOf(counters: object): Record<string, Record<string, number>> {
  const { interfaces = {}, drops: _, ...layers } = counters as Record<string, object>;
  const groups: Record<string, Record<string, number>> = {};
  for (const [name, layer] of Object.entries(layers)) groups[name] = flatten(layer);
  for (const [name, report] of Object.entries(interfaces)) groups[`interface ${name}`] = flatten(report);
  return groups;
}

function flatten(value: object, prefix = ''): Record<string, number> {
  const flat: Record<string, number> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'number') flat[prefix + key] = inner;
    else if (typeof inner === 'object' && inner !== null)
      Object.assign(flat, flatten(inner, `${prefix}${key}.`));
  }
  return flat;
}
