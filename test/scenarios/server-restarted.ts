import { waitFor } from 'nestjs-resilient-grpc/testing';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, writes } from './support/load.js';
import { failedWrites, lostConnections } from './support/lost-writes.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

const PER_SECOND = 75;
const DOWN_MS = { short: 1_500, full: 3_000 };
/** From the third in a minute on they would share one grace, see policy/outage. */
const RESTARTS = { short: 1, full: 2 };

/** The only server of a client is killed under reads and writes, and comes back. */
export const serverRestarted: Situation = {
  name: 'server-restarted',
  promise:
    'When the only server is killed and comes back, no safe call fails, of the writes only those fail that were on the wire, and none is sent twice.',
  bounds: {
    'reads failed': { atMost: 0 },
    'writes failed that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'writes acknowledged and lost': { atMost: 0 },
    'calls that waited': { atLeast: 50 },
    // grpc-js alone is back after 1.2 to 1.8 s.
    'first answer after it listens, ms': { atMost: 1_000 },
    'median first answer, ms': { atMost: 500 },
    'last one that waited, ms': { atMost: 5_000 },
  },
  play: async (run) => {
    const firsts: number[] = [];
    const measured = await againstEach(run, (kind) => restarts(run, kind, firsts));
    firsts.sort((a, b) => a - b);
    const [low = NaN, high = NaN] = [firsts.at((firsts.length - 1) / 2), firsts.at(firsts.length / 2)];
    return { ...measured, 'median first answer, ms': (low + high) / 2 };
  },
};

/** Adds to `firsts` when the first answer came after each restart. */
async function restarts(run: Run, kind: UpstreamKind, firsts: number[]): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 40 });
  const app = await startClientOf(run, upstream);
  const lostAt = lostConnections(app);
  const [gets, creates] = [reads(run, app, PER_SECOND), writes(run, app, PER_SECOND)];
  const calls = () => [...gets.calls, ...creates.calls];
  const answered = (since: number) =>
    calls().filter(({ endedAt = 0, error }) => endedAt >= since && error === undefined);
  const listened: number[] = [];
  for (let restart = 0; restart < RESTARTS[run.length]; restart++) {
    // A connection that lived for a second, and was used.
    const began = Date.now();
    await waitFor(() => answered(began).length > 1.2 * 2 * PER_SECOND, { timeoutMs: 15_000 });
    const listensAt = await upstream.restartAfter(DOWN_MS[run.length]);
    listened.push(listensAt);
    await waitFor(
      () => calls().every(({ startedAt, endedAt }) => endedAt !== undefined || startedAt > listensAt + 100),
      {
        timeoutMs: 15_000,
      },
    );
  }
  await Promise.all([gets.stop(), creates.stop()]);
  const arrived = new Set(upstream.arrived('Create').map(({ key }) => key));
  const waited = listened.flatMap((at) =>
    calls().flatMap(({ startedAt, endedAt = 0 }) => (startedAt < at && endedAt >= at ? [endedAt - at] : [])),
  );
  const own = listened.map((at) => Math.min(...answered(at).map(({ endedAt = 0 }) => endedAt - at)));
  firsts.push(...own);
  return {
    ...figuresOf(gets, 'reads'),
    ...failedWrites(creates, lostAt),
    'writes sent twice': upstream.duplicates('Create'),
    'writes acknowledged and lost': creates.succeeded.filter(({ number }) => !arrived.has(String(number))).length,
    'calls that waited': waited.length,
    'first answer after it listens, ms': Math.max(...own),
    'last one that waited, ms': Math.max(...waited),
  };
}
