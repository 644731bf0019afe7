import type { ChaosPlan, ChaosStep } from './plan-chaos.js';

/** The error of a failed chaos run. Contains the seed that reproduces the faults, and the faults that had started. */
export class ChaosError extends Error {
  override readonly name = 'ChaosError';
  readonly plan: ChaosPlan;
  /** The steps that had started. */
  readonly played: readonly ChaosStep[];

  /** @param causes the errors of the run: first the one that ended it, then that of a fault that also failed or hung, if any */
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
