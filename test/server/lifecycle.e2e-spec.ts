import { createServer, type AddressInfo } from 'node:net';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { holdTimers } from './support/held-timers.js';
import { healthOf, ordersOf, serveOrders, startServers } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Resolves to the argument of the `listen` callback. */
function listen({ server }: Awaited<ReturnType<typeof serveOrders>>): Promise<unknown> {
  return new Promise((resolve) => void server.listen(resolve));
}

describe('ResilientGrpcServer', () => {
  it('rejects a second listen() of a server and keeps serving', async () => {
    const served = await startServers(await serveOrders());
    expect(await listen(served)).toMatchObject({ message: expect.stringContaining('is already listening') });
    expect(await ordersOf(served.url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
  });

  it.each([
    ['after the server was closed', true],
    ['while the server closes', false],
  ])('rejects listen() with an error that names the remedy if listen() is called %s', async (_when, wait) => {
    const served = await startServers(await serveOrders());
    const closing = served.server.close();
    if (wait) await closing;
    expect(await listen(served)).toMatchObject({ message: expect.stringMatching(/is closed.*create a new one/) });
    await closing;
    expect(await ordersOf(served.url).unary('get', { id: '7' })).toMatch(/^14 /);
  });

  it('lets a server listen and close after its first listen() has failed, and lists each concurrency limit only once in overload()', async () => {
    const inUse = createServer();
    await new Promise<void>((resolve) => inUse.listen(0, '127.0.0.1', resolve));
    const url = `127.0.0.1:${String((inUse.address() as AddressInfo).port)}`;
    const served = await serveOrders({ url, maxConcurrentCalls: 5, methods: { Get: { maxConcurrentCalls: 2 } } });
    expect(await listen(served)).toMatchObject({ message: expect.stringContaining('EADDRINUSE') });
    await new Promise((resolve) => inUse.close(resolve));
    await startServers(served);
    expect(await ordersOf(url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
    const limits = served.server.overload().limits.map(({ path, maxConcurrent }) => [path, maxConcurrent]);
    expect(limits).toEqual([
      [undefined, 5],
      ['/orders.v1.Orders/Get', 2],
    ]);
    await served.app.close();
    expect(await ordersOf(url).unary('get', { id: '7' })).toMatch(/^14 /);
  });

  it.each([
    ['the application', 'app'],
    ['the server', 'server'],
  ] as const)('releases the port if %s is closed while the server starts to listen', async (_what, closed) => {
    const served = await serveOrders();
    await served.app.init();
    const listening = served.app.startAllMicroservices();
    await served[closed].close();
    await listening;
    expect(served.server.port).toBeUndefined();
    expect(await ordersOf(served.url).unary('get', { id: '7' })).toMatch(/^14 /);
  });

  it('reports NOT_SERVING immediately if the server starts to listen during a shutdown', async () => {
    const served = await serveOrders({ drain: { readinessDelayMs: 60_000, timeoutMs: 1_000 } });
    await served.app.init();
    const { advance, until } = holdTimers();
    // The server's onModuleDestroy() hook does the same when Nest starts a shutdown.
    (served.server as unknown as { readonly drain: { begin(): void } }).drain.begin();
    await served.app.startAllMicroservices();
    expect(await healthOf(served.url).unary('check', { service: '' })).toEqual({ status: 'NOT_SERVING' });
    let closed = false;
    void served.app.close().then(() => (closed = true));
    await advance(1_000);
    await until(() => closed);
  });

  it('logs the pending counts of repeated log lines when the server closes', async () => {
    const { server, url, log } = await startServers(await serveOrders({ maxStreamIdleMs: 100 }));
    const orders = ordersOf(url);
    const watches = [1, 2, 3].map(() => orders.open('watch', { from: '0' }));
    const idle = expect.stringMatching(/^14 No message was sent or received/);
    await waitFor(() => watches.every(({ seen }) => seen.length === 2));
    expect(watches.map(({ seen }) => seen[1])).toEqual([idle, idle, idle]);
    const summaries = () => log.lines.filter(({ text }) => text.includes('(1 more in the last minute)'));
    expect(summaries()).toEqual([]);
    await server.close();
    expect(summaries()).toHaveLength(1);
  });
});
