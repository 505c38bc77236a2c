// The portable face: the stack, devices, codecs and captures, without Node. Runs wherever JavaScript does.
//
// Its host gives it four things: the time (`now`, integer microseconds), received frames, a way to send frames, and chance.

// The stack.
export type { ArpCounters, ArpQuestion, ArpReply } from './arp/arp.ts';
export type { ClaimOptions, ConflictOutcome } from './arp/claim.ts';
// Codecs: getters and setters over a DataView, one namespace a header.
export * as arpHeader from './arp/header.ts';
// Ground floor.
export {
  Address,
  ANY_V4,
  ANY_V6,
  BROADCAST_V4,
  type Cidr,
  type Family,
  LOOPBACK_V4,
  LOOPBACK_V6,
  parseAddress,
  parseCidr,
  subnetBroadcast,
  v4,
} from './base/address.ts';
export { finish, fold, pseudoHeaderSum, sum } from './base/checksum.ts';
export type { DropCounts, DropReason, Verdict } from './base/drop.ts';
export { ERRNO, type ErrorCode, NetError } from './base/errors.ts';
export type { IpError, IpOutput, Path, RouteError, SendOptions, Transport } from './base/ip.ts';
export { BROADCAST_MAC, formatMac, isGroupMac, type Mac, macEquals, parseMac } from './base/mac.ts';
export {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_VLAN,
  type InterfaceAddress,
  type LinkPort,
  type NetInterface,
  type SendResult,
} from './base/netif.ts';
export { BROADCAST, Frame, type LinkCast, MULTICAST, makeFrames, Packet, UNICAST } from './base/packet.ts';
export { type Random, seededRandom } from './base/random.ts';
export { Slab, SlabPool } from './base/slab.ts';
export {
  type Clock,
  HOUR,
  MICROSECOND,
  MILLISECOND,
  MINUTE,
  type Micros,
  NEVER,
  SECOND,
} from './base/time.ts';
export { Timer, TimerQueue } from './base/timers.ts';
export { Trace } from './base/trace.ts';
export * as ethernetHeader from './ether/header.ts';
// Frames taken apart: trees in Wireshark's names, one line a frame. (The buffer-layout tables need Node: inspect/layouts.ts.)
export { type Dissected, type DissectOptions, dissect, findFields } from './inspect/dissect.ts';
export { FramePrinter, formatTree, SequenceBook } from './inspect/print.ts';
// Echo ("ping") is a client of ICMP: `stack.ipv4.icmp.echo`.
export type { EchoClient, EchoError, EchoOptions, EchoReply, EchoUser } from './ipv4/echo.ts';
export * as ipv4Header from './ipv4/header.ts';
export * as icmpHeader from './ipv4/icmp-header.ts';
// Devices, and devices around devices.
export { Cable, type CableOptions } from './link/cable.ts';
export { type Capture, type CaptureOptions, capture, type WallTime } from './link/capture.ts';
export {
  type Device,
  type DeviceFeatures,
  type DeviceStats,
  emptyStats,
  type FrameSink,
  FULL_OFFLOAD,
  NO_OFFLOAD,
} from './link/device.ts';
export { type Impairment, type Netem, type NetemOptions, netem } from './link/netem.ts';
export { createPipe, ETHERNET_MTU, type PipeOptions } from './link/pipe.ts';
export { type Replay, type ReplayOptions, replay, type TimedFrame } from './link/replay.ts';
export { segment } from './link/segment.ts';
export { type PortOptions, Switch, type SwitchOptions } from './link/switch.ts';
// Captures.
export { openCapture, SniffingReader } from './pcap/open.ts';
export { type PcapOptions, PcapReader, PcapWriter } from './pcap/pcap.ts';
export {
  type InterfaceOptions as PcapngInterfaceOptions,
  type PacketOptions as PcapngPacketOptions,
  PcapngWriter,
  type SectionOptions as PcapngSectionOptions,
  type StatisticsOptions as PcapngStatisticsOptions,
} from './pcap/pcapng.ts';
export { PcapngReader } from './pcap/pcapng-reader.ts';
export type { CaptureError, CaptureReader, CaptureRecord } from './pcap/record.ts';
// Many hosts in one virtual time.
export { SimHost, type SimHostOptions } from './sim/host.ts';
export { type LinkOptions as SimLinkOptions, SimLink, SimSwitch } from './sim/link.ts';
export { Sim, type SimOptions } from './sim/sim.ts';
export type { Lifetimes } from './stack/addresses.ts';
export type { Counters, InterfaceReport } from './stack/counters.ts';
export type { AddressOptions, Interface, InterfaceOptions, NeighbourProtocol } from './stack/interface.ts';
export { type Route, type RouteSpec, RouteTable } from './stack/route.ts';
export { type NetworkLayer, Stack, type StackObserver, type StackOptions } from './stack/stack.ts';
// TCP and UDP calls. Those of TCP carry its name, because every protocol has an `open` and a `send`.
export {
  abort as abortTcp,
  accept as acceptTcp,
  close as closeTcp,
  info as infoTcp,
  type ListenRequest,
  listen as listenTcp,
  type OpenRequest,
  open as openTcp,
  readableBytes as readableTcp,
  receive as receiveTcp,
  receiveInto as receiveIntoTcp,
  send as sendTcp,
  setKeepAlive as setKeepAliveTcp,
  setNoDelay as setNoDelayTcp,
  shutdown as shutdownTcp,
  type TcpInfo,
  unlisten as unlistenTcp,
  unsentBytes as unsentTcp,
} from './tcp/calls.ts';
export * as tcpHeader from './tcp/header.ts';
export type { State, Tcb, TcpOptions, TcpUser } from './tcp/tcb.ts';
export type { Listener, Tcp, TcpConfig, TcpCounters } from './tcp/tcp.ts';
export * as udpHeader from './udp/header.ts';
export {
  bindUdp,
  closeUdp,
  connectUdp,
  type Datagram,
  disconnectUdp,
  joinGroup,
  leaveGroup,
  openUdp,
  resumeUdp,
  sendUdp,
  setGroupFilter,
  type Udp,
  type UdpSocket,
  type UdpSocketOptions,
  type UdpUser,
} from './udp/udp.ts';
