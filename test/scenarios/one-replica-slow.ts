import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const READS = { short: 400, full: 4_000 };
const PER_SECOND = 40;
/** Latency of the slow replica, and the hedging delay. Both are longer if only counts are judged, because the machine might be busy. */
const SLOW_MS = { counts: 5_000, all: 1_000 };
const HEDGING_DELAY = { counts: '1s', all: '0.1s' };
/** The default hedge budget. */
const HEDGE_BUDGET = { initial: 5, perCall: 0.05 };
const POLICIES = ['round_robin', 'least_request'] as const;

/** One of two replicas is slow, and reads are hedged. */
export const oneReplicaSlow: Scenario = {
  name: 'one-replica-slow',
  promise:
    'If one of two replicas is slow, each hedge goes to the other replica, and at most 3% of the hedged reads stay slow. Under `round_robin`, at most 3% of the reads stay slow while the hedge budget allows a hedge. Under `least_request`, at most 3% of all reads are slow.',
  bounds: {
    ...Object.fromEntries(
      POLICIES.flatMap((policy) => [
        [`reads (${policy}) failed`, { atMost: 0 }],
        [`hedges on the slow replica, ${policy}`, { atMost: 0 }],
        [`hedged reads that stayed slow, ${policy}, %`, { atMost: 3, timed: true }],
      ]),
    ),
    'hedges, round_robin': { atLeast: 5 },
    'reads that stayed slow with a hedge allowed, round_robin, %': { atMost: 3, timed: true },
    'slow reads, least_request, %': { atMost: 3, timed: true },
  },
  measure: (run) => againstEach(run, (kind) => measurePolicies(run, kind)),
};

async function measurePolicies(run: Run, kind: UpstreamKind): Promise<Measured> {
  const both = await Promise.all(POLICIES.map((policy) => measure(run, kind, policy)));
  return Object.assign({}, ...both) as Measured;
}

async function measure(run: Run, kind: UpstreamKind, loadBalancing: (typeof POLICIES)[number]): Promise<Measured> {
  const slowMs = SLOW_MS[run.which];
  const [slowReplica, healthy] = await Promise.all([
    startUpstream(run, kind, { delayMs: slowMs }),
    startUpstream(run, kind, { delayMs: 5 }),
  ]);
  const hedgingPolicy = { maxAttempts: 2, hedgingDelay: HEDGING_DELAY[run.which] };
  const app = await startClientOf(run, slowReplica, {
    url: `ipv4:${slowReplica.url},${healthy.url}`,
    loadBalancing,
    serviceConfig: { methodConfig: [{ name: [{ service: 'orders.v1.Orders', method: 'Get' }], hedgingPolicy }] },
    ...outageGrace(run),
  });
  const gets = reads(run, app, PER_SECOND);
  await reach(() => gets.calls.length >= READS[run.length], { intervalMs: 100 });
  await stop(gets);
  const hedgesOf = (upstream: typeof slowReplica) =>
    upstream.arrived('Get').filter(({ previousAttempts }) => previousAttempts > 0);
  const hedged = new Set([slowReplica, healthy].flatMap(hedgesOf).map(({ key }) => key));
  const firstOnSlow = slowReplica.arrived('Get').filter(({ previousAttempts }) => previousAttempts === 0).length;
  // The minimum number of slow reads: each hedge makes at most one slow read fast, and the budget limits the hedges.
  const unavoidable = Math.max(
    0,
    firstOnSlow - Math.floor(HEDGE_BUDGET.initial + HEDGE_BUDGET.perCall * gets.calls.length),
  );
  const slowReads = gets.succeeded.filter(({ latencyMs }) => (latencyMs ?? 0) >= slowMs);
  const stayedSlow = slowReads.filter(({ number }) => hedged.has(String(number)));
  return {
    ...figuresOf(gets, `reads (${loadBalancing})`),
    [`hedges, ${loadBalancing}`]: hedged.size,
    [`hedges on the slow replica, ${loadBalancing}`]: hedgesOf(slowReplica).length,
    [`hedged reads that stayed slow, ${loadBalancing}, %`]: (stayedSlow.length / Math.max(hedged.size, 1)) * 100,
    [`reads that stayed slow with a hedge allowed, ${loadBalancing}, %`]:
      ((slowReads.length - unavoidable) / gets.calls.length) * 100,
    [`slow reads, ${loadBalancing}, %`]: (slowReads.length / gets.calls.length) * 100,
  };
}
