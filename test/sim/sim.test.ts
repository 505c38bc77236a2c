// The simulation itself: topologies, routes, cables that are cut, time, and that a seed says everything.

import { describe, expect, test } from 'vitest';
import { MILLISECOND, MINUTE, SECOND } from '../../src/base/time.ts';
import { Shower } from '../../src/sim/datagrams.ts';
import type { SimHost } from '../../src/sim/host.ts';
import { leftovers } from '../../src/sim/leftovers.ts';
import { Sim } from '../../src/sim/sim.ts';
import { soak } from '../../src/sim/soak.ts';
import { type Part, Talk } from '../../src/sim/talk.ts';
import { Watch } from '../../src/sim/watch.ts';
import { recordOf } from './play.ts';

const says = (bytes: number): Part => ({ bytes, write: 10_000, stalls: [] });

/** Lets two hosts talk to the end. */
function talk(sim: Sim, a: SimHost, b: SimHost, bytes = 50_000): Talk {
  const made = new Talk(sim, a, b, 0, { client: says(bytes), server: says(bytes), options: {} }, 0);
  sim.run(sim.now + 10 * MINUTE, () => !made.isOver);
  made.finish();
  return made;
}

describe('topologies', () => {
  test('a cable, a switch, two switches, and routers in a row: all hosts reach each other', () => {
    const sim = new Sim();
    const [a, b, c, d] = [sim.host(), sim.host(), sim.host(), sim.host()] as const;
    const [hub, attic] = [sim.switch(), sim.switch()];
    const [near, far] = [sim.router(), sim.router()];
    sim.link(hub, attic);
    sim.link(a, hub);
    sim.link(attic, b);
    sim.link(hub, near);
    sim.link(near, far, { mtu: 700 });
    sim.link(far, c);
    sim.link(c, d);
    expect([a, b, c, d, near].map((host) => String(host.address))).toEqual([
      '10.0.0.1',
      '10.0.0.2',
      '10.0.2.2',
      '10.0.3.2',
      '10.0.0.3',
    ]);
    for (const [from, to] of [
      [a, b],
      [a, c],
      [c, b],
    ] as const) {
      expect(talk(sim, from, to).isComplete).toBe(true);
      sim.pass(2 * MINUTE);
    }
    // Nobody forwards for it: d is behind a host.
    const unheard = talk(sim, a, d);
    expect(unheard.isComplete).toBe(false);
  });

  test('two switches that have a subnet each are not joined any more', () => {
    const sim = new Sim();
    const [one, two] = [sim.switch('one'), sim.switch('two')];
    sim.link(sim.host(), one);
    sim.link(sim.host(), two);
    expect(() => sim.link(one, two)).toThrow('one and two have hosts on two subnets');
  });

  test('a cable with offload carries super-frames, and has no weather', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    const link = sim.link(a, b, { offload: true });
    let largest = 0;
    b.onFrame = (packet) => {
      largest = Math.max(largest, packet.end - packet.start);
    };
    expect(talk(sim, a, b, 1_000_000).isComplete).toBe(true);
    expect(largest).toBeGreaterThan(10_000);
    expect(() => link.cut()).toThrow('perfect');
    expect(() => sim.link(sim.host(), sim.host(), { offload: true, loss: 0.1 })).toThrow('perfect');
  });
});

describe('time', () => {
  test('a transfer takes what delay and rate make it take, and idle hours cost nothing', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    sim.link(a, b, { delay: 10 * MILLISECOND, rate: 8_000_000 });
    const began = sim.now;
    const made = talk(sim, a, b, 1_000_000);
    expect(made.isComplete).toBe(true);
    // A megabyte each way, at the same time, at a megabyte a second.
    const took = (sim.now - began) / SECOND;
    expect(took).toBeGreaterThan(1);
    expect(took).toBeLessThan(1.5);
    const { rounds } = sim;
    sim.pass(100 * 60 * MINUTE);
    expect(sim.rounds - rounds).toBeLessThan(100);
  });

  test('what is planned happens in order and on time, unless it is called off', () => {
    const sim = new Sim({ start: 0 });
    const host = sim.host();
    const log: string[] = [];
    sim.after(2 * SECOND, () => log.push(`second at ${sim.now}`));
    sim.afterOn(host, SECOND, () => log.push(`first at ${host.stack.now}`));
    const cancel = sim.after(3 * SECOND, () => log.push('never'));
    cancel();
    expect(sim.pass(10 * SECOND)).toBe(10 * SECOND);
    expect(log).toEqual(['first at 1000000', 'second at 2000000']);
  });

  test('run stops when it has what it wants', () => {
    const sim = new Sim({ start: 0 });
    let ticks = 0;
    for (let i = 1; i <= 5; i++) sim.after(i * SECOND, () => ticks++);
    expect(sim.run(MINUTE, () => ticks < 3)).toBe(3 * SECOND);
  });
});

