// Packet scripts, whole: a text in, a verdict out; and what many verdicts come to.

import { parseScript } from './parser.ts';
import { guessProfile, type ProfileName, profileNamed } from './profile.ts';
import { runScript, type ScriptResult } from './runner.ts';
import { ScriptError } from './script.ts';
import type { FrameWatcher } from './world.ts';

export type { ProfileName } from './profile.ts';
export type { Mismatch, ScriptResult, Verdict } from './runner.ts';
export type { FrameWatcher } from './world.ts';

export interface DrillOptions {
  /** Whose system the script was written for; by default the script is looked at. */
  readonly profile?: ProfileName | undefined;
  /** Names that `#ifdef` finds defined, beside the profile's. */
  readonly defines?: readonly string[] | undefined;
  /** Sees every frame, for a capture. */
  readonly watch?: FrameWatcher | undefined;
}

/** Parses and runs one script on a fresh stack in virtual time. Throws ScriptError when it cannot be read. */
export function drill(text: string, file: string, options: DrillOptions = {}): ScriptResult {
  const name = options.profile ?? guessProfile(text);
  const defines = [...profileNamed(name).defines, ...(options.defines ?? [])];
  const script = parseScript(text, file, { defines });
  return runScript(script, { profile: name, watch: options.watch });
}

/** The same, with a script that cannot be read as a failed one. */
export function drillOrFail(
  text: string,
  file: string,
  options: DrillOptions = {},
): ScriptResult & { readonly unreadable: boolean } {
  try {
    return { ...drill(text, file, options), unreadable: false };
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    const { line, message } = error;
    return {
      file,
      result: 'failed',
      line,
      reason: `syntax: ${message}`,
      mismatch: undefined,
      printed: [],
      unreadable: true,
    };
  }
}

/** What `--json` prints. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  readonly scripts: readonly {
    readonly file: string;
    readonly result: ScriptResult['result'];
    readonly line: number | undefined;
    readonly reason: string | undefined;
  }[];
}

export function summarize(results: readonly ScriptResult[]): Summary {
  const count = (which: ScriptResult['result']): number => results.filter((r) => r.result === which).length;
  return {
    passed: count('passed'),
    failed: count('failed'),
    unsupported: count('unsupported'),
    scripts: results.map(({ file, result, line, reason }) => ({ file, result, line, reason })),
  };
}
