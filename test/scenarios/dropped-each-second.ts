import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { failedWrites, lostConnections } from './support/lost-writes.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const LIFETIME_MS = 1_000;
/**
 * Number of drops. If only counts are judged, it is below the maximum number of attempts of a read, because on a busy machine all drops can
 * hit the same read.
 */
const DROPS = { counts: 3, all: Infinity };
/** Duration of a run if all bounds are judged. */
const PLAY_MS = { short: 10_000, full: 180_000 };
/** Calls per second. */
const RATES = { counts: { reads: 40, writes: 20 }, all: { reads: 100, writes: 50 } };

/**
 * Each connection is reset one second after it became READY, with calls in flight. A run lasts for three resets if only counts are judged;
 * otherwise, it lasts for 10 s, or for 3 minutes in a full run.
 */
export const droppedEachSecond: Scenario = {
  name: 'dropped-each-second',
  promise:
    'If each connection of a client with 150 calls per second is dropped after 1 s, the client is never without a connection for more than 1 s. No read fails, and no write is sent twice. The only writes that fail are those on the wire.',
  bounds: {
    drops: { atLeast: DROPS.counts },
    'connections per second': { atLeast: 0.7, timed: true },
    // Measured at the proxy. Includes the current period without a connection.
    'longest time without a connection, ms': { atMost: 1_000, timed: true },
    'reads failed': { atMost: 0 },
    'failed writes that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => drop(run, kind)),
};

async function drop(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 5 });
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url, ...outageGrace(run) });
  const lostAt = lostConnections(app);
  const seen = watchOpen(run, proxy);
  const rates = RATES[run.which];
  const [gets, creates] = [reads(run, app, rates.reads), writes(run, app, rates.writes)];
  await reach(() => gets.succeeded.length > 0);
  const drops = dropEach(run, app, proxy);
  const beganAt = performance.now();
  if (run.which === 'counts') await reach(() => drops.count === DROPS.counts);
  else await pass(run, PLAY_MS[run.length]);
  const seconds = (performance.now() - beganAt) / 1_000;
  const connections = proxy.counters.accepted;
  const longestMs = seen.longestMs();
  await Promise.all([stop(gets), stop(creates)]);
  return {
    seconds,
    drops: drops.count,
    'connections per second': connections / seconds,
    'longest time without a connection, ms': longestMs,
    ...figuresOf(gets, 'reads'),
    ...failedWrites(creates, lostAt),
    'writes sent twice': upstream.duplicates('Create'),
  };
}

/** Resets each connection one second after it became READY, until the maximum number of drops. */
function dropEach(run: Run, { client }: OrdersOf, proxy: FaultProxy) {
  const drops = { count: 0 };
  const timer = setInterval(() => {
    const { state, since } = client.connectivity;
    if (state !== 'READY' || Date.now() - since.getTime() < LIFETIME_MS || drops.count >= DROPS[run.which]) return;
    if (proxy.resetAll() > 0) drops.count += 1;
  }, 10);
  run.onEnd(() => {
    clearInterval(timer);
  });
  return drops;
}

/** Measures, at the proxy, the longest time without a connection after the first one. */
function watchOpen(run: Run, proxy: FaultProxy) {
  let longestMs = 0;
  let noneSince = Infinity;
  const check = () => {
    const now = performance.now();
    if (noneSince < now) longestMs = Math.max(longestMs, now - noneSince);
    if (proxy.counters.open > 0) noneSince = Infinity;
    else if (proxy.counters.accepted > 0) noneSince = Math.min(noneSince, now);
  };
  const timer = setInterval(check, 5);
  run.onEnd(() => {
    clearInterval(timer);
  });
  return {
    longestMs: () => {
      check();
      return longestMs;
    },
  };
}
