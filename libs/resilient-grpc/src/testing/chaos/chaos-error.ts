import type { ChaosPlan, ChaosStep } from './plan-chaos.js';

/** What ran under chaos failed: the seed that brings the same faults again, and those of them that had begun. */
export class ChaosError extends Error {
  override readonly name = 'ChaosError';
  readonly plan: ChaosPlan;
  /** The steps that were begun. */
  readonly played: readonly ChaosStep[];

  /** `cause` is what it failed with. */
  constructor(plan: ChaosPlan, played: readonly ChaosStep[], cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const steps = played.map(
      ({ atMs, fault, forMs }) => `\n  at ${atMs} ms: ${fault}${forMs > 0 ? ` for ${forMs} ms` : ''}`,
    );
    const until =
      steps.length === 0 ? 'before its first fault' : `after ${steps.length} of ${plan.steps.length} faults:`;
    super(`chaos failed; replay with seed ${plan.seed}: ${why}\n${until}${steps.join('')}`, { cause });
    this.plan = plan;
    this.played = played;
  }
}
