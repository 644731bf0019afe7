import type { Socket } from 'node:net';
import type { experimental } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

type SubchannelAddress = experimental.SubchannelAddress;

const CLOSED = 'the channel was closed';

/** How long an attempt to connect may take, and what to say when it took too long. */
export interface ConnectLimits {
  timeoutMs(): number;
}

/**
 * Attempts to connect that are under way, by address, each of which can be ended at any point: name resolved, TCP, TLS, HTTP/2
 * SETTINGS. grpc-js has no limit of its own and, on close, leaves a hanging handshake behind with its socket.
 */
export class ConnectAttempts {
  private readonly running = new Map<string, ConnectAttempt>();
  /** The channel is closed: nothing of it may stay. */
  private isClosed = false;

  constructor(
    private readonly limits: ConnectLimits,
    private readonly clock: Clock,
  ) {}

  /**
   * `address` as grpc-js takes it, with a signal of the attempt then under way, which `net.connect` obeys. Whoever reads the signal of
   * one that has been ended gets its error: Node would connect all the same, and tell nobody of that socket.
   */
  abortable(address: SubchannelAddress, key: string): SubchannelAddress {
    const signalOf = (): AbortSignal | undefined => {
      const signal = this.running.get(key)?.signal;
      signal?.throwIfAborted();
      return signal;
    };
    // Own and enumerable, since `net.connect` copies its options; a getter, since each attempt has a signal of its own.
    return Object.defineProperty({ ...address }, 'signal', { enumerable: true, get: signalOf });
  }

  /** An attempt to reach `key` begins. */
  begin(key: string): ConnectAttempt {
    this.running.get(key)?.end();
    const attempt = new ConnectAttempt(key, this.limits.timeoutMs(), this.clock);
    this.running.set(key, attempt);
    // grpc-js begins it a turn after it was asked to, and would keep the connection until its pool is looked through.
    if (this.isClosed) attempt.abort(CLOSED);
    return attempt;
  }

  /** What the oldest attempt waits for, and for how long: 'connecting for 2.1 s: …'. `undefined` if no attempt is under way. */
  get progress(): string | undefined {
    const [oldest] = [...this.running.values()]
      .filter(({ isUsed }) => isUsed)
      .sort((a, b) => a.startedAt - b.startedAt);
    if (oldest === undefined) return undefined;
    return `connecting for ${seconds(this.clock.now() - oldest.startedAt)}: ${oldest.phase}`;
  }

  /**
   * The attempt to reach `key` succeeded or failed. The result of an attempt that the channel does not use is unknown until its
   * connection is used again, or dropped.
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
   * grpc-js dropped the subchannel that made `attempt`. Calls may still run on its connection: a GOAWAY ends a subchannel's use, not
   * its streams.
   */
  letGo(attempt: ConnectAttempt): void {
    if (this.running.get(attempt.key) === attempt) this.running.delete(attempt.key);
    if (this.isClosed || !attempt.hasSucceeded) attempt.abort(CLOSED);
  }

  /** The channel uses the connection that is being made to `key`, or no longer does. */
  use(key: string, isUsed: boolean): void {
    const attempt = this.running.get(key);
    if (attempt !== undefined) attempt.isUsed = isUsed;
  }

  /** Ends all that are under way, with their sockets, and any that is begun after that. */
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
  /** There is a connection. */
  hasSucceeded = false;
  /** False once the channel no longer needs the connection. grpc-js completes it anyway. */
  isUsed = true;
  /** What is missing. */
  phase = 'the TCP connection was not accepted';
  readonly startedAt: number;
  /** Set once TCP stands. Under TLS it is the socket below. */
  socket: Socket | undefined;
  /** Set once the attempt took too long: what was still missing. */
  timedOut: string | undefined;

  constructor(
    readonly key: string,
    timeoutMs: number,
    clock: Clock,
  ) {
    this.startedAt = clock.now();
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      this.timedOut = `timed out after ${seconds(timeoutMs)}: ${this.phase}`;
      this.abort(this.timedOut);
    });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Credentials are ready; TCP connects next, unless the attempt was ended meanwhile. */
  async prepare(credentials: Promise<void>): Promise<void> {
    await this.endable(credentials);
    this.controller.signal.throwIfAborted();
  }

  /** TCP stands; what follows on `socket` can be ended through it. */
  secure<T>(socket: Socket, handshake: Promise<T>): Promise<T> {
    this.socket = socket;
    this.phase = 'the peer accepted the connection and stayed silent';
    if (this.controller.signal.aborted) socket.destroy();
    // Under TLS a destroyed socket does not end the handshake, and a rejected handshake does not end the socket.
    return this.endable(handshake);
  }

  private endable<T>(step: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.reject = reject;
      step.then(resolve, reject);
    });
  }

  /** Ends it now: socket, handshake and all. */
  abort(reason: string): void {
    this.end();
    const error = new Error(reason);
    this.controller.abort(error);
    this.socket?.destroy();
    this.reject?.(error);
  }

  /** It is over by itself. */
  end(): void {
    this.timer.clear();
  }
}

/** '0.2 s' */
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
