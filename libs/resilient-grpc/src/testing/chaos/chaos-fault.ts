import type { PlannedFault } from './plan-chaos.js';

/** A fault that chaos can inject. */
export interface ChaosFault extends PlannedFault {
  /** Injects the fault. A returned promise is awaited. */
  begin(): unknown;
  /**
   * Heals the fault when its time is over, when chaos ends earlier, or when `begin` fails. A returned promise is awaited. If chaos is
   * aborted or `begin` hangs, `end` is called while `begin` may still be running.
   */
  end?(): unknown;
}

/** Relative frequency of each fault of a kit. Faults without a weight are excluded. */
export type ChaosWeights<Name extends string> = Readonly<Partial<Record<Name, number>>>;

/** Returns the faults of a kit that have a weight, or all faults if `weights` is undefined. */
export function selectFaults<Name extends string>(
  kit: Readonly<Record<Name, Omit<ChaosFault, 'name'>>>,
  weights: ChaosWeights<Name> | undefined,
): readonly ChaosFault[] {
  return (Object.keys(kit) as Name[])
    .filter((name) => weights === undefined || weights[name] !== undefined)
    .map((name) => ({ ...kit[name], name, weight: weights?.[name] }));
}
