import type { LostConnection } from '../evidence/classify.js';
import type { RetryThrottling } from '../service-config/service-config.js';
import { LostTogether } from './lost-together.js';

/** Limits the retries of one channel, so that they do not worsen an outage. Times are monotonic milliseconds. */
export interface RetryBudget {
  onSuccess(now: number): void;
  /** Records a failed attempt that counts: a retryable code, or a pushback that forbids retries. */
  onFailure(): void;
  /** Records that a call whose last attempt started at `startedAt` had no response by its deadline. */
  onDeadline(now: number, startedAt: number): void;
  /** Requests one retry. Debits the cost of the retry, if any, and returns true if the retry is allowed; otherwise, returns false. */
  tryRetry(now: number, lostWith?: LostConnection): boolean;
  /** Returns the remaining tokens, excluding any that a stall withholds. */
  tokens(now: number): number;
  /** True if `tokens` suffice for a retry of an attempt that was not lost with a connection. */
  suffices(tokens: number): boolean;
}

/**
 * Defaults, tuned by simulating outages of various lengths at various call rates. If all attempts fail for a minute, a client makes at most
 * 1.25 attempts per call at one call per second, and at most 1.1 at ten or more. If `perSuccess` were below 0.12, failures of 10% of
 * attempts would exhaust the budget, and one call in sixty would fail.
 */
export const DEFAULT_BUDGET_POLICY = {
  maxTokens: 10,
  /** Tokens returned by a successful call. */
  perSuccess: 0.12,
  /** Tokens returned per second, so that a client with few calls can retry again. */
  perSecond: 0.05,
  /**
   * Share of the available tokens that remains after each detection of a stall. A stall is detected when the deadline of a call passes, if
   * another deadline has passed and no call has succeeded since the start of the call's last attempt. A server that resumes after a stall
   * rejects the accumulated calls, and all its clients would retry them at once. Sequential calls do not accumulate, so their exceeded
   * deadlines do not indicate a stall. Retries of calls lost with a connection may use all tokens, because the channel sends these retries
   * at a limited rate.
   */
  leftByStall: 0.25,
  /** Time in milliseconds from the last detection of a stall until the withheld tokens return. */
  stallMs: 5_000,
};

/** Policy of the retry budget of a channel without `retryThrottling`. */
export type DefaultBudgetPolicy = Readonly<Record<keyof typeof DEFAULT_BUDGET_POLICY, number>>;

/** Retry budget with one token per retry. Together, all attempts that are lost with one connection cost one token. */
export class DefaultBudget implements RetryBudget {
  private readonly policy: DefaultBudgetPolicy;
  private readonly losses = new LostTogether();
  private remainingTokens: number;
  /** Tokens that a stall withholds from retries of attempts that were not lost with a connection. */
  private withheld = 0;
  private refilledAt: number | undefined;
  private succeededAt = -Infinity;
  /** Time at which a deadline last passed. */
  private deadlineAt = -Infinity;
  /** Time at which tokens were last withheld because a deadline passed. */
  private stalledAt = -Infinity;

  /** @param share initial fill level, from 0 to 1 */
  constructor(policy: DefaultBudgetPolicy = DEFAULT_BUDGET_POLICY, share = 1) {
    this.policy = policy;
    this.remainingTokens = policy.maxTokens * share;
  }

  onSuccess(now: number): void {
    this.succeededAt = now;
    const { maxTokens, perSuccess } = this.policy;
    if (this.remainingTokens < maxTokens || this.withheld > 0) this.gain(perSuccess);
  }

  /** Does nothing, because only retries cost tokens. */
  onFailure(): void {}

  onDeadline(now: number, startedAt: number): void {
    const isAlone = startedAt >= this.deadlineAt;
    this.deadlineAt = now;
    if (isAlone || this.succeededAt >= startedAt) return;
    this.refill(now);
    this.stalledAt = now;
    this.withheld += (this.remainingTokens - this.withheld) * (1 - this.policy.leftByStall);
  }

  tryRetry(now: number, lostWith?: LostConnection): boolean {
    if (lostWith === undefined) return this.take(now, Infinity);
    return this.losses.decideOnce(lostWith, now, () => this.take(now, 0));
  }

  /** Returns the tokens available to retries of attempts that were not lost with a connection. */
  tokens(now: number): number {
    this.refill(now);
    return this.remainingTokens - this.withheld;
  }

  suffices(tokens: number): boolean {
    return tokens >= 1;
  }

  private take(now: number, withheld: number): boolean {
    this.refill(now);
    if (this.remainingTokens - Math.min(withheld, this.withheld) < 1) return false;
    this.remainingTokens -= 1;
    this.withheld = Math.min(this.withheld, this.remainingTokens);
    return true;
  }

  private refill(now: number): void {
    const elapsedMs = now - (this.refilledAt ?? now);
    this.refilledAt = now;
    this.gain((Math.max(elapsedMs, 0) / 1_000) * this.policy.perSecond);
    if (now - this.stalledAt >= this.policy.stallMs) this.withheld = 0;
  }

  private gain(tokens: number): void {
    const added = Math.min(tokens, this.policy.maxTokens - this.remainingTokens);
    this.remainingTokens += added;
    this.withheld = Math.max(this.withheld - (tokens - added), 0);
  }
}

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

/**
 * Retry budget of a channel whose `retryThrottling` may change. A change keeps the share of remaining tokens, as in gRPC Core and grpc-js.
 * A service config that changes during an outage must not refill the bucket. Open calls are counted in the new bucket.
 */
export class LiveBudget {
  current: RetryBudget;

  constructor(private throttling: RetryThrottling | undefined) {
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
