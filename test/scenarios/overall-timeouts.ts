import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { tap, type Observable } from 'rxjs';
import { againstEach } from './support/kinds.js';
import { load, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import { timed } from './support/timed.js';

const CALLS_PER_SECOND = 10;
const MIN_TIMEOUT_MS = 300;
const MAX_TIMEOUT_MS = 1_400;
/** Minimum time between two cuts. */
const MIN_CUT_INTERVAL_MS = 250;
const PLAY_MS = { short: 1_000, full: 20_000 };
/** Minimum number of calls of each kind. */
const MIN_CALLS = 10;
const MIN_ATTEMPTS = 3;

/** Calls that would outlast their deadlines: retried calls, hanging calls, waiting calls, streams, and resumed streams. */
export const overallTimeouts: Scenario = {
  name: 'overall-timeouts',
  promise:
    'Every call, stream, and resumed stream ends at most 100 ms after its `timeoutMs`, even if calls are retried, attempts hang, or the server is unreachable.',
  bounds: {
    'longest time from timeoutMs until the end of a call, ms': { atMost: 100, timed: true },
    'calls that did not fail with DEADLINE_EXCEEDED': { atMost: 0 },
    'minimum number of calls of one kind': { atLeast: MIN_CALLS },
    'maximum number of attempts of one call': { atLeast: MIN_ATTEMPTS },
    'maximum number of resumes of one stream': { atLeast: 1 },
    'calls still active': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => outlast(run, kind)),
};

async function outlast(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const broken = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const unreachable = run.closeAtEnd(await FaultProxy.start(upstream.url));
  unreachable.refuse();
  const retryPolicy = {
    maxAttempts: 5,
    initialBackoff: '0.05s',
    maxBackoff: '60s',
    backoffMultiplier: 3,
    retryableStatusCodes: ['UNAVAILABLE'],
  };
  const methodConfig = [{ name: [{ service: 'orders.v1.Orders', method: 'Get' }], retryPolicy }];
  const retryThrottling = { maxTokens: 1_000, tokenRatio: 1 };
  const { client, orders } = await startClientOf(run, upstream, {
    serviceConfig: { methodConfig, retryThrottling },
    methods: { Get: { attemptTimeoutMs: 70 } },
  });
  // An outage starts if a connection is cut within 1 s after it opened and before a response arrives. On a busy machine, such an outage
  // could outlast the default grace period, so the period of this client is longer if only counts are judged.
  const cut = await startClientOf(run, upstream, { url: broken.url, ...outageGrace(run) });
  const waiting = await startClientOf(run, upstream, { url: unreachable.url });

  let maxResumes = 0;
  let events = 0;
  const forms: ((number: number, timeoutMs: number) => Observable<unknown>)[] = [
    // This call ends before its deadline if the next backoff would outlast the deadline.
    (_, timeoutMs) => orders.get({ id: 'hangs/NEVER' }, { timeoutMs }),
    (_, timeoutMs) => orders.create({ requestId: 'hangs/NEVER', item: 'tea', quantity: 1 }, { timeoutMs }),
    (number, timeoutMs) => waiting.orders.get({ id: String(number) }, { timeoutMs, waitForReady: true }),
    (_, timeoutMs) => orders.watch({ from: '0' }, { timeoutMs }),
    (_, timeoutMs) => {
      let calls = 0;
      const watch = (from: bigint) => {
        maxResumes = Math.max(maxResumes, calls++);
        return cut.orders.watch({ from: String(from) }, { timeoutMs });
      };
      const backoff = { maxAttempts: 1_000, initialBackoffMs: 20, maxBackoffMs: 200 };
      const feed = resumable(watch, { cursor: ({ sequence }) => BigInt(sequence), seed: 0n, backoff });
      return feed.pipe(tap(() => (events += 1)));
    },
  ];
  const lateMs: number[] = [];
  const loads = forms.map((form) =>
    load(run, CALLS_PER_SECOND, (number) => {
      const timeoutMs = Math.round(MIN_TIMEOUT_MS + (MAX_TIMEOUT_MS - MIN_TIMEOUT_MS) * run.random());
      return timed(form(number, timeoutMs), timeoutMs, (overMs) => lateMs.push(overMs));
    }),
  );
  const failuresOf = () => loads.flatMap(({ failed }) => failed.map(({ error }) => error as GrpcCallError));
  const rarest = () => Math.min(...loads.map(({ failed }) => failed.length));
  const mostAttempts = () => Math.max(...failuresOf().map(({ attempts }) => attempts.length));
  const endsAt = performance.now() + PLAY_MS[run.length];
  const isReached = () =>
    performance.now() >= endsAt && rarest() >= MIN_CALLS && mostAttempts() >= MIN_ATTEMPTS && maxResumes >= 1;
  while (!run.signal.aborted && !isReached()) {
    const before = events;
    await pass(run, MIN_CUT_INTERVAL_MS);
    // Waits for an event, so that a connection opened late on a busy machine also delivers one.
    await reach(() => events > before);
    broken.resetAll();
  }
  await Promise.all(loads.map(stop));
  const failures = failuresOf();
  const apps = [client, cut.client, waiting.client];
  await reach(() => apps.every((one) => one.activeCalls().length === 0)).catch(() => undefined);
  return {
    calls: loads.reduce((sum, { calls }) => sum + calls.length, 0),
    'longest time from timeoutMs until the end of a call, ms': Math.max(...lateMs),
    'calls that did not fail with DEADLINE_EXCEEDED':
      loads.reduce((sum, { succeeded }) => sum + succeeded.length, 0) +
      failures.filter(({ codeName }) => codeName !== 'DEADLINE_EXCEEDED').length,
    'minimum number of calls of one kind': rarest(),
    'maximum number of attempts of one call': mostAttempts(),
    'maximum number of resumes of one stream': maxResumes,
    'calls still active': apps.reduce((sum, one) => sum + one.activeCalls().length, 0),
  };
}
