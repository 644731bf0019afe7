import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';
import type { Upstream } from './support/upstream.js';

const READS = { counts: 400, short: 2_000, full: 10_000 };
const PER_SECOND = { counts: 100, all: 400 };
/** Attempt timeout, which expires for each attempt on the frozen replica. Longer on a machine that might be busy. */
const ATTEMPT_TIMEOUT_MS = { counts: 2_000, all: 250 };
const SICKNESSES = ['failing', 'frozen'] as const;
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
export const oneReplicaSick: Situation = {
  name: 'one-replica-sick',
  promise:
    'If one of two replicas fails or is frozen, no read with maxAttempts 2 fails, because each retry goes to the other replica. Under least_request, the default retry budget suffices; under round_robin, half of the first attempts fail, so set a larger budget.',
  bounds: Object.fromEntries(
    SICKNESSES.flatMap((sickness) => [
      [`reads (${sickness})`, { atLeast: READS.short, timed: true }],
      [`reads (${sickness}) failed`, { atMost: 0 }],
      [`retries on the sick replica, ${sickness}`, { atMost: 0 }],
      [`retries on the other replica, ${sickness}`, { atLeast: 5 }],
      [`reads (${sickness}, least_request) failed`, { atMost: 0, timed: true }],
      [`retries on the sick replica, ${sickness}, least_request`, { atMost: 0 }],
    ]),
  ),
  play: (run) => againstEach(run, (kind) => sick(run, kind)),
};

async function sick(run: Run, kind: UpstreamKind): Promise<Measured> {
  const leastRequest = { ...settings(run), loadBalancing: 'least_request' } as const;
  // The policies run sequentially, because all calls run in this process.
  const plays = [
    ...(await Promise.all(SICKNESSES.map((sickness) => play(run, kind, sickness, sickness, withBudget(run))))),
    ...(await Promise.all(
      SICKNESSES.map((sickness) => play(run, kind, sickness, `${sickness}, least_request`, leastRequest)),
    )),
  ];
  return Object.assign({}, ...plays) as Measured;
}

async function play(
  run: Run,
  kind: UpstreamKind,
  sickness: (typeof SICKNESSES)[number],
  name: string,
  settings: Partial<GrpcClientSettings>,
): Promise<Measured> {
  const [ill, healthy] = await Promise.all([
    startUpstream(run, kind, sickness === 'failing' ? REJECTING : {}),
    startUpstream(run, kind),
  ]);
  const app = await startClientOf(run, ill, { url: `ipv4:${ill.url},${healthy.url}`, ...settings });
  // Waits until both replicas are connected before one is frozen.
  const before = reads(run, app, 50);
  await reach(() => [ill, healthy].every((upstream) => upstream.arrived('Get').length > 2), { intervalMs: 100 });
  await stop(before);
  if (sickness === 'frozen') ill.freeze();
  const [earlier, earlierOnOther] = [retriesOf(ill), retriesOf(healthy)];
  const gets = reads(run, app, PER_SECOND[run.which]);
  await reach(() => gets.calls.length >= READS[run.which === 'counts' ? 'counts' : run.length], { intervalMs: 100 });
  await stop(gets);
  if (sickness === 'frozen') ill.thaw();
  return {
    ...figuresOf(gets, `reads (${name})`),
    [`retries on the sick replica, ${name}`]: retriesOf(ill) - earlier,
    [`retries on the other replica, ${name}`]: retriesOf(healthy) - earlierOnOther,
  };
}

function settings(run: Run): Partial<GrpcClientSettings> {
  return {
    methods: { Get: { attemptTimeoutMs: ATTEMPT_TIMEOUT_MS[run.which] } },
    serviceConfig: { methodConfig: METHOD_CONFIG },
    ...outageGrace(run),
  };
}

/** Settings for round_robin, under which half of the first attempts fail; the default budget permits retries of a tenth of the calls. */
function withBudget(run: Run): Partial<GrpcClientSettings> {
  return {
    ...settings(run),
    loadBalancing: 'round_robin',
    serviceConfig: { retryThrottling: { maxTokens: 1_000, tokenRatio: 1 }, methodConfig: METHOD_CONFIG },
  };
}

function retriesOf(upstream: Upstream): number {
  return upstream.arrived('Get').filter(({ previousAttempts }) => previousAttempts > 0).length;
}
