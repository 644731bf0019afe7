import type { Server } from '@grpc/grpc-js';
import type { Http2SecureServer, Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';

/** A node:http2 server; grpc-js creates one for each bound address. */
export type NodeHttp2Server = Http2Server | Http2SecureServer;

/** True if the http2 servers of `server`, a grpc-js server or `Server.prototype`, can be observed. */
export function canObserveHttp2Servers(server: object): boolean {
  return typeof Reflect.get(server, 'createHttp2Server') === 'function';
}

/**
 * Reports each http2 server that `server` creates from now on, before the http2 server listens. grpc-js has no public API for its
 * connections, so this function wraps a private method. Returns false, and reports nothing, if the installed grpc-js has no such method.
 */
export function observeHttp2Servers(server: Server, onServer: (http2Server: NodeHttp2Server) => void): boolean {
  const create: unknown = Reflect.get(server, 'createHttp2Server');
  if (typeof create !== 'function') return false;
  Reflect.set(server, 'createHttp2Server', (...args: unknown[]): unknown => {
    const made: unknown = Reflect.apply(create, server, args);
    if (isHttp2Server(made)) onServer(made);
    return made;
  });
  return true;
}

/** Ends a newly opened stream and returns true, or leaves it open and returns false. */
export type StreamFilter = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;

/**
 * Calls `filter` once for each stream of `http2Server`. The current listeners, those of grpc-js and telemetry, receive only streams that
 * `filter` has not ended. Listeners that are added later receive all streams.
 */
export function filterStreams(http2Server: NodeHttp2Server, filter: StreamFilter): void {
  // The cast is safe because Node emits 'stream' with these arguments.
  const listeners = http2Server.listeners('stream') as ((...args: unknown[]) => void)[];
  http2Server.removeAllListeners('stream');
  http2Server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...more: unknown[]) => {
    if (filter(stream, headers)) return;
    for (const listener of listeners) listener(stream, headers, ...more);
  });
}

function isHttp2Server(value: unknown): value is NodeHttp2Server {
  return typeof value === 'object' && value !== null && 'listen' in value && 'updateSettings' in value;
}
