// Which multicast frames an interface lets in: the link filter of RFC 1112 7.1, with a count per group.

import type { Address } from '../base/address.ts';
import { type Ethernet, groupMac } from '../ether/ethernet.ts';

/** The groups of one interface. */
export class GroupFilter {
  readonly #ethernet: Ethernet;
  readonly #groups: { readonly group: Address; members: number }[] = [];

  constructor(ethernet: Ethernet) {
    this.#ethernet = ethernet;
  }

  join(group: Address): void {
    if (!group.isMulticast) throw new RangeError(`not a multicast address: ${group}`);
    const entry = this.#groups.find((g) => g.group.equals(group));
    if (entry !== undefined) {
      entry.members++;
      return;
    }
    this.#groups.push({ group, members: 1 });
    this.#ethernet.join(groupMac(group.family, group.w3));
  }

  leave(group: Address): void {
    const at = this.#groups.findIndex((g) => g.group.equals(group));
    const entry = this.#groups[at];
    if (entry === undefined || --entry.members > 0) return;
    this.#groups.splice(at, 1);
    this.#ethernet.leave(groupMac(group.family, group.w3));
  }

  list(): Address[] {
    return this.#groups.map((g) => g.group);
  }
}
