import type { Socket } from 'node:net';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { connectFailureKind, type ConnectFailureFacts } from '../../policy/connect-failure/connect-failures.js';
import { maskAddress, errorMessage } from '../../errors/error-message.js';
import { connectFailure, plainError, seconds, type ConnectFailure } from './connect-failure.js';
import { httpProxy } from './http-proxy.js';

/** Age in milliseconds at which an attempt to connect counts as slow. The warning about an outage has the same delay. */
export const SLOW_CONNECT_MS = 1_500;

/** One attempt to connect, which can be ended at any stage after name resolution: credentials, TCP, TLS, HTTP/2 SETTINGS. */
export class ConnectAttempt {
  private readonly controller = new AbortController();
  private readonly timer: PeerTimer;
  private reject: ((error: Error) => void) | undefined;
  /** The step that has not completed. */
  private step: 'credentials' | ConnectFailureFacts['phase'] = 'tcp';
  readonly startedAt: number;
  /** The HTTP proxy and the server that the proxy connects to; `undefined` if the connection uses no proxy. */
  private readonly tunnel: { readonly proxy: string; readonly server: string } | undefined;
  /** The TCP socket; `undefined` until TCP is connected. With TLS, it is the underlying socket. */
  private socket: Socket | undefined;
  /** TLS socket on top of `socket`; `undefined` without TLS, and until the TLS handshake ends. */
  private secured: Socket | undefined;
  /** Failure that describes the incomplete step; `undefined` if the attempt has not timed out. */
  private timedOut: ConnectFailure | undefined;

