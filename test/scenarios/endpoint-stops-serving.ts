import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { reads, stop } from './support/load.js';
import { outageGrace } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Situation } from './support/situation.js';

const SERVICE = 'orders.v1.Orders';
const ENDPOINTS = 3;
const CALLS_PER_SECOND = { counts: 60, all: 200 };
/** Time after the change of status in which calls may still start. */
const MAX_REACTION_MS = 100;

/** One of several servers reports NOT_SERVING, then SERVING again. */
export const endpointStopsServing: Situation = {
  name: 'endpoint-stops-serving',
  promise:
    'With `healthCheckConfig`, a server that reports NOT_SERVING gets no calls from 100 ms later until it reports SERVING again, and no call fails.',
  bounds: {
    calls: { atLeast: 100 },
    'calls failed': { atMost: 0 },
    'calls to it before': { atLeast: 1 },
    'calls to it from 100 ms on': { atMost: 0, timed: true },
    'calls to it once its report has arrived': { atMost: 0 },
    'calls to it afterward': { atLeast: 1 },
    outages: { atMost: 0 },
  },
  play,
};

async function play(run: Run): Promise<Measured> {
  const script = new URL('../health/health-server.mjs', import.meta.url);
  const servers = await Promise.all(Array.from({ length: ENDPOINTS }, () => ChildServer.start({ script })));
  for (const server of servers) run.onEnd(() => server.close());
  const [sick] = servers as [ChildServer];
  const app = await startOrdersApp({
    url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
    loadBalancing: 'round_robin',
    healthCheckConfig: { serviceName: SERVICE },
    ...outageGrace(run),
  });
  run.onEnd(() => app.close());
  const started = callsTo(app, sick.url);
  const calls = reads(run, app, CALLS_PER_SECOND[run.which]);
  await reach(() => started.length > 0);
  const before = started.length;
  sick.send({ status: 'NOT_SERVING' });
  const from = Date.now() + MAX_REACTION_MS;
  await reach(() => healthOf(app, sick.url) === 'not-serving');
  const reportedAt = Date.now();
  await pass(run, 3_000);
  const until = Date.now();
  const during = started.slice();
  sick.send({ status: 'SERVING' });
  await reach(() => started.some((at) => at > until));
  await stop(calls);
  return {
    calls: calls.calls.length,
    'calls failed': calls.failed.length,
    ...(calls.failed[0] && { 'first failure': String(calls.failed[0].error) }),
    'calls to it before': before,
    'calls to it from 100 ms on': during.filter((at) => at >= from).length,
    'calls to it once its report has arrived': during.filter((at) => at > reportedAt).length,
    'calls to it afterward': started.length - during.length,
    outages: app.client.snapshot().outages.total,
  };
}

/** Start times of the calls that the server at `url` answers. */
function callsTo({ client }: OrdersApp, url: string): readonly number[] {
  const started: number[] = [];
  client.events$.subscribe((event) => {
    if (event.type === 'call-end' && event.end.peer === url) started.push(event.at - event.end.durationMs);
  });
  return started;
}

function healthOf({ client }: OrdersApp, url: string): string | undefined {
  return client.snapshot().connections.find(({ address }) => address === url)?.health;
}
