// Scripts against the stack: what passes, what fails and how it is told, what is refused by name.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DrillOptions, drill, drillOrFail, summarize } from '../../src/drill/drill.ts';
import { explain, totals } from '../../src/drill/report.ts';

const SERVER = `
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK,nop,wscale 8>
+.1 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
`;

const CLIENT = `
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>
+.1 < S. 0:0(0) ack 1 win 5792 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale 7>
+0 > . 1:1(0) ack 1 <nop,nop,TS val 200 ecr 700>
`;

const run = (text: string, options?: DrillOptions) => drill(text, 'test.pkt', options);

/** Expects a script to pass; shows why it does not. */
function passes(text: string, options?: DrillOptions): void {
  expect(explain(run(text, options))).toEqual([]);
}

function fails(text: string, reason: string | RegExp): void {
  const result = run(text);
  expect(result.result).toBe('failed');
  expect(result.reason).toMatch(reason);
}

function unsupported(text: string, reason: string): void {
  expect(run(text)).toMatchObject({ result: 'unsupported', reason });
}

describe('packets', () => {
  test('a conversation, from the first SYN to the last ACK', () => {
    passes(`${SERVER}
      +0 < P. 1:1001(1000) ack 1 win 257
      +0 > . 1:1(0) ack 1001
      +0 read(4, ..., 2000) = 1000
      +0 write(4, ..., 3000) = 3000
      +0 > P. 1:3001(3000) ack 1001
      +.1 < . 1001:1001(0) ack 3001 win 257
      +0 close(4) = 0
      +0 > F. 3001:3001(0) ack 1001
      +.1 < F. 1001:1001(0) ack 3002 win 257
      +0 > . 3002:3002(0) ack 1002`);
  });

  test('a packet that differs: the line, the field, and both packets', () => {
    const result = run(`${SERVER}+0 write(4, ..., 500) = 500\n+0 > P. 1:501(500) ack 2`);
    expect(result).toMatchObject({
      result: 'failed',
      line: 11,
      reason: 'ack is 1, not 2',
      mismatch: { field: 'ack', expectedPacket: '> P. 1:501(500) ack 2' },
    });
    expect(result.mismatch?.sentPacket).toMatch(/^> P\. 1:501\(500\) ack 1 win \d+$/);
    expect(explain(result)).toEqual([
      'FAIL  test.pkt:11  ack is 1, not 2',
      '        expected  > P. 1:501(500) ack 2',
      `        sent      ${result.mismatch?.sentPacket}`,
    ]);
  });

  test.each([
    ['+0 > . 1:501(500) ack 1', undefined],
    ['+0 > F. 1:501(500) ack 1', 'flags is P., not F.'],
    ['+0 > P. 2:502(500) ack 1', 'seq is 1, not 2'],
    ['+0 > P. 1:500(499) ack 1', 'length is 500, not 499'],
    ['+0 > P. 1:501(500) ack 1 win 0', /^win is/],
    ['+0 > P. 1:501(500) ack 1 <nop,nop,TS val 1 ecr 1>', 'options is none, not nop,nop,TS val 1 ecr 1'],
    ['+0 > [ect0] P. 1:501(500) ack 1', 'ecn is noecn, not ect0'],
    ['+0 > (tos 0x10) P. 1:501(500) ack 1', 'tos is 0, not 16'],
    ['+0 > (ttl 3) P. 1:501(500) ack 1', 'ttl is 64, not 3'],
    ['+0 > udp (500)', 'protocol is tcp, not udp'],
    ['+.1 > P. 1:501(500) ack 1', 'the packet was sent 0.100000 s too early'],
  ])('%s', (expectation, reason) => {
    const text = `${SERVER}+0 write(4, ..., 500) = 500\n${expectation}`;
    if (reason === undefined) passes(text);
    else fails(text, reason);
  });

  test('a packet that never comes', () => {
    expect(run(`${SERVER}+0 > . 1:1(0) ack 1`)).toMatchObject({
      reason: 'no packet was sent',
      mismatch: { sentPacket: undefined },
    });
  });

  test('times: ranges, and what no time is said of', () => {
    const write = `${SERVER}+0 write(4, ..., 500) = 500\n+0 > P. 1:501(500) ack 1\n`;
    passes(`${write}+.2~+.4 > P. 1:501(500) ack 1`);
    passes(`${write}* > P. 1:501(500) ack 1\n+0 < . 1:1(0) ack 501 win 257`);
    fails(`${write}+.1~+.2 > P. 1:501(500) ack 1`, 'no packet was sent');
    passes(`--tolerance_usecs=200000\n${write}+.2 > P. 1:501(500) ack 1`);
  });

  test('one line stands for a run of segments, unless they must be cut as the script has them', () => {
    const text = `${SERVER}+0 write(4, ..., 2000) = 2000\n+0 > P. 1:2001(2000) ack 1`;
    passes(text);
    expect(run(`--strict_segments\n${text}`).reason).toBe('length is 1000, not 2000');
    passes(
      `${SERVER}+0 write(4, ..., 2000) = 2000\n+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:2001(1000) ack 1`,
    );
  });

  test('timestamps: ours as the script calls them, echoed back, and measured when it says what a tick is', () => {
    passes(`${CLIENT}+1 write(3, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,TS val 7 ecr 700>`);
    const ticking = CLIENT.replace('TS val 200', 'TS val 200');
    const tick = '--tcp_ts_tick_usecs=1000\n';
    passes(
      `${tick}${ticking}+1 write(3, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,TS val 1200 ecr 700>`,
    );
    fails(
      `${tick}${ticking}+1 write(3, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,TS val 700 ecr 700>`,
      'TS val is 1200, not 700',
    );
    fails(
      `${CLIENT}+1 write(3, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,TS val 9 ecr 1>`,
      'TS ecr is 700, not 1',
    );
    // The round trip that the peer's echo tells is the script's.
    passes(`${CLIENT}+0 write(3, ..., 10) = 10
      +0 > P. 1:11(10) ack 1 <nop,nop,TS val 200 ecr 700>
      +.1 < . 1:1(0) ack 11 win 257 <nop,nop,TS val 800 ecr 200>
      +0 %{ assert 99000 <= tcpi_rtt <= 101000, tcpi_rtt }%`);
  });

  test('SACK both ways', () => {
    passes(`${SERVER}
      +0 < . 1001:2001(1000) ack 1 win 257
      +0 > . 1:1(0) ack 1 <nop,nop,sack 1001:2001>
      +0 write(4, ..., 5000) = 5000
      +0 > P. 1:5001(5000) ack 1
      +.1 < . 1:1(0) ack 1 win 257 <sack 1001:5001,nop,nop>
      +0~+.2 > . 1:1001(1000) ack 1`);
  });

  test('numbers that stand on the wire as written', () => {
    passes(`${SERVER}+0 < R 0:0(0)!\n+.1 close(4) = 0\n* > F. 1:1(0) ack 1`);
    passes(`+0 < S 5:5(0) win 100\n+0 > R. 0:0(0)! ack 6 win 0`);
  });

  test('exact: what other profiles forgive, it does not', () => {
    const text = `${SERVER}+0 write(4, ..., 10) = 10\n+0 > . 1:11(10) ack 1`;
    passes(text, { profile: 'linux' });
    expect(run(text, { profile: 'exact' }).result).toBe('failed');
  });
});

