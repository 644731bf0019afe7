import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { ServerInterceptingCall, status, type ServerInterceptor, type ServiceError } from '@grpc/grpc-js';
import { Controller, type Type } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { isGrpcCallError } from 'nestjs-resilient-grpc';
import {
  ResilientGrpcServerModule,
  type GrpcServerEvent,
  type ResilientGrpcServer,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { block } from '../support/block.mjs';
import { startOrdersApp } from '../support/orders-app.js';
import { recordTiming } from '../support/timing.js';
import { FLAG, FRAME, PREFACE, frame, headers, settings, settingsAck } from '../unit-support/frames.js';
import { ordersOptions, ownUrl, startMicroservice } from './served-orders.js';
import { NestServer, type PlainServerOptions } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/**
 * Time in milliseconds for which each call blocks the event loop of the server. Each call is expensive, so that a small number of calls overloads the server, even on a busy
 * machine.
 */
const BUSY_MS = 50;
/** Timeout of each call in milliseconds, long enough for calls to succeed on a busy machine. */
const TIMEOUT_MS = 2_000;
/** Number of calls in a burst. They take 10 s in total. */
const CALLS = 200;
const WARM_UP_CALLS = 12;
/** Number of calls that are sent during an overload. */
const LATER_CALLS = 100;

@Controller()
class BusyController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: { id: string }): object {
    block(BUSY_MS);
    return { id };
  }
}

/** Number of event-loop turns of this process since `countTurns()`. */
let turns = 0;
/** Value of `turns` at the start of each call that a controller in this process handles. */
const startedInTurn: number[] = [];

@Controller()
class WaitingController {
  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    startedInTurn.push(turns);
    await wait(20);
    block(10);
    return { id };
  }
}

@Controller()
class ShortController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: { id: string }): object {
    startedInTurn.push(turns);
    block(5);
    return { id };
  }
}

/** Starts a server in this process. It is closed at the end of the test. */
async function serveHere(controller: Type, options: ResilientGrpcServerOptions): Promise<ResilientGrpcServer> {
  const imports = [ResilientGrpcServerModule.forRoot(options)];
  const { server } = await startMicroservice({ module: class AppModule {}, imports, controllers: [controller] });
  return server;
}

/** Counts the turns of the event loop until the end of the test, and the calls that start in each from now on. */
function countTurns(): void {
  startedInTurn.length = 0;
  let next = setImmediate(function count() {
    turns += 1;
    next = setImmediate(count);
  });
  onTestFinished(() => clearImmediate(next));
}

/** Returns the number of calls that started in that turn of the event loop in which most calls started. */
function mostStartsInOneTurn(): number {
  return Math.max(...startedInTurn.map((turn) => startedInTurn.filter((other) => other === turn).length));
}

async function start(options: PlainServerOptions = {}): Promise<NestServer> {
  return closedAfterTest(NestServer.start(options, [`--busy=${BUSY_MS}`]));
}

/** Sends calls one after another, so that the server measures the duration of the method. */
async function warmUp(client: PlainClient): Promise<void> {
  for (let call = 0; call < WARM_UP_CALLS; call++) await client.get();
}

/** Sends all calls at once. Returns the number of successful calls, the refusals, and all other errors except DEADLINE_EXCEEDED. */
async function burst(client: PlainClient, count = CALLS, timeoutMs: number | undefined = TIMEOUT_MS) {
  const errors: ServiceError[] = [];
  let ok = 0;
  const calls = Array.from({ length: count }, () =>
    client.get('1', timeoutMs).then(
      () => (ok += 1),
      (error: unknown) => errors.push(error as ServiceError),
    ),
  );
  await Promise.all(calls);
  const refused = errors.filter(({ code }) => code === status.RESOURCE_EXHAUSTED);
  const others = errors.filter(({ code }) => code !== status.RESOURCE_EXHAUSTED && code !== status.DEADLINE_EXCEEDED);
  return { ok, refused, others };
}

