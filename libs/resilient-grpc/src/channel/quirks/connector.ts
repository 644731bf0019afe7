import type { Socket } from 'node:net';
import { ChannelCredentials, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { CONNECTOR_SEAM, SOCKET_SEAM } from './client-seams.js';
import { isPresent } from './seam.js';
import type { ConnectAttempt, ConnectAttempts } from '../connection/connect-attempts.js';

type SecureConnector = experimental.SecureConnector;
type Target = Parameters<ChannelCredentials['_createSecureConnector']>[0];
type CallCredentials = NonNullable<Parameters<ChannelCredentials['_createSecureConnector']>[2]>;

/** Channel argument that tells a connector which address it is for; set by us on each subchannel. */
export const ADDRESS_ARGUMENT = 'nestjs_resilient_grpc.address';

// Hosts that vanish are found by TCP in about this long: no server counts these probes, and no GOAWAY ends them.
const TCP_KEEPALIVE_MS = 60_000;

/** Receives the first connector. */
export interface ConnectorObserver {
  /** Reports which private names the first `subject` of its kind lacks. */
  checkSeams(on: string, subject: unknown): void;
}

/**
 * `inner` with every TCP socket passing through our hands: connect timeout, TCP keepalive, an end on close. Undefined where this
 * grpc-js builds its connections in another way.
 */
export function observeSockets(
  inner: ChannelCredentials,
  attempts: ConnectAttempts,
  observer: ConnectorObserver,
): ChannelCredentials | undefined {
  return isPresent(CONNECTOR_SEAM, inner) ? new ObservedCredentials(inner, attempts, observer) : undefined;
}

/** What secures one connection; `undefined` if this grpc-js does so in another way. */
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
    private readonly observer: ConnectorObserver,
  ) {
    super();
  }

  override compose(callCredentials: CallCredentials): ChannelCredentials {
    return new ObservedCredentials(this.inner.compose(callCredentials), this.attempts, this.observer);
  }

  override _isSecure(): boolean {
    return this.inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(target: Target, options: ChannelOptions, call?: CallCredentials): SecureConnector {
    const connector = this.inner._createSecureConnector(target, options, call);
    this.observer.checkSeams('connector', connector);
    if (!isPresent(SOCKET_SEAM, connector)) return connector;
    const address: unknown = options[ADDRESS_ARGUMENT];
    // Without our policy (xds:) no address is known: the socket passes unobserved but for TCP keepalive.
    if (typeof address !== 'string') return withTcpKeepalive(connector);
    return new ObservedConnector(connector, this.attempts, address);
  }
}

/** Makes the connections of one address. grpc-js asks `waitForReady` at the start of each attempt, before TCP. */
class ObservedConnector implements SecureConnector {
  private attempt: ConnectAttempt | undefined;
  private isDestroyed = false;

  constructor(
    private readonly inner: SecureConnector,
    private readonly attempts: ConnectAttempts,
    private readonly address: string,
  ) {}

  waitForReady(): Promise<void> {
    const attempt = this.attempts.begin(this.address);
    this.attempt = attempt;
    // grpc-js connects a dropped subchannel again when its backoff ends, and would keep that connection until its peer closes it.
    if (this.isDestroyed) this.attempts.letGo(attempt);
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
    if (this.attempt !== undefined) this.attempts.letGo(this.attempt);
    this.inner.destroy();
  }
}

function withTcpKeepalive(inner: SecureConnector): SecureConnector {
  return {
    waitForReady: () => inner.waitForReady(),
    connect: (socket) => {
      socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
      return inner.connect(socket);
    },
    getCallCredentials: () => inner.getCallCredentials(),
    destroy: () => {
      inner.destroy();
    },
  };
}
