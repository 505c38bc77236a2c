import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finish, sum } from '../../src/base/checksum.ts';
import { SECOND } from '../../src/base/time.ts';
import { MAX_GROUPS, MAX_SOURCES } from '../../src/ipv4/igmp.ts';
import { type Filter, merge } from '../../src/ipv4/igmp-group.ts';
import { checkIgmp, decodeCode, writeIgmp } from '../../src/ipv4/igmp-header.ts';
import { addr, answersPing, datagram, isSound, type Sent, TestHost } from './harness.ts';

const GROUP = '239.1.2.3';
const A = '10.7.0.11';
const B = '10.7.0.12';
const C = '10.7.0.13';
const NAMES = ['', 'IS_IN', 'IS_EX', 'TO_IN', 'TO_EX', 'ALLOW', 'BLOCK'];

function dotted(view: DataView, at: number): string {
  return [0, 1, 2, 3].map((i) => view.getUint8(at + i)).join('.');
}

/** "TO_EX 239.1.2.3 {}" for each record of a report, after looking at everything around it. */
function records({ bytes, view, nextHop }: Sent): string[] {
  expect(isSound(bytes)).toBe(true);
  expect([...bytes.slice(20, 24)]).toEqual([148, 4, 0, 0]); // RFC 3376 4: router alert,
  expect([bytes[8], bytes[1], bytes[9]]).toEqual([1, 0xc0, 2]); // TTL 1, precedence 6
  expect(`${dotted(view, 16)} ${nextHop}`).toBe('224.0.0.22 224.0.0.22'); // 4.2.14
  expect(bytes[24]).toBe(0x22);
  const found: string[] = [];
  let at = 32;
  for (let i = view.getUint16(30); i > 0; i--) {
    const count = view.getUint16(at + 2);
    const sources = Array.from({ length: count }, (_, k) => dotted(view, at + 8 + 4 * k));
    found.push(`${NAMES[bytes[at]!]} ${dotted(view, at + 4)} {${sources.sort().join(' ')}}`);
    at += 8 + 4 * count;
  }
  expect(at).toBe(bytes.length);
  return found;
}

function told(host: TestHost): string[] {
  return host.eth.take().flatMap(records);
}

function query(
  group = '0.0.0.0',
  sources: string[] = [],
  { code = 100, version = 3, qrv = 0, qqic = 0, count = sources.length } = {},
): Uint8Array {
  const bytes = new Uint8Array(version === 3 ? 12 + 4 * sources.length : 8);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x11;
  bytes[1] = version === 1 ? 0 : code;
  view.setInt32(4, addr(group).w3);
  if (version === 3) {
    bytes[8] = qrv;
    bytes[9] = qqic;
    view.setUint16(10, count);
    for (const [i, source] of sources.entries()) view.setInt32(12 + 4 * i, addr(source).w3);
  }
  view.setUint16(2, finish(sum(view, 0, bytes.length)));
  return bytes;
}

function hear(host: TestHost, payload: Uint8Array, destination = '224.0.0.1') {
  return host.receive(datagram({ protocol: 2, ttl: 1, destination, options: [148, 4, 0, 0], payload }));
}

function listen(host: TestHost, socket: object, mode: Filter['mode'], ...sources: string[]) {
  return host.ipv4.igmp.multicastListen(socket, 2, addr(GROUP), mode, sources.map(addr));
}

/** A host that joined and whose reports have all been told. */
function settled(mode: Filter['mode'] = 'exclude', ...sources: string[]): { host: TestHost; socket: object } {
  const host = new TestHost();
  const socket = {};
  listen(host, socket, mode, ...sources);
  host.round(5 * SECOND);
  host.eth.take();
  return { host, socket };
}

describe('RFC 3376 4: messages', () => {
  it('4.1.1: decodes the floating point of codes', () => {
    expect([0, 1, 127, 128, 0x8f, 0x90, 255].map(decodeCode)).toEqual([0, 1, 127, 128, 248, 256, 31_744]);
  });

  it('is refused when cut anywhere, and with more sources than it holds (hostile 57)', () => {
    const whole = query(GROUP, [A, B]);
    const view = new DataView(whole.buffer);
    expect(checkIgmp(view, 0, whole.length)).toBeUndefined();
    for (let n = 0; n < whole.length; n++) expect(checkIgmp(view, 0, n), `cut at ${n}`).toBeDefined();
    const liar = query(GROUP, [A], { count: 2 });
    expect(checkIgmp(new DataView(liar.buffer), 0, liar.length)).toBe('truncated');
    const ten = new Uint8Array(10);
    ten[0] = 0x11;
    const tenView = new DataView(ten.buffer);
    tenView.setUint16(2, finish(sum(tenView, 0, 10)));
    expect(checkIgmp(tenView, 0, 10)).toBe('bad length'); // 7.1
  });

  it('writes version 1 and 2 messages that check', () => {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    writeIgmp(view, 0, 0x16, 0, addr(GROUP).w3);
    expect(checkIgmp(view, 0, 8)).toBeUndefined();
  });
});

