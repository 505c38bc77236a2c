// IP as the transports see it: one face for both families, by the family of the addresses.

import type { Address } from '../base/address.ts';
import type { IpOutput, Path, RouteError, SendOptions } from '../base/ip.ts';
import type { SendResult } from '../base/netif.ts';
import type { Frame } from '../base/packet.ts';
import { Interface } from './interface.ts';

/** Header bytes of IPv4, by which a path tells its family without looking at its addresses. */
const V4_HEADER = 20;

export class DualIpOutput implements IpOutput {
  readonly #v4: IpOutput;
  #v6: IpOutput | undefined;

  constructor(v4: IpOutput) {
    this.#v4 = v4;
  }

  /** From now on there is IPv6. */
  setIpv6(v6: IpOutput): void {
    this.#v6 = v6;
  }

  path(destination: Address, source: Address | undefined, interfaceIndex: number): Path | RouteError {
    if (destination.family === 4) return this.#v4.path(destination, source, interfaceIndex);
    return this.#v6?.path(destination, source, interfaceIndex) ?? 'ENETUNREACH';
  }

  send(path: Path, protocol: number, frame: Frame, options: SendOptions): SendResult {
    return path.headerLength === V4_HEADER
      ? this.#v4.send(path, protocol, frame, options)
      : this.#v6!.send(path, protocol, frame, options);
  }

  isLocal(address: Address): boolean {
    return address.family === 4 ? this.#v4.isLocal(address) : (this.#v6?.isLocal(address) ?? false);
  }

  isBroadcast(address: Address): boolean {
    return address.family === 4 && this.#v4.isBroadcast(address);
  }

  confirm(path: Path): void {
    const { interface: netif } = path;
    if (netif instanceof Interface) netif.confirm(path.nextHop);
  }
}
