import { NestFactory } from '@nestjs/core';
import {
  getGrpcClientToken,
  ResilientGrpcModule,
  type GrpcClientEvent,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { failureOf, type ClientSettings, type EchoService } from '../calls/support.js';
import { startDashboardApp } from '../dashboard/dashboard-app.js';
import { codeBlocks } from '../docs/markdown.js';
import { openPage, startBrowser } from '../support/browser.js';
import { CapturedLog } from '../support/captured-log.js';
import { skipWithout } from '../support/programs.js';
import { collectTelemetry } from '../telemetry/collected-telemetry.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { startApiServer, startPods, TARGET } from './support.js';

const SLOW = { timeoutMs: 20_000 };

/** The log lines in the guide. */
const documentedLines = codeBlocks('docs/deploy/kubernetes-resolver.md')
  .find(({ text }) => text.startsWith('WARN'))!
  .text.trim()
  .split('\n');

/** A log line without the values that differ between runs. */
const shape = (line: string): string =>
  line
    .replace(/\[ResilientGrpc:\w+\] kubernetes:\S+:/, 'TARGET:')
    .replace(/at https:\S+: [^;]+;/, 'at SERVER: CAUSE;')
    .replace(/\d+ address(es)?/, 'ADDRESSES')
    .replace(/after [\d.]+ m?s$/, 'after TIME');

/** Starts an application with a client of the pods. Records the log of the application and the events of the client. */
async function startApp(settings: ClientSettings = {}) {
  const log = new CapturedLog();
  class AppModule {}
  const app = await NestFactory.createApplicationContext(
    {
      module: AppModule,
      imports: [
        ResilientGrpcTelemetryModule.forRoot(),
        // The cast is safe because the contract has a `protoPath`.
        ResilientGrpcModule.forFeature([{ name: 'echo', url: TARGET, protoPath: ECHO_PROTO, ...settings } as never]),
      ],
    },
    { logger: log },
  );
  onTestFinished(() => app.close());
  const client = app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
  const events: GrpcClientEvent[] = [];
  client.events$.subscribe((event) => events.push(event));
  const echo = client.getService<EchoService>('Echo');
  return {
    app,
    client,
    echo,
    call: () => firstValueFrom(echo.unary({})),
    watch: () => client.snapshot().resolution.watch,
    of: (type: GrpcClientEvent['type']) => events.filter((event) => event.type === type),
    lines: () => log.lines.filter(({ text }) => text.startsWith(`${TARGET}: `)),
  };
}

describe('watch of a kubernetes target', () => {
  it('shows the endpoints by condition and the Kubernetes watch in the snapshot, and reports the watch as stopped while the channel is idle', async () => {
    const api = await startApiServer();
    const [a] = await startPods(api, 'a');
    api.set({ name: 'b', port: 1, ready: false });
    const { call, watch, client } = await startApp({ connections: { idleMs: 1_000 } });
    expect(watch()).toBeUndefined();
    await call();
    await waitFor(() => watch()?.state === 'watching');
    const first = watch()!;
    expect(first).toMatchObject({ server: api.url, endpoints: { ready: 1, notReady: 1, terminating: 0 } });
    expect(first).not.toHaveProperty('error');
    api.set({ name: 'a', port: a!.server.port, terminating: true, serving: true });
    await waitFor(() => watch()?.endpoints?.terminating === 1);
    expect(watch()!.since).toBe(first.since);
    expect(Date.parse(watch()!.changedAt!)).toBeGreaterThanOrEqual(Date.parse(first.changedAt!));
    await waitFor(() => watch()?.state === 'stopped', SLOW);
    expect(client.connectivity.state).toBe('IDLE');
  });

  it('shows the Kubernetes watch as stopped after the client is closed', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { call, watch, client } = await startApp();
    await call();
    await waitFor(() => watch()?.state === 'watching');
    await client.close();
    expect(watch()?.state).toBe('stopped');
  });

  it('logs one line when the API server becomes unreachable, and one when the API server recovers', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { call, watch, of, lines } = await startApp();
    await call();
    await waitFor(() => api.openWatches === 1);
    await api.kill();
    await waitFor(() => watch()?.state === 'failing', SLOW);
    const { error, since } = watch()!;
    expect(error).toMatch(
      /^cannot watch EndpointSlices at https:\S+: (connect ECONNREFUSED|read ECONNRESET|aborted|socket)/,
    );
    expect(watch()!.endpoints).toEqual({ ready: 1, notReady: 0, terminating: 0 });
    await waitFor(() => lines().length === 1);
    await call();
    await api.start();
    await waitFor(() => watch()?.state === 'watching', SLOW);
    expect(Date.parse(watch()!.since)).toBeGreaterThanOrEqual(Date.parse(since));
    expect(watch()).not.toHaveProperty('error');
    expect(of('endpoint-watch')).toMatchObject([
      { change: 'failed', cause: error, addresses: 1 },
      { change: 'restored', failedMs: expect.any(Number) },
    ]);
    expect(lines()).toMatchObject([
      {
        level: 'warn',
        context: 'ResilientGrpc:echo',
        text: `${TARGET}: ${error!}; the client keeps its 1 address, and the request is repeated at least every 30 s`,
      },
      { level: 'log', text: expect.stringMatching(/^kubernetes:\S+: endpoint watch restored after [\d.]+ m?s$/) },
    ]);
    const written = lines().map(({ level, context, text }) => `${level.toUpperCase()} [${context}] ${text}`);
    expect(written.map(shape)).toEqual(documentedLines.map(shape));
  });

  it('logs the manifest that grants the permission, and adds it to the event and the snapshot, if the permission is removed while the Kubernetes watch is open', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { call, watch, of, lines } = await startApp();
    await call();
    await waitFor(() => api.openWatches === 1);
    api.fault = 'forbidden';
    api.endWatches();
    await waitFor(() => watch()?.state === 'failing', SLOW);
    await call();
    const { error, remedy } = watch()!;
    expect(error).toContain('403 endpointslices.discovery.k8s.io is forbidden');
    expect(remedy).toMatch(
      /^grant the permission: kubectl create role .* && kubectl create rolebinding .* --serviceaccount=shop:gateway$/,
    );
    expect(of('endpoint-watch')).toMatchObject([{ cause: error, remedy }]);
    await waitFor(() => lines().length === 1);
    expect(lines()[0]!.text).toContain(remedy);
  });

  it('reports a failing Kubernetes watch to a client that is created later', async () => {
    const api = await startApiServer();
    api.fault = 'forbidden';
    const one = await startApp({ outageGraceMs: 50 });
    await failureOf(one.echo.unary({}));
    const other = await startApp({ outageGraceMs: 50 });
    await failureOf(other.echo.unary({}));
    expect(other.watch()).toMatchObject({ state: 'failing', since: one.watch()!.since });
    await waitFor(() => other.lines().length > 0);
    expect(other.lines()[0]!.text).toContain('no endpoints are known');
  });

  it('logs no line and emits no endpoint-watch event when the API server ends watches without an error', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { call, of, lines } = await startApp();
    await call();
    for (let i = 0; i < 3; i++) {
      await waitFor(() => api.openWatches === 1, SLOW);
      const { length } = api.requests;
      api.endWatches();
      await waitFor(() => api.requests.length > length, SLOW);
      api.bookmark();
    }
    expect(of('endpoint-watch')).toEqual([]);
    expect(lines()).toEqual([]);
  });

  it('records metrics of the Kubernetes endpoints by condition and of the time since the watch failed', async () => {
    const telemetry = collectTelemetry();
    const endpoints = (condition: string) =>
      telemetry.gauge('resilient_grpc.client.endpoints', { 'resilient_grpc.condition': condition });
    const failing = () => telemetry.gauge('resilient_grpc.client.watch_failing');
    const api = await startApiServer();
    await startPods(api, 'a', 'b');
    api.set({ name: 'c', port: 1, ready: false });
    api.set({ name: 'd', port: 1, terminating: true });
    const { app, call } = await startApp();
    expect(await failing()).toBeUndefined();
    await call();
    expect(await Promise.all(['ready', 'not-ready', 'terminating'].map(endpoints))).toEqual([2, 1, 1]);
    expect(await failing()).toBe(0);
    await api.kill();
    await waitFor(async () => (await failing())! > 0, SLOW);
    await app.close();
    expect([await failing(), await endpoints('ready')]).toEqual([0, 0]);
    await api.start();
  });

  it(
    'shows the state of the Kubernetes watch, its error, and the remedy on the dashboard',
    { timeout: 120_000 },
    async ({ skip }) => {
      skip(...skipWithout('Chromium'));
      const browser = await startBrowser();
      onTestFinished(() => browser.close());
      const api = await startApiServer();
      api.fault = 'forbidden';
      const dashboard = await startDashboardApp({ clients: [{ name: 'orders', url: TARGET, outageGraceMs: 50 }] });
      onTestFinished(dashboard.close);
      await firstValueFrom(dashboard.orders('orders').get({ id: '1' })).catch(() => undefined);
      const { page, problems, close } = await openPage(browser, `${dashboard.url}/grpc`);
      onTestFinished(close);
      const totals = page.getByRole('region', { name: 'Since creation' });
      const value = (name: string) =>
        totals
          .locator('dl > div')
          .filter({ has: page.locator(`dt:text-is("${name}")`) })
          .locator('dd');
      await value('remedy').waitFor();
      expect(await value('error of the watch').textContent()).toContain('is forbidden');
      expect(await value('remedy').textContent()).toMatch(/^grant the permission: kubectl create role/);
      expect(await value(`watch at ${api.url}`).textContent()).toMatch(/^failing since /);
      await startPods(api, 'a');
      api.fault = undefined;
      await totals.getByText('1 ready, 0 not ready, 0 terminating').waitFor();
      await totals.getByText(/^watching since /).waitFor();
      expect(await value('remedy').count()).toBe(0);
      expect(problems).toEqual([]);
    },
  );
});
