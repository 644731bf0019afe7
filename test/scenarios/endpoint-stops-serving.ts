import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { startOrdersApp } from '../support/orders-app.js';
import { stopServing, STOP_SERVING_BOUNDS } from './support/endpoint-health.js';
import { reads, stop } from './support/load.js';
import { outageGrace } from './support/orders-client.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const SERVICE = 'orders.v1.Orders';
const ENDPOINTS = 3;
const CALLS_PER_SECOND = { counts: 60, all: 200 };

/** One of several servers reports NOT_SERVING, then SERVING again. */
export const endpointStopsServing: Scenario = {
  name: 'endpoint-stops-serving',
  promise:
    'If `healthCheckConfig` is set, new calls to a server stop within 100 ms after it reports NOT_SERVING, and resume after it reports SERVING. No call fails.',
  bounds: {
    calls: { atLeast: 100 },
    'calls failed': { atMost: 0 },
    ...STOP_SERVING_BOUNDS,
    outages: { atMost: 0 },
  },
  measure,
};

async function measure(run: Run): Promise<Measured> {
  const script = new URL('../health/health-server.mjs', import.meta.url);
  const servers = await Promise.all(Array.from({ length: ENDPOINTS }, () => ChildServer.start({ script })));
  for (const server of servers) run.onEnd(() => server.close());
  const [unhealthy] = servers as [ChildServer];
  const app = await startOrdersApp({
    url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
    loadBalancing: 'round_robin',
    serviceConfig: { healthCheckConfig: { serviceName: SERVICE } },
    ...outageGrace(run),
  });
  run.onEnd(() => app.close());
  const calls = reads(run, app, CALLS_PER_SECOND[run.which]);
  const setHealth = (status: string) => {
    unhealthy.send({ status });
  };
  const measured = await stopServing(run, app, { url: unhealthy.url, setHealth }, 3_000);
  await stop(calls);
  return {
    ...measured,
    calls: calls.calls.length,
    'calls failed': calls.failed.length,
    ...(calls.failed[0] && { 'first failure': String(calls.failed[0].error) }),
    outages: app.client.snapshot().outages.total,
  };
}
