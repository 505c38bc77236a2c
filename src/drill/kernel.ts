// A virtual kernel: file descriptors and system calls over the stack's own calls, blocking included.
//
// A call is an attempt that may be tried again: it blocks for as long as it says `undefined`. The numbers of file
// descriptors are the script's: whatever a script says socket() returns, that is the descriptor's number from then on.

import { type Address, parseAddress } from '../base/address.ts';
import type { Micros } from '../base/time.ts';
import type { Stack } from '../stack/stack.ts';
import type { TcpOptions } from '../tcp/tcb.ts';
import { type Attempt, done, failed, OK, type Outcome } from './outcome.ts';
import type { Profile } from './profile.ts';
import { Epoll, poll } from './readiness.ts';
import { type CallSpec, type Expression, Unsupported } from './script.ts';
import { DatagramSocket, type File, type Place, type Socket, TcpSocket } from './socket.ts';
import { control, getSocketOption, setSocketOption } from './sockopt.ts';
import { numberNamed, numberOf } from './symbols.ts';

export interface KernelOptions {
  readonly stack: Stack;
  readonly profile: Profile;
  readonly clock: () => Micros;
  readonly remote: Address;
  readonly bindPort: number;
  readonly connectPort: number;
  /** A socket began to listen, or to connect: the packets that follow are about it. */
  readonly opened: (socket: Socket, localPort: number, remotePort: number) => void;
}

type Handler = (args: Args, call: CallSpec) => Attempt;

const FLAG = {
  OOB: numberNamed('MSG_OOB'),
  PEEK: numberNamed('MSG_PEEK'),
  DONTWAIT: numberNamed('MSG_DONTWAIT'),
  NOSIGNAL: numberNamed('MSG_NOSIGNAL'),
  WAITALL: numberNamed('MSG_WAITALL'),
  TRUNC: numberNamed('MSG_TRUNC'),
};
const SOCK_NONBLOCK = numberNamed('SOCK_NONBLOCK');
const O_RDWR = 2;

/** The keep-init time of FreeBSD, in seconds: the stack gives a SYN three minutes, whatever this says. */
const KEEPINIT = 75;

export class Kernel {
  /** What a new stream socket begins with; sysctls change it. */
  readonly defaults: TcpOptions;
  readonly kept = new Map<string, number>([['TCP_KEEPINIT', KEEPINIT]]);
  /** The stream socket that connected or was accepted last: what `%{ }%` looks at. */
  current: TcpSocket | undefined;
  readonly #files = new Map<number, File>();
  readonly #options: KernelOptions;
  readonly #handlers: Readonly<Record<string, Handler>>;

  constructor(options: KernelOptions) {
    this.#options = options;
    const { defaults } = options.stack.tcp.config;
    this.defaults = { ...defaults, keepAlive: { ...defaults.keepAlive } };
    this.#handlers = this.#table();
  }

  /** Begins a call. Throws {@link Unsupported} for one that is not known, or asks for what is not there. */
  begin(call: CallSpec): Attempt {
    const handler = this.#handlers[call.name];
    if (handler === undefined) throw new Unsupported(`the system call ${call.name}`);
    return handler(new Args(call), call);
  }

