import type { Judgment } from '../scenarios/support/judge.js';

export type Verdict = 'kept' | 'broken' | 'not judged';

/**
 * Returns 'kept' for a bound that holds. A timed bound that does not hold is 'not judged' if the machine was busy while its figure was
 * measured. Any other bound that does not hold, or whose figure is missing, is 'broken'.
 */
export function verdictOf({ ok, timed, value }: Judgment, isMachineBusy: boolean): Verdict {
  if (ok) return 'kept';
  return timed && value !== undefined && isMachineBusy ? 'not judged' : 'broken';
}
