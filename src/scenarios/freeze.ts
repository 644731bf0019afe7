import { setTimeout as delay } from 'node:timers/promises';
import { OUTAGE_SETUP } from '../contenders/contender-setup.js';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

const WELL_MS = 1_000;
const FROZEN_MS = 5_000;
// Each call that reaches its deadline is a reset stream, and a server of Node ends a connection itself on which more than about 1000
// of them come at once (nghttp2's guard against rapid resets). 200 calls a second would come close to that.
const RATE_SHARE = 0.5;

/**
 * The server stops in the middle of its work and goes on after 5 s, as a machine does that swaps or is moved: connections stay, and a
 * client that replaced them would make it worse for a server that comes back to a crowd.
 */
export const freeze = callScenario({
  proxied: false,
  leastSeconds: 8,
  setup: { ...OUTAGE_SETUP, callTimeoutMs: 1_000 },
  followed: true,
  figures: [
    'failedReads',
    'failedWrites',
    'duplicatedWrites',
    'recovery',
    'allWell',
    'connectionsReplaced',
    'lostEvents',
    'longestGap',
  ],
  async perform({ contest, upstream, seconds, rate, say }) {
    contest.load.start({ reads: rate.reads * RATE_SHARE, writes: rate.writes * RATE_SHARE });
    await delay(WELL_MS);
    upstream.freeze();
    say('server frozen');
    await delay(FROZEN_MS);
    await upstream.listen();
    contest.serverReachable(epochMs());
    say('server goes on');
    await delay(seconds * 1_000 - FROZEN_MS - WELL_MS);
  },
});
