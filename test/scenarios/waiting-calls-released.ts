import { status } from '@grpc/grpc-js';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { CallLoad, type LoadCall } from '../support/call-load.js';
import { stop } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const PER_SECOND = { counts: 60, all: 500 };
const DOWN_MS = { counts: 1_500, all: 5_000 };
/** Outage grace period. Longer than the outage plus the time to reconnect; if only counts are judged, long enough for a busy machine. */
const GRACE_MS = { counts: 600_000, all: 7_000 };
/** Timeout of a call in milliseconds. If only counts are judged, it exceeds the time limit of a run, so a hanging call fails the run. */
const TIMEOUT_MS = { counts: 600_000, all: 30_000 };
/** Maximum queueing time on the server; requests beyond it fail with UNAVAILABLE. */
const QUEUE_MS = { counts: 60_000, all: 3_000 };
/** Of ten calls, so many ask for an order that does not exist: answers of an application, which say nothing of the server. */
const MISSING_OF_TEN = 4;
/** Capacity of the server as a multiple of the usual load. */
const TIGHT = 1.2;
const AMPLE = 2;

/** Waiting calls of one client are released to a server with 20% or 100% spare capacity. */
export const waitingCallsReleased: Scenario = {
  name: 'waiting-calls-released',
  promise:
    'A server is down for 5 s, and a client with `outageGraceMs: 7_000` makes 500 calls per second, of which 40% are answered with NOT_FOUND. After the client has reconnected, the last waiting call is sent within 15 s if the server can handle 600 calls per second, and within 6 s if it can handle 1,000. No waiting call fails, and at least 99.9% of new calls succeed.',
  bounds: {
    'waiting calls': { atLeast: 50 },
    'waiting calls failed': { atMost: 0 },
    'waiting calls not sent': { atMost: 0 },
    'new calls': { atLeast: 50 },
    'time until the last waiting call is sent, server with 20% spare capacity, ms': { atMost: 15_000, timed: true },
    'time until the last waiting call is sent, server with 100% spare capacity, ms': { atMost: 6_000, timed: true },
    'new calls that succeed, %': { atLeast: 99.9, timed: true },
  },
  async measure(run) {
    const [kind] = run.kinds;
    if (kind === undefined) throw new Error('run.kinds: expected an upstream kind, got none');
    const tight = await measureRelease(run, kind, TIGHT);
    const ample = await measureRelease(run, kind, AMPLE);
    const { lastSentMs: tightMs, ...tightFigures } = tight;
    const { lastSentMs: ampleMs, ...ampleFigures } = ample;
    const named = (figures: Measured, server: string) =>
      Object.entries(figures).map(([figure, value]) => [`${figure} @${server}`, value] as const);
    return {
      'time until the last waiting call is sent, server with 20% spare capacity, ms': tightMs,
      'time until the last waiting call is sent, server with 100% spare capacity, ms': ampleMs,
      ...Object.fromEntries([
        ...named(tightFigures, '20% spare capacity'),
        ...named(ampleFigures, '100% spare capacity'),
      ]),
    };
  },
};

async function measureRelease(
  run: Run,
  kind: UpstreamKind,
  capacity: number,
): Promise<Measured & { lastSentMs: number }> {
  const perSecond = PER_SECOND[run.which];
  const upstream = await startUpstream(run, kind, { perSecond: perSecond * capacity, queueMs: QUEUE_MS[run.which] });
  const { client, orders } = await startClientOf(run, upstream, { outageGraceMs: GRACE_MS[run.which] });
  const timeoutMs = TIMEOUT_MS[run.which];
  const keyOf = (call: number) => (call % 10 < MISSING_OF_TEN ? `${String(call)}/NOT_FOUND` : String(call));
  const load = CallLoad.start(perSecond, (call) => orders.get({ id: keyOf(call) }, { timeoutMs }));
  const hasFailed = ({ error }: LoadCall) => error !== undefined && (error as GrpcCallError).code !== status.NOT_FOUND;
  run.onEnd(() => load.stop());
  // Runs the load long enough for the client to measure its usual rate.
  await reach(() => load.succeeded.length > 1.5 * perSecond, { intervalMs: 50 });
  const listensAt = await upstream.restartAfter(DOWN_MS[run.which]);
  const readyAt = await reach(() => {
    const { state, since } = client.connectivity;
    return state === 'READY' && since.getTime() >= listensAt && since.getTime();
  });
  const isWaiting = ({ startedAt, endedAt = Infinity }: { startedAt: number; endedAt: number | undefined }) =>
    startedAt <= readyAt && endedAt > readyAt;
  const waiting = load.calls.filter(isWaiting);
  await reach(() => waiting.every(({ endedAt }) => endedAt !== undefined), { intervalMs: 50 });
  const laterCalls = () => load.calls.filter(({ startedAt }) => startedAt > readyAt);
  await reach(() => laterCalls().length > 50, { intervalMs: 50 });
  await stop(load);
  const sentAt = new Map(
    upstream
      .arrived('Get')
      .filter(({ at }) => at >= listensAt)
      .map(({ key, at }) => [key, at]),
  );
  const sent = waiting.flatMap(({ number }) => sentAt.get(keyOf(number)) ?? []);
  const newCalls = laterCalls();
  return {
    lastSentMs: Math.max(...sent) - readyAt,
    'waiting calls': waiting.length,
    'waiting calls failed': waiting.filter(hasFailed).length,
    'waiting calls not sent': waiting.length - sent.length,
    'new calls': newCalls.length,
    'new calls that succeed, %': 100 * (1 - newCalls.filter(hasFailed).length / newCalls.length),
  };
}
