import { Server, type ServerOptions } from '@grpc/grpc-js';
import { NO_LIMIT_MS } from '../grpc-server-options.js';
import { canObserveHttp2Servers } from '../quirks/http2-servers.js';
import type { ConnectionLifetime } from './server-connection.js';

const GRPC_JS_TIMEOUT_MS = 20_000;

/** Options of grpc-js's server without keepalive, and the keepalive times for {@link ServerConnection}. */
export interface TakenKeepalive {
  readonly serverOptions: ServerOptions;
  readonly keepalive: Pick<ConnectionLifetime, 'keepaliveTimeMs' | 'keepaliveTimeoutMs'>;
}

/**
 * Moves server keepalive from grpc-js to {@link ServerConnection}. Node sends no PING on a connection after GOAWAY, so grpc-js would
 * drop such a connection, with its calls, at the next ping. grpc-js keeps its keepalive if connections cannot be observed.
 */
export function takeKeepalive(
  given: ServerOptions,
  canObserve = canObserveHttp2Servers(Server.prototype),
): TakenKeepalive {
  const timeMs = given['grpc.keepalive_time_ms'] ?? NO_LIMIT_MS;
  const keepaliveTimeoutMs = given['grpc.keepalive_timeout_ms'] ?? GRPC_JS_TIMEOUT_MS;
  if (!canObserve) return { serverOptions: given, keepalive: { keepaliveTimeMs: Infinity, keepaliveTimeoutMs } };
  const serverOptions = { ...given };
  delete serverOptions['grpc.keepalive_time_ms'];
  delete serverOptions['grpc.keepalive_timeout_ms'];
  const keepaliveTimeMs = timeMs > 0 && timeMs < NO_LIMIT_MS ? timeMs : Infinity;
  return { serverOptions, keepalive: { keepaliveTimeMs, keepaliveTimeoutMs } };
}