  #table(): Record<string, Handler> {
    return {
      socket: (a, c) => now(this.#socket(a, c)),
      bind: (a) => this.#on(a, (s) => now(s.bind(this.#place(a.at(1), 'bind')))),
      listen: (a) => this.#stream(a, (s) => now(this.#listen(s, a.number(1)))),
      accept: (a, c) => this.#accept(a, c, 0),
      accept4: (a, c) => this.#accept(a, c, a.number(3)),
      connect: (a) => this.#on(a, (s) => this.#connect(s, a)),
      read: (a) => this.#on(a, (s) => this.#receive(s, a.number(2), 0, a.isNull(1))),
      readv: (a) => this.#on(a, (s) => this.#receive(s, vectorLength(a.at(1)), 0, false)),
      recv: (a) => this.#on(a, (s) => this.#receive(s, a.number(2), a.number(3), a.isNull(1))),
      recvfrom: (a) => this.#on(a, (s) => this.#receive(s, a.number(2), a.number(3), a.isNull(1))),
      recvmsg: (a) => this.#on(a, (s) => this.#receiveMessage(s, a)),
      write: (a) => this.#on(a, (s) => this.#send(s, a.number(2), 0, a.isNull(1), undefined)),
      writev: (a) => this.#on(a, (s) => this.#send(s, vectorLength(a.at(1)), 0, false, undefined)),
      send: (a) => this.#on(a, (s) => this.#send(s, a.number(2), a.number(3), a.isNull(1), undefined)),
      sendto: (a) =>
        this.#on(a, (s) =>
          this.#send(s, a.number(2), a.number(3), a.isNull(1), this.#optionalPlace(a.at(4))),
        ),
      sendmsg: (a) => this.#on(a, (s) => this.#sendMessage(s, a)),
      shutdown: (a) => this.#on(a, (s) => now(s.shutdown(a.number(1)))),
      close: (a) => now(this.#close(a.number(0))),
      fcntl: (a) => this.#fcntl(a),
      ioctl: (a) => this.#on(a, (s) => now(control(s, a.name(1), a.at(2)))),
      setsockopt: (a) => this.#on(a, (s) => now(setSocketOption(s, a.name(2), a.must(3)))),
      getsockopt: (a) => this.#on(a, (s) => now(getSocketOption(s, a.name(2), a.must(3)))),
      getsockname: (a) => this.#on(a, () => now(OK)),
      getpeername: (a) => this.#on(a, () => now(OK)),
      poll: (a) => poll((fd) => this.#files.get(fd), a.must(0), a.number(2), this.#options.clock),
      epoll_create: (_, c) => now(this.#give(new Epoll(), c)),
      epoll_create1: (_, c) => now(this.#give(new Epoll(), c)),
      epoll_ctl: (a) => now(this.#epollControl(a)),
      epoll_wait: (a) => this.#epollWait(a),
    };
  }

  // ---- descriptors

  /** Gives a file the descriptor that the script expects; the lowest free one when it expects none. */
  #give(file: File, { result }: CallSpec): Outcome {
    let fd = result.kind === 'ellipsis' ? -1 : numberOf(result);
    if (fd < 0 || this.#files.has(fd)) for (fd = 3; this.#files.has(fd); ) fd++;
    this.#files.set(fd, file);
    return done(fd);
  }

  #on(args: Args, use: (socket: Socket) => Attempt): Attempt {
    const file = this.#files.get(args.number(0));
    if (file === undefined) return now(failed('EBADF'));
    return file instanceof Epoll ? now(failed('ENOTSOCK')) : use(file as Socket);
  }

  #stream(args: Args, use: (socket: TcpSocket) => Attempt): Attempt {
    return this.#on(args, (s) => (s instanceof TcpSocket ? use(s) : now(failed('EOPNOTSUPP'))));
  }

  #close(fd: number): Outcome {
    const file = this.#files.get(fd);
    if (file === undefined) return failed('EBADF');
    this.#files.delete(fd);
    for (const other of this.#files.values()) if (other instanceof Epoll) other.forget(file);
    file.close();
    return OK;
  }

  #fcntl(args: Args): Attempt {
    const file = this.#files.get(args.number(0));
    if (file === undefined) return now(failed('EBADF'));
    const bit = this.#options.profile.name === 'freebsd' ? 4 : SOCK_NONBLOCK;
    switch (args.name(1)) {
      case 'F_GETFL':
        return now(done(O_RDWR | (file.nonBlocking ? bit : 0)));
      case 'F_SETFL': {
        const flags = args.number(2);
        file.nonBlocking = (flags & (SOCK_NONBLOCK | 4)) !== 0;
        return now(OK);
      }
      case 'F_GETFD':
      case 'F_SETFD':
        return now(OK);
    }
    throw new Unsupported(`fcntl ${args.name(1)}`);
  }

  // ---- sockets

  #socket(args: Args, call: CallSpec): Outcome {
    const domain = args.at(0);
    if (domain?.kind === 'word' && domain.name.endsWith('INET6')) throw new Unsupported('IPv6');
    const type = args.number(1);
    const protocol = args.at(2);
    if (protocol?.kind === 'word' && !['IPPROTO_TCP', 'IPPROTO_UDP', 'IPPROTO_IP'].includes(protocol.name)) {
      throw new Unsupported(`the protocol ${protocol.name}`);
    }
    const { stack, profile } = this.#options;
    let socket: Socket;
    if ((type & 0xf) === 1) {
      const { defaults } = this;
      const stream = new TcpSocket(stack, profile, { ...defaults, keepAlive: { ...defaults.keepAlive } });
      for (const [name, value] of this.kept) stream.kept.set(name, value);
      socket = stream;
    } else if ((type & 0xf) === 2) {
      socket = new DatagramSocket(stack);
    } else throw new Unsupported('a socket that is neither stream nor datagram');
    socket.nonBlocking = (type & SOCK_NONBLOCK) !== 0;
    return this.#give(socket, call);
  }

