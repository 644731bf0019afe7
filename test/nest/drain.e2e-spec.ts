import { mkdtempSync, rmSync } from 'node:fs';
import { request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Inject, Module, Sse, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport, type MicroserviceOptions } from '@nestjs/microservices';
import {
  GrpcClients,
  ResilientGrpcModule,
  getGrpcServiceToken,
  type DrainOptions,
  type GrpcCallError,
  type GrpcClientSettings,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, map, type Observable } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { KINDS, type Callbacks } from '../calls/callback-calls.js';
import { startServer, upTo } from '../calls/support.js';
import { recordTiming } from '../support/timing.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

/** A duration equal to the timeout of a test, so that a shutdown that waits for its drain timeout fails the test. */
const TEST_TIMEOUT_MS = 60_000;

let server: ScriptedGrpcServer;
let lines: string[];

beforeEach(async ({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  lines = [];
  const feed = Array.from({ length: 3 }, (_, index) => ({ sequence: String(index + 1) }));
  const scripts = { Get: { message: { id: '1' } }, Watch: { messages: feed, never: true } };
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts });
  onTestFinished(() => server.close());
});

interface Gateway {
  readonly app: INestApplication;
  readonly client: ResilientGrpcClient;
  readonly orders: Resilient<OrdersClient>;
  /** Number of requests to `/hung` and `/relay`, and a function that answers the latest request. */
  readonly hung: { count: number; answer: () => void };
  get(path: string): Promise<number>;
}

/** Starts an application with an HTTP server in front of its client. */
async function startGateway(
  drain: DrainOptions = { timeoutMs: TEST_TIMEOUT_MS },
  settings: Partial<GrpcClientSettings> = {},
): Promise<Gateway> {
  const hung: Gateway['hung'] = { count: 0, answer: () => undefined };

  @Controller()
  class Requests {
    constructor(@Inject(getGrpcServiceToken('orders', 'Orders')) private readonly orders: Resilient<OrdersClient>) {}

    @Get('hung') hung() {
      hung.count += 1;
      return new Promise<string>((resolve) => (hung.answer = () => resolve('at last')));
    }

    /** An event stream that keeps the HTTP server open until the stream ends. */
    @Sse('feed') feed() {
      const watch = (from: string) => this.orders.watch({ from });
      const feed = resumable(watch, {
        cursor: ({ sequence }) => sequence,
        seed: '0',
        compare: (a, b) => Number(a) - Number(b),
      });
      return feed.pipe(map(({ sequence }) => ({ data: sequence })));
    }

    /** Relays the same upstream stream over gRPC, for the hybrid application. */
    @GrpcMethod('Orders', 'Watch') relayed() {
      return this.orders.watch({ from: '0' });
    }

    /** Waits for `answer()`, then calls upstream. */
    @Get('relay') async relay() {
      await this.hung();
      return firstValueFrom(this.orders.get({ id: '1' }));
    }
  }
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ drain }),
      ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url, ...settings }]),
    ],
    controllers: [Requests],
  })
  class AppModule {}
  const logger = {
    log: (message: string, context: string) => lines.push(`LOG [${context}] ${message}`),
    warn: (message: string, context: string) => lines.push(`WARN [${context}] ${message}`),
    error: (message: unknown) => lines.push(`ERROR ${String(message)}`),
  };
  const app = await NestFactory.create(AppModule, { logger });
  await app.listen(0, '127.0.0.1');
  onTestFinished(() => app.close());
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    app,
    hung,
    client: app.get(GrpcClients).get('orders'),
    orders: app.get(getGrpcServiceToken('orders', 'Orders')),
    get: (path) =>
      new Promise((resolve, reject) => {
        request({ host: '127.0.0.1', port, path, agent: false, headers: { connection: 'close' } }, (response) => {
          response.resume();
          response.on('end', () => {
            resolve(response.statusCode ?? 0);
          });
        })
          .on('error', reject)
          .end();
      }),
  };
}

/** Counts the messages of `stream` and records how it ended. */
function collect(stream: Observable<unknown>) {
  const seen = { received: 0, end: 'open' as string };
  stream.subscribe({
    next: () => (seen.received += 1),
    error: (error: GrpcCallError) => {
      seen.end = `failed: ${error.reason}`;
    },
    complete: () => {
      seen.end = 'completed';
    },
  });
  return seen;
}

