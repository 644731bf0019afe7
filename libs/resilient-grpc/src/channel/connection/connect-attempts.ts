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
    const attempt = new ConnectAttempt(this.limits.timeoutMs(), this.clock);
    this.running.set(key, attempt);
    // grpc-js begins it a turn after it was asked to, and would keep the connection until its pool is looked through.
    if (this.isClosed) attempt.abort(CLOSED);
    return attempt;
  }

  /** What the oldest attempt waits for, and for how long: 'connecting for 2.1 s: …'. `undefined` if no attempt is under way. */
  get progress(): string | undefined {
    const [oldest] = [...this.running.values()].sort((a, b) => a.startedAt - b.startedAt);
    if (oldest === undefined) return undefined;
    return `connecting for ${seconds(this.clock.now() - oldest.startedAt)}: ${oldest.phase}`;
  }

  /** The attempt to reach `key` has succeeded or failed: this is what came of it. */
  settle(key: string, succeeded: boolean): Pick<ConnectAttempt, 'socket' | 'timedOut'> | undefined {
    const attempt = this.running.get(key);
    this.running.delete(key);
    if (attempt === undefined) return undefined;
    attempt.hasSucceeded = succeeded;
    attempt.end();
    return attempt;
  }

  /**
   * What makes the connection of `attempt` is not needed any more. grpc-js lets go of it while calls still run on one that the server
   * took its leave of.
   */
  letGo(attempt: ConnectAttempt): void {
    if (this.isClosed || !attempt.hasSucceeded) attempt.abort(CLOSED);
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
  /** What is missing. */
  phase = 'the TCP connection was not accepted';
  readonly startedAt: number;
  /** Set once TCP stands. Under TLS it is the socket below. */
  socket: Socket | undefined;
  /** Set once the attempt took too long: what was still missing. */
  timedOut: string | undefined;

  constructor(timeoutMs: number, clock: Clock) {
    this.startedAt = clock.now();
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      this.timedOut = `timed out after ${seconds(timeoutMs)}: ${this.phase}`;
      this.abort(this.timedOut);
    });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** TCP stands; what follows on `socket` can be ended through it. */
  secure<T>(socket: Socket, handshake: Promise<T>): Promise<T> {
    this.socket = socket;
    this.phase = 'the peer accepted the connection and stayed silent';
    if (this.controller.signal.aborted) socket.destroy();
    return new Promise<T>((resolve, reject) => {
      this.reject = reject;
      // Under TLS a destroyed socket does not end the handshake, and a rejected handshake does not end the socket.
      handshake.then(resolve, reject);
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
