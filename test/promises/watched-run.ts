import { brokenOf, type Judgment } from '../scenarios/support/judge.js';
import { runScenario, type RunResult, type RunOptions } from '../scenarios/support/run-scenario.js';
import type { Scenario } from '../scenarios/support/scenario.js';
import { whyNotJudged, type Sentinel } from './sentinel.js';
import { verdictOf, type Verdict } from './verdict.js';

/**
 * Time limit that is longer than any run (a full run of quiet feeds takes 10 minutes). A run that exceeds this limit counts as hung and is
 * aborted.
 */
const RUN_LIMIT_MS = 15 * 60_000;

/** A figure with its bound and its verdict: a row of the table. */
export interface Judged extends Judgment {
  readonly verdict: Verdict;
}

/** Judgments and errors of a run, and the load of a busy machine. */
export interface JudgedRun {
  readonly rows: readonly Judged[];
  /** Errors; each counts as broken. */
  readonly errors: readonly string[];
  readonly seconds: number;
  /** The reason why timed bounds that do not hold are not judged; `undefined` on a quiet machine. */
  readonly busy: string | undefined;
}

export interface WatchedRun extends JudgedRun {
  readonly measured: RunResult['measured'];
}

/** Returns `judgments` with verdicts that account for the load of the machine between `from` and `until`. */
export async function judgeBetween(
  sentinel: Sentinel,
  from: number,
  until: number,
  judgments: readonly Judgment[],
): Promise<Pick<JudgedRun, 'rows' | 'busy'>> {
  const busy = whyNotJudged(await sentinel.loadBetween(from, until));
  const rows = judgments.map((judgment) => ({ ...judgment, verdict: verdictOf(judgment, busy !== undefined) }));
  return { rows, busy };
}

/**
 * Runs `scenario` once while `sentinel` measures the load of the machine. Errors of the run, including unhandled rejections, are in the
 * result; they do not reject the promise.
 */
export async function runWatched(
  scenario: Scenario,
  { signal, ...options }: RunOptions,
  sentinel: Sentinel,
): Promise<WatchedRun> {
  const from = Date.now();
  // A separate signal per run, so that listeners do not accumulate on `signal`.
  const ending = new AbortController();
  const end = () => {
    ending.abort(signal?.reason);
  };
  signal?.addEventListener('abort', end, { once: true });
  const limit = setTimeout(() => {
    ending.abort(new Error(`the run did not end within ${RUN_LIMIT_MS / 60_000} minutes`));
  }, RUN_LIMIT_MS);
  const errors: string[] = [];
  const onRejection = (error: unknown) => void errors.push(`unhandled rejection: ${String(error)}`);
  process.on('unhandledRejection', onRejection);
  let run: RunResult = { measured: {}, judgments: [], seconds: 0 };
  try {
    run = await runScenario(scenario, { ...options, signal: ending.signal });
  } catch (error) {
    errors.push(String(error));
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener('abort', end);
    process.off('unhandledRejection', onRejection);
  }
  const until = Date.now();
  const judged = await judgeBetween(sentinel, from, until, run.judgments);
  return { ...judged, measured: run.measured, errors, seconds: (until - from) / 1_000 };
}

/** Returns the errors, and one sentence for each bound whose verdict is 'broken'. */
export function problemsOf({ rows, errors }: JudgedRun): readonly string[] {
  return [...errors, ...brokenOf(rows.filter(({ verdict }) => verdict === 'broken'))];
}
