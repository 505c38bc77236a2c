// Where captures are plugged into a running host: one recording device, any number of files at a time.

import type { Cidr } from '../base/address.ts';
import { formatMac } from '../base/mac.ts';
import type { Trace } from '../base/trace.ts';
import { type Capture as CapturingDevice, capture } from '../link/capture.ts';
import type { Device } from '../link/device.ts';
import { now, wallClock } from './clock.ts';
import { createPcapngFile, type PcapngFile } from './pcap-file.ts';

/** A capture that is running. */
export interface HostCapture {
  readonly file: string;
  /** Stops, writes the counters, and resolves when the file is complete. Rejects when it is not. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a capture's header says of the interface. */
export interface CaptureFacts {
  readonly name: string;
  readonly address: Cidr | undefined;
}

export class CapturePoint {
  readonly device: CapturingDevice;
  readonly #files = new Set<PcapngFile>();

  constructor(device: Device, trace: Trace) {
    this.device = capture(device, {
      writer: {
        packet: (...values) => {
          for (const file of this.#files) file.packet(...values);
        },
        statistics: (...values) => {
          for (const file of this.#files) file.statistics(...values);
        },
      },
      interfaceId: 0,
      trace,
      clock: () => {
        const micros = wallClock(now());
        const seconds = Math.floor(micros / 1_000_000);
        return { seconds, nanos: (micros - seconds * 1_000_000) * 1000 };
      },
      started: false,
    });
  }

  /** Starts to record into `path` (`-` is standard output). Throws what `open(2)` says. */
  start(path: string, { name, address }: CaptureFacts): HostCapture {
    const file = createPcapngFile(path, { application: 'tapstack', os: `Node ${process.version}` });
    const { device } = this;
    file.addInterface({
      name,
      linkType: 1,
      description: `tapstack ${formatMac(device.mac)}`,
      mac: device.mac,
      ...(address === undefined ? {} : { ipv4: address }),
    });
    this.#files.add(file);
    device.start();
    let stopped: Promise<void> | undefined;
    const stop = () => {
      stopped ??= this.#stop(file);
      return stopped;
    };
    return { file: path, stop, [Symbol.asyncDispose]: stop };
  }

  async #stop(file: PcapngFile): Promise<void> {
    // The device writes its counters when it stops; while other files go on, this one ends without.
    if (this.#files.size === 1) this.device.stop();
    this.#files.delete(file);
    await file.close();
  }

  /** Completes every file. */
  async close(): Promise<void> {
    this.device.stop();
    const files = [...this.#files];
    this.#files.clear();
    await Promise.all(files.map((file) => file.close()));
  }
}
