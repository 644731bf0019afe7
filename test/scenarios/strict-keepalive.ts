import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { OrdersApp } from '../support/orders-app.js';
import { isInstalled } from '../support/programs.js';
import { Feed } from './support/feed.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { startHttp2Proxy } from './support/http2-proxy.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** Keepalive interval of the client in milliseconds: the minimum that `keepaliveTimeMs` accepts. */
const KEEPALIVE_TIME_MS = 10_000;
const REJECTIONS = 2;
const PER_SECOND = 40;

/** Servers that reject the keepalive pings of their clients and close the connection immediately (too_many_pings). */
export const strictKeepalive: Scenario = {
  name: 'strict-keepalive',
  promise:
    'Each time a server rejects keepalive pings as too frequent, the client halves their rate. No read fails, and only writes on the wire fail.',
  bounds: {
    'final ping interval compared with the first, times': { atLeast: 2 ** REJECTIONS, atMost: 2 ** REJECTIONS },
    // At most one ping per interval of 10, 20, and 40 s.
    pings: { atMost: REJECTIONS + 1 },
    'reductions of the ping rate after the last rejection': { atMost: 0 },
    // The number of reductions depends on the server: two for the proxy, and one for a grpcio server that accepts pings sent every 20 s.
    'connections lost per reduction of the ping rate': { atLeast: 1, atMost: 1 },
    'reads failed': { atMost: 0 },
    'failed writes that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
  },
  measure: async (run) => {
    // Suppresses the line that grpc-js writes to stderr for each too_many_pings.
    setLogVerbosity(logVerbosity.NONE);
    run.onEnd(() => {
      setLogVerbosity(logVerbosity.ERROR);
    });
    const [measured, own] = await Promise.all([
      againstEach(run, (kind) => rejectPings(run, kind)),
      run.length === 'full' && isInstalled('grpcio') ? measureGrpcioLimit(run) : {},
    ]);
    return { ...measured, ...own };
  },
};

/**
 * Measures a client whose proxy sends too_many_pings. In a full run, the proxy sends it for each ping. In a short run, which ends before
 * the first ping, the proxy sends it without one.
 */
async function rejectPings(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 20 });
  const proxy = await startHttp2Proxy(run, upstream);
  const app = await startClientOf(run, upstream, {
    url: proxy.url,
    keepalive: { keepaliveTimeMs: KEEPALIVE_TIME_MS },
    ...outageGrace(run),
  });
  const throttled = intervalsOf(app);
  const [gets, creates] = [reads(run, app, PER_SECOND), writes(run, app, PER_SECOND)];
  const answers = () => gets.succeeded.length + creates.succeeded.length;
  if (run.length === 'full') proxy.tooManyPingsAfter(0);
  for (let rejection = 1; rejection <= REJECTIONS; rejection++) {
    const before = answers();
    await reach(() => answers() > before + PER_SECOND);
    if (run.length === 'short') proxy.goaway({ code: 'ENHANCE_YOUR_CALM', debugData: 'too_many_pings' });
    await reach(() => throttled.length === rejection, { timeoutMs: 60_000 + KEEPALIVE_TIME_MS * 2 ** rejection });
  }
  proxy.tooManyPingsAfter(undefined);
  const before = answers();
  await reach(() => answers() > before + PER_SECOND);
  // Waits for the end of the next interval.
  if (run.length === 'full') await pass(run, KEEPALIVE_TIME_MS * 2 ** REJECTIONS);
  await Promise.all([stop(gets), stop(creates)]);
  const otherFailures = creates.failed.filter(({ error }) => (error as GrpcCallError).reason !== 'connection-lost');
  return {
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'failed writes that were not on the wire': otherFailures.length,
    'writes sent twice': upstream.duplicates('Create'),
    'final ping interval compared with the first, times': (throttled.at(-1) ?? KEEPALIVE_TIME_MS) / KEEPALIVE_TIME_MS,
    pings: proxy.counters.pings,
    'reductions of the ping rate after the last rejection': throttled.length - REJECTIONS,
    'connections lost per reduction of the ping rate': (proxy.counters.accepted - 1) / throttled.length,
  };
}

/**
 * Uses a grpcio server with a minimum ping interval of 15 s, which rejects pings sent every 10 s and accepts pings sent every 20 s.
 * grpcio resets its count of ping strikes when it sends data, so the feed sends no events.
 */
async function measureGrpcioLimit(run: Run): Promise<Measured> {
  const serverOptions = { 'grpc.http2.min_ping_interval_without_data_ms': 15_000, 'grpc.http2.max_ping_strikes': 1 };
  const upstream = await startUpstream(
    run,
    { implementation: 'grpcio', security: 'plain' },
    { serverOptions, eventsEveryMs: 3_600_000 },
  );
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url, keepalive: { keepaliveTimeMs: KEEPALIVE_TIME_MS } });
  const throttled = intervalsOf(app);
  const feed = Feed.follow(run, app);
  await reach(() => throttled.length === 1, { timeoutMs: 60_000 + 5 * KEEPALIVE_TIME_MS });
  // Waits for three more intervals, in which grpcio must reject no ping.
  await pass(run, 6 * KEEPALIVE_TIME_MS + 5_000);
  return {
    'accepted interval, times @own limit, grpcio': (throttled.at(-1) ?? KEEPALIVE_TIME_MS) / KEEPALIVE_TIME_MS,
    'reductions of the ping rate after the last rejection @own limit, grpcio': feed.end ?? throttled.length - 1,
    'connections lost per reduction of the ping rate @own limit, grpcio':
      (proxy.counters.accepted - 1) / throttled.length,
  };
}

/** The keepalive interval after each increase, in milliseconds. */
function intervalsOf({ client }: OrdersApp): readonly number[] {
  const intervals: number[] = [];
  client.events$.subscribe((event) => {
    if (event.type === 'keepalive-throttled') intervals.push(event.keepaliveTimeMs);
  });
  return intervals;
}
