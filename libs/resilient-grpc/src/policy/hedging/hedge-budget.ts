/** Default hedge budget: hedges for 5% of calls, plus five hedges. */
const DEFAULT_HEDGE_BUDGET = {
  /** Tokens added per call: the maximum number of hedges per call in the long run. */
  perCall: 0.05,
  /** Maximum and initial number of tokens, so that even a client with few calls can hedge. */
  maxTokens: 5,
};

const SCALE = 1_000;

/**
 * Limits hedges to a share of calls. A retry throttle counts failures only, so it would not limit hedges of slow calls. A server that slows
 * down briefly would then receive every call twice and stay slow.
 */
export class HedgeBudget {
  // Integer thousandths, so that twenty times 0.05 is exactly one token.
  private readonly max: number;
  private readonly perCall: number;
  private remainingTokens: number;

  constructor(policy = DEFAULT_HEDGE_BUDGET) {
    this.max = Math.round(policy.maxTokens * SCALE);
    this.perCall = Math.round(policy.perCall * SCALE);
    this.remainingTokens = this.max;
  }

  /** Credits a call that may be hedged. Must be invoked once per call. */
  onCall(): void {
    this.remainingTokens = Math.min(this.remainingTokens + this.perCall, this.max);
  }

  /** True if a hedge may be sent now. */
  get allows(): boolean {
    return this.remainingTokens >= SCALE;
  }

  /** Debits a hedge. Must be invoked only if `allows` is true. */
  onHedge(): void {
    this.remainingTokens = Math.max(this.remainingTokens - SCALE, 0);
  }

  /** Remaining tokens, for the client's snapshot. */
  get tokens(): number {
    return this.remainingTokens / SCALE;
  }

  get maxTokens(): number {
    return this.max / SCALE;
  }
}
