import type { Server } from '@grpc/grpc-js';
import type { Http2SecureServer, Http2Server } from 'node:http2';

/** A server of node:http2, as grpc-js makes one for each address it binds. */
export type NodeHttp2Server = Http2Server | Http2SecureServer;

/** Whether a server of grpc-js, or its prototype, lets its http2 servers be heard of. */
export function canHearHttp2Servers(server: object): boolean {
  return typeof Reflect.get(server, 'createHttp2Server') === 'function';
}

/**
 * Hears of each http2 server that `server` makes from now on, before it listens. grpc-js offers no way to its connections, so its own
 * private method is watched. False: there is none, as in a version built otherwise, and nothing will be heard.
 */
export function hearHttp2Servers(server: Server, heard: (http2Server: NodeHttp2Server) => void): boolean {
  const create: unknown = Reflect.get(server, 'createHttp2Server');
  if (typeof create !== 'function') return false;
  Reflect.set(server, 'createHttp2Server', (...args: unknown[]): unknown => {
    const made: unknown = Reflect.apply(create, server, args);
    if (isHttp2Server(made)) heard(made);
    return made;
  });
  return true;
}

/** Gives `http2Server` a backlog when it listens: grpc-js passes an address and nothing else. */
export function listenWith(http2Server: NodeHttp2Server, backlog: number): void {
  const listen: unknown = Reflect.get(http2Server, 'listen');
  if (typeof listen !== 'function') return;
  Reflect.set(http2Server, 'listen', (address: unknown, ...rest: unknown[]): unknown => {
    const withBacklog = typeof address === 'object' && address !== null ? { ...address, backlog } : address;
    const listening: unknown = Reflect.apply(listen, http2Server, [withBacklog, ...rest]);
    return listening;
  });
}

function isHttp2Server(value: unknown): value is NodeHttp2Server {
  return typeof value === 'object' && value !== null && 'listen' in value && 'updateSettings' in value;
}
