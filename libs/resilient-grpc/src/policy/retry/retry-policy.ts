import type { StatusCode } from '../../status/status-code.js';

/** A resolved gRFC A6 retry policy: durations in milliseconds, numeric status codes, and `maxAttempts` already limited. */
export interface RetryPolicy {
  /** Maximum number of attempts, including the original; 2 or more. */
  readonly maxAttempts: number;
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly backoffMultiplier: number;
  readonly retryableStatusCodes: ReadonlySet<StatusCode>;
}

/** Upper bound of `maxAttempts` in any policy, as in gRFC A6. */
export const MAX_ATTEMPTS = 5;

/** Policy of a method that is declared safe to retry but has no policy of its own. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxAttempts: 4,
  initialBackoffMs: 100,
  maxBackoffMs: 2_000,
  backoffMultiplier: 2,
  retryableStatusCodes: new Set<StatusCode>([14]),
};
