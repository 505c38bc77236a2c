// What the stack did with a frame, in words: notes that a capture writes beside it.

/**
 * A list of notes about the frame at hand. Off by default, and then `note` is never called with a built string:
 * callers guard with `if (trace.on)`.
 */
export class Trace {
  on = false;
  #notes: string[] = [];

  /** Adds a note, for example `TCP SYN-SENT → ESTABLISHED` or `dropped: bad checksum`. */
  note(text: string): void {
    if (this.on && this.#notes.length < 16) this.#notes.push(text);
  }

  /** The notes since the last take, joined by `; `; `undefined` when there are none. */
  take(): string | undefined {
    if (this.#notes.length === 0) return undefined;
    const text = this.#notes.join('; ');
    this.#notes = [];
    return text;
  }
}
