import { stopServing, STOP_SERVING_BOUNDS } from './support/endpoint-health.js';
import { reads, stop } from './support/load.js';
import { MIXED_SERVERS_NEED, startMixedClient, startMixedServers } from './support/mixed-servers.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const CALLS_PER_SECOND = { counts: 60, all: 200 };
const NOT_SERVING_MS = { short: 1_000, full: 10_000 };

/** A grpcio, a grpc-go, and a grpc-js server report NOT_SERVING one after another; a second set of servers has no health service. */
export const mixedServersStopServing: Scenario = {
  name: 'mixed-servers-stop-serving',
  needs: MIXED_SERVERS_NEED,
  promise:
    'If `healthCheckConfig` is set, new calls to a grpcio, grpc-go, or grpc-js server stop within 100 ms after it reports NOT_SERVING, and resume after it reports SERVING. A server without the health service receives calls, and at most one health request per connection.',
  bounds: {
    ...STOP_SERVING_BOUNDS,
    calls: { atLeast: 100 },
    'calls failed': { atMost: 0 },
    'fewest calls to a server without the health service': { atLeast: 100 },
    'health requests to servers without the health service': { atMost: 1 },
    'calls failed, without the health service': { atMost: 0 },
  },
  async measure(run) {
    return { ...(await withHealth(run)), ...(await withoutHealth(run)) };
  },
};

const CHECKED = { healthCheckConfig: { serviceName: 'orders.v1.Orders' } };

async function withHealth(run: Run): Promise<Measured> {
  const servers = await startMixedServers(run, { health: 'SERVING' });
  const app = await startMixedClient(run, servers, { serviceConfig: CHECKED });
  const calls = reads(run, app, CALLS_PER_SECOND[run.which]);
  const measured: Record<string, number | string> = {};
  for (const server of servers.all) {
    const checked = {
      url: server.url,
      setHealth: (health: 'SERVING' | 'NOT_SERVING') => {
        server.change({ health });
      },
    };
    const figures = await stopServing(run, app, checked, NOT_SERVING_MS[run.length]);
    for (const [figure, value] of Object.entries(figures)) measured[`${figure} @${server.kind.implementation}`] = value;
  }
  await stop(calls);
  return {
    ...measured,
    calls: calls.calls.length,
    'calls failed': calls.failed.length,
    ...(calls.failed[0] && { 'first failure': String(calls.failed[0].error) }),
  };
}

async function withoutHealth(run: Run): Promise<Measured> {
  const servers = await startMixedServers(run);
  const app = await startMixedClient(run, servers, { serviceConfig: CHECKED });
  const calls = reads(run, app, CALLS_PER_SECOND[run.which]);
  const quietest = () => Math.min(...servers.all.map((server) => server.arrived('Get').length));
  await reach(() => quietest() >= 100, { intervalMs: 100 });
  // Waits for 2 s, because a client that wrongly reopens a Watch would do so within 1.2 s.
  await pass(run, 2_000);
  await stop(calls);
  const logging = (['grpcio', 'grpc-go'] as const).map((implementation) => servers.of(implementation));
  return {
    'fewest calls to a server without the health service': quietest(),
    ...Object.fromEntries(
      logging.map((server) => [
        `health requests to servers without the health service @${server.kind.implementation}`,
        server.arrived('Health').length,
      ]),
    ),
    'calls failed, without the health service': calls.failed.length,
    ...(calls.failed[0] && { 'first failure, without the health service': String(calls.failed[0].error) }),
  };
}
