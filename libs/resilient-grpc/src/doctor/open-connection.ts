import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { secureConnector } from '../channel/quirks/connector.js';
import { duration } from '../telemetry/log/log-text.js';
import type { TargetAddress } from './target-address.js';
import type { TimeBudget } from './time-budget.js';
import { targetUri } from './resolve-target.js';

const NO_CONNECTOR = 'this version of @grpc/grpc-js does not provide its TLS connector (_createSecureConnector)';

/** The parameters of a connection. */
export interface ConnectionWay {
  /** The target with its scheme. Its host is the default server name in TLS. */
  readonly canonicalTarget: string;
  /** If `undefined`, the connection does not use TLS. */
  readonly tls: { readonly credentials: ChannelCredentials; readonly serverName: string | undefined } | undefined;
  readonly connectTimeoutMs: number;
  readonly budget: TimeBudget;
}

/** The reason why a connection failed. */
export interface ConnectionFailure {
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** An error code of the system or of OpenSSL, 'timeout', 'closed', or the detected protocol. */
  readonly code: string;
  readonly message: string;
}

/** An opened connection, or the steps that succeeded before a failure. */
export interface OpenedConnection {
  readonly socket: Socket;
  readonly tcpMs?: number;
  /** Time until TLS was established, measured from the start of the connection attempt, like `tcpMs`. */
  readonly tlsMs?: number;
  readonly failure?: ConnectionFailure;
}

/** Opens a TCP connection, with TLS if `way` contains it. The caller must destroy the socket, even after a failure. */
export async function openConnection(address: TargetAddress, way: ConnectionWay): Promise<OpenedConnection> {
  const { clock } = way.budget;
  const startedAt = clock.now();
  const took = () => clock.now() - startedAt;
  const socket = connect({ ...address });
  // Prevents an uncaught exception. Errors are handled where the steps are awaited.
  socket.on('error', () => undefined);
  const tcp = await step(way, 'tcp', once(socket, 'connect'));
  if ('failure' in tcp) return { socket, failure: tcp.failure };
  const tcpMs = took();
  if (way.tls === undefined) return { socket, tcpMs };

  const { credentials, serverName } = way.tls;
  const connector = secureConnector(
    credentials,
    targetUri(way.canonicalTarget),
    serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName },
  );
  const handshake = connector?.connect(socket) ?? Promise.reject(new Error(NO_CONNECTOR));
  const tls = await step(way, 'tls', handshake);
  if ('failure' in tls) return { socket, tcpMs, failure: tls.failure };
  tls.value.socket.on('error', () => undefined);
  return { socket: tls.value.socket, tcpMs, tlsMs: took() };
}

/** Returns the socket as a TLS socket, or `undefined` if it does not use TLS. */
export function tlsOf(socket: Socket): TLSSocket | undefined {
  return socket instanceof TLSSocket ? socket : undefined;
}

/** Awaits `work` within the connect timeout and returns an error as a value. */
export async function step<T>(
  { budget, connectTimeoutMs }: ConnectionWay,
  phase: ConnectionFailure['phase'],
  work: Promise<T>,
): Promise<{ readonly value: T } | { readonly failure: ConnectionFailure }> {
  const ms = budget.leftMs(connectTimeoutMs);
  const settled = work.then(
    (value) => ({ value }),
    (error: unknown) => ({ failure: failureOf(phase, error) }),
  );
  const late = { failure: { phase, code: 'timeout', message: `timed out after ${duration(ms)}` } };
  return budget.within<Awaited<typeof settled> | typeof late>(ms, settled, late);
}

function failureOf(phase: ConnectionFailure['phase'], error: unknown): ConnectionFailure {
  const { code = 'error', message } = (
    error instanceof Error ? error : new Error(String(error))
  ) as NodeJS.ErrnoException;
  return { phase, code, message };
}
