import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * Returns an unused port of 127.0.0.1. A connection that this function accepts and closes leaves the port in TIME_WAIT for a minute. During
 * this time, the system assigns the port only to a process that binds to it explicitly, not to one that binds to port 0.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  const server = createServer((accepted) => accepted.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The cast is safe because the server listens on a port.
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await once(connect(port, '127.0.0.1').resume(), 'close');
  server.close();
  await once(server, 'close');
  return port;
}
