import type { Measured } from '../../scenarios/support/situation.js';
import { problemsOf, type WatchedPlay } from '../watched-play.js';

/** The results of all runs of one situation. */
export interface Tally {
  readonly plays: number;
  readonly seconds: number;
  /** Number of calls, summed from the figures. */
  readonly calls: number;
  /** Failures, each with the command that repeats the run. */
  readonly failures: readonly string[];
}

export const NOT_PLAYED: Tally = { plays: 0, seconds: 0, calls: 0, failures: [] };

/** Returns `tally` with the results of one run added. */
export function withPlay(tally: Tally, play: WatchedPlay, seed: number, name: string): Tally {
  return {
    plays: tally.plays + 1,
    seconds: tally.seconds + play.seconds,
    calls: tally.calls + callsOf(play.measured),
    failures: [
      ...tally.failures,
      ...problemsOf(play).map(
        (what) => `${what} (repeat: npm run soak -- --minutes 0.01 --only ${name} --play-seed ${seed})`,
      ),
    ],
  };
}

/** Sums the figures that count calls, such as 'calls', 'reads', and 'writes', over all upstreams. */
function callsOf(measured: Measured): number {
  return Object.entries(measured)
    .filter(([name]) => /^(calls|reads|writes|waiting calls|new calls)( @|$)/.test(name))
    .reduce((sum, [, count]) => sum + Number(count), 0);
}
