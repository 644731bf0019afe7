import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const CALLERS = 6;
const ROUNDS = { short: 4, full: 10 };
/** Idle timeout of the balancer. If only counts are judged, the run ends before this timeout. */
const BALANCER_MS = { counts: 60_000, all: 3_000 };

/** A server that closes idle connections, and a balancer that drops them silently, while callers pause between calls. */
export const idleTimes: Scenario = {
  name: 'idle-times',
  promise:
    'No call fails or is sent twice if servers close idle connections, if the client closes connections before a load balancer silently drops them, or if pings keep connections open. The exception is a call that is in transit when the server closes its connection.',
  bounds: {
    calls: { atLeast: CALLERS * ROUNDS.short },
    'calls failed': { atMost: 0 },
    'calls sent twice': { atMost: 0 },
    'slowest call, ms': { atMost: 2_000, timed: true },
    'connections that the server closed': { atLeast: CALLERS },
    'connections dropped silently': { atMost: 0 },
  },
  fullBounds: { 'connections kept alive by pings': { atLeast: 1, atMost: 1 } },
  measure: async (run) => ({
    ...(await againstEach(run, (kind) => measureIdleTimes(run, kind))),
    ...(run.length === 'full' && (await measurePings(run))),
  }),
};

async function measureIdleTimes(run: Run, kind: UpstreamKind): Promise<Measured> {
  const [closing, patient] = [
    await startUpstream(run, kind, { serverOptions: { 'grpc.max_connection_idle_ms': 300 } }),
    await startUpstream(run, kind),
  ];
  const balancer = run.closeAtEnd(await FaultProxy.start(patient.url));
  // Both idle timeouts are scaled down: the balancer's from 240 or 350 s, and the client's from 200 s.
  balancer.cutIdleAfter(BALANCER_MS[run.which], 'silent');
  const direct = await Promise.all(
    Array.from({ length: CALLERS }, () => startClientOf(run, closing, outageGrace(run))),
  );
  const balanced = await Promise.all(
    Array.from({ length: CALLERS }, () =>
      startClientOf(run, patient, { url: balancer.url, connections: { idleMs: 1_000 }, ...outageGrace(run) }),
    ),
  );
  const closed = () => new Set(closing.arrived('Get', 'Create').map(({ peer }) => peer)).size - CALLERS;
  const [atServer, behindBalancer] = await Promise.all([
    makeCallsWithPauses(run, direct, () => 300 + run.random() * 1_000, { until: () => closed() >= CALLERS }),
    makeCallsWithPauses(run, balanced, () => 200 + run.random() * 1_800),
  ]);
  // If all bounds are judged, waits longer than the balancer's idle timeout. The balancer has then silently dropped each connection that
  // the client has not closed, and the last calls on it hang. Otherwise, waits until the client has closed every connection.
  if (run.which === 'all') await pass(run, BALANCER_MS.all + 500);
  else await reach(() => balancer.counters.open === 0, { timeoutMs: BALANCER_MS.counts / 2 }).catch(() => undefined);
  const dropped = balancer.counters.open;
  const last = await makeCallsWithPauses(run, balanced, () => 0, { prefix: 'last' });
  const failures = [...atServer.failures, ...behindBalancer.failures, ...last.failures];
  const latenciesMs = [...atServer.latenciesMs, ...behindBalancer.latenciesMs, ...last.latenciesMs];
  return {
    calls: latenciesMs.length,
    'calls failed': failures.length,
    ...(failures.length > 0 && { 'first failure': String(failures[0]) }),
    'calls sent twice': sentTwice(closing) + sentTwice(patient),
    'slowest call, ms': Math.max(...latenciesMs),
    'connections that the server closed': closed(),
    'connections dropped silently': dropped,
  };
}

/**
 * Alternates writes and reads from each caller, with a pause after each call. Each caller stops after at least `ROUNDS` rounds, when
 * `until` returns true.
 */
async function makeCallsWithPauses(
  run: Run,
  callers: readonly OrdersOf[],
  pauseMs: () => number,
  { prefix = 'call', until = () => true }: { readonly prefix?: string; readonly until?: () => boolean } = {},
) {
  const failures: unknown[] = [];
  const latenciesMs: number[] = [];
  await Promise.all(
    callers.map(async ({ orders }, caller) => {
      for (let round = 0; !run.signal.aborted && (round < ROUNDS[run.length] || !until()); round++) {
        const id = `${prefix}-${caller}-${round}`;
        const beganAt = performance.now();
        const create = () => orders.create({ requestId: id, item: 'tea', quantity: 1 }, { timeoutMs: 60_000 });
        const get = () => orders.get({ id }, { timeoutMs: 60_000 });
        await firstValueFrom<unknown>(round % 2 === 0 ? create() : get()).catch((error: unknown) =>
          failures.push(error),
        );
        latenciesMs.push(performance.now() - beganAt);
        await pass(run, pauseMs());
      }
    }),
  );
  return { failures, latenciesMs };
}

/** Pauses for 90 s between two calls through a balancer with an idle timeout of 25 s. Pings every 10 s keep the connection open. */
async function measurePings(run: Run): Promise<Measured> {
  const upstream = await startUpstream(run, { implementation: 'grpc-js', security: 'plain' });
  const balancer = run.closeAtEnd(await FaultProxy.start(upstream.url));
  balancer.cutIdleAfter(25_000, 'silent');
  const keepalive = { keepaliveTimeMs: 10_000, keepalivePermitWithoutCalls: true };
  const { orders } = await startClientOf(run, upstream, { url: balancer.url, keepalive });
  await firstValueFrom(orders.get({ id: 'first' }, { timeoutMs: 60_000 }));
  await pass(run, 90_000);
  await firstValueFrom(orders.create({ requestId: 'last', item: 'tea', quantity: 1 }, { timeoutMs: 60_000 }));
  return { 'connections kept alive by pings': balancer.counters.accepted };
}

const sentTwice = (upstream: Upstream): number => upstream.duplicates('Get') + upstream.duplicates('Create');
