import type { Play } from '../support/play.js';
import type { Measured } from '../support/situation.js';

/** What became of one situation over all its plays. */
export interface Tally {
  readonly plays: number;
  readonly seconds: number;
  /** Calls that its figures tell of. */
  readonly calls: number;
  /** Each with the seed that plays it once more. */
  readonly failures: readonly string[];
}

const NONE: Tally = { plays: 0, seconds: 0, calls: 0, failures: [] };

/** `tally` and one play more. */
export function withPlay(tally: Tally = NONE, { measured, broken, seconds }: Play, seed: number): Tally {
  return {
    plays: tally.plays + 1,
    seconds: tally.seconds + seconds,
    calls: tally.calls + callsOf(measured),
    failures: [...tally.failures, ...broken.map((what) => `seed ${seed}: ${what}`)],
  };
}

/** Figures named 'calls', 'reads' and 'writes' count what was called, of each upstream. */
function callsOf(measured: Measured): number {
  return Object.entries(measured)
    .filter(([name]) => /^(calls|reads|writes|held calls|new calls)( @|$)/.test(name))
    .reduce((sum, [, count]) => sum + Number(count), 0);
}
