import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const READS = { counts: 400, short: 2_000, full: 10_000 };
const PER_SECOND = { counts: 100, all: 400 };
/** Attempt timeout in milliseconds. It must not expire on the healthy replica, even on a busy machine. */
const ATTEMPT_TIMEOUT_MS = { counts: 2_000, all: 1_000 };
/** Attempt timeout in milliseconds with which the default retry budget suffices if a replica is frozen. */
const SHORT_TIMEOUT_MS = 250;
const FAULTS = ['failing', 'frozen'] as const;
/** Options of a server that rejects each request immediately with UNAVAILABLE. */
const REJECTING = { queueMs: -1_000_000_000 };

const METHOD_CONFIG = [
  {
    name: [{ service: 'orders.v1.Orders', method: 'Get' }],
    retryPolicy: {
      maxAttempts: 2,
      initialBackoff: '0.01s',
      maxBackoff: '0.01s',
      backoffMultiplier: 1,
      retryableStatusCodes: ['UNAVAILABLE', 'DEADLINE_EXCEEDED'],
    },
  },
] as const;

/** One of two replicas fails each call, or is frozen. */
export const oneReplicaFailing: Scenario = {
  name: 'one-replica-failing',
  promise:
    'If one of two replicas fails or is frozen, no read with `maxAttempts: 2` and `attemptTimeoutMs` fails, because each retry goes to the other replica. Under `least_request`, the default retry budget suffices (if a replica is frozen, with an attempt timeout of 250 ms). Under `round_robin`, half of the first attempts fail, so set a larger budget.',
  bounds: Object.fromEntries(
    FAULTS.flatMap((fault) => [
      [`reads (${fault})`, { atLeast: READS.short, timed: true }],
      [`reads (${fault}) failed`, { atMost: 0 }],
      [`retries on the unhealthy replica, ${fault}`, { atMost: 0 }],
      [`retries on the other replica, ${fault}`, { atLeast: 5 }],
      [`reads (${fault}, least_request) failed`, { atMost: 0, timed: true }],
      [`retries on the unhealthy replica, ${fault}, least_request`, { atMost: 0 }],
    ]),
  ),
  measure: (run) => againstEach(run, (kind) => measureFaults(run, kind)),
};

async function measureFaults(run: Run, kind: UpstreamKind): Promise<Measured> {
  // The policies run sequentially, because all calls run in this process.
  const parts = [
    ...(await Promise.all(FAULTS.map((fault) => measure(run, kind, fault, fault, withBudget(run))))),
    ...(await Promise.all(
      FAULTS.map((fault) => measure(run, kind, fault, `${fault}, least_request`, withLeastRequest(run, fault))),
    )),
  ];
  return Object.assign({}, ...parts) as Measured;
}

async function measure(
  run: Run,
  kind: UpstreamKind,
  fault: (typeof FAULTS)[number],
  name: string,
  settings: Partial<GrpcClientSettings>,
): Promise<Measured> {
  const [unhealthy, healthy] = await Promise.all([
    startUpstream(run, kind, fault === 'failing' ? REJECTING : {}),
    startUpstream(run, kind),
  ]);
  const app = await startClientOf(run, unhealthy, { url: `ipv4:${unhealthy.url},${healthy.url}`, ...settings });
  // Waits until both replicas are connected before one is frozen.
  const before = reads(run, app, 50);
  await reach(() => [unhealthy, healthy].every((upstream) => upstream.arrived('Get').length > 2), { intervalMs: 100 });
  await stop(before);
  if (fault === 'frozen') unhealthy.freeze();
  const [earlier, earlierOnOther] = [retriesOf(unhealthy), retriesOf(healthy)];
  const gets = reads(run, app, PER_SECOND[run.which]);
  await reach(() => gets.calls.length >= READS[run.which === 'counts' ? 'counts' : run.length], { intervalMs: 100 });
  await stop(gets);
  if (fault === 'frozen') unhealthy.thaw();
  return {
    ...figuresOf(gets, `reads (${name})`),
    [`retries on the unhealthy replica, ${name}`]: retriesOf(unhealthy) - earlier,
    [`retries on the other replica, ${name}`]: retriesOf(healthy) - earlierOnOther,
  };
}

function settings(run: Run, attemptTimeoutMs = ATTEMPT_TIMEOUT_MS[run.which]): Partial<GrpcClientSettings> {
  return {
    methods: { Get: { attemptTimeoutMs } },
    serviceConfig: { methodConfig: METHOD_CONFIG },
    ...outageGrace(run),
  };
}

/**
 * Settings for round_robin, under which half of the first attempts fail. They enlarge the retry budget, because the default budget permits
 * retries of only about a tenth of the calls.
 */
function withBudget(run: Run): Partial<GrpcClientSettings> {
  return {
    ...settings(run),
    loadBalancing: 'round_robin',
    serviceConfig: { retryThrottling: { maxTokens: 1_000, tokenRatio: 1 }, methodConfig: METHOD_CONFIG },
  };
}

function withLeastRequest(run: Run, fault: (typeof FAULTS)[number]): Partial<GrpcClientSettings> {
  const isShort = run.which === 'all' && fault === 'frozen';
  return { ...settings(run, isShort ? SHORT_TIMEOUT_MS : undefined), loadBalancing: 'least_request' };
}

function retriesOf(upstream: Upstream): number {
  return upstream.arrived('Get').filter(({ previousAttempts }) => previousAttempts > 0).length;
}
