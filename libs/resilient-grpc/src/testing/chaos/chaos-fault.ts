import type { PlannedFault } from './plan-chaos.js';

/** A fault that chaos can bring about. */
export interface ChaosFault extends PlannedFault {
  /** Awaited, where it gives a promise. */
  begin(): unknown;
  /**
   * Heals it: when its time is over, when chaos ends before that, and when `begin` failed. Awaited too. When chaos is aborted
   * or `begin` hangs it comes beside that.
   */
  end?(): unknown;
}

/** How often each fault of a kit is drawn; those that are not named are left out. */
export type ChaosWeights<Name extends string> = Readonly<Partial<Record<Name, number>>>;

/** The faults of a kit, or those that have a weight. */
export function chosen<Name extends string>(
  kit: Readonly<Record<Name, Omit<ChaosFault, 'name'>>>,
  weights: ChaosWeights<Name> | undefined,
): readonly ChaosFault[] {
  return (Object.keys(kit) as Name[])
    .filter((name) => weights === undefined || weights[name] !== undefined)
    .map((name) => ({ ...kit[name], name, weight: weights?.[name] }));
}
