import { waitFor } from 'nestjs-resilient-grpc/testing';
import { resumable } from 'nestjs-resilient-grpc/operators';
import type { OrderEvent } from '../../src/gen/orders.pb.js';
import { aboveDebug } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

const PER_SECOND = 50;
/** Longer than it takes to say GOAWAY: there are always calls in the middle of it. */
const DELAY_MS = 100;
const GOAWAYS = { short: 3, full: 20 };

/** A server that tells its clients to go elsewhere (GOAWAY) under reads, writes and a feed. */
export const serverDrains: Situation = {
  name: 'server-drains',
  promise:
    'A server that drains costs nothing: calls in flight finish, the next ones go to its successor, none fails or is sent twice, and a resumed feed misses nothing.',
  bounds: {
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'reads sent twice': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'events missed or repeated': { atMost: 0 },
    'servers or connections': { atLeast: GOAWAYS.short + 1 },
  },
  play: (run) => againstEach(run, (kind) => drains(run, kind)),
};

async function drains(run: Run, kind: UpstreamKind): Promise<Measured> {
  // grpcio answers requests that come between its SIGTERM and its GOAWAY with CANCELLED; its connections' age is announced in order.
  const byAge = kind.implementation === 'grpcio';
  const age = { 'grpc.max_connection_age_ms': 1_000, 'grpc.max_connection_age_grace_ms': 1_000 };
  const upstream = await startUpstream(run, kind, { delayMs: DELAY_MS, serverOptions: byAge ? age : {} });
  const app = await startClientOf(run, upstream);
  const [gets, creates] = [reads(run, app, PER_SECOND), writes(run, app, PER_SECOND)];
  const events: number[] = [];
  const feed = resumable((from: number) => app.orders.watch({ from: String(from) }), {
    cursor: ({ sequence }: OrderEvent) => Number(sequence),
    seed: 0,
    onComplete: 'resume',
  }).subscribe(({ sequence }) => events.push(Number(sequence)));
  run.onEnd(() => {
    feed.unsubscribe();
  });
  const connections = () => new Set(upstream.arrived('Get', 'Create').map(({ peer }) => peer)).size;
  await waitFor(() => creates.succeeded.length > PER_SECOND);
  for (let goaways = 1; goaways <= GOAWAYS[run.length]; goaways++) {
    if (!byAge) await upstream.restartAfter(0, 'terminate');
    await waitFor(() => connections() > goaways, { timeoutMs: 10_000, intervalMs: 50 });
  }
  await Promise.all([gets.stop(), creates.stop()]);
  return {
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'reads sent twice': upstream.duplicates('Get'),
    'writes sent twice': upstream.duplicates('Create'),
    'servers or connections': connections(),
    events: events.length,
    'events missed or repeated': events.filter((sequence, index) => sequence !== index + 1).length,
    'lines above debug': aboveDebug(app).length,
  };
}
