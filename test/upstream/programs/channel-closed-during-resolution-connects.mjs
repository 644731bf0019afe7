import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const server = net.createServer((socket) => socket.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = textClient(`127.0.0.1:${server.address().port}`);
  client.getChannel().getConnectivityState(true);
  client.close();
  return within(
    60_000,
    once(server, 'connection').then(() => true),
    false,
  );
});
