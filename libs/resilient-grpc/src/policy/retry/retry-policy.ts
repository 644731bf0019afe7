import type { StatusCode } from '../../status/status-code.js';
import { jitter, type Random } from '../../time/random.js';

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

/** Jitter of a backoff. 'grpc': ±20% around the backoff. 'full': from 0 to the backoff, which spreads many clients more widely. */
export type BackoffJitter = 'grpc' | 'full';

/**
 * Returns the backoff before retry `retryIndex` (0: the first, or the first after a pushback), in milliseconds. The backoff is exponential,
 * capped, then jittered by `spread`, ±20% by default
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#exponential-backoff).
 */
export function backoffMs(
  policy: Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'>,
  retryIndex: number,
  random: Random,
  spread: BackoffJitter = 'grpc',
): number {
  const capped = Math.min(policy.initialBackoffMs * policy.backoffMultiplier ** retryIndex, policy.maxBackoffMs);
  return spread === 'full' ? capped * random() : jitter(capped, 0.2, random);
}

/** A resolved gRFC A6 hedging policy: delay in milliseconds, numeric status codes, and `maxAttempts` already limited. */
export interface HedgingPolicy {
  /** Maximum number of attempts, including the original; 1 or more (in a service config, 2 or more). */
  readonly maxAttempts: number;
  /** Delay between attempts; 0 sends all attempts at once. */
  readonly hedgingDelayMs: number;
  readonly nonFatalStatusCodes: ReadonlySet<StatusCode>;
}
