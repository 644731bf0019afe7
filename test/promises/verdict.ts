import type { Judgement } from '../scenarios/support/judge.js';

export type Verdict = 'kept' | 'broken' | 'not judged';

/**
 * Returns 'kept' for a bound that holds, even on a busy machine. A timed bound that does not hold is 'broken' only on a quiet machine. All
 * other bounds, and missing figures, are always judged.
 */
export function verdictOf({ ok, timed, value }: Judgement, isMachineBusy: boolean): Verdict {
  if (ok) return 'kept';
  return timed && value !== undefined && isMachineBusy ? 'not judged' : 'broken';
}
