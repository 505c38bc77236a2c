// A set in order of entry whose members hold the links themselves.
//
// Why not a Set: its table is made anew every few entries, and once one of those has grown old, each keeps its successor,
// and with it everything that was in it, until the next full collection. Where members come and go quickly, every one of
// them would so outlive itself and be copied by the collector again and again.

/** What a member lends to the one roster that it may be in. Only {@link Roster} writes it. */
export interface Member<T> {
  roster: { delete(member: T): boolean } | undefined;
  older: T | undefined;
  newer: T | undefined;
}

export class Roster<T extends Member<T>> {
  #oldest: T | undefined;
  #newest: T | undefined;
  size = 0;

  /** The first of those that are in. */
  get oldest(): T | undefined {
    return this.#oldest;
  }

  has(member: T): boolean {
    return member.roster === this;
  }

  /** Adds at the end, out of another roster if it is in one. Nothing happens when it is in already. */
  add(member: T): void {
    if (member.roster === this) return;
    member.roster?.delete(member);
    member.roster = this;
    member.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = member;
    else this.#newest.newer = member;
    this.#newest = member;
    this.size++;
  }

  /** True when it was in. */
  delete(member: T): boolean {
    if (member.roster !== this) return false;
    const { older, newer } = member;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    member.roster = member.older = member.newer = undefined;
    this.size--;
    return true;
  }

  /** Oldest first. The member at hand may be deleted meanwhile; for other changes take a copy first. */
  *[Symbol.iterator](): Generator<T> {
    for (let member = this.#oldest; member !== undefined; ) {
      const { newer } = member;
      yield member;
      member = newer;
    }
  }
}