const aboutDrain = (): string[] => lines.filter((line) => line.includes('[ResilientGrpc]'));

describe('first phase of a shutdown', () => {
  it.each([
    ['complete', 'completed', '1 stream completed, 0 cut off'],
    ['fail', 'failed: draining', '0 streams completed, 1 ended by onDrain, 0 cut off'],
  ] as const)(
    'ends streams with onDrain: %s at the start of a shutdown, while requests in progress continue and start new calls',
    async (onDrain, end, summary) => {
      const { app, client, orders, hung, get } = await startGateway(undefined, { methods: { Watch: { onDrain } } });
      const feed = collect(orders.watch({ from: '0' }));
      server.script('Get', { message: { id: '1' } });
      const relayed = get('/relay');
      await waitFor(() => feed.received === 3 && hung.count === 1);

      const closing = app.close();
      await waitFor(() => feed.end !== 'open');
      expect(feed.end).toBe(end);
      await waitFor(() => server.counts('Watch').open === 0);
      // A stream that starts now ends in the same way, and its call is not sent.
      const calls = server.counts('Watch').calls;
      const late = collect(orders.watch({ from: '0' }));
      await waitFor(() => late.end !== 'open');
      expect(late.end).toBe(end);
      expect(server.counts('Watch').calls).toBe(calls);
      // Nest waits for the HTTP request, and the request waits for `answer()`.
      expect(client.connectivity.state).toBe('READY');
      hung.answer();
      expect(await relayed).toBe(200);
      await closing;
      expect(client.connectivity.state).toBe('SHUTDOWN');
      expect(aboutDrain().at(-1)).toMatch(
        /^LOG \[ResilientGrpc\] 1 client drained [\d.]+ m?s after the shutdown started: /,
      );
      expect(aboutDrain().at(-1)).toContain(`: 1 call finished, ${summary}`);
    },
  );

  it.each(['complete', 'fail'] as const)('does not apply onDrain: %s to a unary call', async (onDrain) => {
    const { app, orders } = await startGateway(undefined, { methods: { '*': { onDrain } } });
    server.script('Get', { message: { id: '1' }, hold: 'everything' });
    const call = firstValueFrom(orders.get({ id: '1' }));
    await waitFor(() => server.heldCount('Get') === 1);
    const closing = app.close();
    await waitFor(() => !app.get(GrpcClients).accepting);
    server.release('Get');
    expect(await call).toMatchObject({ id: '1' });
    await closing;
  });
});

describe('feed relayed to an HTTP request', () => {
  it(
    'completes a relayed feed at shutdown so that the application can close',
    { tags: ['timed'] },
    async ({ task }) => {
      const { app, client, get } = await startGateway();
      const relayed = get('/feed');
      await waitFor(() => client.activeCalls()[0]?.received === 3);
      const beganAt = performance.now();
      await app.close();
      recordTiming(task, 'duration of close() with a relayed feed, ms', performance.now() - beganAt, {
        atMost: 1_500,
      });
      expect(await relayed).toBe(200);
      expect(aboutDrain()).toEqual([
        expect.stringMatching(/shutdown started with 1 call .* within 60 s/),
        expect.stringMatching(/: 0 calls finished, 1 stream completed, 0 cut off$/),
      ]);
    },
  );
});

