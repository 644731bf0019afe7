import type { CallLoad } from '../support/call-load.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, load, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const PER_SECOND = { counts: 100, all: 200 };
const FAILING = { short: 400, full: 12_000 };
const DOWN_MS = { short: 800, full: 8_000 };

/** A server fails every call, is later killed, stays down for 0.8 s or 8 s, and then recovers. */
export const retryBudgetDuringAnOutage: Scenario = {
  name: 'retry-budget-during-an-outage',
  promise:
    'During a total outage, a client that makes at least 100 calls per second sends at most 1.1 requests per call after its retry budget is used up.',
  bounds: {
    'calls while all fail': { atLeast: FAILING.short },
    'requests per call while all fail': { atLeast: 1, atMost: 1.1 },
    'requests per call while the server restarts': { atLeast: 0.9, atMost: 1.1 },
    'calls failed afterward': { atMost: 0 },
  },
  // The server is down for longer than calls wait, so most calls are never sent.
  fullBounds: { 'requests per call while the server restarts': { atLeast: 0.05, atMost: 1.1 } },
  measure: (run) => againstEach(run, (kind) => measureOutage(run, kind)),
};

async function measureOutage(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 10 });
  const app = await startClientOf(run, upstream, outageGrace(run));
  const perSecond = PER_SECOND[run.which];

  const failing = load(run, perSecond, (number) => app.orders.get({ id: `f${number}/UNAVAILABLE` }));
  const isSpent = () => failing.failed.length > 50;
  await reach(isSpent);
  const from = failing.calls.length;
  await reach(() => failing.calls.length > from + FAILING[run.length], { timeoutMs: 180_000, intervalMs: 50 });
  await stop(failing);
  const requests = requestsPerCall(upstream, 'f', failing, from);

  const killed = load(run, perSecond, (number) => app.orders.get({ id: `k${number}` }));
  await upstream.prepareRestart();
  // Waits until fewer than one in 30 calls is in flight, because calls in flight during the kill are sent twice.
  await reach(() => killed.succeeded.length > 100 && killed.open.length * 30 < killed.calls.length);
  const listensAt = await upstream.restartAfter(DOWN_MS[run.length]);
  await reach(() => killed.succeeded.some(({ startedAt }) => startedAt > listensAt + 200));
  await stop(killed);

  const well = load(run, perSecond, (number) => app.orders.get({ id: `w${number}` }));
  await reach(() => well.succeeded.length > 50);
  await stop(well);
  return {
    'calls while all fail': failing.calls.length - from,
    'requests per call while all fail': requests,
    ...figuresOf(killed, 'calls during a kill'),
    'requests per call while the server restarts': requestsPerCall(upstream, 'k', killed, 0),
    'calls failed afterward': well.failed.length,
  };
}

/** Requests per call, excluding the first `from` calls. */
function requestsPerCall(upstream: Upstream, prefix: string, { calls }: CallLoad, from: number): number {
  const keys = new Set(calls.slice(from).map(({ number }) => `${prefix}${number}`));
  return upstream.arrived('Get').filter(({ key }) => keys.has(key.split('/', 1)[0] ?? '')).length / keys.size;
}
