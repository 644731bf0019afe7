import type { Socket } from 'node:net';
import type { experimental } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { ConnectFailure } from './connect-failure.js';

type SubchannelAddress = experimental.SubchannelAddress;

const CLOSED = 'the channel was closed';

/**
 * Running attempts to connect, by address. Each can be ended at any stage after name resolution: credentials, TCP, TLS, HTTP/2 SETTINGS.
 * grpc-js itself has no connect timeout and, on close, leaks a hanging handshake and its socket.
 */
export class ConnectAttempts {
  private readonly running = new Map<string, ConnectAttempt>();
  /** True if the channel is closed. No attempt may outlive it. */
  private isClosed = false;

  constructor(
    /** Returns the timeout of the next attempt. */
    private readonly timeoutMs: () => number,
    private readonly clock: Clock,
  ) {}

  /**
   * Returns `address` with an abort signal of the current attempt, which `net.connect` honors. Reading the signal of an aborted attempt
   * throws its error: Node would otherwise connect anyway, and nothing would close that socket.
   */
  abortable(address: SubchannelAddress, key: string): SubchannelAddress {
    const signalOf = (): AbortSignal | undefined => {
      const signal = this.running.get(key)?.signal;
      signal?.throwIfAborted();
      return signal;
    };
    // Own and enumerable, because `net.connect` copies its options; a getter, because each attempt has its own signal.
    return Object.defineProperty({ ...address }, 'signal', { enumerable: true, get: signalOf });
  }

  /** Registers the start of an attempt to connect to `key`. */
  begin(key: string): ConnectAttempt {
    this.running.get(key)?.end();
    const attempt = new ConnectAttempt(key, this.timeoutMs(), this.clock);
    this.running.set(key, attempt);
    // grpc-js starts an attempt one turn after the request, so the channel may be closed by then. Without this abort, grpc-js would keep
    // the connection until it cleans up its pool.
    if (this.isClosed) attempt.abort(CLOSED);
    return attempt;
  }

  /** State of the oldest attempt, as 'connecting for 2.1 s: …'; `undefined` if no attempt is running. */
  get progress(): string | undefined {
    const [oldest] = [...this.running.values()]
      .filter(({ isUsed }) => isUsed)
      .sort((a, b) => a.startedAt - b.startedAt);
    if (oldest === undefined) return undefined;
    return `connecting for ${seconds(this.clock.now() - oldest.startedAt)}: ${oldest.phase}`;
  }

  /**
   * Registers the result of the attempt to connect to `key`, and returns the attempt. If the channel does not use the attempt, its
   * result is unknown until the channel uses the connection again or drops it.
   */
  settle(key: string, succeeded: boolean): Pick<ConnectAttempt, 'socket' | 'timedOut'> | undefined {
    const attempt = this.running.get(key);
    this.running.delete(key);
    if (attempt === undefined) return undefined;
    attempt.hasSucceeded = succeeded;
    attempt.end();
    return attempt;
  }

  /**
   * Releases `attempt` after grpc-js dropped its subchannel. Calls may still run on its connection: after a GOAWAY, grpc-js drops the
   * subchannel, but the streams continue.
   */
  release(attempt: ConnectAttempt): void {
    if (this.running.get(attempt.key) === attempt) this.running.delete(attempt.key);
    if (this.isClosed || !attempt.hasSucceeded) attempt.abort(CLOSED);
  }

  /** Records whether the channel uses the connection that is being established to `key`. */
  use(key: string, isUsed: boolean): void {
    const attempt = this.running.get(key);
    if (attempt !== undefined) attempt.isUsed = isUsed;
  }

  /** Aborts all running attempts and every later attempt, and destroys their sockets. */
  abortAll(): void {
    this.isClosed = true;
    for (const attempt of this.running.values()) attempt.abort(CLOSED);
    this.running.clear();
  }
}

/** One attempt to connect. */
export class ConnectAttempt {
  private readonly controller = new AbortController();
  private readonly timer: PeerTimer;
  private reject: ((error: Error) => void) | undefined;
  /** True if the connection was established. */
  hasSucceeded = false;
  /** False once the channel no longer needs the connection. grpc-js completes it anyway. */
  isUsed = true;
  /** The step that has not completed, for error messages. */
  phase = 'the TCP connection was not accepted';
  readonly startedAt: number;
  /** The TCP socket; `undefined` until TCP is connected. With TLS, it is the underlying socket. */
  socket: Socket | undefined;
  /** The failure, which names the incomplete step; `undefined` if the attempt has not timed out. */
  timedOut: ConnectFailure | undefined;

  constructor(
    readonly key: string,
    timeoutMs: number,
    clock: Clock,
  ) {
    this.startedAt = clock.now();
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      const message = `timed out after ${seconds(timeoutMs)}: ${this.phase}`;
      this.timedOut = { kind: 'timeout', message };
      this.abort(message);
    });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Waits for the credentials. TCP connects next. Rejects if the attempt was aborted in the meantime. */
  async prepare(credentials: Promise<void>): Promise<void> {
    await this.rejectOnAbort(credentials);
    this.controller.signal.throwIfAborted();
  }

  /** Waits for the handshake on `socket`, which is connected. From now on, an abort destroys the socket. */
  secure<T>(socket: Socket, handshake: Promise<T>): Promise<T> {
    this.socket = socket;
    this.phase = 'the peer accepted the TCP connection but did not respond';
    if (this.controller.signal.aborted) socket.destroy();
    // With TLS, a destroyed socket does not end the handshake, and a rejected handshake does not close the socket.
    return this.rejectOnAbort(handshake);
  }

  private rejectOnAbort<T>(step: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.reject = reject;
      step.then(resolve, reject);
    });
  }

  /** Ends the attempt now, with its socket and handshake. */
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

/** '0.2 s' */
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
