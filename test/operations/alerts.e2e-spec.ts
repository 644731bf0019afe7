import { isDeepStrictEqual } from 'node:util';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import type { ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Subscription, firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { failureOf, startServer, type ServerSettings } from '../calls/support.js';
import { startApiServer, startPods, TARGET } from '../kubernetes/support.js';
import { skipWithout } from '../support/programs.js';
import { startPrometheus, type Alert } from '../support/prometheus.js';
import { serveInstrumented } from '../telemetry/collected-telemetry.js';
import { instrumentedClient, instrumentedScene } from '../telemetry/instrumented-client.js';
import { PANEL_QUERIES, RULES, RULES_TEXT, withoutVariables } from './operations-files.js';
import { serveMetrics, type ServedMetrics } from './served-metrics.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/**
 * The rules of docs/operate in time lapse: a minute takes 1 s, and an hour 4 s. No rule uses both units, so the durations of a rule keep
 * their ratios. The threshold of GrpcEndpointWatchFailing is in seconds, so it is divided by 60.
 */
const TIME_LAPSE = RULES_TEXT.replaceAll(/\b(\d+)m\b/g, '$1s')
  .replaceAll(/\b(\d+)h\b/g, (_, hours) => `${String(4 * Number(hours))}s`)
  .replace(/(?<=watch_failing\) > )\d+/, (seconds) => String(Number(seconds) / 60));
/** The usual scrape interval of 15 s and Prometheus's default lookback of 5 minutes, both divided by 60. */
const LAPSE = { interval: '250ms', lookback: '5s' };

/** Panels with a query for a feature that these applications do not use. */
const UNUSED = [
  'Ended waits', // In this panel, only the query for the server's stream limit returns no data.
  'Replaced connections',
  'Adaptive limits and delays',
  'Resumed streams',
  'Wait of queued calls',
  'Open streams of servers',
  'Writes by key',
];

/** A cause of an alert. `end()` ends the cause, or does nothing if the cause is a single event. */
interface Cause {
  /** Labels of the alert, in addition to the labels that every alert has. */
  readonly labels: Readonly<Record<string, string>>;
  end(): unknown;
}

/** Functions by alert. Each function starts the cause of its alert with real servers and clients. */
const CAUSES: Readonly<Record<string, (metrics: ServedMetrics) => Promise<Cause>>> = {
  async GrpcClientOutage() {
    const { echo, server } = await instrumentedScene({ outageGraceMs: 60_000 });
    await firstValueFrom(echo.unary({}));
    await server.stop('kill-connections');
    const waiting = firstValueFrom(echo.unary({}));
    const end = async () => {
      await server.restart();
      await waiting;
    };
    return { labels: labelsOf(server.url), end };
  },

  async GrpcClientFlapping() {
    const { client, echo, server } = await instrumentedScene({ outageGraceMs: 60_000, connections: { warm: true } });
    const end = repeat(async () => {
      await server.stop('kill-connections');
      await waitFor(() => client.connectivity.outage !== undefined);
      await server.restart();
      await firstValueFrom(echo.unary({}));
    });
    return { labels: labelsOf(server.url), end };
  },

  async GrpcClientRetryBudgetEmpty() {
    const { echo, server } = await instrumentedScene({}, FAILING);
    return { labels: labelsOf(server.url), end: repeat(() => failureOf(echo.unary({}))) };
  },

  async GrpcEndpointEjected() {
    const { url, end } = await callReplicas([FAILING, {}, {}]);
    return { labels: { ...labelsOf(url), resilient_grpc_reason: 'consecutive-failures' }, end };
  },

  async GrpcTooManyUnhealthyEndpoints() {
    const { url, end } = await callReplicas([FAILING, FAILING, {}]);
    return { labels: { grpc_target: url }, end };
  },

  async GrpcEndpointWatchFailing() {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { echo } = await instrumentedClient(TARGET);
    await firstValueFrom(echo.unary({}));
    await waitFor(() => api.openWatches === 1);
    await api.kill();
    return { labels: labelsOf(TARGET), end: () => api.start() };
  },

  async GrpcClientStreamLeak(metrics) {
    const scripts = { ServerStream: { messages: [{ number: 1 }], never: true } } as const;
    const { echo, server } = await instrumentedScene({}, { scripts });
    const streams = new Subscription();
    onTestFinished(() => {
      streams.unsubscribe();
    });
    let opened = 0;
    const stop = repeat(() => {
      // The alert compares the number of open streams with an earlier number, so the leak starts after a scrape with one open stream.
      if (opened > 0 && (metrics.scrapes < 2 || opened === 300)) return;
      opened += 1;
      streams.add(echo.serverStream({}).subscribe());
    });
    const end = async () => {
      await stop();
      streams.unsubscribe();
    };
    return { labels: { ...labelsOf(server.url), grpc_method: 'testing.v1.Echo/ServerStream' }, end };
  },

  async GrpcServerHandlerLeak() {
    // Only the timers of the server are faked, so that a minute passes at once.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { client, held } = await serveHolding({});
    const call = client.get({ id: '7' }, () => undefined);
    await vi.waitFor(() => {
      expect(held).toHaveLength(1);
    });
    call.cancel();
    await vi.advanceTimersByTimeAsync(70_000);
    vi.useRealTimers();
    return { labels: { grpc_method: 'orders.v1.Orders/Get' }, end: () => undefined };
  },

  async GrpcServerOverload() {
    const { client, held } = await serveHolding({ maxConcurrentCalls: { max: 1, queue: 0 } });
    client.get({ id: '7' }, () => undefined);
    await waitFor(() => held.length === 1);
    const end = repeat(() => new Promise((resolve) => client.get({ id: '8' }, resolve)));
    return { labels: {}, end };
  },

  async GrpcClientDrainCutOff() {
    const { echo, server, close } = await instrumentedScene({}, { scripts: { Unary: { never: true } } });
    const cut = failureOf(echo.unary({}));
    await waitFor(() => server.counts().open === 1);
    await close();
    await cut;
    return { labels: { resilient_grpc_client: 'echo' }, end: () => undefined };
  },

  async GrpcServerDrainCutOff() {
    const { client, held, close } = await serveHolding({ drain: { timeoutMs: 200 } });
    const cut = new Promise((resolve) => client.get({ id: '7' }, resolve));
    await waitFor(() => held.length === 1);
    await close();
    await cut;
    return { labels: {}, end: () => undefined };
  },
};

