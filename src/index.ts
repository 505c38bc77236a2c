// The Node face: hosts on TAP devices or on wires in memory, with Node's own sockets over them. The portable core is core.ts.

export * from './core.ts';
export type { HostDgram } from './node/dgram.ts';
export { channels } from './node/diagnostics.ts';
export { AbortError, HostError, type HostErrorCode } from './node/errors.ts';
export {
  type ConnectionFacts,
  createHost,
  Host,
  type HostCapture,
  type HostEvents,
  type HostOptions,
} from './node/host.ts';
export type { Lookup, LookupAnswer, Resolver } from './node/lookup.ts';
export type { HostNet } from './node/net.ts';
export { createPcapngFile, readCapture } from './node/pcap-file.ts';
export { createPcapWriter } from './node/pcap-writer.ts';
export type { ArpingOptions, ArpingReply, PingOptions, PingReply } from './node/ping.ts';
export { openTap, Tap, TapDevice, TapError, type TapOptions, Tun } from './node/tap.ts';
export { createTapWire, type Lateness, TapWire, type TapWireOptions } from './node/tap-wire.ts';
export { createWire, type HostPair, type WireOptions } from './node/wire.ts';
