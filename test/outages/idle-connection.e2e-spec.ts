import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ORDERS_PROTO, aboveDebug, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

const ROUNDS = 3;
/** The caller's next call comes so long after the end of the connection, or later. */
const NEXT_CALL_AFTER_MS = 100;

describe('a connection that was closed while nobody used it', () => {
  // Called first, asked last: what a test registers is ended in reverse order.
  beforeEach(({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
  });

  async function startServer(): Promise<ScriptedGrpcServer> {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {}, Create: {} } });
    onTestFinished(() => server.close());
    return server;
  }
  async function startApp(url: string): Promise<OrdersApp> {
    const app = await startOrdersApp({ url });
    onTestFinished(() => app.close());
    return app;
  }

  /** Calls of both kinds in turns, each `NEXT_CALL_AFTER_MS` after the connection was closed by `cut`. */
  async function callAfterEach({ orders }: OrdersApp, cut: () => Promise<void>): Promise<void> {
    await firstValueFrom(orders.get({ id: 'first' }));
    for (let round = 0; round < ROUNDS; round++) {
      for (const call of [
        () => orders.get({ id: 'next' }),
        () => orders.create({ requestId: 'next', item: 'tea', quantity: 1 }),
      ]) {
        await cut();
        const cutAt = performance.now();
        await waitFor(() => performance.now() - cutAt >= NEXT_CALL_AFTER_MS);
        await firstValueFrom(call());
      }
    }
  }

  const attempts = (server: ScriptedGrpcServer) => server.counts().calls;

  it.each(['fin', 'rst'] as const)('by a proxy (%s) costs the next call nothing, of either kind', async (how) => {
    const server = await startServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const app = await startApp(proxy.url);
    await callAfterEach(app, async () => {
      expect(how === 'fin' ? proxy.closeAll() : proxy.resetAll()).toBe(1);
    });
    expect(attempts(server)).toBe(1 + 2 * ROUNDS);
    expect(app.client.snapshot().counters).toMatchObject({ failed: 0, retried: 0 });
    expect(aboveDebug(app)).toEqual([]);
    expect(app.lines.filter(({ text }) => text.startsWith('READY → IDLE'))).toHaveLength(2 * ROUNDS);
  });

  it('by a proxy that cuts what is idle costs the next call nothing', async () => {
    const server = await startServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    proxy.cutIdleAfter(50, 'rst');
    const app = await startApp(proxy.url);
    await callAfterEach(app, async () => {
      await waitFor(() => proxy.counters.open === 0);
    });
    expect(attempts(server)).toBe(1 + 2 * ROUNDS);
    expect(aboveDebug(app)).toEqual([]);
  });

  it.each([
    ['dies and comes back', (server: ScriptedGrpcServer) => server.restart('kill-connections')],
    ['restarts in order', (server: ScriptedGrpcServer) => server.restart('graceful')],
    [
      'sends GOAWAY',
      async (server: ScriptedGrpcServer) => {
        server.drainConnections(0);
        await waitFor(() => server.connections.open === 0);
      },
    ],
  ])('by a server that %s costs the next call nothing', async (_, cut) => {
    const server = await startServer();
    const app = await startApp(server.url);
    await callAfterEach(app, () => cut(server));
    expect(attempts(server)).toBe(1 + 2 * ROUNDS);
    expect(app.client.snapshot().counters).toMatchObject({ failed: 0, retried: 0 });
    expect(aboveDebug(app)).toEqual([]);
  });
});
