import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HealthImplementation } from 'grpc-health-check';
import { ChildServer, FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { HTTP_RESPONSE_REMEDY } from '../../libs/resilient-grpc/dist/policy/evidence/grpc-js-texts.js';
import { reset, startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { serveOrders, startServers } from '../server/served-orders.js';
import { ORDERS_PROTO, aboveDebug, certificate } from '../support/orders-app.js';
import { recordTiming } from '../support/timing.js';
import {
  HEALTH_PROTO,
  TEST_TIMEOUT_MS,
  channelOf,
  outcomeOf,
  servingOf,
  startApp,
  startScripted,
  statusOf,
} from './support.js';

/** The health service as a contract of the application. */
interface HealthService {
  check(request: object): Observable<object>;
}

const ORDERS = 'orders.v1.Orders';
const SERVING = { message: { status: 'SERVING' } };

// Some tests mostly wait and run concurrently, so all share one leak check.
const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Starts a grpc-js server with the health service of grpc-health-check. */
async function standardServer() {
  const server = new Server();
  const orders = loadSync(ORDERS_PROTO)['orders.v1.Orders'];
  server.addService(orders as never, { Get: (_call: unknown, answer: any) => answer(null, { id: '1' }) });
  const health = new HealthImplementation({ '': 'SERVING', [ORDERS]: 'SERVING' });
  health.addToServer(server);
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  onTestFinished(() => server.forceShutdown());
  const set = (serves: boolean) => health.setStatus(ORDERS, serves ? 'SERVING' : 'NOT_SERVING');
  return { url: `127.0.0.1:${port}`, set, server };
}

async function resilientServer() {
  const { url, server } = await startServers(await serveOrders());
  const set = (serves: boolean) => (serves ? server.health.setServing(ORDERS) : server.health.setNotServing(ORDERS));
  return { url, set };
}

describe('GrpcServingHealthIndicator', () => {
  it.each([
    ['ResilientGrpcServer', resilientServer],
    ['a grpc-js server with grpc-health-check', standardServer],
  ])('reports the health of each service of %s separately', async (_serverKind, start) => {
    const { url, set } = await start();
    const app = await startApp(onTestFinished, { url });
    const check = () => servingOf(app, { service: ORDERS });
    expect(await check()).toMatchObject({ status: 'up', state: 'READY', service: ORDERS, serving: 'SERVING' });
    set(false);
    const down = await waitFor(async () => {
      const entry = await check();
      return entry.status === 'down' && entry;
    });
    expect(down).toMatchObject({ serving: 'NOT_SERVING', message: 'the server is not serving' });
    expect(await servingOf(app)).toMatchObject({ status: 'up', service: '', serving: 'SERVING' });
    expect(await servingOf(app, { service: 'orders' })).toMatchObject({
      status: 'down',
      serving: 'SERVICE_UNKNOWN',
      message: "the server has no service 'orders'; write a full name such as 'orders.v1.Orders'",
    });
    set(true);
    await waitFor(async () => (await check()).status === 'up');
    expect((await outcomeOf(app.orders.get({ id: '1' }))).error).toBeUndefined();
  });

  it('reports a server without a health service as up and logs one warning', async () => {
    const server = await startScripted(onTestFinished, undefined);
    const app = await startApp(onTestFinished, { url: server.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    for (let round = 0; round < 5; round++) {
      const entry = await servingOf(app);
      expect(entry).toMatchObject({ status: 'up', message: 'the server does not implement grpc.health.v1.Health' });
    }
    const warnings = aboveDebug(app).filter((line) => line.startsWith('warn'));
    expect(warnings).toEqual([
      expect.stringMatching(/^warn: \S+ does not implement grpc\.health\.v1\.Health and counts as serving; /),
    ]);
  });

  it.for([
    [404, undefined],
    [502, 'text/html'],
    [200, 'text/html'],
  ] as const)(
    'reports a remedy, but no doctor command, if a proxy responds to a health call with HTTP %i (content-type %s)',
    async ([status, type]) => {
      const server = await startHttp2Server((stream, _number, { ':path': path }) => {
        if (path === '/orders.v1.Orders/Get') {
          succeed(stream);
          return;
        }
        stream.respond({ ':status': status, ...(type !== undefined && { 'content-type': type }) });
        stream.end('<html><h1>nginx</h1></html>');
      });
      const app = await startApp(onTestFinished, { url: server.url });
      await firstValueFrom(app.orders.get({ id: '1' }));
      const entry = await servingOf(app);
      expect(entry).toMatchObject({ status: 'down', remedy: HTTP_RESPONSE_REMEDY });
      // The command can contain paths of TLS files, and health routes are often public.
      expect(entry).not.toHaveProperty('doctorCommand');
      const contentType = type === undefined ? 'without a content-type' : `with content-type ${type}`;
      const instead = 'a proxy or web server responded instead of the gRPC server';
      expect(entry.message).toBe(`Received HTTP status code ${status} ${contentType}: ${instead}`);
    },
  );

  it('sends health calls over TLS with the same metadata as other calls', async () => {
    const pair = { cert: readFileSync(certificate('server')), key: readFileSync(certificate('server-key')) };
    const server = await startScripted(onTestFinished, { Check: SERVING }, { tls: pair });
    const app = await startApp(onTestFinished, {
      url: server.url,
      tls: { ca: certificate('ca'), serverName: 'localhost' },
      metadata: async () => ({ authorization: 'Bearer t' }),
    });
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect((await servingOf(app)).status).toBe('up');
    const [healthCall] = server.calls('Check');
    expect(healthCall!.metadata.get('authorization')).toEqual(['Bearer t']);
    expect(server.connections.accepted).toBe(1);
  });

  it('sends health calls with the authority of the channel', async () => {
    const authorities: (string | undefined)[] = [];
    const server = await startHttp2Server((stream, _number, headers) => {
      authorities.push(headers[':authority']);
      succeed(stream);
    });
    const app = await startApp(onTestFinished, {
      url: server.url,
      channelOptions: { 'grpc.default_authority': 'orders.example' },
    });
    await firstValueFrom(app.orders.get({ id: '1' }));
    await servingOf(app);
    expect(authorities).toEqual(['orders.example', 'orders.example']);
  });
});

describe.concurrent('outage', () => {
  it(
    'makes no health call during an outage, because the channel state suffices',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, { Check: SERVING });
      const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: 300 });
      await firstValueFrom(app.orders.get({ id: '1' }));
      await server.stop('kill-connections');
      app.orders.get({ id: '1' }).subscribe({ error: () => undefined });
      await waitFor(() => app.client.connectivity.outage);
      const { graceEndsAt } = app.client.connectivity.outage!;
      const inside = await servingOf(app);
      if (Date.now() < graceEndsAt.getTime()) {
        expect([statusOf(inside), inside.message]).toEqual(['degraded', 'outage; calls wait']);
      }
      await waitFor(async () => (await channelOf(app)).status === 'down');
      expect(Date.now()).toBeGreaterThan(graceEndsAt.getTime() - 5);
      const beganAt = performance.now();
      expect(await servingOf(app)).toMatchObject({ status: 'down', message: 'outage; calls fail' });
      recordTiming(task, 'duration of a serving check in an outage, ms', performance.now() - beganAt, {
        atMost: 100,
      });
      expect(server.counts('Check').calls).toBe(0);
    },
  );
});