describe('RFC 3376 3.2: merging what sockets want', () => {
  const filter = (mode: Filter['mode'], ...sources: number[]): Filter => ({
    mode,
    sources: new Set(sources),
  });

  it('is the example of the RFC', () => {
    expect(
      merge([filter('exclude', 1, 2, 3, 4), filter('exclude', 2, 3, 4, 5), filter('include', 4, 5, 6)]),
    ).toEqual(filter('exclude', 2, 3));
    expect(merge([filter('include', 1, 2, 3), filter('include', 2, 3, 4), filter('include', 5, 6)])).toEqual(
      filter('include', 1, 2, 3, 4, 5, 6),
    );
    expect(merge([])).toEqual(filter('include'));
  });

  it('lets a source through when some socket wants it, and only then', () => {
    const anyFilter = fc.record({
      mode: fc.constantFrom('include' as const, 'exclude' as const),
      sources: fc.uniqueArray(fc.integer({ min: 0, max: 7 })).map((s) => new Set(s)),
    });
    const wants = (f: Filter, s: number) => f.sources.has(s) === (f.mode === 'include');
    fc.assert(
      fc.property(fc.array(anyFilter, { maxLength: 5 }), (filters) => {
        const merged = merge(filters);
        for (let s = 0; s < 8; s++) expect(wants(merged, s)).toBe(filters.some((f) => wants(f, s)));
      }),
    );
  });
});

