// `tapstack drill FILE…`: runs packet scripts (the packetdrill language) against the stack, in virtual time and without a TAP.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { SECOND } from '../base/time.ts';
import { drillOrFail, type FrameWatcher, type ProfileName, summarize } from '../drill/drill.ts';
import { PROFILE_NAMES } from '../drill/profile.ts';
import { explain, totals } from '../drill/report.ts';
import { type Context, examples } from './command.ts';
import { EXIT, type Io, stopCode, UsageError } from './io.ts';
import { addOutputOptions } from './options.ts';
import { type OutputOptions, printable, Report } from './report.ts';

export interface DrillCommandOptions extends OutputOptions {
  profile?: ProfileName;
  define?: string[];
  write?: string;
  verbose?: boolean;
}

export function drillCommand({ io, finish }: Context): Command {
  const command = new Command('drill')
    .description('run packet scripts, in the packetdrill language, against the stack in virtual time')
    .argument('<file...>', 'scripts; of a directory, every .pkt file in it and below')
    .addOption(
      new Option(
        '--profile <system>',
        'whose scripts they are (default: each is looked at); exact forgives nothing',
      ).choices(PROFILE_NAMES),
    )
    .option('--define <name>', 'a name that #ifdef finds defined; repeatable', gather)
    .option('-w, --write <file>', 'write every frame to a pcapng file, an interface for each script')
    .option('-V, --verbose', 'name the scripts that pass too, and what they print')
    .action(async (files: string[], options: DrillCommandOptions) =>
      finish(await drillFiles(files, options, io)),
    );
  return addOutputOptions(command).addHelpText(
    'after',
    `\nEnds with 0 when no script failed, with 1 when one did, and with 2 when one could not be read.\n${examples(
      [
        ['tapstack drill tests/', 'every script below a directory'],
        ['tapstack drill -w drill.pcapng reset.pkt', 'one, with a capture for Wireshark'],
        ['tapstack drill --json tests/ | jq .scripts', 'for programs'],
      ],
    )}`,
  );
}

function gather(name: string, before: string[] = []): string[] {
  return [...before, name];
}

/** Runs the scripts and prints what became of them. */
export async function drillFiles(
  paths: readonly string[],
  options: DrillCommandOptions,
  io: Io,
): Promise<number> {
  const report = new Report(io, options);
  const capture = options.write === undefined ? undefined : await openCapture(options.write);
  const results = [];
  let unreadable = false;
  try {
    for (const path of await scriptsIn(paths)) {
      if (io.stop.aborted) return stopCode(io.stop);
      const text = await readFile(path, 'utf8');
      const { profile, define } = options;
      const result = drillOrFail(text, path, { profile, defines: define, watch: capture?.begin(path) });
      unreadable ||= result.unreadable;
      results.push(result);
      if (report.json) continue;
      const lines = explain(result).map(printable);
      // What is not supported is counted below; under --verbose it is named here.
      if (result.result === 'failed' || options.verbose === true) for (const line of lines) report.line(line);
      if (options.verbose === true) {
        if (result.result === 'passed') report.line(`ok    ${printable(path)}`);
        for (const line of result.printed) report.line(`        ${printable(line)}`);
      }
    }
  } finally {
    await capture?.close();
  }
  if (report.json) report.line(JSON.stringify(summarize(results)));
  else for (const line of totals(results)) report.line(printable(line));
  if (unreadable) return EXIT.usage;
  return results.some((r) => r.result === 'failed') ? EXIT.failure : EXIT.ok;
}

/** Files as they are named; of directories, the scripts in them in order. */
async function scriptsIn(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`cannot read ${path}: ${error.code}`);
    });
    if (!status.isDirectory()) {
      found.push(path);
      continue;
    }
    const names = await readdir(path, { recursive: true });
    found.push(
      ...names
        .filter((name) => name.endsWith('.pkt'))
        .sort()
        .map((name) => join(path, name)),
    );
  }
  return found;
}

/** A pcapng file in which every script is an interface of its own. */
async function openCapture(file: string) {
  const { createPcapngFile } = await import('../node/pcap-file.ts');
  const pcapng = createPcapngFile(file, { application: 'tapstack drill' });
  // Every script begins at the same virtual time: in the file, each begins a second after the one before has ended.
  let shift = 0;
  let last = 0;
  return {
    begin(path: string): FrameWatcher {
      const id = pcapng.addInterface({ name: path });
      let first = true;
      return (at, direction, bytes, comment) => {
        if (first && last > 0) shift = last + SECOND - at;
        first = false;
        last = at + shift;
        const seconds = Math.floor(last / SECOND);
        pcapng.packet(id, seconds, (last % SECOND) * 1000, bytes, 0, bytes.length, { direction, comment });
      };
    },
    close: () => pcapng.close(),
  };
}
