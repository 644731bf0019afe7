import { UpstreamProcess } from '../chaos/upstream-process.js';
import type { ContenderSetup } from '../contenders/contender-setup.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS, STREAM_CONTENDERS } from '../contenders/contenders.module.js';
import type { StreamContender } from '../contenders/stream-contender.js';
import { Comparison } from '../load/comparison.js';
import type { CallRate } from '../load/due-calls.js';
import { StreamComparison } from '../load/stream-comparison.js';
import { PATIENCE } from '../patience.js';
import { callFigures, callReport, type CallFigureName, type CallResult } from '../report/call-figures.js';
import { inArena } from './arena.js';
import { outcomeOf, type Outcome, type Scenario, type ScenarioRun } from './scenario.js';

const DEFAULT_SECONDS = 10;
/** Maximum time in milliseconds for open calls to finish after the end of the load. Calls that are open longer count as failed. */
const SETTLE_MS = 10_000 * PATIENCE;

/** The objects that a call scenario acts on. */
export interface Stage {
  readonly comparison: Comparison;
  readonly upstream: UpstreamProcess;
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  /** Prints a progress message. */
  readonly report: (text: string) => void;
}

/** Options of a call scenario. */
export interface CallTerms {
  readonly minSeconds: number;
  readonly defaultSeconds?: number;
  readonly setup: ContenderSetup;
  /** True if each contender also follows the log. */
  readonly followed?: boolean;
  /** The rows of the table. */
  readonly figures: readonly CallFigureName[];
  perform(stage: Stage): Promise<void>;
}

/** Creates a scenario in which all contenders get the same load. */
export function callScenario(terms: CallTerms): Scenario {
  const { minSeconds, defaultSeconds = DEFAULT_SECONDS } = terms;
  return { minSeconds, defaultSeconds, run: (run) => runCallScenario(terms, run) };
}

function runCallScenario(terms: CallTerms, run: ScenarioRun): Promise<Outcome> {
  const start = () => UpstreamProcess.start({ server: run.server });
  return inArena({ ...terms, start }, run, async ({ upstream, app, onEnd }) => {
    const comparison = new Comparison(app.get<readonly Contender[]>(CONTENDERS), upstream);
    onEnd(() => comparison.close());
    const followers = app.get<readonly StreamContender[]>(STREAM_CONTENDERS);
    const feeds = terms.followed
      ? new StreamComparison(followers, upstream, { pausing: false, report: run.report })
      : undefined;
    onEnd(() => feeds?.close());
    const { seconds, rate, report } = run;
    await terms.perform({ comparison, upstream, seconds, rate, report });
    await comparison.finish(SETTLE_MS);
    await feeds?.finish(SETTLE_MS);
    const feedResults = feeds?.results();
    const results = comparison
      .results()
      .map((result, index): CallResult => ({ ...result, feed: feedResults?.[index] }));
    return outcomeOf(results, {
      figures: callFigures(terms.figures),
      tunedTitle: terms.setup.tunedTitle,
      report: callReport,
    });
  });
}
