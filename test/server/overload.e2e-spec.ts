import { status, type ServiceError } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { isGrpcCallError } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { startOrdersApp } from '../support/orders-app.js';
import { NestServer, type PlainServerOptions } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** CPU time of each call in milliseconds. */
const BUSY_MS = 20;
const TIMEOUT_MS = 4_000;
/** Work for 20 s. The deadlines leave time for a busy machine. */
const CALLS = 1_000;

async function start(options: PlainServerOptions = {}): Promise<NestServer> {
  const server = await NestServer.start(options, [`--busy=${BUSY_MS}`]);
  onTestFinished(() => server.close());
  return server;
}

/** Sends calls one after another, so that the server knows the time of the method. */
async function warmUp(client: PlainClient): Promise<void> {
  for (let call = 0; call < 15; call++) await client.get();
}

/** Sends all calls at once, and returns the number of each status. */
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
  const count8 = errors.filter(({ code }) => code === status.RESOURCE_EXHAUSTED);
  const others = errors.filter(({ code }) => code !== status.RESOURCE_EXHAUSTED && code !== status.DEADLINE_EXCEEDED);
  return { ok, refused: count8, others };
}

describe('a server that is offered more calls than it can serve', { timeout: 60_000 }, () => {
  it('refuses calls with a status that stops retries, and stays usable on the same connection', async () => {
    const server = await start();
    const client = new PlainClient(server.url);
    await warmUp(client);
    const health = client.watchHealth();
    const { ok, refused, others } = await burst(client);
    expect(ok).toBeGreaterThan(0);
    expect(refused.length).toBeGreaterThan(CALLS / 4);
    expect(others).toEqual([]);
    expect(refused[0]?.details).toBe('The server is overloaded and refused the call before its handler ran');
    expect(refused[0]?.metadata.getMap()).toMatchObject({ 'grpc-retry-pushback-ms': '-1', 'x-overloaded': 'true' });
    await expect(client.get()).resolves.toMatchObject({ id: '1' });
    expect(health.messages).toEqual([{ status: 'SERVING' }]);
    health.call.cancel();
  });

  it('logs each overload once, with its end', async () => {
    const server = await start();
    const client = new PlainClient(server.url);
    await warmUp(client);
    const { refused } = await burst(client);
    await waitFor(() => /overload ended after .* calls refused/.test(server.output), { timeoutMs: 20_000 });
    expect(server.output.match(/overloaded: \d+ unary calls? waiting/g)).toHaveLength(1);
    expect(Number(/: (\d+) calls refused/.exec(server.output)?.[1])).toBeGreaterThanOrEqual(refused.length);
  });

  it('sets its health to NOT_SERVING in an overload if notServingInOverload is true', async () => {
    const server = await start({ notServingInOverload: true });
    const client = new PlainClient(server.url);
    await warmUp(client);
    const health = client.watchHealth();
    await waitFor(() => health.messages.length === 1);
    await burst(client);
    const statuses = ['SERVING', 'NOT_SERVING', 'SERVING'].map((one) => ({ status: one }));
    await waitFor(() => health.messages.length === statuses.length, {
      timeoutMs: 20_000,
      describe: () => `3 statuses, got ${JSON.stringify(health.messages)}; ${server.output}`,
    });
    expect(health.messages).toEqual(statuses);
    health.call.cancel();
  });

  it('serves every call without a deadline', async () => {
    const server = await start();
    const app = await startOrdersApp({ url: server.url });
    onTestFinished(() => app.close());
    const calls = Array.from({ length: 100 }, () => firstValueFrom(app.orders.get({ id: '1' })));
    expect(await Promise.all(calls)).toHaveLength(100);
  });

  it('refuses nothing if overloadProtection is false', async () => {
    const server = await start({ overloadProtection: false });
    const client = new PlainClient(server.url);
    await warmUp(client);
    const { refused } = await burst(client, 100, TIMEOUT_MS);
    expect(refused).toEqual([]);
  });
});

describe('maxConcurrentCalls and maxCallMs', { timeout: 60_000 }, () => {
  it('refuses calls beyond the limit and its queue, and serves the others when handlers end', async () => {
    const server = await NestServer.start({ methods: { Get: { maxConcurrentCalls: 2, maxQueuedCalls: 3 } } });
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

  it('ends calls without a deadline of all kinds at maxCallMs', async () => {
    const server = await NestServer.start({ maxCallMs: 200 });
    onTestFinished(() => server.close());
    const client = new PlainClient(server.url);
    const [watch, session] = [client.watch(), client.session()];
    await expect(client.get('held')).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: 'The call took longer than 200 ms (maxCallMs of the server)',
    });
    await waitFor(() => watch.status !== undefined && session.status !== undefined, { timeoutMs: 20_000 });
    expect([watch.status?.code, session.status?.code]).toEqual([status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED]);
    expect((await server.counts()).streams).toBe(0);
  });
});

describe('a client of an overloaded server', { timeout: 60_000 }, () => {
  it('reports the overload and does not retry', async () => {
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
    const app = await startOrdersApp({ url: server.url, serviceConfig });
    onTestFinished(() => app.close());
    const call = () => firstValueFrom(app.orders.get({ id: '1' }, { timeoutMs: TIMEOUT_MS }));
    for (let one = 0; one < 15; one++) await call();
    const results = await Promise.allSettled(Array.from({ length: CALLS }, call));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    const refused = errors.filter((error) => isGrpcCallError(error)).filter(({ reason }) => reason === 'overloaded');
    expect(refused.length).toBeGreaterThan(CALLS / 4);
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
