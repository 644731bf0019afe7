import { GrpcCallError } from 'nestjs-resilient-grpc';
import { median, type CallLoad } from '../support/call-load.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, latenciesOf, load, reads, stop } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const PERMANENT = [
  ...[
    'INVALID_ARGUMENT',
    'NOT_FOUND',
    'ALREADY_EXISTS',
    'PERMISSION_DENIED',
    'RESOURCE_EXHAUSTED',
    'ABORTED',
    'UNKNOWN',
  ],
  ...['FAILED_PRECONDITION', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL', 'DATA_LOSS', 'UNAUTHENTICATED'],
];

/** A server that usually succeeds, but also returns transient and permanent errors. */
export const transientAndPermanentErrors: Scenario = {
  name: 'transient-and-permanent-errors',
  promise:
    'A read that fails with a transient error (UNAVAILABLE) is retried and succeeds. A permanent error of a read, or a transient error of a write, fails the call at once after a single attempt.',
  bounds: {
    'reads failed': { atMost: 0 },
    'reads with transient errors failed': { atMost: 0 },
    'attempts per transient error': { atLeast: 2, atMost: 2 },
    'reads with permanent errors': { atLeast: 2 * PERMANENT.length },
    'permanent errors whose code changed': { atMost: 0 },
    'attempts per permanent error': { atLeast: 1, atMost: 1 },
    // A retry would add at least the shortest backoff, 80 ms.
    'additional latency of permanent errors, relative to successful reads, ms': { atMost: 40, timed: true },
    'writes that did not fail with UNAVAILABLE': { atMost: 0 },
    'attempts per write': { atLeast: 1, atMost: 1 },
  },
  measure: (run) => againstEach(run, (kind) => measureErrors(run, kind)),
};

async function measureErrors(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const app = await startClientOf(run, upstream);
  const succeeding = reads(run, app, 100);
  // Each of these reads is retried once. Two retries per second cost about a sixth of the tokens that 100 successes per second earn.
  const transient = load(run, 2, (number) => app.orders.get({ id: `t${number}/UNAVAILABLE/1` }));
  const permanent = load(run, 20, (number) => app.orders.get({ id: `p${number}/${permanentCode(number)}` }));
  const write = (number: number) => ({ requestId: `w${number}/UNAVAILABLE/1`, item: 'tea', quantity: 1 });
  const written = load(run, 10, (number) => app.orders.create(write(number)));
  const answers = run.length === 'short' ? 100 : 2_000;
  await reach(
    () =>
      succeeding.succeeded.length >= answers &&
      permanent.failed.length >= 2 * PERMANENT.length &&
      [transient.succeeded, written.failed].every(({ length }) => length >= 2),
  );
  await Promise.all([succeeding, transient, permanent, written].map(stop));
  return {
    ...figuresOf(succeeding, 'reads'),
    ...figuresOf(transient, 'reads with transient errors'),
    'attempts per transient error': timesSent(upstream, 't', transient),
    'reads with permanent errors': permanent.calls.length,
    'permanent errors whose code changed': permanent.calls.filter(
      ({ number, error }) => !(error instanceof GrpcCallError && error.codeName === permanentCode(number)),
    ).length,
    'attempts per permanent error': timesSent(upstream, 'p', permanent),
    'additional latency of permanent errors, relative to successful reads, ms':
      median(permanent.failed.map(({ latencyMs }) => latencyMs ?? NaN)) - median(latenciesOf(succeeding)),
    writes: written.calls.length,
    'writes that did not fail with UNAVAILABLE': written.calls.filter(
      ({ error }) => !(error instanceof GrpcCallError && error.codeName === 'UNAVAILABLE'),
    ).length,
    'attempts per write': timesSent(upstream, 'w', written),
  };
}

const permanentCode = (number: number): string => PERMANENT[number % PERMANENT.length] ?? 'INTERNAL';

function timesSent(upstream: Upstream, prefix: string, { calls }: CallLoad): number {
  return upstream.arrived('Get', 'Create').filter(({ key }) => key.startsWith(prefix)).length / calls.length;
}
