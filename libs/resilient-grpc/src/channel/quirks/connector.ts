import type { Socket } from 'node:net';
import { ChannelCredentials, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { CONNECTOR_SEAM, SOCKET_SEAM } from './client-seams.js';
import { connectTarget } from '../subchannel/http-tunnel.js';
import { isPresent, type SeamReport } from './seam.js';
import type { ConnectAttempt, ConnectAttempts } from '../connection/connect-attempts.js';

type SecureConnector = experimental.SecureConnector;
type Target = Parameters<ChannelCredentials['_createSecureConnector']>[0];
type CallCredentials = NonNullable<Parameters<ChannelCredentials['_createSecureConnector']>[2]>;

/** Channel argument with the address of a subchannel. The library sets it on each subchannel. */
export const ADDRESS_ARGUMENT = 'nestjs_resilient_grpc.address';

// Idle time in milliseconds before the first TCP keepalive probe. TCP detects an unreachable host in about this time. Servers count HTTP/2
// pings and may reject them, but do not count or reject these probes.
const TCP_KEEPALIVE_MS = 60_000;

/**
 * Wraps `inner` to control each TCP socket: connect timeout, TCP keepalive, and destruction on close. Returns `undefined` if the installed
 * grpc-js creates its connections in another way.
 */
export function observeSockets(
  inner: ChannelCredentials,
  attempts: ConnectAttempts,
  seams: Pick<SeamReport, 'check'>,
): ChannelCredentials | undefined {
  return isPresent(CONNECTOR_SEAM, inner) ? new ObservedCredentials(inner, attempts, seams) : undefined;
}

/** Creates the connector that secures one connection; `undefined` if the installed grpc-js has none. */
export function secureConnector(
  credentials: ChannelCredentials,
  ...args: Parameters<ChannelCredentials['_createSecureConnector']>
): SecureConnector | undefined {
  return (credentials as Partial<ChannelCredentials>)._createSecureConnector?.call(credentials, ...args);
}

class ObservedCredentials extends ChannelCredentials {
  constructor(
    private readonly inner: ChannelCredentials,
    private readonly attempts: ConnectAttempts,
    private readonly seams: Pick<SeamReport, 'check'>,
  ) {
    super();
  }

  override compose(callCredentials: CallCredentials): ChannelCredentials {
    return new ObservedCredentials(this.inner.compose(callCredentials), this.attempts, this.seams);
  }

  override _isSecure(): boolean {
    return this.inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(target: Target, options: ChannelOptions, call?: CallCredentials): SecureConnector {
    const connector = this.inner._createSecureConnector(target, options, call);
    this.seams.check('connector', connector);
    if (!isPresent(SOCKET_SEAM, connector)) return connector;
    const address: unknown = options[ADDRESS_ARGUMENT];
    const server = connectTarget(options);
    return new ObservedConnector(connector, this.attempts, typeof address === 'string' ? address : undefined, server);
  }
}

/** Creates the connections to one address. grpc-js calls `waitForReady` at the start of each attempt, before TCP connects. */
class ObservedConnector implements SecureConnector {
  private attempt: ConnectAttempt | undefined;
  private isDestroyed = false;

  constructor(
    private readonly inner: SecureConnector,
    private readonly attempts: ConnectAttempts,
    /**
     * Address of the connections; `undefined` if the library's load-balancing policy is off (xds:). Sockets then get only TCP keepalive.
     */
    private readonly address: string | undefined,
    /** The `host:port` of the server; `undefined` if the connection uses no HTTP proxy. */
    private readonly server: string | undefined,
  ) {}

  waitForReady(): Promise<void> {
    if (this.address === undefined) return this.inner.waitForReady();
    const attempt = this.attempts.begin(this.address, this.server);
    this.attempt = attempt;
    // When the backoff of a subchannel ends, grpc-js may reconnect even if it has destroyed the connector. If the attempt were not
    // released, the unused connection would stay open until the peer closes it.
    if (this.isDestroyed) this.attempts.release(attempt);
    return attempt.prepare(this.inner.waitForReady());
  }

  connect(socket: Socket): ReturnType<SecureConnector['connect']> {
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    const handshake = this.inner.connect(socket);
    return this.attempt === undefined ? handshake : this.attempt.secure(socket, handshake);
  }

  getCallCredentials(): CallCredentials {
    return this.inner.getCallCredentials();
  }

  destroy(): void {
    this.isDestroyed = true;
    if (this.attempt !== undefined) this.attempts.release(this.attempt);
    this.inner.destroy();
  }
}
