import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

const WELL_MS = 2_000;

/**
 * The connections that are there lead nowhere from one moment on, as behind a firewall that has forgotten them: no byte passes, and
 * neither side hears of an end. New connections would work at once, so from that moment on the server can be reached.
 */
export const blackhole = callScenario({
  proxied: true,
  // Silence of 5 to 10 s is suspect, and then something else has to be tried first.
  leastSeconds: 15,
  defaultSeconds: 25,
  setup: { ...OUTAGE_SETUP, callTimeoutMs: 1_000 },
  figures: ['failedReads', 'failedWrites', 'duplicatedWrites', 'recovery', 'allWell', 'connectionsReplaced'],
  async perform({ contest, proxy, seconds, rate, say }) {
    contest.load.start(rate);
    await delay(WELL_MS);
    proxy.holdBytes();
    contest.serverReachable(epochMs());
    say('connections lead nowhere; new ones would work');
    await delay(seconds * 1_000 - WELL_MS);
  },
});
