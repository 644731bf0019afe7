import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { compareCalls, oneUpstream, type Scenario } from './scenario.js';

const HEALTHY_MS = 1_000;
const FROZEN_MS = 5_000;
// Share of the usual load in this scenario. Each call that exceeds its deadline resets its stream. The server receives all these resets at
// once when it continues. Node closes a server connection that receives more than about 1,000 resets at once (nghttp2's protection against
// rapid resets), and 200 calls per second for 5 s would come close to this limit.
const RATE_SHARE = 0.5;

/**
 * The server freezes and continues after 5 s, like a machine that swaps or migrates. Connections stay open. Clients that replaced these
 * connections would add load to the recovering server.
 */
export const freeze: Scenario = {
  minSeconds: 8,
  defaultSeconds: 10,
  run: (run) =>
    compareCalls(
      { ...OUTAGE_SETUP, callTimeoutMs: 1_000 },
      oneUpstream,
      run,
      async ({ comparison, upstream, seconds, rate, report }) => {
        comparison.load.start({ reads: rate.reads * RATE_SHARE, writes: rate.writes * RATE_SHARE });
        await delay(HEALTHY_MS);
        upstream.freeze();
        report('server frozen');
        await delay(FROZEN_MS);
        await upstream.listen();
        comparison.serverReachable(epochMs());
        report('server continues');
        await delay(seconds * 1_000 - FROZEN_MS - HEALTHY_MS);
      },
    ),
};
