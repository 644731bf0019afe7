import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { inOneLine } from '../../scenarios/support/judge.js';
import type { Scenario } from '../../scenarios/support/scenario.js';
import { forgetLines } from '../../support/orders-app.js';
import type { Sentinel } from '../sentinel.js';
import { runWatched, problemsOf } from '../watched-run.js';
import { heldNow, type Held } from './memory.js';
import { NOT_RUN, withRun, type Tally } from './tally.js';

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Seed of every run. By default, each run has its own seed, drawn from `seed`. */
  readonly runSeed?: number | undefined;
  /** Aborts the current run; the soak ends after the cleanup of that run. */
  readonly signal: AbortSignal;
  readonly sentinel: Sentinel;
  readonly report: (line: string) => void;
}

export interface Soaked {
  readonly tallies: ReadonlyMap<string, Tally>;
  /** Resources held at the start and after each complete run. */
  readonly held: readonly Held[];
}

/** Repeatedly runs all `scenarios` in full, in a new order each round, until the time is up or `signal` aborts. */
export async function soak(
  scenarios: readonly Scenario[],
  { minutes, seed, runSeed: given, signal, sentinel, report }: SoakOptions,
): Promise<Soaked> {
  const endsAt = performance.now() + minutes * 60_000;
  const random = seededRandom(seed);
  // The report also lists scenarios that were never reached.
  const tallies = new Map<string, Tally>(scenarios.map(({ name }) => [name, NOT_RUN]));
  const held = [heldNow()];
  const isOver = () => signal.aborted || performance.now() >= endsAt;
  const reportIndented = (line: string) => {
    report(`  ${line}`);
  };
  do {
    for (const scenario of shuffled(scenarios, random)) {
      if (isOver()) break;
      const runSeed = given ?? Math.trunc(random() * 2 ** 31);
      const run = await runWatched(
        scenario,
        { length: 'full', which: 'all', seed: runSeed, report: reportIndented, signal },
        sentinel,
      );
      if (signal.aborted) break;
      tallies.set(scenario.name, withRun(tallies.get(scenario.name) ?? NOT_RUN, run, runSeed, scenario.name));
      forgetLines();
      held.push(heldNow());
      const problems = problemsOf(run);
      const verdict = problems.length === 0 ? 'kept' : `BROKEN: ${problems.join('; ')}`;
      const busy = run.busy === undefined ? '' : `, ${run.busy}`;
      report(
        `${inOneLine(scenario, run.measured, 'full')} (${run.seconds.toFixed(1)} s, seed ${runSeed}${busy}) ${verdict}`,
      );
    }
  } while (!isOver());
  return { tallies, held };
}

/** Fisher–Yates shuffle. */
function shuffled<T>(values: readonly T[], random: () => number): readonly T[] {
  const rest = [...values];
  return values.map(() => {
    const [drawn] = rest.splice(Math.trunc(random() * rest.length), 1) as [T];
    return drawn;
  });
}