describe('ICMP and UDP', () => {
  test('a router with a smaller link: the segment comes again, and smaller', () => {
    passes(`${SERVER}
      +0 write(4, ..., 1000) = 1000
      +0 > P. 1:1001(1000) ack 1
      +.01 < icmp unreachable frag_needed mtu 600 [1:1001(1000)]
      +0 > . 1:561(560) ack 1
      +0 > P. 561:1001(440) ack 1`);
  });

  test('a hard error while opening', () => {
    passes(`
      0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
      +0...0.01 connect(3, ..., ...) = -1 ECONNREFUSED (Connection refused)
      +0 > S 0:0(0) <...>
      +.01 < icmp unreachable port_unreachable [0:0(0)]`);
  });

  test('datagrams out and in', () => {
    passes(
      `
      0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
      +0 connect(3, ..., ...) = 0
      +0 write(3, ..., 100) = 100
      +0 > udp (100)
      +0...0.1 read(3, ..., 1000) = 50
      +.1 < udp (50)
      +0 sendto(3, ..., 20, 0, {sa_family=AF_INET, sin_port=htons(99), sin_addr=inet_addr("192.0.2.1")}, ...) = -1 EISCONN`.replace(
        / = -1 EISCONN/,
        ' = ?',
      ),
    );
  });

  test('nobody listens for a datagram', () => {
    passes('+0 < udp (10)\n+0 > icmp unreachable port_unreachable [udp (10)]');
  });
});

