import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { addressKey } from '../channel/connection/address-key.js';
import { ConnectAttempt } from '../channel/connection/connect-attempt.js';
import { connectFailure, type ConnectFailure } from '../channel/connection/connect-failure.js';
import { createConnector } from '../channel/quirks/secure-connector.js';
import { readTlsPart, type TlsOptions, type TlsPart } from '../channel/tls/tls-material.js';
import { isError } from '../errors/error-message.js';
import { CHECK } from '../health/serving-check.js';
import type { ConnectFailureKind } from '../policy/connect-failure/connect-failures.js';
import { HTTP2_ERROR_CODES } from '../status/http2-error-codes.js';
import { systemClock } from '../time/clock.js';
import { Wait } from '../time/wait.js';
import { encodedBound, encodeFields } from '../transport/hpack/hpack-encoder.js';
import type { Goaway, StreamReceiver } from '../transport/http2/events.js';
import { SocketConnection, type SocketEnd, type SocketOwner } from '../transport/socket/socket-connection.js';
import { authorityOf, type TargetAddress } from './target-check.js';
import { within, type TimeLimit } from './time-limit.js';

export interface ConnectParameters {
  /** The target with its scheme. The host in the target is the default TLS server name. */
  readonly canonicalTarget: string;
  readonly tls: { readonly credentials: ChannelCredentials; readonly serverName: string | undefined } | undefined;
  readonly connectTimeoutMs: number;
  readonly limit: TimeLimit;
}

/** The result of connecting to one address. Times are in milliseconds from the start of the connection attempt. */
export interface Probe {
  tcpMs?: number;
  tlsMs?: number;
  /** Time until HTTP/2 SETTINGS arrived, which makes a channel READY. */
  readyMs?: number;
  tls?: ServerTls;
  failure?: ProbeFailure;
}

/** The reason why a connection failed, in the words of a client, with the step that failed and its error code. */
export interface ProbeFailure extends ConnectFailure {
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** An error code from the system or from OpenSSL, 'timeout', or the kind of the failure. */
  readonly code: string;
}

export interface ServerTls {
  readonly protocol: string;
  readonly alpn: string | undefined;
  readonly certificate: X509Certificate | undefined;
  /**
   * The reason why a client rejects the certificate: an OpenSSL code, ERR_TLS_CERT_ALTNAME_INVALID, or 'not authorized' if Node reports no
   * reason. `undefined` if the certificate is accepted.
   */
  readonly refused: string | undefined;
}

/** Failures that TLS on one side only may cause. A server that completed a handshake or sent an alert uses TLS. */
const MAY_BE_TLS: ReadonlySet<ConnectFailureKind> = new Set([
  'closed',
  'reset',
  'reset-in-tls',
  'silent',
  'not-http2',
  'server-without-tls',
]);

/** Creates credentials with the same certificate authorities and client certificate as a client's credentials. */
export function probeCredentials(options: TlsOptions): ChannelCredentials {
  // Unreadable files were already reported when the client was created from the same options.
  const bytes = (part: TlsPart) => {
    const read = readTlsPart(part, options[part]);
    return Buffer.isBuffer(read) ? read : null;
  };
  return credentials.createSsl(bytes('ca'), bytes('key'), bytes('cert'), { rejectUnauthorized: false });
}

/**
 * Connects to an address with the client's own connector, timeout, and diagnosis, and returns the session, which the caller must close.
 * Like a client, stops if the certificate is rejected.
 */
