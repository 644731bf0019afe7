import { jitter, type Random } from '../../time/random.js';
import type { RetryPolicy } from './retry-policy.js';

/**
 * Wait before retry `retryIndex` (0 = first, or first after a pushback), in milliseconds: exponential, capped, then ±20 %
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#exponential-backoff).
 */
export function backoffMs(
  policy: Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'>,
  retryIndex: number,
  random: Random,
): number {
  const capped = Math.min(policy.initialBackoffMs * policy.backoffMultiplier ** retryIndex, policy.maxBackoffMs);
  return jitter(capped, 0.2, random);
}