describe('Check', () => {
  it('sends one health Check call with a deadline and never retries it', async () => {
    const timeouts: unknown[] = [];
    const server = await startHttp2Server((stream, _number, headers) => {
      timeouts.push(headers['grpc-timeout']);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' }, { endStream: true });
    });
    const policy = { maxAttempts: 4, initialBackoff: '0.01s', maxBackoff: '0.01s', backoffMultiplier: 1 };
    const app = await startApp(onTestFinished, {
      url: server.url,
      methods: { '*': { idempotent: true, waitForReady: true } },
      serviceConfig: { methodConfig: [{ name: [{}], retryPolicy: { ...policy, retryableStatusCodes: [14] } }] },
    });
    expect(await servingOf(app, { timeoutMs: 20_000 })).toMatchObject({
      status: 'down',
      message: 'Check failed: UNAVAILABLE',
    });
    expect(timeouts).toEqual([expect.stringMatching(/^\d+m$/)]);
    expect(Number.parseInt(String(timeouts[0]))).toBeLessThanOrEqual(20_000);
  });

  it('reports a server as down if it refuses every call while the channel is READY', async () => {
    const server = await startHttp2Server((stream) => {
      stream.resume();
      reset(stream, 'NGHTTP2_REFUSED_STREAM');
    });
    const app = await startApp(onTestFinished, { url: server.url });
    await app.client.waitForReady();
    expect(await servingOf(app)).toMatchObject({
      status: 'down',
      state: 'READY',
      message: 'the server rejects calls (REFUSED_STREAM)',
    });
  });

  it('shares one health Check call between concurrent checks, without a concurrency permit and without counting the call', async () => {
    const server = await startScripted(onTestFinished, { Check: SERVING, Get: { never: true } });
    const app = await startApp(onTestFinished, { url: server.url, maxConcurrentCalls: { max: 1, queue: 0 } });
    const running = app.orders.get({ id: '1' }).subscribe({ error: () => undefined });
    await waitFor(() => server.counts('Get').open === 1);
    const before = app.client.snapshot();
    const all = await Promise.all(Array.from({ length: 1_000 }, () => servingOf(app)));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set(['up']));
    expect(server.counts('Check').calls).toBe(1);
    server.script('Check', { status: 'INTERNAL' });
    expect((await servingOf(app)).status).toBe('down');
    const { counters, failures, errors, recent, methods, active } = app.client.snapshot();
    const { windowMs: _, ...now } = recent;
    expect({ counters, failures, errors, methods: methods.length, active }).toEqual({
      counters: before.counters,
      failures: {},
      errors: [],
      methods: 1,
      active: 1,
    });
    expect(now).toEqual({ ended: 0, failed: 0, codes: {} });
    running.unsubscribe();
  });

  it(
    'reports a server as down after the timeout of the serving check if the connection is a black hole, and ends the health Check call',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await startScripted(onTestFinished, { Check: SERVING });
      const proxy = await FaultProxy.start(server.url);
      onTestFinished(() => proxy.close());
      const app = await startApp(onTestFinished, { url: proxy.url });
      await firstValueFrom(app.orders.get({ id: '1' }));
      proxy.holdBytes();
      // Uses a timer as the lower bound, because Node's timers count from the start of their turn, which can be long before `beganAt`.
      let haveAlmost200MsPassed = false;
      const timer = setTimeout(() => (haveAlmost200MsPassed = true), 190);
      onTestFinished(() => clearTimeout(timer));
      const checks = Array.from({ length: 5 }, async () => {
        const beganAt = performance.now();
        const entry = await servingOf(app, { timeoutMs: 200 });
        return { entry, isEarly: !haveAlmost200MsPassed, afterMs: performance.now() - beganAt };
      });
      const answers = await Promise.all(checks);
      for (const { entry, isEarly } of answers) {
        expect(entry).toMatchObject({ status: 'down', message: 'no response within 200 ms' });
        expect(isEarly).toBe(false);
      }
      const slowestMs = Math.max(...answers.map(({ afterMs }) => afterMs));
      recordTiming(task, 'time until an unanswered Check reports a server as down, timeout 200 ms, ms', slowestMs, {
        atMost: 500,
      });
      expect(app.client.activeCalls()).toEqual([]);
      proxy.releaseBytes();
      await waitFor(async () => (await servingOf(app)).status === 'up');
      await waitFor(() => server.counts('Check').open === 0);
    },
  );

  it('reports a suspended server as down while calls hang, and as up after it resumes', async () => {
    const server = await ChildServer.start({
      script: new URL('./health-server.mjs', import.meta.url),
      readyTimeoutMs: 25_000,
    });
    onTestFinished(() => server.close());
    const app = await startApp(onTestFinished, { url: server.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    server.freeze();
    expect((await servingOf(app, { timeoutMs: 150 })).status).toBe('down');
    expect((await outcomeOf(app.orders.get({ id: '1' }, { timeoutMs: 150 }))).error?.codeName).toBe(
      'DEADLINE_EXCEEDED',
    );
    // The channel is still READY, although the server is suspended.
    expect((await channelOf(app)).status).toBe('up');
    server.thaw();
    expect((await servingOf(app)).status).toBe('up');
    expect((await outcomeOf(app.orders.get({ id: '1' }))).error).toBeUndefined();
  });

  it(
    'connects an idle channel, and reports an unreachable server as degraded, because calls wait',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await startScripted(onTestFinished, { Check: SERVING });
      const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: TEST_TIMEOUT_MS });
      expect(app.client.connectivity.state).toBe('IDLE');
      expect((await servingOf(app)).status).toBe('up');
      await server.stop('kill-connections');
      await waitFor(() => app.client.connectivity.state === 'IDLE');
      const beganAt = performance.now();
      expect(statusOf(await servingOf(app))).toBe('degraded');
      recordTiming(
        task,
        'time until a Check reports an unreachable server as degraded, ms',
        performance.now() - beganAt,
        {
          atMost: 1_000,
        },
      );
    },
  );
});

