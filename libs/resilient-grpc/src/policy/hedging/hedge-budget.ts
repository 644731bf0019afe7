/** How far hedges may add to the load. */
export interface HedgeBudgetPolicy {
  /** Given for each call: the share of calls that may be hedged in the long run. */
  readonly perCall: number;
  /** Tokens at most, and at first, so that a client of few calls can hedge too. */
  readonly maxTokens: number;
}

/** Hedges are at most 5 % of calls, and five more. */
const DEFAULT_HEDGE_BUDGET: HedgeBudgetPolicy = { perCall: 0.05, maxTokens: 5 };

const SCALE = 1_000;

/**
 * Bounds hedges by calls. No retry throttle does: it counts failures, and slowness is none, so that a server which gets slower
 * for a moment would be sent every call twice, and stay slow for ever.
 */
export class HedgeBudget {
  // In thousandths, whole: twenty times 0.05 are to be one token.
  readonly #max: number;
  readonly #perCall: number;
  #tokens: number;

  constructor(policy: HedgeBudgetPolicy = DEFAULT_HEDGE_BUDGET) {
    this.#max = Math.round(policy.maxTokens * SCALE);
    this.#perCall = Math.round(policy.perCall * SCALE);
    this.#tokens = this.#max;
  }

  /** A call that may be hedged begins; once a call. */
  onCall(): void {
    this.#tokens = Math.min(this.#tokens + this.#perCall, this.#max);
  }

  /** Whether a hedge may be sent now. */
  get allows(): boolean {
    return this.#tokens >= SCALE;
  }

  /** A hedge is sent, which `allows` allowed. */
  onHedge(): void {
    this.#tokens = Math.max(this.#tokens - SCALE, 0);
  }

  /** What is left, for the dashboard and the metrics. */
  get tokens(): number {
    return this.#tokens / SCALE;
  }

  get maxTokens(): number {
    return this.#max / SCALE;
  }
}
