// The packetdrill language: what every construct reads as, and where a mistake is reported.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { preprocess, tokenize } from '../../src/drill/lexer.ts';
import { parseScript } from '../../src/drill/parser.ts';
import { ScriptError, type ScriptEvent, type TcpSpec } from '../../src/drill/script.ts';
import { ACK, CWR, ECE, PSH, SYN, URG } from '../../src/tcp/header.ts';

function only(text: string): ScriptEvent {
  const { events } = parseScript(text, 'test.pkt');
  expect(events.length).toBe(1);
  return events[0]!;
}

function packet(text: string): TcpSpec {
  const event = only(`+0 ${text}`);
  if (event.kind !== 'packet' || event.packet.protocol !== 'tcp') throw new Error('no TCP packet');
  return event.packet;
}

describe('tokens', () => {
  test('numbers, and the ellipsis that looks like the end of one', () => {
    const kinds = (text: string) => tokenize(text).map(({ kind, text: t }) => `${kind} ${t}`);
    expect(kinds('0...0.200')).toEqual([
      'integer 0',
      'ellipsis ...',
      'float 0.200',
      'end the end of the script',
    ]);
    expect(kinds('-1 .5 0x1F 1:2(1)').slice(0, 9)).toEqual([
      'integer -1',
      'float .5',
      'integer 0x1F',
      'integer 1',
      'mark :',
      'integer 2',
      'mark (',
      'integer 1',
      'mark )',
    ]);
    // A cookie begins like a number.
    expect(kinds('12ab 192.0.2.1')).toEqual(['word 12ab', 'word 192.0.2.1', 'end the end of the script']);
  });

  test('strings, commands and code keep what is in them', () => {
    const [a, b, c] = tokenize('"a\\"\\x41" `ls // -l` %{ assert 1 // 1 }%');
    expect([a!.text, b!.text, c!.text]).toEqual(['a"A', 'ls // -l', ' assert 1 // 1 ']);
  });

  test('comments of both kinds, and lines counted through them', () => {
    const [a, b] = tokenize('a // one\n/* two\nthree */ b');
    expect([a!.line, b!.line]).toEqual([1, 3]);
  });

  test.each(['`never', '"never', '%{ never', '/* never'])('%s closes is said with its line', (text) => {
    expect(() => tokenize(`\n${text}`)).toThrow(ScriptError);
    expect(() => tokenize(`\n${text}`)).toThrow('never closes');
  });

  test('#ifdef leaves lines out and their numbers in', () => {
    const text = 'a\n#ifdef X\nb\n#else\nc\n#endif\nd';
    expect(preprocess(text, (n) => n === 'X')).toBe('a\n\nb\n\n\n\nd');
    expect(preprocess(text, () => false)).toBe('a\n\n\n\nc\n\nd');
    expect(() => preprocess('#ifdef X', () => true)).toThrow('without #endif');
    expect(() => preprocess('#endif', () => true)).toThrow('without #ifdef');
  });
});

describe('times', () => {
  test.each([
    ['1.5', { kind: 'absolute', at: 1_500_000, to: undefined }],
    ['+.1', { kind: 'relative', at: 100_000, to: undefined }],
    ['*', { kind: 'any', at: 0, to: undefined }],
    ['0.1~0.2', { kind: 'absolute', at: 100_000, to: 200_000 }],
    ['+.1~+.2', { kind: 'relative', at: 100_000, to: 200_000 }],
    ['+0~.2', { kind: 'relative', at: 0, to: 200_000 }],
  ])('%s', (time, expected) => {
    expect(only(`${time} > . 1:1(0)`).time).toEqual(expected);
  });

  test('a blocking call ends as its beginning counts', () => {
    const end = (text: string) => {
      const event = only(text);
      return event.kind === 'call' ? event.call.end : undefined;
    };
    expect(end('+.1...0.2 read(4, ..., 10) = 10')).toEqual({ at: 200_000, relative: true });
    expect(end('+.002 ... 0.052 read(4, ..., 10) = 10')).toEqual({ at: 52_000, relative: true });
    expect(end('1.00...6.00 read(4, ..., 10) = 10')).toEqual({ at: 6_000_000, relative: false });
    expect(end('1 read(4, ..., 10) = 10')).toBeUndefined();
  });
});

