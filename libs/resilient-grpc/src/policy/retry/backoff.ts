import { jitter, type Random } from '../../time/random.js';
import type { RetryPolicy } from './retry-policy.js';

/** How a backoff is spread: 'grpc' ±20 %, so that the wait is as configured; 'full' from 0 to it, so that a crowd is thinned most. */
export type BackoffJitter = 'grpc' | 'full';

/**
 * Wait before retry `retryIndex` (0 = first, or first after a pushback), in milliseconds: exponential, capped, then ±20 %
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#exponential-backoff) unless said otherwise.
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
