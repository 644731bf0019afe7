import type { Attempt, AttemptListener, AttemptRequest } from './attempt.js';

/** Hears out what the peer said while nothing was asked of it: its end may be among it. */
export interface Hearing {
  /** A call that begins now has to wait for it. */
  readonly isDue: boolean;
  /** Runs `task` when that was read, in a later turn of the event loop; the transport may not be `ready` any more. */
  hearOut(task: () => void): void;
}

/** What carries attempts: the waist between calls and channels. */
export interface CallTransport {
  readonly target: string;
  /** An attempt may begin now. */
  readonly ready: boolean;
  readonly hearing: Hearing;
  /** Begins an attempt; only while `ready`. */
  start(request: AttemptRequest, listener: AttemptListener): Attempt;
  /** Stands `waiter` in the queue for a usable channel, and wakes an idle one. */
  wait(waiter: Waiter): void;
  /** Takes a waiter out of the queue; harmless when it is no longer in it. */
  leave(waiter: Waiter): void;
  /** The server itself answered: a status, headers or a message. `latencyMs` of calls that succeeded. */
  answered(latencyMs: number | undefined): void;
  /** A call that had waited was answered after `latencyMs`, or failed. */
  releasedEnded(latencyMs: number | undefined, waiter: Pick<Waiter, 'answerDue'>): void;
  /** Why it is not ready, in words, for the text of a call that ended while it waited. */
  whyNotReady(): string;
}

/** Someone who waits for the channel. Exactly one of `release` and `refuse` is called, never inside `wait`. */
export interface Waiter {
  /** undefined: within the outage grace; false: only for a connection that is being made; true: without bound. */
  readonly waitForReady: boolean | undefined;
  /** Milliseconds since 1970, or Infinity: who has less left than a call usually takes is not released. */
  readonly deadline: number;
  /** Monotonic milliseconds. */
  readonly waitingSince: number;
  /** Bytes of its request, which are held while it waits. */
  readonly bytes: number;
  /** It stands in the queue even while the channel is ready: what was lost with a connection comes back at a pace. */
  readonly paced: boolean;
  /** Once it is released an answer is a matter of time; a stream of responses may be silent for as long as it likes. */
  readonly answerDue: boolean;
  release(): void;
  refuse(refusal: WaitRefusal): void;
}

/** Why a wait ended without a channel. */
export interface WaitRefusal {
  readonly reason: 'outage' | 'too-many-waiting' | 'closed';
  /** How long, why, and when the next try is; for the error's text. */
  readonly details: string;
  readonly retryAfterMs: number | undefined;
}
