import type { BackoffJitter } from '../retry/backoff.js';
import type { RetryPolicy } from '../retry/retry-policy.js';

/** Pace and bounds of a stream that goes on over several calls. */
export interface ResumePolicy extends Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'> {
  /** Calls that may fail one after the other without progress; Infinity: any number. */
  readonly maxAttempts: number;
  readonly jitter: BackoffJitter;
  /** A call that lived shorter is followed by a backoff, whatever it brought; one that was lost after that, by the next at once. */
  readonly minHealthyMs: number;
}

/** Pace of a stream that names none. */
export const DEFAULT_RESUME_POLICY: ResumePolicy = {
  maxAttempts: Infinity,
  initialBackoffMs: 100,
  maxBackoffMs: 10_000,
  backoffMultiplier: 2,
  jitter: 'grpc',
  minHealthyMs: 5_000,
};

/**
 * Failures made by the server at one place before it is taken for poisoned: a message that the server cannot give would else be
 * asked for without end. Lost connections and UNAVAILABLE don't count, they say nothing of the place.
 */
export const MAX_SERVER_FAILURES = 5;
