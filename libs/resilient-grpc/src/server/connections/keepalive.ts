import { Server, type ServerOptions } from '@grpc/grpc-js';
import { NO_LIMIT_MS } from '../grpc-server-options.js';
import { canHearHttp2Servers } from '../quirks/http2-servers.js';
import type { ConnectionLimits } from './server-connection.js';

const GRPC_JS_TIMEOUT_MS = 20_000;

/** Options of grpc-js's server without its keepalive, and that for {@link ServerConnection}. */
export interface TakenKeepalive {
  readonly serverOptions: ServerOptions;
  readonly keepalive: Pick<ConnectionLimits, 'keepaliveTimeMs' | 'keepaliveTimeoutMs'>;
}

/**
 * Takes keepalive towards clients out of grpc-js's hands: it cuts off the calls of a connection that was told to go at their next
 * ping, as Node sends none there. Where connections cannot be seen it stays there.
 */
export function takeKeepalive(given: ServerOptions, canHear = canHearHttp2Servers(Server.prototype)): TakenKeepalive {
  const timeMs = given['grpc.keepalive_time_ms'] ?? NO_LIMIT_MS;
  const keepaliveTimeoutMs = given['grpc.keepalive_timeout_ms'] ?? GRPC_JS_TIMEOUT_MS;
  if (!canHear) return { serverOptions: given, keepalive: { keepaliveTimeMs: Infinity, keepaliveTimeoutMs } };
  const serverOptions = { ...given };
  delete serverOptions['grpc.keepalive_time_ms'];
  delete serverOptions['grpc.keepalive_timeout_ms'];
  const keepaliveTimeMs = timeMs > 0 && timeMs < NO_LIMIT_MS ? timeMs : Infinity;
  return { serverOptions, keepalive: { keepaliveTimeMs, keepaliveTimeoutMs } };
}
