import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectionTable } from '../../src/tcp/table.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';

/** The table looks at nothing but these. */
const entry = (hash: number) => ({ hash, nextInBucket: undefined }) as unknown as Tcb;

function chain(table: ConnectionTable, hash: number): Tcb[] {
  const found: Tcb[] = [];
  for (let tcb = table.get(hash); tcb !== undefined; tcb = tcb.nextInBucket) found.push(tcb);
  return found;
}

test('every connection is found along the chain of its hash, and none that was deleted', () => {
  // Few hashes collide often; many make the table grow.
  const hashes = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer()), { maxLength: 300 });
  fc.assert(
    fc.property(hashes, fc.infiniteStream(fc.boolean()), (all, gone) => {
      const table = new ConnectionTable();
      const model = new Set<Tcb>();
      for (const hash of all) {
        const tcb = entry(hash);
        table.insert(tcb);
        model.add(tcb);
      }
      for (const tcb of [...model]) {
        if (!gone.next().value) continue;
        expect(table.delete(tcb)).toBe(model.delete(tcb));
        expect(table.delete(tcb)).toBe(false);
      }
      expect(table.size).toBe(model.size);
      expect(new Set(table.values())).toEqual(model);
      for (const tcb of model) expect(chain(table, tcb.hash)).toContain(tcb);
    }),
  );
});

test('chains stay short: ten thousand connections with spread hashes', () => {
  const table = new ConnectionTable();
  for (let i = 0; i < 10_000; i++) table.insert(entry(Math.imul(i, 0x9e3779b1)));
  const longest = Math.max(...Array.from({ length: 16_384 }, (_, i) => chain(table, i).length));
  expect(table.size).toBe(10_000);
  expect(longest).toBeLessThanOrEqual(4);
});

test('the connection at hand may be deleted while one goes through', () => {
  const table = new ConnectionTable();
  for (let i = 0; i < 100; i++) table.insert(entry(i % 7));
  let seen = 0;
  for (const tcb of table.values()) {
    seen++;
    table.delete(tcb);
  }
  expect([seen, table.size]).toEqual([100, 0]);
});
