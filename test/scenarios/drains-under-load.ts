import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { NGINX, RealProxy } from '../guides/proxies/real-proxy.js';
import type { CallLoad } from '../support/call-load.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { isInstalled } from '../support/programs.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import { Upstream } from './support/upstream.js';

/** Calls per second; half of them are reads, and half are writes. */
const PER_SECOND = { counts: 50, all: 500 };
/** Minimum number of calls to all servers together, divided equally among the variants. */
const CALLS = { counts: 400, all: 10_000 };
const DRAINS = 2;
const DELAY_MS = 20;
const AGE_MS = 500;
/**
 * Grace period of the maximum connection age. It is long, because calls on a busy machine would outlast a short grace period and fail at
 * its end.
 */
const AGE_GRACE_MS = 60_000;

interface Drained {
  readonly app: OrdersApp;
  /** Servers that receive the calls. */
  readonly upstreams: readonly Upstream[];
  /** Causes a GOAWAY or waits for the next one; resolves when calls arrive on another connection, or when the old connection has ended. */
  drain(): Promise<void>;
}

/** Servers and a proxy send GOAWAY under a high rate of reads and writes. */
export const drainsUnderLoad: Scenario = {
  name: 'drains-under-load',
  promise:
    "At 500 calls per second, no read or write fails or is sent twice. This applies while a server (grpc-js, grpc-go, or this library's) drains, while a connection to a grpcio or grpc-go server reaches its maximum age, and while nginx reloads in front of the servers.",
  bounds: {
    drains: { atLeast: DRAINS },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'reads sent twice': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
  },
  measure: async (run) => {
    const variants = [
      ['grpc-js', () => startSuccessors(run, 'grpc-js')],
      ['ours', () => startSuccessors(run, 'ours')],
      ...(isInstalled('grpcio') ? [['grpcio', () => startWithMaxAge(run, 'grpcio')] as const] : []),
      ...(isInstalled('grpc-go')
        ? ([
            ['grpc-go', () => startSuccessors(run, 'grpc-go')],
            ['grpc-go, age', () => startWithMaxAge(run, 'grpc-go')],
          ] as const)
        : []),
      ...(isInstalled('nginx') ? [['nginx', () => startBehindNginx(run)] as const] : []),
    ] as const;
    const measured: Measured[] = [];
    // The variants run sequentially, because concurrent ones would overload a machine with two cores.
    for (const [name, start] of variants) {
      const figures = await measureDrains(run, await start(), CALLS[run.which] / variants.length);
      measured.push(
        Object.fromEntries(Object.entries(figures).map(([figure, value]) => [`${figure} @${name}`, value])),
      );
    }
    return Object.assign({}, ...measured) as Measured;
  },
};

async function measureDrains(run: Run, { app, upstreams, drain }: Drained, count: number): Promise<Measured> {
  const perSecond = PER_SECOND[run.which] / 2;
  const loads = [reads(run, app, perSecond), writes(run, app, perSecond)] as const;
  const more = async (calls: CallLoad) => {
    const before = calls.succeeded.length;
    await reach(() => calls.succeeded.length > before + 10);
  };
  let drained = 0;
  const made = () => loads.reduce((sum, { calls }) => sum + calls.length, 0);
  while (!run.signal.aborted && (drained < DRAINS || made() < count)) {
    await Promise.all(loads.map(more));
    await drain();
    drained += 1;
  }
  await Promise.all(loads.map(stop));
  const duplicatesOf = (method: 'Get' | 'Create') => {
    const keys = upstreams.flatMap((upstream) => upstream.arrived(method).map(({ key }) => key));
    return keys.length - new Set(keys).size;
  };
  const [gets, creates] = loads;
  return {
    drains: drained,
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'reads sent twice': duplicatesOf('Get'),
    'writes sent twice': duplicatesOf('Create'),
  };
}

const arrivals = (upstreams: readonly Upstream[]) => upstreams.flatMap((upstream) => upstream.arrived('Get', 'Create'));

/** Waits until calls arrive on a new connection. */
async function waitForNewConnection(upstreams: readonly Upstream[], before: number): Promise<void> {
  const count = () => new Set(arrivals(upstreams).map(({ peer }) => peer)).size;
  await reach(() => count() > before, { intervalMs: 50, describe: () => `more than ${before} connections` });
}

/** Starts a proxy and its upstream. Each drain switches the proxy to a new server, and sends SIGTERM to the previous one. */
async function startSuccessors(run: Run, implementation: 'grpc-js' | 'grpc-go' | 'ours'): Promise<Drained> {
  const kind: UpstreamKind = { implementation, security: 'plain' };
  const started: Promise<Upstream>[] = [];
  const start = () => {
    const upstream = Upstream.start(kind, { delayMs: DELAY_MS });
    // Prevents an unhandled rejection if the run ends before the upstream is awaited.
    upstream.catch(() => undefined);
    started.push(upstream);
    return upstream;
  };
  run.onEnd(async () => {
    for (const result of await Promise.allSettled(started))
      if (result.status === 'fulfilled') await result.value.close();
  });
  const first = await start();
  // Starts while the old server is still serving.
  let coming = start();
  const upstreams = [first];
  const balancer = run.closeAtEnd(await FaultProxy.start(first.url));
  const app = await startClientOf(run, first, { url: balancer.url, ...outageGrace(run) });
  const drain = async () => {
    const [old, next] = [upstreams.at(-1), await coming];
    coming = start();
    upstreams.push(next);
    balancer.retarget(next.url);
    await old?.terminate();
    await reach(() => next.arrived('Get', 'Create').length > 0, { intervalMs: 50 });
  };
  return { app, upstreams, drain };
}

/**
 * Starts a server that sends GOAWAY at the maximum connection age. This is the only variant with grpcio, because grpcio can fail writes
 * that arrive between SIGTERM and its GOAWAY.
 */
async function startWithMaxAge(run: Run, implementation: 'grpcio' | 'grpc-go'): Promise<Drained> {
  const serverOptions = { 'grpc.max_connection_age_ms': AGE_MS, 'grpc.max_connection_age_grace_ms': AGE_GRACE_MS };
  const kind: UpstreamKind = { implementation, security: 'plain' };
  const upstream = await startUpstream(run, kind, { delayMs: DELAY_MS, serverOptions });
  const app = await startClientOf(run, upstream, outageGrace(run));
  const upstreams = [upstream];
  let connections = 1;
  return { app, upstreams, drain: () => waitForNewConnection(upstreams, connections++) };
}

/** Starts nginx in front of two servers; a drain reloads its configuration. */
async function startBehindNginx(run: Run): Promise<Drained> {
  const kind: UpstreamKind = { implementation: 'grpc-js', security: 'plain' };
  const upstreams = await Promise.all([1, 2].map(() => startUpstream(run, kind, { delayMs: DELAY_MS })));
  const ports = upstreams.map(({ url }) => Number(url.split(':')[1]));
  const proxy = run.closeAtEnd(await RealProxy.start(NGINX, ports));
  const app = run.closeAtEnd(await startOrdersApp({ url: proxy.url, ...outageGrace(run) }));
  const drain = async () => {
    const ended = () => app.client.snapshot().connections[0]?.ended ?? 0;
    const before = ended();
    proxy.reload();
    await reach(() => ended() > before, { intervalMs: 50 });
  };
  return { app, upstreams, drain };
}
