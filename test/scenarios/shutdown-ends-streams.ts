import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { NEVER, startWith, type Observable } from 'rxjs';
import { NestServer } from '../server/support/nest-server.js';
import { startOrdersApp } from '../support/orders-app.js';
import { Feed } from './support/feed.js';
import { againstEach } from './support/kinds.js';
import { startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** Number of streams of each kind. */
const STREAMS = 50;
const DRAIN_MS = 1_500;

/**
 * A server of this library gets SIGTERM while feeds, plain streams, sessions, and an unread stream are open; feeds resume on another
 * server.
 */
export const shutdownEndsStreams: Scenario = {
  name: 'shutdown-ends-streams',
  promise:
    "On SIGTERM, this library's server ends every stream with UNAVAILABLE, and its process exits within the drain timeout (here 1.5 s) plus 0.5 s, even if clients do not read. Feeds resume on another server.",
  bounds: {
    'time until the process exits, ms': { atMost: DRAIN_MS + 500, timed: true },
    'streams not ended': { atMost: 0 },
    'streams ended with another status': { atMost: 0 },
    'feeds not resumed': { atMost: 0 },
    'feeds with events lost or repeated': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => terminate(run, kind)),
};

async function terminate(run: Run, kind: UpstreamKind): Promise<Measured> {
  const server = await NestServer.start({ drain: { timeoutMs: DRAIN_MS } }, kind.security === 'TLS' ? ['--tls'] : []);
  run.onEnd(() => server.close());
  const other = await startUpstream(run, kind);
  // The second address is unreachable at first, because a client that connects slowly to the first address would use the second one.
  const wayToOther = run.closeAtEnd(await FaultProxy.start(other.url));
  wayToOther.refuse();
  const settings = { url: `ipv4:${server.url},${wayToOther.url}`, ...other.settings, outageGraceMs: 60_000 };
  const app = run.closeAtEnd(await startOrdersApp(settings, { drain: { timeoutMs: 200 } }));
  const { client, orders } = app;

  const ends: unknown[] = [];
  const begun = { count: 0 };
  const plain: readonly Observable<unknown>[] = [
    ...Array.from({ length: STREAMS }, () => orders.watch({ from: '0' })),
    ...Array.from({ length: STREAMS }, () =>
      orders.session(NEVER.pipe(startWith({ messageId: '1', order: undefined }))),
    ),
  ];
  for (const stream of plain) {
    const next = () => (begun.count += 1);
    stream.subscribe({ next, error: (error: unknown) => ends.push(error), complete: () => ends.push('completed') });
  }
  const feeds = Array.from({ length: STREAMS }, () => Feed.follow(run, app));
  // Only one message of this stream is read, so that the buffers of the connection fill up.
  const stuck = orders.watch({ from: '1' })[Symbol.asyncIterator]();
  await stuck.next();
  await reach(() => begun.count === plain.length && feeds.every(({ events }) => events === 1));
  await wayToOther.forward();

  const signaledAt = performance.now();
  server.signal();
  await reach(() => server.exited().then(() => true));
  const exitMs = performance.now() - signaledAt;
  await reach(() => ends.length === plain.length).catch(() => undefined);
  await reach(() => feeds.every(({ events }) => events > 3)).catch(() => undefined);
  const codes = ends.map((end) => (end as GrpcCallError).codeName);
  return {
    streams: plain.length,
    'time until the process exits, ms': exitMs,
    'streams not ended': plain.length - ends.length,
    'streams ended with another status': codes.filter((name) => name !== 'UNAVAILABLE').length,
    'feeds not resumed': feeds.filter(({ events, end }) => events <= 3 || end !== undefined).length,
    'feeds with events lost or repeated': feeds.filter(({ lost, repeated }) => lost + repeated > 0).length,
    'calls still active': client.snapshot().active,
  };
}
