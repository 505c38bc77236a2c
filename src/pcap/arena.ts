// Memory for written records: carved from large blocks and never reused, so that who receives bytes may keep them.

const BLOCK = 65_536;

/** Hands out zeroed ranges of fresh memory. A written range is the receiver's for ever. */
export class Arena {
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(this.bytes.buffer);
  #at = 0;

  /** Reserves `length` zero bytes of `bytes`/`view` and returns where they start. */
  reserve(length: number): number {
    if (this.#at + length > this.bytes.length) {
      this.bytes = new Uint8Array(Math.max(BLOCK, length));
      this.view = new DataView(this.bytes.buffer);
      this.#at = 0;
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
