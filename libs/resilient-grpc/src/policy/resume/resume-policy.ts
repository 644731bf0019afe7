import type { BackoffJitter } from '../retry/backoff.js';
import type { RetryPolicy } from '../retry/retry-policy.js';

/** Backoff and limits of a resumable stream. */
export interface ResumePolicy extends Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'> {
  /** Maximum number of failed calls since the last progress or healthy call; at this number, the stream fails. Infinity for no limit. */
  readonly maxAttempts: number;
  readonly jitter: BackoffJitter;
  /** Minimum duration of a healthy call, with or without messages. Values below `MIN_LIFE_MS` count as `MIN_LIFE_MS`. */
  readonly minHealthyMs: number;
}

/**
 * Minimum lifetime of a healthy call, in milliseconds. A server failure within this time is evidence against the message at the stream's
 * position, whatever `minHealthyMs` is.
 */
export const MIN_LIFE_MS = 1_000;

/**
 * Maximum delay in milliseconds that a server can request between two calls of a stream. A stream often has no deadline, so a single wrong
 * status would otherwise silence it for days.
 */
export const MAX_REQUESTED_DELAY_MS = 300_000;

/** Default policy of a resumable stream. */
export const DEFAULT_RESUME_POLICY: ResumePolicy = {
  maxAttempts: Infinity,
  initialBackoffMs: 100,
  maxBackoffMs: 10_000,
  backoffMultiplier: 2,
  jitter: 'grpc',
  // Equals the maximum backoff of a channel. Shorter calls of a quiet feed increase the backoff. After the first backoffs, a server that
  // ends every call therefore receives at most one call per 5 s.
  minHealthyMs: 5_000,
};

/**
 * Number of server failures at one position after which the stream fails with reason 'poison'. Without this limit, the client would
 * endlessly request a message that the server cannot send. Only failures that are evidence against the position count. Lost connections,
 * UNAVAILABLE, and failures of calls that lasted `minHealthyMs` are excluded.
 */
export const MAX_SERVER_FAILURES = 5;