describe('calls', () => {
  test('accept, read and write block, and return in time', () => {
    passes(`
      0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
      +0 bind(3, ..., ...) = 0
      +0 listen(3, 1) = 0
      +0...0.2 accept(3, ..., ...) = 4
      +.1 < S 0:0(0) win 32792 <mss 1000>
      +0 > S. 0:0(0) ack 1 <mss 1460>
      +.1 < . 1:1(0) ack 1 win 3000
      +0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [2304], 4) = 0
      +0...0.1 write(4, ..., 6000) = 6000
      +0 > . 1:3001(3000) ack 1
      +.1 < . 1:1(0) ack 3001 win 3000
      +0 > . 3001:5609(2608) ack 1
      +.1 < . 1:1(0) ack 5609 win 3000
      +0 > P. 5609:6001(392) ack 1
      +0...0.1 read(4, ..., 10) = 5
      +.1 < P. 1:6(5) ack 6001 win 3000`);
  });

  test('a call that returns too early, too late, or not at all', () => {
    fails(`${SERVER}+0...0.5 read(4, ..., 10) = 5\n+.1 < P. 1:6(5) ack 1 win 257`, 'too early');
    fails(`${SERVER}+0...0.1 read(4, ..., 10) = 5\n+.3 < P. 1:6(5) ack 1 win 257`, 'too late');
    fails(`${SERVER}+0...0.1 read(4, ..., 10) = 5`, 'read (line 10) still blocks');
    fails(`${SERVER}+0 read(4, ..., 10) = 5`, 'read (line 10) still blocks');
  });

  test('results and errors are told apart', () => {
    fails(`${SERVER}+0 write(4, ..., 10) = 9`, 'write (line 10) returned 10, not 9');
    fails(`${SERVER}+0 read(9, ..., 10) = -1 EAGAIN`, 'read (line 10) failed with EBADF, not EAGAIN');
    fails(`${SERVER}+0 read(9, ..., 10) = 0`, 'read (line 10) returned -1 EBADF, not 0');
    passes(`${SERVER}+0 write(4, NULL, 10) = -1 EFAULT (Bad address)`);
    passes(`${SERVER}+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n+0 read(4, ..., 10) = -1 EWOULDBLOCK (x)`);
    passes(`${SERVER}+0 recv(4, ..., 10, MSG_DONTWAIT) = -1 EAGAIN (x)`);
  });

  test('options: what is set is got, and an error is got once', () => {
    passes(`${SERVER}
      +0 setsockopt(4, IPPROTO_TCP, TCP_NODELAY, [1], 4) = 0
      +0 getsockopt(4, IPPROTO_TCP, TCP_NODELAY, [1], [4]) = 0
      +0 setsockopt(4, SOL_SOCKET, SO_RCVBUF, [10000], 4) = 0
      +0 getsockopt(4, SOL_SOCKET, SO_RCVBUF, [20000], [4]) = 0
      +0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0
      +0 < R. 1:1(0) ack 1 win 257
      +0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0
      +0 getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0`);
    fails(`${SERVER}+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [EPIPE], [4]) = 0`, 'SO_ERROR is 0, not EPIPE');
  });

  test('MSG_PEEK leaves what it shows; ioctl says how much waits', () => {
    passes(`${SERVER}
      +0 < P. 1:101(100) ack 1 win 257
      +0 ioctl(4, SIOCINQ, [100]) = 0
      +0 recv(4, ..., 10, MSG_PEEK) = 10
      +0 recv(4, ..., 1000, 0) = 100
      * > . 1:1(0) ack 101
      +0 write(4, ..., 77) = 77
      +0 ioctl(4, SIOCOUTQ, [77]) = 0
      +0 ioctl(4, SIOCOUTQNSD, [0]) = 0`);
    fails(`${SERVER}+0 ioctl(4, SIOCINQ, [1]) = 0`, 'SIOCINQ is 0, not 1');
  });

  test('vectors and messages', () => {
    passes(`${SERVER}
      +0 writev(4, [{..., 40}, {..., 2}], 2) = 42
      +0 > P. 1:43(42) ack 1
      +.1 < . 1:1(0) ack 43 win 257
      +0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 8}], msg_flags=0}, 0) = 8
      +0 > P. 43:51(8) ack 1`);
  });

  test('a reset instead of a FIN: SO_LINGER of no time, and data that nobody read', () => {
    passes(`${SERVER}+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0
      +0 close(4) = 0\n+0 > R. 1:1(0) ack 1`);
    passes(
      `${SERVER}+0 < P. 1:2(1) ack 1 win 257\n+0 > . 1:1(0) ack 2\n+0 close(4) = 0\n+0 > R. 1:1(0) ack 2`,
    );
  });

  test('poll and epoll', () => {
    passes(
      `${SERVER}
      +0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1
      +0...0.1 poll([{fd=4, events=POLLIN, revents=0}], 1, 100) = 0
      +.2...0.1 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, -1) = 1
      +0 < P. 1:2(1) ack 1 win 257`
        .replace('+.2...0.1', '+.2...0.3')
        .replace('+0 < P.', '+.1 < P.'),
    );
    passes(`${SERVER}
      +0 epoll_create(1) = 5
      +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLOUT|EPOLLET, fd=4}) = 0
      +0 epoll_wait(5, {events=EPOLLOUT, fd=4}, 1, 0) = 1
      +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
      +0 < P. 1:2(1) ack 1 win 257
      +0 epoll_wait(5, {events=EPOLLIN|EPOLLOUT, fd=4}, 1, 0) = 1
      +0 epoll_ctl(5, EPOLL_CTL_DEL, 4, ...) = 0
      +0 epoll_ctl(5, EPOLL_CTL_DEL, 4, ...) = -1 ENOENT (x)`);
    fails(`${SERVER}+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1`, 'revents of fd 4');
  });

  test('connect says how it went: under way, already, made', () => {
    passes(`${CLIENT}+0 connect(3, ..., ...) = 0\n+0 connect(3, ..., ...) = -1 EISCONN (x)`);
    passes(`${CLIENT.split('\n').slice(0, 5).join('\n')}\n+0 connect(3, ..., ...) = -1 EALREADY (x)
      +0 < R. 0:0(0) ack 1 win 0\n+0 connect(3, ..., ...) = -1 ECONNREFUSED (x)`);
  });
});

