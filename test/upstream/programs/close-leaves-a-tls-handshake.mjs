import grpc from '@grpc/grpc-js';
import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const silent = net.createServer((socket) => socket.resume());
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const client = textClient(`127.0.0.1:${silent.address().port}`, {}, grpc.credentials.createSsl());
  client.getChannel().getConnectivityState(true);
  const [socket] = await once(silent, 'connection');
  await once(socket, 'data');
  client.close();
  return within(
    500,
    once(socket, 'close').then(() => false),
    true,
  );
});
