import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object } from '../../policy/options/option-schemas.js';
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

const WEIGHT = 'a number of 0 or more';
const weight = v.pipe(v.number(WEIGHT), v.minValue(0, WEIGHT));

/**
 * Returns the faults of a kit that have a weight, or all faults if `weights` is undefined.
 * @param kitName name of the function that returns the kit, for error messages
 * @throws GrpcConfigurationError if a weight has an unknown name or is invalid
 */
export function selectFaults<Name extends string>(
  kitName: string,
  kit: Readonly<Record<Name, Omit<ChaosFault, 'name'>>>,
  weights: ChaosWeights<Name> | undefined,
): readonly ChaosFault[] {
  const names = Object.keys(kit) as Name[];
  if (weights !== undefined) {
    const schema = object(Object.fromEntries(names.map((name) => [name, v.optional(weight)])), 'an object of weights');
    requireOptions(schema, weights, `${kitName}.weights`);
  }
  return names
    .filter((name) => weights === undefined || weights[name] !== undefined)
    .map((name) => ({ ...kit[name], name, weight: weights?.[name] }));
}
