// The one file that knows what Node does not promise: its stream binding, and private names of net and dgram.
//
// Everything here was learned by reading and probing Node 20, 22, 24 and 26; docs/decisions/0002-handles.md says what
// the risk is and what happens when a version lacks something.

import type dgram from 'node:dgram';
import net from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { HostError } from './errors.ts';

/** libuv's end of file: not an errno. */
export const UV_EOF = -4095;
/** libuv's "the handle went away before the request was done". */
export const UV_ECANCELED = -125;

/** What Node reads after a call on a handle: numbers that the last call on *any* stream left behind. */
interface StreamBinding {
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kArrayBufferOffset: number;
  readonly kBytesWritten: number;
  readonly kLastWriteWasAsync: number;
  /** Since Node 26. */
  readonly kLastWriteErr?: number;
}

/** A request object of Node: a write, a shutdown, a connect. */
export interface Request {
  oncomplete?: ((...values: unknown[]) => void) | undefined;
  [name: string]: unknown;
}

type NativeMethod = (this: object, ...values: unknown[]) => unknown;

/** Node's JSStream: a native stream whose other end is JavaScript. */
interface JsStreamPrototype {
  readBuffer: NativeMethod;
  emitEOF: NativeMethod;
  finishWrite: NativeMethod;
  finishShutdown: NativeMethod;
}

function lacks(what: string, cause?: unknown): HostError {
  return new HostError(
    'ERR_NODE_INTERNALS',
    `Node ${process.version} lacks ${what}, which tapstack's node:net and node:dgram sockets stand on. ` +
      'The sockets of tapstack/core do without it.',
    cause === undefined ? undefined : { cause },
  );
}

/** `process.binding` without the deprecation warning that `--pending-deprecation` would print for our caller. */
function binding<T>(name: string): T {
  const before = process.noDeprecation;
  process.noDeprecation = true;
  try {
    const call = (process as unknown as { binding?: (name: string) => T }).binding;
    if (call === undefined) throw lacks('process.binding');
    return call.call(process, name);
  } catch (cause) {
    throw cause instanceof HostError ? cause : lacks(`process.binding('${name}')`, cause);
  } finally {
    if (before === undefined) delete (process as { noDeprecation?: boolean }).noDeprecation;
    else process.noDeprecation = before;
  }
}

function find<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw lacks(what);
  return value;
}

/** The symbol that Node keeps under `description` on `object` or on what it inherits from. */
function symbolOf(object: object, description: string): symbol | undefined {
  for (let at: object | null = object; at !== null; at = Object.getPrototypeOf(at)) {
    const symbol = Object.getOwnPropertySymbols(at).find((s) => s.description === description);
    if (symbol !== undefined) return symbol;
  }
  return undefined;
}

const stream = binding<StreamBinding>('stream_wrap');
const state = find(stream.streamBaseState, 'streamBaseState');
const READ = find(stream.kReadBytesOrError, 'kReadBytesOrError');
const OFFSET = find(stream.kArrayBufferOffset, 'kArrayBufferOffset');
const WRITTEN = find(stream.kBytesWritten, 'kBytesWritten');
const ASYNC = find(stream.kLastWriteWasAsync, 'kLastWriteWasAsync');
const WRITE_ERROR = stream.kLastWriteErr;

const { TCP } = binding<{ TCP: { prototype: object } }>('tcp_wrap');
const { JSStream } = binding<{ JSStream: { new (): object; prototype: JsStreamPrototype } }>('js_stream');
const native = JSStream.prototype;

/** Tells Node what the following `onread` brings: bytes from `offset` of the buffer, or a negative error. */
export function announceRead(bytesOrError: number, offset: number): void {
  state[READ] = bytesOrError;
  state[OFFSET] = offset;
}

/** Tells Node how the write that is about to return went. Nothing may write to another stream between this and the return. */
export function announceWrite(bytes: number, async: boolean): void {
  state[WRITTEN] = bytes;
  state[ASYNC] = async ? 1 : 0;
  if (WRITE_ERROR !== undefined) state[WRITE_ERROR] = 0;
}

/**
 * What a pending write returns. Node up to 24 makes the request and wants 0; from 26 on it gives no request and wants one
 * back, whose `oncomplete` it fills in.
 */
export function pendingWrite(request: Request | null): { request: Request; result: number | Request } {
  if (request !== null) return { request, result: 0 };
  const made: Request = { oncomplete: undefined, error: undefined, writeStatus: null };
  return { request: made, result: made };
}

/**
 * The base of our stream handles: a JSStream that claims to be a TCP.
 *
 * `instanceof TCP` is what `server.listen(handle)` and `socket.resetAndDestroy()` ask for. A JSStream underneath is what
 * TLS and HTTP/2 need when they take a handle over: they read and write it from C++. As long as none does, the methods of
 * our handle hide the native ones and no byte passes through C++.
 */
