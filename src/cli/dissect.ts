// `tapstack dissect FILE`: prints a capture, one line a frame, as a tree, or as JSON.

import { Command } from 'commander';
import { type Context, examples } from './command.ts';
import { FrameTeller } from './frames.ts';
import { EXIT, type Io, stopCode } from './io.ts';
import { addOutputOptions, wholeNumber } from './options.ts';
import { type OutputOptions, Report } from './report.ts';

export interface DissectOptions extends OutputOptions {
  verbose?: boolean;
  count?: number;
}

export function dissectCommand({ io, finish }: Context): Command {
  const command = new Command('dissect')
    .description('print a capture file: pcap or pcapng, gzipped or not')
    .argument('<file>', 'the capture; - is stdin')
    .option('-V, --verbose', 'every field of every layer')
    .option('-c, --count <n>', 'stop after so many frames', wholeNumber(1, 1e15))
    .action(async (file: string, options: DissectOptions) => finish(await dissectFile(file, options, io)));
  return addOutputOptions(command).addHelpText(
    'after',
    `\nEnds with 0 when the whole capture could be read, else with 1.\n${examples([
      ['tapstack dissect tapstack.pcapng', 'one line a frame'],
      ['tapstack dissect -V -c 1 tapstack.pcapng', 'everything about the first'],
      ['tapstack dissect --json tapstack.pcapng | jq .info', 'for programs'],
    ])}`,
  );
}

/** Prints the frames of a capture until its end, the count, or `io.stop`. */
export async function dissectFile(file: string, options: DissectOptions, io: Io): Promise<number> {
  const { readCapture } = await import('../node/pcap-file.ts');
  const report = new Report(io, options);
  const teller = new FrameTeller(report, options.verbose);
  // A read of stdin may wait for ever: only closing it ends that.
  if (file === '-') io.stop.addEventListener('abort', () => io.stdin.destroy(), { once: true });
  try {
    for await (const record of readCapture(file)) {
      if (io.stop.aborted) break;
      if (record.kind === 'error') {
        report.warn(`tapstack dissect: ${file}: ${record.message}`);
        return EXIT.failure;
      }
      if (record.kind !== 'packet') continue;
      teller.tell(record);
      if (teller.count === options.count) return EXIT.ok;
      if (!report.hasRoom) await report.drained();
    }
  } catch (error) {
    if (!io.stop.aborted) throw error;
  }
  return io.stop.aborted ? stopCode(io.stop) : EXIT.ok;
}
