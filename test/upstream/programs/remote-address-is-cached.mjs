import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';
import { delay } from './support/waiting.mjs';

/** Opens a connection and returns both of its ends. */
async function openConnection() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Pauses the socket, so that Node does not detect the reset.
  const socket = net.connect(server.address().port, '127.0.0.1').pause();
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')]);
  socket.on('error', () => undefined);
  return { accepted, socket };
}

await reproduce('node', async () => {
  const queried = await openConnection();
  const unqueried = await openConnection();
  const { remoteAddress } = queried.socket;
  for (const { accepted } of [queried, unqueried]) accepted.resetAndDestroy();
  await delay(100);
  // The kernel no longer has a peer for either socket, but `remoteAddress` shows this only if it was not read before.
  return queried.socket.remoteAddress === remoteAddress && unqueried.socket.remoteAddress === undefined;
});
