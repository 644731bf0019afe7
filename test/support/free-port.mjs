import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A port of 127.0.0.1 on which nobody listens, and on which nobody else will for a minute: whoever has accepted a connection on it
 * and closes first leaves it in TIME_WAIT, so that the system gives it to nobody who asks for any port, and to those who ask for it.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  const server = createServer((accepted) => accepted.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // True: it listens on a port.
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await once(connect(port, '127.0.0.1').resume(), 'close');
  server.close();
  await once(server, 'close');
  return port;
}
