import type { Measured } from '../../scenarios/support/scenario.js';
import { problemsOf, type WatchedRun } from '../watched-run.js';

/** The results of all runs of one scenario. */
export interface Tally {
  readonly runs: number;
  readonly seconds: number;
  /** Number of calls in the figures that `callsOf` sums. */
  readonly calls: number;
  /** Failures, each with the command that repeats the run. */
  readonly failures: readonly string[];
}

export const NOT_RUN: Tally = { runs: 0, seconds: 0, calls: 0, failures: [] };

/** Returns `tally` with the results of one run added. */
export function withRun(tally: Tally, run: WatchedRun, seed: number, name: string): Tally {
  return {
    runs: tally.runs + 1,
    seconds: tally.seconds + run.seconds,
    calls: tally.calls + callsOf(run.measured),
    failures: [
      ...tally.failures,
      ...problemsOf(run).map(
        (what) => `${what} (repeat: npm run soak -- --minutes 0.01 --only ${name} --run-seed ${seed})`,
      ),
    ],
  };
}

/**
 * Sums the figures 'calls', 'reads', 'writes', 'waiting calls', and 'new calls' over all upstreams. Omits figures with other names, such as
 * 'calls while all fail'.
 */
function callsOf(measured: Measured): number {
  return Object.entries(measured)
    .filter(([name]) => /^(calls|reads|writes|waiting calls|new calls)( @|$)/.test(name))
    .reduce((sum, [, count]) => sum + Number(count), 0);
}
