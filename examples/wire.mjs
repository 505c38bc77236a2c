// Two hosts and no kernel: ten megabytes cross a wire that delays and loses. `node examples/wire.mjs`: no rights needed.

import { createWire, MILLISECOND } from 'tapstack';

const wire = await createWire({ netem: { delay: 2 * MILLISECOND, loss: 0.001, seed: 7 } });

const size = 10_000_000;
const server = wire.a.net.createServer((socket) => socket.end(Buffer.alloc(size, 'tapstack ')));
await wire.a.listen(server, 8080);

const started = performance.now();
let received = 0;
for await (const chunk of wire.b.net.connect({ host: '10.0.0.1', port: 8080 })) received += chunk.length;

console.log(`${received} of ${size} bytes in ${Math.round(performance.now() - started)} ms`);
console.log(`${wire.a.counters().tcp.tcpRetransSegs} segments were sent again`);

server.close();
await wire.close();