describe('hybrid application', () => {
  it(
    'ends the streams relayed over gRPC by a hybrid application before the gRPC server of the application closes',
    { tags: ['timed'] },
    async ({ task }) => {
      const { app, client } = await startGateway(undefined, { methods: { Watch: { onDrain: 'complete' } } });
      const folder = mkdtempSync(join(tmpdir(), 'hybrid-'));
      onTestFinished(() => {
        rmSync(folder, { recursive: true });
      });
      const url = `unix:${join(folder, 'hybrid.sock')}`;
      app.connectMicroservice<MicroserviceOptions>({
        transport: Transport.GRPC,
        options: { url, package: 'orders.v1', protoPath: ORDERS_PROTO, gracefulShutdown: true },
      });
      await app.startAllMicroservices();
      const caller = await NestFactory.createApplicationContext(
        {
          module: class Caller {},
          imports: [ResilientGrpcModule.forFeature([{ name: 'hybrid', protoPath: ORDERS_PROTO, url }])],
        },
        { logger: false },
      );
      onTestFinished(() => caller.close());
      const upstream = caller.get<Resilient<OrdersClient>>(getGrpcServiceToken('hybrid', 'Orders'));
      const relayed = collect(upstream.watch({ from: '0' }));
      await waitFor(() => relayed.received === 3);
      const beganAt = performance.now();
      await app.close();
      // If a stream were open, gracefulShutdown would wait forever.
      recordTiming(task, 'duration of close() of a hybrid application, ms', performance.now() - beganAt, {
        atMost: 2_000,
      });
      expect(relayed.end).toBe('completed');
      expect(client.connectivity.state).toBe('SHUTDOWN');
      expect(client.snapshot().counters).toMatchObject({ started: 1, succeeded: 1 });
    },
  );
});

describe('calls during a shutdown', () => {
  it('counts a call as finished if it ends after the shutdown starts but before the clients drain', async () => {
    const { app, hung, orders, get } = await startGateway();
    // Nest closes its HTTP server, and waits for this request, before the clients drain.
    const request = get('/hung');
    await waitFor(() => hung.count === 1);
    const closing = app.close();
    await waitFor(() => !(app.getHttpServer() as Server).listening);
    await firstValueFrom(orders.get({ id: '1' }));
    hung.answer();
    expect(await request).toBe(200);
    await closing;
    expect(aboutDrain().at(-1)).toContain('1 call finished, 0 streams completed, 0 cut off');
  });

  it('lets requests in progress finish their calls and make new ones, as with plain Nest, if the drain timeout is 0', async () => {
    const { app, client, orders, hung, get } = await startGateway({ timeoutMs: 0 });
    server.script('Get', { message: { id: '1' }, hold: 'everything' });
    const request = get('/relay');
    await waitFor(() => hung.count === 1);
    const call = firstValueFrom(orders.get({ id: '1' }));
    await waitFor(() => server.heldCount('Get') === 1);
    const closing = app.close();
    await waitFor(() => !(app.getHttpServer() as Server).listening);
    // After the next two lines, a drain timer of 0 ms would have expired, and its callbacks would have run.
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(client.connectivity.state).toBe('READY');
    server.release('Get');
    expect(await call).toMatchObject({ id: '1' });
    hung.answer();
    await waitFor(() => server.heldCount('Get') === 1);
    server.release('Get');
    expect(await request).toBe(200);
    await closing;
    expect(client.connectivity.state).toBe('SHUTDOWN');
    expect(aboutDrain().filter((line) => line.startsWith('WARN'))).toEqual([]);
  });
});

describe('application that does not close', () => {
  it(
    'closes the clients after the drain timeout and lists the open connections and calls in a warning if the application does not close',
    { tags: ['timed'] },
    async ({ task }) => {
      const { app, client, orders, hung, get } = await startGateway({ timeoutMs: 300 });
      let answered = false;
      const served = get('/hung').then(() => (answered = true));
      const feed = collect(orders.watch({ from: '0' }));
      await waitFor(() => hung.count === 1 && feed.received === 3);
      const beganAt = performance.now();
      const closing = app.close();
      await waitFor(() => client.connectivity.state === 'SHUTDOWN', { timeoutMs: 10_000 });
      const endedAfterMs = performance.now() - beganAt;
      expect(answered).toBe(false);
      expect(endedAfterMs).toBeGreaterThan(290);
      recordTiming(task, 'time from app.close() until the clients are closed, drain timeout 300 ms, ms', endedAfterMs, {
        atMost: 500,
      });
      expect(feed.end).toBe('failed: draining');
      expect(client.activeCalls()).toEqual([]);
      expect(aboutDrain()).toEqual([
        'LOG [ResilientGrpc] shutdown started with 1 call to /orders.v1.Orders/Watch running; ' +
          'calls that do not end within 300 ms (drain.timeoutMs of ResilientGrpcModule) are cut off',
        'WARN [ResilientGrpc] the application did not close within 300 ms (1 open HTTP connection, 1 call to /orders.v1.Orders/Watch); ' +
          "closing gRPC clients now; for relayed streams, set onDrain: 'complete' (the default in resumable) or 'fail'",
        expect.stringMatching(
          /^WARN \[ResilientGrpc\] 1 client drained [\d.]+ m?s after the shutdown started: 0 calls finished, 0 streams completed, 1 cut off \(at .*\/Watch\); for streams without an end, set onDrain: 'complete' \(the default in resumable\) or 'fail'; to give other calls more time, raise drain.timeoutMs \(300 ms\)/,
        ),
      ]);
      hung.answer();
      await Promise.all([served, closing]);
      expect(aboutDrain()).toHaveLength(3);
    },
  );
});

