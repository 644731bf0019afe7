import type { LostConnection } from '../evidence/lost-connection.js';
import type { RetryBudget } from './retry-budget.js';

/** The budget of a channel that configures no `retryThrottling`. */
export interface DefaultBudgetPolicy {
  readonly maxTokens: number;
  /** Given back by a call that succeeds. */
  readonly perSuccess: number;
  /** Given back by time, so that a client of few calls is not locked out. */
  readonly perSecond: number;
  /**
   * Share of the tokens that remains when a deadline passes, another one passed while that call ran, and no call succeeded in all
   * that time. A server that was stalled rejects the calls that piled up, and all its clients would repeat these at once. One call at
   * a time piles nothing up. Retries of what is lost with a connection may use all tokens: they are sent at the pace of a release.
   */
  readonly leftByStall: number;
  /** The other tokens return this long after the last such deadline: by then the server has rejected what piled up. */
  readonly stallMs: number;
  /** Attempts on one connection that stays open were lost together if they fail within this long of the first. */
  readonly togetherMs: number;
}

/**
 * Simulated against outages of all lengths and call rates: while everything fails at most 1.25 attempts per call at one call a
 * second, 1.1 at ten and more. With less than 0.12 for a success, 10 % of failing attempts use it up, and a call in sixty fails.
 */
export const DEFAULT_BUDGET_POLICY: DefaultBudgetPolicy = {
  maxTokens: 10,
  perSuccess: 0.12,
  perSecond: 0.05,
  leftByStall: 0.25,
  stallMs: 5_000,
  togetherMs: 250,
};

/** What a connection's lost attempts were granted. */
interface Loss {
  readonly at: number;
  readonly granted: boolean;
  /** The connection was over, or ended within `togetherMs`. */
  isOver: boolean;
}

/**
 * A token per retry. Attempts that fail because one connection ends cost one token together, whatever the time between them: one
 * stop of a busy server is one event and not a storm. A connection that is over takes no more streams, so this bounds itself.
 */
export class DefaultBudget implements RetryBudget {
  readonly #policy: DefaultBudgetPolicy;
  readonly #losses = new WeakMap<object, Loss>();
  #tokens: number;
  /** Of these, the tokens that a stall withholds from retries of what a server answered. */
  #withheld = 0;
  #refilledAt: number | undefined;
  #succeededAt = -Infinity;
  /** When the last deadline passed, and the last one that withheld tokens. */
  #deadlineAt = -Infinity;
  #stalledAt = -Infinity;

  /** `share`: how full it is at first, 0 to 1. */
  constructor(policy: DefaultBudgetPolicy = DEFAULT_BUDGET_POLICY, share = 1) {
    this.#policy = policy;
    this.#tokens = policy.maxTokens * share;
  }

  onSuccess(now: number): void {
    this.#succeededAt = now;
    const { maxTokens, perSuccess } = this.#policy;
    if (this.#tokens < maxTokens || this.#withheld > 0) this.#gain(perSuccess);
  }

  /** Failures cost nothing here: only what is sent again does. */
  onFailure(): void {}

  onDeadline(now: number, startedAt: number): void {
    const isAlone = startedAt >= this.#deadlineAt;
    this.#deadlineAt = now;
    if (isAlone || this.#succeededAt >= startedAt) return;
    this.#refill(now);
    this.#stalledAt = now;
    this.#withheld += (this.#tokens - this.#withheld) * (1 - this.#policy.leftByStall);
  }

  tryRetry(now: number, lostWith?: LostConnection): boolean {
    if (lostWith === undefined) return this.#take(now, Infinity);
    const { connection, isOver } = lostWith;
    const loss = this.#losses.get(connection);
    // A proxy may reset stream after stream of a connection that stays open: each such moment costs a token of its own.
    if (loss !== undefined && now - loss.at <= this.#policy.togetherMs) {
      loss.isOver ||= isOver;
      return loss.granted;
    }
    if (loss?.isOver === true && loss.granted) return true;
    const granted = this.#take(now, 0);
    this.#losses.set(connection, { at: now, granted, isOver });
    return granted;
  }

  /** Those that retries of what a server answered may use. */
  tokens(now: number): number {
    this.#refill(now);
    return this.#tokens - this.#withheld;
  }

  #take(now: number, withheld: number): boolean {
    this.#refill(now);
    if (this.#tokens - Math.min(withheld, this.#withheld) < 1) return false;
    this.#tokens -= 1;
    this.#withheld = Math.min(this.#withheld, this.#tokens);
    return true;
  }

  #refill(now: number): void {
    const elapsedMs = now - (this.#refilledAt ?? now);
    this.#refilledAt = now;
    this.#gain((Math.max(elapsedMs, 0) / 1_000) * this.#policy.perSecond);
    if (now - this.#stalledAt >= this.#policy.stallMs) this.#withheld = 0;
  }

  #gain(tokens: number): void {
    const added = Math.min(tokens, this.#policy.maxTokens - this.#tokens);
    this.#tokens += added;
    this.#withheld = Math.max(this.#withheld - (tokens - added), 0);
  }
}
