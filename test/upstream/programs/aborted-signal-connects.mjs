import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';

await reproduce('node', async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = net.connect({ port: server.address().port, host: '127.0.0.1', signal: AbortSignal.abort() });
  const [{ name }] = await once(socket, 'error');
  // Like most applications, this program does not close the socket after the error.
  const later = net.connect(server.address().port, '127.0.0.1');
  await Promise.all([once(server, 'connection'), once(later, 'connect')]);
  return name === 'AbortError' && !socket.destroyed && socket.remotePort === server.address().port;
});
