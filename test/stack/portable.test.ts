// The portable face in a bare JavaScript engine: no Node, no browser, no clock. Two stacks exchange 1 MB over TCP there.

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { getQuickJS } from 'quickjs-emscripten';
import { describe, expect, it } from 'vitest';

const SCENE = `
  import { createPipe, listenTcp, acceptTcp, openTcp, sendTcp, receiveTcp, shutdownTcp, parseAddress, parseCidr,
           seededRandom, segment, Stack } from './core.ts';
  const BYTES = 1_000_000;
  const PERIOD = 65_521;
  const pattern = new Uint8Array(PERIOD);
  for (let i = 0; i < PERIOD; i++) pattern[i] = i * 31 + (i >> 8);
  const [left, right] = createPipe();
  const ends = [left, right].map((device, i) => {
    const port = segment(device);
    const stack = new Stack({ random: seededRandom(i), now: 0 });
    const netif = stack.addInterface({ name: device.name, port, addresses: [parseCidr('10.0.0.' + (i + 1) + '/24')] });
    return { port, stack, netif };
  });
  const result = { received: 0, wrong: 0, ended: false };
  const nothing = () => {};
  listenTcp(ends[1].stack.tcp, { port: 7, backlog: 1, acceptable: (listener) => {
    acceptTcp(listener).user = { connected: nothing, writable: nothing, drained: nothing, closed: nothing, readable(tcb) {
      receiveTcp(tcb, Infinity, (slab, offset, length) => {
        for (let i = 0; i < length; i++) {
          if (slab.bytes[offset + i] !== pattern[(result.received + i) % PERIOD]) result.wrong++;
        }
        result.received += length;
      });
      if (tcb.receiveEnded) result.ended = true;
    } };
  } });
  let sent = 0;
  const more = (tcb) => {
    while (sent < BYTES) {
      const at = sent % PERIOD;
      const n = sendTcp(tcb, pattern, at, Math.min(PERIOD - at, BYTES - sent));
      if (n === 0) return;
      sent += n;
    }
    shutdownTcp(tcb);
  };
  const client = openTcp(ends[0].stack.tcp, { remote: parseAddress('10.0.0.2'), remotePort: 7, user: {
    connected: more, writable: more, readable: nothing, drained: nothing, closed: nothing } });
  for (let now = 0; now < 10_000_000 && !result.ended; now += 1_000) {
    for (const { port, stack, netif } of ends) {
      stack.setTime(now);
      port.receive((packet) => stack.input(netif, packet), 64);
      stack.advance(now);
      stack.flush();
      stack.deliver();
    }
  }
  globalThis.result = JSON.stringify({ state: client.state, ...result });
`;

describe('core.ts', () => {
  it('runs in QuickJS: two stacks exchange 1 MB over TCP, with no global but the language’s own', async () => {
    const bundle = await build({
      stdin: {
        contents: SCENE,
        resolveDir: fileURLToPath(new URL('../../src', import.meta.url)),
        loader: 'ts',
      },
      bundle: true,
      write: false,
      format: 'iife',
      target: 'es2022',
      platform: 'neutral',
    });
    const context = (await getQuickJS()).newContext();
    context.unwrapResult(context.evalCode(bundle.outputFiles[0]!.text)).dispose();
    const result = context.getProp(context.global, 'result');
    expect(JSON.parse(context.getString(result))).toEqual({
      // The FIN went with the last byte; its ACK has not come back when the scene ends.
      state: 'FIN-WAIT-1',
      received: 1_000_000,
      wrong: 0,
      ended: true,
    });
    result.dispose();
    context.dispose();
  });
});
