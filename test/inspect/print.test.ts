import { describe, expect, test } from 'vitest';
import { dissect } from '../../src/inspect/dissect.ts';
import { FramePrinter, formatTree, SequenceBook } from '../../src/inspect/print.ts';
import { openCapture } from '../../src/pcap/open.ts';
import { captureFiles, read, run, withoutCaptures, withoutWireshark } from '../pcap/files.ts';
import { FRAMES } from './frames.ts';

const frame = (bytes: Uint8Array, seconds = 0, nanos = 0) => ({
  seconds,
  nanos,
  bytes,
  originalLength: bytes.length,
  linkType: 1,
});

describe('one line a frame', () => {
  test.each([
    ['ARP request', 'Who has 10.7.0.2? Tell 10.7.0.1'],
    ['ARP reply', '10.7.0.1 is at 02:00:00:00:00:01'],
    ['ARP probe', 'Who has 10.7.0.2? (ARP Probe)'],
    ['ARP announcement', 'ARP Announcement for 10.7.0.2'],
    ['ICMP echo', 'Echo (ping) request  id=0x004d, seq=3/768, ttl=64'],
    ['ICMP port unreachable', 'Destination unreachable (Port unreachable)'],
    ['IPv4 later fragment', 'Fragmented IP protocol (proto=UDP, off=40, ID=1234)'],
    ['IGMPv2 report', 'Membership Report (v2) group 239.1.2.3'],
    ['IGMPv3 report', 'Membership Report / Change To Exclude Mode 239.1.2.3 / Mode Is Include 239.1.2.4'],
    ['Neighbor solicitation', 'Neighbor Solicitation for fe80::2 from 02:00:00:00:00:01'],
    ['Neighbor advertisement', 'Neighbor Advertisement fe80::1 (sol, ovr) is at 02:00:00:00:00:01'],
    ['DHCP', 'DHCP ACK      - Transaction ID 0x3903f326'],
    ['DHCPv6', 'Reply XID: 0x123456'],
    ['NTP', 'NTP Version 4, server'],
    ['HTTP request', 'GET /index.html?x=1 HTTP/1.1'],
    ['HTTP response', 'HTTP/1.1 404 Not Found'],
    ['TLS', 'Change Cipher Spec, Application Data'],
    [
      'TCP SYN',
      '40000 → 80 [SYN] Seq=4294967280 Win=64240 Len=0 MSS=1460 SACK_PERM TSval=123 TSecr=0 WS=128',
    ],
    [
      'TCP SACK',
      '40000 → 80 [ACK] Seq=4294967280 Ack=77 Win=64240 Len=0 TSval=124 TSecr=9 SLE=100 SRE=200 SLE=300 SRE=400',
    ],
  ])('%s', (name, info) => {
    expect(dissect(FRAMES[name]!).info).toBe(info);
  });

  test('number, time since the first, who to whom, protocol, length, what, comment', () => {
    const printer = new FramePrinter();
    expect(printer.line(frame(FRAMES['ARP request']!, 100, 999_999_000))).toBe(
      '    1     0.000000 02:00:00:00:00:01 → 02:00:00:00:00:02 ARP 42 Who has 10.7.0.2? Tell 10.7.0.1',
    );
    const syn = { ...frame(FRAMES['TCP SYN']!, 102, 1000), comments: ['TCP SYN-SENT\n→ ESTABLISHED'] };
    expect(printer.line(syn)).toBe(
      '    2     1.000002 10.7.0.1 → 10.7.0.2 TCP 74 40000 → 80 [SYN] Seq=0 Win=64240 Len=0 MSS=1460 SACK_PERM TSval=123 TSecr=0 WS=128  (TCP SYN-SENT → ESTABLISHED)',
    );
    // A clock that was set back.
    expect(printer.line(frame(FRAMES['ARP reply']!, 100, 999_998_000))).toContain('    -0.000001 ');
    expect(printer.line(frame(FRAMES['ARP reply']!, 98, 999_999_500))).toContain('    -1.999999 ');
  });

  test('sequence numbers count from the SYN, and from the first byte of a conversation met in the middle', () => {
    const book = new SequenceBook();
    expect(book.relative('a', 'b', 0x02, 0xffff_ffff, 0)).toEqual({ seq: 0, ack: 0 });
    expect(book.relative('b', 'a', 0x12, 5, 0)).toEqual({ seq: 0, ack: 1 });
    expect(book.relative('a', 'b', 0x10, 0, 6)).toEqual({ seq: 1, ack: 1 });
    expect(book.relative('c', 'd', 0x10, 1000, 2000)).toEqual({ seq: 1, ack: 1 });
    expect(book.relative('d', 'c', 0x10, 2010, 1100)).toEqual({ seq: 11, ack: 101 });
  });
});

test('the tree names every layer and field', () => {
  const text = formatTree(dissect(FRAMES['TCP urgent']!).tree);
  expect(text).toContain('Ethernet II\n  Destination: 02:00:00:00:00:02');
  expect(text).toContain('Internet Protocol Version 4: 10.7.0.1 → 10.7.0.2');
  expect(text).toContain('  Protocol: TCP (6)');
  expect(text).toContain('    Urgent: Set');
  expect(text).toContain('Data: 5 bytes\n  Data: 68656c6c6f');
});

test('tree() is the line and the tree', () => {
  const text = new FramePrinter().tree(frame(FRAMES['ARP request']!));
  expect(text.split('\n')[0]).toContain('Who has 10.7.0.2?');
  expect(text).toContain('Address Resolution Protocol: request\n  Hardware type: Ethernet (1)');
});

describe.skipIf(withoutCaptures || withoutWireshark)('the lines of tshark', () => {
  test.each([
    'tcp_handshake',
    'tcp_teardown',
    'tcp_dupack',
    'icmp_echo',
    'arp_resolution',
    'tcp_refuseconnection',
  ])('%s: the same words', (name) => {
    const file = captureFiles('samples').find((path) => path.endsWith(`/${name}.pcapng`))!;
    const fields = ['_ws.col.Protocol', '_ws.col.Info'].flatMap((f) => ['-e', f]);
    const theirs = run('tshark', ['-r', file, '-T', 'fields', ...fields])
      .split('\n')
      .slice(0, -1)
      // What tshark knows from other frames, and the window that it scales.
      .map((line) =>
        line
          .replace(/\[TCP [^\]]*\] /, '')
          .replace(/ \((reply in|request in|no response).*/, '')
          .replace(/ Win=\d+/, ' Win=')
          .replace(/=1( TSval|$)/, '=1$1'),
      );
    const sequences = new SequenceBook();
    const ours = openCapture(read(file))
      .records.filter((record) => record.kind === 'packet')
      .map(({ bytes }) => {
        const { protocol, info } = dissect(bytes, { sequences });
        return `${protocol}\t${info.replace(/ Win=\d+/, ' Win=')}`;
      });
    expect(ours).toEqual(theirs);
  });
});
