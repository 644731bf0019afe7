import type { Play } from '../support/play.js';
import type { Measured } from '../support/situation.js';

/** What became of one situation over all its plays. */
export interface Tally {
  readonly plays: number;
  readonly seconds: number;
  /** Calls that its figures tell of. */
  readonly calls: number;
  /** Each with what plays it once more. */
  readonly failures: readonly string[];
}

export const NOT_PLAYED: Tally = { plays: 0, seconds: 0, calls: 0, failures: [] };

/** `tally` and one play more. */
export function withPlay(tally: Tally, { measured, broken, seconds }: Play, seed: number, name: string): Tally {
  return {
    plays: tally.plays + 1,
    seconds: tally.seconds + seconds,
    calls: tally.calls + callsOf(measured),
    failures: [
      ...tally.failures,
      ...broken.map((what) => `${what} (once more: npm run soak -- --minutes 0.01 --only ${name} --play-seed ${seed})`),
    ],
  };
}

/** Figures named 'calls', 'reads' and 'writes' count what was called, of each upstream. */
function callsOf(measured: Measured): number {
  return Object.entries(measured)
    .filter(([name]) => /^(calls|reads|writes|held calls|new calls)( @|$)/.test(name))
    .reduce((sum, [, count]) => sum + Number(count), 0);
}
