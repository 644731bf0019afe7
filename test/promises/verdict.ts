import type { Judgement } from '../scenarios/support/judge.js';

export type Verdict = 'kept' | 'broken' | 'not judged';

/**
 * A bound that holds is kept, also on a busy machine. A timed bound that does not hold is broken only if the machine had time for
 * the play; every other bound is always judged, and so is a figure that is missing.
 */
export function verdictOf({ ok, timed, value }: Judgement, isMachineBusy: boolean): Verdict {
  if (ok) return 'kept';
  return timed && value !== undefined && isMachineBusy ? 'not judged' : 'broken';
}
