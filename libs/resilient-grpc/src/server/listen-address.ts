import { isIPv6 } from 'node:net';
import { serverCredentialsProblem } from '../channel/tls/tls-material.js';
import { errorMessage } from '../errors/error-message.js';

/** Problem of the server option `key` that prevents a server from listening. */
export interface ListenProblem {
  readonly key: 'url' | 'credentials';
  /** Expected and actual value, cause (from grpc-js or Node), and remedy. */
  readonly message: string;
}

/**
 * Returns `url` with the port on which the server listens. A `unix:` address and a list of addresses, whose ports may differ, are returned
 * unchanged. If `url` has no port, grpc-js listens on port 443.
 */
export function listenAddress(url: string, port: number | undefined): string {
  if (url.startsWith('unix:') || url.includes(',') || port === undefined) return url;
  const host = isIPv6(url) ? `[${url}]` : url.replace(/:\d+$/, '');
  return `${host}:${String(port)}`;
}

const STOP_OTHER =
  "remove any other server of this application on this address, such as Nest's Transport.GRPC or a second forRoot(); otherwise, stop the process that listens on this address";

/** Returns the problem of a server that could not listen on `url`. */
export function listenProblem(url: string, error: unknown): ListenProblem {
  const credentialsProblem = serverCredentialsProblem(error);
  if (credentialsProblem !== undefined) return { key: 'credentials', message: credentialsProblem };
  const text = errorMessage(error);
  // grpc-js lists the errors of all addresses to which the name resolves.
  const reason = /errors: \[(.*)\]$/.exec(text)?.[1] ?? text;
  const [expected, remedy] = explain(url, reason);
  return { key: 'url', message: `expected ${expected}, got '${url}' (${reason}); ${remedy}` };
}

function explain(url: string, reason: string): readonly [expected: string, remedy: string] {
  const isSocket = url.startsWith('unix:');
  if (reason.includes('EADDRINUSE')) {
    const otherwise = isSocket ? 'remove the file if no process is listening' : 'write another port';
    return ['a free address', `${STOP_OTHER}, or ${otherwise}`];
  }
  if (isSocket)
    return ['a path that can be created', 'write a path in an existing folder that this process may write to'];
  const port = /:(\d+)$/.exec(url)?.[1] ?? '50051';
  if (reason.includes('EACCES')) return ['a port that this process may open', 'write a port of 1024 or more'];
  if (reason.includes('EADDRNOTAVAIL')) return ['an address of this host', `write '0.0.0.0:${port}'`];
  return ['an address of this host with a port', `write '0.0.0.0:${port}'`];
}