export const NativeStream = (() => {
  // A class, and derived from JSStream: an ordinary function that calls `Reflect.construct` would first be given an object
  // of its own, and each of the two constructions would take the hidden class from the other: one per handle, and no
  // inline cache ever warm.
  class NativeStream extends (JSStream as new () => object) {}
  Object.setPrototypeOf(NativeStream.prototype, TCP.prototype);
  return NativeStream;
})();

/** Sets the listener that C++ falls back to when nobody has taken the stream over. */
export function setNativeOnread(handle: object, onread: unknown): void {
  // Node 20 keeps `onread` as a native data property, later ones as an accessor: Reflect.set reaches both.
  Reflect.set(native, 'onread', onread, handle);
}

/** Hands bytes to whoever took the stream over in C++; copies them. */
export function nativeRead(handle: object, bytes: Uint8Array): void {
  native.readBuffer.call(handle, bytes);
}

export function nativeEnd(handle: object): void {
  native.emitEOF.call(handle);
}

/** Completes a request that C++ made. Never from within the call that brought it. */
export function finishNativeWrite(handle: object, request: Request, status: number): void {
  native.finishWrite.call(handle, request, status);
}

export function finishNativeShutdown(handle: object, request: Request, status: number): void {
  native.finishShutdown.call(handle, request, status);
}

let ownerSymbol: symbol | undefined;

/** The net.Socket, net.Server or dgram.Socket that uses a handle. */
export function ownerOf(handle: object): unknown {
  ownerSymbol ??= symbolOf(handle, 'owner_symbol');
  return ownerSymbol === undefined ? undefined : (handle as Record<symbol, unknown>)[ownerSymbol];
}

/** Cuts the way from a handle that is closed to its owner. */
export function forgetOwner(handle: object): void {
  if (ownerOf(handle) !== undefined) (handle as Record<symbol, unknown>)[ownerSymbol!] = undefined;
}

/** `net.Socket.prototype[kReinitializeHandle](handle)`: gives a socket a handle, as `connect` does with a fresh one. */
export const reinitializeHandle: symbol = find(
  symbolOf(net.Socket.prototype, 'kReinitializeHandle'),
  "net.Socket's kReinitializeHandle",
);

/** The forms that `net.connect` takes, as `[options, callback]`. */
export function normalizeArguments(
  values: readonly unknown[],
): [Record<string, unknown>, (() => void) | null] {
  type Normalized = [Record<string, unknown>, (() => void) | null];
  const { _normalizeArgs } = net as unknown as {
    _normalizeArgs?: (values: readonly unknown[]) => Normalized;
  };
  return find(_normalizeArgs, 'net._normalizeArgs')(values);
}

/** True for what {@link normalizeArguments} returned, which Node passes on to itself. */
export function isNormalized(value: unknown): value is [Record<string, unknown>, (() => void) | null] {
  return Array.isArray(value) && symbolOf(value, 'normalizedArgs') !== undefined;
}

/** Who publishes `net.client.socket`: `net.connect` up to Node 22, which ours stands in for; `Socket.connect` from 24 on. */
export const socketPublishesItself = net.Socket.prototype.connect
  .toString()
  .includes('netClientSocketChannel');

/** A handle as dgram.Socket calls it. */
export interface DatagramHandle {
  lookup?: unknown;
  bind: unknown;
  connect: unknown;
  send: unknown;
  close(): void;
}

/** Puts `handle` in place of the kernel's in a fresh dgram.Socket, and closes that one. Keeps Node's lookup. */
export function adoptDatagramHandle(socket: dgram.Socket, handle: DatagramHandle): void {
  const key = find(symbolOf(socket, 'state symbol'), "dgram.Socket's state");
  const held = (socket as unknown as Record<symbol, { handle: DatagramHandle & Record<symbol, unknown> }>)[
    key
  ]!;
  const old = held.handle;
  const owner = find(symbolOf(old, 'owner_symbol'), 'owner_symbol');
  handle.lookup = old.lookup;
  (handle as unknown as Record<symbol, unknown>)[owner] = socket;
  held.handle = handle as DatagramHandle & Record<symbol, unknown>;
  old.close();
}

/** True while the datagram socket has not been closed. */
export function datagramHandleOf(socket: dgram.Socket): unknown {
  const key = find(symbolOf(socket, 'state symbol'), "dgram.Socket's state");
  return (socket as unknown as Record<symbol, { handle: unknown }>)[key]!.handle;
}

/** An error as Node makes it for a failed bind or listen: `listen EADDRINUSE: address already in use 10.7.0.2:80`. */
export function systemError(errno: number, syscall: string, address?: string, port?: number): Error {
  const [code, text] = getSystemErrorMap().get(errno) ?? [`Unknown system error ${errno}`, ''];
  const place = address === undefined ? '' : ` ${address}${port !== undefined && port > 0 ? `:${port}` : ''}`;
  const error = new Error(`${syscall} ${code}: ${text}${place}`);
  Object.assign(error, { code, errno, syscall });
  if (address !== undefined) Object.assign(error, { address });
  if (port !== undefined && port > 0) Object.assign(error, { port });
  return error;
}
