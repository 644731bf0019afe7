import { setTimeout as delay } from 'node:timers/promises';
import { UpstreamGroup } from '../chaos/upstream-group.js';
import { ROUND_ROBIN_SETUP } from '../contenders/contender-setup.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS, STREAM_CONTENDERS } from '../contenders/contenders.module.js';
import type { StreamContender } from '../contenders/stream-contender.js';
import { Comparison } from '../load/comparison.js';
import { StreamComparison } from '../load/stream-comparison.js';
import { PATIENCE } from '../patience.js';
import { callFigures, callReport, type CallResult } from '../report/call-figures.js';
import { inArena } from './arena.js';
import { outcomeOf, type Scenario, type ScenarioRun } from './scenario.js';

const ROUNDS = 2;
/** Number of feeds per contender. */
const FEEDS = 50;
/** Writes per second of each contender. Each write is an event for all feeds of all contenders. All other calls are reads. */
const WRITES_PER_SECOND = 4;
/** Durations of reads and writes, long enough that calls are always in flight. */
const WORK = { readMs: 50, writeMs: 200 };
/** Minimum time for clients to reconnect before the other server is restarted. */
const PAUSE_MS = 1_500;
const SETTLE_MS = 10_000 * PATIENCE;

/**
 * A rolling deploy of two servers, twice. Each server in turn receives SIGTERM. After it exits, a new process listens on the same port.
 * All contenders use `round_robin` to call both servers, and follow the shared log. No contender is notified in advance.
 */
export const rolling: Scenario = {
  minSeconds: 6,
  defaultSeconds: 12,
  run: (run) => {
    const start = () => UpstreamGroup.start(2, { server: run.server });
    return inArena({ setup: ROUND_ROBIN_SETUP, start }, run, async ({ upstream: pair, app, onEnd }) => {
      const { seconds, rate, logger, report } = run;
      pair.lines$.subscribe(({ level, context, message }) => {
        if (level === 'warn' || level === 'error') logger[level](message, context);
        else logger.log(message, context);
      });
      const calls = new Comparison(app.get<readonly Contender[]>(CONTENDERS), pair);
      onEnd(() => calls.close());
      const followers = app.get<readonly StreamContender[]>(STREAM_CONTENDERS);
      const feeds = new StreamComparison(followers, pair, { pausing: false, feeds: FEEDS, report });
      onEnd(() => feeds.close());

      await Promise.all(pair.upstreams.map((upstream) => upstream.workAs(WORK)));
      calls.load.start({ reads: rate.reads + rate.writes - WRITES_PER_SECOND, writes: WRITES_PER_SECOND });
      const exitMs = await restartInTurn(pair, seconds, report);
      await calls.finish(SETTLE_MS);
      await feeds.finish(SETTLE_MS);

      const feedResults = feeds.results();
      const results = calls.results().map((result, index): CallResult => ({ ...result, feed: feedResults[index] }));
      const outcome = outcomeOf(results, {
        figures: callFigures([
          'failedReads',
          'failedWrites',
          'duplicatedWrites',
          'longestWait',
          'lostStreams',
          'lostEvents',
          'repeatedEvents',
          'longestGap',
        ]),
        tunedTitle: ROUND_ROBIN_SETUP.tunedTitle,
        report: (result) => ({ ...rollingReport(result), restarts: exitMs.length }),
      });
      return { ...outcome, facts: { server: run.server, exitMs } };
    });
  },
};

/** Restarts the servers in turn, each twice. Resolves to the time that each old process took to exit, in milliseconds. */
async function restartInTurn(
  pair: UpstreamGroup,
  seconds: number,
  report: ScenarioRun['report'],
): Promise<readonly number[]> {
  const { upstreams } = pair;
  const exitMs: number[] = [];
  const intervalMs = (seconds * 1_000) / (ROUNDS * upstreams.length + 0.5);
  await delay(intervalMs / 2);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, upstream] of upstreams.entries()) {
      const next = delay(intervalMs);
      report(`server ${index + 1} receives SIGTERM`);
      const tookMs = Math.round((await upstream.restartGracefully(0)) ?? NaN);
      await upstream.workAs(WORK);
      exitMs.push(tookMs);
      report(`server ${index + 1} exited after ${tookMs} ms; a new one listens`);
      await Promise.all([next, delay(PAUSE_MS)]);
    }
  }
  return exitMs;
}

function rollingReport(result: CallResult) {
  const { failed, failedWrites, unsafeInFlightFailed, feed } = result;
  return {
    ...callReport(result),
    failedCalls: failed + unsafeInFlightFailed,
    failedWrites: failedWrites + unsafeInFlightFailed,
    streamsLost: feed?.streamsLost ?? 0,
  };
}
