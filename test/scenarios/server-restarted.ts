import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { failedWrites, lostConnections } from './support/lost-writes.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const PER_SECOND = { counts: 50, all: 75 };
const DOWN_MS = { short: 1_500, full: 3_000 };
/** Number of restarts; at most two, because three or more outages within a minute share one grace period (policy/outage). */
const RESTARTS = { short: 1, full: 2 };

/** The only server of a client is killed and restarted while the client makes reads and writes. */
export const serverRestarted: Scenario = {
  name: 'server-restarted',
  promise:
    'If the only server is killed and restarted, no read fails, only writes on the wire fail, and no write is sent twice.',
  bounds: {
    'reads failed': { atMost: 0 },
    'failed writes that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'writes acknowledged and lost': { atMost: 0 },
    'calls that waited': { atLeast: 50 },
    // Without this library, grpc-js reconnects after 1.2 to 1.8 s.
    'longest time from restart until the first response, ms': { atMost: 1_000, timed: true },
    'median time from restart until the first response, ms': { atMost: 500, timed: true },
    'time from restart until the last response to a waiting call, ms': { atMost: 5_000, timed: true },
  },
  measure: async (run) => {
    const firstResponsesMs: number[] = [];
    const measured = await againstEach(run, (kind) => restarts(run, kind, firstResponsesMs));
    firstResponsesMs.sort((a, b) => a - b);
    const [low = NaN, high = NaN] = [
      firstResponsesMs.at((firstResponsesMs.length - 1) / 2),
      firstResponsesMs.at(firstResponsesMs.length / 2),
    ];
    return { ...measured, 'median time from restart until the first response, ms': (low + high) / 2 };
  },
};

/** Adds one value per restart to `firstResponsesMs`: the time from when the server starts to listen until its first response. */
async function restarts(run: Run, kind: UpstreamKind, firstResponsesMs: number[]): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 40 });
  const app = await startClientOf(run, upstream, outageGrace(run));
  const lostAt = lostConnections(app);
  const perSecond = PER_SECOND[run.which];
  const [gets, creates] = [reads(run, app, perSecond), writes(run, app, perSecond)];
  const calls = () => [...gets.calls, ...creates.calls];
  const answered = (since: number) =>
    calls().filter(({ endedAt = 0, error }) => endedAt >= since && error === undefined);
  const listened: number[] = [];
  for (let restart = 0; restart < RESTARTS[run.length]; restart++) {
    // The connection is over 1 s old and carries responses, so its end counts as a lost connection, not a failed connection attempt.
    await reach(() => Date.now() - app.client.connectivity.since.getTime() > 1_100);
    const began = Date.now();
    await reach(() => answered(began).length > 20);
    const listensAt = await upstream.restartAfter(DOWN_MS[run.length]);
    listened.push(listensAt);
    await reach(() => calls().every(({ startedAt, endedAt }) => endedAt !== undefined || startedAt > listensAt + 100));
  }
  await Promise.all([stop(gets), stop(creates)]);
  const arrived = new Set(upstream.arrived('Create').map(({ key }) => key));
  const waited = listened.flatMap((at) =>
    calls().flatMap(({ startedAt, endedAt = 0 }) => (startedAt < at && endedAt >= at ? [endedAt - at] : [])),
  );
  const own = listened.map((at) => Math.min(...answered(at).map(({ endedAt = 0 }) => endedAt - at)));
  firstResponsesMs.push(...own);
  return {
    ...figuresOf(gets, 'reads'),
    ...failedWrites(creates, lostAt),
    'writes sent twice': upstream.duplicates('Create'),
    'writes acknowledged and lost': creates.succeeded.filter(({ number }) => !arrived.has(String(number))).length,
    'calls that waited': waited.length,
    'longest time from restart until the first response, ms': Math.max(...own),
    'time from restart until the last response to a waiting call, ms': Math.max(...waited),
  };
}
