import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { aboveDebug, startOrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';
import { againstEach } from './support/kinds.js';
import { load, reads, stop, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** Minimum of each backoff after a short-lived connection: 1, 1.6, 2.6, 4.1, and then 5 s, less 20% jitter. */
const MIN_BACKOFFS_MS = [800, 1_280, 2_048, 3_277, 4_000];
/** The client's outage grace period. */
const GRACE_MS = { counts: 1_500, all: 5_000 };
/** Minimum lifetime at which a connection ends an outage even without a response. */
const MIN_LIFETIME_MS = 1_000;
const MIN_CONNECTIONS = 4;
const MIN_RECOVERIES = 2;

/** One server closes each connection shortly after it opens, and another is unreachable from time to time. */
export const flappingServer: Scenario = {
  name: 'flapping-server',
  promise:
    "A server that closes each connection 5 ms after the client's SETTINGS gets at most 35 connections in a minute. After the grace period, the health of the client's channel stays down. This server, and a server that is unreachable from time to time, each cause at most four log lines in a minute.",
  bounds: {
    connections: { atLeast: MIN_CONNECTIONS },
    // The client makes one connection at first, or two if no call started on the first one. Then it makes one after each backoff.
    'connections before the backoff ended': { atMost: 0, timed: true },
    // Even if accepts are delayed, the average time between connections is no shorter than the shortest backoff.
    'connections in excess of one per 0.8 s': { atMost: 0 },
    'health states other than down after the grace period': { atMost: 0 },
    'log lines': { atLeast: 1, atMost: 4 },
    'server unreachable from time to time: recoveries': { atLeast: MIN_RECOVERIES },
    'server unreachable from time to time: log lines': { atLeast: 1, atMost: 4 },
  },
  fullBounds: { connections: { atLeast: 10, atMost: 35, timed: true } },
  async measure(run) {
    const lengthMs = run.length === 'short' ? 0 : 60_000;
    const [closing, returning] = await Promise.all([
      measureClosing(run, lengthMs),
      againstEach(run, (kind) => measureReturns(run, kind, lengthMs)),
    ]);
    return { ...closing, ...returning };
  },
};

/**
 * Repeats the run if the client measured a connection lifetime of at least a second, which happens if this process was suspended while a
 * connection was open. Such a lifetime ends the outage, and the next outage has its own grace period and log lines.
 */
async function measureClosing(run: Run, lengthMs: number): Promise<Measured> {
  for (;;) {
    const { measured, longestLifeMs } = await measureShortLivedConnections(run, lengthMs);
    if (longestLifeMs < MIN_LIFETIME_MS || run.signal.aborted) return measured;
    run.report(`repeated: a connection was open for ${Math.round(longestLifeMs)} ms`);
  }
}

async function measureShortLivedConnections(run: Run, lengthMs: number) {
  const peer = run.closeAtEnd(await shortLivedPeer(5));
  const app = run.closeAtEnd(await startOrdersApp({ url: peer.url, outageGraceMs: GRACE_MS[run.which] }));
  const { client, orders, health } = app;
  let longestLifeMs = 0;
  client.events$.subscribe((event) => {
    if (event.type === 'connection' && event.change === 'ended') longestLifeMs = Math.max(longestLifeMs, event.livedMs);
  });
  const order = { requestId: '1', item: 'tea', quantity: 1 };
  const calls = load(run, 50, (number) => (number % 2 === 0 ? orders.create(order) : orders.get({ id: '1' })));
  const { graceEndsAt } = await reach(() => client.connectivity.outage);
  await pass(run, graceEndsAt.getTime() + 20 - Date.now());
  const endsAt = (peer.acceptedAt[0] ?? NaN) + lengthMs;
  let other = 0;
  // Waits for at least one more connection after the grace period, because health must stay down even while the channel is READY.
  const enough = Math.max(MIN_CONNECTIONS, peer.acceptedAt.length + 1);
  while (!run.signal.aborted && (Date.now() < endsAt || peer.acceptedAt.length < enough)) {
    if ((await health.check(client.name))[client.name]?.status !== 'down') other += 1;
    await pass(run, 20);
  }
  const { acceptedAt } = peer;
  const [first = NaN] = acceptedAt;
  const seconds = (Date.now() - first) / 1_000;
  const measured = {
    seconds,
    connections: acceptedAt.length,
    'connections before the backoff ended': acceptedAt.filter((at, index) => at - first < minMsUntil(index)).length,
    'connections in excess of one per 0.8 s': Math.max(0, acceptedAt.length - 3 - seconds / 0.8),
    'health states other than down after the grace period': other,
    'log lines': aboveDebug(app).length,
    'calls failed': calls.failed.length,
  };
  // Waits until an open connection ends, because its lifetime is reported only then.
  await reach(() => client.connectivity.state !== 'READY');
  await stop(calls);
  return { measured, longestLifeMs };
}

/** Minimum time in milliseconds between the first connection and the connection with this zero-based index. */
function minMsUntil(index: number): number {
  let ms = 0;
  for (let backoff = 0; backoff < index - 1; backoff++) ms += MIN_BACKOFFS_MS[backoff] ?? 4_000;
  return ms;
}

async function measureReturns(run: Run, kind: UpstreamKind, lengthMs: number): Promise<Measured> {
  const endsAt = performance.now() + lengthMs;
  const upstream = await startUpstream(run, kind);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url });
  reads(run, app, 15);
  writes(run, app, 15);
  let times = 0;
  do {
    await pass(run, (run.length === 'short' ? 200 : 1_000) * (1 + run.random()));
    proxy.refuse();
    proxy.resetAll();
    await reach(() => app.client.connectivity.outage);
    // Waits for more than 1.5 s, because a shorter outage is logged only at debug.
    await pass(run, (run.length === 'short' ? 1_600 : 2_000) + 1_000 * run.random());
    await proxy.forward();
    await reach(() => app.client.connectivity.outage === undefined);
    times += 1;
  } while (!run.signal.aborted && (times < MIN_RECOVERIES || performance.now() < endsAt - 5_500));
  return {
    'server unreachable from time to time: recoveries': times,
    'server unreachable from time to time: log lines': aboveDebug(app).length,
  };
}
