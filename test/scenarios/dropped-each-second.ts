import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, writes } from './support/load.js';
import { failedWrites, lostConnections } from './support/lost-writes.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

const LIVES_MS = 1_000;

/** Every connection is torn (RST) a second after it was made, with calls in flight; for 10 s, or for 3 minutes. */
export const droppedEachSecond: Situation = {
  name: 'dropped-each-second',
  promise:
    'A client with 150 calls a second whose every connection is dropped after 1 s is never without one for longer than a second: no read fails, of the writes only those that were on the wire, and none is sent twice.',
  bounds: {
    'connections a second': { atLeast: 0.7 },
    // As the proxy sees it, the last time included, though it may not be over.
    'longest time without one, ms': { atMost: 1_000 },
    'reads failed': { atMost: 0 },
    'writes failed that were not on the wire': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
  },
  play: (run) => againstEach(run, (kind) => drop(run, kind)),
};

async function drop(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 5 });
  const proxy = await FaultProxy.start(upstream.url);
  run.onEnd(() => proxy.close());
  const app = await startClientOf(run, upstream, { url: proxy.url });
  dropEach(run, app, proxy);
  const lostAt = lostConnections(app);
  const seen = watchOpen(run, proxy);
  const [gets, creates] = [reads(run, app, 100), writes(run, app, 50)];
  await waitFor(() => gets.succeeded.length > 0);
  const beganAt = performance.now();
  await pass(run, run.length === 'short' ? 10_000 : 180_000);
  const seconds = (performance.now() - beganAt) / 1_000;
  const connections = proxy.counters.accepted;
  const longestMs = seen.longestMs();
  await Promise.all([gets.stop(), creates.stop()]);
  return {
    seconds,
    'connections a second': connections / seconds,
    'longest time without one, ms': longestMs,
    ...figuresOf(gets, 'reads'),
    ...failedWrites(creates, lostAt),
    'writes sent twice': upstream.duplicates('Create'),
  };
}

/** Has every connection torn a second after it was made. */
function dropEach(run: Run, { client }: OrdersOf, proxy: FaultProxy): void {
  let timer: NodeJS.Timeout | undefined;
  const subscription = client.connectivity$.subscribe(({ state }) => {
    if (state !== 'READY') return;
    clearTimeout(timer);
    timer = setTimeout(() => proxy.resetAll(), LIVES_MS);
  });
  run.onEnd(() => {
    subscription.unsubscribe();
    clearTimeout(timer);
  });
}

/** From outside, how long there was no connection; from the first one on. */
function watchOpen(run: Run, proxy: FaultProxy) {
  let longestMs = 0;
  let noneSince = Infinity;
  const look = () => {
    const now = performance.now();
    if (noneSince < now) longestMs = Math.max(longestMs, now - noneSince);
    if (proxy.counters.open > 0) noneSince = Infinity;
    else if (proxy.counters.accepted > 0) noneSince = Math.min(noneSince, now);
  };
  const timer = setInterval(look, 5);
  run.onEnd(() => {
    clearInterval(timer);
  });
  return {
    longestMs: () => {
      look();
      return longestMs;
    },
  };
}