describe('invalid options of health indicators', () => {
  it.each([
    [{ timeoutMs: '1s' }, 'timeoutMs: expected number, got "1s"'],
    [{ timeoutMs: 0 }, 'timeoutMs: expected >0, got 0'],
    [{ service: 7 }, 'service: expected string, got 7'],
    [{ timeout: 5 }, "timeout: unknown option; did you mean 'timeoutMs'?"],
  ])('rejects %j as the options of a serving check', async (options, problem) => {
    const app = await startApp(onTestFinished, { url: '127.0.0.1:1' });
    await expect(app.serving.check(app.client.name, options as never)).rejects.toThrow(
      `GrpcServingHealthIndicator.check.${problem}`,
    );
  });

  it('rejects invalid options of the channel indicator', async () => {
    const app = await startApp(onTestFinished, { url: '127.0.0.1:1' });
    await expect(app.health.check(app.client.name, { requird: false } as never)).rejects.toThrow(
      "GrpcChannelHealthIndicator.check.requird: unknown option; did you mean 'required'?",
    );
    await expect(app.health.checkAll({ except: 'orders' } as never)).rejects.toThrow(
      'GrpcChannelHealthIndicator.checkAll.except: expected Array, got',
    );
  });
});

it('reports a failed serving check neither in the log nor as an event, but reports a failed health Check call of the application', async ({
  onTestFinished,
}) => {
  const server = await startScripted(onTestFinished, { 'Health/Check': { never: true } });
  const protoPath = [ORDERS_PROTO, HEALTH_PROTO];
  const app = await startApp(onTestFinished, { url: server.url, protoPath, package: ['orders.v1', 'grpc.health.v1'] });
  const events: string[] = [];
  app.client.events$.subscribe(({ type }) => events.push(type));
  const warned = () => app.lines.filter(({ text }) => text.includes('/grpc.health.v1.Health/Check'));
  const checking = servingOf(app);
  await waitFor(() => server.counts('Health/Check').open === 1);
  await server.stop('kill-connections');
  await checking;
  await server.restart();
  await app.client.waitForReady();
  expect(warned()).toEqual([]);
  expect(events).not.toContain('attempt-end');

  const health = app.client.getService<HealthService>('Health');
  const calling = firstValueFrom(health.check({})).catch(() => undefined);
  await waitFor(() => server.counts('Health/Check').open === 1);
  await server.stop('kill-connections');
  await calling;
  expect(events).toContain('attempt-end');
  expect(warned()).toMatchObject([{ level: 'warn' }]);
});
