import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { OUTAGE_FIGURES } from '../report/call-figures.js';
import { callScenario } from './call-scenario.js';

// Avoids three outages within a minute, because our client would treat the server as flapping and behave differently.
const RESTART_INTERVAL_SECONDS = 30;

/**
 * A rolling deploy: the server finishes its calls and exits, and a new one listens within a second. This happens once for each full 30 s of
 * the run, and at least once.
 */
export const drain = callScenario({
  proxied: false,
  minSeconds: 3,
  setup: OUTAGE_SETUP,
  figures: OUTAGE_FIGURES,
  async perform({ comparison, upstream, seconds, rate, report }) {
    const restarts = Math.max(1, Math.floor(seconds / RESTART_INTERVAL_SECONDS));
    const intervalMs = (seconds * 1_000) / restarts;
    comparison.load.start(rate);
    for (let count = 0; count < restarts; count++) {
      const next = delay(intervalMs);
      await delay(intervalMs / 2);
      report('server receives SIGTERM');
      await upstream.restartGracefully();
      report('new server listens');
      await next;
    }
  },
});
