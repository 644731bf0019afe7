import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { CallLoad, type LoadCall } from '../support/call-load.js';
import { startOrdersApp } from '../support/orders-app.js';
import { stop } from './support/load.js';
import { outageGrace, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Upstream } from './support/upstream.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/**
 * Number of clients that this process can run without becoming the bottleneck. With fewer clients, single calls would dominate the
 * measurement.
 */
const CLIENTS = 20;
/**
 * Calls per second per client. Waiting calls start at a quarter of this rate, at least 2 per second. At 8 calls per second, random
 * variation alone moves the peak by 10% of the usual load. In simulations with 16 seeds, the peak is 1.35 to 1.61 at 8 calls per second,
 * and 1.32 to 1.48 at 16.
 */
const PER_SECOND = { counts: 8, all: 16 };
/** Capacity of the server relative to its usual load. */
const CAPACITY = 1.2;
/** Deadline of a call in milliseconds. If only counts are judged, it exceeds the time limit of a run, so a hanging call fails the run. */
const TIMEOUT_MS = { counts: 600_000, all: 2_000 };
const DOWN_MS = { short: [3_000], full: [3_000, 8_000, 60_000] };
/** Window in which the load is measured, in milliseconds. It is long, because calls arrive in bursts on a busy machine. */
const WINDOW_MS = 1_000;
/** Maximum time in milliseconds from the start of a call to its arrival at the server. */
const MAX_ARRIVAL_DELAY_MS = 200;
const AFTER_MS = { counts: 1_500, all: 4_000 };
/** Minimum number of waiting calls if the server restarts within the grace period. */
const MIN_WAITING_CALLS = 40;
const MIN_NEW_CALLS = 100;
/** Minimum grace period: 5 s less 10%. */
const MIN_GRACE_MS = 4_500;

/** A server restarts while 20 clients wait. `npm run simulate -- outage --clients 10000` simulates a large fleet. */
export const thunderingHerd: Scenario = {
  name: 'thundering-herd',
  promise:
    'A server with 20% spare capacity that restarts after 3, 8, or 60 s of downtime receives at most 1.6 times its usual load, even if calls are waiting. All clients reconnect within 7 s, and at least 99.9% of their later calls succeed.',
  bounds: {
    'peak relative to the usual load': { atMost: 1.6, timed: true },
    'new calls that succeed, %': { atLeast: 99.9, timed: true },
    'new calls failed before their deadline': { atMost: 0 },
    'time until the last client reconnects, ms': { atMost: 7_000, timed: true },
    // This bound applies only if the server restarts within the grace period, because no call waits after the grace period.
    'waiting calls': { atLeast: MIN_WAITING_CALLS },
    'new calls': { atLeast: MIN_NEW_CALLS },
  },
  async measure(run) {
    const [kind] = run.kinds;
    if (kind === undefined) throw new Error('run.kinds: expected an upstream kind, got none');
    const each = [];
    for (const downMs of DOWN_MS[run.length]) {
      const measured = await measureReconnection(run, kind, downMs);
      each.push(...Object.entries(measured).map(([figure, value]) => [`${figure} @down ${downMs / 1_000} s`, value]));
    }
    return Object.fromEntries(each) as Measured;
  },
};

async function measureReconnection(run: Run, kind: UpstreamKind, downMs: number): Promise<Measured> {
  const perSecond = PER_SECOND[run.which];
  const usualPerSecond = CLIENTS * perSecond;
  const upstream = await startUpstream(run, kind, { perSecond: usualPerSecond * CAPACITY });
  const settings = { url: upstream.url, ...upstream.settings, ...outageGrace(run) };
  const app = run.closeAtEnd(await startOrdersApp(Array.from({ length: CLIENTS }, () => settings)));
  const timeoutMs = TIMEOUT_MS[run.which];
  const clients = app.clients.map(({ client, orders }) => {
    const load = CallLoad.start(perSecond, (call) => orders.get({ id: String(call) }, { timeoutMs }));
    run.onEnd(() => load.stop());
    return { client, load };
  });
  await reach(() => clients.every(({ load }) => load.succeeded.length > 1.5 * perSecond));
  const listensAt = await upstream.restartAfter(downMs);
  /** Time at which each client reconnected. */
  const readyAt = await Promise.all(
    clients.map(({ client }) =>
      reach(() => {
        const { state, since } = client.connectivity;
        return state === 'READY' && since.getTime() >= listensAt && since.getTime();
      }),
    ),
  );
  await pass(run, AFTER_MS[run.which]);
  const newCalls = () =>
    clients.reduce(
      (sum, { load }, index) => sum + load.calls.filter((call) => call.startedAt > (readyAt[index] ?? NaN)).length,
      0,
    );
  await reach(() => newCalls() >= MIN_NEW_CALLS, { intervalMs: 50 });
  const endedAt = Date.now();
  await Promise.all(clients.map(({ load }) => stop(load)));
  const calls = clients.flatMap(({ load }, index) =>
    load.calls.map((call) => ({ ...call, readyAt: readyAt[index] ?? NaN })),
  );
  const afterReady = calls.filter((call) => call.startedAt > call.readyAt);
  const waiting = calls.filter(({ startedAt, endedAt = 0, readyAt }) => startedAt <= readyAt && endedAt > readyAt);
  const succeeded = (some: typeof calls) => some.filter(({ error }) => error === undefined).length;
  return {
    'peak relative to the usual load': peakOf({ upstream, calls, usualPerSecond }, listensAt, endedAt),
    'new calls': afterReady.length,
    'new calls that succeed, %': (100 * succeeded(afterReady)) / afterReady.length,
    'new calls failed before their deadline': afterReady.filter(failedEarly).length,
    'time until the last client reconnects, ms': Math.max(...readyAt) - listensAt,
    ...(downMs < MIN_GRACE_MS && {
      'waiting calls': waiting.length,
      'waiting calls that succeed': succeeded(waiting),
      'time until the last waiting call ends, ms': Math.max(...waiting.map(({ endedAt = NaN }) => endedAt)) - listensAt,
    }),
  };
}

/** True if the call failed for a reason other than its own deadline. */
function failedEarly({ error }: LoadCall): boolean {
  // The cast is safe because calls fail only with GrpcCallError.
  return error !== undefined && (error as GrpcCallError).reason !== 'deadline';
}

interface Arrivals {
  readonly upstream: Upstream;
  readonly calls: readonly LoadCall[];
  readonly usualPerSecond: number;
}

/**
 * Maximum number of requests in any window after the server starts to listen, relative to the usual number per window. Bursts that the
 * callers make after this process was suspended are excluded, because the client does not cause them.
 */
function peakOf({ upstream, calls, usualPerSecond }: Arrivals, from: number, until: number): number {
  const usual = usualPerSecond * (WINDOW_MS / 1_000);
  const arrivedAt = upstream.arrived('Get').map(({ at }) => at);
  const begunAt = calls.map(({ startedAt }) => startedAt);
  const perWindow = arrivedAt
    .filter((at) => at >= from && at < until)
    .map((at) => {
      const excess =
        within(begunAt, at - WINDOW_MS - MAX_ARRIVAL_DELAY_MS, at) - usual * (1 + MAX_ARRIVAL_DELAY_MS / WINDOW_MS);
      return within(arrivedAt, Math.max(from, at - WINDOW_MS), at) - Math.max(0, excess);
    });
  return Math.max(...perWindow) / usual;
}

/** Number of `times` after `from` and not after `until`. */
function within(times: readonly number[], from: number, until: number): number {
  return times.filter((at) => at > from && at <= until).length;
}
