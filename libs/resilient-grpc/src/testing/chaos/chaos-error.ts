import type { ChaosPlan, ChaosStep } from './plan-chaos.js';

/** What ran under chaos failed: the seed that brings the same faults again, and those of them that had begun. */
export class ChaosError extends Error {
  override readonly name = 'ChaosError';
  readonly plan: ChaosPlan;
  /** The steps that were begun. */
  readonly played: readonly ChaosStep[];

  /** `causes` are what it failed with, first the one that ended it; then, where a fault failed or hung besides, that. */
  constructor(plan: ChaosPlan, played: readonly ChaosStep[], causes: readonly unknown[]) {
    const why = [...new Set(causes.map((cause) => (cause instanceof Error ? cause.message : String(cause))))];
    const steps = played.map(
      ({ atMs, fault, forMs }) => `\n  at ${atMs} ms: ${fault}${forMs > 0 ? ` for ${forMs} ms` : ''}`,
    );
    const until =
      steps.length === 0 ? 'before its first fault' : `after ${steps.length} of ${plan.steps.length} faults:`;
    super(`chaos failed; replay with seed ${plan.seed}: ${why.join('; ')}\n${until}${steps.join('')}`, {
      cause: causes[0],
    });
    this.plan = plan;
    this.played = played;
  }
}
