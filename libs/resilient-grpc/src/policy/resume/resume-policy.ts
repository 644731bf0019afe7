import type { BackoffJitter } from '../retry/backoff.js';
import type { RetryPolicy } from '../retry/retry-policy.js';

/** Pace and bounds of a stream that goes on over several calls. */
export interface ResumePolicy extends Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'> {
  /** Calls that may fail one after the other without progress; Infinity: any number. */
  readonly maxAttempts: number;
  readonly jitter: BackoffJitter;
  /** A call that lasted this long was healthy, whatever it carried; values below `MIN_LIFE_MS` count as that. */
  readonly minHealthyMs: number;
}

/** A failure within this time after the start of a call is evidence against the message at its place, whatever `minHealthyMs` is. */
export const MIN_LIFE_MS = 1_000;

/** Pace of a stream that names none. */
export const DEFAULT_RESUME_POLICY: ResumePolicy = {
  maxAttempts: Infinity,
  initialBackoffMs: 100,
  maxBackoffMs: 10_000,
  backoffMultiplier: 2,
  jitter: 'grpc',
  // So a server that ends every call of a quiet feed gets one call each 5 s at most: no more than a channel's reconnects.
  minHealthyMs: 5_000,
};

/**
 * Failures by the server at one place that end the stream as poisoned: a message that the server cannot give would otherwise be
 * requested without end. Lost connections, UNAVAILABLE, and failures of calls that had lasted `minHealthyMs` do not count, because
 * they are no evidence against the place.
 */
export const MAX_SERVER_FAILURES = 5;
