import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { PATIENCE } from '../patience.js';
import { OUTAGE_FIGURES } from '../report/call-figures.js';
import { callScenario } from './call-scenario.js';

const IDLE_MS = 300;
const IDLE_PERIOD_MS = 1_000;
/** Maximum wait for the calls before an idle period. */
const SETTLE_MS = 10_000 * PATIENCE;
/** Number of reads before each idle period. */
const READS = 4;
const WRITES = 1;

/**
 * Clients make few calls through a proxy that closes idle connections long before the next call, alternately by FIN and by RST. No call
 * is in flight when a connection is closed.
 */
export const idleCut = callScenario({
  proxied: true,
  minSeconds: 2,
  setup: OUTAGE_SETUP,
  figures: OUTAGE_FIGURES,
  async perform({ comparison, proxy, seconds, report }) {
    for (let count = 0; count < Math.floor(seconds / (IDLE_PERIOD_MS / 1_000)); count++) {
      const how = count % 2 === 0 ? 'fin' : 'rst';
      comparison.serverReachable(epochMs());
      for (let read = 0; read < READS; read++) comparison.load.callEach('read');
      for (let write = 0; write < WRITES; write++) comparison.load.callEach('write');
      report(`a few calls, then idle; the proxy closes connections by ${how.toUpperCase()}`);
      // The proxy closes idle connections only while no call is in flight, because a response can take longer than IDLE_MS on a busy
      // machine.
      await comparison.load.settled(SETTLE_MS);
      proxy.cutIdleAfter(IDLE_MS, how);
      await delay(IDLE_PERIOD_MS);
      proxy.cutIdleAfter(undefined);
    }
  },
});
