import type { RetryThrottling } from '../service-config/service-config.js';
import type { RetryBudget } from './retry-budget.js';

const SCALE = 1_000;

/**
 * `retryThrottling` to the letter: a failure takes one token, a success gives back `tokenRatio`, and retries are allowed
 * while more than half are left (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs).
 */
export class A6Throttle implements RetryBudget {
  // In thousandths, whole: A6 keeps three decimals and drops the rest, and sums of floats would drift over the threshold.
  readonly #max: number;
  readonly #ratio: number;
  #tokens: number;

  /** `share`: how full it is at first, 0 to 1. */
  constructor(config: RetryThrottling, share = 1) {
    this.#max = thousandths(config.maxTokens);
    this.#ratio = thousandths(config.tokenRatio);
    this.#tokens = Math.round(this.#max * share);
  }

  onSuccess(_now?: number): void {
    this.#tokens = Math.min(this.#tokens + this.#ratio, this.#max);
  }

  /** gRFC A6 has no word for it. */
  onDeadline(_now?: number, _startedAt?: number): void {}

  onFailure(): void {
    this.#tokens = Math.max(this.#tokens - SCALE, 0);
  }

  tryRetry(_now?: number): boolean {
    return this.#tokens * 2 > this.#max;
  }

  tokens(_now?: number): number {
    return this.#tokens / SCALE;
  }
}

/** Three decimals, the rest dropped; rounded far behind them first, as 1.001 × 1000 is 1000.9999…. */
function thousandths(value: number): number {
  return Math.floor(Number((value * SCALE).toFixed(6)));
}