export async function openSession(
  address: TargetAddress,
  { canonicalTarget, tls, connectTimeoutMs, limit }: ConnectParameters,
): Promise<{ readonly probe: Probe; readonly session?: Session }> {
  const startedAt = systemClock.now();
  const took = () => systemClock.now() - startedAt;
  const timeoutMs = limit.leftMs(connectTimeoutMs);
  const attempt = new ConnectAttempt(addressKey(address), timeoutMs, systemClock);
  // The timer of an attempt does not keep the process alive, but the caller waits for its result.
  const wait = new Wait(systemClock, timeoutMs + 1_000);
  const socket = connect({ ...address, signal: attempt.signal });
  // Prevents an uncaught exception. Errors are handled where the steps are awaited.
  socket.on('error', () => undefined);
  const probe: Probe = {};
  let session: Session | undefined;
  try {
    await once(socket, 'connect');
    probe.tcpMs = took();
    const name = tls?.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': tls.serverName };
    const connector = createConnector(tls?.credentials ?? credentials.createInsecure(), canonicalTarget, name);
    const secured = await attempt.secure(socket, connector.connect(socket));
    if (secured.socket instanceof TLSSocket) {
      probe.tlsMs = took();
      probe.tls = tlsOf(secured.socket);
      if (probe.tls.refused !== undefined) return { probe };
    }
    session = new Session(secured.socket, tls === undefined ? 'http' : 'https', authorityOf(canonicalTarget));
    await session.settings();
    probe.readyMs = took();
    return { probe, session };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const phase = probe.tcpMs === undefined ? 'tcp' : probe.tlsMs === undefined && tls !== undefined ? 'tls' : 'http2';
    const failure = attempt.failure(error);
    probe.failure = { ...failure, phase, code: attempt.signal.aborted ? 'timeout' : (code ?? failure.kind) };
    return { probe };
  } finally {
    attempt.end();
    wait.end();
    if (probe.readyMs === undefined) {
      session?.close();
      socket.destroy();
    }
  }
}

export async function probeAddress(address: TargetAddress, parameters: ConnectParameters): Promise<Probe> {
  const { probe, session } = await openSession(address, parameters);
  session?.close();
  const { failure } = probe;
  if (failure === undefined || failure.phase === 'tcp' || probe.tlsMs !== undefined) return probe;
  if (!MAY_BE_TLS.has(failure.kind)) return probe;
  const isSecure = parameters.tls !== undefined;
  const other = await openSession(address, {
    ...parameters,
    tls: isSecure ? undefined : { credentials: probeCredentials({}), serverName: undefined },
    connectTimeoutMs: parameters.connectTimeoutMs / 2,
  });
  other.session?.close();
  const { readyMs, tlsMs, failure: found } = other.probe;
  let kind: ConnectFailureKind | undefined;
  if (isSecure)
    kind = readyMs !== undefined ? 'server-without-tls' : found?.kind === 'not-http2' ? 'not-http2' : undefined;
  else if (
    tlsMs !== undefined ||
    (found?.code.startsWith('ERR_SSL_') === true && !found.code.includes('WRONG_VERSION'))
  )
    kind = 'server-uses-tls';
  if (kind === undefined) return probe;
  return { ...probe, failure: { ...failure, ...connectFailure(kind, addressKey(address), undefined) } };
}

function tlsOf(socket: TLSSocket): ServerTls {
  // `authorizationError` is typed as an Error, but Node sets a string with the error code.
  const error: unknown = socket.authorizationError;
  const refused = isError(error) ? error.message : typeof error === 'string' ? error : 'not authorized';
  return {
    protocol: socket.getProtocol() ?? 'TLS',
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : undefined,
    certificate: socket.getPeerX509Certificate(),
    refused: socket.authorized ? undefined : refused,
  };
}

export interface PeerEnd {
  /** `goaway`: HTTP/2 GOAWAY; `fin` and `rst`: only TCP was closed or reset. */
  readonly how: 'goaway' | 'fin' | 'rst';
  readonly details?: string;
  /** Error code of the GOAWAY; 0 for a planned one, such as at a maximum connection age. */
  readonly code?: number;
  /** Milliseconds since the connection first became idle. */
  readonly afterMs: number;
}

export type Answer = 'answered' | 'silent' | 'ended';

const SETTINGS = { streamWindow: 65_535, connectionWindow: 1_048_576, maxHeaderListSize: 65_535, headerTableSize: 0 };
/** The 5-byte prefix of an empty message: { service: '' }. */
const EMPTY_MESSAGE = Buffer.alloc(5);
const ignore = (): void => undefined;

