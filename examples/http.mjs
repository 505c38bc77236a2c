// An unmodified node:http server on the stack: `sudo node examples/http.mjs`, then `curl http://10.7.0.2/`.

import { createServer } from 'node:http';
import { createHost } from 'tapstack';

const server = createServer((request, response) => {
  response.end(`Hello ${request.socket.remoteAddress}, you asked for ${request.url}\n`);
});

const host = await createHost({
  tap: 'tap0',
  hostIp: '10.7.0.1/24',
  ipv4: '10.7.0.2/24',
  capture: 'http.pcapng',
});
await host.listen(server, 80);
console.log('curl http://10.7.0.2/    then open http.pcapng in Wireshark');

process.once('SIGINT', async () => {
  server.close();
  await host.close();
});
