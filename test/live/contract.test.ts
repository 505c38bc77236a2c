// The device contract on a real TAP, with a raw socket of the kernel (AF_PACKET) at the other end of the wire.

import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openTap } from '../../src/node/tap.ts';
import { describeDeviceContract, type Rig } from '../link/contract.ts';
import { describeLive, Namespace, until } from './harness.ts';
import { TAP } from './support/program.ts';

const WIRE = fileURLToPath(new URL('support/wire.py', import.meta.url));

/** The raw socket's process: frames in and out, each after its length. */
class Wire {
  readonly #child: ChildProcess;
  readonly frames: Uint8Array[] = [];
  ready = false;
  #waiting = Buffer.alloc(0);

  constructor(space: Namespace) {
    this.#child = space.spawn('python3', [WIRE, TAP], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  send(frame: Uint8Array): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(frame.length);
    this.#child.stdin?.write(Buffer.concat([length, frame]));
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#waiting, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) {
      const end = 4 + bytes.readUInt32BE();
      if (this.ready) this.frames.push(new Uint8Array(bytes.subarray(4, end)));
      this.ready = true;
      bytes = bytes.subarray(end);
    }
    this.#waiting = bytes;
  }
}

async function open(offload: boolean, incoming: readonly Uint8Array[]): Promise<Rig> {
  const space = new Namespace();
  const device = openTap({ name: TAP, netns: space.name, offload });
  const wire = new Wire(space);
  await until(() => wire.ready, 'the raw socket', 30_000);
  for (const frame of incoming) wire.send(frame);
  return {
    device,
    drain: () => wire.frames.splice(0),
    inject: (frame) => wire.send(frame),
    pump: () => new Promise((resolve) => setTimeout(resolve, 2)),
    close: () => space.remove(),
  };
}

describeLive('a TAP', ['python3'], () => {
  for (const offload of [true, false]) {
    describeDeviceContract(`with offload ${offload}`, (incoming) => open(offload, incoming), {
      noisy: true,
      neverFull: true,
    });
  }
});
