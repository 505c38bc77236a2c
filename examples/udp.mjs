// Datagrams: answers each with the time of day. `sudo node examples/udp.mjs`, then `echo | nc -u -w1 10.7.0.2 13`.

import { createHost } from 'tapstack';

const host = await createHost({ tap: 'tap0', hostIp: '10.7.0.1/24', ipv4: '10.7.0.2/24' });

const socket = host.dgram.createSocket('udp4');
socket.on('message', (message, from) => {
  console.log(`${message.length} bytes from ${from.address} port ${from.port}`);
  socket.send(`${new Date().toISOString()}\n`, from.port, from.address);
});
socket.bind(13, () => console.log('echo | nc -u -w1 10.7.0.2 13'));

process.once('SIGINT', async () => {
  socket.close();
  await host.close();
});
