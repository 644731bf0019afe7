import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';
import { figuresOf, latenciesOf, reads, stop } from './support/load.js';
import { quantile } from '../support/call-load.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const READS = { counts: 400, short: 1_200, full: 6_000 };
const PER_SECOND = 60;
/** Initial usual latency, and the latency of one in fifty responses. Both triple during the run. */
const [USUAL_MS, SLOW_MS] = [40, 600];
/** Number of attempts that the client must measure before its first hedge. */
const WARM_UP = 100;

/** One in fifty responses is slow, the usual latency triples, and the hedging delay follows the measured latency. */
export const hedgingFollowsLatency: Scenario = {
  name: 'hedging-follows-latency',
  promise:
    "If one in fifty responses takes 15 times the usual latency, 99% of the reads of a client with `hedge: 'p95'` succeed within 3 times the usual latency, with at most 1.06 attempts per call. The same bounds hold after the usual latency has tripled.",
  bounds: {
    'reads failed': { atMost: 0 },
    'hedges before 100 attempts were measured': { atMost: 0 },
    // The bound is above 1.05, because the budget allows five more hedges at the start.
    'attempts per call': { atMost: 1.06 },
    hedges: { atLeast: 1 },
    'p99 relative to the usual latency': { atMost: 3, timed: true },
    'p99 relative to the usual latency, after it tripled': { atMost: 3, timed: true },
  },
  measure: follow,
};

async function follow(run: Run): Promise<Measured> {
  let usualMs = USUAL_MS;
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: {
      Get: () => ({
        message: { id: '1' },
        delayMs: run.random() < 0.02 ? (SLOW_MS * usualMs) / USUAL_MS : usualMs * (0.9 + 0.2 * run.random()),
      }),
    },
  });
  run.onEnd(() => server.close());
  const app = await startOrdersApp({ url: server.url, methods: { Get: { idempotent: true, hedge: 'p95' } } });
  run.onEnd(() => app.close());

  const half = READS[run.which === 'counts' ? 'counts' : run.length] / 2;
  const warmUp = reads(run, app, PER_SECOND);
  await reach(() => warmUp.calls.length >= WARM_UP - 10, { intervalMs: 5 });
  await stop(warmUp);
  const early = app.client.snapshot().counters.hedged;
  const before = reads(run, app, PER_SECOND);
  await reach(() => before.calls.length >= half, { intervalMs: 100 });
  await stop(before);
  usualMs = 3 * USUAL_MS;
  // Excludes these reads from the latency figures. The hedging delay takes seconds to adapt to the new latencies, which exceed it at first.
  const between = reads(run, app, PER_SECOND);
  await reach(() => between.calls.length >= half / 2, { intervalMs: 100 });
  await stop(between);
  const after = reads(run, app, PER_SECOND);
  await reach(() => after.calls.length >= half, { intervalMs: 100 });
  await stop(after);
  const { started, attempts, hedged } = app.client.snapshot().counters;
  return {
    ...figuresOf(after, 'reads'),
    'reads failed': [warmUp, before, between, after].reduce((sum, { failed }) => sum + failed.length, 0),
    'hedges before 100 attempts were measured': early,
    'attempts per call': attempts / started,
    hedges: hedged,
    'p99 relative to the usual latency': quantile(latenciesOf(before), 0.99) / USUAL_MS,
    'p99 relative to the usual latency, after it tripled': quantile(latenciesOf(after), 0.99) / usualMs,
    'hedging delay at the end, ms': app.client.snapshot().hedgingDelays[0]?.delayMs ?? NaN,
  };
}
