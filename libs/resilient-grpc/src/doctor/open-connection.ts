import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { secureConnector } from '../channel/quirks/connector.js';
import { duration } from '../telemetry/log/log-text.js';
import type { TargetAddress } from './target-address.js';
import type { TimeBudget } from './time-budget.js';
import { targetUri } from './resolve-target.js';

const NO_CONNECTOR = 'this @grpc/grpc-js offers its TLS to no program (_createSecureConnector)';

/** What a connection is made with. */
export interface ConnectionWay {
  /** With its scheme: its host is the name that TLS asks for. */
  readonly canonicalTarget: string;
  /** undefined: without TLS. */
  readonly tls: { readonly credentials: ChannelCredentials; readonly serverName: string | undefined } | undefined;
  readonly connectTimeoutMs: number;
  readonly budget: TimeBudget;
}

/** Why a connection did not come about. */
export interface ConnectionFailure {
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** Of the system or of OpenSSL; 'timeout', 'closed' or what was spoken otherwise. */
  readonly code: string;
  readonly message: string;
}

/** A connection, or as far as it came. */
export interface OpenedConnection {
  readonly socket: Socket;
  readonly tcpMs?: number;
  /** From the beginning on, as `tcpMs` is. */
  readonly tlsMs?: number;
  readonly failure?: ConnectionFailure;
}

/** Opens TCP, and TLS where the way has it. Whoever asked destroys the socket, also of a failure. */
export async function openConnection(address: TargetAddress, way: ConnectionWay): Promise<OpenedConnection> {
  const { clock } = way.budget;
  const startedAt = clock.now();
  const took = () => clock.now() - startedAt;
  const socket = connect({ ...address });
  // From here on errors are looked at where they are waited for.
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

/** The TLS of a connection that has it. */
export function tlsOf(socket: Socket): TLSSocket | undefined {
  return socket instanceof TLSSocket ? socket : undefined;
}

/** `work` within its time, with an error as a value. */
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
  const late = { failure: { phase, code: 'timeout', message: `nothing within ${duration(ms)}` } };
  return budget.within<Awaited<typeof settled> | typeof late>(ms, settled, late);
}

function failureOf(phase: ConnectionFailure['phase'], error: unknown): ConnectionFailure {
  const { code = 'error', message } = (
    error instanceof Error ? error : new Error(String(error))
  ) as NodeJS.ErrnoException;
  return { phase, code, message };
}