describe('HTTP application with a slow shutdown hook', () => {
  it('names a slow shutdown hook, not the HTTP server that still listens, as the reason why the application did not close', async () => {
    let end: () => void = () => undefined;
    const slow = { beforeApplicationShutdown: () => new Promise<void>((resolve) => (end = resolve)) };
    @Module({
      imports: [
        ResilientGrpcModule.forRoot({ drain: { timeoutMs: 300 } }),
        ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }]),
      ],
      providers: [{ provide: 'slow', useValue: slow }],
    })
    class AppModule {}
    const warnings: string[] = [];
    const none = () => undefined;
    const warn = (line: unknown) => void warnings.push(String(line));
    const app = await NestFactory.create(AppModule, { logger: { log: none, error: none, warn } });
    await app.listen(0, '127.0.0.1');
    const closing = app.close();
    await waitFor(() => warnings.length > 0, { timeoutMs: 10_000 });
    end();
    await closing;
    expect(warnings).toEqual([
      'the application did not close within 300 ms (a shutdown hook or a microservice has not ended); closing gRPC clients now, so later calls fail; ' +
        'shorten the hook, or raise drain.timeoutMs of ResilientGrpcModule.forRoot()',
    ]);
  });
});

describe('call that is cut off at shutdown', () => {
  it('names the whole drain timeout and its option in the error of a cut-off call, even if the clients drain late', async () => {
    const { app, get, hung, orders } = await startGateway({ timeoutMs: 300 });
    server.script('Get', { never: true });
    const call = firstValueFrom(orders.get({ id: '1' })).catch((error: unknown) => error);
    // The request keeps the HTTP server open, so that no time is left when the clients drain.
    const served = get('/hung');
    await waitFor(() => hung.count === 1 && server.counts().open === 1);
    const closing = app.close();
    const error = await call;
    hung.answer();
    await Promise.all([served, closing]);
    expect(error).toMatchObject({
      reason: 'draining',
      details:
        'The client was shut down: the call did not finish within 300 ms; ' +
        'to give calls more time, raise drain.timeoutMs of ResilientGrpcModule.forRoot()',
    });
  });
});

describe('application shutdown hook that never resolves', () => {
  it.each([
    ['onModuleDestroy of a provider, called after that of the library', 'onModuleDestroy'],
    ['beforeApplicationShutdown of a provider', 'beforeApplicationShutdown'],
  ] as const)(
    'closes the clients after the drain timeout if a shutdown hook of the application does not resolve: %s',
    async (_what, hook) => {
      let acceptingInHook: boolean | undefined;
      let end: () => void = () => undefined;
      const hung = new Promise<void>((resolve) => (end = resolve));
      const hangs = {
        [hook]: () => {
          // Reads `accepting` here, because on a busy machine the test may resume only after the drain timeout.
          acceptingInHook = client.accepting;
          return hung;
        },
      };
      @Module({ providers: [{ provide: 'hangs', useValue: hangs }] })
      class Hanging {}
      @Module({
        imports: [
          ...(hook === 'onModuleDestroy' ? [Hanging] : []),
          ResilientGrpcModule.forRoot({ drain: { timeoutMs: 300 } }),
          ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }]),
        ],
        providers: hook === 'onModuleDestroy' ? [] : [{ provide: 'hangs', useValue: hangs }],
      })
      class AppModule {}
      const logger = {
        log: () => undefined,
        error: () => undefined,
        warn: (line: unknown) => lines.push(String(line)),
      };
      const app = await NestFactory.createApplicationContext(AppModule, { logger });
      onTestFinished(() => {
        end();
        return app.close();
      });
      const client = app.get(GrpcClients).get('orders');
      const feed = collect(client.getService<OrdersClient>('Orders').watch({ from: '0' }));
      await waitFor(() => feed.received === 3);
      const beganAt = performance.now();
      const closing = app.close();
      await waitFor(() => acceptingInHook !== undefined);
      expect(acceptingInHook).toBe(true);
      await waitFor(() => client.connectivity.state === 'SHUTDOWN', { timeoutMs: 10_000 });
      expect(performance.now() - beganAt).toBeGreaterThan(290);
      expect(feed.end).toBe('failed: draining');
      expect(lines[0]).toBe(
        'the application did not close within 300 ms (1 call to /orders.v1.Orders/Watch); closing gRPC clients now',
      );
      end();
      await closing;
    },
  );
});

