import type { Attempt, AttemptListener, AttemptRequest } from './attempt.js';

/** Delays calls after an idle period until pending socket data has been read. That data may include the end of the connection. */
export interface ReadBarrier {
  /** True if a call that begins now must wait for `whenRead`. */
  readonly isDue: boolean;
  /** Runs `task` after the data has been read, in a later turn of the event loop. The transport may no longer be `ready` in that turn. */
  whenRead(task: () => void): void;
}

/** Carries attempts. The only interface between calls and channels. */
export interface CallTransport {
  readonly target: string;
  /**
   * True if an attempt may begin now: the channel is READY, a connection has a free stream, and no earlier call is waiting for a stream.
   */
  readonly ready: boolean;
  readonly isConnected: boolean;
  readonly readBarrier: ReadBarrier;
  /** Starts an attempt. Requires `ready`. */
  start(request: AttemptRequest, listener: AttemptListener): Attempt;
  /** Queues `waiter` until it is released or refused. Connects an idle channel. */
  wait(waiter: Waiter): void;
  /** Removes a waiter from the queue. Does nothing if it is not queued. */
  dequeue(waiter: Waiter): void;
  /**
   * Reports that the server itself sent a status, or the headers of a response stream. `latencyMs` is set if a unary or client-streaming
   * call succeeded. `path` is that of the method.
   */
  answered(latencyMs: number | undefined, path: string): void;
  releasedCallEnded(result: ReleasedCallResult, call: ReleasedCall): void;
  /** Reason why calls wait for the channel, for the error of a call that ended while it waited. */
  whyNotReady(): string;
  /** The shell command that examines the target; `undefined` if the doctor does not support it. */
  readonly doctorCommand: string | undefined;
  readonly remedy: string | undefined;
}

/**
 * Result of a call that had waited. A number: milliseconds from the start of its attempt to the response. 'failed': the attempt failed, or
 * the deadline passed. 'cancelled': this side ended the call for another reason, so the result is no evidence about the server.
 */
export type ReleasedCallResult = number | 'failed' | 'cancelled';

/**
 * A call, or the client's `waitForReady()`, that waits for the channel. At most one of `release` and `refuse` is called, never
 * synchronously in `wait`. Neither is called if the channel skips the call, because its response would be late (see `deadline`).
 */
export interface Waiter {
  /**
   * Limit of the wait. `undefined`: until the outage grace period ends. `false`: only while the channel connects, not during an outage.
   * `true`: no limit.
   */
  readonly waitForReady: boolean | undefined;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Monotonic milliseconds. */
  readonly waitingSince: number;
  /** Size of the request, which is kept in memory while the call waits. */
  readonly bytes: number;
  /**
   * True if the call is sent at a limited rate, because it lost its connection, resumes a stream, or is a hedged call without a running
   * attempt.
   */
  readonly rateLimited: boolean;
  /** True if a response should follow soon after the release. A response stream may stay silent for any length of time. */
  readonly expectsPromptResponse: boolean;
  readonly path: string | undefined;
  release(): void;
  refuse(refusal: WaitRefusal): void;
}

export type ReleasedCall = Pick<Waiter, 'expectsPromptResponse' | 'path'>;

export interface WaitRefusal {
  readonly reason: 'outage' | 'too-many-waiting' | 'closed';
  /** Explanation for the error message. For 'outage': the duration, the cause, and the time of the next attempt to connect. */
  readonly details: string;
  readonly remedy?: string | undefined;
  readonly retryAfterMs: number | undefined;
}
