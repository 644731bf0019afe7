import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/**
 * A port of the loopback interface on which nobody listens: Nest does not tell which one the system has chosen for port 0. Nobody
 * who asks the system for any port gets this one for a minute: it is in TIME_WAIT, by a connection that its server closed first.
 */
export async function freePort(): Promise<number> {
  const server = createServer((accepted) => accepted.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // True: it listens on a port.
  const { port } = server.address() as AddressInfo;
  await once(connect(port, '127.0.0.1').resume(), 'close');
  server.close();
  await once(server, 'close');
  return port;
}
