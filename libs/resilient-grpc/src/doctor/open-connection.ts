import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { dnsNameOf } from '../channel/dns/dns-name.js';
import { secureConnector } from '../channel/quirks/connector.js';
import { TLS_PARTS, readTlsPart, type TlsMaterial, type TlsOptions } from '../channel/tls/tls-material.js';
import { duration } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { parseKubernetesTarget } from '../kubernetes/kubernetes-target.js';
import { targetUri } from './resolve-target.js';
import type { TargetAddress } from './target-address.js';
import { within, type TimeBudget } from './time-budget.js';
import { isError } from '../errors/error-message.js';

const NO_CONNECTOR = 'this version of @grpc/grpc-js does not provide its TLS connector (_createSecureConnector)';

export interface ConnectParameters {
  /** The target with its scheme. The host in the target is the default TLS server name. */
  readonly canonicalTarget: string;
  /** TLS settings; `undefined` for a connection without TLS. */
  readonly tls: { readonly credentials: ChannelCredentials; readonly serverName: string | undefined } | undefined;
  readonly connectTimeoutMs: number;
  readonly budget: TimeBudget;
}

/** The reason why a connection failed. */
export interface ConnectionFailure {
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** An error code from the system or from OpenSSL, 'timeout', 'closed', the detected protocol, or 'error' for any other failure. */
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

/**
 * Creates credentials with the same certificate authorities and client certificate as a client's credentials. grpc-js's own connector uses
 * them, so that the ciphers, the server name, and ALPN are also the same. The only difference is that an untrusted certificate does not
 * make the handshake fail, so that the certificate can be examined.
 */
export function probeCredentials(options: TlsOptions): ChannelCredentials {
  const material: TlsMaterial = {};
  for (const part of TLS_PARTS) {
    const read = readTlsPart(part, options[part]);
    // Unreadable files were already reported when the client was created from the same options.
    if (Buffer.isBuffer(read)) material[part] = read;
  }
  const { ca, cert, key } = material;
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null, { rejectUnauthorized: false });
}

/** Opens a TCP connection, with TLS if `parameters.tls` is set. The caller must destroy the socket, even after a failure. */
export async function openConnection(address: TargetAddress, parameters: ConnectParameters): Promise<OpenedConnection> {
  const startedAt = systemClock.now();
  const took = () => systemClock.now() - startedAt;
  const socket = connect({ ...address });
  // Prevents an uncaught exception. Errors are handled where the steps are awaited.
  socket.on('error', () => undefined);
  const tcp = await step(parameters, 'tcp', once(socket, 'connect'));
  if ('failure' in tcp) return { socket, failure: tcp.failure };
  const tcpMs = took();
  if (parameters.tls === undefined) return { socket, tcpMs };

  const { credentials: tlsCredentials, serverName } = parameters.tls;
  const connector = secureConnector(
    tlsCredentials,
    targetUri(parameters.canonicalTarget),
    serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName },
  );
  const handshake = connector?.connect(socket) ?? Promise.reject(new Error(NO_CONNECTOR));
  const tls = await step(parameters, 'tls', handshake);
  if ('failure' in tls) return { socket, tcpMs, failure: tls.failure };
  tls.value.socket.on('error', () => undefined);
  return { socket: tls.value.socket, tcpMs, tlsMs: took() };
}

/** Awaits `work` within the connect timeout and the time budget. Returns an error as a value. */
export async function step<T>(
  { budget, connectTimeoutMs }: ConnectParameters,
  phase: ConnectionFailure['phase'],
  work: Promise<T>,
): Promise<{ readonly value: T } | { readonly failure: ConnectionFailure }> {
  const ms = budget.leftMs(connectTimeoutMs);
  const settled = work.then(
    (value) => ({ value }),
    (error: unknown) => ({ failure: failureOf(phase, error) }),
  );
  const late = { failure: { phase, code: 'timeout', message: `timed out after ${duration(ms)}` } };
  return within<Awaited<typeof settled> | typeof late>(ms, settled, late);
}

function failureOf(phase: ConnectionFailure['phase'], error: unknown): ConnectionFailure {
  const {
    code = 'error',
    syscall,
    message,
  } = (isError(error) ? error : new Error(String(error))) as NodeJS.ErrnoException;
  // Node reports ECONNRESET without a system call if the peer closed the connection during the handshake.
  return { phase, code: code === 'ECONNRESET' && syscall === undefined ? 'closed' : code, message };
}

/** Returns the host in the authority of a target. By default, grpc-js requires a server certificate that is valid for this host. */
export function authorityHost(canonicalTarget: string): string {
  const authority = authorityOf(canonicalTarget);
  return dnsNameOf(authority)?.host ?? authority;
}

/** Returns the `:authority` that grpc-js sends for a target: 'orders:50051' for 'dns:///orders:50051', 'localhost' for a Unix socket. */
export function authorityOf(canonicalTarget: string): string {
  const uri = targetUri(canonicalTarget);
  switch (uri.scheme) {
    case 'dns':
      return uri.path;
    case 'ipv4':
    case 'ipv6':
      return uri.path.replace(/,.*/, '');
    case 'kubernetes':
      return parseKubernetesTarget(uri).authority;
    default:
      return 'localhost';
  }
}
