// poll(2) and epoll(7) over the files of the virtual kernel.

import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { type Attempt, done, failed, OK, type Outcome } from './outcome.ts';
import { type Expression, type FieldSpec, Unsupported } from './script.ts';
import { type File, POLLERR, POLLHUP } from './socket.ts';
import { numberOf } from './symbols.ts';

export const POLLNVAL = 0x020;
const EPOLLONESHOT = 0x40000000;
const EPOLLET = 0x80000000;
const EVENTS = 0x3fff;

function field(e: Expression, name: string): FieldSpec | undefined {
  if (e.kind !== 'struct') throw new Unsupported(`a ${e.kind} where a struct belongs`);
  return e.fields.find((f) => f.name === name);
}

function numberField(e: Expression, name: string): number | undefined {
  const found = field(e, name);
  return found === undefined || found.value.kind === 'ellipsis' ? undefined : numberOf(found.value);
}

function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16)}`;
}

/** When a wait of `timeout` milliseconds ends; below 0 it never does. */
function deadlineOf(timeout: number, now: Micros): Micros {
  return timeout < 0 ? NEVER : now + timeout * MILLISECOND;
}

/** Waits for `look` to find something, or for the time. */
function waiting(
  look: (timedOut: boolean) => Outcome | undefined,
  clock: () => Micros,
  deadline: Micros,
): Attempt {
  const attempt: Attempt = () => look(clock() >= deadline);
  if (deadline !== NEVER) attempt.deadline = deadline;
  return attempt;
}

/** poll(fds, n, timeout): the entries are `{fd=3, events=POLLIN, revents=POLLIN}`, and `revents` is what must come out. */
export function poll(
  files: (fd: number) => File | undefined,
  entries: Expression,
  timeout: number,
  clock: () => Micros,
): Attempt {
  if (entries.kind !== 'array') throw new Unsupported('poll without an array');
  const wanted = entries.items.map((e) => ({
    fd: numberField(e, 'fd') ?? -1,
    events: numberField(e, 'events') ?? 0,
    revents: numberField(e, 'revents'),
  }));
  const look = (timedOut: boolean): Outcome | undefined => {
    let ready = 0;
    let mismatch: string | undefined;
    for (const { fd, events, revents } of wanted) {
      const file = files(fd);
      const bits = file === undefined ? POLLNVAL : file.events() & (events | POLLERR | POLLHUP);
      if (bits !== 0) ready++;
      if (revents !== undefined && bits !== revents) {
        mismatch ??= `revents of fd ${fd} is ${hex(bits)}, not ${hex(revents)}`;
      }
    }
    return ready > 0 || timedOut ? { value: ready, mismatch } : undefined;
  };
  return waiting(look, clock, deadlineOf(timeout, clock()));
}

interface Watch {
  events: number;
  data: number;
  /** What was reported last: an edge is what goes beyond it. */
  reported: number;
  off: boolean;
}

/** An epoll instance. */
export class Epoll implements File {
  nonBlocking = false;
  readonly #watches = new Map<File, Watch>();

  events(): number {
    return this.#ready().length > 0 ? 1 : 0;
  }

  close(): void {
    this.#watches.clear();
  }

  /** A file was closed: nothing more is heard of it. */
  forget(file: File): void {
    this.#watches.delete(file);
  }

  control(operation: string, file: File, fd: number, event: Expression | undefined): Outcome {
    const old = this.#watches.get(file);
    if (operation === 'EPOLL_CTL_DEL') {
      return this.#watches.delete(file) ? OK : failed('ENOENT');
    }
    if (event === undefined) return failed('EFAULT');
    const events = numberField(event, 'events') ?? 0;
    const data = ['fd', 'u32', 'u64', 'ptr'].map((n) => numberField(event, n)).find((n) => n !== undefined);
    const watch: Watch = { events, data: data ?? fd, reported: 0, off: false };
    if (operation === 'EPOLL_CTL_ADD') {
      if (old !== undefined) return failed('EEXIST');
    } else if (operation !== 'EPOLL_CTL_MOD') return failed('EINVAL');
    else if (old === undefined) return failed('ENOENT');
    this.#watches.set(file, watch);
    return OK;
  }

  #ready(): { watch: Watch; bits: number }[] {
    const list: { watch: Watch; bits: number }[] = [];
    for (const [file, watch] of this.#watches) {
      if (watch.off) continue;
      const bits = file.events() & ((watch.events & EVENTS) | POLLERR | POLLHUP);
      const news = (watch.events & EPOLLET) === 0 ? bits : bits & ~watch.reported;
      // What is not so any more may become an edge again.
      watch.reported &= bits;
      if (news !== 0) list.push({ watch, bits });
    }
    return list;
  }

  /** epoll_wait: the entries of the script are `{events=EPOLLIN, fd=4}`. */
  wait(entries: Expression, most: number, timeout: number, clock: () => Micros): Attempt {
    const look = (timedOut: boolean): Outcome | undefined => {
      const ready = this.#ready().slice(0, most);
      if (ready.length === 0) return timedOut ? done(0) : undefined;
      for (const { watch, bits } of ready) {
        watch.reported = bits;
        if ((watch.events & EPOLLONESHOT) !== 0) watch.off = true;
      }
      return { value: ready.length, mismatch: differs(entries, ready) };
    };
    return waiting(look, clock, deadlineOf(timeout, clock()));
  }
}

function differs(entries: Expression, ready: readonly { watch: Watch; bits: number }[]): string | undefined {
  const list = entries.kind === 'array' ? entries.items : [entries];
  for (const [i, entry] of list.entries()) {
    const found = ready[i];
    if (entry.kind !== 'struct' || found === undefined) continue;
    const events = numberField(entry, 'events');
    if (events !== undefined && events !== found.bits) {
      return `event ${i} is ${hex(found.bits)}, not ${hex(events)}`;
    }
    const fd = numberField(entry, 'fd');
    if (fd !== undefined && fd !== found.watch.data) return `event ${i} is of fd ${found.watch.data}`;
  }
  return undefined;
}
