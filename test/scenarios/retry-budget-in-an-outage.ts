import { waitFor } from 'nestjs-resilient-grpc/testing';
import type { CallLoad } from '../support/call-load.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, load } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';
import type { Upstream } from './support/upstream.js';

const PER_SECOND = 200;

/** A server that fails each call; then it is killed, away for a second, and well. */
export const retryBudgetInAnOutage: Situation = {
  name: 'retry-budget-in-an-outage',
  promise:
    'In a total outage a client of a call a second or more sends at most 1.1 times as many requests as it has calls, once its retry budget is spent.',
  bounds: {
    'calls while all fail': { atLeast: 2 * PER_SECOND },
    'requests a call while all fail': { atLeast: 1, atMost: 1.1 },
    'requests a call through a kill': { atLeast: 0.9, atMost: 1.1 },
    'failed afterwards': { atMost: 0 },
  },
  // Away for longer than calls wait: most of them are never sent.
  fullBounds: { 'requests a call through a kill': { atLeast: 0.05, atMost: 1.1 } },
  play: (run) => againstEach(run, (kind) => outage(run, kind)),
};

async function outage(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 10 });
  const app = await startClientOf(run, upstream);
  const seconds = run.length === 'short' ? 2 : 60;

  const failing = load(run, PER_SECOND, (number) => app.orders.get({ id: `f${number}/UNAVAILABLE` }));
  const isSpent = () => failing.failed.length > PER_SECOND / 4;
  await waitFor(isSpent);
  const from = failing.calls.length;
  await waitFor(() => failing.calls.length > from + seconds * PER_SECOND, { timeoutMs: seconds * 1_000 + 10_000 });
  await failing.stop();
  const requests = requestsACall(upstream, 'f', failing, from);

  const killed = load(run, PER_SECOND, (number) => app.orders.get({ id: `k${number}` }));
  await waitFor(() => killed.succeeded.length > PER_SECOND / 2);
  const listensAt = await upstream.restartAfter(run.length === 'short' ? 800 : 8_000);
  await waitFor(() => killed.succeeded.some(({ startedAt }) => startedAt > listensAt + 200), { timeoutMs: 15_000 });
  await killed.stop();

  const well = load(run, PER_SECOND, (number) => app.orders.get({ id: `w${number}` }));
  await waitFor(() => well.succeeded.length > PER_SECOND / 4);
  await well.stop();
  return {
    'calls while all fail': failing.calls.length - from,
    'requests a call while all fail': requests,
    ...figuresOf(killed, 'calls through a kill'),
    'requests a call through a kill': requestsACall(upstream, 'k', killed, 0),
    'failed afterwards': well.failed.length,
  };
}

/** Of the calls after the first `from`. */
function requestsACall(upstream: Upstream, prefix: string, { calls }: CallLoad, from: number): number {
  const keys = new Set(calls.slice(from).map(({ number }) => `${prefix}${number}`));
  return upstream.arrived('Get').filter(({ key }) => keys.has(key.split('/', 1)[0] ?? '')).length / keys.size;
}
