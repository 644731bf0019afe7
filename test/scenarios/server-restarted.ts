import { waitFor } from 'nestjs-resilient-grpc/testing';
import type { LoadCall } from '../support/call-load.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

const PER_SECOND = 150;
const DOWN_MS = 1_000;

/** C-core's word for a request that comes between its SIGTERM and its GOAWAY, and that its application never saw. */
const isTurnedAway = ({ error }: LoadCall) => (error as Error).message.startsWith('1 CANCELLED: CANCELLED');

/** The only server of a client is killed, and then restarted in order, under reads and writes. */
export const serverRestarted: Situation = {
  name: 'server-restarted',
  promise:
    'While the only server is restarted no safe call fails and no write is sent twice; a restart in order fails no call at all.',
  bounds: {
    'reads that failed': { atMost: 0 },
    'writes failed that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'writes acknowledged and lost': { atMost: 0 },
    'first answer after it listens, ms': { atMost: 500 },
    'answers after the last restart': { atLeast: 100 },
  },
  play: (run) => againstEach(run, (kind) => restarts(run, kind)),
};

async function restarts(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 40 });
  const app = await startClientOf(run, upstream);
  const lostAt: number[] = [];
  app.client.events$.subscribe((event) => {
    if (event.type === 'connectivity' && event.from === 'READY') lostAt.push(event.at);
  });
  const [gets, creates] = [reads(run, app, PER_SECOND), writes(run, app, PER_SECOND)];
  const answers = () => gets.succeeded.length + creates.succeeded.length;
  // A connection that lived for a second, and was used.
  await waitFor(() => answers() > 1.2 * 2 * PER_SECOND);
  const firstAnswers: number[] = [];
  const rounds = run.length === 'short' ? 1 : 5;
  for (let round = 0; round < rounds; round++) {
    for (const how of ['kill', 'terminate'] as const) {
      const listensAt = await upstream.restartAfter(DOWN_MS, how);
      const first = await waitFor(() =>
        [...gets.succeeded, ...creates.succeeded].find(({ endedAt = 0 }) => endedAt >= listensAt),
      );
      firstAnswers.push((first.endedAt ?? NaN) - listensAt);
      const before = answers();
      await waitFor(() => answers() > before + 2 * PER_SECOND * (DOWN_MS / 1_000 + 0.4), { timeoutMs: 10_000 });
    }
  }
  const before = answers();
  await waitFor(() => answers() >= before + 100);
  await Promise.all([gets.stop(), creates.stop()]);
  const wasOnTheWire = ({ startedAt, endedAt = 0 }: LoadCall) =>
    lostAt.some((at) => startedAt <= at && endedAt >= at - 20);
  const failedWrites = creates.failed.filter((call) => !isTurnedAway(call));
  const arrived = new Set(upstream.arrived('Create').map(({ key }) => key));
  return {
    ...figuresOf(gets, 'reads'),
    'reads that failed': gets.failed.filter((call) => !isTurnedAway(call)).length,
    'turned away by the server': [...gets.failed, ...creates.failed].filter(isTurnedAway).length,
    writes: creates.calls.length,
    'writes failed by a kill': failedWrites.filter(wasOnTheWire).length,
    'writes failed that were not on the wire': failedWrites.filter((call) => !wasOnTheWire(call)).length,
    'writes sent twice': upstream.duplicates('Create'),
    'writes acknowledged and lost': creates.succeeded.filter(({ number }) => !arrived.has(String(number))).length,
    'first answer after it listens, ms': Math.max(...firstAnswers),
    'answers after the last restart': answers() - before,
  };
}
