import type { Duplex } from 'node:stream';

/** Name of a peer without an address, such as one on a Unix socket. */
export const UNKNOWN_PEER = 'unknown';

/** Returns the peer of a socket in the format of grpc-js's `getPeer()`. */
export function peerOf(socket: Duplex): string {
  const address: unknown = Reflect.get(socket, 'remoteAddress');
  const port: unknown = Reflect.get(socket, 'remotePort');
  return typeof address === 'string' && typeof port === 'number' ? `${address}:${String(port)}` : UNKNOWN_PEER;
}