describe('RFC 3376 5.1: changes', () => {
  it('tells a join at once and once more within a second, and likewise a leave', () => {
    const host = new TestHost();
    const socket = {};
    expect(listen(host, socket, 'exclude')).toBeUndefined();
    expect(told(host)).toEqual([`TO_EX ${GROUP} {}`]);
    host.round(SECOND + 1);
    expect(told(host)).toEqual([`TO_EX ${GROUP} {}`]);
    host.round(10 * SECOND);
    expect(told(host)).toEqual([]);
    listen(host, socket, 'include');
    expect(told(host)).toEqual([`TO_IN ${GROUP} {}`]);
    host.round(SECOND + 1);
    expect(told(host)).toEqual([`TO_IN ${GROUP} {}`]);
    host.round(10 * SECOND);
    expect(told(host)).toEqual([]);
    expect(host.timers.armed).toBe(0);
    expect(host.joined).toEqual(['+lo 224.0.0.1', '+eth 224.0.0.1', `+eth ${GROUP}`, `-eth ${GROUP}`]);
  });

  it('is the table of the section', () => {
    const table: [[Filter['mode'], ...string[]], [Filter['mode'], ...string[]], string[]][] = [
      [
        ['include', A, B],
        ['include', B, C],
        [`ALLOW ${GROUP} {${C}}`, `BLOCK ${GROUP} {${A}}`],
      ],
      [
        ['exclude', A, B],
        ['exclude', B, C],
        [`ALLOW ${GROUP} {${A}}`, `BLOCK ${GROUP} {${C}}`],
      ],
      [['include', A], ['exclude', B], [`TO_EX ${GROUP} {${B}}`]],
      [['exclude', A], ['include', B], [`TO_IN ${GROUP} {${B}}`]],
      [['include', A], ['include', A, B], [`ALLOW ${GROUP} {${B}}`]],
      [['include', A], ['include'], [`BLOCK ${GROUP} {${A}}`]],
      [['exclude', A], ['exclude', A], []],
    ];
    for (const [before, after, expected] of table) {
      const { host, socket } = settled(...before);
      listen(host, socket, ...after);
      expect(told(host)).toEqual(expected);
      host.round(2 * SECOND);
      expect(told(host)).toEqual(expected); // repeated once
      host.round(2 * SECOND);
      expect(told(host)).toEqual([]);
    }
  });

  it('merges a change with one that is still being told', () => {
    const { host, socket } = settled('include', A);
    listen(host, socket, 'include', A, B);
    expect(told(host)).toEqual([`ALLOW ${GROUP} {${B}}`]);
    listen(host, socket, 'include', B);
    expect(told(host)).toEqual([`ALLOW ${GROUP} {${B}}`, `BLOCK ${GROUP} {${A}}`]);
    host.round(SECOND + 1);
    expect(told(host)).toEqual([`BLOCK ${GROUP} {${A}}`]);
    listen(host, socket, 'exclude', A);
    expect(told(host)).toEqual([`TO_EX ${GROUP} {${A}}`]);
    listen(host, socket, 'exclude', A, C);
    expect(told(host)).toEqual([`TO_EX ${GROUP} {${A} ${C}}`]);
    host.round(SECOND + 1);
    expect(told(host)).toEqual([`BLOCK ${GROUP} {${C}}`]);
  });

  it('says nothing when what is heard in sum does not change', () => {
    const { host } = settled('exclude');
    listen(host, {}, 'include', A);
    listen(host, {}, 'exclude');
    host.round(5 * SECOND);
    expect(told(host)).toEqual([]);
  });

  it('never reports 224.0.0.1, nor anything on loopback', () => {
    const host = new TestHost();
    host.ipv4.igmp.multicastListen({}, 2, addr('224.0.0.1'), 'exclude', []);
    host.ipv4.igmp.multicastListen({}, 1, addr(GROUP), 'exclude', []);
    host.round(5 * SECOND);
    expect(host.eth.sent).toHaveLength(0);
    expect(host.lo.sent).toHaveLength(0);
    expect(host.ipv4.igmp.accepts(1, addr(GROUP).w3, addr(A).w3)).toBe(true);
  });

  it('4.2.13: speaks as 0.0.0.0 while there is no address', () => {
    const host = new TestHost();
    host.eth.addresses = [];
    host.changed();
    listen(host, {}, 'exclude');
    expect(dotted(host.eth.sent[0]!.view, 12)).toBe('0.0.0.0');
  });

  it('tells everything again when a link comes up, and nothing after the interface is gone', () => {
    const { host } = settled('include', A);
    host.ipv4.interfaceUp(host.eth);
    expect(told(host)).toEqual([`TO_IN ${GROUP} {${A}}`]);
    host.ipv4.removeInterface(host.eth);
    host.round(5 * SECOND);
    expect(told(host)).toEqual([]);
    expect(host.timers.armed).toBe(0);
    expect(listen(host, {}, 'exclude')).toBe('ENODEV');
    expect(host.joined.slice(-2)).toEqual([`-eth ${GROUP}`, '-eth 224.0.0.1']);
  });

  it('has bounds', () => {
    const host = new TestHost();
    const many = Array.from({ length: MAX_SOURCES + 1 }, (_, i) => `10.1.0.${i}`);
    expect(listen(host, {}, 'include', ...many)).toBe('ENOBUFS');
    const join = (i: number) =>
      host.ipv4.igmp.multicastListen(
        {},
        2,
        addr(`239.${i >> 16}.${(i >> 8) & 255}.${i & 255}`),
        'exclude',
        [],
      );
    for (let i = 0; i < MAX_GROUPS; i++) expect(join(i)).toBeUndefined();
    expect(join(MAX_GROUPS)).toBe('ENOBUFS');
    expect(listen(host, {}, 'include')).toBeUndefined(); // leaving what was never joined
    expect(host.ipv4.igmp.multicastListen({}, 2, addr('10.0.0.1'), 'exclude', [])).toBe('EINVAL');
  });
});

