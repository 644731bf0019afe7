import { once } from 'node:events';
import { createServer } from 'node:net';
import { systemRandom } from '../time/random.js';

// First port of a range below the ephemeral port ranges of Linux, macOS, and Windows. The system assigns ephemeral ports to outgoing
// connections and to servers that listen on port 0.
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

/** Offset of the next port. The first offset is random, because processes that run in parallel should not try the same ports. */
let nextOffset = Math.trunc(systemRandom() * PORT_COUNT);

/**
 * Returns a port of 127.0.0.1 on which no server is listening. The system does not assign this port to outgoing connections or to servers
 * that listen on port 0, so the port stays available while the server that uses it restarts. Another process that calls this function can
 * take the port. Within a process, the function returns a port again only after it has tried all others.
 * @throws Error if servers are listening on all ports from 20,000 to 29,999, or if this process cannot open a socket
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PORT_COUNT; tried += 1) {
    const port = FIRST_PORT + nextOffset;
    nextOffset = (nextOffset + 1) % PORT_COUNT;
    if (await isFree(port)) return port;
  }
  throw new Error(
    'freePort: expected a free port from 20000 to 29999, got none; stop the servers that are listening on these ports',
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE' || code === 'EACCES') return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}