describe('commands', () => {
  test('sysctls set the stack up', () => {
    passes(`\`sysctl -q net.ipv4.tcp_timestamps=0
      sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_window_scaling=0\`
      ${CLIENT.split('\n').slice(0, 4).join('\n')}\n+0 > S 0:0(0) <mss 1460>`);
    passes(`0 \`sysctl -w net.inet.tcp.recvspace=30000\`
      +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
      +0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [30000], [4]) = 0`);
  });

  test('sockstat and grep look at connections', () => {
    const look = (n: number) => `+0 \`sockstat -4 -P tcp -s -p 8080 | grep -c ESTABLISHED | grep ${n}\`\n`;
    passes(`${look(0)}${SERVER}${look(1)}`, { profile: 'freebsd' });
    expect(run(`${SERVER}${look(2)}`).reason).toContain('found nothing');
  });

  test('tcpdrop ends connections', () => {
    passes(`${SERVER}+0 \`tcpdrop -s ESTABLISHED\`\n+0 > R. 1:1(0) ack 1`, { profile: 'linux' });
  });

  test('sleep lets time pass', () => {
    passes(`${SERVER}+0 write(4, ..., 5) = 5\n+0 > P. 1:6(5) ack 1\n+0 \`sleep 0.3\`\n+0 > P. 1:6(5) ack 1`);
  });
});

describe('code', () => {
  test('looks at the connection', () => {
    passes(`${SERVER}+0 %{ assert tcpi_state == TCP_ESTABLISHED and tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%`);
    fails(`${SERVER}+0 %{ assert tcpi_snd_cwnd == 11 }%`, 'assert tcpi_snd_cwnd == 11: tcpi_snd_cwnd = 10');
    expect(run(`${SERVER}+0 %{ print(tcpi_snd_mss) }%`).printed).toEqual(['1000']);
  });
});

