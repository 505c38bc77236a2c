// The queue of deadlines against a plain sorted list: src/base/timers.ts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { Timer, TimerQueue } from '../../src/base/timers.ts';

type Step =
  | { readonly do: 'set'; readonly which: number; readonly at: number }
  | { readonly do: 'disarm' | 'remove'; readonly which: number }
  | { readonly do: 'advance'; readonly by: number };

const COUNT = 12;
const which = fc.nat({ max: COUNT - 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('set' as const), which, at: fc.nat({ max: 200 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('disarm' as const, 'remove' as const), which }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), by: fc.nat({ max: 40 }) }) },
  ),
  { maxLength: 200 },
);

describe('law: the queue is a sorted list of deadlines', () => {
  test('it fires what is due, and only that, in order of deadline; next() is never late', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const queue = new TimerQueue();
        const model: number[] = new Array(COUNT).fill(NEVER);
        let fired: number[] = [];
        const timers = model.map((_, i) => new Timer(() => fired.push(i)));
        let now = 0;
        for (const step of all) {
          if (step.do === 'advance') {
            now += step.by;
            const due = [...model.keys()].filter((i) => model[i]! <= now);
            const deadlines = (list: number[]) => list.map((i) => model[i]);
            fired = [];
            queue.advance(now);
            expect([...fired].sort((a, b) => a - b)).toEqual(due);
            // Equal deadlines may fire either way round; later ones may not come first.
            expect(deadlines(fired)).toEqual(deadlines(due).sort((a, b) => a! - b!));
            for (const i of due) model[i] = NEVER;
          } else {
            const at = step.do === 'set' ? now + step.at : NEVER;
            if (step.do === 'remove') queue.remove(timers[step.which]!);
            else queue.set(timers[step.which]!, at);
            model[step.which] = at;
          }
          expect(timers.map(({ deadline }) => deadline)).toEqual(model);
          expect(queue.armed).toBe(model.filter((at) => at !== NEVER).length);
          expect(queue.next()).toBeLessThanOrEqual(Math.min(...model));
          expect(queue.size).toBeLessThanOrEqual(COUNT);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('woken only at next(), it fires everything at its own time', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const queue = new TimerQueue();
        let now = 0;
        const late: number[] = [];
        const deadlines: number[] = new Array(COUNT).fill(NEVER);
        const timers = deadlines.map(
          (_, i) =>
            new Timer((at) => {
              if (at !== deadlines[i]) late.push(i);
            }),
        );
        for (const step of all) {
          if (step.do === 'advance') {
            const until = now + step.by;
            for (let next = queue.next(); next <= until; next = queue.next()) {
              now = Math.max(now, next);
              queue.advance(now);
            }
            now = until;
          } else if (step.do === 'set') {
            deadlines[step.which] = now + step.at;
            queue.set(timers[step.which]!, now + step.at);
          }
        }
        expect(late).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});

describe('use', () => {
  test('a timer may arm itself again, and others, from within', () => {
    const queue = new TimerQueue();
    const log: string[] = [];
    const other = new Timer(() => log.push('other'));
    const again: Timer = new Timer((now) => {
      log.push(`again ${now}`);
      if (log.length < 3) queue.set(again, now + 10);
      queue.set(other, now);
    });
    queue.set(again, 10);
    queue.advance(10);
    expect(log).toEqual(['again 10', 'other']);
    queue.advance(20);
    expect(log).toEqual(['again 10', 'other', 'again 20', 'other']);
    expect(queue.next()).toBe(NEVER);
  });

  test('a timer may disarm another that is due at the same moment', () => {
    const queue = new TimerQueue();
    const log: string[] = [];
    const b = new Timer(() => log.push('b'));
    const a = new Timer(() => {
      log.push('a');
      queue.set(b, NEVER);
    });
    queue.set(a, 5);
    queue.set(b, 6);
    queue.advance(6);
    expect(log).toEqual(['a']);
  });

  test('a move to a later time costs the heap nothing until the old time comes', () => {
    const queue = new TimerQueue();
    let fired = 0;
    const timer = new Timer(() => fired++);
    queue.set(timer, 100);
    for (let i = 1; i <= 1_000; i++) queue.set(timer, 100 + i);
    expect([queue.size, queue.next()]).toEqual([1, 100]);
    queue.advance(100);
    expect([fired, queue.next()]).toEqual([0, 1_100]);
    queue.advance(1_100);
    expect([fired, queue.size]).toEqual([1, 0]);
  });

  test('remove forgets at once, disarming when the time comes', () => {
    const queue = new TimerQueue();
    const [a, b] = [new Timer(() => {}), new Timer(() => {})];
    queue.set(a, 10);
    queue.set(b, 20);
    queue.remove(a);
    queue.remove(a);
    expect(queue.size).toBe(1);
    queue.set(b, NEVER);
    expect([queue.size, queue.armed]).toEqual([1, 0]);
    queue.advance(20);
    expect([queue.size, queue.next()]).toEqual([0, NEVER]);
  });

  test('setting NEVER on a timer that is not armed puts nothing in', () => {
    const queue = new TimerQueue();
    queue.set(new Timer(() => {}), NEVER);
    expect(queue.size).toBe(0);
  });
});
