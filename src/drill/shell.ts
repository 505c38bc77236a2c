// The shell commands of scripts: sysctls become settings of the stack, `sockstat | grep` looks at its connections; what the
// stack has no counterpart for is refused by name.

import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import type { Stack } from '../stack/stack.ts';
import { abort } from '../tcp/calls.ts';
import { allConnections } from '../tcp/tcp.ts';
import type { Kernel } from './kernel.ts';
import { Unsupported } from './script.ts';
import { congestionNamed } from './sockopt.ts';

export interface ShellNeeds {
  readonly stack: Stack;
  readonly kernel: Kernel;
  /** Lets time pass. */
  readonly sleep: (micros: Micros) => void;
}

/** Runs a command line, or several. True when it ended with 0. Throws {@link Unsupported}. */
export function runCommand(command: string, needs: ShellNeeds): boolean {
  let good = true;
  for (const line of joined(command).split(/\n|;|&&/)) {
    const text = line.replace(/(^|\s)#.*$/, '').trim();
    if (text !== '' && !runLine(text, needs)) good = false;
  }
  return good;
}

/** A backslash at the end of a line joins it to the next. */
function joined(command: string): string {
  return command.replace(/\\\n/g, ' ');
}

function runLine(line: string, needs: ShellNeeds): boolean {
  const stages = line.split('|').map((s) => s.trim());
  if (stages.length > 1) return pipeline(stages, needs);
  const words = splitWords(line).filter((w) => !/^\d?>/.test(w));
  const [name = '', ...args] = words;
  // What set_sysctls.py leaves behind, to undo it.
  if (/sysctl_restore_.*\.sh$/.test(name)) return true;
  switch (name.replace(/^.*\//, '')) {
    // The settings that every script of the Linux collections begins with: they are what the profile is.
    case 'defaults.sh':
    case 'set_sysctls.py':
    case 'sysctl':
      for (const arg of args) assign(arg, needs);
      return true;
    case 'echo':
      return echo(line, needs);
    case 'sleep': {
      const span = Number(args[0]);
      if (!(span >= 0 && span <= LONGEST_SLEEP)) throw new Unsupported(`sleep ${args[0]}`);
      needs.sleep(Math.round(span * SECOND));
      return true;
    }
    case 'tcpdrop':
      return drop(args, needs);
    case 'true':
    case ':':
      return true;
    // Caches, queues and rules of the kernel that a fresh stack does not have.
    case 'sync':
    case 'clear':
      return true;
    case 'ip':
      if (args[0] === 'tcp_metrics') return true;
      break;
    case 'tc':
      if (args[0] === 'qdisc') return true;
      break;
  }
  throw new Unsupported(`the command ${name}${args[0] === undefined ? '' : ` ${args[0]}`}`);
}

/** A day, in seconds: timers go on while time passes. */
const LONGEST_SLEEP = 86_400;

function splitWords(line: string): string[] {
  return [...line.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map((m) => m[0].replace(/["']/g, ''));
}

/** `echo 1 > /proc/sys/net/ipv4/tcp_sack`. */
function echo(line: string, needs: ShellNeeds): boolean {
  const m = /^echo\s+(.*?)\s*>\s*(\/proc\/sys\/\S+)$/.exec(line);
  if (m !== null) assign(`${m[2]}=${m[1]}`, needs);
  return true;
}

// ---- sysctls

/** Settings whose only values here are those named: the stack behaves so, and not otherwise. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
  'net.inet.tcp.blackhole': ['0'],
  'net.inet.tcp.drop_synfin': ['1'],
  'net.inet.tcp.ecn.enable': ['2'],
  'net.inet.tcp.rexmit_initial': ['1000'],
  'net.inet.tcp.rexmit_slop': ['200'],
  'net.inet.tcp.rexmit_drop_options': ['0'],
  'net.inet.tcp.insecure_rst': ['0'],
  'net.inet.tcp.insecure_syn': ['0'],
  'net.inet.tcp.insecure_ack': ['0'],
  'net.inet.tcp.icmp_may_rst': ['1'],
  'net.inet.tcp.delacktime': ['40'],
  'net.inet.tcp.delayed_ack': ['1'],
  'net.ipv4.tcp_dsack': ['1'],
  'net.ipv4.tcp_ecn': ['0'],
  'net.ipv4.tcp_reordering': ['3'],
  'net.ipv4.tcp_abort_on_overflow': ['0'],
  'net.ipv4.tcp_rfc1337': ['1'],
  'net.ipv4.tcp_stdurg': ['0'],
  'net.ipv4.tcp_mtu_probing': ['0'],
  'net.ipv4.tcp_syn_retries': ['5'],
  'net.ipv4.tcp_synack_retries': ['5'],
  'net.ipv4.tcp_frto': ['1', '2'],
  'net.ipv4.tcp_early_retrans': ['3', '4'],
  'net.ipv4.tcp_recovery': ['1'],
};

/** Settings that change nothing a script can see here. */
const IGNORED = new Set([
  'net.inet.tcp.hostcache.purgenow',
  'net.inet.tcp.hostcache.purge',
  'net.inet.tcp.functions_default',
  'kern.ipc.maxsockbuf',
  'net.ipv4.tcp_no_metrics_save',
  'net.ipv4.tcp_fack',
  'net.ipv4.tcp_fastopen_key',
  'net.ipv4.tcp_tso_win_divisor',
  'net.ipv4.tcp_min_tso_segs',
  'net.ipv4.tcp_autocorking',
  'net.ipv4.tcp_pacing_ss_ratio',
  'net.ipv4.tcp_pacing_ca_ratio',
  'net.ipv4.tcp_notsent_lowat',
  'net.ipv4.tcp_slow_start_after_idle',
  'net.core.rmem_max',
  'net.core.wmem_max',
]);

/** `name=value`; a flag (`-w`, `-q`) or a mere question is passed over. */
function assign(text: string, needs: ShellNeeds): void {
  const m = /^([^=]+?)=(.*)$/.exec(text);
  if (m === null) return;
  const name = m[1]!.replace(/^\/proc\/sys\//, '').replaceAll('/', '.');
  const value = m[2]!.trim();
  if (IGNORED.has(name)) return;
  if (name in FIXED) {
    if (!FIXED[name]!.includes(value)) throw new Unsupported(`sysctl ${name}=${value}`);
    return;
  }
  if (!apply(name, value, needs)) throw new Unsupported(`sysctl ${name}=${value}`);
}

/** The settings that sockets begin with. False for one that is not known. */
function apply(name: string, value: string, { kernel }: ShellNeeds): boolean {
  const { defaults, kept } = kernel;
  const n = Number(value);
  switch (name) {
    case 'net.inet.tcp.rfc1323':
      defaults.timestamps = n === 1 || n === 2;
      defaults.windowScaling = n === 1 || n === 3;
      return true;
    case 'net.ipv4.tcp_timestamps':
      defaults.timestamps = n !== 0;
      return true;
    case 'net.ipv4.tcp_window_scaling':
      defaults.windowScaling = n !== 0;
      return true;
    case 'net.inet.tcp.sack.enable':
    case 'net.ipv4.tcp_sack':
      defaults.sack = n !== 0;
      return true;
    case 'net.inet.tcp.recvspace':
      defaults.receiveBufferLimit = n;
      return true;
    case 'net.inet.tcp.sendspace':
      defaults.sendBufferLimit = n;
      return true;
    case 'net.ipv4.tcp_rmem': {
      const [, middle = defaults.receiveBufferLimit, most = 0] = value.split(/\s+/).map(Number);
      defaults.receiveBufferLimit = middle;
      defaults.receiveBufferMax = most;
      return true;
    }
    case 'net.ipv4.tcp_wmem': {
      const [, middle = defaults.sendBufferLimit, most = 0] = value.split(/\s+/).map(Number);
      defaults.sendBufferLimit = middle;
      defaults.sendBufferMax = most;
      return true;
    }
    case 'net.ipv4.tcp_moderate_rcvbuf':
      if (n === 0) defaults.receiveBufferMax = 0;
      return true;
    case 'net.ipv4.tcp_congestion_control':
    case 'net.inet.tcp.cc.algorithm':
      defaults.congestion = congestionNamed(value);
      return true;
    case 'net.inet.tcp.keepidle':
      defaults.keepAlive.idle = n * MILLISECOND;
      return true;
    case 'net.inet.tcp.keepintvl':
      defaults.keepAlive.interval = n * MILLISECOND;
      return true;
    case 'net.ipv4.tcp_keepalive_time':
      defaults.keepAlive.idle = n * SECOND;
      return true;
    case 'net.ipv4.tcp_keepalive_intvl':
      defaults.keepAlive.interval = n * SECOND;
      return true;
    case 'net.inet.tcp.keepcnt':
    case 'net.ipv4.tcp_keepalive_probes':
      defaults.keepAlive.count = n;
      return true;
    case 'net.inet.tcp.always_keepalive':
      defaults.keepAlive.enabled = n !== 0;
      return true;
    case 'net.inet.tcp.keepinit':
      kept.set('TCP_KEEPINIT', n / 1000);
      return true;
  }
  return false;
}

// ---- looking at connections

/** FreeBSD's names of the states, as sockstat -s and tcpdrop -s know them. */
const STATE_NAMES: Readonly<Record<string, string>> = {
  CLOSED: 'CLOSED',
  LISTEN: 'LISTEN',
  'SYN-SENT': 'SYN_SENT',
  'SYN-RECEIVED': 'SYN_RCVD',
  ESTABLISHED: 'ESTABLISHED',
  'FIN-WAIT-1': 'FIN_WAIT_1',
  'FIN-WAIT-2': 'FIN_WAIT_2',
  'CLOSE-WAIT': 'CLOSE_WAIT',
  CLOSING: 'CLOSING',
  'LAST-ACK': 'LAST_ACK',
  'TIME-WAIT': 'TIME_WAIT',
};

/** `sockstat … | grep -c STATE | grep 1`: the lines of one go to the next; the last must find something. */
function pipeline(stages: readonly string[], needs: ShellNeeds): boolean {
  const [first = '', ...rest] = stages.map(splitWords);
  if (first[0] !== 'sockstat') throw new Unsupported(`the command ${first[0]}`);
  let lines = sockstat(first, needs.stack);
  let found = lines.length > 0;
  for (const [name, ...args] of rest) {
    if (name !== 'grep' && name !== 'egrep') throw new Unsupported(`the command ${name}`);
    const out = grep(args, lines);
    lines = out.lines;
    found = out.found;
  }
  return found;
}

/** One line a connection: the owner, the ports, the state. */
function sockstat(words: string | readonly string[], stack: Stack): string[] {
  const args = [...words];
  const port = args.includes('-p') ? Number(args[args.indexOf('-p') + 1]) : undefined;
  const lines: string[] = [];
  for (const { localPort, remotePort, state } of allConnections(stack.tcp)) {
    if (port !== undefined && localPort !== port && remotePort !== port) continue;
    lines.push(`root packetdril 1 3 tcp4 *:${localPort} *:${remotePort} ${STATE_NAMES[state]}`);
  }
  return lines;
}

function grep(args: readonly string[], lines: readonly string[]): { lines: string[]; found: boolean } {
  const flags = args.filter((a) => a.startsWith('-')).join('');
  const pattern = args.find((a) => !a.startsWith('-')) ?? '';
  const hits = lines.filter((line) => line.includes(pattern) !== flags.includes('v'));
  const found = hits.length > 0;
  return { lines: flags.includes('c') ? [String(hits.length)] : hits, found };
}

/** `tcpdrop -s TIME_WAIT`: ends all connections in a state. */
function drop(args: readonly string[], { stack }: ShellNeeds): boolean {
  const state = args[args.indexOf('-s') + 1];
  if (args[0] !== '-s' || state === undefined) throw new Unsupported(`tcpdrop ${args.join(' ')}`);
  for (const tcb of [...allConnections(stack.tcp)]) if (STATE_NAMES[tcb.state] === state) abort(tcb);
  return true;
}