describe('trouble', () => {
  test('a cable that is cut carries nothing, and everything once it is mended', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    const link = sim.link(a, b, { delay: MILLISECOND });
    sim.after(5 * MILLISECOND, () => link.cut());
    sim.after(30 * SECOND, () => {
      expect(link.isCut).toBe(true);
      link.mend();
    });
    const began = sim.now;
    const made = talk(sim, a, b, 2_000_000);
    expect(made.isComplete).toBe(true);
    expect(sim.now - began).toBeGreaterThan(30 * SECOND);
    expect(link.counters('ab')!.lost).toBeGreaterThan(0);
  });

  test('weather that changes during a cut counts once it is mended', () => {
    const sim = new Sim();
    const link = sim.link(sim.host(), sim.host(), { loss: 0.5 });
    link.cut();
    link.change('ab', { loss: 0 });
    link.mend();
    const [a, b] = sim.hosts as [SimHost, SimHost];
    b.links[0]!.netif.neighbours.addStatic(a.address, a.links[0]!.netif.mac);
    a.links[0]!.netif.neighbours.addStatic(b.address, b.links[0]!.netif.mac);
    const shower = new Shower(sim, a, b, 0, { count: 50, every: SECOND, size: (n) => 100 * n }, 0);
    sim.pass(MINUTE);
    expect(link.counters('ab')!.lost).toBe(0);
    expect([shower.sent, shower.received, shower.damaged]).toEqual([50, 50, 0]);
    shower.finish();
  });

  test('a host that is frozen does nothing, and goes on afterwards', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    sim.link(a, b, { delay: MILLISECOND });
    sim.after(3 * MILLISECOND, () => b.freeze(sim.now + 10 * SECOND));
    const began = sim.now;
    expect(talk(sim, a, b, 500_000).isComplete).toBe(true);
    expect(sim.now - began).toBeGreaterThan(10 * SECOND);
  });

  test('what is wrong with a connection is found', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    sim.link(a, b, { delay: MILLISECOND });
    const found: string[] = [];
    const watch = new Watch(a, found);
    const made = new Talk(sim, a, b, 0, { client: says(100_000), server: says(0), options: {} }, 0);
    sim.pass(5 * MILLISECOND);
    const tcb = made.client.tcb!;
    expect(found).toEqual([]);
    expect(leftovers(a, watch.seen).join()).toContain('1 connections');
    tcb.rcv.edge -= 1_000;
    tcb.at.retransmit = Number.POSITIVE_INFINITY;
    tcb.snd.nxt = tcb.snd.una - 1;
    watch.look();
    expect(found.join('\n')).toContain('the right edge of the receive window went left');
    expect(found.join('\n')).toContain('no retransmission timer');
    expect(found.join('\n')).toContain('SND.UNA is beyond SND.NXT');
  });

  test('bytes that are not those that were sent, or too few, are complained of', () => {
    const sim = new Sim();
    const [a, b] = [sim.host(), sim.host()];
    sim.link(a, b);
    const made = talk(sim, a, b, 100);
    expect(made.complaints()).toEqual([]);
    made.server.wrongAt = 17;
    made.client.received--;
    made.client.closings++;
    expect(made.complaints().join('\n')).toMatch(
      /told of the end 2 times(.|\n)*ended after 99 bytes(.|\n)*byte 17/,
    );
  });
});

test('a seed says everything: the same frames, bit for bit, recorded or not', () => {
  for (const seed of [3, 17]) {
    const once = recordOf(seed);
    expect(once.length).toBeGreaterThan(1_000);
    expect(Buffer.compare(recordOf(seed), once)).toBe(0);
    const writer = { addInterface: () => 0, packet: () => {}, statistics: () => {} };
    expect(soak(seed, writer)).toEqual(soak(seed));
  }
  expect(Buffer.compare(recordOf(3), recordOf(17))).not.toBe(0);
});