describe('a server that receives more calls than it can serve', { timeout: 60_000 }, () => {
  it('refuses calls during an overload with a status that stops retries, logs the overload once, serves a later call, and keeps its health SERVING', async () => {
    const server = await start();
    const client = new PlainClient(server.url);
    await warmUp(client);
    const health = client.watchHealth();
    let last = await burst(client);
    // Repeats the burst if no call succeeds: a busy machine can send all calls too late. Each further burst uses a new connection, because
    // a Node server closes a connection on which the client has reset more than 1,000 streams.
    while (last.ok === 0) last = await burst(new PlainClient(server.url));
    const { refused, others } = last;
    expect(refused.length).toBeGreaterThan(CALLS / 4);
    expect(others).toEqual([]);
    expect(refused[0]?.details).toBe('The server is overloaded and refused the call before its handler ran');
    expect(refused[0]?.metadata.getMap()).toMatchObject({ 'grpc-retry-pushback-ms': '-1', 'x-overloaded': 'true' });
    await expect(client.get()).resolves.toMatchObject({ id: '1' });
    expect(health.messages).toEqual([{ status: 'SERVING' }]);
    health.call.cancel();
    await waitFor(() => /overload ended after .* calls refused/.test(server.output), { timeoutMs: 20_000 });
    expect(server.output.match(/overload ended/g)).toHaveLength(server.output.match(/overloaded: /g)?.length ?? 0);
    expect(Number(/: (\d+) calls refused/.exec(server.output)?.[1])).toBeGreaterThanOrEqual(refused.length);
  });

  it('serves each of 50 concurrent calls that have no deadline', async () => {
    const server = await start();
    const app = await closedAfterTest(startOrdersApp({ url: server.url }));
    const calls = Array.from({ length: 50 }, () => firstValueFrom(app.orders.get({ id: '1' })));
    expect(await Promise.all(calls)).toHaveLength(50);
  });

  it('reads sockets after handlers have run for 10 ms, also while hundreds of calls wait', async () => {
    const url = ownUrl();
    await serveHere(ShortController, ordersOptions(url));
    const client = new PlainClient(url);
    await warmUp(client);
    countTurns();
    // Enough for reads that each contain the requests of dozens of calls.
    const calls = 4 * CALLS;
    await Promise.all(Array.from({ length: calls }, () => client.get()));
    expect(startedInTurn).toHaveLength(calls);
    expect(mostStartsInOneTurn()).toBeLessThanOrEqual(4);
  });

  it('refuses no call if overloadProtection is false', async () => {
    const server = await start({ overloadProtection: false });
    const client = new PlainClient(server.url);
    await warmUp(client);
    // These calls take 3 s in total, which is longer than the timeout of each.
    const { refused } = await burst(client, 60, TIMEOUT_MS);
    expect(refused).toEqual([]);
  });
});

/** Sends `count` calls of `Orders/Get` on a connection of its own, and reads nothing. */
async function pipeline(port: number, count: number): Promise<void> {
  const socket = connect(port, '127.0.0.1').pause();
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const get = { ':method': 'POST', ':scheme': 'http', ':authority': 'x', ':path': '/orders.v1.Orders/Get' };
  const fields = { ...get, 'content-type': 'application/grpc', te: 'trailers' };
  const call = (id: number) => [headers(id, fields), frame(FRAME.data, FLAG.endStream, id, Buffer.alloc(5))];
  const calls = Array.from({ length: count }, (_, index) => call(2 * index + 1)).flat();
  const isSent = new Promise((resolve) => {
    socket.write(Buffer.concat([PREFACE, settings(), settingsAck(), ...calls]), resolve);
  });
  await isSent;
}

describe('100 clients that send 40 calls each at once and read nothing', { timeout: 60_000 }, () => {
  it(
    'have few of their calls served before that of a client that calls after them, and all of them in the end',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await closedAfterTest(NestServer.start({}, ['--busy=2']));
      const client = new PlainClient(server.url);
      await warmUp(client);
      await Promise.all(Array.from({ length: 100 }, () => pipeline(server.port, 40)));
      const { attempts: before } = await server.counts();
      const from = performance.now();
      await client.get();
      const latencyMs = performance.now() - from;
      // Of each connection, few are read while others wait. Otherwise, all that are left of the 4,000 would be first.
      const { attempts } = await server.counts();
      expect(attempts - before).toBeLessThan((WARM_UP_CALLS + 4_000 - before) / 2);
      recordTiming(task, 'latency of a call beside 4,000 calls of 2 ms on 100 other connections, ms', latencyMs, {
        atMost: 3_000,
      });
      await waitFor(async () => (await server.counts()).attempts === WARM_UP_CALLS + 4_001, { timeoutMs: 40_000 });
    },
  );
});

describe('a call that is refused during an overload', { timeout: 60_000 }, () => {
  it('bypasses interceptors for calls that arrive during an overload, and emits a call-end event for each call', async () => {
    const seen = { calls: 0, messages: 0, refused: 0 };
    const observe: ServerInterceptor = (_, call) =>
      new ServerInterceptingCall(call, {
        start(next) {
          seen.calls += 1;
          next({
            onReceiveMessage(message, pass) {
              seen.messages += 1;
              pass(message);
            },
          });
        },
        sendStatus(given, next) {
          if (given.code === status.RESOURCE_EXHAUSTED) seen.refused += 1;
          next(given);
        },
      });
    const url = ownUrl();
    const server = await serveHere(BusyController, ordersOptions(url, { channelOptions: { interceptors: [observe] } }));
    const ended: GrpcServerEvent[] = [];
    server.events$.subscribe((event) => event.type === 'call-end' && ended.push(event));
    const client = new PlainClient(url);
    await warmUp(client);
    const first = burst(client);
    await waitFor(() => server.overload().since !== undefined, { timeoutMs: 20_000 });
    const later = await burst(client, LATER_CALLS);
    const { others } = await first;
    expect([...others, ...later.others]).toEqual([]);
    // The count can be higher, because the server also refuses earlier calls that it cannot serve before their deadlines.
    expect(server.overload().shed).toBeGreaterThanOrEqual(LATER_CALLS);
    const calls = WARM_UP_CALLS + CALLS;
    expect(seen).toEqual({ calls, messages: calls, refused: server.overload().shed - LATER_CALLS });
    expect(later.refused).toHaveLength(LATER_CALLS);
    await waitFor(() => ended.length === calls + LATER_CALLS, { timeoutMs: 20_000 });
  });
});

