import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/**
 * Returns a free port of the loopback interface. Needed because Nest does not report which port the system chose for port 0. The system
 * does not assign this port to other processes for a minute, because a connection that the server closed first leaves it in TIME_WAIT.
 */
export async function freePort(): Promise<number> {
  const server = createServer((accepted) => accepted.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Safe cast: the server listens on a port.
  const { port } = server.address() as AddressInfo;
  await once(connect(port, '127.0.0.1').resume(), 'close');
  server.close();
  await once(server, 'close');
  return port;
}
