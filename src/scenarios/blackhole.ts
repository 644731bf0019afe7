import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

const HEALTHY_MS = 1_000;
/** Time in which clients process the responses that they have already received. */
const IN_FLIGHT_MS = 100;

/**
 * All open connections become black holes, as behind a firewall that has dropped their state: no byte passes, and neither side receives a
 * FIN or RST. New connections work, so the server counts as reachable from the start of the fault.
 */
export const blackhole = callScenario({
  proxied: true,
  // Long enough for our client to replace its connection. If the connection stays silent for 5 to 10 s after the first timeout of a call,
  // the client probes it. If no byte arrives, the client opens a new connection before it closes the old one.
  minSeconds: 20,
  defaultSeconds: 25,
  setup: { ...OUTAGE_SETUP, callTimeoutMs: 1_000 },
  figures: ['failedReads', 'failedWrites', 'duplicatedWrites', 'recovery', 'lastFailure', 'connectionsReplaced'],
  async perform({ comparison, proxy, seconds, rate, report }) {
    comparison.load.start(rate);
    await delay(HEALTHY_MS);
    proxy.holdBytes();
    const heldAtMs = epochMs();
    report('open connections are black holes; new connections work');
    await delay(IN_FLIGHT_MS);
    comparison.serverReachable(heldAtMs);
    await delay(seconds * 1_000 - HEALTHY_MS - IN_FLIGHT_MS);
  },
});