describe('packets', () => {
  test('flags, numbers, window, urgent pointer', () => {
    expect(packet('< P. 1:1001(1000) ack 5 win 257 urg 7')).toMatchObject({
      inbound: true,
      flags: PSH | ACK,
      seq: 1,
      length: 1000,
      ack: 5,
      window: 257,
      urgent: 7,
      options: [],
    });
    expect(packet('> SEW 0:0(0) win *')).toMatchObject({
      flags: SYN | ECE | CWR,
      window: 'any',
      ack: undefined,
    });
    expect(packet('> - 0:0(0)').flags).toBe(0);
    expect(packet('> U. 0:0(0)').flags).toBe(URG | ACK);
    expect(packet('> SEWA 0:0(0)').flags).toBe(SYN | ECE | CWR | 0x100);
  });

  test('sequence numbers that are not relative, or do not matter', () => {
    expect(packet('> R. 0:0(0)! ack 1!')).toMatchObject({ seq: 0, absoluteSeq: true, absoluteAck: true });
    expect(packet('> S. ...(0) ack *')).toMatchObject({ seq: 'any', ack: 'any' });
    expect(packet('< . 4294967295:4294967295(0)').seq).toBe(0xffff_ffff);
  });

  test('IP fields', () => {
    expect(packet('< [ect0] . 1:1(0)').ip).toEqual({ ecn: 'ect0' });
    expect(packet('< (tos 0x10) [ce] . 1:1(0)').ip).toEqual({ ecn: 'ce', trafficClass: 0x10 });
    expect(packet('< (class 0x28, ttl 3) . 1:1(0)').ip).toEqual({ trafficClass: 0x28, ttl: 3 });
  });

  test('every TCP option', () => {
    const { options } = packet(
      '< S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7,sack 1:2 3:4,FO a1b2,FO,FOEXP 00,eol,md5 00>',
    );
    expect(options).toEqual([
      { kind: 'mss', value: 1460 },
      { kind: 'sackOK' },
      { kind: 'ts', val: 100, ecr: 0 },
      { kind: 'nop' },
      { kind: 'wscale', value: 7 },
      {
        kind: 'sack',
        blocks: [
          [1, 2],
          [3, 4],
        ],
      },
      { kind: 'fo', cookie: 'a1b2', experimental: false },
      { kind: 'fo', cookie: '', experimental: false },
      { kind: 'fo', cookie: '00', experimental: true },
      { kind: 'eol' },
      { kind: 'unknown', text: 'md5 00' },
    ]);
    expect(packet('> . 1:1(0) <...>').options).toBe('any');
  });

  test('UDP, ICMP, and what is neither', () => {
    const body = (text: string) => {
      const event = only(`+0 ${text}`);
      return event.kind === 'packet' ? event.packet : undefined;
    };
    expect(body('> udp (1000)')).toMatchObject({ protocol: 'udp', length: 1000 });
    expect(body('< icmp unreachable frag_needed mtu 1200 [1:1461(1460)]')).toMatchObject({
      protocol: 'icmp',
      type: 'unreachable',
      code: 'frag_needed',
      mtu: 1200,
      quoted: { protocol: 'tcp', seq: 1, length: 1460 },
    });
    expect(body('< [udp (8)] icmp unreachable port_unreachable')).toMatchObject({
      quoted: { protocol: 'udp', length: 8 },
    });
    expect(body('< gre: ipv4 1.1.1.1 > 2.2.2.2: . 1:1(0)')).toMatchObject({
      protocol: 'unknown',
      name: 'gre',
    });
  });
});

describe('calls', () => {
  test('arguments, result, error and note', () => {
    const event = only(
      '+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 40}, {..., 2}], msg_flags=0}, MSG_MORE|0x1) = -1 EAGAIN (Try (again))',
    );
    if (event.kind !== 'call') throw new Error('no call');
    expect(event.call).toMatchObject({
      name: 'sendmsg',
      errno: 'EAGAIN',
      result: { kind: 'number', value: -1 },
    });
    const [fd, message, flags] = event.call.args;
    expect(fd).toEqual({ kind: 'number', value: 4 });
    expect(message).toMatchObject({ kind: 'struct' });
    expect(flags).toMatchObject({ kind: 'or' });
  });

  test('a result is not added to the time of the next event', () => {
    const { events } = parseScript(
      '0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 close(3) = 0\n* > . 1:1(0)',
      'x',
    );
    expect(events.map((e) => e.kind)).toEqual(['call', 'call', 'packet']);
  });

  test('addresses, poll entries, strings that go on', () => {
    const event = only(
      '+0 f({sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.0.2.1")}, [{fd=4, events=POLLIN}], "ab"..., NULL) = ?',
    );
    expect(event).toMatchObject({ kind: 'call', call: { result: { kind: 'ellipsis' } } });
  });
});

describe('scripts', () => {
  test('options, an init command, commands and code', () => {
    const script = parseScript(
      '--tolerance_usecs=10000\n--ip_version=ipv4 // why\n--flag\n`./defaults.sh`\n0 `sysctl -w a=1`\n+0 %{ assert True }%',
      'x',
    );
    expect(script.options.map(({ name, value }) => [name, value])).toEqual([
      ['tolerance_usecs', '10000'],
      ['ip_version', 'ipv4'],
      ['flag', ''],
    ]);
    expect(script.events.map((e) => e.kind)).toEqual(['command', 'command', 'code']);
  });

  test.each([
    ['+0 > . 1:1\n', 2],
    ['\n\n+0 read(4, ..., 10)\n+0 x', 4],
    ['+0 < . 1:1(0) <mss>', 1],
    ['+x', 1],
    ['+0 socket', 1],
  ])('%j is refused with its line', (text, line) => {
    try {
      parseScript(text, 'x');
    } catch (error) {
      expect(error).toBeInstanceOf(ScriptError);
      expect((error as ScriptError).line).toBe(line);
      return;
    }
    throw new Error('accepted');
  });

  const SAMPLE = `--tolerance_usecs=1000
\`sysctl -w net.ipv4.tcp_sack=1\`
 0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0...0.2 connect(3, {sa_family = AF_INET, sin_port = htons(1), sin_addr = inet_addr("1.2.3.4")}, ...) = -1 EINTR (Note)
+.1~+.2 > (tos 0x10) [ect0] SEW. 0:0(0)! ack 1 win 5 urg 3 <mss 1460,sackOK,TS val 1 ecr 2,sack 1:2 3:4,FO ab>
 * < icmp unreachable frag_needed mtu 500 [1:1(0)]
+0 %{ assert tcpi_rto > 3, 'x' }%
`;

  test('cut at any character: read, or refused, never anything else', () => {
    for (let i = 0; i <= SAMPLE.length; i++) {
      try {
        parseScript(SAMPLE.slice(0, i), 'x');
      } catch (error) {
        expect(error).toBeInstanceOf(ScriptError);
      }
    }
  });

  test('with any character changed: read, or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.nat(SAMPLE.length - 1), fc.constantFrom(...'()<>[]{}:,.=~*+-|`"%#1a \n'), (at, c) => {
        try {
          parseScript(SAMPLE.slice(0, at) + c + SAMPLE.slice(at + 1), 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(ScriptError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
