// Who watches the watchman: the referee notices every flipped bit of an answer, and every answer to the wrong frame.

import { expect, test } from 'vitest';
import { type Answer, judge, relate } from './audit.ts';
import { bytes, SYN } from './craft.ts';
import { ATTACKER, ATTACKER_MAC, CLOSED_PORT, OURS, Victim } from './victim.ts';

const open = { hasConnection: () => true };

/** Frames of every kind and what the stack answers. */
function exchanges(v: Victim): [Uint8Array, Answer][] {
  const causes = [
    v.arp({ op: 1, sha: ATTACKER_MAC, spa: ATTACKER, tpa: OURS }),
    v.icmp(8, 0, 0x1234_5678, bytes(20)),
    v.udp({ source: 2000 }, bytes(30)),
    v.udp({ source: 2000, destination: CLOSED_PORT }, bytes(30)),
    v.tcp({ flags: SYN, source: 2001 }),
    v.tcp({ flags: SYN, source: 2002, destination: CLOSED_PORT }),
  ];
  return causes.map((cause) => {
    const { answers } = v.inject(cause);
    expect(answers.length).toBe(1);
    return [cause, answers[0]!];
  });
}

function passes(cause: Uint8Array, sent: Uint8Array, v: Victim): boolean {
  try {
    relate(cause, judge(sent, v.self), v.self, open);
    return true;
  } catch {
    return false;
  }
}

test('no flipped bit behind the destination address goes unnoticed', () => {
  const v = new Victim();
  for (const [cause, { bytes: sent, kind }] of exchanges(v)) {
    expect(passes(cause, sent, v)).toBe(true);
    const unnoticed: number[] = [];
    for (let bit = 48; bit < sent.length * 8; bit++) {
      const flipped = sent.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      if (passes(cause, flipped, v)) unnoticed.push(bit);
    }
    expect(unnoticed, kind).toEqual([]);
    // Cut short, or too long.
    expect(passes(cause, sent.slice(0, -1), v)).toBe(false);
    expect(passes(cause, Uint8Array.of(...sent, 0), v)).toBe(false);
  }
});

test('an answer to another frame is noticed, but for segments of a connection', () => {
  const v = new Victim();
  const all = exchanges(v);
  for (const [i, [cause]] of all.entries()) {
    for (const [k, [, answer]] of all.entries()) {
      if (i === k || answer.kind === 'tcp SYN,ACK') continue;
      // An ARP frame may set free what waited for its sender.
      if (i === 0) continue;
      expect(passes(cause, answer.bytes, v), `${answer.kind} to frame ${i}`).toBe(false);
    }
  }
});
