import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

const WELL_MS = 1_000;
/** Answers that had come before still count as such. */
const UNDER_WAY_MS = 100;

/**
 * The connections that are there lead nowhere from one moment on, as behind a firewall that has forgotten them: no byte passes, and
 * neither side hears of an end. New connections would work at once, so from that moment on the server can be reached.
 */
export const blackhole = callScenario({
  proxied: true,
  // Silence of 5 to 10 s is suspect; then that connection is asked, and another one made, before it is given up.
  leastSeconds: 20,
  defaultSeconds: 25,
  setup: { ...OUTAGE_SETUP, callTimeoutMs: 1_000 },
  figures: ['failedReads', 'failedWrites', 'duplicatedWrites', 'recovery', 'allWell', 'connectionsReplaced'],
  async perform({ contest, proxy, seconds, rate, say }) {
    contest.load.start(rate);
    await delay(WELL_MS);
    proxy.holdBytes();
    const heldAtMs = epochMs();
    say('connections lead nowhere; new ones would work');
    await delay(UNDER_WAY_MS);
    contest.serverReachable(heldAtMs);
    await delay(seconds * 1_000 - WELL_MS - UNDER_WAY_MS);
  },
});
