import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { otherThanSlow, slowConnections } from '../support/orders-app.js';
import { Feed } from './support/feed.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { ArrivedWhat } from './support/upstream.js';

const PER_SECOND = 50;
/** Delay of each unary response. Longer than a server takes to send GOAWAY, so that calls are always in flight when it sends GOAWAY. */
const DELAY_MS = 100;
const GOAWAYS = { short: 3, full: 20 };
/**
 * Grace period of the maximum connection age. It is long if only counts are judged, because calls on a busy machine outlast a short grace
 * period. Otherwise, it is short, because the feed of grpcio resumes on another connection only at the end of the grace period.
 */
const AGE_GRACE_MS = { counts: 60_000, all: 1_000 };

/** A server sends GOAWAY to its client while reads, writes, and a feed are open. */
export const serverDrains: Scenario = {
  name: 'server-drains',
  promise:
    'No call fails or is sent twice, and a resumed feed misses no event, if a grpc-js server drains, or a connection to a grpcio server reaches its maximum age. Calls in flight finish, and later calls use another connection.',
  bounds: {
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'reads sent twice': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'events missed or repeated': { atMost: 0 },
    'connections that carried calls': { atLeast: GOAWAYS.short + 1 },
    'log lines above debug': { atMost: 0 },
    'log lines about slow connections': { atMost: 0, timed: true },
  },
  measure: (run) => againstEach(run, (kind) => drains(run, kind)),
};

async function drains(run: Run, kind: UpstreamKind): Promise<Measured> {
  // grpcio sends CANCELLED for calls that arrive between its SIGTERM and its GOAWAY, although no handler ran. The client cannot distinguish
  // this status from one that a handler sent, so it does not resend a write. Therefore, grpcio servers drain at the maximum connection age
  // instead, because grpcio then sends GOAWAY before it ends any call.
  const byAge = kind.implementation === 'grpcio';
  const age = { 'grpc.max_connection_age_ms': 1_000, 'grpc.max_connection_age_grace_ms': AGE_GRACE_MS[run.which] };
  const server = () => startUpstream(run, kind, { delayMs: DELAY_MS, serverOptions: byAge ? age : {} });
  const first = await server();
  // The successor starts while the old server is still serving.
  const successor = () => {
    const started = server();
    // Prevents an unhandled rejection if the run fails before the upstream is awaited.
    started.catch(() => undefined);
    return started;
  };
  let coming = byAge ? undefined : successor();
  const servers = [first];
  // The balancer has one address; a new server replaces the old one behind it.
  const balancer = run.closeAtEnd(await FaultProxy.start(first.url));
  const app = await startClientOf(run, first, { url: balancer.url });
  const [gets, creates] = [reads(run, app, PER_SECOND), writes(run, app, PER_SECOND)];
  const feed = Feed.follow(run, app, 'resume');
  const arrived = (...what: readonly ArrivedWhat[]) => servers.flatMap((one) => one.arrived(...what));
  const connections = () => new Set(arrived('Get', 'Create').map(({ peer }) => peer)).size;
  const sentTwice = (what: ArrivedWhat) => arrived(what).length - new Set(arrived(what).map(({ key }) => key)).size;
  await reach(() => creates.succeeded.length > PER_SECOND / 2);
  for (let goaways = 1; goaways <= GOAWAYS[run.length]; goaways++) {
    if (coming !== undefined) {
      const [old, next] = [servers.at(-1), await coming];
      coming = goaways < GOAWAYS[run.length] ? successor() : undefined;
      servers.push(next);
      balancer.retarget(next.url);
      await old?.terminate();
    }
    await reach(() => connections() > goaways, {
      intervalMs: 50,
      describe: () =>
        `more than ${goaways} connections to ${kind.implementation}; ${gets.open.length} reads and ${creates.open.length} writes are open, and ${feed.events} events have arrived`,
    });
  }
  await Promise.all([stop(gets), stop(creates)]);
  return {
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'reads sent twice': sentTwice('Get'),
    'writes sent twice': sentTwice('Create'),
    'connections that carried calls': connections(),
    events: feed.events,
    'events missed or repeated': feed.lost + feed.repeated + Number(feed.end !== undefined),
    'log lines above debug': otherThanSlow(app).length,
    ...(otherThanSlow(app)[0] && { 'first line': otherThanSlow(app)[0] }),
    'log lines about slow connections': slowConnections(app).length,
  };
}
