// What every command is made with, and the form of its examples.

import type { Command } from 'commander';
import type { Io } from './io.ts';

/** What a command is made with. */
export interface Context {
  readonly io: Io;
  /** Tells the exit code. */
  finish(code: number): void;
}

/** Makes one command of the table in commands.ts. */
export type MakeCommand = (context: Context) => Command;

/** Lines for the end of a command's help. */
export function examples(lines: readonly (readonly [command: string, what: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return `\nExamples:\n${lines.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`).join('\n')}\n`;
}
