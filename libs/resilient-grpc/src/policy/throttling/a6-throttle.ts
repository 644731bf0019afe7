import type { RetryThrottling } from '../service-config/service-config.js';
import type { RetryBudget } from './default-budget.js';

const SCALE = 1_000;

/**
 * Implements `retryThrottling` as specified. A failure takes one token, a success adds `tokenRatio`, and retries are allowed while
 * more than half of the tokens are left
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs).
 */
export class A6Throttle implements RetryBudget {
  // Integer thousandths: gRFC A6 truncates to three decimals, and sums of floats would drift across the threshold.
  private readonly max: number;
  private readonly ratio: number;
  private remainingTokens: number;

  /** @param share initial fill level, from 0 to 1 */
  constructor(config: RetryThrottling, share = 1) {
    this.max = thousandths(config.maxTokens);
    this.ratio = thousandths(config.tokenRatio);
    this.remainingTokens = Math.round(this.max * share);
  }

  onSuccess(_now?: number): void {
    this.remainingTokens = Math.min(this.remainingTokens + this.ratio, this.max);
  }

  /** Does nothing, because gRFC A6 does not count exceeded deadlines. */
  onDeadline(_now?: number, _startedAt?: number): void {}

  onFailure(): void {
    this.remainingTokens = Math.max(this.remainingTokens - SCALE, 0);
  }

  tryRetry(_now?: number): boolean {
    return this.remainingTokens * 2 > this.max;
  }

  tokens(_now?: number): number {
    return this.remainingTokens / SCALE;
  }

  suffices(tokens: number): boolean {
    return tokens * SCALE * 2 > this.max;
  }
}

/** Truncates to three decimals, as integer thousandths. Rounds to six more decimals first, because 1.001 × 1000 is 1000.9999…. */
function thousandths(value: number): number {
  return Math.floor(Number((value * SCALE).toFixed(6)));
}
