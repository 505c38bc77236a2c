// The TAP device against the running kernel, in namespaces of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { finish, fold, pseudoHeaderSum, sum } from '../../src/base/checksum.ts';
import { formatMac } from '../../src/base/mac.ts';
import { type Frame, makeFrames, type Packet } from '../../src/base/packet.ts';
import { Slab } from '../../src/base/slab.ts';
import { loadAddon, MAX_FRAME, TX_STRIDE } from '../../src/node/addon.ts';
import { openTap, type TapDevice, type TapOptions } from '../../src/node/tap.ts';
import { Tap, Tun } from '../../src/node/tap-stream.ts';
import { check, describeLive, Namespace, outcomeOf, until } from './harness.ts';

const OURS = '10.9.0.2';
const THEIRS = '10.9.0.1';

/** A received frame, copied out. */
interface Seen {
  readonly bytes: Buffer;
  readonly trusted: boolean;
  readonly gsoSize: number;
}

/** Keeps every frame a device brings. */
class Watcher {
  readonly seen: Seen[] = [];
  /** What to do with each frame besides; may set `packet.pinned`. */
  also: (packet: Packet) => void = () => {};

  constructor(device: TapDevice) {
    device.onReady = () => {
      device.receive((packet) => {
        const bytes = Buffer.from(packet.bytes.slice(packet.start, packet.end));
        this.seen.push({ bytes, trusted: packet.checksumTrusted, gsoSize: packet.gsoSize });
        this.also(packet);
      }, 256);
    };
  }

  find(test: (frame: Buffer) => boolean): Seen | undefined {
    return this.seen.find(({ bytes }) => test(bytes));
  }
}

const frames = makeFrames(8);

function frameOf(bytes: Uint8Array, at = 0): Frame {
  const frame = (frames[at] as Frame).reset();
  frame.copyIn(bytes, 0, bytes.length);
  return frame;
}

function send(device: TapDevice, ...list: Frame[]): number {
  return device.transmit(list, 0, list.length);
}

const ip = (text: string) => Buffer.from(text.split('.').map(Number));
const isArpRequest = (frame: Buffer) => frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 1;
const isUdp = (frame: Buffer) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 17;

/** RFC 826: the answer to `request` that says `mac`. */
function arpReply(request: Buffer, mac: Uint8Array): Buffer {
  const sha = request.subarray(22, 28);
  const head = Buffer.from('08060001080006040002', 'hex');
  return Buffer.concat([sha, mac, head, mac, request.subarray(38, 42), sha, request.subarray(28, 32)]);
}

