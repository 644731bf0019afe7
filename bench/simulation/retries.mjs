import { AttemptHistory, DEFAULT_RETRY_POLICY, DefaultBudget } from './internals.mjs';

export const NO_METADATA = { get: () => [], getOptions: () => ({}) };
const REGISTRY = { accepting: 'yes', drainUntil: Infinity };

/** The retry decisions and the budget of a client of this library, for unary calls. */
export class Retries {
  #context;

  /**
   * @param {{ readonly clock: object, readonly random: () => number }} fleet
   * @param {object} [budget] Constants of the budget.
   * @param {object} [retry] Constants of the retry policy.
   */
  constructor({ clock, random }, budget = undefined, retry = {}) {
    this.budget = new DefaultBudget(budget);
    const client = { clock, random, budget: { current: this.budget }, registry: REGISTRY, throttled: () => undefined };
    // Contains only the properties that retry decisions use.
    this.#context = {
      client,
      policy: { retry: { ...DEFAULT_RETRY_POLICY, ...retry } },
      hedging: undefined,
    };
  }

  /**
   * Decides whether the failed attempt of a call is retried.
   *
   * @param {{ attempts: number, isSafeToRepeat?: boolean, history?: AttemptHistory }} call
   * @param {object} end
   * @param {import('./internals.mjs').Verdict} verdict
   * @param {number} deadline Milliseconds since 1970.
   */
  decide(call, end, verdict, deadline) {
    call.history ??= new AttemptHistory();
    const { isSafeToRepeat = true } = call;
    return call.history.judge({ ...this.#context, isSafeToRepeat }, end, verdict, {
      options: undefined,
      deadline,
      attempts: call.attempts,
      requestReplayable: true,
      delivered: false,
      inRetryChain: false,
    }).decision;
  }
}