  #listen(socket: TcpSocket, backlog: number): Outcome {
    const outcome = socket.listen(backlog);
    if (outcome.value === 0) this.#options.opened(socket, socket.listener!.port, 0);
    return outcome;
  }

  #accept(args: Args, call: CallSpec, flags: number): Attempt {
    return this.#stream(args, (listening) => () => {
      if (listening.listener === undefined) return failed('EINVAL');
      const socket = listening.accept();
      if (socket === undefined) return listening.nonBlocking ? failed('EAGAIN') : undefined;
      socket.nonBlocking = (flags & SOCK_NONBLOCK) !== 0;
      this.current = socket;
      return this.#give(socket, call);
    });
  }

  #connect(socket: Socket, args: Args): Attempt {
    const place = this.#place(args.at(1), 'connect');
    if (socket instanceof TcpSocket && socket.kept.get('TCP_KEEPINIT') !== KEEPINIT) {
      throw new Unsupported('the socket option TCP_KEEPINIT');
    }
    return () => {
      const fresh = socket instanceof TcpSocket && socket.tcb === undefined;
      const outcome = socket.connect(place);
      if (fresh && socket.tcb !== undefined) {
        this.current = socket;
        this.#options.opened(socket, socket.tcb.localPort, place.port);
      } else if (socket instanceof DatagramSocket && outcome?.value === 0) {
        this.#options.opened(socket, socket.udp.localPort, place.port);
      }
      return outcome;
    };
  }

  /** `...` is the address that goes without saying: ours and 8080 to bind, the peer's and 8080 to connect. */
  #place(e: Expression | undefined, use: 'bind' | 'connect'): Place {
    const { remote, bindPort, connectPort } = this.#options;
    if (e === undefined || e.kind === 'ellipsis') {
      return use === 'bind' ? { address: undefined, port: bindPort } : { address: remote, port: connectPort };
    }
    return placeIn(e);
  }

  #optionalPlace(e: Expression | undefined): Place | undefined {
    return e === undefined || e.kind === 'ellipsis' || isNull(e) ? undefined : placeIn(e);
  }

  // ---- data

  #receive(socket: Socket, length: number, flags: number, intoNull: boolean): Attempt {
    const known = FLAG.PEEK | FLAG.DONTWAIT | FLAG.NOSIGNAL | FLAG.WAITALL | FLAG.TRUNC;
    if ((flags & FLAG.OOB) !== 0) throw new Unsupported('urgent data (MSG_OOB)');
    if ((flags & ~known) !== 0) throw new Unsupported(`the receive flags 0x${(flags & ~known).toString(16)}`);
    const peek = (flags & FLAG.PEEK) !== 0;
    return unlessNonBlocking(flags, () => {
      const all = (flags & FLAG.WAITALL) !== 0 && !socket.nonBlocking;
      if (all && socket.unread() < length && (socket.events() & (RDHUP | ERR)) === 0) return undefined;
      return socket.read(length, peek, intoNull);
    });
  }

  #receiveMessage(socket: Socket, args: Args): Attempt {
    const message = args.must(1);
    if (message.kind === 'struct' && message.fields.some((f) => f.name === 'msg_control')) {
      throw new Unsupported('control messages');
    }
    return this.#receive(socket, messageLength(message), args.number(2), false);
  }

  #send(socket: Socket, length: number, flags: number, fromNull: boolean, to: Place | undefined): Attempt {
    if ((flags & FLAG.OOB) !== 0) throw new Unsupported('urgent data (MSG_OOB)');
    const known = FLAG.DONTWAIT | FLAG.NOSIGNAL;
    const unknown = flags & ~known;
    if (unknown !== 0) throw new Unsupported(flagName(unknown));
    if (fromNull && length > 0) return now(failed('EFAULT'));
    const state = { done: 0 };
    return unlessNonBlocking(flags, () => socket.write(length, state, to));
  }

  #sendMessage(socket: Socket, args: Args): Attempt {
    const message = args.must(1);
    if (message.kind === 'struct' && message.fields.some((f) => f.name === 'msg_control')) {
      throw new Unsupported('control messages');
    }
    const name = message.kind === 'struct' ? message.fields.find((f) => f.name === 'msg_name') : undefined;
    const to = this.#optionalPlace(name?.value);
    return this.#send(socket, messageLength(message), args.number(2), false, to);
  }

  // ---- epoll

  #epollControl(args: Args): Outcome {
    const epoll = this.#files.get(args.number(0));
    const fd = args.number(2);
    const file = this.#files.get(fd);
    if (epoll === undefined || file === undefined) return failed('EBADF');
    if (!(epoll instanceof Epoll)) return failed('EINVAL');
    return epoll.control(args.name(1), file, fd, args.at(3));
  }

  #epollWait(args: Args): Attempt {
    const epoll = this.#files.get(args.number(0));
    if (!(epoll instanceof Epoll)) return now(failed(epoll === undefined ? 'EBADF' : 'EINVAL'));
    return epoll.wait(args.must(1), args.number(2), args.number(3), this.#options.clock);
  }
}

