// Two hosts on a wire in memory: for demonstrations, tests, and programs that want a network without a kernel.

import { FULL_OFFLOAD } from '../link/device.ts';
import { type NetemOptions, netem } from '../link/netem.ts';
import { createPipe } from '../link/pipe.ts';
import { createHost, type Host, type HostOptions } from './host.ts';

export interface WireOptions {
  /** Options of the two hosts. They are 10.0.0.1/24 and 10.0.0.2/24 unless told otherwise. */
  readonly a?: Omit<HostOptions, 'device' | 'tap'>;
  readonly b?: Omit<HostOptions, 'device' | 'tap'>;
  /** Largest IP packet, in bytes; 1500. */
  readonly mtu?: number;
  /** A worse wire: delay, loss, rate … both ways, as each end's `netem`. */
  readonly netem?: NetemOptions;
  /** Super-frames and unfinished checksums cross as they are, as over a TAP; true unless there is netem. */
  readonly offload?: boolean;
}

export interface HostPair {
  readonly a: Host;
  readonly b: Host;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes two hosts that see each other and nobody else. */
export async function createWire(options: WireOptions = {}): Promise<HostPair> {
  const { mtu, netem: weather, offload = weather === undefined } = options;
  const [endA, endB] = createPipe({
    ...(mtu === undefined ? {} : { mtu }),
    ...(offload ? { features: FULL_OFFLOAD } : {}),
  });
  // What one end sends is delayed there: each direction has its own chance, from one seed.
  const seed = weather?.seed ?? 0;
  const wrap = (end: typeof endA, salt: number) =>
    weather === undefined ? end : netem(end, { ...weather, seed: seed + salt, direction: 'out' });
  const a = await createHost({ name: 'a', ipv4: '10.0.0.1/24', ...options.a, device: wrap(endA, 0) });
  const b = await createHost({ name: 'b', ipv4: '10.0.0.2/24', ...options.b, device: wrap(endB, 1) });
  const close = async () => {
    await Promise.all([a.close(), b.close()]);
  };
  return { a, b, close, [Symbol.asyncDispose]: close };
}
