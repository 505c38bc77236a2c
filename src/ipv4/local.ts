// Which addresses are ours: the table every packet is asked against, both ways. RFC 1122 3.2.1.3.

import type { NetInterface } from '../base/netif.ts';
import type { Ipv4Needs } from './needs.ts';

const LOOPBACK_NET = 127;

/**
 * Own addresses and subnet broadcasts of all interfaces as sets of words, rebuilt when the route table's generation has
 * moved: so a packet costs a hash lookup and no walk over interfaces.
 */
export class LocalAddresses {
  readonly #needs: Ipv4Needs;
  /** Own usable addresses → index of their interface. */
  readonly #own = new Map<number, number>();
  /** Subnet broadcasts → indexes of the interfaces that have them. */
  readonly #broadcasts = new Map<number, number[]>();
  #generation = -1;

  constructor(needs: Ipv4Needs) {
    this.#needs = needs;
  }

  /** The generation that the answers belong to. A caller that remembers answers forgets them when it moves. */
  get generation(): number {
    this.#refresh();
    return this.#generation;
  }

  /** True when `word` is a usable address of ours on any interface (the weak end-system model, RFC 1122 3.3.4.2). */
  isOwn(word: number): boolean {
    this.#refresh();
    // All of 127/8 is this host (RFC 1122 3.2.1.3 (g)). That it never comes from a wire is checked elsewhere.
    return this.#own.has(word) || word >>> 24 === LOOPBACK_NET;
  }

  /** The interface that has own address `word`; 0 when none has it. */
  interfaceOf(word: number): number {
    this.#refresh();
    return this.#own.get(word) ?? 0;
  }

  /** True when `word` is 255.255.255.255 or the directed broadcast of a subnet of interface `index` (0: of any). */
  isBroadcast(word: number, index: number): boolean {
    if (word === -1) return true;
    this.#refresh();
    const on = this.#broadcasts.get(word);
    return on !== undefined && (index === 0 || on.includes(index));
  }

  /** The interface, up, that has directed broadcast `word`; the one of `index` when that is not 0. */
  broadcastInterface(word: number, index: number): NetInterface | undefined {
    this.#refresh();
    const on = this.#broadcasts.get(word);
    if (on === undefined) return undefined;
    return this.#needs.interfaces.find(
      (i) => i.up && on.includes(i.index) && (index === 0 || index === i.index),
    );
  }

  #refresh(): void {
    const generation = this.#needs.routes.generation;
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#own.clear();
    this.#broadcasts.clear();
    for (const netif of this.#needs.interfaces) {
      for (const { address, broadcast, state } of netif.addresses) {
        // A tentative address is not yet ours (RFC 5227 1.1), a duplicate is somebody else's.
        if (address.family !== 4 || state === 'tentative' || state === 'duplicate') continue;
        this.#own.set(address.w3, netif.index);
        if (broadcast === undefined) continue;
        const on = this.#broadcasts.get(broadcast.w3);
        if (on === undefined) this.#broadcasts.set(broadcast.w3, [netif.index]);
        else if (!on.includes(netif.index)) on.push(netif.index);
      }
    }
  }
}
