import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { OUTAGE_FIGURES } from '../report/call-figures.js';
import { callScenario } from './call-scenario.js';

const RESET_INTERVAL_MS = 1_000;

/** All connections are reset every second under load, as when a firewall or proxy reloads. The server keeps running. */
export const reset = callScenario({
  proxied: true,
  minSeconds: 3,
  setup: OUTAGE_SETUP,
  figures: OUTAGE_FIGURES,
  async perform({ comparison, proxy, seconds, rate, report }) {
    comparison.load.start(rate);
    for (let leftMs = seconds * 1_000; leftMs >= 2 * RESET_INTERVAL_MS; leftMs -= RESET_INTERVAL_MS) {
      await delay(RESET_INTERVAL_MS);
      comparison.connectionsLost(epochMs());
      proxy.resetAll();
      comparison.serverReachable(epochMs());
      report('connections reset');
    }
    await delay(RESET_INTERVAL_MS);
  },
});