describe('what is not supported has a name', () => {
  test.each([
    ['--ip_version=ipv6\n', 'IPv6'],
    ['--local_ip=fd00::1\n', 'IPv6'],
    ['--nonsense=1\n', 'the option --nonsense'],
    [`${SERVER}+0 send(4, ..., 10, MSG_MORE) = 10`, 'the flag MSG_MORE'],
    [`${SERVER}+0 send(4, ..., 1, MSG_OOB) = 1`, 'urgent data (MSG_OOB)'],
    [`${SERVER}+0 setsockopt(4, SOL_TCP, TCP_CORK, [1], 4) = 0`, 'the socket option TCP_CORK'],
    [`${SERVER}+0 splice(4, 5) = 0`, 'the system call splice'],
    ['+0 socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 3', 'IPv6'],
    ['+0 socket(..., SOCK_STREAM, IPPROTO_MPTCP) = 3', 'the protocol IPPROTO_MPTCP'],
    ['+0 `rm -rf x`', 'the command rm -rf'],
    ['+0 `sysctl -w net.inet.tcp.blackhole=2`', 'sysctl net.inet.tcp.blackhole=2'],
    ['+0 < gre: x', 'the packet gre'],
    ['+0 < S 0:0(0) win 1 <md5 00>', 'the TCP option md5 00'],
    ['+0 < icmp nonsense', 'icmp nonsense'],
    ['+0 < . 0:0(70000) win 1', 'a packet of 70020 bytes'],
    [`${SERVER}+0 %{ assert tcpi_nonsense }%`, 'the name tcpi_nonsense in code'],
  ])('%j', (text, reason) => {
    unsupported(text, reason);
  });
});

describe('a batch', () => {
  test('is counted, and a script that cannot be read counts as failed', () => {
    const results = [
      drillOrFail(SERVER, 'a.pkt'),
      drillOrFail(`${SERVER}+0 > . 1:1(0) ack 1`, 'b.pkt'),
      drillOrFail('--ip_version=ipv6', 'c.pkt'),
      drillOrFail('+0 x', 'd.pkt'),
    ];
    expect(results.map((r) => r.unreadable)).toEqual([false, false, false, true]);
    const { passed, failed, unsupported: refused, scripts } = summarize(results);
    expect([passed, failed, refused]).toEqual([1, 2, 1]);
    expect(scripts[2]).toEqual({ file: 'c.pkt', result: 'unsupported', line: 1, reason: 'IPv6' });
    expect(scripts[3]).toMatchObject({ file: 'd.pkt', result: 'failed', line: 1 });
    expect(totals(results)).toEqual(['1 passed, 2 failed, 1 not supported', '     1  IPv6']);
  });

  test('runs the same way every time', () => {
    const frames = () => {
      const list: string[] = [];
      run(`${SERVER}+0 write(4, ..., 10) = 10`, {
        watch: (at, direction, bytes) => list.push(`${at} ${direction} ${bytes.join()}`),
      });
      return list;
    };
    const first = frames();
    expect(first.length).toBeGreaterThan(3);
    expect(frames()).toEqual(first);
  });

  test('#ifdef follows the profile and what is defined', () => {
    const text = '#ifdef FreeBSD\n+0 `rm`\n#endif\n#ifdef MINE\n+0 > . 1:1(0)\n#endif\n';
    expect(run(text, { profile: 'linux' }).result).toBe('passed');
    expect(run(text, { profile: 'freebsd' }).result).toBe('unsupported');
    expect(run(text, { profile: 'linux', defines: ['MINE'] }).result).toBe('failed');
  });

  test('whatever a script says, it gets a verdict', () => {
    const words = [
      ...SERVER.split('\n'),
      ...CLIENT.split('\n'),
      '+0 < F. 1:1(0) ack 1 win 257',
      '+0 < R. 1:1(0) ack 1 win 0',
      '+0 < SFRPU 1:1(0) urg 3',
      '+0 < . 5:10(5) ack 9999 win 0 <sack 1:2 4294967295:5,nop,nop>',
      '+0 < icmp unreachable frag_needed mtu 0 [1:1(0)]',
      '+0 < icmp source_quench',
      '+0 write(4, ..., 100000) = 100000',
      '+0 close(3) = 0',
      '+0 close(4) = 0',
      '+0 shutdown(4, SHUT_RDWR) = 0',
      '+0 setsockopt(4, SOL_SOCKET, SO_RCVBUF, [-5], 4) = 0',
      '+0 setsockopt(4, SOL_SOCKET, SO_RCVBUF, [1], 4) = 0',
      '+0 setsockopt(4, SOL_TCP, TCP_MAXSEG, [88], 4) = 0',
      '+100 read(4, ..., 5) = ?',
      '+0 `tcpdrop -s TIME_WAIT`',
      '--mtu=100',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 25 }), (lines) => {
        const { result, reason = '' } = drillOrFail(
          lines.join('\n').replace(/ = (-1 \w+|\d+)/g, ' = ?'),
          'f.pkt',
        );
        expect(['passed', 'failed', 'unsupported']).toContain(result);
        expect(reason).not.toContain('the stack threw');
      }),
      { numRuns: 150 },
    );
  });
});
