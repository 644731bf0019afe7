import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { quantile, type CallLoad } from '../support/call-load.js';
import { aboveDebug, ORDERS_PROTO, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { reads, stop } from './support/load.js';
import { outageGrace, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const ENDPOINTS = 3;
/** Minimum number of endpoints in use: the default panic threshold, which is half of the endpoints, rounded up. */
const MIN_ENDPOINTS = 2;
const LATENCY_MS = 20;
const SLOWDOWN_FACTOR = 25;
const CALLS_PER_SECOND = { counts: 60, all: 200 };
/** Maximum time from the fault to the ejection. */
const MAX_EJECTION_DELAY_MS = 2_000;
const MEASURED_MS = { short: 4_000, full: 20_000 };

/** A fault of one or more endpoints. */
interface Fault {
  readonly name: string;
  readonly urls: readonly string[];
  /** Number of faulty endpoints, which are the first ones in `urls`. @defaultValue 1 */
  readonly count?: number;
  start(): void;
  end?(): void;
}

/** One of several servers fails, is slow, is frozen, or flaps, or two of them fail. */
export const oneUnhealthyEndpoint: Scenario = {
  name: 'one-unhealthy-endpoint',
  promise:
    'A client with `ejectUnhealthy` and `attemptTimeoutMs: 1_000` makes 200 calls per second to three servers. If one fails, is 25 times slower, or is frozen, the client stops using it within 2 s. After that, reads succeed, and their p99 is at most 1.5 times that of healthy servers. At least half of the endpoints stay in use, even if two fail.',
  bounds: {
    'calls failed, failing': { atMost: 0, timed: true },
    'calls failed after the ejection, failing': { atMost: 0 },
    'calls failed, slow': { atMost: 0 },
    'calls failed after the first 2 s, frozen': { atMost: 0, timed: true },
    'calls failed, flapping': { atMost: 0 },
    'endpoints ejected, failing': { atLeast: 1, atMost: 1 },
    'endpoints ejected, slow': { atLeast: 1, atMost: 1 },
    'endpoints ejected, frozen': { atLeast: 1, atMost: 1 },
    'endpoints ejected, two failing': { atLeast: 1, atMost: 1 },
    'healthy endpoints ejected': { atMost: 0 },
    'fewest endpoints in use': { atLeast: MIN_ENDPOINTS },
    'log lines about ejections': { atLeast: 4, atMost: 5 },
    'p99 relative to healthy servers, failing': { atMost: 1.5, timed: true },
    'p99 relative to healthy servers, slow': { atMost: 1.5, timed: true },
    'p99 relative to healthy servers, frozen': { atMost: 1.5, timed: true },
  },
  async measure(run) {
    const parts: Measured[] = [];
    const faults = [failing, slow, frozen, flapping, twoFailing];
    const measureFault = async (start: (typeof faults)[number]) => measure(run, await start(run));
    if (run.which === 'counts') parts.push(...(await Promise.all(faults.map(measureFault))));
    // If latencies are judged, the faults run sequentially, because concurrent faults would increase the latencies.
    else for (const start of faults) parts.push(await measureFault(start));
    const sum = (name: string) => parts.reduce((total, one) => total + Number(one[name]), 0);
    return {
      ...Object.assign({}, ...parts),
      'healthy endpoints ejected': sum('healthy endpoints ejected'),
      'fewest endpoints in use': Math.min(...parts.map((one) => Number(one['fewest endpoints in use']))),
      'log lines about ejections': sum('log lines about ejections'),
    };
  },
};

async function measure(run: Run, fault: Fault): Promise<Measured> {
  const app = await startOrdersApp({
    url: `ipv4:${fault.urls.join(',')}`,
    loadBalancing: 'round_robin',
    ejectUnhealthy: true,
    // The timeouts are longer if only counts are judged, so that a delay on a busy machine does not fail a call.
    timeoutMs: run.which === 'counts' ? 60_000 : 10_000,
    methods: { Get: { idempotent: true, attemptTimeoutMs: run.which === 'counts' ? 5_000 : 1_000 } },
    ...outageGrace(run),
  });
  const ejected: string[] = [];
  let ejectedAt = Infinity;
  let fewest = ENDPOINTS;
  app.client.events$.subscribe((event: GrpcClientEvent) => {
    if (event.type === 'endpoint' && event.change === 'ejected') {
      ejected.push(event.address);
      ejectedAt = Math.min(ejectedAt, event.at);
    }
  });
  const calls = reads(run, app, CALLS_PER_SECOND[run.which]);
  try {
    await reach(() => app.client.snapshot().connections.filter(({ state }) => state === 'READY').length === ENDPOINTS);
    const watch = setInterval(() => (fewest = Math.min(fewest, inUse(app))), 10);
    run.onEnd(() => {
      clearInterval(watch);
    });
    await pass(run, 2_000);
    const healthy = p99(calls, -Infinity, Date.now());
    const faultAt = Date.now();
    fault.start();
    if (run.which === 'counts' && fault.name !== 'flapping') await reach(() => ejected.length > 0);
    await pass(run, MAX_EJECTION_DELAY_MS + MEASURED_MS[run.length]);
    const from = faultAt + MAX_EJECTION_DELAY_MS;
    const adapted = p99(calls, from, Date.now() - 1_000);
    fault.end?.();
    await stop(calls);
    clearInterval(watch);
    const failed = calls.failed.map(({ startedAt }) => startedAt);
    const unhealthy = fault.urls.slice(0, fault.count ?? 1);
    return {
      [`calls, ${fault.name}`]: calls.calls.length,
      [`calls failed, ${fault.name}`]: failed.length,
      [`calls failed after the ejection, ${fault.name}`]: failed.filter((at) => at > ejectedAt).length,
      [`calls failed after the first 2 s, ${fault.name}`]: failed.filter((at) => at >= from).length,
      ...(calls.failed[0] && { [`first failure, ${fault.name}`]: String(calls.failed[0].error) }),
      [`endpoints ejected, ${fault.name}`]: new Set(ejected).size,
      [`p99 ms of healthy endpoints, ${fault.name}`]: healthy,
      [`p99 relative to healthy servers, ${fault.name}`]: adapted / healthy,
      'healthy endpoints ejected': ejected.filter((address) => !unhealthy.includes(address)).length,
      'fewest endpoints in use': fewest,
      'log lines about ejections': aboveDebug(app).filter((line) => line.includes('ejected')).length,
    };
  } finally {
    fault.end?.();
    await app.close();
  }
}

/** Number of connected endpoints that are not ejected. */
function inUse({ client }: OrdersApp): number {
  return client.snapshot().connections.filter(({ state, ejected }) => state === 'READY' && ejected === undefined)
    .length;
}

function p99(calls: CallLoad, from: number, to: number): number {
  const within = calls.succeeded.filter(({ startedAt }) => startedAt >= from && startedAt < to);
  return quantile(
    within.map(({ latencyMs }) => latencyMs ?? NaN),
    0.99,
  );
}

const failing = (run: Run) => failingOf(run, 'failing', 1);
const twoFailing = (run: Run) => failingOf(run, 'two failing', 2);

async function failingOf(run: Run, name: string, count: number): Promise<Fault> {
  const servers = await scripted(run);
  return {
    name,
    urls: servers.map(({ url }) => url),
    count,
    start: () => {
      for (const unhealthy of servers.slice(0, count))
        unhealthy.script('Get', { status: 'UNAVAILABLE', details: 'no database' });
    },
  };
}

async function slow(run: Run): Promise<Fault> {
  const [unhealthy, ...others] = await scripted(run);
  return {
    name: 'slow',
    urls: [unhealthy, ...others].map(({ url }) => url),
    start: () => void unhealthy.script('Get', { delayMs: LATENCY_MS * SLOWDOWN_FACTOR, message: { id: '1' } }),
  };
}

async function flapping(run: Run): Promise<Fault> {
  const [unhealthy, ...others] = await scripted(run);
  let timer: NodeJS.Timeout | undefined;
  return {
    name: 'flapping',
    urls: [unhealthy, ...others].map(({ url }) => url),
    start: () => (timer = setInterval(() => void unhealthy.restart('kill-connections').catch(() => undefined), 500)),
    end: () => clearInterval(timer),
  };
}

async function frozen(run: Run): Promise<Fault> {
  const start = () => startUpstream(run, { implementation: 'grpc-js', security: 'plain' }, { delayMs: LATENCY_MS });
  const upstreams = await Promise.all(Array.from({ length: ENDPOINTS }, start));
  return {
    name: 'frozen',
    urls: upstreams.map(({ url }) => url),
    start: () => upstreams[0]?.freeze(),
    end: () => upstreams[0]?.thaw(),
  };
}

async function scripted(run: Run): Promise<[ScriptedGrpcServer, ...ScriptedGrpcServer[]]> {
  const start = () =>
    ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { delayMs: LATENCY_MS, message: { id: '1' } } },
    });
  const servers = await Promise.all(Array.from({ length: ENDPOINTS }, start));
  for (const server of servers) run.onEnd(() => server.close());
  // The cast is safe because there are three servers.
  return servers as [ScriptedGrpcServer, ...ScriptedGrpcServer[]];
}
