import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { compareCalls, oneUpstream, type Scenario } from './scenario.js';

const DOWN_MS = 3_000;
// Avoids three outages within a minute, because our client would treat the server as flapping and behave differently.
const RESTART_INTERVAL_SECONDS = 30;

/**
 * The only server is killed under load and listens again after 3 s. This happens once for each full 30 s of the run, and at least once.
 */
export const restart: Scenario = {
  minSeconds: 6,
  defaultSeconds: 10,
  run: (run) =>
    compareCalls(OUTAGE_SETUP, oneUpstream, run, async ({ comparison, upstream, seconds, rate, report }) => {
      const restarts = Math.max(1, Math.floor(seconds / RESTART_INTERVAL_SECONDS));
      const upMs = (seconds * 1_000) / restarts - DOWN_MS;
      // Before the load, because a process that starts uses CPU time: calls then take longer, so more writes are in flight at the kill.
      await upstream.prepareNext();
      comparison.load.start(rate);
      for (let count = 0; count < restarts; count++) {
        await Promise.all([delay(upMs * 0.4), upstream.prepareNext()]);
        const downtime = delay(DOWN_MS);
        await upstream.kill();
        report('server killed');
        await downtime;
        await upstream.listen();
        report('server listens again');
        await delay(upMs * 0.6);
      }
    }),
};
