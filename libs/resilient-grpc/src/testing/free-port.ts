import { once } from 'node:events';
import { createServer } from 'node:net';
import { systemRandom } from '../time/random.js';

// Below the ranges from which Linux, macOS, and Windows choose the ports of outgoing connections and of servers that listen on port 0.
const FIRST_PORT = 20_000;
const PORTS = 10_000;

/** Offset of the next port. It starts at random, because processes that run in parallel must not try the same ports. */
let next = Math.trunc(systemRandom() * PORTS);

/**
 * Returns a port of 127.0.0.1 on which no server listens. While a server restarts, the system gives this port to no outgoing connection and
 * to no server that listens on port 0. Within a process, the function does not return the same port again before it has tried 10,000 others.
 * @throws Error if a server listens on each port from 20,000 to 29,999
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PORTS; tried += 1) {
    const port = FIRST_PORT + next;
    next = (next + 1) % PORTS;
    if (await isFree(port)) return port;
  }
  throw new Error('freePort: expected a free port from 20000 to 29999, got none; end the servers that listen on them');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
