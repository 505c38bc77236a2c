// The portable face in a bare JavaScript engine: no Node, no browser, no clock.

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { getQuickJS } from 'quickjs-emscripten';
import { describe, expect, it } from 'vitest';

const SCENE = `
  import { Address, createPipe, listenTcp, acceptTcp, openTcp, sendTcp, receiveTcp, parseAddress, parseCidr, seededRandom,
           segment, Stack } from './core.ts';
  const [left, right] = createPipe();
  const ends = [left, right].map((device, i) => {
    const port = segment(device);
    const stack = new Stack({ random: seededRandom(i), now: 0 });
    const netif = stack.addInterface({ name: device.name, port, addresses: [parseCidr('10.0.0.' + (i + 1) + '/24')] });
    return { port, stack, netif };
  });
  const heard = [];
  const nothing = () => {};
  const user = (readable) => ({ connected: nothing, readable, writable: nothing, drained: nothing, closed: nothing });
  listenTcp(ends[1].stack.tcp, { port: 7, backlog: 1, acceptable: (listener) => {
    acceptTcp(listener).user = user((tcb) => {
      receiveTcp(tcb, 1000, (slab, offset, length) => {
        heard.push(String.fromCharCode(...slab.bytes.subarray(offset, offset + length)));
      });
    });
  } });
  const client = openTcp(ends[0].stack.tcp, { remote: parseAddress('10.0.0.2'), remotePort: 7, user: user(nothing) });
  sendTcp(client, Uint8Array.from('hello', (c) => c.charCodeAt(0)), 0, 5);
  for (let now = 0; now < 100_000; now += 1_000) {
    for (const { port, stack, netif } of ends) {
      stack.setTime(now);
      port.receive((packet) => stack.input(netif, packet), 64);
      stack.advance(now);
      stack.flush();
      stack.deliver();
    }
  }
  globalThis.result = client.state + ' ' + heard.join('');
`;

describe('core.ts', () => {
  it('runs in QuickJS: two stacks, a pipe and a connection, with no global but the language’s own', async () => {
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
    expect(context.getString(result)).toBe('ESTABLISHED hello');
    result.dispose();
    context.dispose();
  });
});