const ERR = 0x8;
const RDHUP = 0x2000;

function now(outcome: Outcome): Attempt {
  return () => outcome;
}

/** MSG_DONTWAIT: what would block is EAGAIN. */
function unlessNonBlocking(flags: number, attempt: Attempt): Attempt {
  return (flags & FLAG.DONTWAIT) === 0 ? attempt : () => attempt() ?? failed('EAGAIN');
}

function flagName(bits: number): string {
  for (const name of ['MSG_MORE', 'MSG_EOR', 'MSG_ZEROCOPY', 'MSG_FASTOPEN']) {
    if ((bits & numberNamed(name)) !== 0) return `the flag ${name}`;
  }
  return `the send flags 0x${bits.toString(16)}`;
}

function isNull(e: Expression): boolean {
  return e.kind === 'word' && e.name === 'NULL';
}

/** `{sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.0.2.1")}`. */
function placeIn(e: Expression): Place {
  if (e.kind !== 'struct') throw new Unsupported(`a ${e.kind} as an address`);
  const field = (name: string): Expression | undefined => e.fields.find((f) => f.name === name)?.value;
  const port = field('sin_port') ?? field('sin6_port');
  const host = field('sin_addr') ?? field('sin6_addr');
  const text = host?.kind === 'call' ? host.args.at(-1) : host;
  const address = text?.kind === 'string' ? parseAddress(text.value) : undefined;
  const any = host !== undefined && host.kind === 'call' && host.name === 'htonl';
  if (port === undefined || (address === undefined && !any)) throw new Unsupported('this form of an address');
  if (address?.family === 6) throw new Unsupported('IPv6');
  return { address, port: numberOf(port) };
}

/** Bytes of an iovec array: `[{..., 40}, {..., 100}]`. */
function vectorLength(e: Expression | undefined): number {
  if (e?.kind !== 'array') throw new Unsupported('an iovec that is no array');
  let total = 0;
  for (const item of e.items) {
    const length = item.kind === 'struct' ? item.fields[1]?.value : undefined;
    if (length === undefined) throw new Unsupported('this form of an iovec');
    total += numberOf(length);
  }
  return total;
}

function messageLength(e: Expression): number {
  const vector = e.kind === 'struct' ? e.fields.find((f) => f.name === 'msg_iov') : undefined;
  if (vector === undefined) throw new Unsupported('a message without msg_iov');
  return vectorLength(vector.value);
}

/** The arguments of a call, by place. */
class Args {
  readonly #call: CallSpec;

  constructor(call: CallSpec) {
    this.#call = call;
  }

  at(i: number): Expression | undefined {
    return this.#call.args[i];
  }

  must(i: number): Expression {
    const e = this.at(i);
    if (e === undefined) throw new Unsupported(`${this.#call.name} without argument ${i + 1}`);
    return e;
  }

  number(i: number): number {
    return numberOf(this.must(i));
  }

  isNull(i: number): boolean {
    return isNull(this.must(i));
  }

  /** The name an argument is written as: what options and requests are told apart by. */
  name(i: number): string {
    const e = this.must(i);
    return e.kind === 'word' ? e.name : String(numberOf(e));
  }
}
