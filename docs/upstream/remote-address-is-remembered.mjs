import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './tools/reproduce.mjs';
import { pass } from './tools/waiting.mjs';

/** Both ends of a connection. */
async function connection() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Nothing is read of it.
  const socket = net.connect(server.address().port, '127.0.0.1').pause();
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')]);
  socket.on('error', () => undefined);
  return { accepted, socket };
}

await reproduce('node', async () => {
  const asked = await connection();
  const unasked = await connection();
  const { remoteAddress } = asked.socket;
  for (const { accepted } of [asked, unasked]) accepted.resetAndDestroy();
  await pass(100);
  // The kernel has no peer for them any more, and says so to who has not asked before.
  return asked.socket.remoteAddress === remoteAddress && unasked.socket.remoteAddress === undefined;
});
