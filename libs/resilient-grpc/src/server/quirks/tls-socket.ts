import { Duplex } from 'node:stream';

/**
 * Returns the TCP socket of a server's TLS socket; the TLS socket if the TCP socket is unavailable. After Node has rejected a client
 * certificate, only the TCP socket still has the address of the peer, and only if the address was read before.
 */
export function tcpSocketOf(socket: Duplex): Duplex {
  const parent: unknown = Reflect.get(socket, '_parent');
  return parent instanceof Duplex ? parent : socket;
}
