// Blocks of memory that outlive a packet: receive slabs, send-buffer blocks, flattened copies.

/** Told to a {@link Slab} whose memory the driver does not know. */
export const NO_TOKEN = -1;

/**
 * A block of bytes with one DataView over it, counted references, and a place for the driver's mark.
 *
 * Who keeps a slab calls {@link hold}, who lets go calls {@link release}; at zero the slab goes back to where it came
 * from, if it came from a pool. A slab that nobody counts is simply garbage-collected.
 */
export class Slab {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The driver's number for this memory once it knows it, {@link NO_TOKEN} before. */
  token = NO_TOKEN;
  /** Who holds it. */
  refs = 0;
  /** An application was given a view of it, and was kept from taking the memory away. */
  lent = false;
  readonly #home: SlabPool | undefined;

  constructor(bytes: Uint8Array, home?: SlabPool) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#home = home;
  }

  hold(): this {
    this.refs++;
    return this;
  }

  release(): void {
    this.refs--;
    if (this.refs === 0) this.#home?.give(this);
  }
}

/** Slabs of one size, kept for reuse up to a limit. */
export class SlabPool {
  readonly slabSize: number;
  readonly #most: number;
  readonly #free: Slab[] = [];
  /** Slabs handed out and not yet back. */
  inUse = 0;

  constructor(slabSize: number, most: number) {
    this.slabSize = slabSize;
    this.#most = most;
  }

  /** A slab with one reference, the caller's. Its bytes are whatever was last in them. */
  take(): Slab {
    this.inUse++;
    const slab = this.#free.pop() ?? new Slab(new Uint8Array(this.slabSize), this);
    slab.refs = 1;
    return slab;
  }

  give(slab: Slab): void {
    this.inUse--;
    if (this.#free.length < this.#most) this.#free.push(slab);
  }
}
