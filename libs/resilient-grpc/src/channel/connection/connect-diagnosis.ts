import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import type { Connectivity } from '../../call/connectivity.js';
import {
  CONNECT_FAILURES,
  type ConnectFailureKind,
  withDoctor,
} from '../../policy/connect-failure/connect-failures.js';
import type { ReconnectClass } from '../../policy/reconnect/reconnect-times.js';
import type { Clock, Timer } from '../../time/clock.js';
import { connectFailure, type ConnectFailure } from './connect-failure.js';

/** Failures that can show that the server uses TLS although the client does not. */
const MAY_BE_TLS: ReadonlySet<ConnectFailureKind> = new Set(['closed', 'not-http2']);

/** Failures by which a server may reject the certificate of the client. */
const MAY_BE_CERTIFICATE: ReadonlySet<ConnectFailureKind> = new Set(['client-certificate', 'closed-in-tls']);

export interface DiagnosisDependencies {
  readonly clock: Clock;
  /** The command that examines the target; `undefined` if the doctor does not support it. */
  readonly doctorCommand: string | undefined;
  /** Returns the reason why this client's own certificate is not valid now; `undefined` otherwise. */
  readonly certificateProblem?: () => string | undefined;
  readonly isSecure: () => boolean;
  /** Describes the running attempt to connect if it is slow; `undefined` otherwise. */
  readonly slowAttempt: () => ConnectFailure | undefined;
  /** Called when a later finding replaces the explanation of the last failure. */
  readonly changed: () => void;
}

/** A channel's last failure to connect, and its explanation. */
export class ConnectDiagnosis {
  /** Last failure to connect, or the reason why the last connection ended. */
  lastError: string | undefined;
  /** Kind of the failure in `lastError`; `undefined` if `lastError` does not describe a failed attempt to connect. */
  private kind: ConnectFailureKind | undefined;
  private readonly tlsDetection: TlsDetection;
  /** True if the client does not use TLS, but TLS was detected on the server. */
  private serverUsesTls = false;

  constructor(private readonly dependencies: DiagnosisDependencies) {
    this.tlsDetection = new TlsDetection(dependencies.clock);
  }

  /** Description of a running attempt to connect that is slow, or else `lastError`; `undefined` if `lastError` is `undefined`. */
  get cause(): string | undefined {
    return this.lastError === undefined ? undefined : (this.dependencies.slowAttempt()?.message ?? this.lastError);
  }

  /** Reconnect class of the last failed attempt to connect; `undefined` after a failure that keeps the backoff. */
  get reconnectClass(): ReconnectClass | undefined {
    return this.kind && CONNECT_FAILURES[this.kind].reconnect;
  }

  /** Explanation of `cause`, for `Connectivity`. */
  get lastFailure(): Pick<Connectivity, 'lastFailure'> {
    const { doctorCommand, slowAttempt } = this.dependencies;
    const kind = this.lastError === undefined ? undefined : (slowAttempt()?.kind ?? this.kind);
    if (kind === undefined) return {};
    const { remedy } = CONNECT_FAILURES[kind];
    return { lastFailure: { kind, remedy, ...(doctorCommand !== undefined && { doctorCommand }) } };
  }

  /**
   * Remedy for a running attempt to connect that is slow, or else for the failed attempt that `lastError` describes; `undefined` if there
   * is neither. Includes the command of the doctor if the doctor supports the target.
   */
  get remedy(): string | undefined {
    const kind = this.dependencies.slowAttempt()?.kind ?? this.kind;
    return kind && withDoctor(CONNECT_FAILURES[kind].remedy, this.dependencies.doctorCommand);
  }

  /**
   * Replaces a failure that TLS may have caused, if TLS was detected on the server, and one that the client's own certificate may have
   * caused, if that certificate is not valid. Returns other failures unchanged.
   */
  explain(failure: ConnectFailure, address: string | undefined): ConnectFailure {
    const invalid = MAY_BE_CERTIFICATE.has(failure.kind) ? this.dependencies.certificateProblem?.() : undefined;
    if (invalid !== undefined) return connectFailure('client-certificate-invalid', address, invalid);
    const isTls = this.serverUsesTls && MAY_BE_TLS.has(failure.kind);
    return isTls ? connectFailure('server-uses-tls', address, undefined) : failure;
  }

  attemptFailed({ kind, message }: ConnectFailure, address: string | undefined): void {
    this.lastError = message;
    this.kind = kind;
    if (address === undefined || !MAY_BE_TLS.has(kind) || this.dependencies.isSecure()) return;
    this.tlsDetection.begin(address, () => {
      this.serverUsesTls = true;
      if (this.kind === undefined || !MAY_BE_TLS.has(this.kind)) return;
      const found = connectFailure('server-uses-tls', address, undefined);
      this.lastError = found.message;
      this.kind = found.kind;
      this.dependencies.changed();
    });
  }

  /** Records the error that made the channel unusable. */
  channelFailed(error: string): void {
    this.lastError = error;
    this.kind = 'other';
  }

  connectionEnded(reason: string): void {
    this.lastError = reason;
    this.kind = undefined;
  }

  /** Records that a connection was established. A wrong TLS option is therefore not the cause of later outages. */
  connected(): void {
    this.tlsDetection.close();
    this.serverUsesTls = false;
  }

  close(): void {
    this.tlsDetection.close();
  }
}

/** Timeout of the TCP connect and the TLS handshake together, in milliseconds. */
const TLS_DETECTION_MS = 5_000;

// A TLS alert. Other OpenSSL errors mean that the peer sent data that is not TLS.
const ALERT = /^ERR_SSL_.*(?:ALERT|UNRECOGNIZED_NAME)/;

/**
 * Detects that a server uses TLS although its client does not. The server then closes each connection without a response. A proxy without
 * a reachable server does the same, so only a TLS handshake distinguishes them. Each client opens at most one connection for the detection,
 * and only if the client has never been connected. An outage after the first connection therefore causes no additional connections.
 */
class TlsDetection {
  private hasBegun = false;
  private socket: Socket | undefined;
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  /** Calls `found` if the server at `address` ('10.0.0.7:50051', or the path of a Unix socket) uses TLS. Runs at most once. */
  begin(address: string, found: () => void): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    const [, host, port] = /^\[?([^/]*?)\]?:(\d+)$/.exec(address) ?? [];
    const place = host === undefined ? { path: address } : { host, port: Number(port) };
    // The server's certificate is not verified, because no request is sent.
    const socket = connect({ ...place, ALPNProtocols: ['h2'], rejectUnauthorized: false });
    this.socket = socket;
    socket.unref();
    this.timer = this.clock.setTimer(() => {
      this.close();
    }, TLS_DETECTION_MS);
    const ended = (usesTls: boolean): void => {
      if (this.socket !== undefined && usesTls) found();
      this.close();
    };
    socket.on('secureConnect', () => {
      ended(true);
    });
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => {
      ended(ALERT.test(code));
    });
    socket.on('close', () => {
      ended(false);
    });
  }

  /** Ends a running detection, and prevents a later one. */
  close(): void {
    this.hasBegun = true;
    this.timer?.clear();
    this.timer = undefined;
    this.socket?.destroy();
    this.socket = undefined;
  }
}
