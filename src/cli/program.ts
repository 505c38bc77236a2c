// From words on a command line to a command and its exit code: help, version, and the refusal of what makes no sense.

import { Command, CommanderError } from 'commander';
import { type Context, examples } from './command.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, type Io, isAbort, stopCode, UsageError } from './io.ts';
import { NoTapError } from './join.ts';
import { version } from './package.ts';

/** Runs the command line `argv` (without the program's name) and gives the exit code. Never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let code: number = EXIT.ok;
  let name = '';
  const program = makeProgram({ io, finish: (c) => (code = c) });
  program.hook('preAction', (_program, command) => {
    name = ` ${command.name()}`;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    // Told by the first word: the command itself was not reached when its options make no sense.
    const known = program.commands.some((command) => command.name() === argv[0]);
    return failure(error, name, known ? ` ${argv[0]}` : '', io);
  }
}

function makeProgram(context: Context): Command {
  const { io } = context;
  const program = new Command('tapstack')
    .description('A userspace TCP/IP stack over Linux TAP devices, and tools that run on it.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    // `dissect -V` is dissect's own -V.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      // Printed by failure() instead, in one line.
      outputError: () => {},
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    })
    .addHelpText(
      'after',
      examples([
        ['sudo tapstack up --http --echo', 'answer pings, serve a page and an echo service on tap0'],
        ['tapstack up --demo --http', 'the same between two stacks in memory: needs no rights'],
        ['sudo tapstack ping 10.7.0.1', "ping the kernel's side from a stack of its own"],
        ['tapstack dissect tapstack.pcapng', 'print a capture, one line a frame'],
      ]),
    );
  for (const make of COMMANDS) {
    const command = make(context);
    command.copyInheritedSettings(program).helpOption('-h, --help', 'show this help');
    program.addCommand(command);
  }
  return program;
}

/** Says on stderr, in one line, why a command could not do its work; gives the exit code. */
function failure(error: unknown, name: string, command: string, io: Io): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.ok;
    if (error.code === 'commander.help') return EXIT.usage;
    const message = error.message
      .replace(/^error: /, '')
      .replaceAll('\n', ' ')
      .replace(/\.$/, '');
    io.stderr.write(`tapstack: ${message}; see 'tapstack${command} --help'\n`);
    return EXIT.usage;
  }
  if (io.stop.aborted && isAbort(error)) return stopCode(io.stop);
  if (/\btapstack\b/.test(io.env.NODE_DEBUG ?? '') && error instanceof Error) {
    io.stderr.write(`${error.stack}\n`);
  }
  io.stderr.write(`tapstack${name}: ${messageOf(error)}\n`);
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof NoTapError) return EXIT.noTap;
  return EXIT.failure;
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll('\n', ' ');
}