/** Ethernet and IPv4 in front of a UDP datagram from us to them; the UDP checksum field holds the pseudo-header sum. */
function udpHeaders(device: TapDevice, payload: number, port: number): Buffer {
  const bytes = Buffer.alloc(42);
  bytes.set(device.kernel.mac, 0);
  bytes.set(device.mac, 6);
  bytes.writeUInt16BE(0x0800, 12);
  bytes.set([0x45, 0], 14);
  bytes.writeUInt16BE(28 + payload, 16);
  bytes.set([64, 17], 22);
  bytes.set(ip(OURS), 26);
  bytes.set(ip(THEIRS), 30);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  bytes.writeUInt16BE(finish(sum(view, 14, 34)), 24);
  bytes.writeUInt16BE(4000, 34);
  bytes.writeUInt16BE(port, 36);
  bytes.writeUInt16BE(8 + payload, 38);
  bytes.writeUInt16BE(fold(pseudoHeaderSum(address(OURS), address(THEIRS), 17, 8 + payload)), 40);
  return bytes;
}

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** A UDP socket of the kernel inside the namespace that prints the length and sum of what it hears, or sends. */
function udpPeer(ns: Namespace, script: string) {
  const prelude = `import { createSocket } from 'node:dgram'; const s = createSocket('udp4');
    s.on('message', (m) => console.log(m.length, m.reduce((a, b) => a + b, 0)));`;
  return ns.spawn(process.execPath, ['--input-type=module', '-e', prelude + script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

describeLive('the TAP device', ['tcpdump'], () => {
  let ns: Namespace;
  let open: TapDevice[];

  beforeEach(() => {
    ns = new Namespace();
    open = [];
  });

  afterEach(() => {
    for (const device of open) device.close();
    ns.remove();
  });

  function tap(options: TapOptions = {}): TapDevice {
    const device = openTap({ netns: ns.name, name: 'tap0', addresses: `${THEIRS}/24`, ...options });
    open.push(device);
    return device;
  }

  it('is opened and set up inside a namespace without any command, and our thread stays where it was', () => {
    const before = check('ip', ['-o', 'link']).stdout;
    const device = tap({
      mtu: 9000,
      addresses: [`${THEIRS}/20`, 'fd09::1/64'],
      kernelMac: '02:00:00:00:09:01',
    });
    const shown = ns.run('ip', 'addr', 'show', 'dev', 'tap0');
    expect(shown).toContain('mtu 9000');
    expect(shown).toContain('inet 10.9.0.1/20');
    expect(shown).toMatch(/inet6 fd09::1\/64 scope global nodad/);
    expect(shown).toContain('link/ether 02:00:00:00:09:01');
    expect(shown).toMatch(/<.*UP.*>/);
    expect(device.mtu).toBe(9000);
    expect(device.kernel.addresses).toContain('fd09::1/64');
    expect(device.kernel.up).toBe(true);
    expect(formatMac(device.mac)).not.toBe('02:00:00:00:09:01');
    expect((device.mac[0] as number) & 3).toBe(2);
    expect(check('ip', ['-o', 'link']).stdout).toBe(before);

    device.kernel.removeAddress(`${THEIRS}/20`);
    device.kernel.up = false;
    expect(device.kernel.addresses).not.toContain(`${THEIRS}/20`);
    expect(ns.run('ip', 'link', 'show', 'dev', 'tap0')).toContain('state DOWN');
  });

  it('gives the namespace of our thread back after an error too', () => {
    const before = check('ip', ['-o', 'link']).stdout;
    expect(() => tap({ name: 'lo' })).toThrow(/lo: an interface of this name is there and is no TAP device/);
    expect(check('ip', ['-o', 'link']).stdout).toBe(before);
  });

  it('chooses a name and leaves no interface behind when it is closed, twice', () => {
    const device = openTap({ netns: ns.name });
    expect(device.name).toMatch(/^tap\d+$/);
    expect(ns.run('ip', '-o', 'link')).toContain(`${device.name}:`);
    device.close();
    device.close();
    expect(ns.run('ip', '-o', 'link')).not.toContain(device.name);
    expect(device.receive(() => {}, 1)).toBe(0);
    expect(send(device, frameOf(new Uint8Array(60)))).toBe(0);
    expect(() => device.kernel.mtu).toThrow(/is closed/);
  });

  it('brings the ARP request of a pinging kernel, and the answer sent reaches the neighbour table', async () => {
    const device = tap();
    const watcher = new Watcher(device);
    const ping = ns.exec('ping', '-c', '1', '-W', '1', OURS);
    await until(() => watcher.find(isArpRequest) !== undefined, 'an ARP request');
    const request = (watcher.find(isArpRequest) as Seen).bytes;
    expect(request.subarray(38, 42)).toEqual(ip(OURS));
    expect(formatMac(request, 6)).toBe(formatMac(device.kernel.mac));
    expect(send(device, frameOf(arpReply(request, device.mac)))).toBe(1);
    await until(() => watcher.find((f) => f[23] === 1 && f[34] === 8) !== undefined, 'an echo request');
    expect(ns.run('ip', 'neigh', 'show', OURS)).toContain(`lladdr ${formatMac(device.mac)}`);
    expect(device.stats.txFrames).toBe(1);
    expect(device.stats.txBytes).toBe(42);
    expect(device.stats.rxFrames).toBe(watcher.seen.length);
    await ping;
  });

  it('serves two devices at once, each with its own frames', async () => {
    const one = tap();
    const two = tap({ name: 'tap1', addresses: '10.10.0.1/24' });
    const watchers = [new Watcher(one), new Watcher(two)] as const;
    const pings = [ns.exec('ping', '-c1', '-W1', OURS), ns.exec('ping', '-c1', '-W1', '10.10.0.2')];
    await until(() => watchers.every((w) => w.find(isArpRequest) !== undefined), 'two ARP requests');
    expect((watchers[0].find(isArpRequest) as Seen).bytes.subarray(38, 42)).toEqual(ip(OURS));
    expect((watchers[1].find(isArpRequest) as Seen).bytes.subarray(38, 42)).toEqual(ip('10.10.0.2'));
    await Promise.all(pings);
  });

  for (const offload of [true, false]) {
    it(`completes a pending checksum (offload ${offload}): the frame's ranges reach a UDP socket`, async () => {
      const device = tap({ offload });
      new Watcher(device);
      expect(device.features.checksum).toBe(true);
      expect(device.features.tso4).toBe(offload);
      const capture = ns.spawn('tcpdump', ['-i', 'tap0', '-n', '-vv', '-l', '-c', '3', 'udp'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const captured = outcomeOf(capture);
      await once(capture.stderr as NodeJS.ReadableStream, 'data'); // it listens
      const peer = udpPeer(ns, `s.bind(5000, '${THEIRS}', () => console.log('bound'));`);
      let heard = '';
      peer.stdout?.on('data', (text) => {
        heard += text;
      });
      await until(() => heard.includes('bound'), 'the socket');
      // Two ranges of odd length: the second begins in the middle of a checksum word.
      const a = new Slab(Uint8Array.from({ length: 701 }, (_, i) => i * 7));
      const b = new Slab(Uint8Array.from({ length: 333 }, (_, i) => i * 13));
      for (let round = 0; round < 3; round++) {
        const frame = frameOf(udpHeaders(device, 701 + 333, 5000));
        const before = frame.bytes.slice(frame.head, frame.tail);
        frame.checksumStart = frame.head + 34;
        frame.checksumOffset = 6;
        frame.attach(a, 0, 701);
        frame.attach(b, 0, 333);
        expect(send(device, frame)).toBe(1);
        expect(frame.bytes.slice(frame.head, frame.tail)).toEqual(before); // the caller's frame is as it was
      }
      const total = [...a.bytes, ...b.bytes].reduce((x, y) => x + y, 0);
      await until(() => heard.split(`1034 ${total}`).length === 4, `three datagrams, not ${heard}`);
      expect(a.token).toBeGreaterThanOrEqual(0); // seen more than once: known to the addon
      const { stdout } = await captured;
      expect(stdout.match(/udp sum ok/g) ?? []).toHaveLength(offload ? 0 : 3);
      expect(device.stats).toMatchObject({ txFrames: 3, txBytes: 3 * 1076, txDropped: 0 });
    });
  }

  it('with offload, the kernel sends UDP with the checksum left to us, and says so', async () => {
    const device = tap();
    const watcher = new Watcher(device);
    watcher.also = (packet) => {
      const bytes = Buffer.from(packet.bytes.slice(packet.start, packet.end));
      if (isArpRequest(bytes)) send(device, frameOf(arpReply(bytes, device.mac)));
    };
    const peer = udpPeer(ns, `s.send('x'.repeat(1000), 7, '${OURS}', () => s.close());`);
    await until(() => watcher.find(isUdp) !== undefined, 'a datagram');
    const { bytes, trusted } = watcher.find(isUdp) as Seen;
    expect(trusted).toBe(true);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const whole = sum(view, 34, 42 + 1000, pseudoHeaderSum(address(THEIRS), address(OURS), 17, 1008));
    expect(fold(whole)).not.toBe(0xffff);
    peer.kill();
  });

  it('without offload, the checksum of what comes is complete and verified by the addon', async () => {
    const device = tap({ offload: false });
    const watcher = new Watcher(device);
    watcher.also = (packet) => {
      const bytes = Buffer.from(packet.bytes.slice(packet.start, packet.end));
      if (isArpRequest(bytes)) send(device, frameOf(arpReply(bytes, device.mac)));
    };
    const peer = udpPeer(ns, `s.send('x'.repeat(999), 7, '${OURS}', () => s.close());`);
    await until(() => watcher.find(isUdp) !== undefined, 'a datagram');
    const { bytes, trusted } = watcher.find(isUdp) as Seen;
    expect(trusted).toBe(true);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const whole = sum(view, 34, 42 + 999, pseudoHeaderSum(address(THEIRS), address(OURS), 17, 1007));
    expect(fold(whole)).toBe(0xffff);
    expect(watcher.find(isArpRequest)?.trusted).toBe(false);
    peer.kill();
  });

  it('does not vouch for a wrong checksum: two devices joined by a bridge of the kernel', async () => {
    const one = tap({ offload: false, addresses: [] });
    const two = tap({ name: 'tap1', offload: false, addresses: [] });
    ns.run('ip', 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0');
    for (const name of ['tap0', 'tap1']) ns.run('ip', 'link', 'set', name, 'master', 'br0');
    ns.run('ip', 'link', 'set', 'br0', 'up');
    new Watcher(one);
    const watcher = new Watcher(two);
    const datagram = (payload: number) => {
      const bytes = Buffer.concat([udpHeaders(one, payload, 9), Buffer.alloc(payload, 0x5a)]);
      bytes.set(two.mac, 0);
      return frameOf(bytes, payload % 8);
    };
    const complete = (frame: Frame) => {
      frame.checksumStart = frame.head + 34;
      frame.checksumOffset = 6;
      return frame;
    };
    await until(() => ns.run('bridge', 'link').split('state forwarding').length === 3, 'the bridge');
    // Left as it is, the field holds the pseudo-header sum alone: a wrong checksum.
    expect(send(one, complete(datagram(101)), datagram(102), complete(datagram(103)))).toBe(3);
    await until(() => watcher.seen.filter((s) => isUdp(s.bytes)).length === 3, 'three datagrams');
    const udp = watcher.seen.filter((s) => isUdp(s.bytes));
    expect(udp.map((s) => s.trusted)).toEqual([true, false, true]);
  });

  it('brings TCP super-frames with the segment size, and takes them', async () => {
    const device = tap();
    const watcher = new Watcher(device);
    const peer = new HandMadeTcp(device);
    watcher.also = (packet) => peer.input(packet);
    const script = `import { connect } from 'node:net';
      const c = connect(80, '${OURS}'); let n = 0;
      c.write(Buffer.alloc(30000, 1));
      c.on('data', (d) => { n += d.length; if (n === 24000) { console.log('got', n); process.exit(); } });`;
    const child = ns.spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const done = outcomeOf(child);
    await until(() => peer.received === 30000, 'the bytes');
    const large = watcher.seen.filter(({ gsoSize }) => gsoSize > 0);
    expect(large.length).toBeGreaterThan(0);
    for (const { bytes, gsoSize, trusted } of large) {
      expect(gsoSize).toBe(1460 - 12); // timestamps were agreed
      expect(bytes.length).toBeGreaterThan(1514);
      expect(trusted).toBe(true);
    }
    peer.reply(24000, 1448);
    expect((await done).stdout).toBe('got 24000\n');
    expect(device.stats.txDropped).toBe(0);
  });

  it('writes a slab again only behind what was pinned', async () => {
    const device = tap({ offload: false });
    const kept: { slab: Slab; start: number; length: number; copy: Buffer }[] = [];
    const watcher = new Watcher(device);
    let free = -1;
    let last: Slab | undefined;
    watcher.also = (packet) => {
      const bytes = Buffer.from(packet.bytes.slice(packet.start, packet.end));
      if (isArpRequest(bytes)) send(device, frameOf(arpReply(bytes, device.mac)));
      if (last === packet.slab && free >= 0) expect(packet.start).toBeGreaterThanOrEqual(free);
      if (!isUdp(bytes) || bytes.length % 2 === 0) return;
      packet.pinned = true;
      last = packet.slab;
      free = packet.end;
      kept.push({ slab: packet.slab, start: packet.start, length: bytes.length, copy: bytes });
    };
    const peer = udpPeer(
      ns,
      `s.bind(0, '${THEIRS}', () => { let i = 0; const go = () => { i++;
        s.send(Buffer.alloc(1 + (i % 1400), i), 7, '${OURS}', () => setImmediate(go)); }; go(); });`,
    );
    await until(() => kept.length > 1000 && new Set(kept.map((k) => k.slab)).size > 1, 'a second slab');
    peer.kill();
    expect(new Set(kept.map((k) => k.slab)).size).toBeGreaterThan(1);
    for (const { slab, start, length, copy } of kept)
      expect(copy.equals(slab.bytes.subarray(start, start + length))).toBe(true);
  });

  it('takes nothing while the interface is down, and calls onReady when it is up', async () => {
    const device = tap();
    device.kernel.up = false;
    let ready = 0;
    device.onReady = () => {
      ready++;
      device.receive(() => {}, 256);
    };
    const frame = frameOf(udpHeaders(device, 0, 9));
    expect(send(device, frame, frame)).toBe(0);
    expect(device.stats.txDropped).toBe(0);
    device.kernel.up = true;
    await until(() => ready > 0, 'onReady');
    expect(send(device, frame, frame)).toBe(2);
  });

  it('counts and skips a frame the kernel refuses', () => {
    const device = tap();
    device.onReady = () => {};
    const good = frameOf(udpHeaders(device, 0, 9), 0);
    const short = frameOf(new Uint8Array(10), 1); // less than an Ethernet header: EINVAL
    expect(send(device, good, short, good)).toBe(3);
    expect(device.stats).toMatchObject({ txFrames: 2, txDropped: 1 });
  });

  it('tells when the interface is deleted under it, and takes nothing any more', async () => {
    const device = tap();
    let ready = 0;
    device.onReady = () => {
      ready++;
      device.receive(() => {}, 64);
    };
    ns.run('ip', 'link', 'del', 'tap0');
    await until(() => device.failure !== undefined, 'the failure');
    expect(device.failure?.message).toBe('TAP tap0: the interface was deleted; open it again');
    expect(ready).toBeGreaterThan(0);
    expect(send(device, frameOf(new Uint8Array(60)))).toBe(0);
    expect(() => device.kernel.mtu).toThrow(/the interface was deleted/);
    device.close();
  });

  it('leaves nothing open behind options that are wrong', () => {
    expect(() => tap({ busyPoll: -1 })).toThrow(RangeError);
    expect(() => tap({ kernelMac: '02:00:00:00:09:01', mac: '02:00:00:00:09:01' })).toThrow(
      /has this one already/,
    );
    expect(ns.run('ip', '-o', 'link')).not.toContain('tap0');
  });

  it('says so when the name is taken', () => {
    tap();
    const again = () => tap();
    expect(again).toThrow(/TAP tap0 is busy: another program has it open/);
    expect(again).toThrow(expect.objectContaining({ code: 'EBUSY', syscall: 'TUNSETIFF' }));
  });

  it('says which namespace there is not', () => {
    expect(() => openTap({ netns: 'tapstack-nowhere' })).toThrow(
      /^no network namespace tapstack-nowhere: see `ip netns list`, or make it with `ip netns add tapstack-nowhere`$/,
    );
    expect(() => openTap({ netns: '/proc/self/status' })).toThrow(/is no network namespace/);
  });

  it('attaches as an ordinary user to a persistent device made for that user', async () => {
    ns.run('ip', 'tuntap', 'add', 'dev', 'tap7', 'mode', 'tap', 'user', '65534');
    ns.run('ip', 'addr', 'add', '10.7.0.1/24', 'dev', 'tap7');
    ns.run('ip', 'link', 'set', 'tap7', 'up');
    ns.run('ip', 'tuntap', 'add', 'dev', 'tap8', 'mode', 'tap', 'user', '1');
    // /dev/net/tun is for root alone on some machines: a node of our own for the same driver.
    const directory = mkdtempSync(join(tmpdir(), 'tapstack-'));
    try {
      chmodSync(directory, 0o755);
      const device = join(directory, 'tun');
      check('mknod', ['-m', '666', device, 'c', '10', '200']);
      const script = `
        const { createRequire } = require('node:module');
        const addon = require(${JSON.stringify(addonCopy(directory))});
        const open = (name) => addon.open(${JSON.stringify(device)}, name, '', 2, -1, () => {});
        const { id, offload } = open('tap7');
        console.log(addon.link(id).mtu, addon.addresses(id).includes('10.7.0.1/24'), (offload & 7) === 7);
        for (const f of [() => addon.setMtu(id, 1400), () => open('tap8'), () => open('tap9')])
          try { f(); } catch (e) { console.log(e.syscall, e.code); }
        addon.close(id);`;
      const child = ns.spawn('setpriv', [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '--bounding-set=-all',
        process.execPath,
        '-e',
        script,
      ]);
      const { stdout, stderr } = await outcomeOf(child);
      expect(stderr).toBe('');
      expect(stdout).toBe('1500 true true\nSIOCSIFMTU EPERM\nTUNSETIFF EPERM\nTUNSETIFF EPERM\n');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('keeps a persistent interface for its owner', () => {
    const device = tap({ persist: true, owner: 65534 });
    device.close();
    expect(ns.run('ip', 'tuntap')).toContain('tap0: tap vnet_hdr persist user 65534');
    const again = tap(); // and attaches to it anew
    expect(again.kernel.addresses).toContain(`${THEIRS}/24`);
    expect(formatMac(again.mac)).toBe(formatMac(device.mac));
  });

  it('throws RangeError for every descriptor that does not lie in its memory, and sends nothing', () => {
    const device = tap();
    device.onReady = () => {};
    const addon = loadAddon();
    const { id } = addon.open('/dev/net/tun', '', `/run/netns/${ns.name}`, 2, -1, () => {});
    try {
      const memory = new Uint8Array(1000);
      const token = addon.attach(memory);
      const words = new Int32Array(3 * TX_STRIDE);
      const row = (...values: number[]) => {
        words.fill(0);
        // Every range names the same memory: token 0 may be somebody else's.
        words.set([token, 0, 60, token, 0, 0, token, 0, 0, 0, 0, -1, 0], TX_STRIDE);
        for (let i = 0; i < values.length; i += 2)
          words[TX_STRIDE + (values[i] as number)] = values[i + 1] as number;
        return () => addon.transmit(id, words, 1);
      };
      expect(row()()).toBe(0); // down: but nothing wrong with it
      const most = 0x7fffffff;
      const bad = [
        [0, -1],
        [0, 9999],
        [0, -most - 1],
        [1, -1],
        [1, 941],
        [1, most],
        [2, 0],
        [2, -1],
        [2, 1001],
        [2, most],
        [1, most, 2, most],
        [5, 1001],
        [5, -1],
        [3, 77, 5, 1],
        [4, 1000, 5, 1],
        [8, 1001],
        [8, -1],
        [11, -2],
        [11, 59],
        [11, 60],
        [11, 0, 12, 59],
        [11, 30, 12, -31],
        [11, 0, 12, -1],
        [11, most, 12, most],
        [9, 2],
        [9, 255],
        [9, -1],
        [9, 1],
        [9, 1, 10, 0, 11, 34],
        [9, 1, 10, 65536, 11, 34],
        [9, 1, 10, 1448],
      ];
      for (const values of bad) expect(row(...values), String(values)).toThrow(RangeError);
      expect(() => addon.transmit(id, words, 3)).toThrow(RangeError);
      expect(() => addon.transmit(id, words, -1)).toThrow(RangeError);
      expect(() => addon.transmit(id, words, 0.5)).toThrow(RangeError);
      expect(() => addon.transmit(id, words, Number.NaN)).toThrow(RangeError);
      expect(() => addon.transmit(id, new Uint8Array(99) as never, 1)).toThrow(TypeError);
      expect(() => addon.transmit(12345, words, 1)).toThrow(RangeError);
      expect(() => addon.transmit(-1, words, 1)).toThrow(RangeError);

      const slab = new Uint8Array(2 * MAX_FRAME);
      const rows = new Int32Array(40);
      for (const [at, count] of [
        [-1, 1],
        [slab.length + 1, 1],
        [most, 1],
        [0, 10],
        [0, -1],
        [0, most],
      ] as const)
        expect(() => addon.read(id, slab, at, count, rows), `${at} ${count}`).toThrow(RangeError);
      expect(addon.read(id, slab, slab.length, 1, rows)).toBe(0); // no room: nothing is tried
      expect(addon.read(id, slab.subarray(0, MAX_FRAME - 1), 0, 1, rows)).toBe(0);
      expect(() => addon.setMac(id, new Uint8Array(5))).toThrow(RangeError);
      expect(() => addon.changeAddress(id, true, '10.0.0.1', 33)).toThrow(RangeError);
      expect(() => addon.changeAddress(id, true, 'nonsense', 3)).toThrow(RangeError);

      // Memory that went away between two calls is noticed: detached by a transfer, or the token given back.
      structuredClone(memory.buffer, { transfer: [memory.buffer] });
      expect(row()).toThrow(RangeError);
      addon.detach(token);
      expect(row()).toThrow(RangeError);
      expect(() => addon.detach(token)).toThrow(RangeError);
    } finally {
      addon.close(id);
      addon.close(id);
    }
    expect(() => addon.link(id)).toThrow(RangeError);
  });

  it('releases everything with a worker thread, and lets the process end', async () => {
    const script = `
      const { Worker, isMainThread } = require('node:worker_threads');
      const addon = require(${JSON.stringify(addonPath())});
      const open = () => {
        const { id } = addon.open('/dev/net/tun', '', '/run/netns/${ns.name}', 2, -1, () => {});
        addon.setUp(id, true); addon.poll(id, true);
        return id;
      };
      if (isMainThread) {
        const id = open();
        const worker = new Worker(${JSON.stringify('SCRIPT')}, { eval: true });
        worker.once('message', () => worker.terminate().then(() => {
          console.log(addon.link(id).name);
          addon.hold(id, false); // nothing else is left to wait for
        }));
      } else { open(); open(); require('node:worker_threads').parentPort.postMessage('open'); }`;
    const whole = script.replace('"SCRIPT"', 'process.env.WORKER');
    const child = spawn(process.execPath, ['-e', whole], { env: { ...process.env, WORKER: whole } });
    const { status, stdout, stderr } = await outcomeOf(child);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^tap\d+\n$/);
    expect(status).toBe(0);
    expect(ns.run('ip', '-o', 'link')).not.toContain('tap');
  });

  it('lets a slab that nobody holds be collected, and uses its token again', async () => {
    const script = `
      const addon = require(${JSON.stringify(addonPath())});
      const tokens = new Set(); let collected = 0;
      const registry = new FinalizationRegistry((token) => { addon.detach(token); collected++; });
      const before = process.memoryUsage().arrayBuffers;
      const turn = () => new Promise((resolve) => setImmediate(resolve));
      (async () => {
        for (let i = 0; i < 2000; i++) {
          const bytes = new Uint8Array(1 << 18);
          const token = addon.attach(bytes);
          tokens.add(token); registry.register(bytes, token);
          if (i % 50 === 0) { global.gc(); await turn(); }
        }
        global.gc(); await turn(); await turn();
        console.log(collected > 1900, tokens.size < 500, process.memoryUsage().arrayBuffers - before < 64 << 20);
      })();`;
    const { stdout, stderr } = await outcomeOf(spawn(process.execPath, ['--expose-gc', '-e', script]));
    expect(stderr).toBe('');
    expect(stdout).toBe('true true true\n');
  });

  it('an exception in onReady is uncaught in the ordinary way', async () => {
    const script = `
      const addon = require(${JSON.stringify(addonPath())});
      const { id } = addon.open('/dev/net/tun', '', '/run/netns/${ns.name}', 0, -1, () => {
        addon.close(id); // closing from within is allowed
        throw new Error('from the callback');
      });
      process.on('uncaughtException', (error) => console.log(error.message));
      addon.setUp(id, true); addon.poll(id, true);`;
    const { stdout, status } = await outcomeOf(spawn(process.execPath, ['-e', script]));
    expect(stdout).toBe('from the callback\n');
    expect(status).toBe(0);
  });

  it('works as a stream with the members of tuntap2: one frame, one chunk, one write', async () => {
    const stream = new Tap({ netns: ns.name, name: 'tap5', mtu: 1400, ipv4: `${THEIRS}/24`, up: true });
    const chunks: Buffer[] = [];
    try {
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      expect(stream).toMatchObject({ name: 'tap5', isTap: true, isTun: false, mtu: 1400, isUp: true });
      expect(stream.ipv4).toBe(`${THEIRS}/24`);
      stream.ipv4 = '10.9.0.9/16';
      stream.ipv6 = 'fd09::9/64';
      stream.mac = '02:00:00:00:09:09';
      stream.mtu = 1300;
      expect(stream).toMatchObject({
        ipv4: '10.9.0.9/16',
        ipv6: 'fd09::9/64',
        mac: '02:00:00:00:09:09',
        mtu: 1300,
      });
      expect(ns.run('ip', 'addr', 'show', 'tap5')).not.toContain(THEIRS);
      const ping = ns.exec('ping', '-c1', '-W1', OURS);
      await until(() => chunks.some(isArpRequest), 'an ARP request');
      const mac = Buffer.from('020000000a0a', 'hex');
      const write = new Promise((resolve) =>
        stream.write(arpReply(chunks.find(isArpRequest) as Buffer, mac), resolve),
      );
      expect(await write).toBeFalsy();
      await until(() => ns.run('ip', 'neigh', 'show', OURS).includes('02:00:00:00:0a:0a'), 'the neighbour');
      await ping;
      // A write while the interface is down waits for it.
      stream.isUp = false;
      let written = false;
      stream.write(Buffer.alloc(60), () => {
        written = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(written).toBe(false);
      stream.isUp = true;
      await until(() => written, 'the write');
    } finally {
      await new Promise((resolve) => stream.release(() => resolve(undefined)));
    }
    expect(ns.run('ip', '-o', 'link')).not.toContain('tap5');
  });

  it('a stream that is closed tells a write that waits, and may be closed by who was told of another', async () => {
    const stream = new Tap({ netns: ns.name, name: 'tap5', ipv4: `${THEIRS}/24`, up: true });
    const failures: unknown[] = [];
    const failed = (error: unknown) => failures.push(error);
    process.on('uncaughtException', failed);
    try {
      stream.resume();
      stream.isUp = false;
      let told = 0;
      // Told when the interface is up, in an event that may bring frames (the kernel's first words) as well.
      stream.write(Buffer.alloc(60), () => {
        told++;
        stream.isUp = false;
        stream.write(Buffer.alloc(60), (error) => {
          told++;
          failures.push((error as { code?: string } | null)?.code);
        });
        stream.destroy();
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      stream.isUp = true;
      await until(() => told === 2, 'both writes');
      expect(failures).toEqual(['ERR_TAP_CLOSED']);
    } finally {
      process.off('uncaughtException', failed);
      stream.destroy();
    }
    const closing = new Tap({ netns: ns.name, name: 'tap6', up: true });
    closing.isUp = false;
    const outcome = new Promise((resolve) => closing.write(Buffer.alloc(60), resolve));
    await new Promise((resolve) => setTimeout(resolve, 20));
    closing.destroy();
    expect(await outcome).toMatchObject({ code: 'ERR_TAP_CLOSED' });
  });

  it('works as a TUN stream: chunks are IP packets', async () => {
    const stream = new Tun({ netns: ns.name, ipv4: `${THEIRS}/24`, up: true });
    const packets: Buffer[] = [];
    stream.on('data', (packet: Buffer) => packets.push(packet));
    try {
      expect(stream).toMatchObject({ isTun: true, isTap: false });
      expect(stream.name).toMatch(/^tun\d+$/);
      expect(() => stream.mac).toThrow(/no link address/);
      const ping = ns.exec('ping', '-c1', '-W5', OURS);
      await until(() => packets.some((p) => p[0] === 0x45 && p[9] === 1), 'an echo request');
      const answer = Buffer.from(packets.find((p) => p[9] === 1) as Buffer);
      answer.copyWithin(12, 16, 20);
      answer.set(ip(THEIRS), 16);
      answer[20] = 0; // echo reply: the checksum grows by what the type shrank
      answer.writeUInt16BE((answer.readUInt16BE(22) + 0x0800) % 0xffff, 22);
      stream.write(answer);
      expect((await ping).stdout).toContain('1 received');
    } finally {
      await new Promise((resolve) => stream.release(() => resolve(undefined)));
    }
  });
});

function addonPath(): string {
  return new URL('../../build/Release/tap.node', import.meta.url).pathname;
}

/** Where an ordinary user can read it, wherever the checkout lies. */
function addonCopy(directory: string): string {
  const copy = join(directory, 'tap.node');
  check('install', ['-m', '755', addonPath(), copy]);
  return copy;
}

/** Just enough of TCP to accept one connection, take what comes, and answer with one super-frame. RFC 9293. */
class HandMadeTcp {
  received = 0;
  readonly #device: TapDevice;
  #template: Buffer | undefined;
  #nxt = 1000;
  #rcv = 0;
  #timestamp = 0;

  constructor(device: TapDevice) {
    this.#device = device;
  }

  input(packet: Packet): void {
    const bytes = Buffer.from(packet.bytes.slice(packet.start, packet.end));
    if (isArpRequest(bytes)) send(this.#device, frameOf(arpReply(bytes, this.#device.mac)));
    if (bytes.readUInt16BE(12) !== 0x0800 || bytes[23] !== 6) return;
    const header = ((bytes[46] as number) >> 4) * 4;
    const flags = bytes[47] as number;
    const payload = bytes.readUInt16BE(16) - 20 - header;
    this.#template = bytes;
    // Options as Linux lays them out: the timestamp is the third word of a SYN, the first of what follows.
    this.#timestamp = bytes.readUInt32BE(flags & 2 ? 62 : 58);
    if (flags & 2) {
      this.#rcv = (bytes.readUInt32BE(38) + 1) >>> 0;
      this.#send(0x12, 0, 0);
      this.#nxt++;
    } else if (payload > 0) {
      this.#rcv = (this.#rcv + payload) >>> 0;
      this.received += payload;
      this.#send(0x10, 0, 0);
    }
  }

  /** Sends `length` bytes as one super-frame of segments of `size`. */
  reply(length: number, size: number): void {
    this.#send(0x18, length, size);
    this.#nxt += length;
  }

  #send(flags: number, length: number, size: number): void {
    const { mac, kernel } = this.#device;
    const syn = (flags & 2) !== 0;
    const options = Buffer.alloc(syn ? 16 : 12, 1);
    if (syn) options.set([2, 4, 1460 >> 8, 1460 & 255]);
    options.set([8, 10], options.length - 10);
    options.writeUInt32BE(1, options.length - 8);
    options.writeUInt32BE(this.#timestamp, options.length - 4);
    const tcp = 20 + options.length + length;
    const bytes = Buffer.alloc(54 + options.length);
    const template = this.#template as Buffer;
    bytes.set(kernel.mac, 0);
    bytes.set(mac, 6);
    bytes.writeUInt16BE(0x0800, 12);
    bytes[14] = 0x45;
    bytes.writeUInt16BE(20 + tcp, 16);
    bytes.set([64, 6], 22);
    bytes.set(ip(OURS), 26);
    bytes.set(ip(THEIRS), 30);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    bytes.writeUInt16BE(finish(sum(view, 14, 34)), 24);
    template.copy(bytes, 34, 36, 38);
    template.copy(bytes, 36, 34, 36);
    bytes.writeUInt32BE(this.#nxt, 38);
    bytes.writeUInt32BE(this.#rcv, 42);
    bytes.set([((20 + options.length) / 4) << 4, flags], 46);
    bytes.writeUInt16BE(65535, 48);
    bytes.set(options, 54);
    bytes.writeUInt16BE(fold(pseudoHeaderSum(address(OURS), address(THEIRS), 6, tcp)), 50);
    const frame = frameOf(bytes, 7);
    frame.checksumStart = frame.head + 34;
    frame.checksumOffset = 16;
    if (length > 0) frame.attach(new Slab(new Uint8Array(length)), 0, length);
    frame.gsoSize = size;
    expect(send(this.#device, frame)).toBe(1);
    frame.reset();
  }
}
