// An echo server on a stack of its own: `sudo node examples/echo.mjs`, then `nc 10.7.0.2 7`.

import { createHost } from 'tapstack';

const host = await createHost({ tap: 'tap0', hostIp: '10.7.0.1/24', ipv4: '10.7.0.2/24' });

const server = host.net.createServer({ allowHalfOpen: true }, (socket) => {
  console.log(`${socket.remoteAddress} port ${socket.remotePort} is here`);
  socket.on('error', (error) => console.log(error.message));
  socket.pipe(socket);
});
await host.listen(server, 7);
console.log('nc 10.7.0.2 7');

process.once('SIGINT', async () => {
  server.close();
  await host.close();
});
