import type { Duplex } from 'node:stream';

/** What a peer without an address is called, as one of a Unix socket. */
export const UNKNOWN_PEER = 'unknown';

/** The peer of a socket, as `getPeer()` of grpc-js's calls names it. */
export function peerOf(socket: Duplex): string {
  const address: unknown = Reflect.get(socket, 'remoteAddress');
  const port: unknown = Reflect.get(socket, 'remotePort');
  return typeof address === 'string' && typeof port === 'number' ? `${address}:${String(port)}` : UNKNOWN_PEER;
}
