import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

const LIVES_MS = 1_000;

/** Every connection is torn (RST) a second after it was made, with calls in flight; for 20 s, or for 3 minutes. */
export const droppedEachSecond: Situation = {
  name: 'dropped-each-second',
  promise:
    'A client under full load whose every connection is dropped after 1 s never stops reconnecting: no read fails, and no write is sent twice.',
  bounds: {
    'connections a second': { atLeast: 0.7 },
    'longest time without one, ms': { atMost: 1_000 },
    'reads failed': { atMost: 0 },
    // Those on the wire when it was dropped.
    'writes failed, %': { atMost: 5 },
    'writes sent twice': { atMost: 0 },
  },
  play: (run) => againstEach(run, (kind) => drop(run, kind)),
};

async function drop(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 5 });
  const proxy = await FaultProxy.start(upstream.url);
  run.onEnd(() => proxy.close());
  const app = await startClientOf(run, upstream, { url: proxy.url });
  const gaps = dropEach(run, app, proxy);
  const [gets, creates] = [reads(run, app, 100), writes(run, app, 50)];
  await waitFor(() => gets.succeeded.length > 0);
  const beganAt = performance.now();
  await pass(run, run.length === 'short' ? 20_000 : 180_000);
  const seconds = (performance.now() - beganAt) / 1_000;
  const connections = proxy.counters.accepted;
  await Promise.all([gets.stop(), creates.stop()]);
  return {
    seconds,
    'connections a second': connections / seconds,
    'longest time without one, ms': Math.max(...gaps),
    ...figuresOf(gets, 'reads'),
    writes: creates.calls.length,
    'writes failed, %': (100 * creates.failed.length) / creates.calls.length,
    'writes sent twice': upstream.duplicates('Create'),
  };
}

/** Fills in how long the client was without a connection each time. */
function dropEach(run: Run, { client }: OrdersOf, proxy: FaultProxy): readonly number[] {
  const gaps: number[] = [];
  let lostAt: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const subscription = client.connectivity$.subscribe(({ state }) => {
    if (state !== 'READY') {
      lostAt ??= performance.now();
      return;
    }
    if (lostAt !== undefined) gaps.push(performance.now() - lostAt);
    lostAt = undefined;
    clearTimeout(timer);
    timer = setTimeout(() => proxy.resetAll(), LIVES_MS);
  });
  run.onEnd(() => {
    subscription.unsubscribe();
    clearTimeout(timer);
  });
  return gaps;
}
