import { setTimeout as delay } from 'node:timers/promises';
import { UpstreamGroup } from '../chaos/upstream-group.js';
import { ROUND_ROBIN_SETUP } from '../contenders/contender-setup.js';
import { compareCalls, type Scenario, type ScenarioRun } from './scenario.js';

const ROUNDS = 2;
/** Durations of reads and writes, long enough that calls are always in flight. */
const WORK = { readMs: 50, writeMs: 200 };
/** Minimum time for clients to reconnect before the other server is restarted. */
const PAUSE_MS = 1_500;

/**
 * A rolling deploy of two servers, twice. Each server in turn receives SIGTERM. After it exits, a new process listens on the same port.
 * All contenders use `round_robin` to call both servers. No contender is notified in advance.
 */
export const rolling: Scenario = {
  minSeconds: 6,
  defaultSeconds: 12,
  run: (run) =>
    compareCalls(
      ROUND_ROBIN_SETUP,
      () => UpstreamGroup.start(2),
      run,
      async ({ upstream: pair, comparison, seconds, rate, logger, report }) => {
        pair.lines$.subscribe(({ level, context, message }) => {
          if (level === 'warn' || level === 'error') logger[level](message, context);
          else logger.log(message, context);
        });
        await Promise.all(pair.upstreams.map((upstream) => upstream.workAs(WORK)));
        comparison.load.start(rate);
        await restartInTurn(pair, seconds, report);
      },
    ),
};

/** Restarts the servers in turn, each twice. */
async function restartInTurn(pair: UpstreamGroup, seconds: number, report: ScenarioRun['report']): Promise<void> {
  const { upstreams } = pair;
  const intervalMs = (seconds * 1_000) / (ROUNDS * upstreams.length + 0.5);
  await delay(intervalMs / 2);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, upstream] of upstreams.entries()) {
      const next = delay(intervalMs);
      report(`server ${index + 1} receives SIGTERM`);
      const tookMs = Math.round((await upstream.restartGracefully(0)) ?? NaN);
      await upstream.workAs(WORK);
      report(`server ${index + 1} exited after ${tookMs} ms; a new one listens`);
      await Promise.all([next, delay(PAUSE_MS)]);
    }
  }
}
