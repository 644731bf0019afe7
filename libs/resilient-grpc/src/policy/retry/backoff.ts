import { jitter, type Random } from '../../time/random.js';
import type { RetryPolicy } from './retry-policy.js';

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
