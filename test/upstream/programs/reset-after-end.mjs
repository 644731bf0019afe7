import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';

await reproduce('node', async () => {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = net.connect(server.address().port, '127.0.0.1');
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')]);
  const outcome = new Promise((resolve) => {
    socket.once('error', ({ code }) => resolve(code));
    socket.once('close', () => resolve('closed'));
  });
  // `end()` sends the FIN only in the next turn, so the shutdown is still pending when the socket is reset.
  socket.end();
  socket.resetAndDestroy();
  const failure = await outcome;
  accepted.destroy();
  server.close();
  await once(server, 'close');
  // The socket reports that it is destroyed, but its handle is still open.
  return failure === 'EINVAL' && socket.destroyed && process.getActiveResourcesInfo().includes('TCPSocketWrap');
});
