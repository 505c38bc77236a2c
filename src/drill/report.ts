// What a run of scripts comes to, for people: the two packets one above the other, with the field in which they differ.

import type { ScriptResult } from './runner.ts';

/** Why a script did not pass, in lines; nothing for one that did. */
export function explain({ file, result, line, reason, mismatch }: ScriptResult): string[] {
  if (result === 'passed') return [];
  const where = line === undefined ? file : `${file}:${line}`;
  const lines = [`${result === 'failed' ? 'FAIL' : 'skip'}  ${where}  ${reason}`];
  if (mismatch === undefined) return lines;
  lines.push(`        expected  ${mismatch.expectedPacket}`);
  lines.push(`        sent      ${mismatch.sentPacket ?? 'nothing'}`);
  return lines;
}

/** The totals, and what is not supported by how often it was asked for. */
export function totals(results: readonly ScriptResult[]): string[] {
  const of = (which: ScriptResult['result']): ScriptResult[] => results.filter((r) => r.result === which);
  const unsupported = of('unsupported');
  const lines = [
    `${of('passed').length} passed, ${of('failed').length} failed, ${unsupported.length} not supported`,
  ];
  const reasons = new Map<string, number>();
  for (const { reason = '' } of unsupported) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  for (const [reason, n] of [...reasons].sort((a, b) => b[1] - a[1])) {
    lines.push(`${String(n).padStart(6)}  ${reason}`);
  }
  return lines;
}
