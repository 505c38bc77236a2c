import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Member, Roster } from '../../src/base/roster.ts';

interface Thing extends Member<Thing> {
  readonly name: number;
}

const thing = (name: number): Thing => ({ name, roster: undefined, older: undefined, newer: undefined });
const names = (roster: Iterable<Thing>) => [...roster].map(({ name }) => name);

test('a roster is what a Set is, whatever is added and deleted', () => {
  const steps = fc.array(fc.record({ add: fc.boolean(), which: fc.nat(9) }), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (all) => {
      const things = Array.from({ length: 10 }, (_, i) => thing(i));
      const roster = new Roster<Thing>();
      const model = new Set<Thing>();
      for (const { add, which } of all) {
        const member = things[which]!;
        if (add) {
          roster.add(member);
          model.add(member);
        } else {
          expect(roster.delete(member)).toBe(model.delete(member));
        }
        expect(names(roster)).toEqual(names(model));
        expect(roster.size).toBe(model.size);
        expect(roster.oldest).toBe([...model][0]);
        for (const each of things) expect(roster.has(each)).toBe(model.has(each));
      }
    }),
  );
});

test('a member that left holds nothing of the roster', () => {
  const roster = new Roster<Thing>();
  const [a, b, c] = [thing(1), thing(2), thing(3)];
  for (const member of [a, b, c]) roster.add(member);
  roster.delete(b);
  expect(b).toEqual(thing(2));
});

test('a member is in one roster: it leaves the other', () => {
  const [first, second] = [new Roster<Thing>(), new Roster<Thing>()];
  const a = thing(1);
  first.add(a);
  second.add(a);
  expect([first.size, second.size, first.has(a), second.has(a)]).toEqual([0, 1, false, true]);
});

test('the member at hand may be deleted while one goes through', () => {
  const roster = new Roster<Thing>();
  for (let i = 0; i < 5; i++) roster.add(thing(i));
  const seen: number[] = [];
  for (const member of roster) {
    seen.push(member.name);
    roster.delete(member);
  }
  expect(seen).toEqual([0, 1, 2, 3, 4]);
  expect(roster.size).toBe(0);
});