describe('explicit drain()', () => {
  it('ends streams that set onDrain, lets calls finish, and closes the client on an explicit drain()', async () => {
    const { app, client, orders } = await startGateway(undefined, { methods: { Watch: { onDrain: 'complete' } } });
    server.script('Get', { message: { id: '1' }, hold: 'everything' });
    const call = firstValueFrom(orders.get({ id: '1' }));
    const feed = collect(orders.watch({ from: '0' }));
    await waitFor(() => feed.received === 3 && server.heldCount('Get') === 1);
    const reports = [client.drain({ timeoutMs: TEST_TIMEOUT_MS }), client.drain()];
    await waitFor(() => feed.end === 'completed');
    server.release('Get');
    await call;
    const [first, second] = await Promise.all(reports);
    expect(first).toMatchObject({ finished: 1, failed: 0, completed: 1, ended: 0, cancelled: 0, cutOffByPath: {} });
    expect(second).toEqual(first);
    expect(client.connectivity.state).toBe('SHUTDOWN');
    await app.close();
  });

  it(
    'ends an explicit drain early at shutdown if its timeout exceeds the drain timeout of the application',
    { tags: ['timed'] },
    async ({ task }) => {
      const { app, client, orders } = await startGateway({ timeoutMs: 200 });
      const feed = collect(orders.watch({ from: '0' }));
      await waitFor(() => feed.received === 3);
      const report = client.drain({ timeoutMs: TEST_TIMEOUT_MS });
      const beganAt = performance.now();
      await app.close();
      recordTiming(task, 'duration of app.close(), drain timeout 200 ms, ms', performance.now() - beganAt, {
        atMost: 500,
      });
      expect(await report).toMatchObject({ finished: 0, cancelled: 1 });
      expect(feed.end).toBe('failed: draining');
    },
  );
});

describe('callback client', () => {
  it.each(KINDS)(
    'lets a %s call of a callback client finish while the application closes, counts it as finished, and refuses a new call',
    async (_kind, { method, call, numbers }) => {
      const echo = await startServer();
      const app = await NestFactory.createApplicationContext(
        {
          module: class {},
          imports: [
            ResilientGrpcModule.forRoot({ drain: { timeoutMs: TEST_TIMEOUT_MS } }),
            ResilientGrpcModule.forFeature([{ name: 'echo', protoPath: ECHO_PROTO, url: echo.url }]),
          ],
        },
        { logger: false },
      );
      onTestFinished(() => app.close());
      const client = app.get(GrpcClients).get('echo');
      const callbacks = client.getClientByServiceName<Callbacks>('Echo');
      const reply = Array.isArray(numbers) ? { messages: upTo(3) } : { message: { number: numbers } };
      echo.script(method, { ...reply, hold: 'status' });
      const outcome = call(callbacks);
      await waitFor(() => echo.heldCount(method) === 1);

      const closing = app.close();
      await waitFor(() => !client.accepting);
      await expect(call(callbacks)).rejects.toMatchObject({
        code: 14,
        details: 'The client is shutting down and does not start new calls',
        reason: 'draining',
        reachedServer: 'no',
      });
      echo.release(method);
      expect(await outcome).toEqual(numbers);
      await closing;
      const { drain } = client.snapshot();
      expect(drain).toMatchObject({ state: 'drained', report: { finished: 1, failed: 0, cancelled: 0 } });
      expect(echo.counts().calls).toBe(1);
    },
  );
});