describe('RFC 3376 5.2: queries', () => {
  it('answers a General Query once, within the time it gives, with all groups packed together', () => {
    const { host } = settled('exclude', A);
    host.ipv4.igmp.multicastListen({}, 2, addr('239.9.9.9'), 'include', [addr(B)]);
    host.round(5 * SECOND);
    host.eth.take();
    expect(hear(host, query())).toBeUndefined();
    expect(host.eth.sent).toHaveLength(0); // MUST NOT be at once
    host.round(10 * SECOND);
    expect(host.eth.sent).toHaveLength(1);
    expect(told(host)).toEqual([`IS_EX ${GROUP} {${A}}`, `IS_IN 239.9.9.9 {${B}}`]);
    host.round(20 * SECOND);
    expect(told(host)).toEqual([]);
  });

  it('9.1: ignores what somebody beyond a router could have forged', () => {
    const { host } = settled();
    expect(hear(host, query(), GROUP)).toBe('bad destination'); // a General Query goes to 224.0.0.1
    const unicast = { protocol: 2, payload: query() };
    expect(host.receive(datagram(unicast))).toBe('bad destination');
    host.round(20 * SECOND);
    expect(told(host)).toEqual([]);
    // 4.1.12: one for testing, with Router Alert, is taken.
    expect(host.receive(datagram({ ...unicast, options: [148, 4, 0, 0] }))).toBeUndefined();
    host.round(20 * SECOND);
    expect(told(host)).toEqual([`IS_EX ${GROUP} {}`]);
  });

  it('says nothing to a query when it has nothing to say', () => {
    const host = new TestHost();
    hear(host, query());
    hear(host, query(GROUP), GROUP);
    host.round(60 * SECOND);
    expect(told(host)).toEqual([]);
    expect(host.timers.armed).toBe(0);
  });

  it('answers a Group-Specific Query with the group’s state, and only about its own groups', () => {
    const { host } = settled('include', A, B);
    expect(hear(host, query(GROUP), GROUP)).toBeUndefined();
    hear(host, query('239.7.7.7'));
    host.round(10 * SECOND);
    expect(told(host)).toEqual([`IS_IN ${GROUP} {${A} ${B}}`]);
  });

  it('is the table for Group-and-Source-Specific Queries', () => {
    const include = settled('include', A, B).host;
    hear(include, query(GROUP, [B, C]));
    include.round(10 * SECOND);
    expect(told(include)).toEqual([`IS_IN ${GROUP} {${B}}`]);
    const exclude = settled('exclude', A, B).host;
    hear(exclude, query(GROUP, [B, C]));
    exclude.round(10 * SECOND);
    expect(told(exclude)).toEqual([`IS_IN ${GROUP} {${C}}`]);
    hear(exclude, query(GROUP, [A, B]));
    exclude.round(10 * SECOND);
    expect(told(exclude)).toEqual([]); // none of them wanted
  });

  it('combines queries: 4 forgets sources, 5 adds them, 1 leaves it to the General answer', () => {
    const five = settled('exclude').host;
    hear(five, query(GROUP, [A]));
    hear(five, query(GROUP, [B]));
    five.round(10 * SECOND);
    expect(told(five)).toEqual([`IS_IN ${GROUP} {${A} ${B}}`]);
    const four = settled('exclude', C).host;
    hear(four, query(GROUP, [A]));
    hear(four, query(GROUP));
    four.round(10 * SECOND);
    expect(told(four)).toEqual([`IS_EX ${GROUP} {${C}}`]);
    const one = settled('exclude', C).host;
    hear(one, query('0.0.0.0', [], { code: 1 }));
    hear(one, query(GROUP, [A], { code: 255 }));
    one.round(4000 * SECOND);
    expect(told(one)).toEqual([`IS_EX ${GROUP} {${C}}`]);
  });

  it('remembers a bounded number of queried sources, and tells all instead', () => {
    const { host } = settled('exclude', A);
    const many = Array.from({ length: 300 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
    hear(host, query(GROUP, many));
    host.round(10 * SECOND);
    expect(told(host)).toEqual([`IS_EX ${GROUP} {${A}}`]);
  });

  it('4.1.6: repeats as often as the querier’s robustness says', () => {
    const { host, socket } = settled('exclude');
    hear(host, query('0.0.0.0', [], { qrv: 4 }));
    host.round(10 * SECOND);
    host.eth.take();
    listen(host, socket, 'include');
    for (let i = 0; i < 10; i++) host.round(SECOND + 1);
    expect(told(host)).toHaveLength(4);
  });

  it('4.2.16: spreads records and long INCLUDE lists over reports that fit', () => {
    const host = new TestHost();
    host.eth.mtu = 300;
    const many = Array.from({ length: MAX_SOURCES }, (_, i) => `10.1.0.${i}`);
    host.ipv4.igmp.multicastListen({}, 2, addr('239.0.0.1'), 'include', many.map(addr));
    host.ipv4.igmp.multicastListen({}, 2, addr('239.0.0.2'), 'exclude', []);
    host.round(5 * SECOND);
    host.eth.take();
    host.eth.mtu = 200;
    hear(host, query());
    host.round(10 * SECOND);
    expect(host.eth.sent.every(({ bytes }) => bytes.length <= 200)).toBe(true);
    const all = told(host);
    expect(all.at(-1)).toBe('IS_EX 239.0.0.2 {}');
    const sources = all.slice(0, -1).flatMap((r) => r.slice(r.indexOf('{') + 1, -1).split(' '));
    expect(sources.sort()).toEqual([...many].sort());
  });
});

describe('RFC 3376 7.2: older routers', () => {
  function plain({ bytes, view }: Sent): string {
    expect(isSound(bytes)).toBe(true);
    expect(bytes[8]).toBe(1);
    return `${bytes[24]!.toString(16)} ${dotted(view, 28)} to ${dotted(view, 16)}`;
  }

  it('speaks version 2 after a version 2 query, and version 3 again when it has been gone for long', () => {
    const { host, socket } = settled('include', A);
    hear(host, query('0.0.0.0', [], { version: 2 }));
    expect(host.ipv4.igmp.version(2)).toBe(2);
    host.round(10 * SECOND);
    expect(host.eth.take().map(plain)).toEqual([`16 ${GROUP} to ${GROUP}`]);
    listen(host, socket, 'include');
    expect(host.eth.take().map(plain)).toEqual([`17 ${GROUP} to 224.0.0.2`]);
    host.round(255 * SECOND); // 2 × 125 + 10 since the query
    expect(host.ipv4.igmp.version(2)).toBe(3);
    listen(host, socket, 'exclude');
    expect(told(host)).toEqual([`TO_EX ${GROUP} {}`]);
  });

  it('version 1: a query with Max Resp Code 0 means ten seconds, and there is no Leave', () => {
    const { host, socket } = settled('exclude');
    hear(host, query('0.0.0.0', [], { version: 1 }));
    expect(host.ipv4.igmp.version(2)).toBe(1);
    host.round(10 * SECOND);
    expect(host.eth.take().map(plain)).toEqual([`12 ${GROUP} to ${GROUP}`]);
    listen(host, socket, 'include');
    expect(host.eth.take()).toEqual([]);
  });

  it('RFC 2236 3: repeats a join, is silent when another host reported, and leaves the Leave to it', () => {
    const host = new TestHost();
    hear(host, query('0.0.0.0', [], { version: 2 }));
    const socket = {};
    listen(host, socket, 'exclude');
    expect(host.eth.take().map(plain)).toEqual([`16 ${GROUP} to ${GROUP}`]);
    host.round(10 * SECOND);
    expect(host.eth.take().map(plain)).toEqual([`16 ${GROUP} to ${GROUP}`]);
    hear(host, query('0.0.0.0', [], { version: 2 }));
    const report = new Uint8Array(8);
    writeIgmp(new DataView(report.buffer), 0, 0x16, 0, addr(GROUP).w3);
    hear(host, report, GROUP);
    host.round(20 * SECOND);
    expect(host.eth.take()).toEqual([]);
    listen(host, socket, 'include');
    expect(host.eth.take()).toEqual([]);
  });

  it('7.2.1: a change of version cancels what was pending', () => {
    const host = new TestHost();
    listen(host, {}, 'exclude');
    host.eth.take();
    hear(host, query('0.0.0.0', [], { version: 2, code: 255 }));
    host.now += 1;
    hear(host, query('0.0.0.0', [], { version: 1 }));
    host.round(10 * SECOND);
    expect(host.eth.take().map(plain)).toEqual([`12 ${GROUP} to ${GROUP}`]);
  });
});

describe('hostile 57: malformed IGMP', () => {
  it('is ignored, and memberships stay', () => {
    const { host } = settled('exclude');
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.constantFrom(0x11, 0x12, 0x16, 0x17, 0x22, 0x99),
        (data, type) => {
          const bytes = Uint8Array.from([type, ...data]);
          if (bytes.length >= 4) {
            const view = new DataView(bytes.buffer);
            view.setUint16(2, 0);
            view.setUint16(2, finish(sum(view, 0, bytes.length)));
          }
          hear(host, bytes);
          host.round(SECOND);
          expect(host.eth.take().length).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 1500 },
    );
    expect(hear(host, query('10.1.1.1'))).toBe('bad destination');
    expect(host.ipv4.igmp.accepts(2, addr(GROUP).w3, addr(A).w3)).toBe(true);
    expect(answersPing(host)).toBe(true);
  });
});
