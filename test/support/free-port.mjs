import { once } from 'node:events';
import { createServer } from 'node:net';

// Test files that run side by side never draw the same port between its check and its use: each worker has ports of its own, in turn.
const PORTS = 625;
const first = 10_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 16) * PORTS;
let next = Math.trunc(Math.random() * PORTS);

/**
 * Returns a port of 127.0.0.1 on which nothing listens. The system does not assign it to outgoing connections or to servers that listen on
 * port 0, so it stays free until a test uses it, or after a server has stopped.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = first + (next++ % PORTS);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await new Promise((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false));
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