  /** @param server `host:port` of the server if `key` is the address of an HTTP proxy */
  constructor(
    private readonly key: string,
    timeoutMs: number,
    private readonly clock: Clock,
    server?: string,
  ) {
    this.startedAt = clock.now();
    this.tunnel = server === undefined ? undefined : { proxy: httpProxy(key), server: maskAddress(server) };
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      this.timedOut = this.unanswered(`timed out after ${seconds(timeoutMs)}`);
      this.abort(this.timedOut.message);
    });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** State of the attempt, such as 'connecting for 2.1 s: …'. */
  get progress(): string {
    return `connecting for ${seconds(this.clock.now() - this.startedAt)}: ${this.phase}`;
  }

  /** Describes the attempt, in the form of a failure, if it has been running for at least 1.5 s; `undefined` otherwise. */
  get slow(): ConnectFailure | undefined {
    const ageMs = this.clock.now() - this.startedAt;
    return ageMs < SLOW_CONNECT_MS ? undefined : this.unanswered(`connecting for ${seconds(ageMs)}`);
  }

  private get phase(): string {
    const { tunnel } = this;
    if (this.step === 'credentials') return 'the channel credentials are not ready';
    if (this.step === 'tcp' && tunnel !== undefined)
      return `${tunnel.proxy} has not opened a connection to ${tunnel.server}`;
    if (this.step === 'tcp') return 'the peer has not accepted the TCP connection';
    return 'the peer accepted the TCP connection but has not responded';
  }

  private get subject(): string {
    const { tunnel } = this;
    return tunnel === undefined ? this.key : `${tunnel.server} through ${tunnel.proxy}`;
  }

  /** Describes a slow or timed-out attempt by its incomplete step. */
  private unanswered(detail: string): ConnectFailure {
    if (this.step === 'credentials') return this.credentialsFailure(detail);
    if (this.step !== 'tcp') return connectFailure('silent', this.subject, detail);
    return this.proxyFailure('proxy-no-response', detail) ?? connectFailure('no-response', this.key, detail);
  }

  /** Describes credentials that fail or are not ready. Neither the server nor an HTTP proxy has been contacted. */
  private credentialsFailure(detail: string): ConnectFailure {
    return connectFailure('credentials-not-ready', this.tunnel?.server ?? this.key, detail);
  }

  /** Describes the failure of the HTTP proxy to open a connection to the server; `undefined` if the connection uses no proxy. */
  private proxyFailure(kind: 'proxy-failed' | 'proxy-no-response', detail: string): ConnectFailure | undefined {
    const { tunnel } = this;
    if (tunnel === undefined) return undefined;
    return connectFailure(kind, tunnel.proxy, `CONNECT ${tunnel.server}${detail === '' ? '' : `: ${detail}`}`);
  }

  /** Describes the failure of the attempt, which ended with `error`. */
  failure(error: unknown): ConnectFailure {
    if (this.timedOut !== undefined) return this.timedOut;
    const text = errorMessage(error);
    if (this.step === 'credentials') return this.credentialsFailure(plainError(text));
    const ofProxy = this.step === 'tcp' ? this.proxyFailure('proxy-failed', plainError(text)) : undefined;
    if (ofProxy !== undefined) return ofProxy;
    const { code, detail } = connectErrorOf(error);
    const kind = connectFailureKind({
      phase: this.step,
      code,
      // A failure in step 'tls' shows that TLS is used, because the handshake ends immediately without TLS.
      isSecure: this.step === 'tls' || this.secured !== undefined,
      receivedBytes: (this.secured ?? this.socket)?.bytesRead ?? 0,
      // All other addresses end with a port, and perhaps the number of the connection.
      isUnixSocket: !/:\d+(?:#\d+)?$/.test(this.key),
    });
    return connectFailure(kind, this.subject, detail ?? (kind === 'other' ? plainError(text) : code));
  }

  /** Waits for the credentials before TCP connects. Rejects if the attempt is aborted before they are available. */
  async prepare(credentials: Promise<void>): Promise<void> {
    this.step = 'credentials';
    await this.rejectOnAbort(credentials);
    this.controller.signal.throwIfAborted();
    this.step = 'tcp';
  }

  /** Waits for the handshake on `socket`, which is connected. From now on, an abort destroys the socket. */
  secure<T extends { readonly socket: Socket }>(socket: Socket, handshake: Promise<T>): Promise<T> {
    this.socket = socket;
    this.step = 'tls';
    if (this.controller.signal.aborted) socket.destroy();
    const secured = handshake.then((value) => {
      this.step = 'http2';
      if (value.socket !== socket) this.secured = value.socket;
      return value;
    });
    // An abort rejects the handshake and destroys the socket, because, with TLS, a destroyed socket does not end the handshake, and a
    // rejected handshake does not close the socket.
    return this.rejectOnAbort(secured);
  }

  private rejectOnAbort<T>(step: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.reject = reject;
      step.then(resolve, reject);
    });
  }

  /** Ends the attempt and its handshake immediately, and destroys its socket. */
  abort(reason: string): void {
    this.end();
    const error = new Error(reason);
    this.controller.abort(error);
    this.socket?.destroy();
    this.reject?.(error);
  }

  /** Stops the timeout, because the attempt is over. */
  end(): void {
    this.timer.clear();
  }
}

/** Returns the code of an error from Node or OpenSSL, and a text that the message shows instead of the code. */
function connectErrorOf(error: unknown): { readonly code: string | undefined; readonly detail?: string } {
  const { code, syscall, host, cert } = Object(error) as {
    readonly code?: unknown;
    readonly syscall?: unknown;
    readonly host?: unknown;
    readonly cert?: { readonly subjectaltname?: unknown };
  };
  if (typeof code !== 'string') {
    // Of this library, or, for example, of the application's checkServerIdentity().
    const text = errorMessage(error);
    if (text === 'Failed to connect') return { code: undefined };
    return text.startsWith('Protocol error')
      ? { code: 'ERR_HTTP2_ERROR' }
      : { code: 'other', detail: plainError(text) };
  }
  // Ignores ECONNRESET without a system call: Node reports it if the peer closed, but did not reset, the connection during the handshake.
  if (code === 'ECONNRESET' && syscall === undefined) return { code: undefined };
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return { code };
  const names = typeof cert?.subjectaltname === 'string' ? cert.subjectaltname : 'no names';
  return { code, detail: `${code}: expected ${String(host)}, got ${names}` };
}