/** An HTTP/2 connection that sends nothing on its own. */
export class Session implements SocketOwner {
  /** Resolves when the peer has closed the connection, or after `close()`. */
  readonly over: Promise<'ended'>;
  end: PeerEnd | undefined;
  /** False once the peer had to answer, until `rest()`. */
  isUnused = true;
  ready = ignore;
  readonly settingsChanged = ignore;
  readonly idsRunOut = ignore;
  private readonly connection = new SocketConnection(SETTINGS, this, systemClock);
  private resolveOver: (how: 'ended') => void = ignore;
  private restedAt = systemClock.now();
  private isClosed = false;
  private error = new Error('Failed to connect');

  /** @param authority `:authority` of the calls, such as 'orders:50051' */
  constructor(
    private readonly socket: Socket,
    private readonly scheme: 'http' | 'https',
    private readonly authority: string,
  ) {
    this.over = new Promise((resolve) => (this.resolveOver = resolve));
    this.connection.start(socket, false);
  }

  settings(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.ready = resolve;
      void this.over.then(() => reject(this.error));
    });
  }

  goawayReceived({ code, debug }: Goaway): void {
    const text = debug.replace(/[^\x20-\x7e]/g, '.').slice(0, 60);
    const details = text || (code === HTTP2_ERROR_CODES.NO_ERROR ? undefined : `code ${String(code)}`);
    this.finish({ how: 'goaway', code, ...(details !== undefined && { details }) });
  }

  ended({ error, isPeersFault, details }: SocketEnd): void {
    this.error = isPeersFault ? new Error(`Protocol error: ${details}`) : (error ?? this.error);
    this.finish({ how: error?.code === 'ECONNRESET' ? 'rst' : 'fin' });
  }

  private finish(end: Omit<PeerEnd, 'afterMs'>): void {
    if (!this.isClosed) this.end ??= { ...end, afterMs: this.idleMs };
    this.resolveOver('ended');
  }

  /** Whole milliseconds since the connection became idle, or was opened. */
  get idleMs(): number {
    return Math.round(systemClock.now() - this.restedAt);
  }

  get isIdle(): boolean {
    return this.isUnused && !this.isClosed && this.end === undefined;
  }

  rest(): void {
    this.restedAt = systemClock.now();
    this.isUnused = true;
  }

  ping(timeoutMs: number): Promise<Answer> {
    return this.answer(timeoutMs, (answered) => this.connection.http2.ping(answered));
  }

  /** Runs a health check. Any response counts as an answer. */
  call(timeoutMs: number): Promise<Answer> {
    return this.answer(timeoutMs, (answered) => this.request(CHECK.path, answered, ignore));
  }

  /** Opens a health Watch, which stays open if the server implements it. Calls `closed` if it ends before the connection. */
  watch(closed: () => void): void {
    this.request(`/${CHECK.service}/Watch`, ignore, closed);
  }

  close(): void {
    this.isClosed = true;
    this.socket.destroy();
  }

  private request(path: string, answered: () => void, closed: () => void): void {
    const fields = [':method', 'POST', ':scheme', this.scheme, ':path', path, ':authority', this.authority];
    fields.push('te', 'trailers', 'content-type', 'application/grpc');
    const closedIf = (isEnd: boolean): void => {
      if (isEnd) closed();
    };
    const receiver: StreamReceiver = {
      headers: (_block, isEnd) => {
        answered();
        closedIf(isEnd);
      },
      data: ignore,
      dataEnds: closedIf,
      failed: ({ cause }) => closedIf(cause !== 'lost'),
      drained: ignore,
    };
    this.connection.http2
      .open(receiver, encodedBound(fields), (target, at) => encodeFields(target, at, fields))
      .sendBody(EMPTY_MESSAGE);
  }

  private async answer(timeoutMs: number, send: (answered: () => void) => void): Promise<Answer> {
    if (this.end !== undefined || !this.connection.http2.isUsable) return 'ended';
    this.isUnused = false;
    const answered = new Promise<Answer>((resolve) => send(() => resolve('answered')));
    return within<Answer>(timeoutMs, Promise.race([answered, this.over]), 'silent');
  }
}