describe('Prometheus server that scrapes applications', () => {
  it('fires each alert for its cause, clears the alert after the cause ends, and returns data for every dashboard panel of a used feature', async ({
    skip,
  }) => {
    skip(...skipWithout('Prometheus'));
    expect(Object.keys(CAUSES)).toEqual(RULES.map(({ alert }) => alert));
    const metrics = await serveMetrics();
    // First and alone, because its timers are faked.
    const leak = await CAUSES['GrpcServerHandlerLeak']!(metrics);
    const causes = await Promise.all(
      RULES.map(async ({ alert }) => (alert === 'GrpcServerHandlerLeak' ? leak : CAUSES[alert]!(metrics))),
    );
    const prometheus = await startPrometheus(metrics.address, TIME_LAPSE, LAPSE);
    await Promise.all(
      RULES.map(async ({ alert, labels: { severity } }, index) => {
        const { labels, end } = causes[index]!;
        const expected = { alertname: alert, job: 'shop', severity, ...labels };
        let all: readonly Alert[] = [];
        const current = async (): Promise<Alert | undefined> => {
          all = await prometheus.alerts();
          return all.find((one) => isDeepStrictEqual(withoutInstance(one), expected));
        };
        const until = (state: string, isMet: (found: Alert | undefined) => boolean) =>
          waitFor(async () => isMet(await current()), {
            timeoutMs: 90_000,
            intervalMs: 200,
            describe: () => `${JSON.stringify(expected)} to be ${state}; alerts are ${JSON.stringify(all)}`,
          });
        await until('firing', (found) => found?.state === 'firing');
        await end();
        await until('inactive', (found) => found === undefined);
      }),
    );
    const empty = new Set<string>();
    for (const [title, query] of PANEL_QUERIES) {
      if ((await prometheus.query(withoutVariables(query))).length === 0) empty.add(title);
    }
    expect([...empty]).toEqual(UNUSED);
  });
});

const FAILING: ServerSettings = { scripts: { Unary: { status: 'UNAVAILABLE' } } };

/** The labels of a client of `url`, which is an address or a target. */
const labelsOf = (url: string) => ({
  resilient_grpc_client: 'echo',
  grpc_target: /^\w+:/.test(url) ? url : `dns:///${url}`,
});

/** Labels without the address of the process. */
function withoutInstance({ labels: { instance: _, ...labels } }: Alert) {
  return labels;
}

/** Repeats `work` until the returned function is called or the test ends. */
function repeat(work: () => unknown): () => Promise<void> {
  let isStopped = false;
  const running = (async () => {
    while (!isStopped) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const stop = () => {
    isStopped = true;
    return running;
  };
  onTestFinished(stop);
  return stop;
}

/** Starts servers, and repeats calls that are balanced across them. */
async function callReplicas(replicas: readonly ServerSettings[]) {
  const servers = await Promise.all(replicas.map((settings) => startServer(settings)));
  const url = `ipv4:${servers.map((server) => server.url).join(',')}`;
  const { echo } = await instrumentedClient(url, { loadBalancing: 'round_robin', ejectUnhealthy: true });
  return { url, end: repeat(() => Promise.allSettled([firstValueFrom(echo.unary({}))])) };
}

/** Serves orders; each Get is held until the end of the test. */
async function serveHolding(options: Partial<ResilientGrpcServerOptions>) {
  const held: (() => void)[] = [];
  @Controller()
  class HoldingController {
    @GrpcMethod('Orders', 'Get')
    get(): Promise<object> {
      return new Promise((resolve) =>
        held.push(() => {
          resolve({});
        }),
      );
    }
  }
  onTestFinished(() => {
    for (const end of held) end();
  });
  const { client, close } = await serveInstrumented(HoldingController, options);
  return { client: client as any, held, close };
}
