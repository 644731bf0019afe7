import type { RetryThrottling } from '../service-config/service-config.js';
import { A6Throttle } from './a6-throttle.js';
import { DEFAULT_BUDGET_POLICY, DefaultBudget, type RetryBudget } from './default-budget.js';

/**
 * Retry budget of a channel whose `retryThrottling` may change. A change keeps the share of remaining tokens, as in gRPC Core and grpc-js.
 * A service config that changes during an outage must not refill the bucket. Open calls are counted in the new bucket.
 */
export class LiveBudget {
  private throttling: RetryThrottling | undefined;
  current: RetryBudget;

  constructor(throttling: RetryThrottling | undefined) {
    this.throttling = throttling;
    this.current = createBudget(throttling, 1);
  }

  /** Applies new `throttling`, or the default budget if it is `undefined`. Equal values change nothing. */
  change(throttling: RetryThrottling | undefined, now: number): void {
    if (isSame(throttling, this.throttling)) return;
    const share = this.current.tokens(now) / this.maxTokens;
    this.throttling = throttling;
    this.current = createBudget(throttling, share);
  }

  get maxTokens(): number {
    return (this.throttling ?? DEFAULT_BUDGET_POLICY).maxTokens;
  }
}

function createBudget(throttling: RetryThrottling | undefined, share: number): RetryBudget {
  return throttling === undefined ? new DefaultBudget(undefined, share) : new A6Throttle(throttling, share);
}

function isSame(a: RetryThrottling | undefined, b: RetryThrottling | undefined): boolean {
  return a?.maxTokens === b?.maxTokens && a?.tokenRatio === b?.tokenRatio;
}
