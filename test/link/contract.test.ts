// Every device keeps the device contract (src/link/device.ts).

import { makeFrames } from '../../src/base/packet.ts';
import { MILLISECOND, NEVER } from '../../src/base/time.ts';
import { Trace } from '../../src/base/trace.ts';
import { capture } from '../../src/link/capture.ts';
import type { Device } from '../../src/link/device.ts';
import { FULL_OFFLOAD } from '../../src/link/device.ts';
import { netem } from '../../src/link/netem.ts';
import { createPipe, type PipeOptions } from '../../src/link/pipe.ts';
import { replay } from '../../src/link/replay.ts';
import { segment } from '../../src/link/segment.ts';
import { Switch } from '../../src/link/switch.ts';
import { PcapngWriter } from '../../src/pcap/pcapng.ts';
import { bytesOf, describeDeviceContract, fill, type OpenRig, type Rig } from './contract.ts';

/** Sends bytes through a plain device. */
function sendAll(device: Device, frames: readonly Uint8Array[]): void {
  const [frame] = makeFrames(1, 4_096);
  for (const bytes of frames) {
    if (device.transmit([fill(frame!.reset(), bytes)], 0, 1) !== 1) throw new Error('the other end is full');
  }
}

/** A rig in virtual time: `device` above, `other` at the far end. */
function rigOf(device: Device, other: Device): Rig {
  let now = 0;
  return {
    device,
    inject: (bytes) => sendAll(other, [bytes]),
    drain() {
      const out: Uint8Array[] = [];
      other.receive((packet) => out.push(bytesOf(packet)), Number.POSITIVE_INFINITY);
      return out;
    },
    pump() {
      const next = device.nextTimeout();
      if (next !== NEVER) now = Math.max(now, next);
      device.advance(now);
      other.advance(now);
    },
    close: () => other.close(),
  };
}

/** The device made by `wrap` around one end of a pipe. */
function onPipe(wrap: (device: Device) => Device, options: PipeOptions = {}): OpenRig {
  return (incoming) => {
    const [a, b] = createPipe(options);
    sendAll(b, incoming);
    return rigOf(wrap(a), b);
  };
}

const recorder = (device: Device) => {
  const writer = new PcapngWriter(() => {});
  const interfaceId = writer.addInterface({ name: 'test' });
  return capture(device, {
    writer,
    interfaceId,
    trace: new Trace(),
    clock: () => ({ seconds: 1_700_000_000, nanos: 0 }),
  });
};

describeDeviceContract(
  'pipe',
  onPipe((device) => device),
);
describeDeviceContract(
  'pipe with offload',
  onPipe((device) => device, { features: FULL_OFFLOAD }),
);
describeDeviceContract('segment', onPipe(segment, { queue: 400 }));
describeDeviceContract('capture', onPipe(recorder));
describeDeviceContract(
  'netem that does nothing',
  onPipe((device) => netem(device, { limit: 100 })),
);
describeDeviceContract(
  'netem with delay and rate',
  onPipe((device) => netem(device, { delay: 20 * MILLISECOND, jitter: 5_000, rate: 1e8, limit: 500 })),
);
describeDeviceContract(
  'segment, capture, netem, all on one pipe',
  onPipe((device) => segment(recorder(netem(device, { delay: 1, limit: 100 })))),
);
describeDeviceContract(
  'switch',
  (incoming) => {
    const hub = new Switch();
    const device = hub.port();
    const other = hub.port();
    sendAll(other, incoming);
    return rigOf(device, other);
  },
  { neverFull: true },
);
describeDeviceContract(
  'replay',
  (incoming) => {
    let taken = 0;
    const device = replay({ frames: incoming.map((bytes, i) => ({ at: 5_000 + i * 10, bytes })) });
    let now = 0;
    return {
      device,
      drain: () => {
        const out = device.transmitted.slice(taken).map(({ bytes }) => bytes);
        taken = device.transmitted.length;
        return out;
      },
      pump: () => {
        const next = device.nextTimeout();
        if (next !== NEVER) now = Math.max(now, next);
        device.advance(now);
      },
    };
  },
  { neverFull: true },
);