it('logs that a handler blocked the process, and for how long', async () => {
  const server = await NestServer.start({}, ['--busy=2200']);
  onTestFinished(() => server.close());
  await new PlainClient(server.url).get();
  await waitFor(() => /this process did not run for \d/.test(server.output), { timeoutMs: 20_000 });
});

describe('maxConcurrentCalls and maxCallMs', { timeout: 60_000 }, () => {
  it('refuses calls beyond maxConcurrentCalls and its queue, and serves the queued calls when handlers end', async () => {
    const server = await NestServer.start({ methods: { Get: { maxConcurrentCalls: { max: 2, queue: 3 } } } });
    onTestFinished(() => server.close());
    const client = new PlainClient(server.url);
    const settled: string[] = [];
    const calls = Array.from({ length: 8 }, () =>
      client.get('held').then(
        () => settled.push('ok'),
        (error: unknown) => settled.push(status[(error as ServiceError).code]),
      ),
    );
    await waitFor(() => settled.length === 3, { timeoutMs: 20_000 });
    expect(settled).toEqual(Array.from({ length: 3 }, () => 'RESOURCE_EXHAUSTED'));
    await waitFor(() => {
      server.release();
      return settled.length === calls.length;
    });
    expect(settled.filter((one) => one === 'ok')).toHaveLength(5);
  });

  it('starts at most 2 * maxConcurrentCalls queued calls in one event-loop turn if their handlers wait and then use the CPU', async () => {
    const url = ownUrl();
    const maxConcurrentCalls = 4;
    await serveHere(WaitingController, ordersOptions(url, { methods: { Get: { maxConcurrentCalls } } }));
    const client = new PlainClient(url);
    await client.get();
    countTurns();
    await Promise.all(Array.from({ length: 50 }, () => client.get()));
    // In one turn, queued calls take all free permits. Until handlers have run for 10 ms, queued calls also take released permits.
    expect(mostStartsInOneTurn()).toBeLessThanOrEqual(2 * maxConcurrentCalls);
  });

  it('ends unary calls and streams at maxCallMs if their deadline is later or absent', async () => {
    const server = await closedAfterTest(NestServer.start({ maxCallMs: 1_000 }));
    const client = new PlainClient(server.url);
    const [watch, session] = [client.watch(), client.session()];
    await expect(client.get('held')).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: 'The call took longer than 1000 ms (maxCallMs of the server)',
    });
    await waitFor(() => watch.status !== undefined && session.status !== undefined, { timeoutMs: 20_000 });
    expect([watch.status?.code, session.status?.code]).toEqual([status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED]);
    expect((await server.counts()).streams).toBe(0);
  });
});

describe('a client of an overloaded server', { timeout: 60_000 }, () => {
  it('reports the overload of the server in the error of a refused call, and does not retry the call', async () => {
    const server = await start();
    const retryPolicy = {
      maxAttempts: 4,
      initialBackoff: '0.01s',
      maxBackoff: '0.1s',
      backoffMultiplier: 2,
      retryableStatusCodes: ['RESOURCE_EXHAUSTED', 'UNAVAILABLE'],
    };
    const serviceConfig = {
      methodConfig: [{ name: [{}], retryPolicy }],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
    };
    const app = await closedAfterTest(startOrdersApp({ url: server.url, serviceConfig }));
    const call = () => firstValueFrom(app.orders.get({ id: '1' }, { timeoutMs: TIMEOUT_MS }));
    for (let one = 0; one < WARM_UP_CALLS; one++) await call();
    const results = await Promise.allSettled(Array.from({ length: CALLS }, call));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    const refused = errors.filter((error) => isGrpcCallError(error)).filter(({ reason }) => reason === 'overloaded');
    const seen = `${String(CALLS - errors.length)} calls succeeded; the last error: ${String(errors.at(-1))}`;
    expect(refused.length, seen).toBeGreaterThan(CALLS / 4);
    for (const error of refused) {
      expect(error).toMatchObject({
        reachedServer: 'yes',
        codeName: 'RESOURCE_EXHAUSTED',
        notRetriedBecause: 'pushback',
      });
      expect(error.attempts).toHaveLength(1);
    }
    expect(app.client.snapshot().failures.overloaded).toBe(refused.length);
  });
});
