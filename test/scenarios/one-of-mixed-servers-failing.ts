import type { GrpcClientEvent, GrpcClientSettings } from 'nestjs-resilient-grpc';
import { load, stop } from './support/load.js';
import {
  MIXED_SERVERS_NEED,
  startMixedClient,
  startMixedServers,
  type MixedImplementation,
  type MixedServers,
} from './support/mixed-servers.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const LATENCY_MS = 20;
const SLOW_MS = 500;
const PER_SECOND = { counts: 60, all: 200 };
const ATTEMPT_TIMEOUT_MS = { counts: 2_000, all: 1_000 };
/** Maximum time from the fault to the ejection. */
const MAX_EJECTION_DELAY_MS = 2_000;
const MEASURED_MS = { counts: 1_000, short: 4_000, full: 20_000 };
/** Options of a healthy server, a slow server, and a server that rejects each request immediately with UNAVAILABLE. */
const [HEALTHY, SLOW, REJECTING] = [
  { delayMs: LATENCY_MS, queueMs: 1_000_000_000 },
  { delayMs: SLOW_MS },
  { queueMs: -1_000_000_000 },
];

interface Fault {
  readonly name: string;
  readonly implementation: MixedImplementation;
  start(server: Upstream): void;
  end(server: Upstream): void;
}

/** Faults to measure, one for each implementation. */
const FAULTS: readonly Fault[] = [
  { name: 'failing', implementation: 'grpcio', ...changing(REJECTING) },
  { name: 'slow', implementation: 'grpc-go', ...changing(SLOW) },
  {
    name: 'frozen',
    implementation: 'grpc-js',
    start: (server) => {
      server.freeze();
    },
    end: (server) => {
      server.thaw();
    },
  },
];

/** A DNS name resolves to three servers (grpcio, grpc-go, and grpc-js), and one of them fails, is slow, or is frozen. */
export const oneOfMixedServersFailing: Scenario = {
  name: 'one-of-mixed-servers-failing',
  needs: MIXED_SERVERS_NEED,
  promise:
    'A DNS name resolves to three servers (grpcio, grpc-go, and grpc-js), and a client with `ejectUnhealthy`, `maxAttempts: 2`, and `attemptTimeoutMs: 1_000` makes 200 calls per second. If one server fails, is slow, or is frozen, the client stops using it within 2 s. After that, at most 0.1% of the reads fail, and no read reaches the same server twice.',
  bounds: Object.fromEntries(
    FAULTS.flatMap(({ name }) => [
      [`time until the ejection, ${name}, ms`, { atMost: MAX_EJECTION_DELAY_MS, timed: true }],
      [`reads after the ejection, ${name}`, { atLeast: 100 }],
      [`reads that failed after the ejection, ${name}`, { atMost: 0 }],
      [`reads failed after the first 2 s, ${name}, %`, { atMost: 0.1, timed: true }],
      [`reads that reached a server twice, ${name}`, { atMost: 0 }],
      [`healthy servers ejected, ${name}`, { atMost: 0 }],
    ]),
  ),
  async measure(run) {
    const servers = await startMixedServers(run, HEALTHY);
    const parts: Measured[] = [];
    // Faults occur sequentially, because they share the servers.
    for (const fault of FAULTS) parts.push(await measure(run, servers, fault));
    return Object.assign({}, ...parts) as Measured;
  },
};

async function measure(
  run: Run,
  servers: MixedServers,
  { name, implementation, start, end }: Fault,
): Promise<Measured> {
  const app = await startMixedClient(run, servers, settings(run));
  const unhealthy = servers.of(implementation);
  const ejected: { readonly address: string; readonly at: number }[] = [];
  app.client.events$.subscribe((event: GrpcClientEvent) => {
    if (event.type === 'endpoint' && event.change === 'ejected') ejected.push(event);
  });
  const reads = load(run, PER_SECOND[run.which], (number) => app.orders.get({ id: `${name}-${String(number)}` }));
  await pass(run, 2_000);
  const faultAt = Date.now();
  start(unhealthy);
  await reach(() => ejected.some(({ address }) => address === unhealthy.url));
  const adaptedFrom = faultAt + MAX_EJECTION_DELAY_MS;
  await pass(run, MAX_EJECTION_DELAY_MS + MEASURED_MS[run.which === 'counts' ? 'counts' : run.length]);
  await stop(reads);
  const ejectedAt = Math.min(...ejected.filter(({ address }) => address === unhealthy.url).map(({ at }) => at));
  end(unhealthy);
  await app.close();
  const from = (at: number) => reads.calls.filter(({ startedAt }) => startedAt > at);
  const failedFrom = (at: number) => from(at).filter(({ error }) => error !== undefined).length;
  return {
    [`time until the ejection, ${name}, ms`]: ejectedAt - faultAt,
    [`reads after the ejection, ${name}`]: from(ejectedAt).length,
    [`reads that failed, ${name}`]: reads.failed.length,
    ...(reads.failed[0] && { [`first failure, ${name}`]: String(reads.failed[0].error) }),
    [`reads that failed after the ejection, ${name}`]: failedFrom(ejectedAt),
    [`reads failed after the first 2 s, ${name}, %`]: (failedFrom(adaptedFrom) / from(adaptedFrom).length) * 100,
    [`reads that reached a server twice, ${name}`]: servers.all.reduce((sum, one) => sum + one.duplicates('Get'), 0),
    [`healthy servers ejected, ${name}`]: ejected.filter(({ address }) => address !== unhealthy.url).length,
  };
}

function settings(run: Run): Partial<GrpcClientSettings> {
  const retryPolicy = {
    maxAttempts: 2,
    initialBackoff: '0.01s',
    maxBackoff: '0.01s',
    backoffMultiplier: 1,
    retryableStatusCodes: ['UNAVAILABLE', 'DEADLINE_EXCEEDED'],
  } as const;
  return {
    ejectUnhealthy: true,
    timeoutMs: 10_000,
    methods: { Get: { attemptTimeoutMs: ATTEMPT_TIMEOUT_MS[run.which] } },
    serviceConfig: { methodConfig: [{ name: [{ service: 'orders.v1.Orders', method: 'Get' }], retryPolicy }] },
  };
}

function changing(options: Parameters<Upstream['change']>[0]): Pick<Fault, 'start' | 'end'> {
  const change = (to: typeof options) => (server: Upstream) => {
    server.change(to);
  };
  return { start: change(options), end: change(HEALTHY) };
}
