import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { ChannelOptions, experimental as types } from '@grpc/grpc-js';
import { experimental } from '../quirks/experimental.js';

/** Port that grpc-js requests from a proxy if the target has none. */
const DEFAULT_PORT = 443;

/**
 * Returns the `host:port` that grpc-js requests from an HTTP proxy for a connection with `options`; `undefined` if the connection uses no
 * proxy.
 */
export function connectTarget(options: ChannelOptions): string | undefined {
  // grpc-js sets this option if the environment sets a proxy.
  const path = options['grpc.http_connect_target']?.replace(/^(?:[A-Za-z0-9+.-]+:)?(?:\/\/[^/]*\/)?/, '');
  if (path === undefined) return undefined;
  const { host, port = DEFAULT_PORT } = experimental.splitHostPort?.(path) ?? {};
  if (host === undefined) return undefined;
  return `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
}

/**
 * Sends the same CONNECT request as grpc-js to the proxy at `address`, and returns the socket. Rejects if `signal` is aborted. The message of an error describes why the proxy failed.
 */
export async function openTunnel(
  address: types.SubchannelAddress,
  options: ChannelOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const path = connectTarget(options);
  const credentials = options['grpc.http_connect_creds'];
  const authorization = credentials === undefined ? undefined : Buffer.from(credentials).toString('base64');
  const headers = {
    Host: path,
    ...(authorization !== undefined && { 'Proxy-Authorization': `Basic ${authorization}` }),
  };
  const place = 'port' in address ? { host: address.host, port: address.port } : { socketPath: address.path };
  return new Promise((resolve, reject) => {
    const connect = request({ ...place, method: 'CONNECT', path, headers, signal });
    connect.once('connect', ({ statusCode }, socket: Socket, head) => {
      if (statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      } else {
        socket.destroy();
        reject(new Error(`HTTP status ${String(statusCode)}`));
      }
    });
    connect.on('error', (error) => {
      reject(new Error(failureText(error), { cause: error }));
    });
    // Rejects here, because a request that waits for a socket of the global agent emits no error if it is aborted.
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    connect.end();
  });
}

function failureText({ code, syscall, message }: NodeJS.ErrnoException): string {
  if (code === undefined) return message;
  if (syscall === 'connect') return `no connection to the proxy, ${code}`;
  return code === 'ECONNRESET' ? 'the proxy closed the connection' : code;
}
