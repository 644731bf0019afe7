import { setTimeout as delay } from 'node:timers/promises';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { STREAM_CONTENDERS } from '../contenders/contenders.module.js';
import type { StreamContender } from '../contenders/stream-contenders.js';
import { epochMs } from '../epoch.js';
import { StreamComparison } from '../load/stream-comparison.js';
import { FEED_FIGURES } from '../report/figures.js';
import { inArena, outcomeOf, SETTLE_MS, type Scenario } from './scenario.js';

/** Orders per second that the upstream itself appends to the log. */
const ORDERS_PER_SECOND = 300;
const CONNECTION_AGE_MS = 2_000;
const KILL_INTERVAL_MS = 3_000;
const DOWN_MS = 400;
const FROZEN_MS = 700;

/**
 * Each contender follows the log with a reader that pauses occasionally. Meanwhile, streams end because connections reach their maximum
 * age, and because the server is killed every 3 s, alternately after a graceful restart and after a freeze. At the end, the results are
 * compared with the log on disk.
 */
export const feed: Scenario = {
  minSeconds: 7,
  defaultSeconds: 15,
  run: (run) =>
    inArena(
      OUTAGE_SETUP,
      () => UpstreamProcess.start({ connectionAgeMs: CONNECTION_AGE_MS }),
      run,
      async ({ upstream, app, onEnd }) => {
        const contenders = app.get<readonly StreamContender[]>(STREAM_CONTENDERS);
        const comparison = new StreamComparison(contenders, upstream.logPath, run.report);
        onEnd(() => comparison.close());
        upstream.produce(ORDERS_PER_SECOND);
        await causeFaults(upstream, run);
        upstream.produce(0);
        await comparison.finish(SETTLE_MS);
        return outcomeOf(comparison.results(), { figures: FEED_FIGURES, tunedTitle: '+ cursor, keepalive' });
      },
    ),
};

async function causeFaults(
  upstream: UpstreamProcess,
  { seconds, report }: { readonly seconds: number; readonly report: (text: string) => void },
): Promise<void> {
  const startedAtMs = epochMs();
  const waitUntil = (elapsedMs: number): Promise<void> => delay(Math.max(0, startedAtMs + elapsedMs - epochMs()));
  let killAtMs = KILL_INTERVAL_MS;
  for (let count = 0; killAtMs <= seconds * 1_000 - KILL_INTERVAL_MS; count++, killAtMs += KILL_INTERVAL_MS) {
    await waitUntil(killAtMs - KILL_INTERVAL_MS / 2);
    if (count % 2 === 0) {
      report('server receives SIGTERM; a new one replaces it');
      await upstream.restartGracefully();
    } else {
      report(`server frozen for ${FROZEN_MS} ms`);
      upstream.freeze();
      await delay(FROZEN_MS);
      await upstream.listen();
    }
    await Promise.all([waitUntil(killAtMs), upstream.prepareNext()]);
    report('server killed');
    await upstream.kill();
    await delay(DOWN_MS);
    await upstream.listen();
  }
  await waitUntil(seconds * 1_000);
}
